"""Result records: what a model scored on one split, checked and sealed by a digest; `.eval_results` of the Hub."""

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, eval_result_entries_to_yaml, parse_eval_result_entries
from jsonschema import Draft202012Validator

import simxrd_hf
from simxrd_hf.errors import BadInput
from simxrd_hf.files import write_whole
from simxrd_hf.hub.tasks import benchmark_scores
from simxrd_hf.printable import printable

FORMAT_VERSION = "1.0"
PART = "part of the split:"
"""How the notes of a record begin that is no result of the benchmark, since not all rows were scored."""
EVAL_RESULTS_FILE = ".eval_results/simxrd.yaml"
MAX_RESULTS_BYTES = 4 * 2**20
"""A file of records above this is not read: a record takes about 1.5 kB."""
CLOCK_SKEW = timedelta(days=1)
"""How far in the future a record's date may lie: clocks differ, and some write local time."""
# Every record has the same columns, so that a folder of records is one table for `datasets`.
SCORE_COLUMNS = (
    "accuracy",
    "top_2_accuracy",
    "top_3_accuracy",
    "top_5_accuracy",
    "macro_f1",
    "macro_precision",
    "macro_recall",
    "macro_f1_present",
    "crystal_system_accuracy",
    "bravais_lattice_accuracy",
    "laue_class_accuracy",
    "extinction_symbol_accuracy",
    "enantiomorph_accuracy",
    "subgroup_distance_mean",
    "subgroup_within_1",
    "accuracy_in_triclinic",
    "accuracy_in_monoclinic",
    "accuracy_in_orthorhombic",
    "accuracy_in_tetragonal",
    "accuracy_in_trigonal",
    "accuracy_in_hexagonal",
    "accuracy_in_cubic",
    "head_accuracy",
    "middle_accuracy",
    "tail_accuracy",
    "head_macro_f1",
    "middle_macro_f1",
    "tail_macro_f1",
    "ece",
    "brier",
    "nll",
    "conformal_coverage",
    "conformal_mean_size",
)


@cache
def _validator() -> Draft202012Validator:
    text = (Path(__file__).parent / "result.schema.json").read_text(encoding="utf-8")
    return Draft202012Validator(json.loads(text))


def digest(record: dict[str, Any]) -> str:
    """SHA-256 over the canonical JSON of a record without its own `digest`; an edit shows, forgery does not."""
    rest = {key: value for key, value in record.items() if key != "digest"}
    return "sha256:" + hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def is_part(record: dict[str, Any]) -> bool:
    """Whether only part of a split was scored, which is no result of the benchmark."""
    return (record["notes"] or "").startswith(PART)


def make_result(
    model_id: str,
    scores: dict[str, float],
    *,
    dataset_id: str,
    config: str,
    split: str,
    target: str,
    model_revision: str | None = None,
    dataset_revision: str | None = None,
    notes: str | None = None,
    date: str | None = None,
) -> dict[str, Any]:
    """A result record.

    Args:
        model_id: NAMESPACE/NAME on the Hub, or the name of a local model.
        scores: From `classification_scores`, joined with `calibration_scores`; must hold `n` and `accuracy`. Figures
            that are no column of a record are left out.
        dataset_id: NAMESPACE/NAME of the dataset, or the name of a local one.
        config: "in_library", "out_of_library", "hidden", "measured" or another name.
        split: Split of the config.
        target: "space_group" or "crystal_system".
        model_revision: Commit of the model.
        dataset_revision: Commit of the dataset.
        notes: One line on the set-up.
        date: ISO date and time; now by default.

    Returns:
        Flat dict with all columns of `SCORE_COLUMNS` (None where not scored) and the digest.
    """
    record: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "model_id": model_id,
        "model_revision": model_revision,
        "dataset_id": dataset_id,
        "dataset_revision": dataset_revision,
        "config": config,
        "split": split,
        "target": target,
        "n": int(scores["n"]),
        "date": date or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "made_by": f"simxrd_hf {simxrd_hf.__version__}",
        "notes": None if notes is None else printable(notes),
    }
    for name in SCORE_COLUMNS:
        value = scores.get(name)
        record[name] = None if value is None or not math.isfinite(value) else float(value)
    record["digest"] = digest(record)
    return check_result(record, f"{model_id} on {config}")


def check_result(record: Any, where: str, *, now: datetime | None = None) -> dict[str, Any]:
    """The record, if it is whole and unchanged.

    Args:
        record: Plain data, as read from JSON.
        where: Name of the file, for messages.
        now: What counts as now for dates; the clock by default.

    Raises:
        BadInput: Names the file and the field.
    """
    for error in _validator().iter_errors(record):
        field = ".".join(map(str, error.absolute_path)) or "record"
        raise BadInput(f"{where}: {printable(f'{field}: {error.message}', 200)}; make it again with `simxrd evaluate`")
    for name, value in record.items():
        # what a JSON schema lets pass: NaN is above no maximum, 10.0 is an integer, "name\n" ends where its line does
        if isinstance(value, float) and (name == "n" or not math.isfinite(value)):
            raise BadInput(f"{where}: {name}: {value} is no finite number of its kind; score the model again")
        if isinstance(value, str) and value != printable(value):
            raise BadInput(f"{where}: {name}: control or hidden characters in {printable(value, 60)!r}; remove them")
    latest = (now or datetime.now(UTC)) + CLOCK_SKEW
    try:
        dated = datetime.fromisoformat(record["date"])
    except ValueError as error:
        raise BadInput(f"{where}: date: {error}; make it again with `simxrd evaluate`") from None
    if (dated if dated.tzinfo else dated.replace(tzinfo=UTC)) > latest:
        raise BadInput(f"{where}: date: {record['date']} lies in the future; set the clock and score the model again")
    if record["digest"] != digest(record):
        raise BadInput(
            f"{where}: the record does not match its digest, so it was edited after it was made; "
            "make it again with `simxrd evaluate`"
        )
    return dict(record)


@dataclass(frozen=True)
class Skipped:
    """A record that was left out, and why, both fit to print."""

    where: str
    reason: str


def valid_records(
    source: str | Path, *, repo_id: str | None = None, now: datetime | None = None
) -> tuple[list[dict[str, Any]], list[Skipped]]:
    """The records of other people that can be shown; bad ones never hide the rest.

    Each record is checked as `check_result` does it: schema, finite numbers within their ranges, lengths of text, no
    control characters, a date that has been, the digest. In a repository of the Hub it must also be its owner's to
    give: the model's or the dataset's namespace is that of the repository.

    Args:
        source: A file, or a folder whose `.json` files are read, below it too.
        repo_id: NAMESPACE/NAME of the repository the files came from; None for files of one's own.
        now: What counts as now for dates; the clock by default.

    Returns:
        Records, and what was skipped. Texts of the records are printable but not escaped: what makes HTML of them must.
    """
    source = Path(source)
    paths = sorted(path for path in source.rglob("*.json") if path.is_file()) if source.is_dir() else [source]
    records: list[dict[str, Any]] = []
    skipped: list[Skipped] = []
    for path in paths:
        name = printable(path.relative_to(source).as_posix() if source.is_dir() else path.name, 120)
        try:
            if path.stat().st_size > MAX_RESULTS_BYTES:
                raise BadInput(f"{name}: above {MAX_RESULTS_BYTES >> 20} MiB, no file of records")
            lines = path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError, BadInput) as error:
            skipped.append(Skipped(name, _reason(error, name)))
            continue
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{name}, line {number}" if len(lines) > 2 else name
            try:
                record = check_result(_parse(line, where), where, now=now)
                if repo_id is not None:
                    _check_owner(record, repo_id, where)
            except BadInput as error:
                skipped.append(Skipped(where, _reason(error, where)))
            else:
                records.append(record)
    return records, skipped


def _reason(error: Exception, where: str) -> str:
    return printable(str(error).removeprefix(f"{where}: "), 200)


def _parse(line: str, where: str) -> Any:
    """JSON of one line, by the standard: no NaN, no Infinity, no depth that ends the interpreter's stack."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no number")

    try:
        return json.loads(line, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        said = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise BadInput(f"{where}: not a result record: {printable(said, 150)}") from None


def _check_owner(record: dict[str, Any], repo_id: str, where: str) -> None:
    owner = repo_id.partition("/")[0]
    named = [record[key].partition("/")[0] for key in ("model_id", "dataset_id") if "/" in record[key]]
    if owner not in named:
        raise BadInput(f"{where}: neither the model {record['model_id']} nor the dataset is of {owner}, who gives it")


def result_name(record: dict[str, Any]) -> str:
    """File name of a record: one for each model, dataset, config, split and target."""
    parts = (record["model_id"], record["dataset_id"], record["config"], record["split"], record["target"])
    return "--".join(str(part).replace("/", "--") for part in parts) + ".json"


def write_result(record: dict[str, Any], folder: str | Path) -> Path:
    """Write a record as one line of JSON under its own name.

    Args:
        record: From `make_result`.
        folder: Made where needed.
    """
    check_result(record, "record")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / result_name(record)
    write_whole(path, json.dumps(record) + "\n")
    return path


def read_results(source: str | Path) -> list[dict[str, Any]]:
    """Records of a file or of every `.json` file of a folder, each checked.

    Raises:
        BadInput: No record there, a file that is no record, a record edited by hand.
    """
    source = Path(source)
    paths = sorted(source.rglob("*.json")) if source.is_dir() else [source]
    if not paths:
        raise BadInput(f"{source}: no result records (*.json) here; `simxrd evaluate` writes them")
    records = []
    for path in paths:
        try:
            lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
        except FileNotFoundError as error:
            raise BadInput(f"{path}: there is no such file") from error
        except UnicodeDecodeError as error:
            raise BadInput(f"{path}: not a result record: {error}") from error
        records += [check_result(_parse(line, str(path)), str(path)) for line in lines]
    return records


def eval_result_entries(records: Iterable[dict[str, Any]], source_url: str | None = None) -> list[EvalResultEntry]:
    """Entries of `.eval_results` for the tasks of the benchmark.

    Args:
        records: Result records of one model.
        source_url: Where the evaluation can be read up, e.g. the results dataset.
    """
    entries = []
    for record in records:
        if is_part(record):
            continue
        scores = {name: record[name] for name in SCORE_COLUMNS if record[name] is not None}
        for task_id, value in benchmark_scores(record["config"], record["split"], record["target"], scores).items():
            entries.append(
                EvalResultEntry(
                    dataset_id=record["dataset_id"],
                    task_id=task_id,
                    value=round(value, 6),
                    dataset_revision=record["dataset_revision"],
                    date=record["date"],
                    source_url=source_url,
                    source_name="simxrd_hf results" if source_url else None,
                )
            )
            entries[-1].notes = f"{record['notes'] or ''} [seal {seal(entries[-1])}]".strip()
    return entries


def seal(entry: EvalResultEntry) -> str:
    """Short digest over what an entry claims, kept in its notes, so that an edited value shows."""
    claim = [entry.dataset_id, entry.task_id, float(entry.value), entry.dataset_revision, entry.date]
    return hashlib.sha256(json.dumps(claim).encode()).hexdigest()[:16]


def check_eval_results(text: str, where: str) -> list[EvalResultEntry]:
    """Entries of an `.eval_results` file of ours, each with its seal whole.

    Args:
        text: Content of the file.
        where: Name of the file, for messages.

    Raises:
        BadInput: Not such a file, or an entry that was edited.
    """
    try:
        entries = parse_eval_result_entries(yaml.safe_load(text))
    except (yaml.YAMLError, TypeError, KeyError, AttributeError, ValueError) as error:
        raise BadInput(
            f"{where}: not a list of evaluation results ({error}); make it with `simxrd evaluate`"
        ) from error
    for entry in entries:
        try:
            whole = f"[seal {seal(entry)}]" in (entry.notes or "")
        except (TypeError, ValueError):
            whole = False
        if not whole:
            raise BadInput(
                f"{where}: the value {entry.value} of {entry.task_id} was edited after it was made, or was not made by "
                "`simxrd evaluate`; make it again"
            )
    return entries


def eval_results_yaml(records: Iterable[dict[str, Any]], source_url: str | None = None) -> str:
    """Text of `.eval_results/simxrd.yaml`; empty where no record belongs to a task of a benchmark on the Hub."""
    entries = eval_result_entries([row for row in records if row["dataset_id"].count("/") == 1], source_url)
    return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False) if entries else ""


def write_eval_results(
    records: Iterable[dict[str, Any]], folder: str | Path, source_url: str | None = None
) -> Path | None:
    """Write `.eval_results/simxrd.yaml` into a model folder.

    Args:
        records: Result records of the model.
        folder: The model folder.
        source_url: Where the evaluation can be read up.

    Returns:
        The file, or None where no record belongs to a task of the benchmark.
    """
    text = eval_results_yaml(records, source_url)
    if not text:
        return None
    path = Path(folder) / EVAL_RESULTS_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)
    return path


def model_index_results(records: Iterable[dict[str, Any]]) -> list[EvalResult]:
    """Results for the `model-index` of a card, one for each record and reported metric."""
    results = []
    for record in records:
        for metric in ("accuracy", "macro_f1", "top_5_accuracy", "ece"):
            if record[metric] is not None:
                results.append(
                    EvalResult(
                        task_type="tabular-classification",
                        task_name=f"{record['target'].replace('_', ' ')} from powder diffraction",
                        dataset_type=record["dataset_id"],
                        dataset_name=f"{record['dataset_id']} ({record['config']})",
                        dataset_config=record["config"],
                        dataset_split=record["split"],
                        dataset_revision=record["dataset_revision"],
                        metric_type=metric,
                        metric_name=f"{record['target']} {metric}",
                        metric_value=round(record[metric], 6),
                    )
                )
    return results
