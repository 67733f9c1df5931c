"""The machine a run is on: what stands beside its numbers, and the two settings that make a CPU faster."""

import contextlib
import ctypes
import os
import platform
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from simxrd_hf.training.config import TrainConfig

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


def multiplies_bf16(cpu: bool) -> bool:
    """Whether the CPU, or else the GPU, has instructions that multiply bfloat16; without them it would be slower."""
    if not cpu:
        return torch.cuda.get_device_capability() >= (8, 0)
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def idle_cores(seconds: float = 0.3) -> int:
    """Cores that nothing but this process and its children needs, measured over a moment; at least 1.

    What runs at a lower priority gives way, if this process has the usual one.
    """
    free, own, begun = _free(), _used(), time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - begun
    return max(1, min(round((_free() - free + _used() - own) / passed), cores()))


def _free() -> float:
    """Seconds for which all cores together have been idle, or held by what gives way to this process.

    From the times themselves: psutil 7.2's percentages of less than a second of all cores do not add up to 100.
    """
    import psutil

    times = psutil.cpu_times()
    usual = hasattr(os, "nice") and os.nice(0) <= 0
    idle: float = times.idle
    return idle + (getattr(times, "nice", 0.0) if usual else 0.0)


def _used() -> float:
    """CPU seconds of this process and its children, which are busy starting when cores are counted."""
    import psutil

    used = 0.0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        with contextlib.suppress(psutil.Error):  # gone since
            times = process.cpu_times()
            used += times.user + times.system
    return used


def worker_processes(config: TrainConfig) -> int:
    """Processes that prepare batches for each training process: as asked for, or what simulating keeps busy.

    A CPU simulates a pattern in about a third of the time it trains on one, a GPU trains on more than all cores of its
    machine simulate. Stored patterns need none. Invented crystals cost more, see `threads_set`.
    """
    if config.execution.num_workers is not None:
        return config.execution.num_workers
    mine = cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if config.source.crystals is None or mine < 2:
        return 0
    return max(1, mine // 4) if config.execution.cpu or not torch.cuda.is_available() else min(mine - 1, 16)


@contextlib.contextmanager
def threads_set(wanted: int | None, busy: int = 0) -> Iterator[None]:
    """Calculate with so many threads; None: with as many cores as are idle, at most those torch is set to.

    Threads of one matrix product wait for one another: where another program holds one of the cores, two threads are
    far slower than one.

    Args:
        wanted: Threads.
        busy: Own processes that will hold a core each, as those that find the lines of invented crystals.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(wanted or (1 if before == 1 else max(1, min(before, idle_cores() - busy))))
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
