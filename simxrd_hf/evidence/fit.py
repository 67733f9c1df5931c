"""Fits the combination of network, cells and library by maximum likelihood."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from simxrd_hf.evidence.combination import Combination
from simxrd_hf.evidence.findings import N_FEATURES, group_features

FloatArray = NDArray[np.float64]


class _Logit(torch.nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.first = torch.nn.Linear(N_FEATURES, hidden)
        self.second = torch.nn.Linear(hidden, hidden)
        self.last = torch.nn.Linear(hidden, 1, bias=False)
        self.linear = torch.nn.Linear(N_FEATURES, 1, bias=False)
        for layer in (self.last, self.linear):  # it begins as the network alone
            torch.nn.init.zeros_(layer.weight)

    def forward(self, x: torch.Tensor, log_p: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(self.second(torch.tanh(self.first(x))))
        return self.scale * log_p + (self.linear(x) + self.last(hidden)).squeeze(-1)


def fit_combination(
    log_p: FloatArray,
    cells: FloatArray,
    lines: NDArray[np.int64],
    similarity: FloatArray,
    labels: NDArray[np.int64],
    *,
    hidden: int = 32,
    decay: float = 0.1,
    epochs: int = 60,
    batch_size: int = 128,
    rate: float = 1e-2,
    seed: int = 0,
    about: Mapping[str, Any] | None = None,
) -> Combination:
    """Fit the weights.

    Args:
        log_p: (n, 230) log-probabilities of the network, for patterns it was not trained on.
        cells: (n, 101); see `Findings`.
        lines: (n,).
        similarity: (n, 2, 230); zeros for a combination without a library.
        labels: (n,) space-group numbers − 1.
        hidden: Units of both hidden layers.
        decay: Weight decay of AdamW.
        epochs: Passes over the rows.
        batch_size: Rows a step.
        rate: Highest learning rate, rising for a third of the steps and going down along a cosine.
        seed: Of first weights and order.
        about: Kept with the result.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _Logit(hidden)
    known, target = torch.from_numpy(log_p).float(), torch.from_numpy(np.asarray(labels, dtype=np.int64))
    x = torch.from_numpy(group_features(log_p, cells, lines, similarity))
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    steps = epochs * -(-len(target) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(target), generator=generator).split(batch_size):
            loss = torch.nn.functional.cross_entropy(model(x[rows], known[rows]), target[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()

    def numbers(value: torch.Tensor) -> FloatArray:
        return value.detach().double().numpy()

    return Combination(
        float(model.scale.detach()),
        numbers(model.linear.weight[0]),
        numbers(model.first.weight),
        numbers(model.first.bias),
        numbers(model.second.weight),
        numbers(model.second.bias),
        numbers(model.last.weight[0]),
        about=dict(about or {}),
    )
