#!/usr/bin/env bash
# ASE 3.29.0: XrDebye takes the form factors at twice the scattering vector; those of Cu lack half an electron at that.
# Input: one atom of Ag, O or Cu, XrDebye(…).get_waasmaier(symbol, s) at s = q/2π = 1/d, and a grain of silver with its lines
# 111 and 220.
# Expected: the tables of Waasmaier & Kirfel (1995), which xraydb has too, as they are meant: at sinθ/λ = s/2. Ag 38.2 at
# s = 0.4 Å⁻¹ (111 of silver), Cu 29.0 at s = 0.
# Seen: 27.7, the value for sinθ/λ = 0.4, and 28.5. The docstring says s = q/2π, but s goes into exp(-b s²) as it is. Lines fall
# off too steeply: 220 against 111 is 0.85 of what it should be. The constant of Cu, -3.774477, should be -3.254477.
. "$(dirname "$0")/lib.sh"
packages ase==3.29.0 xraydb==4.5.8

python - <<'PY' 2>/dev/null
import sys

from ase import Atoms
from ase.cluster.cubic import FaceCenteredCubic
from ase.utils.xrdebye import XrDebye
from xraydb import f0


def table(symbol, s):
    """Waasmaier & Kirfel at s = 1/d."""
    return float(f0(symbol, s / 2)[0])


expected, seen, doubled = {}, {}, True
for symbol in ("Ag", "O", "Cu"):
    atom = XrDebye(Atoms(symbol), wavelength=1.540593, damping=0)
    for s in (0, 0.4, 0.8):
        expected[symbol, s] = round(table(symbol, s), 2)
        seen[symbol, s] = round(float(atom.get_waasmaier(symbol, s)), 2)
        doubled = doubled and abs(seen[symbol, s] - table(symbol, 2 * s) + 0.52 * (symbol == "Cu")) < 0.02

grain = FaceCenteredCubic("Ag", [(1, 0, 0), (1, 1, 0), (1, 1, 1)], [5, 7, 4], latticeconstant=4.0862)
made = XrDebye(grain, wavelength=1.540593, damping=0)
heights = []
for s in (3**0.5 / 4.0862, 8**0.5 / 4.0862):
    right = table("Ag", s) ** 2 / made.get_waasmaier("Ag", s) ** 2  # all atoms are alike
    heights.append((made.get(s), made.get(s) * right))
ratio = float(heights[1][0] / heights[0][0] / (heights[1][1] / heights[0][1]))
print("expected:", expected)
print("seen:    ", seen, f"; 220 against 111 of silver, {len(grain)} atoms: {ratio:.2f} of what it should be")
sys.exit(0 if doubled and expected["Ag", 0.4] > 38 and 0.8 < ratio < 0.9 else 1)
PY
