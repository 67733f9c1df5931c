#!/usr/bin/env bash
# Pysimxrd 1.0.0: the width of a line from the grain size is computed in radians and used as degrees: 57 times too narrow.
# Input: silicon in an ASE database, generator.parser(database, id, grainsize=…); "Grain size of the specimen in Angstroms".
# Expected (Scherrer, K = 0.888 as in the source): 220 of grains of 20 Å at 47.3° is 4.3° wide, of 1000 Å 0.09°, the
# instrument aside; K λ / (D cos θ) is an angle in radians.
# Seen: 0.28° with 20 Å (the default), 0.20° with 1000 Å, 4.28 / 57.3 = 0.075° being what 20 Å counts for: grains of 1150 Å.
# A network trained on such patterns has seen no line of a nanocrystal, and a stated grain size is not that of the lines.
. "$(dirname "$0")/lib.sh"
packages pysimxrd==1.0.0 ase==3.29.0 pymatgen==2026.10.24 spglib==2.8.0

python - <<'PY' 2>/dev/null
import math, sys
import numpy as np
from ase.build import bulk
from ase.db import connect
from Pysimxrd import generator

database = connect("silicon.db")
number = database.write(bulk("Si", "diamond", a=5.431))


def width(grain):
    np.random.seed(0)
    x, y = generator.parser(
        database, number, grainsize=grain, prefect_orientation=[0, 0], background_ratio=0, mixture_noise_ratio=0
    )
    x, y = np.asarray(x), np.asarray(y)
    near = abs(x - 47.34) < 4
    above = x[near][y[near] > y[near].max() / 2]
    return float(round(above[-1] - above[0] + 0.02, 2))


def scherrer(grain):
    return math.degrees(0.888 * 1.54184 / grain / math.cos(math.radians(47.34 / 2)))


seen = {grain: width(grain) for grain in (20, 100, 1000)}
print("expected: at least", {grain: round(scherrer(grain), 2) for grain in seen}, "degrees for grains of so many Å")
print("seen:    ", seen, "degrees, with the instrument")
as_recorded = seen[20] < 0.1 * scherrer(20) and seen[20] - seen[1000] < 0.1 and seen[1000] > 0.15
sys.exit(0 if as_recorded else 1)
PY
