#!/usr/bin/env bash
# xraydb 4.5.8: Cu Kα1 is 8046.3 eV, 1.54089 Å; the measured line is 1.54059 Å (Hölzer et al. 1997; International Tables C).
# Input: `xray_lines` of the anodes of powder diffractometers, and the angle of LaB6 100 (SRM 660c, a = 4.156826 Å).
# Expected: wavelengths to a few parts in a million, as the measured lines are known and cells are certified.
# Seen: Cu is 189 ppm too long and Fe 186 ppm too short, Ag right to 4: the cell of LaB6 comes out 0.0008 Å too large.
. "$(dirname "$0")/lib.sh"
packages xraydb==4.5.8

python - <<'PY'
import math, sys
import xraydb

KEV_ANGSTROM = 12.398419843
# Kα1 in Å, Hölzer et al., Phys. Rev. A 56 (1997) 4554 (Cr, Fe, Co, Cu); Deslattes et al., Rev. Mod. Phys. 75 (2003) 35.
measured = {"Cr": 2.289726, "Fe": 1.936041, "Co": 1.788996, "Cu": 1.540593, "Mo": 0.709317, "Ag": 0.559422}
stated = {anode: 1e3 * KEV_ANGSTROM / xraydb.xray_lines(anode)["Ka1"].energy for anode in measured}
ppm = {anode: round(1e6 * (stated[anode] / measured[anode] - 1)) for anode in measured}
cell = 4.156826
theta = math.asin(measured["Cu"] / 2 / cell)
found = stated["Cu"] / 2 / math.sin(theta)
print("expected: within 10 ppm of the measured Kα1; LaB6 4.15683 Å")
print("seen:    ", ppm, f"ppm; LaB6 {found:.5f} Å")
sys.exit(0 if 180 < ppm["Cu"] < 200 and -195 < ppm["Fe"] < -175 and abs(ppm["Ag"]) < 10 else 1)
PY
