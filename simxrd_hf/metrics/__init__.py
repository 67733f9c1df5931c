"""Scores of symmetry classifiers: plain numpy functions, and the same code as self-contained `evaluate` modules."""

import importlib
from pathlib import Path
from typing import Any

_NAMES = {
    "classification_scores": "simxrd_hf.metrics.symmetry_classification.scores",
    "confusion_counts": "simxrd_hf.metrics.symmetry_classification.scores",
    "frequency_thirds": "simxrd_hf.metrics.symmetry_classification.scores",
    "calibration_scores": "simxrd_hf.metrics.xrd_calibration.scores",
    "conformal_sets": "simxrd_hf.metrics.xrd_calibration.scores",
    "conformal_threshold": "simxrd_hf.metrics.xrd_calibration.scores",
    "reliability_bins": "simxrd_hf.metrics.xrd_calibration.scores",
    "SymmetryClassification": "simxrd_hf.metrics.symmetry_classification.symmetry_classification",
    "XrdCalibration": "simxrd_hf.metrics.xrd_calibration.xrd_calibration",
}

METRIC_FOLDERS = {
    name: Path(__file__).resolve().parent / name for name in ("symmetry_classification", "xrd_calibration")
}
"""Folders that `evaluate.load` takes as they are and that are published as Spaces."""

__all__ = ["METRIC_FOLDERS", *sorted(_NAMES)]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        value = getattr(importlib.import_module(_NAMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'simxrd_hf.metrics' has no attribute {name!r}")
