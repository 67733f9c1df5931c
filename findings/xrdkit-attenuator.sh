#!/usr/bin/env bash
# xrdkit 0.2.0: the attenuation factors of XRDML are ignored: lines measured behind the attenuator are as much too weak.
# Input: XRDML 2.1 with <counts> and <beamAttenuationFactors> 1 or 10.04, as diffractometers with an automatic attenuator write
# for strong lines.
# Expected: counts × factor, as xrayutilities (rate, so × time) and geddes have it: 9,538 at the top of the line.
# Seen: 950, a dent where the maximum is: counts are taken for intensities, which the schema of the format defines as counts times
# factor. Nothing is said, so the lines found, their heights, areas and quality are those of the attenuator.
. "$(dirname "$0")/lib.sh"
packages xrdkit==0.2.0 xrayutilities==1.8.0 geddes==1.0.1

cat >line.xrdml <<'XML'
<?xml version="1.0" encoding="UTF-8"?>
<xrdMeasurements xmlns="http://www.xrdml.com/XRDMeasurement/2.1" status="Completed">
<sample type="To be analyzed"><id>silicon</id></sample>
<xrdMeasurement measurementType="Scan" status="Completed">
<usedWavelength intended="K-Alpha 1"><kAlpha1 unit="Angstrom">1.5405980</kAlpha1><kAlpha2 unit="Angstrom">1.5444260</kAlpha2>
<kBeta unit="Angstrom">1.3922500</kBeta><ratioKAlpha2KAlpha1>0.5000</ratioKAlpha2KAlpha1></usedWavelength>
<scan appendNumber="0" mode="Continuous" scanAxis="Gonio" status="Completed">
<header><startTimeStamp>2026-03-04T10:11:12+01:00</startTimeStamp><endTimeStamp>2026-03-04T10:21:12+01:00</endTimeStamp>
<source><applicationSoftware version="7.0">Data Collector</applicationSoftware></source></header>
<dataPoints>
<positions axis="2Theta" unit="deg"><startPosition>28.40</startPosition><endPosition>28.48</endPosition></positions>
<positions axis="Omega" unit="deg"><startPosition>14.20</startPosition><endPosition>14.24</endPosition></positions>
<beamAttenuationFactors>1 1 10.04 1 1</beamAttenuationFactors>
<commonCountingTime unit="seconds">1.0</commonCountingTime>
<counts unit="counts">1210 4870 950 4790 1180</counts>
</dataPoints></scan>
</xrdMeasurement></xrdMeasurements>
XML

MPLBACKEND=agg python - <<'PY' 2>/dev/null
import sys

import geddes
import numpy as np
import xrayutilities as xu
from xrdkit.io import read_scan

seen = read_scan("line.xrdml").intensity.tolist()
others = {
    "xrayutilities": np.ravel(xu.io.getxrdml_scan("line.xrdml")[-1]).tolist(),
    "geddes": [float(y) for y in geddes.read("line.xrdml").y],
}
print("expected:", {name: [round(y, 1) for y in ys] for name, ys in others.items()})
print("seen:    ", seen)
agree = all(abs(ys[2] - 9538) < 1 and ys[0] == 1210 for ys in others.values())
sys.exit(0 if agree and seen == [1210, 4870, 950, 4790, 1180] else 1)
PY
