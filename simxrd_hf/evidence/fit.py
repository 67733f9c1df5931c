"""Fits the combination of network, cells and library by maximum likelihood."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from simxrd_hf.evidence.combination import Combination
from simxrd_hf.evidence.findings import N_FEATURES, N_GROUPS, OF_NETWORK, group_features

FloatArray = NDArray[np.float64]


class _Logit(torch.nn.Module):
    def __init__(self, hidden: int, sees: bool) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()), requires_grad=sees)
        self.first = torch.nn.Linear(N_FEATURES, hidden)
        self.second = torch.nn.Linear(hidden, hidden)
        self.last = torch.nn.Linear(hidden, 1, bias=False)
        self.linear = torch.nn.Linear(N_FEATURES, 1, bias=False)
        for layer in (self.last, self.linear):  # it begins as the network alone, or as the shares of the groups
            torch.nn.init.zeros_(layer.weight)

    def forward(self, x: torch.Tensor, log_p: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(self.second(torch.tanh(self.first(x))))
        result: torch.Tensor = self.scale * log_p + (self.linear(x) + self.last(hidden)).squeeze(-1)
        return result


def fit_combination(
    log_p: FloatArray,
    cells: FloatArray,
    lines: NDArray[np.int64],
    similarity: FloatArray,
    labels: NDArray[np.int64],
    weights: ArrayLike | None = None,
    *,
    hidden: int = 16,
    decay: float = 0.1,
    epochs: int = 60,
    batch_size: int = 128,
    rate: float = 1e-2,
    members: int = 6,
    blind: int = 0,
    seed: int = 0,
    about: Mapping[str, Any] | None = None,
) -> Combination:
    """Fit the weights; of several fits from different first weights the mean of the scores is taken.

    Blind members do not see what the network says and begin with the share of every group: a network trained on
    simulated patterns may be sure and wrong where a measured one is unlike them, which no fit on simulated ones tells.
    A library says enough without it, cells alone do not.

    Args:
        log_p: (n, 230) log-probabilities of the network, for patterns it was not trained on.
        cells: (n, 101); see `Findings`.
        lines: (n,).
        similarity: (n, 6, 230); zeros for a combination without a library.
        labels: (n,) space-group numbers − 1.
        weights: (n,) how much each row counts; all the same if absent.
        hidden: Units of both hidden layers of a member.
        decay: Weight decay of AdamW.
        epochs: Passes over the rows.
        batch_size: Rows a step.
        rate: Highest learning rate, rising for a third of the steps and going down along a cosine.
        members: Fits whose scores are averaged: one combination with the hidden units of all.
        blind: How many of them do not see the network.
        seed: Of first weights and order; the next members take the next numbers.
        about: Kept with the result.
    """
    known, target = torch.from_numpy(log_p).float(), torch.from_numpy(np.asarray(labels, dtype=np.int64))
    weight = torch.ones(len(target)) if weights is None else torch.as_tensor(np.asarray(weights, dtype=np.float32))
    x = torch.from_numpy(group_features(log_p, cells, lines, similarity))
    share = (target.bincount(weight, minlength=N_GROUPS) + 1).div(weight.sum() + N_GROUPS).log()
    models = []
    for k in range(members):
        sees = k < members - blind
        if not sees:
            known = share.expand_as(known)
            x[..., :OF_NETWORK] = 0
        models.append(
            _fitted(x, known, target, weight / weight.mean(), hidden, decay, epochs, batch_size, rate, seed + k, sees)
        )

    def of_all(name: str) -> list[FloatArray]:
        return [model.get_parameter(name).detach().double().numpy() for model in models]

    second = np.zeros((members * hidden, members * hidden))
    for k, block in enumerate(of_all("second.weight")):
        second[k * hidden : (k + 1) * hidden, k * hidden : (k + 1) * hidden] = block
    return Combination(
        float(np.sum(of_all("scale")[: members - blind])) / members,
        share.double().numpy() * blind / members,
        np.mean(of_all("linear.weight"), axis=0)[0],
        np.concatenate(of_all("first.weight")),
        np.concatenate(of_all("first.bias")),
        second,
        np.concatenate(of_all("second.bias")),
        np.concatenate([weight[0] for weight in of_all("last.weight")]) / members,
        about=dict(about or {}),
    )


def _fitted(
    x: torch.Tensor,
    known: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor,
    hidden: int,
    decay: float,
    epochs: int,
    batch_size: int,
    rate: float,
    seed: int,
    sees: bool,
) -> _Logit:
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _Logit(hidden, sees)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    steps = epochs * -(-len(target) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(target), generator=generator).split(batch_size):
            losses = torch.nn.functional.cross_entropy(model(x[rows], known[rows]), target[rows], reduction="none")
            loss = (weight[rows] * losses).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    if not sees:  # the features it was fitted without
        with torch.no_grad():
            for layer in (model.first, model.linear):
                layer.weight[:, :OF_NETWORK] = 0
    return model
