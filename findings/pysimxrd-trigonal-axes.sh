#!/usr/bin/env bash
# Pysimxrd 1.0.0: sim_model="WPEM" places the lines of trigonal crystals as if they were cubic: c is not used at all.
# Input: calcite, R -3 c on hexagonal axes, a 4.9896 and c 17.061 Å; the steps of generator.parser(..., sim_model="WPEM") that
# lead to the spacings, with its own functions: conventional cell, space group, crystal system, formula.
# Expected: 1/d² = 4/3 (h² + hk + k²)/a² + l²/c² on hexagonal axes; the strongest line is 104, 3.04 Å, 29.4°.
# Seen: groups 143 to 167 all take the formula of rhombohedral axes with α = 90° of the conventional cell, a/√(h² + k² + l²):
# 104 at 1.21 Å, and twice the c axis changes nothing. The whole simulation (not run here, it takes long) had its high lines at
# 40.4, 44.4, 51.8 and 55.2°, those of a cube of 4.99 Å, and none at 29.4°: 25 groups are labelled with patterns of another
# lattice. The default simulator, by pymatgen, has its highest at 29.4°.
. "$(dirname "$0")/lib.sh"
packages pysimxrd==1.0.0 ase==3.29.0 pymatgen==2026.10.24 spglib==2.8.0

python - <<'PY' 2>/dev/null
import sys
from ase.spacegroup import crystal
from pymatgen.core import Lattice
from Pysimxrd.generator import _spacegroup_from_atoms
from Pysimxrd.utils.WPEMsim import BraggLawDerivation, prim2conv, space_group_to_crystal_system

a = 4.9896
planes = [(0, 1, 2), (1, 0, 4), (0, 0, 6), (1, 1, 0)]
sites = [(0, 0, 0), (0, 0, 0.25), (0.2568, 0, 0.25)]
seen, expected = {}, {}
for c in (17.061, 34.122):
    atoms = crystal(["Ca", "C", "O"], sites, spacegroup=167, cellpar=[a, a, c, 90, 90, 120])
    constants, _, conventional = prim2conv(atoms)
    system = space_group_to_crystal_system(_spacegroup_from_atoms(conventional)[0])
    spacings = BraggLawDerivation().get_d_space(system, *zip(*planes), *constants)[0]
    seen[c] = [round(float(d), 2) for d in spacings]
    expected[c] = [round(float(Lattice.from_parameters(*constants).d_hkl(plane)), 2) for plane in planes]
print("spacings of", planes)
print("expected:", expected)
print("seen:    ", seen)

as_recorded = expected[17.061] == [3.85, 3.04, 2.84, 2.49] and seen[17.061] == seen[34.122] == [2.23, 1.21, 0.83, 3.53]
sys.exit(0 if as_recorded else 1)
PY
