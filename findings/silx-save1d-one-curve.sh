#!/usr/bin/env bash
# silx 3.1.3: save1D refuses one curve as a 1-D array when the file is SPEC, although its docstring allows it.
# Input: x and y of five points, silx.io.utils.save1D(path, x, y); "y can be a 1D-array in case there is only one curve".
# Expected: a SPEC file (.dat) as for [y], as CSV works with y. Seen: TypeError: object of type … has no len().
. "$(dirname "$0")/lib.sh"
packages silx==3.1.3

python - <<'PY' 2>/dev/null
import sys
import numpy as np
from silx.io.utils import save1D

x, y = np.arange(5.0), np.arange(5.0) ** 2
seen = {}
for name, values in (("one.csv", y), ("list.dat", [y]), ("one.dat", y)):
    try:
        save1D(name, x, values, xlabel="2theta", ylabels=["counts"])
        seen[name] = "written"
    except TypeError as error:
        seen[name] = f"TypeError: {error}"
print("expected: written, all three")
print("seen:    ", seen)
right = seen["one.csv"] == seen["list.dat"] == "written"
sys.exit(0 if right and "has no len()" in seen["one.dat"] else 1)
PY
