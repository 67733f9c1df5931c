"""How far stated probabilities can be trusted: calibration error, proper scores and conformal sets, on plain numpy.

Self-contained (numpy only), because this file travels with the metric's Space.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFORMAL_METHODS = ("lac", "aps")


def _check(labels: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    truth = np.asarray(labels)
    table = np.asarray(probabilities, dtype=np.float64)
    if table.ndim != 2 or truth.shape != (len(table),) or len(table) == 0:
        raise ValueError(f"need (n,) references and (n, classes) probabilities, got {truth.shape} and {table.shape}")
    if not np.isfinite(table).all() or table.min() < -1e-6 or abs(table.sum(axis=1) - 1).max() > 1e-2:
        raise ValueError("predictions: rows must be probabilities (not negative, sum 1); apply softmax to logits first")
    whole = truth.astype(np.int64)
    if (whole != truth).any() or whole.min() < 0 or whole.max() >= table.shape[1]:
        raise ValueError(f"references: class indices must be whole numbers from 0 to {table.shape[1] - 1}")
    return whole, table


def reliability_bins(labels: ArrayLike, probabilities: ArrayLike, n_bins: int = 15) -> dict[str, NDArray[np.float64]]:
    """Bins of a reliability diagram: equal width in the probability of the most probable class, closed on the right.

    Args:
        labels: (n,) true class indices.
        probabilities: (n, classes) rows that sum to 1.
        n_bins: Number of bins between 0 and 1.

    Returns:
        `edges` (n_bins + 1), `count`, `confidence` and `accuracy` (n_bins each; the latter two 0 where count is 0).
    """
    truth, table = _check(labels, probabilities)
    return _binned(table.argmax(axis=1) == truth, np.minimum(table.max(axis=1), 1.0), n_bins)


def _binned(right: NDArray[np.bool_], confidence: NDArray[np.float64], n_bins: int) -> dict[str, NDArray[np.float64]]:
    place = np.clip(np.ceil(confidence * n_bins).astype(np.int64) - 1, 0, n_bins - 1)
    count = np.bincount(place, minlength=n_bins).astype(np.float64)
    filled = np.maximum(count, 1)
    return {
        "edges": np.linspace(0, 1, n_bins + 1),
        "count": count,
        "confidence": np.bincount(place, weights=confidence, minlength=n_bins) / filled,
        "accuracy": np.bincount(place, weights=right, minlength=n_bins) / filled,
    }


def expected_calibration_error(right: NDArray[np.bool_], confidence: NDArray[np.float64], n_bins: int = 15) -> float:
    """Mean gap between stated and true share of right answers, 0 … 1 (Guo et al. 2017).

    Args:
        right: (n,) whether the most probable class was the true one.
        confidence: (n,) its stated probability.
        n_bins: Equal-width bins.
    """
    bins = _binned(right, confidence, n_bins)
    return float((bins["count"] * abs(bins["accuracy"] - bins["confidence"])).sum() / max(len(right), 1))


def ece_if_calibrated(
    confidence: ArrayLike, n_bins: int = 15, *, draws: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """Calibration error that answers of these confidences would show if every one of them were true as stated.

    Few rows leave the share of right answers in a bin to chance: of 229 rows a perfect model has 0.05 to 0.09 in 15
    bins. An error inside this range is no evidence of miscalibration.

    Args:
        confidence: (n,) stated probability of the answer.
        n_bins: Equal-width bins.
        draws: How often right and wrong are drawn.
        seed: Of the draws.

    Returns:
        Mean, 5th and 95th percentile.
    """
    stated = np.minimum(np.asarray(confidence, dtype=np.float64), 1.0)
    rng = np.random.default_rng(seed)
    errors = [expected_calibration_error(rng.random(len(stated)) < stated, stated, n_bins) for _ in range(draws)]
    low, high = np.percentile(errors, [5, 95])
    return float(np.mean(errors)), float(low), float(high)


def _nonconformity(table: NDArray[np.float64], method: str) -> NDArray[np.float64]:
    """(n, classes) scores: how badly each class fits the stated probabilities."""
    if method == "lac":
        return 1.0 - table
    if method == "aps":
        order = np.argsort(-table, axis=1, kind="stable")
        summed = np.cumsum(np.take_along_axis(table, order, axis=1), axis=1)
        out = np.empty_like(table)
        np.put_along_axis(out, order, summed, axis=1)
        return out
    raise ValueError(f"method: {method!r} is none of {', '.join(CONFORMAL_METHODS)}")


def conformal_threshold(
    labels: ArrayLike, probabilities: ArrayLike, *, alpha: float = 0.1, method: str = "lac"
) -> float:
    """Threshold of split-conformal prediction sets, from rows the model was not fitted on.

    The ceil((n + 1)(1 - alpha))-th smallest score of the true classes (Vovk et al. 2005; scores "lac": Sadinle et al.
    2019, 1 - p of the class; "aps": Romano et al. 2020 without randomisation, summed probability down to the class).

    Args:
        labels: (n,) true class indices.
        probabilities: (n, classes) rows that sum to 1.
        alpha: Share of sets allowed to miss the true class.
        method: "lac" (smallest sets on average) or "aps" (sizes follow the difficulty of the row).

    Returns:
        The threshold for `conformal_sets`; 1.0 (every class) where n is too small for alpha.
    """
    truth, table = _check(labels, probabilities)
    if not 0 < alpha < 1:
        raise ValueError("alpha: must lie between 0 and 1")
    scores = np.sort(_nonconformity(table, method)[np.arange(len(truth)), truth])
    rank = math.ceil((len(scores) + 1) * (1 - alpha))
    return float(scores[rank - 1]) if rank <= len(scores) else 1.0


def conformal_class_thresholds(
    labels: ArrayLike,
    probabilities: ArrayLike,
    groups: ArrayLike,
    *,
    alpha: float = 0.1,
    method: str = "lac",
    least: int = 30,
) -> NDArray[np.float64]:
    """A threshold for every class, so that the sets hold the truth equally often in every group of classes.

    One threshold for all keeps its promise on average only: frequent classes are held more often, rare ones less.
    Here each group of classes has the threshold of its own rows (label-conditional conformal prediction, Vovk 2012).

    Args:
        labels: (n,) true class indices.
        probabilities: (n, classes) rows that sum to 1.
        groups: (classes,) which group each class belongs to, any integers.
        alpha: Share of sets allowed to miss the true class.
        method: "lac" or "aps".
        least: Groups with fewer rows than this share one threshold, that of their rows together.

    Returns:
        (classes,) thresholds for `conformal_sets`; 1.0 (always in the set) where rows are too few for alpha.
    """
    truth, table = _check(labels, probabilities)
    parts = np.asarray(groups)
    if parts.shape != (table.shape[1],):
        raise ValueError(f"groups: need one of each of the {table.shape[1]} classes, got shape {parts.shape}")
    parts = np.unique(parts, return_inverse=True)[1]
    small = np.bincount(parts[truth], minlength=parts.max() + 1) < least
    parts = np.where(small[parts], -1, parts)
    result = np.empty(table.shape[1])
    for part in np.unique(parts):
        rows = parts[truth] == part
        result[parts == part] = (
            conformal_threshold(truth[rows], table[rows], alpha=alpha, method=method) if rows.any() else 1.0
        )
    return result


def conformal_sets(probabilities: ArrayLike, threshold: ArrayLike, method: str = "lac") -> NDArray[np.bool_]:
    """Prediction sets.

    Args:
        probabilities: (n, classes) rows that sum to 1.
        threshold: From `conformal_threshold` or, (classes,), from `conformal_class_thresholds`, with the same method.
        method: "lac" or "aps".

    Returns:
        (n, classes) bool; the most probable class is always in the set, so that no set is empty.
    """
    table = np.asarray(probabilities, dtype=np.float64)
    # A rounding error must not drop a class that ties with the threshold (it was defined by such a class).
    members = _nonconformity(table, method) <= np.asarray(threshold, dtype=np.float64) + 1e-9
    members[np.arange(len(table)), table.argmax(axis=1)] = True
    return members


def calibration_scores(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    n_bins: int = 15,
    conformal_threshold: ArrayLike | None = None,
    conformal_method: str = "lac",
) -> dict[str, float]:
    """Calibration of a classifier.

    Args:
        labels: (n,) true class indices.
        probabilities: (n, classes) rows that sum to 1.
        n_bins: Equal-width bins of the expected calibration error.
        conformal_threshold: Threshold fitted on other rows (`conformal_threshold`), or one of each class
            (`conformal_class_thresholds`); adds the conformal figures.
        conformal_method: The method that threshold belongs to.

    Returns:
        Flat dict: `n`; `ece` (expected calibration error of the most probable class, 0..1, Guo et al. 2017); `brier`
        (sum over classes of the squared error, mean over rows, 0..2, Brier 1950); `nll` (mean negative natural
        logarithm of the true class's probability, floor 1e-12); `mean_confidence`; `accuracy`; with a threshold
        `conformal_coverage` (share of sets that hold the true class), `conformal_mean_size` (classes),
        `conformal_singleton` (share of sets with one class).

    Raises:
        ValueError: Rows that are no probabilities, lengths that differ, class indices out of range.
    """
    truth, table = _check(labels, probabilities)
    rows = np.arange(len(truth))
    confidence = np.minimum(table.max(axis=1), 1.0)
    squared = table.copy()
    squared[rows, truth] -= 1.0
    result: dict[str, float] = {
        "n": len(truth),
        "ece": expected_calibration_error(table.argmax(axis=1) == truth, confidence, n_bins),
        "brier": float((squared**2).sum(axis=1).mean()),
        "nll": float(-np.log(np.maximum(table[rows, truth], 1e-12)).mean()),
        "mean_confidence": float(table.max(axis=1).mean()),
        "accuracy": float((table.argmax(axis=1) == truth).mean()),
    }
    if conformal_threshold is not None:
        sets = conformal_sets(table, conformal_threshold, conformal_method)
        sizes = sets.sum(axis=1)
        result["conformal_coverage"] = float(sets[rows, truth].mean())
        result["conformal_mean_size"] = float(sizes.mean())
        result["conformal_singleton"] = float((sizes == 1).mean())
    return result
