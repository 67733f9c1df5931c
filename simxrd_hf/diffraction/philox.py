"""Counter-based random numbers: every draw is a pure function of (crystal, seed, condition, stream, index).

Philox4x32-10 of J. K. Salmon, M. A. Moraes, R. O. Dror and D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3",
SC'11 (2011): a keyed bijection of 128-bit counters, so any number can be made alone, in any order, by any process.
"""

import hashlib

import numpy as np

from simxrd_hf.compiler import njit

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_MASK, _SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)


def crystal_key(crystal_id: str, seed: int) -> tuple[int, int]:
    """The two 32-bit key words of a crystal and a seed: the first 8 bytes of a blake2b digest.

    Args:
        crystal_id: Name of the crystal.
        seed: Any integer.
    """
    digest = hashlib.blake2b(f"{int(seed)}\0{crystal_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


@njit(cache=True, nogil=True, inline="always")
def philox4x32(c0, c1, c2, c3, k0, k1):
    """Ten rounds of Philox4x32; words are uint64 below 2**32."""
    for _ in range(10):
        p0 = _M0 * c0
        p1 = _M1 * c2
        c0, c1, c2, c3 = (p1 >> _SHIFT) ^ c1 ^ k0, p1 & _MASK, (p0 >> _SHIFT) ^ c3 ^ k1, p0 & _MASK
        k0 = (k0 + _W0) & _MASK
        k1 = (k1 + _W1) & _MASK
    return c0, c1, c2, c3


@njit(cache=True, nogil=True)
def draw4(key0, key1, condition, stream, index):
    """Four uniform numbers in (0, 1): word k is (w + 1/2) / 2**32."""
    a, b, c, d = philox4x32(
        np.uint64(index),
        np.uint64(condition),
        np.uint64(stream),
        np.uint64(0),
        np.uint64(key0),
        np.uint64(key1),
    )
    scale = 2.0**-32
    return (a + 0.5) * scale, (b + 0.5) * scale, (c + 0.5) * scale, (d + 0.5) * scale


@njit(cache=True, nogil=True)
def normal_pair(u, v):
    """Two standard normal numbers from two uniform ones (Box and Muller 1958)."""
    radius = np.sqrt(-2.0 * np.log(u))
    return radius * np.cos(2.0 * np.pi * v), radius * np.sin(2.0 * np.pi * v)


@njit(cache=True, nogil=True)
def fill_words(out, key0, key1, condition, stream):
    """Fill a uint32 array: out[b + m w] is word w of block b of the m blocks, so that the loop vectorises."""
    n = len(out)
    m = (n + 3) // 4
    last = n - 3 * m  # the fourth words only fill what is left
    for block in range(m):
        a, b, c, d = philox4x32(
            np.uint64(block),
            np.uint64(condition),
            np.uint64(stream),
            np.uint64(0),
            np.uint64(key0),
            np.uint64(key1),
        )
        out[block] = a
        out[m + block] = b
        out[2 * m + block] = c
        if block < last:
            out[3 * m + block] = d
