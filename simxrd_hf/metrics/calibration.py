"""Calibration scores under one import path; the code lives in the metric's own folder, which must stand alone."""

from simxrd_hf.metrics.xrd_calibration.scores import (
    CONFORMAL_METHODS,
    calibration_scores,
    conformal_class_thresholds,
    conformal_sets,
    conformal_threshold,
    ece_if_calibrated,
    reliability_bins,
)

__all__ = [
    "CONFORMAL_METHODS",
    "calibration_scores",
    "conformal_class_thresholds",
    "conformal_sets",
    "conformal_threshold",
    "ece_if_calibrated",
    "reliability_bins",
]
