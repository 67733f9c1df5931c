"""PANalytical and Philips: .xrdml (XML), .udf (text), .rd and .sd (binary)."""

import re
import struct
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns.containers import parse_xml
from simxrd_hf.patterns.header import require_two_theta
from simxrd_hf.patterns.pattern import MAX_POINTS, Range, emission, without_zero_tail
from simxrd_hf.patterns.quantities import angstrom, first_number, number_list, points_between


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
            item = without_zero_tail(_scan(scan, path), warnings)
            item.wavelength, item.metadata = wavelength, facts | item.metadata
            item.repeat = repeated and index > 0
            ranges.append(item)
    return ranges


def _tube(measurement: Element) -> tuple[float | None, dict[str, Any]]:
    used = measurement.find("usedWavelength")
    anode = next((e.text for e in measurement.iter("anodeMaterial") if e.text), None)
    if used is None:
        return emission(None, anode=anode)
    first, second, beta = (_length(used, tag) for tag in ("kAlpha1", "kAlpha2", "kBeta"))
    ratio = first_number(used.findtext("ratioKAlpha2KAlpha1"))
    intended = (used.get("intended") or "").lower().replace(" ", "")
    if intended in {"k-beta", "kbeta"}:
        return emission(beta, anode=anode, monochromatic=True)
    # "K-Alpha 1" is also what diffractometers without a monochromator write; only an optic removes Kα2
    incident = measurement.find("incidentBeamPath")
    filtered = incident is not None and any("monochromator" in e.tag.lower() for e in incident.iter())
    return emission(first, second, ratio, anode=anode, monochromatic=bool(filtered and intended == "k-alpha1"))


def _length(used: Element, tag: str) -> float | None:
    element = used.find(tag)
    return None if element is None else angstrom(element.text, element.get("unit"))


def _is_two_theta(axis: str | None) -> bool:
    r"""Whether an axis is "2Theta", in whatever spelling (pyFAI writes its label in LaTeX, "2\theta")."""
    return re.sub(r"[^0-9a-z]", "", (axis or "").lower()) == "2theta"


def _scan(scan: Element, path: str) -> Range:
    require_two_theta(scan.get("scanAxis"), path)
    points = scan.find("dataPoints")
    if points is None:
        raise BadInput(f"{path}: a scan without dataPoints; cut short?")
    corrected, counted = points.find("intensities"), points.find("counts")
    values = corrected if corrected is not None else counted
    if values is None:
        raise BadInput(f"{path}: a scan without counts or intensities")
    y = number_list(values.text or "", f"{path}: {values.tag}")
    position = next((p for p in points.iter("positions") if _is_two_theta(p.get("axis"))), None)
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
    item = Range(
        limits[0] + step * np.arange(len(y)),
        y,
        wavelength=wavelength,
        unit="counts",
        time_s=time if time and time > 0 else None,
        metadata=facts,
    )
    return [without_zero_tail(item, warnings)]


# Layout: xylib's philips_raw.cpp, from the maker's description, and PyXRD's rd_parser.py: version in four letters;
# offset 85: anode; 94: Kα1, Kα2 (Å) and their ratio; 146: sample; 214: step, start, stop; then one uint16 a point,
# ten times the square root of the counts.
_RD_ANODES = ("Cu", "Mo", "Fe", "Cr")
_RD_DATA = {b"V3": 250, b"V5": 810}


def read_rd(raw: bytes, path: str, warnings: list[str]) -> list[Range]:
    """The scan of a Philips PC-APD .rd or .sd file (versions 3 and 5).

    The format keeps ten times the square root of the counts as a whole number, so counts are exact to about one part
    in 5 √counts only; they are rounded down as the maker's programs do.
    """
    begin = _RD_DATA[raw[:2]]
    if len(raw) < begin:
        raise BadInput(f"{path}: cut short: the header needs {begin} bytes, the file has {len(raw)}")
    first, second, ratio = struct.unpack_from("<ddd", raw, 94)
    step, start, stop = struct.unpack_from("<ddd", raw, 214)
    if not (np.isfinite([step, start, stop]).all() and 1e-4 < step < 10 and -180 < start < stop < 180):
        raise BadInput(f"{path}: start {start:g}°, stop {stop:g}° and step {step:g}° at offset 214 make no scan")
    count = int((stop - start) / step + 1 + 1e-6)
    if count > MAX_POINTS or begin + 2 * count > len(raw):
        raise BadInput(
            f"{path}: cut short: {count} points announced at offset 214 need {2 * count} bytes, "
            f"{len(raw) - begin} are there"
        )
    packed = np.frombuffer(raw, "<u2", count, begin).astype(np.float64)
    anode = _RD_ANODES[raw[85]] if raw[85] < len(_RD_ANODES) else None
    wavelength, facts = emission(first, second, ratio, anode=anode)
    facts["sample"] = raw[146:166].split(b"\0")[0].decode("latin-1").strip()
    item = Range(
        start + step * np.arange(count),
        np.floor(packed * packed / 100),
        wavelength=wavelength,
        unit="counts",
        metadata=facts,
        places=begin + 2 * np.arange(count),
        place="offset",
    )
    return [without_zero_tail(item, warnings)]
