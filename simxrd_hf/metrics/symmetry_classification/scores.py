"""Accuracy, macro averages and symmetry-aware scores of space-group and crystal-system classifiers, on plain numpy.

Self-contained (numpy and the sibling `symmetry_tables.py` only), because this file travels with the metric's Space.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .symmetry_tables import (
    BRAVAIS_OF,
    CRYSTAL_SYSTEM_OF,
    CRYSTAL_SYSTEMS,
    ENANTIOMORPH_OF,
    EXTINCTION_OF,
    LAUE_OF,
    SUBGROUP_NEIGHBOURS,
)

NUM_LABELS = {"space_group": 230, "crystal_system": len(CRYSTAL_SYSTEMS)}
"""Classes of each task; a label is the index: space-group number - 1, or the place of the system in CRYSTAL_SYSTEMS."""

_COARSE = {
    "crystal_system": np.array(CRYSTAL_SYSTEM_OF),
    "bravais_lattice": np.array(BRAVAIS_OF),
    "laue_class": np.array(LAUE_OF),
    "extinction_symbol": np.array(EXTINCTION_OF),
    "enantiomorph": np.array(ENANTIOMORPH_OF),
}
_distance_table: NDArray[np.uint8] | None = None


def subgroup_distances() -> NDArray[np.uint8]:
    """Steps between any two space-group types on the graph of maximal subgroups, direction ignored.

    Returns:
        (230, 230) uint8, symmetric, zero diagonal; found by breadth-first search, kept after the first call.
    """
    global _distance_table
    if _distance_table is None:
        joined = np.eye(230, dtype=bool)
        for group, neighbours in enumerate(SUBGROUP_NEIGHBOURS):
            joined[group, list(neighbours)] = joined[list(neighbours), group] = True
        steps = np.full((230, 230), 255, dtype=np.uint8)
        reached = np.eye(230, dtype=bool)
        steps[reached] = 0
        distance = 0
        while True:
            further = (reached.astype(np.float32) @ joined.astype(np.float32) > 0) & ~reached
            if not further.any():
                break
            distance += 1
            steps[further] = distance
            reached |= further
        _distance_table = steps
    return _distance_table


def frequency_thirds(train_counts: ArrayLike, label_list: Sequence[int] | None = None) -> dict[str, NDArray[np.int64]]:
    """Head, middle and tail classes.

    The rule: the classes of `label_list` that occur in training, sorted by falling number of training patterns (equal
    numbers: the lower label first), cut into three parts of equal length; where the count is no multiple of three the
    earlier parts take one class more.

    Args:
        train_counts: (n_labels,) training patterns (or crystals) of each class.
        label_list: The classes to divide; all by default.

    Returns:
        `{"head": labels, "middle": labels, "tail": labels}`.
    """
    counts = np.asarray(train_counts)
    labels = np.arange(len(counts)) if label_list is None else np.unique(np.asarray(label_list, dtype=np.int64))
    labels = labels[counts[labels] > 0]
    order = labels[np.argsort(-counts[labels], kind="stable")]
    return dict(zip(("head", "middle", "tail"), np.array_split(order, 3), strict=True))


def confusion_counts(labels: ArrayLike, predicted: ArrayLike, num_labels: int) -> NDArray[np.int64]:
    """Confusion matrix.

    Args:
        labels: (n,) true classes.
        predicted: (n,) predicted classes.
        num_labels: Number of classes.

    Returns:
        (num_labels, num_labels) int64, true class by row, predicted class by column.
    """
    pairs = np.asarray(labels, dtype=np.int64) * num_labels + np.asarray(predicted, dtype=np.int64)
    return np.bincount(pairs, minlength=num_labels * num_labels).reshape(num_labels, num_labels)


def _macro(
    truth: NDArray[Any], hits: NDArray[Any], claims: NDArray[Any], classes: NDArray[Any]
) -> tuple[float, float, float]:
    """Unweighted mean F1, precision and recall over `classes`; a class without any count scores 0."""
    hit, true, claimed = (array[classes].astype(np.float64) for array in (hits, truth, claims))

    def mean_ratio(over: NDArray[Any], under: NDArray[Any]) -> float:
        return float(np.mean(np.divide(over, under, out=np.zeros_like(over), where=under > 0)))

    return mean_ratio(2 * hit, true + claimed), mean_ratio(hit, claimed), mean_ratio(hit, true)


def _check(
    labels: ArrayLike, predictions: ArrayLike, num_labels: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
    """Labels, predicted labels and the (n, num_labels) scores, or None where labels were given."""
    truth = np.asarray(labels)
    given = np.asarray(predictions)
    if truth.ndim != 1 or len(truth) == 0:
        raise ValueError(f"references: need a non-empty vector of class indices, got shape {truth.shape}")
    if len(given) != len(truth):
        raise ValueError(f"predictions: {len(given)} rows for {len(truth)} references")
    if given.ndim == 2:
        if given.shape[1] != num_labels:
            raise ValueError(
                f"predictions: {given.shape[1]} columns where the task has {num_labels} classes; "
                "name the task the scores were made for (task='space_group' or 'crystal_system')"
            )
        if not np.isfinite(given).all():
            raise ValueError("predictions: contain NaN or infinity")
        scores = given.astype(np.float64, copy=False)
        predicted = scores.argmax(axis=1)
    elif given.ndim == 1:
        scores, predicted = None, given
    else:
        raise ValueError(f"predictions: need (n,) class indices or (n, {num_labels}) scores, got shape {given.shape}")
    for name, array in (("references", truth), ("predictions", predicted)):
        whole = array.astype(np.int64)
        if (whole != array).any() or whole.min() < 0 or whole.max() >= num_labels:
            raise ValueError(f"{name}: class indices must be whole numbers from 0 to {num_labels - 1}")
    return truth.astype(np.int64), predicted.astype(np.int64), scores


def classification_scores(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    task: str = "space_group",
    label_list: Sequence[int] | None = None,
    top_k: Sequence[int] | None = None,
    train_counts: ArrayLike | None = None,
) -> dict[str, float]:
    """Scores of a classifier of space groups or crystal systems.

    Coarse scores of the space-group task (crystal system, Bravais lattice, Laue class, extinction symbol, "up to
    enantiomorphs") are derived from the one most probable group, so they can be had from any prediction.

    Args:
        labels: (n,) true class indices (space group: number - 1).
        predictions: (n, n_labels) probabilities, logits or any scores where more is better, or (n,) class indices.
            Ties go to the lower index.
        task: "space_group" (230 classes) or "crystal_system" (7 classes).
        label_list: Classes the macro averages run over, stated in advance; by default all classes of the task. A class
            of the list that never occurs scores 0, so two models are always averaged over the same set.
        top_k: The k of the top-k accuracies, from scores only; by default 2 and 5 (crystal systems: 2 and 3).
        train_counts: (n_labels,) training patterns of each class; adds the head, middle and tail scores by the rule of
            `frequency_thirds`, accuracy over the rows and macro-F1 over the classes of each third.

    Returns:
        Flat dict of numbers, 0..1 unless said otherwise: `n` (rows), `num_labels` (length of the label list),
        `labels_present` (classes that occur among the true ones), `accuracy`, `top_<k>_accuracy`, `macro_f1`,
        `macro_precision`, `macro_recall`, `macro_f1_present` (over the classes that occur among the true ones),
        `accuracy_in_<crystal system>` for systems with rows; for space groups also `crystal_system_accuracy`,
        `bravais_lattice_accuracy`, `laue_class_accuracy`, `extinction_symbol_accuracy`, `enantiomorph_accuracy` (the 11
        pairs counted as one), `subgroup_distance_mean` (steps, lower is better), `subgroup_within_1` (share at most one
        step away); with `train_counts` also `head_accuracy`, `head_macro_f1`, … `tail_macro_f1`.

    Raises:
        ValueError: An unknown task, lengths that differ, class indices out of range, scores that are not finite.
    """
    if task not in NUM_LABELS:
        raise ValueError(f"task: {task!r} is none of {', '.join(NUM_LABELS)}")
    num_labels = NUM_LABELS[task]
    truth, predicted, scores = _check(labels, predictions, num_labels)
    classes = np.arange(num_labels) if label_list is None else np.unique(np.asarray(label_list, dtype=np.int64))
    if len(classes) == 0 or classes[0] < 0 or classes[-1] >= num_labels:
        raise ValueError(f"label_list: need class indices from 0 to {num_labels - 1}")

    right = truth == predicted
    occurs = np.bincount(truth, minlength=num_labels)
    hits = np.bincount(truth[right], minlength=num_labels)
    claims = np.bincount(predicted, minlength=num_labels)
    present = np.flatnonzero(occurs)
    macro_f1, macro_precision, macro_recall = _macro(occurs, hits, claims, classes)
    result: dict[str, float] = {
        "n": len(truth),
        "num_labels": len(classes),
        "labels_present": len(present),
        "accuracy": float(right.mean()),
        "macro_f1": macro_f1,
        "macro_precision": macro_precision,
        "macro_recall": macro_recall,
        "macro_f1_present": _macro(occurs, hits, claims, present)[0],
    }
    if scores is not None:
        own = scores[np.arange(len(truth)), truth][:, None]
        before = (scores > own) | ((scores == own) & (np.arange(num_labels)[None] < truth[:, None]))
        rank = before.sum(axis=1)
        for k in top_k if top_k is not None else ((2, 5) if task == "space_group" else (2, 3)):
            result[f"top_{k}_accuracy"] = float((rank < k).mean())

    system = _COARSE["crystal_system"][truth] if task == "space_group" else truth
    for index, name in enumerate(CRYSTAL_SYSTEMS):
        if (system == index).any():
            result[f"accuracy_in_{name}"] = float(right[system == index].mean())
    if task == "space_group":
        for name, of in _COARSE.items():
            result[f"{name}_accuracy"] = float((of[truth] == of[predicted]).mean())
        steps = subgroup_distances()[truth, predicted]
        result["subgroup_distance_mean"] = float(steps.mean())
        result["subgroup_within_1"] = float((steps <= 1).mean())
    if train_counts is not None:
        if len(np.asarray(train_counts)) != num_labels:
            raise ValueError(f"train_counts: need {num_labels} numbers, one for each class")
        for part, members in frequency_thirds(train_counts, classes.tolist()).items():
            rows = np.isin(truth, members)
            if rows.any():
                result[f"{part}_accuracy"] = float(right[rows].mean())
                result[f"{part}_macro_f1"] = _macro(occurs, hits, claims, members)[0]
    return result
