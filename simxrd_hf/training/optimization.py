"""The optimiser of a run and its learning rate."""

import math

import torch
from torch import nn

from simxrd_hf.training.config import OptimizationConfig


def build_optimizer(config: OptimizationConfig, model: nn.Module, device: torch.device) -> torch.optim.Optimizer:
    """Fused Adam or AdamW; weight decay on matrices and kernels only."""
    trained = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in trained if p.ndim >= 2]
    rest = [p for p in trained if p.ndim < 2]
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    decay = config.weight_decay if config.optimizer == "adamw" else 0.0
    groups = [{"params": decayed, "weight_decay": decay}, {"params": rest, "weight_decay": 0.0}]
    return kind(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=(0.9, config.beta2),
        fused=device.type in {"cpu", "cuda"},
    )


def learning_rate(config: OptimizationConfig, done: float) -> float:
    """Learning rate when the share `done` (0 … 1) of the run is over."""
    if done < config.warmup:
        return config.learning_rate * done / config.warmup
    after = min((done - config.warmup) / max(1 - config.warmup, 1e-9), 1.0)
    if config.schedule == "constant":
        share = 1.0
    else:
        share = (1 + math.cos(math.pi * after)) / 2 if config.schedule == "cosine" else 1 - after
    return config.learning_rate * (config.final_learning_rate + (1 - config.final_learning_rate) * share)
