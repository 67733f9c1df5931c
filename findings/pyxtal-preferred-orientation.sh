#!/usr/bin/env bash
# pyxtal 1.1.5: the correction for preferred orientation knows no direction: it takes the Bragg angle for the angle to the axis.
# Input: calcite, Cu Kα1, XRD(…, preferred_orientation=True, march_parameter=0.5): plates lying on their basal
# face.
# Expected (March 1932, Dollase 1986): (r² cos²α + sin²α / r)^(-3/2), α between hkl and the axis: 006 (along c)
# 8 times as strong, 110 (across c) 0.35 times: 23 times between the two.
# Seen: 4.3 and 3.7 times. The formula is right but its α is θ of the reflection: no axis can be stated, lines of one
# angle have one factor, whatever their hkl, and all lines grow. The pattern is that of no texture, only slanted over 2θ.
. "$(dirname "$0")/lib.sh"
packages pyxtal==1.1.5 ase==3.29.0

python - <<'PY' 2>/dev/null
import math, sys

from ase.spacegroup import crystal
from pyxtal.XRD import XRD

WAVELENGTH, R = 1.540593, 0.5
calcite = crystal(["Ca", "C", "O"], [(0, 0, 0), (0, 0, 0.25), (0.2568, 0, 0.25)], spacegroup=167,
                  cellpar=[4.9896, 4.9896, 17.061, 90, 90, 120])


def lines(**kinds):
    """Intensities by 2θ."""
    made = XRD(calcite, wavelength=WAVELENGTH, thetas=[20, 60], **kinds)
    return {round(float(angle), 2): float(strength) for angle, strength in zip(made.theta2, made.xrd_intensity)}


def march(angle):
    return (R**2 * math.cos(angle) ** 2 + math.sin(angle) ** 2 / R) ** -1.5


plain, plates = lines(), lines(preferred_orientation=True, march_parameter=R)
as_bragg = True
expected, seen = {}, {}
for name, d, alpha in (("006", 17.061 / 6, 0), ("110", 4.9896 / 2, math.pi / 2)):
    theta = math.asin(WAVELENGTH / 2 / d)
    line = min(plain, key=lambda x: abs(x - 2 * math.degrees(theta)))
    expected[name], seen[name] = round(march(alpha), 2), round(plates[line] / plain[line], 2)
    as_bragg = as_bragg and abs(seen[name] - march(theta)) < 0.02
print("expected:", expected)
print("seen:    ", seen, "the formula with the Bragg angle" if as_bragg else "")
sys.exit(0 if as_bragg and min(plates[x] / plain[x] for x in plain) > 1.5 else 1)
PY
