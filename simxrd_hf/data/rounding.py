"""Intensities as they are stored: float32 with as few digits as the calculation is good for, and codes for them."""

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.compiler import njit

CODE_BITS = 12


def _book() -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """The value of each code, and the codes of the values in ascending order.

    Every rounded value below 116 has one. Two codes share three bytes, whole or by halves, and zstd counts the bytes
    of all three alike: the smallest values, which are the most frequent, have the codes of the smallest digits to base
    16, wherever these stand. By the values' own order files are 6 % larger, and larger than split bytes.
    """
    steps = [(0, 1 / 4, 512), (1 / 4, 1 / 2, 256), (1 / 2, 1, 128), (1, 32, 64), (32, 64, 32), (64, 116, 16)]
    values = np.concatenate([np.arange(low * n, high * n) / n for low, high, n in steps]).astype(np.float32)
    codes = np.arange(1 << CODE_BITS, dtype=np.uint16)
    digits = np.stack([codes & 15, codes >> 4 & 15, codes >> 8])
    order = np.lexsort((digits.sum(axis=0), digits.max(axis=0))).astype(np.uint16)
    book = np.empty_like(values)
    book[order] = values
    return book, order


BOOK, _ORDER = _book()


@njit(cache=True, nogil=True)
def round_rows(values: NDArray[np.float32], places: NDArray[np.int64], out: NDArray[np.float32]) -> bool:
    """Write float32 rows (n, points) to the rows `places` (n,) of another array as `rounded` makes them.

    Returns whether all are finite and none is below 0; what is written else is of no use.
    """
    top = np.uint32(0)
    one, half, quarter, eighth = np.float32(1.0), np.float32(0.5), np.float32(0.25), np.float32(0.125)
    two, four, from_two, from_four = np.float32(2.0), np.float32(4.0), np.float32(32.0), np.float32(64.0)
    scale = np.float32(1.5 * 2**17)
    for k in range(len(values)):
        row, to = values[k], out[places[k]]
        bits = row.view(np.uint32)
        for i in range(len(row)):
            v = row[i]
            low = one if v >= one else half if v >= half else quarter if v >= quarter else eighth
            # 1.5 x 2^23 steps more leave no room for digits
            large = scale * (four if v >= from_four else two if v >= from_two else low)
            to[i] = (v + large) - large
            b = bits[i]  # as integers, finite numbers from 0 up are the smallest; -0 counts as 0
            top = max(top, np.uint32(0) if b == np.uint32(0x80000000) else b)
    return bool(top < np.uint32(0x7F800000))


def rounded(values: np.ndarray) -> np.ndarray:
    """The nearest multiple of 1/16 from 64 up, 1/32 from 32, 1/64 from 1, 1/128 from 1/2, 1/256 from 1/4 up, 1/512.

    The highest point is 100, so a point is at most 0.03 % of it off, as a half float is, and one below 32, as nearly
    all are, 0.008 %. All have one of 4,096 values.

    Args:
        values: float32 of any shape, from 0 to below 65,536.
    """
    flat = np.ascontiguousarray(values, np.float32).reshape(1, -1)
    result = np.empty_like(flat)
    round_rows(flat, np.zeros(1, np.int64), result)
    return result.reshape(values.shape)


def pack(values: NDArray[np.float32], out: NDArray[np.uint8]) -> bool:
    """The codes of values, 12 bits each, the lower bits first.

    Args:
        values: (n,).
        out: (12 * ceil(n / 8),); codes past the last value are 0.

    Returns:
        Whether every value has a code; what is written else is of no use.
    """
    whole = len(values) // 8 * 8
    if not _pack(values[:whole], _ORDER, out[: whole // 2 * 3]):
        return False
    rest = np.zeros(8, np.float32)
    rest[: len(values) - whole] = values[whole:]
    last = np.empty(12, np.uint8)
    if not _pack(rest, _ORDER, last):
        return False
    out[whole // 2 * 3 :] = last[: len(out) - whole // 2 * 3]
    return True


@njit(cache=True, nogil=True)
def _pack(values: NDArray[np.float32], order: NDArray[np.uint16], out: NDArray[np.uint8]) -> bool:
    stretch = 4096  # stays in the cache
    places = np.empty(stretch, np.int32)
    bits = values.view(np.uint32)
    f = np.float32
    for begin in range(0, len(values), stretch):
        n = min(stretch, len(values) - begin)
        far, between = np.uint32(0), np.uint32(0)
        for i in range(n):
            v = values[begin + i]
            steps, first = f(512.0), f(0.0)
            if v >= f(0.25):
                steps, first = f(256.0), f(64.0)
            if v >= f(0.5):
                steps, first = f(128.0), f(128.0)
            if v >= f(1.0):
                steps, first = f(64.0), f(192.0)
            if v >= f(32.0):
                steps, first = f(32.0), f(1216.0)
            if v >= f(64.0):
                steps, first = f(16.0), f(2240.0)
            place = np.int32(v * steps)
            between |= np.uint32(v * steps != f(place))
            places[i] = place + np.int32(first)
            far = max(far, bits[begin + i])
        # as integers, numbers from 0 up are the smallest
        if far >= np.uint32(0x42E80000) or between:  # 116
            return False
        for k in range(n // 2):
            a, b = order[places[2 * k]], order[places[2 * k + 1]]
            at = (begin // 2 + k) * 3
            out[at] = np.uint8(a)
            out[at + 1] = np.uint8((a >> 8) | (b << 4))
            out[at + 2] = np.uint8(b >> 4)
    return True
