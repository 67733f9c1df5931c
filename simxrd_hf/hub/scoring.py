"""Scores of any model that answers the task "xrd-classification", ours or not, and of answers to the hidden split."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from simxrd_hf.diffraction import PatternGrid
from simxrd_hf.errors import BadInput
from simxrd_hf.hub.checks import LABELS
from simxrd_hf.metrics.calibration import calibration_scores
from simxrd_hf.metrics.classification import classification_scores
from simxrd_hf.symmetry import CRYSTAL_SYSTEM_OF


def class_probabilities(answers: Iterable[Any], target: str) -> NDArray[np.float64]:
    """Answers of a pipeline as a table of probabilities.

    Args:
        answers: For each pattern a list of `{"label": name, "score": probability}`, or a mapping that holds such lists
            by target ("space_group", "crystal_system"); classes left out count as 0.
        target: "space_group" or "crystal_system". Space-group answers serve the crystal system too: the probabilities
            of its groups are summed.

    Returns:
        (n, classes), each row scaled to sum 1.

    Raises:
        BadInput: A label that is none of the task's, or a pattern without any probability.
    """
    place = {target: {name: index for index, name in enumerate(names)} for target, names in LABELS.items()}
    rows = []
    for number, answer in enumerate(answers):
        row = np.zeros(len(LABELS[target]))
        if isinstance(answer, Mapping):
            answer = answer.get(target) or answer.get("space_group" if target == "crystal_system" else target)
        if not isinstance(answer, Sequence):
            raise BadInput(f"the model's answers hold nothing on the task {target}")
        for item in answer:
            name = str(item["label"])
            if name in place[target]:
                row[place[target][name]] += float(item["score"])
            elif target == "crystal_system" and name in place["space_group"]:
                row[CRYSTAL_SYSTEM_OF[place["space_group"][name]]] += float(item["score"])
            else:
                raise BadInput(f"the model answers {name!r}, which is no label of the task {target}")
        if not np.isfinite(row).all() or row.sum() <= 0 or row.min() < 0:
            raise BadInput(f"pattern {number}: the model's answer holds no probabilities")
        rows.append(row / row.sum())
    return np.array(rows).reshape(-1, len(LABELS[target]))


def score_model(
    pipe: Callable[..., Any],
    rows: Iterable[dict[str, Any]],
    *,
    target: str,
    grid: PatternGrid | None = None,
    limit: int | None = None,
    batch_size: int = 64,
    train_counts: Sequence[int] | None = None,
    progress: bool = True,
) -> tuple[dict[str, float], NDArray[np.int64], NDArray[np.float64]]:
    """Score a model by what its pipeline answers, as a user would see it.

    Args:
        pipe: `transformers.pipeline("xrd-classification", ...)` or anything called alike: a list of
            `{"two_theta": degrees, "intensity": counts}`, `top_k=`, `batch_size=`.
        rows: Rows of a dataset with `intensity` and the class column `target`.
        target: "space_group" or "crystal_system".
        grid: Angles of the patterns; 10 … 80° in steps of 0.02° if absent.
        limit: Score only the first rows.
        batch_size: Patterns in one call.
        train_counts: Training patterns of each class, for head, middle and tail.
        progress: Show a bar.

    Returns:
        Scores (classification and calibration), true classes (n,), probabilities (n, classes).

    Raises:
        BadInput: No rows, or a model whose labels do not match the task.
    """
    from tqdm import tqdm

    two_theta = (grid or PatternGrid()).two_theta
    labels: list[int] = []
    tables = []
    with tqdm(desc="scoring", unit=" patterns", disable=not progress) as bar:
        for batch in _batches(islice(rows, limit), batch_size):
            labels += [int(row[target]) for row in batch]
            patterns = [{"two_theta": two_theta, "intensity": np.asarray(row["intensity"])} for row in batch]
            answers = pipe(patterns, top_k=max(map(len, LABELS.values())), batch_size=batch_size)
            tables.append(class_probabilities(answers, target))
            bar.update(len(batch))
    if not tables:
        raise BadInput("the dataset holds no rows to score")
    truth, table = np.array(labels), np.concatenate(tables)
    scores = classification_scores(truth, table, task=target, train_counts=train_counts)
    return scores | calibration_scores(truth, table), truth, table


def _batches(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, size)):
        yield batch


def score_hidden(predictions: str | Path | pa.Table, key: str | Path | pa.Table, *, target: str) -> dict[str, Any]:
    """Score answers to the hidden split with the key only the host has.

    Args:
        predictions: Table or Parquet file with `row_id` and either `probabilities` (list of one float for each class)
            or the column `target` (class index).
        key: `key.parquet`, written beside the dataset by `generate(..., hidden_test=True)`.
        target: "space_group" or "crystal_system".

    Returns:
        `{"all": scores, "out_of_library": scores}`: of every row, and of the crystals no training split holds.

    Raises:
        BadInput: Rows missing, unknown or given twice; no usable column.
    """
    answers = predictions if isinstance(predictions, pa.Table) else pq.read_table(predictions)
    truth = key if isinstance(key, pa.Table) else pq.read_table(key)
    if "row_id" not in answers.column_names:
        raise BadInput("predictions: the column row_id is missing")
    given, wanted = answers["row_id"].to_pylist(), truth["row_id"].to_pylist()
    if len(set(given)) != len(given):
        raise BadInput("predictions: a row_id appears twice")
    if set(given) != set(wanted):
        missing, unknown = len(set(wanted) - set(given)), len(set(given) - set(wanted))
        raise BadInput(f"predictions: {missing} rows of the hidden split are missing, {unknown} are not of it")
    position = {row_id: index for index, row_id in enumerate(given)}
    order = np.array([position[row_id] for row_id in wanted])
    if "probabilities" in answers.column_names:
        values = np.array(answers["probabilities"].to_pylist(), dtype=np.float64)[order]
    elif target in answers.column_names:
        values = np.array(answers[target].to_pylist())[order]
    else:
        raise BadInput(f"predictions: need the column probabilities or {target}")
    labels = truth[target].to_numpy()
    unseen = np.array([split == "test" for split in truth["crystal_split"].to_pylist()])
    out: dict[str, Any] = {}
    for name, rows in (("all", np.ones(len(labels), dtype=bool)), ("out_of_library", unseen)):
        if not rows.any():
            continue
        try:
            scores = classification_scores(labels[rows], values[rows], task=target)
            if values.ndim == 2:
                scores |= calibration_scores(labels[rows], values[rows])
        except ValueError as error:
            raise BadInput(f"predictions: {error}") from error
        out[name] = scores
    return out
