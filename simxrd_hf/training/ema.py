"""Exponential moving average of a model's weights, kept beside them and put in their place for scoring."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """Average of every floating-point parameter and buffer, decay^n-weighted with the usual warm-up.

    The decay of update n is min(decay, (1 + n) / (10 + n)), so that the first weights are soon forgotten.

    Args:
        model: The plain (unwrapped) module.
        decay: Long-run decay per step.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.average = {name: value.detach().clone() for name, value in self._tensors(model).items()}

    @staticmethod
    def _tensors(model: nn.Module) -> dict[str, Tensor]:
        return {name: value for name, value in model.state_dict().items() if value.is_floating_point()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights after an optimiser step."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        current = self._tensors(model)
        get_ema_multi_avg_fn(decay)(list(self.average.values()), [current[name] for name in self.average], self.updates)

    @contextlib.contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Within the block the model has the averaged weights."""
        tensors = self._tensors(model)
        kept = {name: tensors[name].detach().clone() for name in self.average}
        self._copy(self.average, tensors)
        try:
            yield
        finally:
            self._copy(kept, tensors)

    @staticmethod
    @torch.no_grad()
    def _copy(values: dict[str, Tensor], into: dict[str, Tensor]) -> None:
        for name, value in values.items():
            into[name].copy_(value)

    def state_dict(self) -> dict[str, object]:
        """Plain state, tensors on the CPU."""
        return {"updates": self.updates, "average": {name: value.cpu() for name, value in self.average.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
        self.updates = state["updates"]
        self._copy(state["average"], self.average)
