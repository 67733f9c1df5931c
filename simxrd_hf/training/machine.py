"""The machine a run is on: what stands beside its numbers, and the two settings that make a CPU faster."""

import contextlib
import ctypes
import platform
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

# Numbers of the parameters, and what they are set to, in mallopt(3) of the GNU C library.
_TRIM_THRESHOLD, _NEVER = -1, -1
_MMAP_THRESHOLD, _LARGEST = -3, 1 << 30


def machine() -> dict[str, Any]:
    """Device, versions and date, to stand beside measured numbers."""
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    else:
        cpu_info = Path("/proc/cpuinfo")
        lines = cpu_info.read_text().splitlines() if cpu_info.exists() else []
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        device = f"{names[0] if names else platform.machine()}, {torch.get_num_threads()} threads"
    return {
        "device": device,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


@contextlib.contextmanager
def denormals_flushed() -> Iterator[None]:
    """Take numbers too small for a normal float as 0 on the CPU, which calculates with them many times slower.

    Gradients that fade over thousands of steps of a recurrent network become such numbers.
    """
    before = (torch.tensor(1e-40) * 1.0).item() == 0.0  # torch tells it no other way
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


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
