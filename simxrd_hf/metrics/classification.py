"""Classification scores under one import path; the code lives in the metric's own folder, which must stand alone."""

from simxrd_hf.metrics.symmetry_classification.scores import (
    NUM_LABELS,
    classification_scores,
    confusion_counts,
    frequency_thirds,
    subgroup_distances,
)

__all__ = ["NUM_LABELS", "classification_scores", "confusion_counts", "frequency_thirds", "subgroup_distances"]
