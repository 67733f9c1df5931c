"""The training loop: from a config to a scored, calibrated, exported model, on any number of processes.

A step is a pure function of (config, step, weights before it): the order of rows comes from `samplers`, dropout is
seeded anew at every step, the learning rate is computed from the step. So a run that was killed goes on from its last
checkpoint as if nothing had happened. What it does not do: choose data (sources.py), score tests (evaluation.py).
"""

import contextlib
import copy
import csv
import dataclasses
import io
import json
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from simxrd_hf.errors import BadInput
from simxrd_hf.files import replacing_folder, write_whole
from simxrd_hf.metrics.temperature import calibrate, calibrated_loss
from simxrd_hf.training import plots, sources
from simxrd_hf.training.checkpoints import CheckpointError, CheckpointFolder
from simxrd_hf.training.config import TrainConfig
from simxrd_hf.training.ema import WeightAverage
from simxrd_hf.training.evaluation import load_model, logits_of, predict_logits, score
from simxrd_hf.training.history import COLUMNS, read_history
from simxrd_hf.training.losses import ClassificationLoss
from simxrd_hf.training.machine import denormals_flushed, machine
from simxrd_hf.training.optimization import build_optimizer, learning_rate
from simxrd_hf.training.samplers import micro_batch_size

_UNLIMITED = 2**40


class TrainingDiverged(BadInput):
    """The loss is not finite any more; the last good checkpoint is kept."""


@dataclass(frozen=True)
class TrainResult:
    """What a run left behind.

    `validation` holds the scores of the best weights on the validation split, after calibration; `model_dir` is a
    complete model folder; `stopped` says why it ended: "budget", "patience" or "time". `patterns_per_s` is training
    alone, without validation and checkpoints.
    """

    output: Path
    model_dir: Path
    steps: int
    best_step: int
    stopped: str
    patterns: int
    patterns_per_s: float
    minutes: float
    validation: dict[str, float]
    about: dict[str, Any]


@dataclass
class _Progress:
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


def leave_process_group() -> None:
    """Part from the other processes at the end of a program; its threads may else outlive the interpreter and abort."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def build_model(config: TrainConfig) -> nn.Module:
    """The model a config names: a new one with weights drawn from the seed, or a saved one to go on from."""
    torch.manual_seed(config.seed)
    if (Path(config.model) / "config.json").exists():
        model = load_model(config.model)
        if model.config.task != config.task:
            raise BadInput(f"{config.model}: was trained for {model.config.task}, the config asks for {config.task}")
        return model
    from simxrd_hf.models import create_model

    return create_model(config.model, config.task, variant=config.variant, size=config.size, **config.model_options)


@denormals_flushed()
def train(config: TrainConfig, *, model: nn.Module | None = None, overwrite: bool = False) -> TrainResult:
    """Train, validate, calibrate and export one model; called again on the same folder, go on where it stopped.

    Run alone or on every process of `accelerate launch` / `torchrun`.

    Args:
        config: All settings.
        model: A module of your own instead of the one the config names: called with `intensity=` (B, n_points), it
            returns logits or an output with `.logits`. Not exported as a Hub folder unless it is a transformers model.
        overwrite: Delete what an earlier run left in the output folder.

    Returns:
        What was made.

    Raises:
        BadInput: Unusable settings or data; a folder with a run of other settings or data.
        TrainingDiverged: The loss became infinite or NaN.
        CheckpointError: A checkpoint could not be written; the ones before it are whole.
    """
    run = _Run(config, model, overwrite)
    if run.finished is not None:
        return run.finished
    try:
        stopped = run.fit()
        return run.finish(stopped)
    except RuntimeError as error:
        if run.accelerator.num_processes > 1 and any(word in str(error).lower() for word in ("gloo", "nccl", "peer")):
            kept = run.checkpoints.steps()
            last = f"the last good checkpoint is of step {kept[-1]}" if kept else "there was no checkpoint yet"
            raise RuntimeError(
                f"another process of this run has stopped or cannot be reached; {last}. "
                "Start the same command again: it goes on from there"
            ) from error
        raise
    finally:
        run.close()


class _Run:
    """One run in progress on one process."""

    def __init__(self, config: TrainConfig, model: nn.Module | None, overwrite: bool) -> None:
        self.config = config
        self.output = Path(config.output)
        self.finished: TrainResult | None = None
        self.accelerator = acc = _accelerator(config)
        micro_batch_size(config.batch_size, config.gradient_accumulation, acc.num_processes)
        self.checkpoints = CheckpointFolder(self.output / "checkpoints", config.keep_checkpoints)
        self.state = _Progress()
        self.history: list[dict[str, float]] = []

        with acc.main_process_first():
            self.train_source = sources.open_training(config)
            self.validation_source = sources.open_split(config, "validation", limit_rows=config.validation_rows)
        self.identity = {"config_digest": config.digest, "data_digest": self.train_source.digest}
        self._open_folder(overwrite)
        if self.finished is not None:
            return

        if config.deterministic:
            torch.use_deterministic_algorithms(True)
        torch.manual_seed(config.seed)
        plain = model if model is not None else build_model(config)
        sources.check_match(getattr(plain, "config", None), self.train_source, config.data or str(config.crystals))
        if config.loss == "model" and model is None and not hasattr(plain, "config"):
            raise BadInput("loss: 'model' needs a transformers model")
        if config.compile:
            plain.compile()
        self.parameters = sum(p.numel() for p in plain.parameters())
        self.counts = sources.class_counts(self.train_source, config.num_labels)
        self.loss = ClassificationLoss(config, self.counts).to(acc.device)
        self.sharded = acc.distributed_type.name == "FSDP"
        if self.sharded and config.ema_decay is not None:
            raise BadInput("ema_decay: weights sharded by FSDP are not averaged; leave it out or use plain DDP")
        # FSDP replaces the parameters by shards: kept whole, a copy takes the best weights at the end.
        self.whole = copy.deepcopy(plain) if self.sharded else None
        self.model, self.optimizer = acc.prepare(plain, build_optimizer(config, plain, acc.device))
        self.average = WeightAverage(acc.unwrap_model(self.model), config.ema_decay) if config.ema_decay else None
        self._resume()
        if config.trackers:
            flat = {k: v if isinstance(v, int | float | str | bool) else str(v) for k, v in config.to_dict().items()}
            acc.init_trackers("simxrd", config=flat)

        self.per_epoch = math.ceil(len(self.train_source) / config.batch_size)
        if config.patterns is not None:
            self.total = math.ceil(config.patterns / config.batch_size)
        elif config.epochs is not None:
            self.total = math.ceil(config.epochs * len(self.train_source) / config.batch_size)
        else:
            self.total = _UNLIMITED
            if config.schedule != "constant" and not config.schedule_by_time:
                raise BadInput("schedule: without patterns or epochs, set schedule_by_time or schedule: constant")

    # ------------------------------------------------------------------------------------------------ the loop itself

    def fit(self) -> str:
        """Train until the budget, the time or the patience is used up; returns which."""
        config, acc, state = self.config, self.accelerator, self.state
        evaluate_every = config.evaluate_every or self.per_epoch
        trained = [p for p in self.model.parameters() if p.requires_grad]
        batches = sources.training_batches(
            config, self.train_source, acc.process_index, acc.num_processes, state.step, self.total, acc.device
        )
        local = torch.zeros(2, dtype=torch.float64, device=_float64_device(acc.device))  # sums of loss and norm
        self.model.train()
        bar = tqdm(
            total=None if self.total == _UNLIMITED else self.total * config.batch_size,
            initial=state.step * config.batch_size,
            unit="pattern",
            unit_scale=True,
            smoothing=0.1,
            desc=f"{config.model} {config.task}",
            disable=not (config.progress and acc.is_main_process),
        )
        self._clock = time.monotonic()
        stopped, rate = "budget", 0.0
        with bar, _profiler(config, self.output, acc.is_main_process) as profiled:
            while state.step < self.total:
                if config.patience is not None and state.worse_validations >= config.patience:
                    stopped = "patience"
                    break
                seconds = self._agreed_seconds() if config.max_minutes else 0.0
                if config.max_minutes and seconds >= config.max_minutes * 60 and state.step > 0:
                    stopped = "time"
                    break
                done = (state.step + 0.5) / self.total
                if config.schedule_by_time and config.max_minutes:
                    done = max(done, seconds / (config.max_minutes * 60))
                rate = learning_rate(config, done)
                for group in self.optimizer.param_groups:
                    group["lr"] = rate

                for part in range(config.gradient_accumulation):
                    batch = next(batches)
                    _seed_dropout(config.seed, state.step, part, acc.process_index)
                    last = part == config.gradient_accumulation - 1
                    with contextlib.nullcontext() if last else acc.no_sync(self.model):
                        loss = self._loss(batch) / config.gradient_accumulation
                        acc.backward(loss)
                    local[0] += loss.detach().to(local)
                local[1] += self._clip(trained)
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
                if self.average is not None:
                    self.average.update(acc.unwrap_model(self.model))
                state.step += 1
                state.window_steps += 1
                bar.update(config.batch_size)
                profiled.step()

                at_end = state.step == self.total
                evaluate = state.step % evaluate_every == 0 or at_end
                save = evaluate or (config.checkpoint_every and state.step % config.checkpoint_every == 0)
                log = state.step % config.log_every == 0 or evaluate
                if log or save:
                    self._flush(local)
                if save and self.sharded:
                    _share_buffers(self.model)
                if log:
                    row = self._log_row(rate)
                    if evaluate:
                        row |= self._validate()
                    self._write_row(row)
                    bar.set_postfix(_shown(self.history), refresh=False)
                if save:
                    self._save()
            # After a stop between validations the last stretch is judged too, so that no training is thrown away.
            if stopped == "time" and not self._validated():
                self._flush(local)
                row = self._log_row(rate) if state.window_steps else self.history[-1]
                self._write_row(row | self._validate())
                self._save()
        return stopped

    def _loss(self, batch: sources.Batch) -> torch.Tensor:
        if self.config.loss == "model":
            return self.model(intensity=batch["intensity"], labels=batch["labels"]).loss
        return self.loss(logits_of(self.model(intensity=batch["intensity"])), batch["labels"])

    def _clip(self, trained: list[nn.Parameter]) -> torch.Tensor:
        """Clip if asked; the gradient norm (0 under fp16, where overflows are skipped by the scaler and harmless)."""
        limit = self.config.max_grad_norm or math.inf
        fp16 = self.config.mixed_precision == "fp16"
        if fp16 and self.config.max_grad_norm is None:
            return torch.zeros((), dtype=torch.float64)
        norm = self.accelerator.clip_grad_norm_(trained, limit)
        if fp16 or norm is None:
            return torch.zeros((), dtype=torch.float64)
        return (norm.full_tensor() if hasattr(norm, "full_tensor") else norm).detach().double()

    def _agreed_seconds(self) -> float:
        """Time used so far, the main process's clock on all."""
        seconds = torch.tensor([self.state.seconds + time.monotonic() - self._clock], dtype=torch.float32)
        if self.accelerator.num_processes > 1:
            from accelerate.utils import broadcast

            seconds = broadcast(seconds.to(self.accelerator.device))
        return float(seconds)

    def _flush(self, local: torch.Tensor) -> None:
        """Bring the window sums of all processes together and refuse to go on when they are not finite."""
        state, acc = self.state, self.accelerator
        sums = acc.reduce(local.clone(), reduction="mean").tolist()
        local.zero_()
        state.window_loss += sums[0]
        state.window_norm += sums[1]
        now = time.monotonic()
        state.seconds += now - self._clock
        state.train_seconds += now - self._clock
        state.window_seconds += now - self._clock
        self._clock = now
        if not (math.isfinite(state.window_loss) and math.isfinite(state.window_norm)):
            kept = self.checkpoints.steps()
            last = f"the last good checkpoint is of step {kept[-1]}" if kept else "there was no checkpoint yet"
            first = state.step - state.window_steps + 1
            what = "loss" if not math.isfinite(state.window_loss) else "gradient"
            raise TrainingDiverged(
                f"{self.output}: the {what} is not finite in steps {first} to {state.step}; "
                f"{last}. Lower learning_rate, set max_grad_norm, or use bf16 instead of fp16, in a new output folder"
            )

    def _log_row(self, rate: float) -> dict[str, float]:
        state, size = self.state, self.config.batch_size
        steps = max(state.window_steps, 1)
        row = {
            "step": state.step,
            "patterns": state.step * size,
            "epoch": state.step * size / len(self.train_source),
            "learning_rate": rate,
            "train_loss": state.window_loss / steps,
            "grad_norm": state.window_norm / steps,
            "patterns_per_s": state.window_steps * size / max(state.window_seconds, 1e-9),
            "minutes": state.seconds / 60,
        }
        state.window_loss = state.window_norm = state.window_seconds = 0.0
        state.window_steps = 0
        return row

    def _validate(self) -> dict[str, float]:
        """Score the validation split, keep the weights if they are the best so far."""
        config, state, acc = self.config, self.state, self.accelerator
        source = self.validation_source
        plain = acc.unwrap_model(self.model)
        with self.average.applied(plain) if self.average is not None else contextlib.nullcontext():
            logits = predict_logits(self.model, source, acc, config.eval_batch_size)
            scores = score(source.labels, logits, config.task)
            found = {"loss": scores["nll"]} | {name: scores[name] for name in ("accuracy", "macro_f1", "ece")}
            if not math.isfinite(found["loss"]):
                raise TrainingDiverged(f"{self.output}: the validation loss is not finite at step {state.step}")
            value = -calibrated_loss(logits, source.labels) if config.monitor == "loss" else found[config.monitor]
            if state.best_score is None or value > state.best_score:
                state.best_score, state.best_step, state.worse_validations = value, state.step, 0
                self._write("best", {"model": self._model_tensors()})
            else:
                state.worse_validations += 1
        now = time.monotonic()
        state.seconds += now - self._clock
        self._clock = now
        return {f"validation_{name}": number for name, number in found.items()}

    # ------------------------------------------------------------------------------------------- folder and checkpoints

    def _open_folder(self, overwrite: bool) -> None:
        """Take the output folder: empty, of this very run, or refused."""
        acc, path = self.accelerator, self.output / "run.json"
        if overwrite and acc.is_main_process:
            for name in ("checkpoints", "model", "profile"):
                shutil.rmtree(self.output / name, ignore_errors=True)
            for name in ("run.json", "history.csv", "config.yaml", "learning_curve.png"):
                (self.output / name).unlink(missing_ok=True)
        acc.wait_for_everyone()
        if path.exists():
            before = json.loads(path.read_text())
            _refuse_other_run(self.output, before, self.config, self.identity)
            more_time = before.get("stopped") == "time" and (self.config.max_minutes or math.inf) > before["minutes"]
            if before.get("stopped") and not more_time:
                self.finished = _result(self.output, before)
        elif self.output.is_dir() and any(self.output.iterdir()):
            raise BadInput(
                f"{self.output}: is not empty and holds no run of this program; choose another output folder"
            )
        acc.wait_for_everyone()
        if acc.is_main_process and self.finished is None:
            self.output.mkdir(parents=True, exist_ok=True)
            self.config.to_yaml(self.output / "config.yaml")
            write_whole(path, json.dumps(self.identity | {"settings": self.config.result_settings()}, indent=1))

    def _model_tensors(self) -> dict[str, Any]:
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        return dict(get_model_state_dict(self.model, options=options))

    def _save(self) -> None:
        """A checkpoint to go on from; collective, written by the main process."""
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict

        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        tensors: dict[str, Any] = {"model": self._model_tensors()}
        inner = self.optimizer.optimizer
        tensors["optimizer"] = get_optimizer_state_dict(self.model, inner, options=options)
        if self.average is not None:
            tensors["average"] = self.average.state_dict()
        if self.accelerator.scaler is not None:
            tensors["scaler"] = self.accelerator.scaler.state_dict()
        self._write("step", tensors)
        if self.accelerator.is_main_process:
            self.checkpoints.prune()
        self._clock = time.monotonic()

    def _validated(self) -> bool:
        last = self.history[-1] if self.history else {}
        return last.get("step") == self.state.step and last.get("validation_loss") is not None

    def _write(self, kind: str, tensors: dict[str, Any]) -> None:
        """Write on the main process; if that fails, fail on all with the same message."""
        from accelerate.utils import broadcast_object_list

        problem: list[str | None] = [None]
        if self.accelerator.is_main_process:
            content = dataclasses.asdict(self.state) | self.identity | {"processes": self.accelerator.num_processes}
            try:
                self.checkpoints.save(kind, self.state.step, content, tensors)
            except CheckpointError as error:
                problem = [str(error)]
        if self.accelerator.num_processes > 1:
            broadcast_object_list(problem)
        if problem[0] is not None:
            raise CheckpointError(problem[0])

    def _resume(self) -> None:
        """Go on from the newest checkpoint if there is one."""
        from torch.distributed.checkpoint.state_dict import (
            StateDictOptions,
            set_model_state_dict,
            set_optimizer_state_dict,
        )

        found = self.checkpoints.load_newest()
        if found is None:
            self._write_history([])
            return
        content, tensors = found
        self.state = _Progress(**{f.name: content[f.name] for f in dataclasses.fields(_Progress)})
        options = StateDictOptions(full_state_dict=True)
        set_model_state_dict(self.model, tensors["model"], options=options)
        set_optimizer_state_dict(self.model, self.optimizer.optimizer, tensors["optimizer"], options=options)
        if self.average is not None:
            self.average.load_state_dict(tensors["average"])
        if self.accelerator.scaler is not None and "scaler" in tensors:
            self.accelerator.scaler.load_state_dict(tensors["scaler"])
        self._write_history(
            [row for row in read_history(self.output / "history.csv") if row["step"] <= self.state.step]
        )
        self.accelerator.print(f"going on from step {self.state.step} ({self.output})")

    def _write_history(self, rows: list[dict[str, float]]) -> None:
        self.history = rows
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            text = io.StringIO()
            writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            write_whole(self.output / "history.csv", text.getvalue())

    def _write_row(self, row: dict[str, float]) -> None:
        """Append one line to history.csv (or complete the last one), send it to the trackers."""
        if self.history and self.history[-1]["step"] == row["step"]:
            self._write_history([*self.history[:-1], row])
            return
        self.history.append(row)
        if self.accelerator.is_main_process:
            with (self.output / "history.csv").open("a", newline="") as file:
                csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(row)
        if self.config.trackers:
            self.accelerator.log({k: v for k, v in row.items() if k != "step"}, step=int(row["step"]))

    # ---------------------------------------------------------------------------------------------------------- the end

    def finish(self, stopped: str) -> TrainResult:
        """Load the best weights, calibrate on validation, export, write the summary."""
        from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

        config, acc, state = self.config, self.accelerator, self.state
        acc.wait_for_everyone()
        best = self.checkpoints.load("best", state.best_step)[1]["model"]
        set_model_state_dict(self.model, dict(best), options=StateDictOptions(full_state_dict=True))
        source = self.validation_source
        logits = predict_logits(self.model, source, acc, config.eval_batch_size)
        plain = acc.unwrap_model(self.model)
        if self.whole is not None:
            plain = self.whole
            plain.load_state_dict(best)
        fitted = calibrate(plain, logits, source.labels, method=config.calibration, alpha=config.alpha)
        scores = score(source.labels, logits, config.task, **fitted, train_counts=self.counts)
        model_dir = self.output / "model"
        about = {
            **self.identity,
            **machine(),
            "model": config.model,
            "task": config.task,
            "parameters": self.parameters,
            "processes": acc.num_processes,
            "train_rows": len(self.train_source),
            "validation_rows": len(source),
            "calibration": fitted,
        }
        summary = {
            "stopped": stopped,
            "steps": state.step,
            "best_step": state.best_step,
            "patterns": state.step * config.batch_size,
            "patterns_per_s": state.step * config.batch_size / max(state.train_seconds, 1e-9),
            "minutes": state.seconds / 60,
            "validation": scores,
            "about": about,
        }
        if acc.is_main_process:
            _export(plain, model_dir)
            title = f"{config.model}, {config.task}, {config.data_config}"
            plots.plot_learning_curve(self.history, self.output / "learning_curve.png", title=title)
            record = self.identity | {"settings": config.result_settings()} | summary
            write_whole(self.output / "run.json", json.dumps(record, indent=1))
        acc.wait_for_everyone()
        return _result(self.output, summary)

    def close(self) -> None:
        """Let trackers and accelerator go, so that another run may follow in the same process."""
        if self.config.deterministic:
            torch.use_deterministic_algorithms(False)
        self.accelerator.end_training() if self.config.trackers else None
        self.accelerator.free_memory()


def _accelerator(config: TrainConfig) -> Any:
    """The Accelerator for a config; state left by an earlier run in this process is put aside."""
    import accelerate
    from accelerate.state import AcceleratorState, GradientState
    from accelerate.tracking import get_available_trackers

    AcceleratorState._reset_state(False)
    GradientState._reset_state()
    missing = set(config.trackers) - {str(name) for name in get_available_trackers()}
    if missing:
        there = ", ".join(sorted(str(name) for name in get_available_trackers())) or "none"
        raise BadInput(f"trackers: {', '.join(sorted(missing))} not installed (installed: {there})")
    accelerator = accelerate.Accelerator(
        cpu=config.cpu,
        mixed_precision=config.mixed_precision,
        log_with=config.trackers or None,
        project_dir=config.output,
    )
    if config.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise BadInput("mixed_precision: fp16 needs a GPU; use bf16 or no on a CPU")
    return accelerator


def _seed_dropout(seed: int, step: int, part: int, rank: int) -> None:
    """Seed dropout from (seed, step, micro-batch, process), so that no generator state need be saved."""
    words = np.random.SeedSequence([seed, step, part, rank]).generate_state(2, np.uint32)
    torch.manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)


def _share_buffers(model: nn.Module) -> None:
    """Give all processes the running statistics of the first, as DDP does by itself and FSDP does not."""
    for buffer in model.buffers():
        torch.distributed.broadcast(buffer, src=0)


def _float64_device(device: torch.device) -> torch.device:
    return torch.device("cpu") if device.type == "mps" else device


def _shown(history: list[dict[str, float]]) -> dict[str, str]:
    """Newest loss and validation accuracy for the progress bar."""
    shown = {"loss": f"{history[-1]['train_loss']:.3f}"}
    scored = [row["validation_accuracy"] for row in history if row.get("validation_accuracy") is not None]
    return shown | ({"val": f"{scored[-1]:.1%}"} if scored else {})


def _refuse_other_run(output: Path, before: dict, config: TrainConfig, identity: dict[str, str]) -> None:
    """Raise BadInput if the folder holds a run of other settings or data, naming the first that differ."""
    advice = "choose another output folder, or --overwrite to delete the old run"
    if before.get("config_digest") != identity["config_digest"]:
        old, new = before.get("settings", {}), config.result_settings()
        differing = [f"{k}: {old.get(k)!r} there, {new[k]!r} here" for k in new if old.get(k) != new[k]]
        raise BadInput(f"{output}: holds a run of another config ({'; '.join(differing[:3])}); {advice}")
    if before.get("data_digest") != identity["data_digest"]:
        raise BadInput(f"{output}: holds a run on other data (their digest has changed); {advice}")


def _result(output: Path, summary: dict[str, Any]) -> TrainResult:
    names = {f.name for f in dataclasses.fields(TrainResult)}
    return TrainResult(output=output, model_dir=output / "model", **{k: v for k, v in summary.items() if k in names})


def _export(model: nn.Module, folder: Path) -> None:
    """Write the model folder whole: a Hub folder for transformers models, weights alone for other modules."""
    if hasattr(model, "save_pretrained"):
        from simxrd_hf.models import export_model

        export_model(model, None, folder, overwrite=True)
    else:
        from safetensors.torch import save_model

        with replacing_folder(folder) as work:
            save_model(model, str(work / "model.safetensors"))


@contextlib.contextmanager
def _profiler(config: TrainConfig, output: Path, main: bool) -> Iterator[Any]:
    """A torch profiler over five steps that writes profile/operators.txt and profile/trace.json, or nothing to do."""
    if not (config.profile and main):
        yield _NoProfile()
        return
    from torch.profiler import ProfilerActivity, profile, schedule

    folder = output / "profile"
    folder.mkdir(parents=True, exist_ok=True)

    def write(found: Any) -> None:
        order = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
        (folder / "operators.txt").write_text(found.key_averages().table(sort_by=order, row_limit=25))
        found.export_chrome_trace(str(folder / "trace.json"))

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    with profile(
        activities=activities, schedule=schedule(wait=3, warmup=2, active=5, repeat=1), on_trace_ready=write
    ) as found:
        yield found


class _NoProfile:
    def step(self) -> None:
        """Nothing."""
