#!/usr/bin/env bash
# diffsims 0.7.0 with orix 0.15.0: sanitise_phase() fills hexagonal cells with atoms at wrong places: 24 atoms for 4 of zincite.
# Input: zincite (P 63 m c), calcite (R -3 c) and halite as orix Phases; ReciprocalLatticeVector.sanitise_phase(), which the
# documentation has one call before structure factors.
# Expected: 4, 30 and 8 atoms, which orix gives by Phase.expand_asymmetric_unit(); |F| of 100 of calcite 0, as R forbids it.
# Seen: 24, 48 and 8; |F| of 100 is 21, half that of 006. orix turns the axes and keeps the places in space, so Zn at 1/3 2/3 0
# reads 0.577 0.577 0 in its Phase; diffsims applies the operators of the crystal's own axes to that. Cubic crystals are
# right, and so is the lattice: lines stand where they should, with the strengths of another crystal. Nothing warns.
. "$(dirname "$0")/lib.sh"
packages diffsims==0.7.0 orix==0.15.0 diffpy.structure==3.3.1

MPLBACKEND=agg python - <<'PY' 2>/dev/null
import sys

import numpy as np
from diffpy.structure import Atom, Lattice, Structure
from diffsims.crystallography import ReciprocalLatticeVector
from orix.crystal_map import Phase

crystals = {
    "zincite": (186, (3.2495, 3.2495, 5.2069, 90, 90, 120), [("Zn", (1 / 3, 2 / 3, 0)), ("O", (1 / 3, 2 / 3, 0.382))]),
    "calcite": (167, (4.9896, 4.9896, 17.061, 90, 90, 120),
                [("Ca", (0, 0, 0)), ("C", (0, 0, 0.25)), ("O", (0.2568, 0, 0.25))]),
    "halite": (225, (5.6402, 5.6402, 5.6402, 90, 90, 90), [("Na", (0, 0, 0)), ("Cl", (0.5, 0.5, 0.5))]),
}


def phase(name):
    number, cell, atoms = crystals[name]
    sites = [Atom(element, list(place)) for element, place in atoms]
    return Phase(space_group=number, structure=Structure(atoms=sites, lattice=Lattice(*cell)))


def factor(of, sanitise):
    """|F| of 100 for electrons, Å."""
    vector = ReciprocalLatticeVector(of, hkl=[[1, 0, 0]])
    if sanitise:
        vector.sanitise_phase()
    vector.calculate_structure_factor()
    return round(float(np.abs(vector.structure_factor)[0]), 2)


expected, seen = {}, {}
for name in crystals:
    expected[name] = len(phase(name).expand_asymmetric_unit().structure)
    vector = ReciprocalLatticeVector(phase(name), hkl=[[1, 0, 0]])
    vector.sanitise_phase()
    seen[name] = len(vector.phase.structure)
allowed = factor(phase("calcite").expand_asymmetric_unit(), False), factor(phase("calcite"), True)
print("expected:", expected, "atoms; |F| of 100 of calcite", allowed[0])
print("seen:    ", seen, "atoms; |F| of 100 of calcite", allowed[1])
right = expected == {"zincite": 4, "calcite": 30, "halite": 8} and allowed[0] < 0.01
sys.exit(0 if right and seen == {"zincite": 24, "calcite": 48, "halite": 8} and allowed[1] > 20 else 1)
PY
