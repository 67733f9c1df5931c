"""A torch profile of a few steps of a run."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch


@contextlib.contextmanager
def profiled_steps(folder: Path, wanted: bool) -> Iterator[Callable[[], None]]:
    """Profile five steps after the first five; writes operators.txt and trace.json.

    Args:
        folder: Where to.
        wanted: Else nothing is done.

    Yields:
        To be called after every step.
    """
    if not wanted:
        yield lambda: None
        return
    from torch.profiler import ProfilerActivity, profile, schedule

    folder.mkdir(parents=True, exist_ok=True)

    def write(found: Any) -> None:
        order = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
        (folder / "operators.txt").write_text(found.key_averages().table(sort_by=order, row_limit=25))
        found.export_chrome_trace(str(folder / "trace.json"))

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    with profile(
        activities=activities, schedule=schedule(wait=3, warmup=2, active=5, repeat=1), on_trace_ready=write
    ) as found:
        yield found.step
