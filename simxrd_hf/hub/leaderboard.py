"""The leaderboard: result records of a folder or of the Hub as one table, best first."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from simxrd_hf.errors import BadInput
from simxrd_hf.hub.publishing import client
from simxrd_hf.hub.results import SCORE_COLUMNS, Skipped, is_part, valid_records
from simxrd_hf.hub.upload import PublishFailed, TransportError, explain, persist

LOWER_IS_BETTER = {"ece", "brier", "nll", "subgroup_distance_mean", "conformal_mean_size"}


def collect_results(
    sources: Iterable[str | Path], api: HfApi | None = None, *, skipped: list[Skipped] | None = None
) -> list[dict[str, Any]]:
    """Records of folders, files and results datasets on the Hub; of two for one model and split the later date wins.

    Args:
        sources: Paths, or NAMESPACE/NAME of results datasets.
        api: Client to use; by default one with the token of `hf auth login` or HF_TOKEN, if there is one.
        skipped: Is given what `valid_records` left out; without it a source that holds nothing else is refused.

    Raises:
        BadInput: Nothing found under a name, or no record there that can be shown.
        PublishFailed: The Hub cannot be read.
    """
    records: dict[tuple[str, ...], dict[str, Any]] = {}
    for source in sources:
        folder = Path(source)
        repo_id = None
        if not folder.exists():
            repo_id = str(source)
            folder = _download(repo_id, api or client())
        found, bad = valid_records(folder, repo_id=repo_id)
        if skipped is not None:
            skipped += bad
        if not found and not bad:
            raise BadInput(f"{source}: no result records (*.json) here; `simxrd evaluate` writes them")
        if not found and skipped is None:
            raise BadInput(f"{source}: none of {len(bad)} records can be shown; {bad[0].where}: {bad[0].reason}")
        for record in found:
            key = tuple(record[name] for name in ("model_id", "dataset_id", "config", "split", "target"))
            if key not in records or records[key]["date"] <= record["date"]:
                records[key] = record
    return list(records.values())


def _download(repo_id: str, api: HfApi) -> Path:
    if repo_id.count("/") != 1:
        raise BadInput(f"{repo_id}: neither a file or folder here nor NAMESPACE/NAME of a results dataset")
    try:
        folder = persist(lambda: api.snapshot_download(repo_id, repo_type="dataset", allow_patterns=["results/*.json"]))
    except (HfHubHTTPError, TransportError) as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code in {401, 404}:
            raise BadInput(f"{repo_id}: no such dataset on the Hub, or it is private") from error
        raise PublishFailed(f"{repo_id}: cannot be read: {explain(error)}") from error
    return Path(folder) / "results"


def leaderboard_rows(
    records: Iterable[dict[str, Any]],
    *,
    target: str = "space_group",
    config: str | None = None,
    sort_by: str = "accuracy",
) -> list[dict[str, Any]]:
    """Rows of one target, best first, with their rank within each config, split and dataset.

    Records of part of a split stand last and have no rank.

    Args:
        records: From `collect_results`.
        target: "space_group" or "crystal_system".
        config: Only this one.
        sort_by: A column of `SCORE_COLUMNS`; rows without it come last.

    Raises:
        BadInput: No such column.
    """
    if sort_by not in SCORE_COLUMNS:
        raise BadInput(f"{sort_by}: not a score; choose from {', '.join(SCORE_COLUMNS)}")
    rows = [row for row in records if row["target"] == target and config in {None, row["config"]}]
    sign = 1 if sort_by in LOWER_IS_BETTER else -1

    def place(row: dict[str, Any]) -> tuple[str, ...]:
        return row["config"], row["dataset_id"], row["split"]

    def order(row: dict[str, Any]) -> tuple[Any, ...]:
        return place(row), is_part(row), row[sort_by] is None, sign * (row[sort_by] or 0.0), row["model_id"]

    ranks: dict[tuple[str, ...], int] = {}
    ranked = []
    for row in sorted(rows, key=order):
        if not is_part(row):
            ranks[place(row)] = ranks.get(place(row), 0) + 1
        ranked.append({"rank": None if is_part(row) else ranks[place(row)], **row})
    return ranked


def text_table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    """Rows as aligned text; shares in per cent."""
    heads = ["#", "model", "dataset", "config", "n", *columns]
    body = [
        [
            "-" if row["rank"] is None else str(row["rank"]),
            row["model_id"],
            row["dataset_id"],
            row["config"],
            f"{row['n']:,}",
            *(_figure(row[c], c) for c in columns),
        ]
        for row in rows
    ]
    widths = [max(len(line[i]) for line in [heads, *body]) for i in range(len(heads))]
    left = {1, 2, 3}
    lines = [
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in [heads, *body]
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def _figure(value: float | None, column: str) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if column in LOWER_IS_BETTER else f"{100 * value:.2f}"
