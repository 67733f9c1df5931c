#!/usr/bin/env bash
# DebyeCalculator 1.1.1: I(Q), S(Q), F(Q) and G(r) are half of what its equations say.
# Input: two atoms of gold 3 Å apart; then copper, a particle of 3 Å radius around an atom (13 atoms).
# Expected (its docs/Equations.md: a double sum over all atoms; S = I/(N<b>²) - 1 for one element; G = 2/π ∫ F sin(Qr) dQ): I
# of 2 f² (1 + sin(3Q)/3Q); S of sin(3Q)/3Q; ∫ r G(r) dr, the mean number of neighbours, of 1 and, for the cuboctahedron, 5.54.
# Seen: half of all of these. The sum runs over pairs i < j and half of the self scattering, and is not doubled: coordination
# numbers, and a fit to data on an absolute scale, are off by that factor.
. "$(dirname "$0")/lib.sh"
packages debyecalculator==1.1.1 pymatgen==2026.10.24 ase==3.29.0 torch==2.13.0

python - <<'PY' 2>/dev/null
import sys

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from debyecalculator import DebyeCalculator

pair = Atoms("Au2", [(0, 0, 0), (0, 0, 3.0)])
copper = bulk("Cu", "fcc", a=3.615, cubic=True) * (4, 4, 4)
centre = copper.positions[np.linalg.norm(copper.positions - copper.positions.mean(axis=0), axis=1).argmin()]
cluster = copper[np.linalg.norm(copper.positions - centre, axis=1) < 3.0]
distances = cluster.get_all_distances()
neighbours = ((distances > 0.1) & (distances < 3.0)).sum() / len(cluster)

sharp = DebyeCalculator(qmin=1, qmax=25, qstep=0.01, biso=0.0, qdamp=0, device="cpu", dtype=torch.float64)
q, seen = (np.asarray(one).ravel() for one in sharp.iq(pair))
factor = sharp.form_factor_func(sharp.FORM_FACTOR_COEF["Au"]).numpy().ravel()
intensity = float(np.median(seen / (2 * factor**2 * (1 + np.sin(3 * q) / (3 * q)))))
structure = float(np.median(np.asarray(sharp.sq(pair).s).ravel() / (np.sin(3 * q) / (3 * q))))
print("I(Q) over the double sum: expected 1, seen", round(intensity, 3), "; S(Q) over sin(3Q)/3Q: expected 1, seen", round(structure, 3))

wide = DebyeCalculator(qmin=0.0001, qmax=40, qstep=0.005, biso=0.6, qdamp=0, rmax=6, device="cpu", dtype=torch.float64)
numbers = []
for atoms in (pair, cluster):
    r, g = (np.asarray(one).ravel() for one in wide.gr(atoms))
    shell = (r > 2.0) & (r < 3.3)
    numbers.append(round(float((r * g)[shell].sum() * (r[1] - r[0])), 2))
print("neighbours from G(r): expected [1.0,", round(float(neighbours), 2), "], seen", numbers)
halves = [intensity, structure, numbers[0], numbers[1] / neighbours]
sys.exit(0 if len(cluster) == 13 and all(abs(half - 0.5) < 0.03 for half in halves) else 1)
PY
