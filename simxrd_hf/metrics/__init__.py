"""Scores of symmetry classifiers: plain numpy functions, and the same code as self-contained `evaluate` modules."""

from pathlib import Path
from typing import Any

from simxrd_hf.lazy import load

_NAMES = {
    "classification_scores": "symmetry_classification.scores",
    "confusion_counts": "symmetry_classification.scores",
    "frequency_thirds": "symmetry_classification.scores",
    "calibration_scores": "xrd_calibration.scores",
    "conformal_sets": "xrd_calibration.scores",
    "conformal_threshold": "xrd_calibration.scores",
    "reliability_bins": "xrd_calibration.scores",
    "fit_temperature": "temperature",
    "SymmetryClassification": "symmetry_classification.symmetry_classification",
    "XrdCalibration": "xrd_calibration.xrd_calibration",
}

METRIC_FOLDERS = {
    name: Path(__file__).resolve().parent / name for name in ("symmetry_classification", "xrd_calibration")
}
"""Folders that `evaluate.load` takes as they are and that are published as Spaces."""

__all__ = ["METRIC_FOLDERS", *sorted(_NAMES)]


def __getattr__(name: str) -> Any:
    return load(__name__, _NAMES, name)
