"""Rigaku: .ras (text), .rasx (ZIP) and .asc (text)."""

import re

import numpy as np

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns.containers import Archive, decode, parse_xml
from simxrd_hf.patterns.header import require_two_theta
from simxrd_hf.patterns.pattern import Range, emission, without_zero_tail
from simxrd_hf.patterns.quantities import angstrom, first_number, number_list, to_float

_FACTS = {
    "FILE_SAMPLE": "sample",
    "FILE_COMMENT": "comment",
    "MEAS_SCAN_START_TIME": "measured_at",
    "HW_GONIOMETER_NAME": "goniometer",
    "SAMPLE": "sample",
    "COMMENT": "comment",
    "DATE": "measured_at",
}


def _rows(lines: list[tuple[int, str]], path: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Angle, intensity (times the attenuator's factor where it changes) and line numbers of three-column rows."""
    x, y, factor, places = [], [], [], []
    for number, line in lines:
        if not line.strip():
            continue
        values = [to_float(token) for token in line.replace(",", " ").split()]
        if len(values) < 2 or any(value is None for value in values[:3]):
            raise BadInput(f"{path}: line {number} is not 'angle intensity factor': {line.strip()[:60]!r}")
        x.append(values[0])
        y.append(values[1])
        factor.append(values[2] if len(values) > 2 else 1.0)
        places.append(number)
    scale = np.array(factor, dtype=float)
    if len(scale) and not (scale == scale[0]).all():  # one factor for all points changes nothing
        if not np.isfinite(scale).all() or (scale <= 0).any():
            raise BadInput(f"{path}: an attenuator factor is not positive")
        y = list(np.array(y, dtype=float) * scale)
    return np.array(x, dtype=float), np.array(y, dtype=float), np.array(places)


def _tube(
    first: str | None,
    second: str | None,
    beta: str | None,
    anode: str | None,
    line: str | None,
    unit: str | None = None,
) -> tuple[float | None, dict[str, object]]:
    """Radiation from the wavelengths, the anode and the line in use ("Ka1", "Ka", "Kb")."""
    if re.match(r"k[\s_-]*(?:b|β)", (line or "").strip(), re.I):
        return emission(angstrom(beta, unit), anode=anode, monochromatic=True)
    return emission(angstrom(first, unit), angstrom(second, unit), anode=anode, line=line)


def _time(keys: dict[str, str]) -> float | None:
    """Seconds per point from a scan's speed (° per minute, or seconds) and step."""
    speed, step = first_number(keys.get("MEAS_SCAN_SPEED")), first_number(keys.get("MEAS_SCAN_STEP"))
    unit = keys.get("MEAS_SCAN_SPEED_UNIT", "").lower()
    if not speed or speed <= 0 or not step or step <= 0:
        return None
    if "min" in unit:
        return 60 * step / speed
    return speed if unit.startswith("sec") else None


def read_ras(text: str, path: str, warnings: list[str]) -> list[Range]:
    """Scans of a .ras file; every `*RAS_INT_START` block is one."""
    ranges: list[Range] = []
    keys: dict[str, str] = {}
    rows: list[tuple[int, str]] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("*"):
            key, _, value = stripped[1:].partition(" ")
            if key == "RAS_HEADER_START":
                keys = {}
            elif key == "RAS_INT_START":
                rows = []
            elif key == "RAS_INT_END":
                if rows is None:
                    raise BadInput(f"{path}: line {number}: *RAS_INT_END without a start")
                ranges.append(without_zero_tail(_ras_range(rows, keys, path), warnings))
                rows = None
            else:
                keys[key] = value.strip().strip('"').strip()
        elif rows is not None:
            rows.append((number, line))
    if rows is not None:
        raise BadInput(f"{path}: the file ends inside the data (no *RAS_INT_END after line {len(text.splitlines())})")
    return ranges


def _ras_range(rows: list[tuple[int, str]], keys: dict[str, str], path: str) -> Range:
    require_two_theta(keys.get("MEAS_SCAN_AXIS_X_INTERNAL") or keys.get("MEAS_SCAN_AXIS_X", ""), path)
    x, y, places = _rows(rows, path)
    declared = first_number(keys.get("MEAS_DATA_COUNT"))
    if declared is not None and int(declared) != len(x):
        raise BadInput(f"{path}: the header announces {int(declared)} points, the data hold {len(x)}; cut short?")
    wavelength, facts = _tube(
        keys.get("HW_XG_WAVE_LENGTH_ALPHA1"),
        keys.get("HW_XG_WAVE_LENGTH_ALPHA2"),
        keys.get("HW_XG_WAVE_LENGTH_BETA"),
        keys.get("HW_XG_TARGET_NAME"),
        keys.get("MEAS_COND_XG_WAVE_TYPE"),
        keys.get("HW_XG_WAVE_LENGTH_UNIT"),
    )
    facts |= {ours: keys[theirs] for theirs, ours in _FACTS.items() if keys.get(theirs)}
    unit = keys.get("MEAS_SCAN_UNIT_Y", keys.get("DISP_UNIT_Y", "")).lower()
    return Range(
        x,
        y,
        wavelength=wavelength,
        unit=unit if unit in {"counts", "cps"} else "arbitrary",
        time_s=_time(keys),
        metadata=facts,
        places=places,
        place="line",
    )


def read_asc(text: str, path: str, warnings: list[str]) -> list[Range]:
    """Groups of a .asc (or .dat) file: `*KEY = value` lines, counts after `*COUNT`."""
    ranges: list[Range] = []
    common: dict[str, str] = {}
    keys: dict[str, str] = {}
    rows: list[str] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if stripped.startswith("*"):
            key, _, value = stripped[1:].partition("=")
            key, value = key.strip(), value.strip()
            if key == "BEGIN":
                keys = dict(common)
            elif key == "END":
                if rows is None:
                    raise BadInput(f"{path}: line {number}: a group without *COUNT")
                ranges.append(without_zero_tail(_asc_range(rows, keys, path), warnings))
                rows = None
            elif key == "EOF":
                break
            elif key == "COUNT":
                keys[key] = value
                rows = []
            else:
                keys[key] = value
                if not ranges and rows is None and key not in {"START", "STOP", "STEP"}:
                    common[key] = value
        elif rows is not None:
            rows.append(stripped)
        else:
            raise BadInput(f"{path}: line {number} stands before *COUNT: {stripped[:60]!r}")
    if rows is not None:
        raise BadInput(f"{path}: the file ends inside a group (no *END); cut short?")
    return ranges


def _asc_range(rows: list[str], keys: dict[str, str], path: str) -> Range:
    require_two_theta(keys.get("SCAN_AXIS", ""), path)
    y = number_list(" ".join(rows), f"{path}: counts")
    start, step, count = (first_number(keys.get(key)) for key in ("START", "STEP", "COUNT"))
    if start is None or step is None or step <= 0:
        raise BadInput(f"{path}: the group gives no *START or no positive *STEP")
    if count is not None and int(count) != len(y):
        raise BadInput(f"{path}: *COUNT announces {int(count)} points, the group holds {len(y)}; cut short?")
    wavelength, facts = _tube(
        keys.get("WAVE_LENGTH1"), keys.get("WAVE_LENGTH2"), None, keys.get("TARGET"), keys.get("WAVE_TYPE")
    )
    facts |= {ours: keys[theirs] for theirs, ours in _FACTS.items() if keys.get(theirs)}
    unit = keys.get("YUNIT", "").lower()
    speed = first_number(keys.get("SPEED"))
    return Range(
        start + step * np.arange(len(y)),
        y,
        wavelength=wavelength,
        unit=unit if unit in {"counts", "cps"} else "arbitrary",
        time_s=speed if "sec" in keys.get("SPEED_DIM", "").lower() and speed else None,
        metadata=facts,
    )


def read_rasx(archive: Archive, path: str, warnings: list[str]) -> list[Range]:
    """Scans of a .rasx file: `Data<N>/Profile<N>.txt` with `MesurementConditions<N>.xml` beside it."""
    ranges = []
    profiles = sorted(
        (name for name in archive.names if re.fullmatch(r"Data\d+/Profile\d+\.txt", name)),
        key=lambda name: [int(part) for part in re.findall(r"\d+", name)],
    )
    if not profiles:
        raise BadInput(f"{path}: the container holds no Data0/Profile0.txt; not a diffraction profile")
    for name in profiles:
        text = decode(archive.read(name), f"{path}: {name}")
        x, y, places = _rows(list(enumerate(text.splitlines(), 1)), f"{path}: {name}")
        folder, number = name.split("/")[0], re.findall(r"\d+", name)[-1]
        wavelength: float | None = None
        unit, facts = "arbitrary", dict[str, object]()
        # Rigaku's own spelling lacks the "a"
        conditions = next(
            (n for n in archive.names if re.fullmatch(rf"{folder}/Mea?surementConditions{number}\.xml", n)), None
        )
        if conditions:
            root = parse_xml(archive.read(conditions), f"{path}: {conditions}")
            words = {element.tag: (element.text or "").strip() for element in root.iter()}
            scans = list(root.iter("ScanInformation"))
            axis = next((e.text for s in scans for e in s.iter("AxisName") if e.text), "")
            require_two_theta(axis, path)
            wavelength, facts = _tube(
                words.get("WavelengthKalpha1"),
                words.get("WavelengthKalpha2"),
                words.get("WavelengthKbeta"),
                words.get("TargetName"),
                words.get("WaveType"),
            )
            declared = words.get("IntensityUnit", "").lower()
            unit = declared if declared in {"counts", "cps"} else "arbitrary"
        item = Range(x, y, wavelength=wavelength, unit=unit, metadata=facts, places=places, place="line")
        ranges.append(without_zero_tail(item, warnings))
    return ranges
