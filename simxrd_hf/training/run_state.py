"""The state of a run: plain numbers and tensors, written to checkpoints and taken back from them, on all processes."""

import copy
import warnings
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import nn

from simxrd_hf.errors import BadInput
from simxrd_hf.training.checkpoints import CheckpointError, CheckpointFolder
from simxrd_hf.training.config import TrainConfig
from simxrd_hf.training.ema import WeightAverage
from simxrd_hf.training.optimization import build_optimizer
from simxrd_hf.training.run_folder import RunFolder


@dataclass
class Progress:
    """All plain state that a checkpoint holds beside tensors."""

    step: int = 0
    best_step: int = 0
    best_score: float | None = None
    worse_validations: int = 0
    seconds: float = 0.0
    train_seconds: float = 0.0
    window_loss: float = 0.0
    window_norm: float = 0.0
    window_steps: int = 0
    window_seconds: float = 0.0


class RunState:
    """Model, optimiser, weight average and progress of one run, as they stand on one process.

    Args:
        config: The run's settings.
        model: The plain module.
        folder: Where checkpoints lie.
        accelerator: The processes.

    Raises:
        BadInput: A weight average of sharded weights is asked for.
    """

    def __init__(self, config: TrainConfig, model: nn.Module, folder: RunFolder, accelerator: Any) -> None:
        self.accelerator, self.folder = accelerator, folder
        self.checkpoints = CheckpointFolder(folder.checkpoints, config.execution.keep_checkpoints)
        self.progress = Progress()
        self.sharded = accelerator.distributed_type.name == "FSDP"
        decay = config.optimization.ema_decay
        if self.sharded and decay is not None:
            raise BadInput("ema_decay: weights sharded by FSDP are not averaged; leave it out or use plain DDP")
        # FSDP replaces the parameters by shards: kept whole, a copy takes the best weights at the end.
        self._whole = copy.deepcopy(model) if self.sharded else None
        optimizer = build_optimizer(config.optimization, model, accelerator.device)
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.average = WeightAverage(self.plain, decay) if decay else None

    @property
    def plain(self) -> nn.Module:
        """The module without what the processes wrap it in."""
        module: nn.Module = self.accelerator.unwrap_model(self.model)
        return module

    def last_good(self) -> str:
        """What can be gone on from, in words."""
        kept = self.checkpoints.steps()
        return f"the last good checkpoint is of step {kept[-1]}" if kept else "there was no checkpoint yet"

    def share_buffers(self) -> None:
        """Give all processes the running statistics of the first, as DDP does by itself and FSDP does not."""
        if self.sharded:
            for buffer in self.model.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def save(self) -> None:
        """A checkpoint to go on from; collective, written by the main process."""
        from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

        tensors: dict[str, Any] = {"model": self._model_tensors()}
        inner = self.optimizer.optimizer
        tensors["optimizer"] = get_optimizer_state_dict(self.model, inner, options=_whole_on_cpu())
        if self.average is not None:
            tensors["average"] = self.average.state_dict()
        if self.accelerator.scaler is not None:
            tensors["scaler"] = self.accelerator.scaler.state_dict()
        self._write("step", tensors)
        if self.accelerator.is_main_process:
            self.checkpoints.prune()

    def save_best(self) -> None:
        """Keep the weights as the best so far."""
        self._write("best", {"model": self._model_tensors()})

    def resume(self) -> bool:
        """Go on from the newest checkpoint; whether there is one."""
        from torch.distributed.checkpoint.state_dict import (
            StateDictOptions,
            set_model_state_dict,
            set_optimizer_state_dict,
        )

        found = self.checkpoints.load_newest()
        if found is None:
            return False
        content, tensors = found
        missing = [spec.name for spec in fields(Progress) if spec.name not in content]
        if missing:
            folder = self.checkpoints.path("step", max(self.checkpoints.steps()))
            raise CheckpointError(
                f"{folder}: state.json has no {missing[0]}; it is of another version: delete this folder to go on "
                "from an older one"
            )
        self.progress = Progress(**{spec.name: content[spec.name] for spec in fields(Progress)})
        options = StateDictOptions(full_state_dict=True)
        set_model_state_dict(self.model, tensors["model"], options=options)
        set_optimizer_state_dict(self.model, self.optimizer.optimizer, tensors["optimizer"], options=options)
        if self.average is not None:
            self.average.load_state_dict(tensors["average"])
        if self.accelerator.scaler is not None and "scaler" in tensors:
            self.accelerator.scaler.load_state_dict(tensors["scaler"])
        try:
            if self.progress.best_score is not None:
                self.checkpoints.load("best", self.progress.best_step)
        except CheckpointError as error:
            warnings.warn(f"{error}; the best weights from here on are kept instead", stacklevel=2)
            self.progress.best_score, self.progress.best_step, self.progress.worse_validations = None, 0, 0
        return True

    def load_best(self) -> None:
        """Put the best weights in place; without them, those of the end stay."""
        from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

        try:
            best = self.checkpoints.load("best", self.progress.best_step)[1]["model"]
        except CheckpointError as error:
            warnings.warn(f"{error}; the weights of step {self.progress.step} are exported instead", stacklevel=2)
            self.progress.best_step = self.progress.step
            best = self._model_tensors()
        set_model_state_dict(self.model, dict(best), options=StateDictOptions(full_state_dict=True))
        if self._whole is not None:
            self._whole.load_state_dict(best)

    def exportable(self) -> nn.Module:
        """The plain module with all its weights, after `load_best`."""
        return self._whole if self._whole is not None else self.plain

    def _model_tensors(self) -> dict[str, Any]:
        from torch.distributed.checkpoint.state_dict import get_model_state_dict

        return dict(get_model_state_dict(self.model, options=_whole_on_cpu()))

    def _write(self, kind: str, tensors: dict[str, Any]) -> None:
        """Write on the main process; if that fails, fail on all with the same message."""
        from accelerate.utils import broadcast_object_list

        problem: list[str | None] = [None]
        if self.accelerator.is_main_process:
            processes = {"processes": self.accelerator.num_processes}
            content = asdict(self.progress) | self.folder.identity | processes
            try:
                self.checkpoints.save(kind, self.progress.step, content, tensors)
            except CheckpointError as error:
                problem = [str(error)]
        if self.accelerator.num_processes > 1:
            broadcast_object_list(problem)
        if problem[0] is not None:
            raise CheckpointError(problem[0])


def _whole_on_cpu() -> Any:
    from torch.distributed.checkpoint.state_dict import StateDictOptions

    return StateDictOptions(full_state_dict=True, cpu_offload=True)
