"""A batch in parts, each computed by a thread of its own on one core of the CPU.

The threads of a matrix product wait for one another at each of hundreds of products a step, and where another process
simulates on one of the cores, all wait for that one. Parts of a batch meet once a step.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from simxrd_hf.training.sources.base import Batch


class SideBySide:
    """Threads that compute parts of a batch.

    Gradients are added up where they belong, under torch's lock; two parts give the same bits in whatever order.

    Args:
        threads: How many.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, "part", _one_core)

    def backward(self, loss_of: Callable[[Batch], Tensor], backward: Callable[[Tensor], None], batch: Batch) -> Tensor:
        """Run forward and backward passes of all parts.

        Args:
            loss_of: Mean loss of the rows of a batch, to which rows contribute alike and apart.
            backward: Backward pass of a loss.
            batch: Tensors of as many rows.

        Returns:
            Mean loss of the batch, without a graph.
        """
        parts = [dict(zip(batch, values, strict=True)) for values in zip(*map(self._cut, batch.values()), strict=True)]
        rows = len(batch["labels"])

        def one(part: Batch) -> Tensor:
            loss = loss_of(part) * (len(part["labels"]) / rows)
            backward(loss)
            return loss.detach()

        return torch.stack(list(self._pool.map(one, parts))).sum()

    def _cut(self, rows: Tensor) -> tuple[Tensor, ...]:
        return torch.tensor_split(rows, self.threads)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


def _one_core() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # a setting of each thread
