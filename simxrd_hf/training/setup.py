"""What a run starts from: its processes and device, its model, the generator of its dropout."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from simxrd_hf.errors import BadInput
from simxrd_hf.training.config import TrainConfig
from simxrd_hf.training.evaluation import load_model
from simxrd_hf.training.machine import multiplies_bf16


def make_accelerator(config: TrainConfig) -> Any:
    """The Accelerator for a config; state left by an earlier run in this process is put aside."""
    import accelerate
    from accelerate.state import AcceleratorState, GradientState
    from accelerate.tracking import get_available_trackers

    AcceleratorState._reset_state(False)
    GradientState._reset_state()
    trackers = config.execution.trackers
    missing = set(trackers) - {str(name) for name in get_available_trackers()}
    if missing:
        there = ", ".join(sorted(str(name) for name in get_available_trackers())) or "none"
        raise BadInput(f"trackers: {', '.join(sorted(missing))} not installed (installed: {there})")
    precision = config.numerics.mixed_precision
    if precision == "auto":
        precision = "bf16" if multiplies_bf16(config.execution.cpu or not torch.cuda.is_available()) else "no"
    # Parts of a batch may be computed at once: a weight is cast by each, and used once.
    kept = [accelerate.utils.AutocastKwargs(cache_enabled=False)]
    accelerator = accelerate.Accelerator(
        kwargs_handlers=kept,
        cpu=config.execution.cpu,
        mixed_precision=precision,
        log_with=trackers or None,
        project_dir=config.execution.output,
    )
    if precision == "fp16" and accelerator.device.type == "cpu":
        raise BadInput("mixed_precision: fp16 needs a GPU; use bf16 or no on a CPU")
    return accelerator


def leave_process_group() -> None:
    """Part from the other processes at the end of a program; its threads may else outlive the interpreter and abort."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def build_model(config: TrainConfig) -> nn.Module:
    """The model a config names: a new one with weights drawn from the seed, or a saved one to go on from."""
    network = config.network
    torch.manual_seed(config.seed)
    if (Path(network.model) / "config.json").exists():
        loaded: nn.Module = load_model(network.model)
        task = getattr(loaded.config, "task", None)
        if task != network.task:
            raise BadInput(f"{network.model}: was trained for {task}, the config asks for {network.task}")
        if network.trained == "classifier":
            only_classifier(loaded)
        return loaded
    if network.trained == "classifier":
        raise BadInput(f"trained: a classifier is retrained on a trained network; {network.model!r} is no saved model")
    from simxrd_hf.models import create_model

    made: nn.Module = create_model(
        network.model, network.task, variant=network.variant, size=network.size, **network.model_options
    )
    return made


def only_classifier(model: nn.Module) -> None:
    """Freeze a network but for its classifier, whose weights are drawn anew from torch's generator.

    The second stage of decoupled training (Kang et al. 2020, arXiv:1910.09217, section 4.2, cRT).
    """
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    classifier = model.get_submodule("classifier")
    assert isinstance(classifier, nn.Linear)
    for parameter in classifier.parameters():
        parameter.requires_grad_(True)
    torch.nn.init.trunc_normal_(classifier.weight, std=classifier.weight.shape[1] ** -0.5)
    torch.nn.init.zeros_(classifier.bias)


def seed_dropout(seed: int, step: int, part: int, rank: int) -> None:
    """Seed dropout from (seed, step, micro-batch, process), so that no generator state need be saved."""
    words = np.random.SeedSequence([seed, step, part, rank]).generate_state(2, np.uint32)
    torch.manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)
