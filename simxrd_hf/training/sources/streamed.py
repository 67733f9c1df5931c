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

_PIECE = 1024  # rows taken from a block at once


class StreamedSplit:
    """Training rows of a dataset folder read shard by shard, for sets larger than memory and page cache.

    The unit is a Parquet row group. An epoch permutes all row groups of all shards by (seed, epoch), deals them to the
    processes in turn, and shuffles rows inside blocks of as many groups as hold `shuffle_rows` of them. The sequence of
    a process is a pure function of (seed, process, number of processes, `shuffle_rows`), and positions are found from
    the file footers, so that going on from a step reads nothing that was used before.

    A row group holds patterns of a hundred or so crystals, several of each: in small blocks a crystal comes again
    within a few steps and then not for long, and the network learns less of it.

    Args:
        folder: As `simxrd generate` writes it.
        config_name: Split scheme.
        split: Split name.
        task: Which label.
        seed: Key of the order.
        shuffle_rows: Rows shuffled together, which are in memory.
    """

    def __init__(
        self, folder: str | Path, config_name: str, split: str, task: str, seed: int, shuffle_rows: int = 32_768
    ) -> None:
        import pyarrow.parquet as pq

        self.files = stored_files(folder, config_name, split)
        self.task, self.seed, self.shuffle_rows = task, seed, shuffle_rows
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
        blocks: list[list[tuple[int, int, int]]] = []
        room = 0
        for unit in mine:
            if room <= 0:
                blocks.append([])
                room = self.shuffle_rows
            blocks[-1].append(unit)
            room -= unit[2]
        return blocks

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
        epoch, skip = 0, start
        while True:
            for number, block in enumerate(self._blocks(epoch, rank, world)):
                rows = sum(unit[2] for unit in block)
                if skip >= rows:
                    skip -= rows
                    continue
                key = np.array([self.seed, (epoch << 40) | (rank << 24) | number], dtype=np.uint64)
                order = np.random.Generator(np.random.Philox(key=key)).permutation(rows)[skip:]
                skip = 0
                intensity, labels = self._read(block)
                for i in range(0, len(order), _PIECE):
                    yield intensity[order[i : i + _PIECE]], labels[order[i : i + _PIECE]]
                del intensity, labels  # before the next block is read
            epoch += 1

    def _read(self, block: list[tuple[int, int, int]]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Patterns and labels of some row groups, which are in memory once.

        Raises:
            BadInput: A pattern holds what none can.
        """
        import pyarrow.parquet as pq

        rows = sum(unit[2] for unit in block)
        intensity: NDArray[Any] | None = None
        labels = np.empty(rows, np.int64)
        at = 0
        for number, group, count in block:
            file = pq.ParquetFile(self.files[number])
            table = file.read_row_group(group, columns=["intensity", self.task]).combine_chunks()
            part = as_matrix(table.column("intensity").chunk(0), self.n_points)
            bad = unsound_row(part)
            if bad is not None:
                where = file.read_row_group(group, columns=["crystal_id", "condition"]).slice(bad, 1).to_pylist()[0]
                before = sum(file.metadata.row_group(i).num_rows for i in range(group))
                raise BadInput(bad_row(self.files[number], before + bad, where, what_is_wrong(part[bad])))
            if intensity is None:
                intensity = np.empty((rows, self.n_points), part.dtype)
            intensity[at : at + count] = part
            labels[at : at + count] = table.column(self.task).to_numpy()
            at += count
        assert intensity is not None
        return intensity, labels
