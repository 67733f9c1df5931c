"""PANalytical and Philips: .xrdml (XML) and .udf (text)."""

import re
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns.containers import parse_xml
from simxrd_hf.patterns.numbers import first_number, number_list, points_between
from simxrd_hf.patterns.pattern import Range, emission

_SCAN_AXES = {"gonio", "2theta", "2thetaomega", "omega2theta", "2thetatheta", "theta2theta"}


def read_xrdml(raw: bytes, path: str, warnings: list[str]) -> list[Range]:
    """Scans of a .xrdml file."""
    root = parse_xml(raw, path)
    if root.tag != "xrdMeasurements":
        raise BadInput(f"{path}: XML of <{root.tag}>, not of a diffraction measurement (<xrdMeasurements>)")
    sample = (root.findtext("sample/id") or root.findtext("sample/name") or "").strip()
    ranges = []
    for measurement in root.iter("xrdMeasurement"):
        wavelength, facts = _tube(measurement)
        if sample:
            facts["sample"] = sample
        repeated = (measurement.get("measurementType") or "").lower() == "repeated scan"
        for index, scan in enumerate(measurement.iter("scan")):
            item = _scan(scan, path)
            item.wavelength, item.metadata = wavelength, facts | item.metadata
            item.repeat = repeated and index > 0
            ranges.append(item)
    return ranges


def _tube(measurement: Element) -> tuple[float | None, dict[str, Any]]:
    used = measurement.find("usedWavelength")
    anode = next((e.text for e in measurement.iter("anodeMaterial") if e.text), None)
    if used is None:
        return emission(None, anode=anode)
    first, second, ratio = (first_number(used.findtext(tag)) for tag in ("kAlpha1", "kAlpha2", "ratioKAlpha2KAlpha1"))
    intended = (used.get("intended") or "").lower().replace(" ", "")
    if intended in {"k-beta", "kbeta"}:
        return emission(first_number(used.findtext("kBeta")), anode=anode, monochromatic=True)
    # "K-Alpha 1" is also what diffractometers without a monochromator write; only an optic removes Kα2
    incident = measurement.find("incidentBeamPath")
    filtered = incident is not None and any("monochromator" in e.tag.lower() for e in incident.iter())
    return emission(first, second, ratio, anode=anode, monochromatic=bool(filtered and intended == "k-alpha1"))


def _scan(scan: Element, path: str) -> Range:
    axis = re.sub(r"[\s_/-]", "", (scan.get("scanAxis") or "").lower())
    if axis and axis not in _SCAN_AXES:
        raise BadInput(f"{path}: the scan runs along {scan.get('scanAxis')!r}, not along 2θ; a powder scan is needed")
    points = scan.find("dataPoints")
    if points is None:
        raise BadInput(f"{path}: a scan without dataPoints; cut short?")
    corrected, counted = points.find("intensities"), points.find("counts")
    values = corrected if corrected is not None else counted
    if values is None:
        raise BadInput(f"{path}: a scan without counts or intensities")
    y = number_list(values.text or "", f"{path}: {values.tag}")
    position = next((p for p in points.iter("positions") if p.get("axis") == "2Theta"), None)
    if position is None:
        raise BadInput(f"{path}: a scan without 2θ positions")
    unit = (position.get("unit") or "deg").lower()
    if unit not in {"deg", "degree", "degrees", "rad"}:
        raise BadInput(f"{path}: 2θ in {unit!r}; degrees are expected")
    listed = position.findtext("listPositions")
    if listed is not None:
        x = number_list(listed, f"{path}: listPositions")
    else:
        start, end = (first_number(position.findtext(tag)) for tag in ("startPosition", "endPosition"))
        if start is None or end is None:
            raise BadInput(f"{path}: the scan does not move in 2θ; a powder scan is needed")
        x = np.linspace(start, end, len(y)) if len(y) > 1 else np.full(len(y), start)
    attenuation = points.findtext("beamAttenuationFactors")
    if attenuation and values is counted:  # <intensities> already hold the correction
        factors = number_list(attenuation, f"{path}: beamAttenuationFactors")
        if len(factors) != len(y) or not (factors > 0).all():
            raise BadInput(f"{path}: {len(factors)} attenuation factors for {len(y)} points, or one is not positive")
        y = y * factors
    unit_y = (values.get("unit") or "counts").lower()
    time = first_number(points.findtext("commonCountingTime"))
    times = points.findtext("countingTimes")
    kind = "cps" if "cps" in unit_y else "counts"
    if times and kind == "counts":
        seconds = number_list(times, f"{path}: countingTimes")
        if len(seconds) != len(y) or not (seconds > 0).all():
            raise BadInput(f"{path}: {len(seconds)} counting times for {len(y)} points, or one is not positive")
        y, kind, time = y / seconds, "cps", None
    return Range(
        x,
        y,
        axis="two_theta_radians" if unit == "rad" else "two_theta",
        unit=kind,
        time_s=time if time and time > 0 else None,
        metadata={"status": scan.get("status")} if scan.get("status") not in (None, "Completed") else {},
    )


def read_udf(text: str, path: str, warnings: list[str]) -> list[Range]:
    """The scan of a .udf file: `Key,value,/` lines, then `RawScan` and counts up to a slash."""
    lines = text.splitlines()
    keys: dict[str, str] = {}
    begin = None
    for number, line in enumerate(lines, 1):
        if line.strip() == "RawScan":
            begin = number
            break
        key, _, value = line.partition(",")
        keys[key.strip()] = value.strip().removesuffix("/").strip().rstrip(",").strip()
    if begin is None:
        raise BadInput(f"{path}: no RawScan line in {len(lines)} lines; cut short?")
    body = "\n".join(lines[begin:])
    counts, slash, _ = body.partition("/")
    y = number_list(counts, f"{path}: counts after line {begin}")
    limits = [first_number(part) for part in keys.get("DataAngleRange", "").split(",")]
    step = first_number(keys.get("ScanStepSize"))
    if len(limits) < 2 or limits[0] is None or limits[1] is None or not step or step <= 0:
        raise BadInput(f"{path}: DataAngleRange or ScanStepSize is missing")
    expected = points_between(limits[0], limits[1], step, path)
    if (not slash and len(y) < expected) or abs(len(y) - expected) > max(2, 0.001 * expected):
        raise BadInput(f"{path}: the header announces {expected} points, the file holds {len(y)}; cut short?")
    wavelength, facts = emission(
        first_number(keys.get("LabdaAlpha1")),
        first_number(keys.get("LabdaAlpha2")),
        first_number(keys.get("RatioAlpha21")),
        anode=keys.get("Anode"),
    )
    if keys.get("SampleIdent"):
        facts["sample"] = keys["SampleIdent"]
    time = first_number(keys.get("ScanStepTime"))
    return [
        Range(
            limits[0] + step * np.arange(len(y)),
            y,
            wavelength=wavelength,
            unit="counts",
            time_s=time if time and time > 0 else None,
            metadata=facts,
        )
    ]
