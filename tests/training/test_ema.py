"""The average of the weights, against values by hand."""

import pytest
import torch

from simxrd_hf.training.ema import WeightAverage


def test_weight_average_by_hand():
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(module.weight, 0.0)
    average = WeightAverage(module, 0.15)
    for value, expected in [(1.0, 0.9), (2.0, 0.9 * 0.15 + 2.0 * 0.85)]:  # decay min(.15, 1/10), then min(.15, 2/11)
        torch.nn.init.constant_(module.weight, value)
        average.update(module)
        assert average.average["weight"].item() == pytest.approx(expected, rel=1e-6)
    with average.applied(module):
        assert module.weight.item() == pytest.approx(1.835, rel=1e-6)
    assert module.weight.item() == 2.0
