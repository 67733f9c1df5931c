#!/usr/bin/env bash
# DebyeCalculator 1.1.1: fractional coordinates of a pymatgen Structure are taken for Å.
# Input: one particle of gold, 4 atoms of a cell of 4.0782 Å, as a pymatgen 2026.10.24 Structure and as the ASE Atoms made of it.
# Expected: the same I(Q) and G(r), with the distance of 2.884 Å.
# Seen: the atoms of the Structure are 0.707 apart, "Å": Site.a, Site.b and Site.c, which are fractional, are read as positions.
. "$(dirname "$0")/lib.sh"
packages debyecalculator==1.1.1 pymatgen==2026.10.24 ase==3.29.0 torch==2.13.0

python - <<'PY' 2>/dev/null
import sys

from debyecalculator import DebyeCalculator
from pymatgen.core import Lattice, Structure

cell = Structure(Lattice.cubic(4.0782), ["Au"] * 4, [(0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)])
calculator = DebyeCalculator(qmin=0.5, qmax=40, qstep=0.01, biso=0.3, qdamp=0, rmax=10, device="cpu")
peaks = {}
for name, source in (("ASE", cell.to_ase_atoms()), ("pymatgen", cell)):
    pdf = calculator.gr(source)
    peaks[name] = round(float(max((g, r) for r, g in zip(pdf.r, pdf.g) if r > 0.4)[1]), 2)
print("highest maximum of G(r): expected", peaks["ASE"], "Å (ASE), seen", peaks["pymatgen"], "Å (pymatgen)")
sys.exit(0 if abs(peaks["ASE"] - 2.88) < 0.02 and abs(peaks["pymatgen"] - 0.71) < 0.02 else 1)
PY
