"""Memory that a step frees stays with the process, so that the next step need not ask the system for it again."""

import ctypes
import sys

# Numbers of the parameters, and what they are set to, in mallopt(3) of the GNU C library.
_TRIM_THRESHOLD, _NEVER = -1, -1
_MMAP_THRESHOLD, _LARGEST = -3, 1 << 30


def keep_freed_memory() -> bool:
    """Have the C library keep what is freed, for the whole process and for good; for a program that trains or scores.

    By default it maps every block above 32 MiB anew and gives it back when freed. The activations of a step are such
    blocks, and the system zeroes them page by page each time: on the CPU a good part of a step where activations are
    large (`benchmarks/cpu_settings.py` measures it). Blocks above 1 GiB are still given back.

    Returns:
        Whether it was done; only the GNU C library has the means.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all([mallopt(_TRIM_THRESHOLD, _NEVER), mallopt(_MMAP_THRESHOLD, _LARGEST)])
