#!/usr/bin/env bash
# pyFAI 2026.9.0: an integrated pattern written with errors has an unfilled template for its column names.
# Input: a uniform image, integrate1d(..., unit="q_nm^-1", filename=...), without and with error_model="poisson".
# Expected: a last header line "#q_nm^-1  I  sigma" beside "#q_nm^-1  I" without errors.
# Seen: "#{str(dim1_unit):14s}  {'I':14s}  {'sigma':14s}" (an f-string without its f), so that the file does not say
# whether its first column is q, 2theta or r.
. "$(dirname "$0")/lib.sh"
packages pyFAI==2026.9.0

python - <<'PY' 2>/dev/null
import sys
import numpy as np
from pyFAI.detectors import Detector
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

integrator = AzimuthalIntegrator(dist=0.1, detector=Detector(1e-4, 1e-4, max_shape=(100, 100)), wavelength=1e-10)
seen = {}
for model in (None, "poisson"):
    integrator.integrate1d(np.full((100, 100), 9.0), 50, unit="q_nm^-1", error_model=model, filename=f"{model}.dat")
    with open(f"{model}.dat") as file:
        seen[model] = [line for line in file if line.startswith("#")][-1].split()
print("expected:", {None: ["#q_nm^-1", "I"], "poisson": ["#q_nm^-1", "I", "sigma"]})
print("seen:    ", seen)
sys.exit(0 if seen[None] == ["#q_nm^-1", "I"] and seen["poisson"][0] == "#{str(dim1_unit):14s}" else 1)
PY
