"""Scores of any model that answers the task "xrd-classification", ours or not, and of answers to the hidden split."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Scored:
    """Scores of one target (classification and calibration), true classes (n,), probabilities (n, classes)."""

    scores: dict[str, float]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]


def score_targets(
    pipe: Callable[..., Any],
    rows: Iterable[dict[str, Any]],
    targets: Sequence[str],
    *,
    grid: PatternGrid | None = None,
    limit: int | None = None,
    batch_size: int = 64,
    progress: bool = True,
) -> dict[str, Scored]:
    """Score a model by what its pipeline answers, as a user would see it; each pattern is asked about once.

    Args:
        pipe: `transformers.pipeline("xrd-classification", ...)` or anything called alike: a list of
            `{"two_theta": degrees, "intensity": counts, "wavelength": Å}`, `top_k=`, `batch_size=`.
        rows: Rows of a dataset with `intensity` and the class columns of the targets.
        targets: From "space_group", "crystal_system". A model of crystal systems alone is scored on these.
        grid: Angles of the patterns; 10 … 80° in steps of 0.02° if absent.
        limit: Score only the first rows.
        batch_size: Patterns in one call.
        progress: Show a bar.

    Raises:
        BadInput: No rows, or a model whose labels do not match the task.
    """
    from tqdm import tqdm

    grid = grid or PatternGrid()
    targets = list(targets)
    labels: dict[str, list[int]] = {target: [] for target in targets}
    tables: dict[str, list[NDArray[np.float64]]] = {target: [] for target in targets}
    with tqdm(desc="scoring", unit=" patterns", disable=not progress) as bar:
        for batch in _batches(islice(rows, limit), batch_size):
            patterns = [
                {
                    "two_theta": grid.two_theta,
                    "intensity": np.asarray(row["intensity"], dtype=np.float64),
                    "wavelength": grid.wavelength,
                }
                for row in batch
            ]
            answers = pipe(patterns, top_k=max(map(len, LABELS.values())), batch_size=batch_size)
            if len(targets) > 1 and not bar.n and _crystal_systems_only(answers[0]):
                targets = ["crystal_system"]
            for target in targets:
                labels[target] += [int(row[target]) for row in batch]
                tables[target].append(class_probabilities(answers, target))
            bar.update(len(batch))
    out = {}
    for target in targets:
        if not tables[target]:
            raise BadInput("the dataset holds no rows to score")
        truth, table = np.array(labels[target]), np.concatenate(tables[target])
        scores = classification_scores(truth, table, task=target) | calibration_scores(truth, table)
        out[target] = Scored(scores, truth, table)
    return out


def _crystal_systems_only(answer: Any) -> bool:
    if isinstance(answer, Mapping):
        return "space_group" not in answer
    return all(str(item["label"]) in LABELS["crystal_system"] for item in answer)


def score_model(
    pipe: Callable[..., Any], rows: Iterable[dict[str, Any]], *, target: str, **options: Any
) -> tuple[dict[str, float], NDArray[np.int64], NDArray[np.float64]]:
    """Scores, true classes and probabilities of one target; see `score_targets`."""
    scored = score_targets(pipe, rows, [target], **options)[target]
    return scored.scores, scored.labels, scored.probabilities


def evaluate_pipeline(
    model: str,
    data: str | Path,
    *,
    data_config: str = "in_library",
    split: str = "test",
    targets: Sequence[str] = ("space_group", "crystal_system"),
    dataset_id: str | None = None,
    limit: int | None = None,
    batch_size: int = 64,
    trust_remote_code: bool = False,
    notes: str | None = None,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Result records of any model, local or on the Hub, that answers the task "xrd-classification".

    Args:
        model: Folder or NAMESPACE/NAME.
        data: Dataset folder or NAMESPACE/NAME.
        data_config: Config of the dataset.
        split: Its split.
        targets: What to score; a model of crystal systems alone is scored on these.
        dataset_id: Name of a local dataset on the Hub, for the records.
        limit: Score only that many rows, drawn evenly from the split: for a look, not for the benchmark. The records
            say so, and are refused by `submit_results`.
        batch_size: Patterns in one call.
        trust_remote_code: Run code from the model's repository, for models that are not of this package.
        notes: One line on the set-up.
        progress: Show a bar.

    Raises:
        BadInput: No such model or data, a model that needs `trust_remote_code`, labels of another task.
    """
    from datasets import load_dataset
    from transformers import pipeline

    from simxrd_hf.hub.results import PART, make_result

    try:
        pipe = pipeline("xrd-classification", model=model, trust_remote_code=trust_remote_code)
    except (OSError, KeyError, ValueError) as error:
        hint = "" if trust_remote_code else "; if it brings its own code that you trust, pass --trust-remote-code"
        raise BadInput(f"{model}: no pipeline for the task xrd-classification: {error}{hint}") from error
    try:
        rows = load_dataset(str(data), data_config, split=split)
    except (OSError, ValueError) as error:
        raise BadInput(f"{data}: config {data_config!r}, split {split!r} cannot be loaded: {error}") from error
    if limit is not None and limit < 1:
        raise BadInput(f"limit must be 1 or more, got {limit}")
    if limit is not None and limit < len(rows):
        # The configs share files and begin with the same rows: the first ones would say nothing of the split.
        notes = f"{PART} {limit} of {len(rows)} rows, drawn evenly{f'; {notes}' if notes else ''}"
        rows = rows.select([index * len(rows) // limit for index in range(limit)])
    scored = score_targets(pipe, rows, targets, batch_size=batch_size, progress=progress)
    return [
        make_result(
            model if not Path(model).exists() else Path(model).name,
            one.scores,
            dataset_id=dataset_id or (str(data) if not Path(data).exists() else Path(data).name),
            config=data_config,
            split=split,
            target=target,
            model_revision=None if Path(model).exists() else _revision(model, "model"),
            dataset_revision=None if Path(data).exists() else _revision(str(data), "dataset"),
            notes=notes,
        )
        for target, one in scored.items()
    ]


def _revision(repo_id: str, repo_type: str) -> str | None:
    """Commit of a repository, which makes a record reproducible; None offline."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    from simxrd_hf.hub.publishing import client

    try:
        return client().repo_info(repo_id, repo_type=repo_type).sha
    except (HfHubHTTPError, OfflineModeIsEnabled):
        return None


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
