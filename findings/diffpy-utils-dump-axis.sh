#!/usr/bin/env bash
# diffpy.utils 3.7.2: DiffractionObject.dump(path, xtype=…) writes files that do not say which axis they hold.
# Input: one pattern over 2θ, dumped as "tth", "q" and "d".
# Expected: the axis in the header (dump takes it as an argument, and the header states the wavelength).
# Seen: the three headers are the same but for the time; degrees, Å⁻¹ and Å cannot be told apart.
. "$(dirname "$0")/lib.sh"
packages diffpy.utils==3.7.2

python - <<'PY'
import sys
import numpy as np
from diffpy.utils.diffraction_objects import DiffractionObject

made = DiffractionObject(xarray=np.linspace(10, 80, 5), yarray=np.arange(5.0), xtype="tth", wavelength=1.54)
headers, first = {}, {}
for axis in ("tth", "q", "d"):
    made.dump(f"{axis}.txt", xtype=axis)
    lines = open(f"{axis}.txt").read().splitlines()
    start = lines.index("#### start data")
    headers[axis] = [line for line in lines[:start] if "creation_time" not in line]
    first[axis] = lines[start + 1].split()[0][:6]
print("expected: a header that names tth, q or d")
print("seen:    ", headers["q"], "for all three; first values", first)
sys.exit(0 if headers["tth"] == headers["q"] == headers["d"] and len(set(first.values())) == 3 else 1)
PY
