"""Patterns into their storage type and place, and out of it again, in one pass over memory."""

from __future__ import annotations

import numpy as np

from simxrd_hf.compiler import njit


@njit(cache=True, nogil=True)
def _to_half(bits, places, out):
    """Round non-negative float32 to half, to nearest even; row i goes to `out[places[i]]`. False if not finite."""
    fine = True
    for i in range(len(bits)):
        row = out[places[i]]
        largest = np.uint32(0)
        for j in range(bits.shape[1]):
            u = np.uint32(0) if bits[i, j] == np.uint32(0x80000000) else bits[i, j]  # -0
            largest = max(largest, u)
            # Normal numbers: change the bias of the exponent, add half a step (less one if the last bit is even), cut.
            normal = (
                u - np.uint32(0x38000000) + np.uint32(0xFFF) + ((u >> np.uint32(13)) & np.uint32(1))
            ) >> np.uint32(13)
            row[j] = np.uint16(normal)
        # Below 2⁻¹⁴ halves have a fixed step of 2⁻²⁴; rare, so in a second pass.
        for j in range(bits.shape[1]):
            if bits[i, j] < np.uint32(0x38800000) or bits[i, j] == np.uint32(0x80000000):
                row[j] = _subnormal(bits[i, j] & np.uint32(0x7FFFFFFF))
        # Negative numbers, infinities and NaN have larger bits than the largest half that fits, 65504.
        fine = fine and bool(largest < np.uint32(0x477FF000))
    return fine


@njit(inline="always")
def _subnormal(u):
    if u < np.uint32(0x33000000):  # below half a step
        return np.uint16(0)
    shift = np.uint32(126) - (u >> np.uint32(23))
    mantissa = (u & np.uint32(0x7FFFFF)) | np.uint32(0x800000)
    half_step = np.uint32(1) << (shift - np.uint32(1))
    even = (mantissa >> shift) & np.uint32(1)
    return np.uint16((mantissa + half_step - np.uint32(1) + even) >> shift)


_UP = np.float32(2.0**112)  # what the exponent of a half lacks when its bits are read as those of a float32


@njit(cache=True, nogil=True)
def _exchange(pool, places, fresh, out_bits, out):
    """Rows `places` of the pool go out as float32, fresh rows take their place."""
    for i in range(len(places)):
        held, new, bits, values = pool[places[i]], fresh[i], out_bits[i], out[i]
        for j in range(len(held)):
            half = np.uint32(held[j])
            bits[j] = (half & np.uint32(0x7FFF)) << np.uint32(13) | (half & np.uint32(0x8000)) << np.uint32(16)
            held[j] = new[j]
        for j in range(len(held)):
            values[j] *= _UP


def exchange_rows(pool: np.ndarray, places: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """Take rows out of a float16 array as float32 and put others in their places.

    Args:
        pool: float16 (n, points), finite numbers.
        places: Different rows of `pool`, int64 (rows,).
        fresh: float16 (rows, points).

    Returns:
        What was there, float32 (rows, points).
    """
    out = np.empty(fresh.shape, dtype=np.float32)
    _exchange(pool.view(np.uint16), places, fresh.view(np.uint16), out.view(np.uint32), out)
    return out


def store_rows(patterns: np.ndarray, places: np.ndarray, out: np.ndarray) -> bool:
    """Put patterns into rows of a float16 or float32 array.

    Args:
        patterns: float32 (rows, points), C-contiguous.
        places: Row of `out` for each pattern, int64 (rows,).
        out: float16 or float32 (n, points); halves are rounded to nearest, ties to even, as numpy does.

    Returns:
        Whether all values are finite, not negative, and below 65520; else what was stored is not to be used.
    """
    if out.dtype == np.float16:
        return bool(_to_half(patterns.view(np.uint32), places, out.view(np.uint16)))
    out[places] = patterns
    return bool(np.isfinite(patterns).all() and patterns.min(initial=0) >= 0)
