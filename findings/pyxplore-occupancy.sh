#!/usr/bin/env bash
# PyXplore 2026.10.16: occupancies of a CIF are ignored, and thermal vibration acts only together with preferred orientation.
# Input: CuAu, disordered: half a Cu and half an Au on one site of P m -3 m; XRDSimulation as it is and with thermo_vib=0.4
# (its docstring: the variability of the mean position of atoms, 0.05 to 0.5 Å).
# Expected: a quarter of the intensity of a file with occupancies of 1; and with vibrations all lines weaker, the last most.
# Seen: the same intensities for occupancies of ½ and of 1: two whole atoms on the site; the same again for thermo_vib=0.4.
# With orientation=[0, 0], which changes nothing by itself, they fall.
. "$(dirname "$0")/lib.sh"
packages pyxplore==2026.10.16

export MPLBACKEND=Agg
python - <<'PY' 2>/dev/null
import contextlib
import io
import itertools
import os
import sys

import pandas as pd
from PyXplore import WPEM
from matplotlib.figure import Figure

Figure.savefig = lambda *_, **__: None  # its pictures of 800 dpi take most of the time
signs = list(itertools.product(("", "-"), repeat=3))
operators = "\n".join(f"'{a}{x},{b}{y},{c}{z}'" for x, y, z in itertools.permutations("xyz") for a, b, c in signs)
for number, occupancy in (("1000001", 0.5), ("1000002", 1.0)):
    with open(f"{number}.cif", "w") as file:
        file.write("data_CuAu\n_cell_length_a 3.87\n_cell_length_b 3.87\n_cell_length_c 3.87\n_cell_angle_alpha 90\n")
        file.write("_cell_angle_beta 90\n_cell_angle_gamma 90\n_symmetry_space_group_name_H-M 'P m -3 m'\n")
        file.write(f"_symmetry_Int_Tables_number 221\nloop_\n_symmetry_equiv_pos_as_xyz\n{operators}\nloop_\n_atom_site_label\n")
        file.write("_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n_atom_site_occupancy\n")
        file.write(f"Cu1 Cu 0.0 0.0 0.0 {occupancy}\nAu1 Au 0.0 0.0 0.0 {occupancy}\n")


def lines(number, **options):
    with contextlib.redirect_stdout(io.StringIO()):
        path = os.path.abspath(f"{number}.cif")
        WPEM.XRDSimulation(filepath=path, wavelength=1.5405929, two_theta_range=(20, 90, 0.02), **options)
    table = pd.read_csv(f"Simulation_WPEM/{number}_Bragg_peaks.csv")
    return [round(float(i), 2) for i in table.sort_values("2theta/")["Ints/"].iloc[[0, -1]]]


half, whole = lines("1000001"), lines("1000002")
moving, both = lines("1000001", thermo_vib=0.4), lines("1000001", thermo_vib=0.4, orientation=[0, 0])
print("first and last line, occupancies 1:             ", whole)
print("occupancies ½, expected a quarter of it, seen:  ", half)
print("with thermo_vib=0.4, expected less, seen:       ", moving)
print("with thermo_vib=0.4 and orientation=[0, 0], seen:", both)
sys.exit(0 if half == whole == moving and both[1] < 0.5 * half[1] else 1)
PY
