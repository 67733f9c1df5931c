#!/usr/bin/env bash
# moyopy 0.21.0 and spglib 2.8.0 name different groups for one cell at one tolerance.
# Input: the AFLOW prototype PtSn4 (10 atoms, coordinates of three digits), symprec 0.01 Å in both, a distance.
# Expected: the same group, 41 (Aea2): under the operations of 68 (Ccce) images lie 0.011 Å from the atoms.
# Seen: spglib 41, moyopy 68; they agree at 0.005 Å (41) and at 0.012 Å (68).
. "$(dirname "$0")/lib.sh"
packages moyopy==0.21.0 spglib==2.8.0 numpy==2.4.6

python - <<'PY'
import sys
import moyopy, spglib

lattice = [[6.388, 0, 0], [0, 3.2095, 5.6785], [0, -3.2095, 5.6785]]
half = [(0, 0, 0), (0.673, 0.703, 0.049), (0.327, 0.049, 0.703), (0.173, 0.549, 0.203), (0.827, 0.203, 0.549)]
other = [(0.5, 0.5, 0.5), (0.827, 0.798, 0.452), (0.173, 0.452, 0.798), (0.327, 0.952, 0.298), (0.673, 0.298, 0.952)]
places, numbers = half + other, [78, 50, 50, 50, 50] * 2
seen = {}
for symprec in (0.005, 0.01, 0.012):
    ours = moyopy.MoyoDataset(moyopy.Cell(lattice, [list(p) for p in places], numbers), symprec=symprec).number
    seen[symprec] = (spglib.get_symmetry_dataset((lattice, places, numbers), symprec=symprec).number, ours)
print("expected: spglib and moyopy alike at each symprec")
print("seen:    ", seen)
sys.exit(0 if seen == {0.005: (41, 41), 0.01: (41, 68), 0.012: (68, 68)} else 1)
PY
