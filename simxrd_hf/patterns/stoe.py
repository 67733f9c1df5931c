"""STOE .raw files of WinXPOW, versions 1.03 to 1.06."""

import numpy as np

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns.binary import Fields, byte_places, seconds, stepped
from simxrd_hf.patterns.pattern import Range, emission, without_zero_tail

# Layout: STOE's own declarations of its records, printed with a revision history in CCDC's program DASH
# (src/LoadRAWFiles.f90), and checked against a measured file. Records of 512 bytes: the first is the file's header,
# each range has one of its own and its counts in those that follow.
_RECORD = 512
_MAX_RANGES = 8
_VERSIONS = ("1.03", "1.04", "1.05", "1.06")
_ANODES = {1: "Ag", 2: "Mo", 3: "Cu", 4: "Co", 5: "Fe", 6: "Cr"}
# Curved germanium (111), quartz (101), and the crystals of double monochromators, all in the primary beam, resolve the
# Kα doublet; graphite (3) and a secondary monochromator (1) let both lines through. 100 is added to a motorised one.
_KALPHA1_ONLY = {2, 4, 6, 7, 8}
_MOTORISED = 100
_OMEGA_SCAN = 2
_REPETITIONS = 6
_CALCULATED = 2
# Bits of the history of a file and of a range.
_ALPHA2_STRIPPED = 1 << 7
_CHANGES = {1 << 4: "its 2θ scale was changed", 1 << 5: "it was smoothed", 1 << 6: "its background was subtracted"}


def read_stoe(raw: bytes, path: str, warnings: list[str]) -> list[Range]:
    """Ranges of a STOE .raw file."""
    data = Fields(raw, path)
    version = data.text(4, 4)
    if version not in _VERSIONS:
        raise BadInput(f"{path}: STOE .raw of version {version!r}; {', '.join(_VERSIONS)} are read, export it as .xy")
    planned, measured, running = data.get("H", 376), data.get("H", 378), data.get("H", 380)
    if measured == 0:
        raise BadInput(f"{path}: no range was measured; the file holds the plan of a measurement alone")
    if measured > _MAX_RANGES:
        raise BadInput(
            f"{path}: {measured} measured ranges announced at offset 378; from 1 to {_MAX_RANGES} are possible"
        )
    if measured < planned:
        warnings.append(f"{measured} of {planned} ranges were measured")
    if running:
        warnings.append("the measurement was going on when the file was written")
    if data.get("H", 360) == _OMEGA_SCAN:
        raise BadInput(f"{path}: an omega scan, not a scan of 2θ")
    if data.get("H", 470) == _CALCULATED:
        warnings.append("the file says that its pattern was calculated, not measured")
    ranges: list[Range] = []
    for index in range(measured):
        item = without_zero_tail(_range(data, data.get("H", 480 + 2 * index), warnings), warnings)
        if ranges and np.array_equal(item.x, ranges[-1].x) and np.array_equal(item.y, ranges[-1].y):
            warnings.append(f"range {index + 1} repeats the one before number by number and is left out")
            continue
        item.repeat = bool(ranges) and data.get("H", 366) == _REPETITIONS
        ranges.append(item)
    return ranges


def _range(data: Fields, record: int, warnings: list[str]) -> Range:
    """One range; `record` is the number of its header, from 1."""
    at = _RECORD * (record - 1)
    if record < 2:
        raise BadInput(f"{data.path}: a range is announced in record {record}, the file's header; damaged file")
    count, short = data.get("H", at + 34), data.get("H", at + 38)
    if short > 1:
        raise BadInput(f"{data.path}: counts of an unknown form ({short}) at offset {at + 38}; damaged file")
    begin, width = at + _RECORD, 2 if short else 4
    x = stepped(data.get("f", at + 44), data.get("f", at + 60), count, data.path, at)
    stored = data.column(f"i{width}", begin, count, width)
    least, most = data.get("i", at + 120), data.get("i", at + 124)
    if most > 0 and count and (stored.min(), stored.max()) != (least, most):
        warnings.append(
            f"the counts run {stored.min():.0f}…{stored.max():.0f}, the header says {least}…{most}: changed or damaged?"
        )
    history = data.get("H", 472) | data.get("H", at + 118)
    warnings.extend(f"the file says of its pattern that {what}" for bit, what in _CHANGES.items() if history & bit)
    monochromator = data.get("H", 308) % _MOTORISED
    wavelength, facts = emission(
        data.get("f", 322),
        data.get("f", 326),
        anode=_ANODES.get(data.get("H", 310)),
        monochromatic=monochromator in _KALPHA1_ONLY or bool(history & _ALPHA2_STRIPPED),
    )
    facts |= {"measured_at": data.text(at, 16), "sample": data.text(32, 80)}
    factor = data.get("f", at + 40)
    return Range(
        x,
        stored / factor if np.isfinite(factor) and factor > 1 else stored,
        wavelength=wavelength,
        unit="counts",
        time_s=seconds(data.get("f", at + 68)),
        metadata=facts,
        places=byte_places(begin, count, width),
        place="offset",
    )
