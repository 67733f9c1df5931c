"""From the logits of a model to ranked answers that agree with each other; numpy alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .symmetry_simxrd import (
    BRAVAIS_LATTICES,
    BRAVAIS_OF,
    CRYSTAL_SYSTEM_OF,
    CRYSTAL_SYSTEMS,
    EXTINCTION_OF,
    EXTINCTION_SYMBOLS,
    SPACE_GROUPS,
)

# What follows from a space group: name of the answer, its labels, index array by space-group number - 1.
_COARSER: tuple[tuple[str, tuple[str, ...], NDArray[np.int16]], ...] = (
    ("extinction_symbol", EXTINCTION_SYMBOLS, EXTINCTION_OF),
    ("bravais_lattice", BRAVAIS_LATTICES, BRAVAIS_OF),
    ("crystal_system", CRYSTAL_SYSTEMS, CRYSTAL_SYSTEM_OF),
)


def probabilities(logits: ArrayLike, temperature: float = 1.0, *, are_probabilities: bool = False) -> NDArray[Any]:
    """Softmax of logits over the last axis.

    Args:
        logits: (…, classes).
        temperature: Divides the logits (Guo et al. 2017).
        are_probabilities: The model returned probabilities (an `as_published` network); their logarithm is its logit.

    Returns:
        Rows that sum to 1, float64.
    """
    values = np.asarray(logits, dtype=np.float64)
    if are_probabilities:
        values = np.log(np.maximum(values, 1e-30))
    values = values / temperature
    values = np.exp(values - values.max(axis=-1, keepdims=True))
    result: NDArray[Any] = values / values.sum(axis=-1, keepdims=True)
    return result


def sigmoid(logits: ArrayLike, temperature: float = 1.0) -> NDArray[Any]:
    """Probability of each label by itself, where several may be true at once."""
    return 1.0 / (1.0 + np.exp(-np.clip(np.asarray(logits, dtype=np.float64) / temperature, -500, 500)))


def combine(table: NDArray[Any]) -> NDArray[Any]:
    """Probabilities of several patterns of one sample → one row: mean of the logarithms, normalised."""
    return probabilities(np.log(np.maximum(table, 1e-30)).mean(axis=0))


def prediction_set(row: NDArray[Any], conformal: Mapping[str, Any]) -> NDArray[np.intp]:
    """Classes of a split-conformal prediction set, most probable first.

    The score of a class is 1 − p ("lac", Sadinle et al. 2019) or the summed probability down to and with the class
    ("aps", Romano et al. 2020); classes with a score up to the threshold are in the set, the first one always. With
    `thresholds`, one of each class, every kind of class is held as often as the coverage says.
    """
    order = np.argsort(-row, kind="stable")
    score = np.cumsum(row[order]) if conformal["method"] == "aps" else 1.0 - row[order]
    limits = np.broadcast_to(np.asarray(conformal.get("thresholds", conformal["threshold"])), row.shape)[order]
    members: NDArray[np.bool_] = score <= limits + 1e-9
    members[0] = True
    chosen: NDArray[np.intp] = order[members]
    return chosen


def _ranked(row: NDArray[Any], labels: Sequence[str], top_k: int | None, numbers: bool = False) -> list[dict[str, Any]]:
    order = np.argsort(-row, kind="stable")[:top_k]
    answers = []
    for index in order:
        answer: dict[str, Any] = {"label": labels[index], "score": float(row[index])}
        if numbers:
            answer["number"] = int(index) + 1
        answers.append(answer)
    return answers


def answer(
    row: NDArray[Any],
    labels: Sequence[str],
    *,
    top_k: int | None = 5,
    conformal: Mapping[str, Any] | None = None,
    one_class: bool = True,
) -> dict[str, Any]:
    """Ranked answers from one row of probabilities.

    Args:
        row: (classes,) probabilities.
        labels: Names of the classes, in their order.
        top_k: Answers per list; None for all. Crystal systems are always all given.
        conformal: `method`, `threshold` (or `thresholds`, one of each class) and `coverage` of a prediction set over
            the model's own classes.
        one_class: The probabilities are those of classes of which one is true.

    Returns:
        For the 230 space groups: "space_group" (with "number"), "extinction_symbol", "bravais_lattice" and
        "crystal_system", the coarser ones being sums of the first. For crystal systems: "crystal_system". For other
        labels: "classes". Each is a list of {"label", "score"}, best first. With `conformal` also "prediction_set".
        Where several labels may be true at once there are no sums.
    """
    names = tuple(labels)
    result: dict[str, Any] = {}
    if names == SPACE_GROUPS:
        result["space_group"] = _ranked(row, names, top_k, numbers=True)
        for name, coarse, index in _COARSER if one_class else ():
            summed = np.bincount(index, weights=row, minlength=len(coarse))
            result[name] = _ranked(summed, coarse, None if name == "crystal_system" else top_k)
    elif names == CRYSTAL_SYSTEMS:
        result["crystal_system"] = _ranked(row, names, None)
    else:
        result["classes"] = _ranked(row, names, top_k)
    if conformal is not None:
        members = prediction_set(row, conformal)
        result["prediction_set"] = {
            "coverage": float(conformal["coverage"]),
            "labels": [names[index] for index in members],
        }
    return result


def answer_logits(
    logits: NDArray[Any], info: Sequence[Mapping[str, Any]], config: Any, top_k: int | None = 5
) -> dict[str, Any]:
    """Logits of the patterns of one sample → its answer.

    Args:
        logits: (patterns, classes).
        info: What each pattern was given as.
        config: Configuration of the model: `temperature`, `conformal`, `id2label`, `returns_probabilities`,
            `problem_type`.
        top_k: See `answer`.

    Returns:
        See `answer`; "input" states what was given. A regression answers "values", a list of {"label", "value"}.
    """
    labels = [config.id2label[index] for index in range(logits.shape[-1])]
    if config.problem_type == "regression" or len(labels) == 1:
        values = np.asarray(logits, dtype=np.float64).mean(axis=0)
        result: dict[str, Any] = {
            "values": [{"label": label, "value": float(v)} for label, v in zip(labels, values, strict=True)]
        }
    elif config.problem_type == "multi_label_classification":
        result = answer(sigmoid(logits, config.temperature).mean(axis=0), labels, top_k=top_k, one_class=False)
    else:
        table = probabilities(logits, config.temperature, are_probabilities=config.returns_probabilities)
        result = answer(
            table[0] if len(table) == 1 else combine(table), labels, top_k=top_k, conformal=config.conformal
        )
    return {**result, "input": info[0] if len(info) == 1 else list(info)}
