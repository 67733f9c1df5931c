"""Intensities as they are stored: float32 with as few digits as the calculation is good for."""

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.compiler import njit


@njit(cache=True, nogil=True)
def round_rows(values: NDArray[np.float32], places: NDArray[np.int64], out: NDArray[np.float32]) -> bool:
    """Write float32 rows (n, points) to the rows `places` (n,) of another array as `rounded` makes them.

    Returns whether all are finite and none is below 0; what is written else is of no use.
    """
    top = np.uint32(0)
    one, half, quarter, eighth = np.float32(1.0), np.float32(0.5), np.float32(0.25), np.float32(0.125)
    scale = np.float32(1.5 * 2**17)
    for k in range(len(values)):
        row, to = values[k], out[places[k]]
        bits = row.view(np.uint32)
        for i in range(len(row)):
            v = row[i]
            # 1.5 x 2^23 steps more leave no room for digits
            large = scale * (one if v >= one else half if v >= half else quarter if v >= quarter else eighth)
            to[i] = (v + large) - large
            b = bits[i]  # as integers, finite numbers from 0 up are the smallest; -0 counts as 0
            top = max(top, np.uint32(0) if b == np.uint32(0x80000000) else b)
    return bool(top < np.uint32(0x7F800000))


def rounded(values: np.ndarray) -> np.ndarray:
    """The nearest multiple of 1/64 from 1 up, 1/128 from 1/2, 1/256 from 1/4 up, 1/512.

    The highest point is 100, so the error is at most 0.008 % of it, half of what the calculation itself may be wrong
    by, and a fourth of what half floats are; float32 with so few digits compresses to less than half floats do.

    Args:
        values: float32 of any shape, from 0 to below 65,536.
    """
    flat = np.ascontiguousarray(values, np.float32).reshape(1, -1)
    result = np.empty_like(flat)
    round_rows(flat, np.zeros(1, np.int64), result)
    return result.reshape(values.shape)
