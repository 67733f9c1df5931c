#!/usr/bin/env bash
# pymatgen 2026.10.24: the multiplicities that XRDCalculator gives count reflections that are absent: twice too many.
# Input: calcite (R -3 c, hexagonal axes) and pyrite (P a -3), XRDCalculator().get_pattern(), field "multiplicity".
# Expected (International Tables A, general position of the Laue class): {104} of -3m 6, {012} of m-3 12, which gemmi counts too
# by applying the point group to one hkl.
# Seen: 12 and 24. Lines are collected by length alone, and 0 1 4, or 1 0 2 of pyrite, has the length of 1 0 4, or 0 1 2, but is
# forbidden; it adds nothing to the intensity, which is right, but is counted. |F|² from intensity / (multiplicity · LP) is
# half of what it is, and tables of reflections state multiplicities that no group has; lines without such mates are right.
. "$(dirname "$0")/lib.sh"
packages pymatgen==2026.10.24 gemmi==0.7.5

python - <<'PY' 2>/dev/null
import sys

import gemmi
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import Lattice, Structure

calcite = Lattice.hexagonal(4.9896, 17.061), ["Ca", "C", "O"], [[0, 0, 0], [0, 0, 0.25], [0.2568, 0, 0.25]]
pyrite = Lattice.cubic(5.4166), ["Fe", "S"], [[0, 0, 0], [0.3851, 0.3851, 0.3851]]


def by_group(symbol, hkl):
    """Images of hkl and of its Friedel mate under the operations of a group."""
    operations = gemmi.SpaceGroup(symbol).operations()
    images = {tuple(op.apply_to_hkl(list(hkl))) for op in operations}
    return len(images | {tuple(-i for i in image) for image in images})


found = {}
for name, symbol, crystal in (("calcite", "R-3c", calcite), ("pyrite", "Pa-3", pyrite)):
    structure = Structure.from_spacegroup(symbol, *crystal)
    operations = gemmi.SpaceGroup(symbol).operations()
    pattern = XRDCalculator().get_pattern(structure, two_theta_range=(20, 45))
    for angle, families in zip(pattern.x, pattern.hkls):
        hkl = families[0]["hkl"]
        hkl = hkl if len(hkl) == 3 else (hkl[0], hkl[1], hkl[3])
        if operations.is_systematically_absent(list(hkl)):  # the name is that of the forbidden mate
            hkl = (hkl[1], hkl[0], hkl[2])
        found[name, hkl, round(float(angle), 2)] = by_group(symbol, hkl), families[0]["multiplicity"]
for line, (expected, seen) in found.items():
    print(*line, "expected", expected, "seen", seen)
doubled = {line[:2] for line, (expected, seen) in found.items() if seen == 2 * expected}
right = {line[:2] for line, (expected, seen) in found.items() if seen == expected}
as_recorded = ("calcite", (1, 0, 4)) in doubled and ("calcite", (0, 0, 6)) in right and any(n == "pyrite" for n, _ in doubled)
sys.exit(0 if as_recorded and len(doubled) + len(right) == len(found) else 1)
PY
