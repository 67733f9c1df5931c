"""Stored patterns read shard by shard, for sets larger than memory and page cache."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from simxrd_hf.errors import BadInput
from simxrd_hf.training.sources.base import Batch, unsound_row, what_is_wrong
from simxrd_hf.training.sources.stored import as_matrix, bad_row, data_digest, stored_files, stored_grid


class StreamedSplit:
    """Training rows of a dataset folder read shard by shard, for sets larger than memory and page cache.

    The unit is a Parquet row group. An epoch permutes all row groups of all shards by (seed, epoch), deals them to the
    processes in turn, and shuffles rows inside blocks of `block` groups. The sequence of a process is a pure function
    of (seed, process, number of processes), and positions are found from the file footers, so that going on from a step
    reads nothing that was used before.

    Args:
        folder: As `simxrd generate` writes it.
        config_name: Split scheme.
        split: Split name.
        task: Which label.
        seed: Key of the order.
        block: Row groups shuffled together.
    """

    def __init__(self, folder: str | Path, config_name: str, split: str, task: str, seed: int, block: int = 8) -> None:
        import pyarrow.parquet as pq

        self.files = stored_files(folder, config_name, split)
        self.task, self.seed, self.block = task, seed, block
        self.grid = stored_grid(folder) or {}
        self.digest = data_digest(Path(folder))
        footers = [pq.ParquetFile(path).metadata for path in self.files]
        self.units = [
            (number, group, footer.row_group(group).num_rows)
            for number, footer in enumerate(footers)
            for group in range(footer.num_row_groups)
        ]
        self.n_points = int(pq.read_schema(self.files[0]).field("intensity").type.list_size)
        self.labels = np.concatenate(
            [pq.read_table(path, columns=[task]).column(task).to_numpy() for path in self.files]
        ).astype(np.int64)

    def __len__(self) -> int:
        return sum(rows for _, _, rows in self.units)

    def _blocks(self, epoch: int, rank: int, world: int) -> list[list[tuple[int, int, int]]]:
        key = np.array([self.seed, epoch], dtype=np.uint64)
        order = np.random.Generator(np.random.Philox(key=key)).permutation(len(self.units))
        mine = [self.units[unit] for unit in order[rank::world]]
        return [mine[i : i + self.block] for i in range(0, len(mine), self.block)]

    def batches(self, start: int, batch_size: int, rank: int, world: int) -> Iterator[Batch]:
        """Endless batches of one process, from its row number `start` on.

        Raises:
            BadInput: More processes than row groups.
        """
        if world > len(self.units):
            raise BadInput(
                f"streaming: {len(self.units)} row groups cannot be shared by {world} processes; write smaller shards"
            )
        held: list[NDArray[Any]] = []
        held_labels: list[NDArray[Any]] = []
        for intensity, labels in self._rows_from(start, rank, world):
            held.append(intensity)
            held_labels.append(labels)
            if sum(map(len, held_labels)) < batch_size:
                continue
            patterns, wanted = np.concatenate(held), np.concatenate(held_labels)
            whole = len(wanted) // batch_size * batch_size
            for i in range(0, whole, batch_size):
                yield {
                    "intensity": torch.from_numpy(patterns[i : i + batch_size]),
                    "labels": torch.from_numpy(wanted[i : i + batch_size]),
                }
            held, held_labels = [patterns[whole:]], [wanted[whole:]]

    def _rows_from(self, start: int, rank: int, world: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        epoch, skip = 0, start
        while True:
            for number, block in enumerate(self._blocks(epoch, rank, world)):
                rows = sum(unit[2] for unit in block)
                if skip >= rows:
                    skip -= rows
                    continue
                table = pa.concat_tables(
                    pq.ParquetFile(self.files[file]).read_row_group(group, columns=["intensity", self.task])
                    for file, group, _ in block
                ).combine_chunks()
                key = np.array([self.seed, (epoch << 40) | (rank << 24) | number], dtype=np.uint64)
                order = np.random.Generator(np.random.Philox(key=key)).permutation(rows)[skip:]
                skip = 0
                intensity = as_matrix(table.column("intensity").chunk(0), self.n_points)
                bad = unsound_row(intensity)
                if bad is not None:
                    raise BadInput(self._name(block, bad, what_is_wrong(intensity[bad])))
                labels = table.column(self.task).to_numpy().astype(np.int64)
                yield intensity[order], labels[order]
            epoch += 1

    def _name(self, block: list[tuple[int, int, int]], row: int, problem: str) -> str:
        """A message about one row of a block of row groups."""
        import pyarrow.parquet as pq

        for number, group, rows in block:
            if row < rows:
                file = pq.ParquetFile(self.files[number])
                where = file.read_row_group(group, columns=["crystal_id", "condition"]).slice(row, 1).to_pylist()[0]
                before = sum(file.metadata.row_group(i).num_rows for i in range(group))
                return bad_row(self.files[number], before + row, where, problem)
            row -= rows
        raise AssertionError("the row is in none of the groups")
