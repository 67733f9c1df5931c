"""Train the small module in a process of its own, killed on request: `run_training.py DATA OUTPUT [name=value …]`.

Several runs, separated by `--`, are made one after the other.
`kill_step=N` sends SIGKILL in the middle of the N-th forward pass, on `kill_rank` only if that is given.
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
import yaml
from training_helpers import Net

from simxrd_hf.training import TrainConfig, leave_process_group, train
from simxrd_hf.training.evaluation import predict_logits
from simxrd_hf.training.sources import StoredSplit


class Killed(Net):
    """Dies in a training step."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.calls = at, 0

    def forward(self, intensity: torch.Tensor) -> torch.Tensor:
        """As `Net`, until the call it dies in."""
        logits = super().forward(intensity)
        self.calls += self.training
        if self.training and self.calls == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        return logits


def shard_on_cpu() -> None:
    """Make the loop shard the model by FSDP2 over the CPU processes, which `accelerate launch` offers on GPUs only."""
    from accelerate import FullyShardedDataParallelPlugin
    from accelerate.utils import DistributedType

    from simxrd_hf.training import loop

    usual = loop.make_accelerator

    def sharding(config: TrainConfig):
        accelerator = usual(config)
        accelerator.state.distributed_type = DistributedType.FSDP
        accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
        return accelerator

    loop.make_accelerator = sharding


def settings(data: str, output: str) -> dict:
    """What all runs of these tests share."""
    return {
        "data": data,
        "output": output,
        "cpu": True,
        "mixed_precision": "no",
        "epochs": 3,
        "batch_size": 32,
        "log_every": 4,
        "checkpoint_every": 5,
        "ema_decay": 0.9,
        "label_smoothing": 0.1,
        "learning_rate": 3e-3,
        "seed": 7,
        "progress": False,
    }


def run(data: str, output: str, *rest: str) -> None:
    """One training with the options given as name=value."""
    from accelerate import Accelerator

    options = {name: yaml.safe_load(value) for name, value in (item.split("=") for item in rest)}
    kill_step, kill_rank = options.pop("kill_step", None), options.pop("kill_rank", None)
    if options.pop("fsdp", False):
        shard_on_cpu()
    rank = int(os.environ.get("RANK", 0))
    torch.manual_seed(1)
    model = Killed(kill_step) if kill_step and kill_rank in (None, rank) else Net()
    train(TrainConfig(**settings(data, output) | options), model=model)

    # Every process keeps what it got when scoring the validation rows: all of them, in order, once.
    accelerator = Accelerator(cpu=True)
    source = StoredSplit(data, "in_library", "validation", "crystal_system")
    logits = predict_logits(model.eval(), source, accelerator, 8)
    np.save(Path(output) / f"logits-{rank}-of-{accelerator.num_processes}.npy", logits)


if __name__ == "__main__":
    torch.set_num_threads(1)
    arguments = sys.argv[1:]
    while arguments:
        end = arguments.index("--") if "--" in arguments else len(arguments)
        run(*arguments[:end])
        arguments = arguments[end + 1 :]
    leave_process_group()
