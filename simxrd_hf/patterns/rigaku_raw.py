"""Rigaku binary .raw files, as RINT and Ultima diffractometers write them."""

from typing import Any

import numpy as np

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns.binary import Fields, byte_places, seconds, stepped
from simxrd_hf.patterns.pattern import Range, emission, without_zero_tail

# The layout is unpublished. A file is a chain of blocks: two letters (FI, BU, then PI and DA for each range), two zero
# bytes, the sum of the content's bytes, its length, the content. The chain, its sums and the places of the fields were
# found in a file of an Ultima IV; the readers of xylib's forks, importraw and PyXRD-Li_anode, made from files of other
# machines, have the fields at the same places.
_HEAD = 12
_LENGTHS = {b"BU": 2100, b"PI": 990}
_ANODES = {24: "Cr", 26: "Fe", 27: "Co", 29: "Cu", 42: "Mo", 47: "Ag"}
_MAX_BLOCKS = 4096


def read_rigaku_raw(raw: bytes, path: str, warnings: list[str]) -> list[Range]:
    """Ranges of a binary Rigaku .raw file."""
    data = Fields(raw, path)
    wavelength: float | None = None
    common: dict[str, Any] = {}
    scan: int | None = None
    ranges: list[Range] = []
    for tag, at in _blocks(data):
        if tag == b"BU":
            wavelength, common = emission(
                data.get("d", at + 1176), data.get("d", at + 1184), anode=_ANODES.get(data.get("H", at + 1200))
            )
            common |= {"sample": data.text(at + 68, 96), "goniometer": data.text(at + 192, 64)}
        elif tag == b"PI":
            scan = at
        elif tag == b"DA":
            if scan is None:
                raise BadInput(f"{path}: counts at offset {at} without the header of their range; damaged file")
            item = _range(data, scan, at)
            item.wavelength, item.metadata = wavelength, dict(common)
            ranges.append(without_zero_tail(item, warnings))
            scan = None
    if not ranges:
        raise BadInput(f"{path}: no measured range in the file; cut short?")
    warnings.append("how to tell the scan's axis in a Rigaku .raw file is not known: its angles are taken for 2θ")
    return ranges


def _blocks(data: Fields) -> list[tuple[bytes, int]]:
    """(letters, offset of the content) of every block; their sums and lengths are checked."""
    found: list[tuple[bytes, int]] = []
    at = 0
    while at < len(data.raw):
        tag, total, length = data.raw[at : at + 2], data.get("H", at + 4), data.get("I", at + 8)
        begin = at + _HEAD
        content = data.raw[begin : begin + length]
        if len(content) < length:
            raise BadInput(
                f"{data.path}: cut short: the block at offset {at} announces {length} bytes, {len(content)} are there"
            )
        if int(np.frombuffer(content, np.uint8).sum(dtype=np.uint64)) & 0xFFFF != total:
            raise BadInput(
                f"{data.path}: the sum of the block at offset {at} is not the one written there; damaged file"
            )
        if length != _LENGTHS.get(tag, length):
            raise BadInput(
                f"{data.path}: a Rigaku .raw file of a layout that is not known ({tag.decode('latin-1')} has {length} "
                f"bytes, not {_LENGTHS[tag]}); export it as .ras or .xy"
            )
        found.append((tag, begin))
        if len(found) > _MAX_BLOCKS:
            raise BadInput(f"{data.path}: more than {_MAX_BLOCKS} blocks; damaged file")
        at = begin + length
    return found


def _range(data: Fields, header: int, at: int) -> Range:
    """One range: its header's content begins at `header`, that of its counts at `at`."""
    width, form, count = data.get("H", at), data.get("H", at + 2), data.get("I", at + 4)
    if (width, form) != (4, 1):
        raise BadInput(
            f"{data.path}: counts of an unknown form ({width}, {form}) at offset {at}; export it as .ras or .xy"
        )
    y = data.column("f4", at + 8, count, 4)  # first, as it bounds the number of points
    start, stop, step = (data.get("f", header + 814 + 4 * i) for i in range(3))
    x = stepped(start, step, count, data.path, header)
    if count and x[-1] - stop > 1.5 * abs(step):
        raise BadInput(f"{data.path}: {count} points from {start:g}° in steps of {step:g}° pass the end, {stop:g}°")
    return Range(
        x,
        y,
        unit="counts" if np.array_equal(y, np.round(y)) else "arbitrary",
        time_s=seconds(data.get("f", header + 826)),
        places=byte_places(at + 8, count, 4),
        place="offset",
    )
