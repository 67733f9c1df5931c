"""Training on Accelerate: configuration, loop, checkpoints, evaluation and the benchmark table."""

from typing import Any

from simxrd_hf.lazy import load

_NAMES = {
    "TrainConfig": "config",
    "TrainResult": "run_folder",
    "train": "loop",
    "leave_process_group": "setup",
    "evaluate_checkpoint": "evaluation",
    "run_benchmark": "benchmark",
    "keep_freed_memory": "machine",
}

__all__ = sorted(_NAMES)


def __getattr__(name: str) -> Any:
    return load(__name__, _NAMES, name)
