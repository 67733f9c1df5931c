"""Torch batches at the speed of memory: from rows at random, and from shuffled streams."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from simxrd_hf.errors import BadInput

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

PATTERN_COLUMNS = ("intensity", "space_group", "crystal_system")


def _array(column: pa.Array | pa.ChunkedArray) -> np.ndarray | list[str]:
    """A column as numpy, patterns as (rows, points), without a copy where it lies in one piece; texts as a list."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if pa.types.is_fixed_size_list(column.type):
        flat = column.flatten().to_numpy(zero_copy_only=False)
        result: np.ndarray | list[str] = flat.reshape(len(column), column.type.list_size)
        return result
    if pa.types.is_string(column.type):
        return list(column.to_pylist())
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _numpy(column: pa.ChunkedArray) -> np.ndarray:
    values = _array(column)
    return np.array(values, dtype=object) if isinstance(values, list) else values


def _tensor(values: np.ndarray | list[str]) -> Any:
    import torch

    if isinstance(values, list):
        return values
    # Arrow's memory is read-only, which torch does not know: what would stay a view of it is copied.
    tensor = torch.from_numpy(values if values.flags.writeable else values.copy())
    return tensor.float() if tensor.is_floating_point() else tensor.long()


def torch_batch(table: pa.Table | Sequence[pa.Table]) -> dict[str, Any]:
    """Columns of Arrow tables as torch tensors.

    `stream.with_format("arrow").iter(64)` gives such tables; as `collate_fn` of a `DataLoader` over rows in Arrow
    format it takes a list of them.

    Args:
        table: Rows, or a list of tables.

    Returns:
        Patterns as float32 (rows, points), numbers as int64 or float32 (rows,), texts as lists.
    """
    if not isinstance(table, pa.Table):
        table = pa.concat_tables(table)
    return {name: _tensor(_array(table[name])) for name in table.column_names}


class TensorRows:
    """Random access to a stored dataset, a batch of tensors at a time.

    For a `DataLoader`: `DataLoader(TensorRows(dataset), batch_size=64, shuffle=True, collate_fn=lambda batch: batch)`.

    Args:
        dataset: From `load_dataset`, map-style; its rows are read where they lie in memory-mapped files.
        columns: Columns to give.

    Raises:
        BadInput: The dataset lacks a column.
    """

    def __init__(self, dataset: Dataset, columns: Sequence[str] = PATTERN_COLUMNS) -> None:
        missing = [c for c in columns if c not in dataset.column_names]
        if missing:
            raise BadInput(f"the dataset lacks the column(s) {', '.join(missing)}")
        if getattr(dataset, "_indices", None) is not None:
            dataset = dataset.flatten_indices()
        self._dataset = dataset.select_columns(list(columns))
        self._open()

    def _open(self) -> None:
        table = self._dataset.with_format("arrow")[:]
        self._scattered: dict[str, list[np.ndarray]] = {}
        self._whole: dict[str, np.ndarray | list[str]] = {}
        starts = {}
        for name in table.column_names:
            if pa.types.is_fixed_size_list(table[name].type):  # too large to be copied together
                chunks = [chunk for chunk in table[name].chunks if len(chunk)]
                self._scattered[name] = [np.asarray(_array(chunk)) for chunk in chunks]
                starts[name] = np.cumsum([0, *map(len, chunks)])
            else:
                self._whole[name] = _array(table[name])
        self._starts = starts

    def __getstate__(self) -> dict[str, Any]:
        return {"_dataset": self._dataset}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._dataset = state["_dataset"]
        self._open()

    def __len__(self) -> int:
        return int(self._dataset.num_rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: values[0] for name, values in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Any]:
        """A batch: patterns as float32 (rows, points), numbers as int64 or float32 (rows,), texts as lists.

        Raises:
            IndexError: A row beyond the end.
        """
        rows = np.asarray(indices, dtype=np.int64)
        if len(rows) and not (-len(self) <= rows.min() and rows.max() < len(self)):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of a dataset with {len(self)}")
        rows = np.where(rows < 0, rows + len(self), rows)
        batch: dict[str, Any] = {}
        for name in self._dataset.column_names:
            if name in self._scattered:
                batch[name] = _tensor(_gather(self._scattered[name], self._starts[name], rows))
                continue
            whole = self._whole[name]
            batch[name] = _tensor([whole[i] for i in rows] if isinstance(whole, list) else whole[rows])
        return batch


def _gather(chunks: list[np.ndarray], starts: np.ndarray, rows: np.ndarray) -> np.ndarray:
    out = np.empty((len(rows), *chunks[0].shape[1:]), dtype=chunks[0].dtype)
    owners = np.searchsorted(starts, rows, side="right") - 1
    for place, (owner, row) in enumerate(zip(owners.tolist(), (rows - starts[owners]).tolist(), strict=True)):
        out[place] = chunks[owner][row]
    return out


def shuffled_batches(
    stream: IterableDataset,
    batch_size: int = 64,
    *,
    columns: Sequence[str] = PATTERN_COLUMNS,
    buffer_size: int = 32_768,
    seed: int = 0,
) -> Iterator[dict[str, Any]]:
    """Batches of a stream in random order: files in random order, then rows exchanged through a buffer.

    All patterns of a crystal lie within a few thousand rows of a file: in a buffer no larger than that they come close
    together and then not again, from which a network learns less (`docs/training.md`).

    Every row comes once. The last batch may be smaller. Rows in the buffer are not part of any `state_dict`.

    Args:
        stream: From `load_dataset(…, streaming=True)` or `on_the_fly`; already split by node if there are several.
        batch_size: Rows in a batch.
        columns: Columns to give.
        buffer_size: Rows to choose from, 14 kB of memory each; at least `batch_size`.
        seed: Another seed gives another order.

    Yields:
        Patterns as float32 tensors (rows, points), numbers as int64 or float32 (rows,), texts as lists.
    """
    random = np.random.default_rng(seed)
    if stream.column_names != list(columns):
        stream = stream.select_columns(list(columns))
    stream = stream.with_format("arrow")
    parts = stream.num_shards
    pool: dict[str, np.ndarray] = {}
    held, capacity = 0, max(buffer_size, batch_size)
    for part in random.permutation(parts):
        for table in stream.shard(parts, int(part)).iter(batch_size):
            values = {name: _numpy(table[name]) for name in table.column_names}
            n = len(table)
            if not pool:
                pool = {name: np.empty((capacity, *v.shape[1:]), v.dtype) for name, v in values.items()}
            room = min(n, capacity - held)
            for name, v in values.items():
                pool[name][held : held + room] = v[:room]
            held += room
            if n > room:
                places = random.choice(capacity, size=n - room, replace=False)
                out = {}
                for name, v in values.items():
                    out[name] = pool[name][places]
                    pool[name][places] = v[room:]
                yield _batch(out)
    order = random.permutation(held)
    for start in range(0, held, batch_size):
        yield _batch({name: v[order[start : start + batch_size]] for name, v in pool.items()})


def _batch(values: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: _tensor(v.tolist() if v.dtype == object else v) for name, v in values.items()}
