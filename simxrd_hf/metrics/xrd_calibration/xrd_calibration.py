"""`evaluate` module: calibration of class probabilities. Needs numpy, datasets and evaluate only."""

from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from .scores import calibration_scores

_DESCRIPTION = """
How far the probabilities of a classifier can be trusted: expected calibration error (15 equal-width bins), Brier score,
negative log-likelihood, and coverage and size of conformal prediction sets.
"""

_INPUTS = """
Args:
    predictions: one list of class probabilities for each pattern (rows sum to 1).
    references: class index of each pattern.
    n_bins: bins of the expected calibration error, 15 by default.
    conformal_threshold: threshold of conformal sets, or one of each class, fitted on other rows; adds the conformal
        figures.
    conformal_method: "lac" (default) or "aps".
Returns:
    a flat dict of numbers: ece, brier (0..2), nll (natural logarithm), mean_confidence, accuracy and, with a threshold,
    conformal_coverage, conformal_mean_size, conformal_singleton.
Examples:
    >>> metric = evaluate.load("xrd_calibration")
    >>> metric.compute(predictions=[[0.8, 0.2], [0.4, 0.6]], references=[0, 1])["ece"]
    0.3
"""


class XrdCalibration(evaluate.Metric):
    """Calibration error, proper scores and conformal coverage of class probabilities."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Sequence(datasets.Value("float32")), "references": datasets.Value("int32")}
            ),
        )

    def _compute(
        self,
        predictions: ArrayLike,
        references: ArrayLike,
        n_bins: int = 15,
        conformal_threshold: ArrayLike | None = None,
        conformal_method: str = "lac",
        **others: Any,
    ) -> dict[str, float]:
        # `evaluate.combine` gives every metric the options of all: those of symmetry_classification are let pass
        if unknown := set(others) - {"task", "label_list", "top_k", "train_counts"}:
            raise TypeError(f"no option is called {', '.join(sorted(unknown))}")
        return calibration_scores(
            references,
            np.asarray(predictions),
            n_bins=n_bins,
            conformal_threshold=conformal_threshold,
            conformal_method=conformal_method,
        )
