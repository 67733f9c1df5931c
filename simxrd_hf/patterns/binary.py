"""Binary files of scans: fields at offsets, checked against the end of the file, and the angles of a stepped scan."""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns.pattern import MAX_POINTS


class Fields:
    """Little-endian fields of a file at given offsets; past the end is a named error."""

    def __init__(self, raw: bytes, path: str) -> None:
        self.raw, self.path = raw, path

    def get(self, kind: str, at: int) -> Any:
        """One field; `kind` as in `struct`."""
        size = struct.calcsize("<" + kind)
        if at < 0 or at + size > len(self.raw):
            raise BadInput(
                f"{self.path}: cut short: {size} bytes expected at offset {at}, the file has {len(self.raw)}"
            )
        return struct.unpack_from("<" + kind, self.raw, at)[0]

    def text(self, at: int, size: int) -> str:
        """Characters up to the first zero byte, or `size` of them, without blanks around them."""
        return self.raw[at : at + size].split(b"\0")[0].decode("latin-1").strip()

    def column(self, kind: str, at: int, count: int, stride: int) -> NDArray[np.float64]:
        """`count` numbers of a numpy type ("f4", "i2", …), one at the start of every `stride` bytes; shape (count,)."""
        if count > MAX_POINTS or stride < np.dtype(kind).itemsize or at < 0 or at + count * stride > len(self.raw):
            raise BadInput(
                f"{self.path}: cut short: {count} points announced at offset {at} need {count * stride} bytes, "
                f"{max(0, len(self.raw) - at)} are there"
            )
        view: Any = np.ndarray((count,), "<" + kind, self.raw, at, (stride,))
        with np.errstate(invalid="ignore"):  # damaged bytes may be signalling NaNs; they are named later
            return np.asarray(view, dtype=np.float64)


def stepped(start: float, step: float, count: int, path: str, at: int) -> NDArray[Any]:
    """Angles of a scan in degrees, shape (count,); `at` is where the header that says so begins, for the message."""
    if not (np.isfinite(start) and np.isfinite(step)) or abs(start) > 180 or not 1e-6 < abs(step) < 10:
        raise BadInput(f"{path}: start {start:g}° and step {step:g}° in the header at offset {at} make no scan")
    return start + step * np.arange(count)


def byte_places(at: int, count: int, stride: int) -> NDArray[np.int64]:
    """Offset of each point, shape (count,)."""
    return at + stride * np.arange(count, dtype=np.int64)


def seconds(value: float) -> float | None:
    """A time in seconds, or None for a number that is none."""
    return float(value) if np.isfinite(value) and 0 < value < 1e7 else None
