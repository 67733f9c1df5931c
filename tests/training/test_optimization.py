"""The optimiser decays matrices alone; the learning rate against values by hand."""

import dataclasses

import pytest
import torch

from simxrd_hf.training.config import OptimizationConfig
from simxrd_hf.training.optimization import build_optimizer, learning_rate


def test_learning_rate_course():
    config = OptimizationConfig(learning_rate=2.0, warmup=0.1, final_learning_rate=0.1)
    assert learning_rate(config, 0.05) == pytest.approx(1.0)
    assert learning_rate(config, 0.1) == pytest.approx(2.0)
    assert learning_rate(config, 0.55) == pytest.approx(2 * (0.1 + 0.9 * 0.5))
    assert learning_rate(config, 1.0) == pytest.approx(0.2)
    assert learning_rate(dataclasses.replace(config, schedule="constant", warmup=0.0), 0.7) == 2.0
    assert learning_rate(
        dataclasses.replace(config, schedule="linear", final_learning_rate=0.0), 0.55
    ) == pytest.approx(1.0)


def test_matrices_decay_and_offsets_do_not():
    model = torch.nn.Sequential(torch.nn.Conv1d(1, 2, 3), torch.nn.BatchNorm1d(2), torch.nn.Linear(4, 5))
    model[2].weight.requires_grad_(False)
    config = OptimizationConfig(learning_rate=0.5, weight_decay=0.25)
    groups = build_optimizer(config, model, torch.device("cpu")).param_groups
    assert [len(group["params"]) for group in groups] == [1, 4]
    assert groups[0]["params"][0] is model[0].weight
    assert [group["weight_decay"] for group in groups] == [0.25, 0.0]
    # one step without a gradient takes learning rate times decay off (Loshchilov and Hutter, ICLR 2019, decoupled)
    before = [p.detach().clone() for p in (model[0].weight, model[0].bias)]
    for group in groups:
        for p in group["params"]:
            p.grad = torch.zeros_like(p)
    optimizer = build_optimizer(config, model, torch.device("cpu"))
    optimizer.step()
    assert torch.allclose(model[0].weight, before[0] * (1 - 0.5 * 0.25)) and torch.equal(model[0].bias, before[1])
