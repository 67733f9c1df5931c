#!/usr/bin/env bash
# pyFAI 2026.9.0: save_xrdml names the axis "2\theta", in LaTeX, and mixes two versions of the schema.
# Input: an integration over 2θ, written with pyFAI.io.xrdml.save_xrdml.
# Expected: <positions axis="2Theta" …> in the namespace of the schema it names; xrayutilities 1.8.0 and dara-xrd
# look for exactly that. Seen: axis="2\theta", namespace XRDMeasurement/1.0 beside a schema location of 1.3.
. "$(dirname "$0")/lib.sh"
packages pyFAI==2026.9.0

python - <<'PY' 2>/dev/null
import re, sys
import numpy as np
from pyFAI.detectors import Detector
from pyFAI.integrator.azimuthal import AzimuthalIntegrator
from pyFAI.io.xrdml import save_xrdml

integrator = AzimuthalIntegrator(dist=0.1, detector=Detector(1e-4, 1e-4, max_shape=(100, 100)), wavelength=1e-10)
save_xrdml("a.xrdml", integrator.integrate1d(np.full((100, 100), 9.0), 50, unit="2th_deg"))
text = open("a.xrdml").read()
seen = {
    "axis": re.search(r'positions axis="([^"]*)"', text)[1],
    "namespace": re.search(r'xmlns="[^"]*/([\d.]+)"', text)[1],
    "schema": re.search(r'schemaLocation="\S*/([\d.]+) ', text)[1],
}
print("expected: axis 2Theta, one version")
print("seen:    ", seen)
sys.exit(0 if seen == {"axis": "2\\theta", "namespace": "1.0", "schema": "1.3"} else 1)
PY
