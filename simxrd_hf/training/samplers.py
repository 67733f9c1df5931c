"""Which row is trained on when: a pure function of (seed, position), so that only the step need be remembered."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import Sampler

from simxrd_hf.errors import BadInput


class SampleOrder:
    """The endless sequence of training rows.

    Position p belongs to epoch p // n. Without weights an epoch is a permutation of the n rows; with weights it is n
    draws with replacement. Either is drawn by a Philox generator keyed by (seed, epoch), so any stretch of the sequence
    can be had alone, on any process.

    Args:
        n_rows: Rows to draw from.
        seed: Key of the order.
        weights: (n_rows,) relative frequency of each row, or None for every row once an epoch.
    """

    def __init__(self, n_rows: int, seed: int, weights: ArrayLike | None = None) -> None:
        if n_rows < 1:
            raise BadInput("training split: has no rows")
        self.n_rows = n_rows
        self.seed = seed
        self._cumulative: NDArray[np.float64] | None = None
        if weights is not None:
            self._cumulative = np.cumsum(np.asarray(weights, dtype=np.float64))
            self._cumulative /= self._cumulative[-1]
        self._kept: tuple[int, NDArray[np.int64]] | None = None

    def epoch(self, epoch: int) -> NDArray[np.int64]:
        """(n_rows,) row indices of one epoch, in order."""
        if self._kept is None or self._kept[0] != epoch:
            draw = np.random.Generator(np.random.Philox(key=np.array([self.seed, epoch], dtype=np.uint64)))
            if self._cumulative is None:
                rows = draw.permutation(self.n_rows)
            else:
                rows = np.searchsorted(self._cumulative, draw.random(self.n_rows), side="right")
                rows = np.minimum(rows, self.n_rows - 1)
            self._kept = (epoch, rows.astype(np.int64))
        return self._kept[1]

    def rows(self, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw numbers and row indices of the positions start … stop - 1.

        The draw number tells repeated uses of a row apart: the epoch, or with weights, where a row may come several
        times in one epoch, the position.
        """
        positions = np.arange(start, stop)
        epochs, offsets = np.divmod(positions, self.n_rows)
        rows = np.empty(len(positions), dtype=np.int64)
        for epoch in np.unique(epochs):
            rows[epochs == epoch] = self.epoch(int(epoch))[offsets[epochs == epoch]]
        return (epochs if self._cumulative is None else positions), rows


def balanced_weights(labels: ArrayLike, power: float = 0.0) -> NDArray[np.float64]:
    """Row weights that make class c appear with frequency proportional to n_c^power.

    Power 0 is class-balanced, 0.5 square-root, 1 instance-balanced sampling (Kang et al. 2020, arXiv:1910.09217,
    eq. 1). The same with crystal numbers as labels gives crystal-balanced sampling.

    Args:
        labels: (n,) class (or crystal) index of every row.
        power: Exponent q.

    Returns:
        (n,) weights, not normalised.
    """
    _, inverse, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    return (counts.astype(np.float64) ** (power - 1.0))[inverse]


class StepBatches(Sampler[list[tuple[int, int]]]):
    """Micro-batches of one process from a given step on, as lists of (draw, row).

    Step s trains on positions s * batch_size … (s + 1) * batch_size - 1 of the order, whatever the number of processes:
    process r takes the r-th equal part, cut into `accumulation` micro-batches.

    Args:
        order: The sequence of rows.
        batch_size: Patterns per step over all processes.
        accumulation: Micro-batches per step and process.
        rank: This process.
        world: Number of processes.
        start: First step.
        stop: Step before which to end.

    Raises:
        BadInput: The batch cannot be divided evenly.
    """

    def __init__(
        self, order: SampleOrder, batch_size: int, accumulation: int, rank: int, world: int, start: int, stop: int
    ) -> None:
        self.order, self.batch_size, self.rank = order, batch_size, rank
        self.micro = micro_batch_size(batch_size, accumulation, world)
        self.accumulation, self.start, self.stop = accumulation, start, stop

    def __len__(self) -> int:
        return (self.stop - self.start) * self.accumulation

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step in range(self.start, self.stop):
            first = step * self.batch_size + self.rank * self.accumulation * self.micro
            draws, rows = self.order.rows(first, first + self.accumulation * self.micro)
            pairs = list(zip(draws.tolist(), rows.tolist(), strict=True))
            for part in range(self.accumulation):
                yield pairs[part * self.micro : (part + 1) * self.micro]


def micro_batch_size(batch_size: int, accumulation: int, world: int) -> int:
    """Patterns per forward pass of one process.

    Raises:
        BadInput: `world * accumulation` does not divide the batch.
    """
    if batch_size % (world * accumulation):
        raise BadInput(
            f"batch_size: {batch_size} cannot be shared evenly by {world} processes times {accumulation} accumulation "
            f"steps; use a multiple of {world * accumulation}"
        )
    return batch_size // (world * accumulation)


def even_choice(n_rows: int, limit: int | None) -> NDArray[np.int64]:
    """`limit` row indices drawn evenly over 0 … n_rows - 1 (all if None or more than there are)."""
    if limit is None or limit >= n_rows:
        return np.arange(n_rows)
    return np.floor((np.arange(limit) + 0.5) * n_rows / limit).astype(np.int64)


def part_of(n_rows: int, batch_size: int, rank: int, world: int) -> list[NDArray[np.int64]]:
    """Batches of one process that together with the other processes' cover every row exactly once.

    All processes get the same number of batches (collective operations must match); where rows run out, a batch is
    filled with -1, to be dropped by the caller.

    Args:
        n_rows: Rows of the split.
        batch_size: Rows per batch and process.
        rank: This process.
        world: Number of processes.

    Returns:
        Batches of row indices; -1 marks filling.
    """
    per_process = math.ceil(n_rows / world)
    mine = np.arange(rank * per_process, (rank + 1) * per_process)
    mine[mine >= n_rows] = -1
    return [mine[i : i + batch_size] for i in range(0, per_process, batch_size)]
