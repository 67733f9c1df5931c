"""Bruker and Siemens: binary .raw (versions 1 to 4), .uxd (text) and .brml (ZIP)."""

import re
from typing import Any

import numpy as np

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns.binary import Fields, byte_places, seconds, stepped
from simxrd_hf.patterns.containers import Archive, parse_xml
from simxrd_hf.patterns.pattern import MAX_POINTS, Range, emission, without_missing, without_zero_tail
from simxrd_hf.patterns.quantities import angstrom, first_number, number_list

# Layouts: Siemens, "Diffrac-AT Raw Data File Format" (versions 1, 2); Bruker, "DIFFRAC plus XCH V5.0 User's Manual",
# appendix A (version 3). Version 4 is unpublished; its chain of segments is described by the readers of GSAS-II
# (G2pwd_BrukerRAW) and geddes, and was checked against a measured file.
_MAX_RANGES = 4096


def read_raw(raw: bytes, path: str, warnings: list[str]) -> list[Range]:
    """Ranges of a binary .raw file."""
    data = Fields(raw, path)
    if raw.startswith(b"RAW1.01"):
        ranges = _version3(data, warnings)
    elif raw.startswith(b"RAW4.00"):
        ranges = _version4(data)
    elif raw.startswith(b"RAW2"):
        ranges = _version2(data)
    else:
        ranges = _version1(data)
    return [without_zero_tail(item, warnings) for item in ranges]


def _version1(data: Fields) -> list[Range]:
    ranges: list[Range] = []
    at = 4
    while True:
        if ranges and data.raw[at : at + 4] == b"RAW ":  # later writers repeat the mark before every range
            at += 4
        count = data.get("I", at)
        time, step = data.get("f", at + 4), data.get("f", at + 8)
        start = data.get("f", at + 20)
        sample = data.text(at + 36, 32)
        wavelength, facts = emission(data.get("f", at + 68), data.get("f", at + 72))
        following = data.get("I", at + 148)
        begin = at + 152
        y = data.column("f4", begin, count, 4)
        if sample:
            facts["sample"] = sample
        ranges.append(
            Range(
                stepped(start, step, count, data.path, at),
                y,
                wavelength=wavelength,
                unit="counts",
                time_s=seconds(time),
                metadata=facts,
                places=byte_places(begin, count, 4),
                place="offset",
            )
        )
        at = begin + 4 * count
        if following == 0:
            return ranges
        if len(ranges) >= _MAX_RANGES:
            raise BadInput(f"{data.path}: more than {_MAX_RANGES} ranges; damaged file")


def _version2(data: Fields) -> list[Range]:
    count_ranges = data.get("H", 4)
    if not 1 <= count_ranges <= _MAX_RANGES:
        raise BadInput(f"{data.path}: {count_ranges} ranges announced at offset 4; damaged file")
    wavelength, facts = emission(data.get("f", 190), data.get("f", 194), data.get("f", 198), anode=data.text(188, 2))
    facts["measured_at"] = data.text(168, 20)
    at, ranges = 256, []
    for _ in range(count_ranges):
        size, count = data.get("H", at), data.get("H", at + 2)
        if size < 48:
            raise BadInput(f"{data.path}: range header of {size} bytes at offset {at}; damaged file")
        time, step, start = data.get("f", at + 8), data.get("f", at + 12), data.get("f", at + 16)
        begin = at + size
        ranges.append(
            Range(
                stepped(start, step, count, data.path, at),
                data.column("f4", begin, count, 4),
                wavelength=wavelength,
                unit="counts",
                time_s=seconds(time),
                metadata=dict(facts),
                places=byte_places(begin, count, 4),
                place="offset",
            )
        )
        at = begin + 4 * count
    return ranges


# What the writer of a version 3 file said of it (offset 8).
_UNFINISHED = {2: "active", 3: "aborted", 4: "interrupted"}


# Coupled, uncoupled, detector, and a position-sensitive detector driven along (129: one that stands still).
_TYPES_ALONG_TWO_THETA = (0, 1, 2, 20, 130)


def _version3(data: Fields, warnings: list[str]) -> list[Range]:
    status = _UNFINISHED.get(data.get("I", 8))
    count_ranges = data.get("I", 12)
    if not 1 <= count_ranges <= _MAX_RANGES:
        raise BadInput(f"{data.path}: {count_ranges} ranges announced at offset 12; damaged file")
    wavelength, facts = emission(data.get("d", 624), data.get("d", 632), data.get("d", 648), anode=data.text(608, 4))
    facts |= {"measured_at": f"{data.text(16, 10)} {data.text(26, 10)}".strip(), "sample": data.text(326, 60)}
    at, ranges = 712, []
    for _ in range(count_ranges):
        size, count = data.get("I", at), data.get("I", at + 4)
        if not 260 <= size <= 1 << 20:
            raise BadInput(f"{data.path}: range header of {size} bytes at offset {at}; damaged file")
        start, step = data.get("d", at + 16), data.get("d", at + 176)
        scan_type, varying = data.get("I", at + 196), data.get("I", at + 248)
        stride, extra = data.get("I", at + 252), data.get("I", at + 256)
        if scan_type not in _TYPES_ALONG_TWO_THETA:
            raise BadInput(f"{data.path}: scan type {scan_type} at offset {at + 196} is no 2θ scan")
        # a record: the intensity, then one double for each quantity that changes from point to point
        if stride != 4 + 8 * bin(varying).count("1"):
            raise BadInput(
                f"{data.path}: records of {stride} bytes at offset {at + 252} do not fit the file's own list"
            )
        begin = at + size + extra
        there = (len(data.raw) - begin) // stride
        if status is not None and 0 <= there < count <= MAX_POINTS:
            warnings.append(f"the measurement is marked {status}: {there} of {count} points are there")
            count = there
        y = data.column("f4", begin, count, stride)
        if varying & 1:
            x = np.ndarray((count,), "<f8", data.raw, begin + 4, (stride,)).astype(np.float64)
        else:
            x = stepped(start, step, count, data.path, at)
        ranges.append(
            Range(
                x,
                y,
                wavelength=wavelength,
                unit="counts",
                time_s=seconds(data.get("f", at + 192)),
                metadata=dict(facts),
                places=byte_places(begin, count, stride),
                place="offset",
            )
        )
        at = begin + stride * count
        if status is not None and at >= len(data.raw) - 4:
            break
    return ranges


_COUPLED = {"lockedcoupled", "unlockedcoupled", "unlockedcoupledhrxrd", "detectorscan", "coupledtwotheta/theta"}


def _version4(data: Fields) -> list[Range]:
    wavelength: float | None = None
    facts: dict[str, Any] = {"measured_at": f"{data.text(12, 12)} {data.text(24, 10)}".strip()}
    ranges: list[Range] = []
    at = 61
    while at + 4 <= len(data.raw):
        kind = data.get("I", at)
        if kind in (0, 160):
            item, at = _range4(data, at)
            item.wavelength, item.metadata = wavelength, dict(facts) | item.metadata
            ranges.append(item)
            if len(ranges) > _MAX_RANGES:
                raise BadInput(f"{data.path}: more than {_MAX_RANGES} ranges; damaged file")
            continue
        size = data.get("I", at + 4)
        if size < 8 or at + size > len(data.raw):
            raise BadInput(f"{data.path}: segment of {size} bytes at offset {at} does not fit the file; cut short?")
        if kind == 10 and size > 36:
            key = data.text(at + 12, 24).lower()
            if key in {"sampleid", "comment"}:
                facts["sample" if key == "sampleid" else key] = data.text(at + 36, size - 36)
        elif kind == 30 and size >= 120:
            wavelength, tube = emission(
                data.get("d", at + 80), data.get("d", at + 88), data.get("d", at + 104), anode=data.text(at + 116, 4)
            )
            facts |= tube
        at += size
    if not ranges:
        raise BadInput(f"{data.path}: no measured range in the file; cut short?")
    return ranges


def _range4(data: Fields, at: int) -> tuple[Range, int]:
    data.get("I", at + 156)  # the whole header must be there
    scan = data.text(at + 32, 24)
    start, step, count = data.get("d", at + 72), data.get("d", at + 80), data.get("I", at + 88)
    time, stride, extra = data.get("f", at + 92), data.get("I", at + 136), data.get("I", at + 140)
    if re.sub(r"[\s_-]", "", scan.lower()) not in _COUPLED:
        raise BadInput(f"{data.path}: scan type {scan!r} at offset {at + 32} is no 2θ scan; export it as .xy")
    if extra > 1 << 20 or stride % 4 or stride > 4096:
        raise BadInput(f"{data.path}: header of {extra} and records of {stride} bytes at offset {at}; damaged file")
    begin = at + 160 + extra
    y = data.column("f4", begin, count, stride)
    item = Range(
        stepped(start, step, count, data.path, at),
        y,
        unit="counts",
        time_s=seconds(time),
        metadata={"scan_type": scan},
        places=byte_places(begin, count, stride),
        place="offset",
    )
    return item, begin + stride * count


_UXD_DATA = re.compile(r"(2THETA)?(COUNTS|CPS)(TIME)?")


def read_uxd(text: str, path: str, warnings: list[str]) -> list[Range]:
    """Blocks of a .uxd file."""
    common: dict[str, str] = {}
    keys: dict[str, str] = {}
    ranges: list[Range] = []
    mode: str | None = None
    rows: list[str] = []

    def close() -> None:
        nonlocal mode
        if mode is not None and mode != "skip" and rows:  # a peak list is no pattern
            ranges.append(without_zero_tail(_uxd_range(mode, rows, common | keys, path), warnings))
        mode = None
        rows.clear()

    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.split(";")[0].strip()
        if not stripped:
            continue
        if stripped.startswith("_"):
            key, assigned, value = stripped[1:].partition("=")
            key = key.strip().upper()
            if assigned and not (_UXD_DATA.fullmatch(key) and value.strip().isdigit()):  # "_COUNTS = 1": of detector 1
                if key == "DRIVE":
                    close()
                    keys = {}
                (keys if "DRIVE" in keys or key == "DRIVE" else common)[key] = value.strip().strip("'\"").strip()
            else:
                close()
                if not _UXD_DATA.fullmatch(key):
                    if key in {"D-I", "2THETA-I"}:
                        mode = "skip"
                        continue
                    raise BadInput(f"{path}: line {number}: unknown data block _{key}")
                mode = key
        elif mode is None:
            raise BadInput(f"{path}: line {number} holds numbers outside a data block: {stripped[:60]!r}")
        else:
            rows.append(stripped)
    close()
    return ranges


def _uxd_range(mode: str, rows: list[str], keys: dict[str, str], path: str) -> Range:
    values = number_list(" ".join(rows), f"{path}: data block _{mode}")
    if mode.startswith("2THETA"):
        columns = 3 if mode.endswith("TIME") else 2
        if len(values) % columns:
            raise BadInput(f"{path}: {len(values)} numbers in a block of {columns} columns; cut short?")
        table = values.reshape(-1, columns)
        x, y = table[:, 0], table[:, 1]
    else:
        start = first_number(keys.get("START", keys.get("2THETA")))
        step = first_number(keys.get("STEPSIZE"))
        if start is None or step is None:
            raise BadInput(f"{path}: a block gives no _START or no _STEPSIZE")
        y = values
        count = first_number(keys.get("STEPCOUNT"))
        if count and int(count) != len(y):
            raise BadInput(f"{path}: _STEPCOUNT announces {int(count)} points, the block holds {len(y)}; cut short?")
        x = stepped(start, step, len(y), path, 0)
    drive = keys.get("DRIVE", "COUPLED").upper()
    if drive not in {"COUPLED", "2THETA", "TWOTHETA", "DETECTOR", "UNCOUPLED"}:
        raise BadInput(f"{path}: the scan runs along {drive!r}, not along 2θ")
    wavelength, facts = emission(
        angstrom(keys.get("WL1"), keys.get("WL_UNIT")),
        angstrom(keys.get("WL2"), keys.get("WL_UNIT")),
        first_number(keys.get("WLRATIO")),
        anode=keys.get("ANODE"),
    )
    if keys.get("SAMPLE"):
        facts["sample"] = keys["SAMPLE"]
    return Range(
        x,
        y,
        wavelength=wavelength,
        unit="cps" if "CPS" in mode else "counts",
        time_s=first_number(keys.get("STEPTIME")) or None,
        metadata=facts,
    )


def read_brml(archive: Archive, path: str, warnings: list[str]) -> list[Range]:
    """Scans of a .brml file; columns are found by the file's own `DataViews`, never counted."""
    manifests = sorted(name for name in archive.names if re.fullmatch(r"(?:.*/)?DataContainer\.xml", name))
    members: list[str] = []
    for manifest in manifests:
        root = parse_xml(archive.read(manifest), f"{path}: {manifest}")
        for listing in root.iter("RawDataReferenceList"):
            listed = [(entry.text or "").strip().replace("\\", "/") for entry in listing]
            # packed anew, all of it may lie in a folder that the list does not know
            members += [next((n for n in archive.names if f"/{n}".endswith(f"/{one}")), one) for one in listed if one]
    members = list(dict.fromkeys(members))
    absent = [name for name in members if name not in archive.names]
    if 0 < len(absent) < len(members):
        warnings.append(f"the container lacks {', '.join(absent[:5])}, which its list names; the other scans are read")
        members = [name for name in members if name not in absent]
    if not members:
        members = sorted(name for name in archive.names if re.fullmatch(r"(?:.*/)?RawData\d+\.xml", name))
    if not members:
        raise BadInput(f"{path}: the container names no raw data (RawData0.xml); not a measurement")
    if len(members) > _MAX_RANGES:
        raise BadInput(f"{path}: {len(members)} scans; a mapping, not a powder pattern")
    return [_brml_scan(parse_xml(archive.read(name), f"{path}: {name}"), path, name, warnings) for name in members]


def _brml_scan(root: Any, path: str, name: str, warnings: list[str]) -> Range:
    routes = list(root.iter("DataRoute"))
    measured = [route for route in routes if route.get("RouteFlag") == "Measured"]
    if len(measured) != 1 and len(routes) != 1:
        raise BadInput(f"{path}: {name} has {len(routes)} data routes, {len(measured)} of them measured; one is needed")
    route = measured[0] if len(measured) == 1 else routes[0]
    angle = height = seconds = blank = None
    unit = "counts"
    for view in route.iter("RawDataView"):
        start, length = first_number(view.get("Start")), first_number(view.get("Length"))
        if start is None or length is None or not 0 <= start < 1e5:
            raise BadInput(f"{path}: {name}: a column without a place")
        kind = (view.get("type") or "").rpartition(":")[2]
        if kind == "FixedRawDataView" and (view.get("LogicName") or "") == "MeasuredTime":
            seconds = int(start)
        elif kind == "VaryingRawDataView":
            for offset, definition in enumerate(view.iter("FieldDefinitions")):
                axis = (definition.get("AxisId") or definition.get("FieldName") or "").strip().lower()
                if axis == "twotheta" and angle is None:
                    angle = int(start) + offset
        elif kind == "RecordedRawDataView" and height is None:
            if length != 1:
                raise BadInput(f"{path}: {name} holds {int(length)}-channel detector frames, no scan; export it as .xy")
            height = int(start)
            blank = first_number(view.findtext(".//BlankingValue"))
            base = next((e.get("Base") or "" for e in view.iter("Unit")), "").lower()
            unit = "cps" if base in {"cps", "countspersecond"} else "counts"
    if angle is None or height is None:
        raise BadInput(f"{path}: {name} has no column of {'2θ' if angle is None else 'intensities'}; not a 2θ scan")
    rows = [(element.text or "").split(",") for element in route.iter("Datum")]
    needed = max(angle, height, seconds or 0)
    table = np.empty((len(rows), 3))
    for index, row in enumerate(rows):
        if len(row) <= needed:
            raise BadInput(f"{path}: {name}: row {index + 1} has {len(row)} values, {needed + 1} are announced")
        text = ",".join((row[angle], row[height], row[seconds] if seconds is not None else "0"))
        values = number_list(text, f"{path}: {name}, row {index + 1}")
        if len(values) != 3:
            raise BadInput(f"{path}: {name}: row {index + 1} lacks a value")
        table[index] = values
    lines = {
        tag: _quantity(root, tag) for tag in ("WaveLengthAlpha1", "WaveLengthAlpha2", "WaveLengthRatio", "WaveLength")
    }
    anode = next((e.text or e.get("Value") or "" for e in root.iter("TubeMaterial")), None)
    wavelength, facts = emission(
        lines["WaveLengthAlpha1"] if lines["WaveLengthAlpha1"] is not None else lines["WaveLength"],
        lines["WaveLengthAlpha2"],
        lines["WaveLengthRatio"],
        anode=anode,
    )
    missing = np.zeros(len(table), dtype=bool) if blank is None else table[:, 1] == blank
    if seconds is not None:
        missing |= table[:, 2] == 0
    if len(table) and missing.all():
        raise BadInput(f"{path}: {name}: no point of the scan was measured")
    if missing.any():
        without_missing(Range(table[:, 0], table[:, 1]), missing, "no counting time or the file's mark", warnings)
        table = table[~missing]
    times = table[:, 2]
    steady = seconds is not None and len(times) and times.min() > 0
    y = table[:, 1]
    if steady and unit == "counts" and times.max() > 1.01 * times.min():
        y, unit, steady = y / times, "cps", False
    item = Range(
        table[:, 0],
        y,
        wavelength=wavelength,
        unit=unit,
        time_s=float(times[0]) if steady else None,
        metadata=facts,
    )
    return without_zero_tail(item, warnings)


def _quantity(root: Any, tag: str) -> float | None:
    element = next(iter(root.iter(tag)), None)
    if element is None:
        return None
    text = element.get("Value") or element.text
    return first_number(text) if tag.endswith("Ratio") else angstrom(text, element.get("Unit"))
