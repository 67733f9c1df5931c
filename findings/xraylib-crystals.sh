#!/usr/bin/env bash
# xraylib 4.3.0: of its 38 built-in crystals, CsCl, PET, beryl, muscovite and iron are not what they are called.
# Input: Crystal_GetCrystal(name), its atoms and cell; Bragg_angle and Crystal_F_H_StructureFactor take them.
# Expected: CsCl of a = 4.123 Å (Cs–Cl 3.57 Å, 3.99 g/cm³), pentaerythritol with C–C of 1.55 Å, C–O 1.43 Å, beryl P6/mcc with
# Si–O–Si rings turned at z = 1/2, muscovite with O–H of about 0.9 Å, iron of 7.874 g/cm³ (bcc, a = 2.8665 Å) as its own
# ElementDensity(26).
# Seen: CsCl of a = 7.02 Å, 0.81 g/cm³. Positions of PET, the analyser crystal, are in Å and are taken as fractions: (0.99
# 0.75 0.85), so that no C–C is shorter than 2.0 Å. The upper ring of beryl is a copy of the lower one: P 6, O–O 2.0 Å. H of
# muscovite are on top of O. Iron is fcc, a = 3.591 Å: the first line with Cu Kα1 at 43.6° for 44.7°.
. "$(dirname "$0")/lib.sh"
packages xraylib==4.3.0 ase==3.29.0 spglib==2.8.0

python - <<'PY' 2>/dev/null
import math
import sys

import numpy as np
import spglib
import xraylib
from ase.geometry import cellpar_to_cell


def crystal(name):
    """Cell matrix, positions, elements, density in g/cm³, record."""
    one = xraylib.Crystal_GetCrystal(name)
    cell = cellpar_to_cell([one[key] for key in ("a", "b", "c", "alpha", "beta", "gamma")])
    mass = sum(xraylib.AtomicWeight(atom["Zatom"]) * atom["fraction"] for atom in one["atom"])
    positions = np.array([[atom[axis] for axis in "xyz"] for atom in one["atom"]])
    return cell, positions, np.array([atom["Zatom"] for atom in one["atom"]]), mass / one["volume"] * 1.66054, one


def shortest(name, first, second):
    """The shortest distance of an atom of one element to one of the other, Å."""
    cell, positions, numbers, *_ = crystal(name)
    difference = positions[numbers == first][:, None] - positions[numbers == second][None]
    difference -= np.floor(difference)
    shifts = np.array([(i, j, k) for i in (-1, 0) for j in (-1, 0) for k in (-1, 0)])
    distances = np.linalg.norm((difference[:, :, None] + shifts) @ cell, axis=-1)
    return round(float(distances[distances > (1e-6 if first == second else -1)].min()), 2)


def first_line(name, *hkl):
    return round(2 * math.degrees(xraylib.Bragg_angle(crystal(name)[4], 12.39841984 / 1.5405929, *hkl)), 2)


seen = {
    "CsCl: Å, g/cm³": (shortest("CsCl", 55, 17), round(crystal("CsCl")[3], 2)),
    "PET: shortest C–C, C–O": (shortest("PET", 6, 6), shortest("PET", 6, 8)),
    "beryl: group, O–O": (spglib.get_spacegroup(crystal("Beryl")[:3], symprec=0.01), shortest("Beryl", 8, 8)),
    "muscovite: O–H": shortest("Muscovite", 8, 1),
    "iron: g/cm³, (111)": (round(crystal("Iron")[3], 2), first_line("Iron", 1, 1, 1)),
}
expected = [(3.57, 3.99), (1.55, 1.43), ("P6/mcc (192)", 2.3), "0.9", (round(xraylib.ElementDensity(26), 2), "44.67, (110)")]
for (what, value), wanted in zip(seen.items(), expected):
    print(what, "expected", wanted, "seen", value)
right = {"sapphire": shortest("Sapphire", 13, 8), "quartz": shortest("AlphaQuartz", 14, 8), "graphite": shortest("Graphite", 6, 6)}
print("others are right:", right)
wrong = list(seen.values())
ok = wrong[0] == (6.08, 0.81) and wrong[1][0] > 2 and wrong[2][0].startswith("P6 ") and wrong[3] == 0.0 and wrong[4][0] > 8
sys.exit(0 if ok else 1)
PY
