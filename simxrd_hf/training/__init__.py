"""Training on Accelerate: configuration, loop, checkpoints, evaluation, calibration and the benchmark table."""

import importlib
from typing import Any

_NAMES = {
    "TrainConfig": "simxrd_hf.training.config",
    "TrainResult": "simxrd_hf.training.loop",
    "train": "simxrd_hf.training.loop",
    "evaluate_checkpoint": "simxrd_hf.training.evaluation",
    "calibrate": "simxrd_hf.training.calibration",
    "run_benchmark": "simxrd_hf.training.benchmark",
}

__all__ = sorted(_NAMES)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        value = getattr(importlib.import_module(_NAMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'simxrd_hf.training' has no attribute {name!r}")
