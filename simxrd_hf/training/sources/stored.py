"""Stored patterns: the Parquet files of a dataset folder, memory-mapped through the Hugging Face Arrow cache."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from simxrd_hf.errors import BadInput
from simxrd_hf.training.config import NUM_LABELS
from simxrd_hf.training.samplers import even_choice
from simxrd_hf.training.sources.base import Batch, unsound_row, what_is_wrong


def data_digest(folder: Path) -> str:
    """16 hex digits that identify a stored dataset: of its manifest, or of file names and sizes where there is none."""
    manifest = folder / "manifest.json"
    if manifest.exists():
        content = manifest.read_bytes()
    else:
        files = sorted(path for path in folder.rglob("*.parquet"))
        content = "\n".join(f"{path.relative_to(folder)} {path.stat().st_size}" for path in files).encode()
    return hashlib.sha256(content).hexdigest()[:16]


def stored_files(folder: str | Path, config_name: str, split: str) -> list[Path]:
    """The Parquet shards of one split, as the `configs:` block of the folder's README names them.

    Raises:
        BadInput: The folder, config or split is not there.
    """
    from huggingface_hub import DatasetCard

    folder = Path(folder)
    if not folder.is_dir():
        raise BadInput(f"{folder}: there is no such dataset folder; write one with `simxrd generate`")
    card = folder / "README.md"
    configs = (DatasetCard.load(card).data.to_dict().get("configs") if card.exists() else None) or []
    globs = {(c["config_name"], f["split"]): f["path"] for c in configs for f in c["data_files"]}
    if (config_name, split) not in globs:
        there = ", ".join("/".join(key) for key in globs)
        raise BadInput(f"{folder}: its README.md names no {config_name}/{split} (there are: {there or 'none'})")
    patterns = globs[config_name, split]
    files = sorted(
        {path for one in ([patterns] if isinstance(patterns, str) else patterns) for path in folder.glob(one)}
    )
    if not files:
        raise BadInput(f"{folder}: no file fits {patterns}; generate or download the dataset again")
    return files


def stored_grid(folder: str | Path) -> dict[str, float] | None:
    """The 2θ grid a dataset folder was written with, from its simxrd.json; None where it has none."""
    path = Path(folder) / "simxrd.json"
    if not path.exists():
        return None
    result: dict[str, float] | None = json.loads(path.read_text()).get("grid")
    return result


class StoredSplit:
    """One split of a dataset folder, through the Hugging Face Arrow cache: memory-mapped, shared by all processes.

    Args:
        folder: As `simxrd generate` writes it.
        config_name: "in_library", "out_of_library" or "tiny".
        split: "train", "validation" or "test".
        task: Which label.
        limit_rows: Use that many rows, drawn evenly.
        limit_crystals: Use the rows of that many crystals, drawn evenly.
        conditions: Use only the first that many conditions.

    Raises:
        BadInput: Folder, split or columns missing, or label names that are not the task's.
    """

    def __init__(
        self,
        folder: str | Path,
        config_name: str,
        split: str,
        task: str,
        *,
        limit_rows: int | None = None,
        limit_crystals: int | None = None,
        conditions: int | None = None,
    ) -> None:
        import datasets
        import pyarrow.compute as pc

        files = stored_files(folder, config_name, split)
        table = datasets.load_dataset(
            "parquet", data_files={split: [str(path) for path in files]}, split=split, verification_mode="no_checks"
        ).with_format("arrow")
        missing = {"intensity", task, "crystal_id", "condition"} - set(table.column_names)
        if missing:
            raise BadInput(f"{folder}: {config_name}/{split} has no column {', '.join(sorted(missing))}")
        self.label_names: list[str] | None = getattr(table.features[task], "names", None)
        if len(self.label_names or ()) not in (0, NUM_LABELS[task]):
            raise BadInput(
                f"{folder}: column {task} has {len(self.label_names or ())} classes, the task has {NUM_LABELS[task]}"
            )
        self.grid = stored_grid(folder) or {}
        self.digest = data_digest(Path(folder))
        self.n_points = int(table.features["intensity"].length)
        arrow = table.data
        labels = arrow.column(task).to_numpy()
        if len(labels) and (labels.min() < 0 or labels.max() >= NUM_LABELS[task]):
            raise BadInput(f"{folder}: {config_name}/{split} has {task} labels outside 0 … {NUM_LABELS[task] - 1}")
        groups = pc.dictionary_encode(arrow.column("crystal_id").combine_chunks()).indices.to_numpy()

        rows = np.arange(len(labels))
        if conditions is not None:
            rows = rows[np.isin(arrow.column("condition").to_numpy(), np.arange(conditions))]
        if limit_crystals is not None:
            rows = rows[np.isin(groups[rows], even_choice(int(groups.max()) + 1, limit_crystals))]
        rows = rows[even_choice(len(rows), limit_rows)]
        if not len(rows):
            raise BadInput(f"{folder}: {config_name}/{split} has no rows left after the limits set")
        self._rows = rows
        self.labels = labels[rows].astype(np.int64)
        self.groups = groups[rows].astype(np.int64)

        # Views of the memory map, one per record batch: a batch is gathered by numpy straight from the pages.
        self._table, self._files = table, files
        self._chunks = [as_matrix(chunk, self.n_points) for chunk in arrow.column("intensity").chunks]
        self._starts = np.cumsum([0, *(len(chunk) for chunk in self._chunks)])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, pair: tuple[int, int]) -> Batch:
        """One row (torch asks for the method; batches use `__getitems__`)."""
        return {name: value[0] for name, value in self.__getitems__([pair]).items()}

    def __getitems__(self, pairs: Sequence[tuple[int, int]]) -> Batch:
        """Batch of rows; the draw makes no difference to stored rows."""
        rows = np.fromiter((row for _, row in pairs), dtype=np.int64, count=len(pairs))
        stored = self._rows[rows]
        chunk_of = np.searchsorted(self._starts, stored, side="right") - 1
        intensity = np.empty((len(rows), self.n_points), dtype=self._chunks[0].dtype)
        for place, (chunk, row) in enumerate(zip(chunk_of, stored, strict=True)):
            intensity[place] = self._chunks[chunk][row - self._starts[chunk]]
        bad = unsound_row(intensity)
        if bad is not None:
            raise BadInput(self._name(int(stored[bad]), what_is_wrong(intensity[bad])))
        return {"intensity": torch.from_numpy(intensity), "labels": torch.from_numpy(self.labels[rows])}

    def _name(self, row: int, problem: str) -> str:
        """A message about one stored row."""
        import pyarrow.parquet as pq

        where = self._table.data.slice(row, 1).select(["crystal_id", "condition"]).to_pylist()[0]
        for path in self._files:
            rows = pq.ParquetFile(path).metadata.num_rows
            if row < rows:
                return bad_row(path, row, where, problem)
            row -= rows
        return bad_row(self._files[-1], row, where, problem)

    def identity(self) -> dict[str, Any]:
        """crystal_id and condition of every row."""
        return {name: self._table.data.column(name).take(self._rows) for name in ("crystal_id", "condition")}


def bad_row(path: Path, row: int, where: dict[str, Any], problem: str) -> str:
    """A message about a row of a Parquet file; `where` holds its crystal_id and condition."""
    return (
        f"{path}: row {row} (crystal {where['crystal_id']}, condition {where['condition']}): {problem}; "
        "generate the dataset again, or leave this crystal out"
    )


def as_matrix(chunk: Any, n_points: int) -> NDArray[Any]:
    """(rows, n_points) view of a fixed-size list array."""
    result: NDArray[Any] = chunk.flatten().to_numpy(zero_copy_only=False).reshape(-1, n_points)
    return result
