"""The training loop: from a config to a scored, calibrated, exported model, on any number of processes.

A step is a pure function of (config, step, weights before it): the order of rows comes from `samplers`, dropout is
seeded anew at every step, the learning rate is computed from the step. So a run that was killed goes on from its last
checkpoint as if nothing had happened. What it does not do: choose data (sources), keep state (run_state) or the folder
(run_folder), score tests (evaluation).
"""

import contextlib
import math
import time
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from simxrd_hf.errors import BadInput
from simxrd_hf.metrics.temperature import calibrated_loss
from simxrd_hf.training import sources
from simxrd_hf.training.config import TrainConfig
from simxrd_hf.training.evaluation import logits_of, predict_logits, score
from simxrd_hf.training.losses import ClassificationLoss
from simxrd_hf.training.machine import denormals_flushed, threads_set, worker_processes
from simxrd_hf.training.optimization import learning_rate
from simxrd_hf.training.outcome import finish
from simxrd_hf.training.profiling import profiled_steps
from simxrd_hf.training.run_folder import RunFolder, TrainResult
from simxrd_hf.training.run_state import RunState
from simxrd_hf.training.samplers import micro_batch_size
from simxrd_hf.training.setup import build_model, make_accelerator, seed_dropout
from simxrd_hf.training.side_by_side import SideBySide

_UNLIMITED = 2**40


class TrainingDiverged(BadInput):
    """The loss is not finite any more; the last good checkpoint is kept."""


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
    # an invented crystal takes as long to simulate as to train on
    busy = worker_processes(config) if config.source.isostructural else 0
    with denormals_flushed(), threads_set(config.execution.threads, busy):
        return _train(config, model, overwrite)


def _train(config: TrainConfig, model: nn.Module | None, overwrite: bool) -> TrainResult:
    acc = make_accelerator(config)
    micro_batch_size(config.batches.batch_size, config.batches.gradient_accumulation, acc.num_processes)
    with acc.main_process_first():
        rows = sources.open_training(config)
        validation = sources.open_split(config, "validation", limit_rows=config.validation.validation_rows)
    folder = RunFolder(config, rows.digest, acc)
    try:
        finished = folder.open(overwrite)
        if finished is not None:
            return finished
        return _Run(config, model, folder, rows, validation, acc).to_the_end()
    finally:
        folder.release()
        if config.numerics.deterministic:
            torch.use_deterministic_algorithms(False)
        if config.execution.trackers:
            acc.end_training()
        acc.free_memory()  # another run may follow in the same process


class _Run:
    """One run in progress on one process."""

    def __init__(
        self, config: TrainConfig, model: nn.Module | None, folder: RunFolder, rows: Any, validation: Any, acc: Any
    ) -> None:
        self.config, self.folder, self.rows, self.validation, self.accelerator = config, folder, rows, validation, acc
        if config.numerics.deterministic:
            torch.use_deterministic_algorithms(True)
        torch.manual_seed(config.seed)
        plain = model if model is not None else build_model(config)
        where = config.source.data or str(config.source.crystals)
        sources.check_match(getattr(plain, "config", None), rows, where)
        if config.objective.loss == "model" and model is None and not hasattr(plain, "config"):
            raise BadInput("loss: 'model' needs a transformers model")
        if config.numerics.compile:
            plain.compile()
        self.counts = sources.class_counts(rows, config.num_labels)
        self.loss = ClassificationLoss(config.objective, self.counts).to(acc.device)
        self.state = RunState(config, plain, folder, acc)
        if self.state.resume():
            acc.print(f"going on from step {self.state.progress.step} ({folder.path})")
        folder.go_on_from(self.state.progress.step)
        if config.execution.trackers:
            flat = {k: v if isinstance(v, int | float | str | bool) else str(v) for k, v in config.flat().items()}
            acc.init_trackers("simxrd", config=flat)
        self.crew = self._crew()
        self.per_epoch = math.ceil(len(rows) / config.batches.batch_size)
        self.total = self._steps_in_all()

    def _steps_in_all(self) -> int:
        config, size = self.config, self.config.batches.batch_size
        if config.budget.patterns is not None:
            return math.ceil(config.budget.patterns / size)
        if config.budget.epochs is not None:
            return math.ceil(config.budget.epochs * len(self.rows) / size)
        if config.optimization.schedule != "constant" and not config.optimization.schedule_by_time:
            raise BadInput("schedule: without patterns or epochs, set schedule_by_time or schedule: constant")
        return _UNLIMITED

    def to_the_end(self) -> TrainResult:
        """Train, then finish."""
        try:
            stopped = self._fit()
            if self.crew is not None:
                self.crew.close()
            return finish(
                self.config,
                self.state,
                self.folder,
                stopped=stopped,
                train_rows=len(self.rows),
                train_counts=self.counts,
                validation=self.validation,
            )
        except RuntimeError as error:
            text = str(error).lower()
            if self.accelerator.num_processes > 1 and any(word in text for word in ("gloo", "nccl", "peer")):
                raise RuntimeError(
                    "another process of this run has stopped or cannot be reached; "
                    f"{self.state.last_good()}. Start the same command again: it goes on from there"
                ) from error
            raise

    def _fit(self) -> str:
        """Train until the budget, the time or the patience is used up; returns which."""
        config, acc, progress = self.config, self.accelerator, self.state.progress
        every = config.validation.evaluate_every or self.per_epoch
        checkpoint_every, log_every = config.execution.checkpoint_every, config.execution.log_every
        size = config.batches.batch_size
        trained = [p for p in self.state.model.parameters() if p.requires_grad]
        batches = sources.training_batches(
            config, self.rows, acc.process_index, acc.num_processes, progress.step, self.total, acc.device
        )
        # Sums of loss and gradient norm since the last line of the log, of this process.
        local = torch.zeros(2, dtype=torch.float64, device="cpu" if acc.device.type == "mps" else acc.device)
        # A frozen network stays as it scores: no dropout, running statistics kept.
        self.state.model.train(config.network.trained == "all")
        bar = tqdm(
            total=None if self.total == _UNLIMITED else self.total * size,
            initial=progress.step * size,
            unit="pattern",
            unit_scale=True,
            smoothing=0.1,
            desc=f"{config.network.model} {config.network.task}",
            disable=not (config.execution.progress and acc.is_main_process),
        )
        self._clock = time.monotonic()
        profiled = profiled_steps(self.folder.path / "profile", config.execution.profile and acc.is_main_process)
        with bar, profiled as step_done:
            while progress.step < self.total:
                if progress.worse_validations >= (config.validation.patience or math.inf):
                    return "patience"
                seconds = self._agreed_seconds() if config.budget.max_minutes else 0.0
                if self._out_of_time(seconds):
                    self._judge_the_rest(local)
                    return "time"
                rate = self._set_rate(seconds)
                self._step(batches, trained, local)
                progress.step += 1
                progress.window_steps += 1
                bar.update(size)
                step_done()

                evaluate = progress.step % every == 0 or progress.step == self.total
                save = evaluate or (checkpoint_every is not None and progress.step % checkpoint_every == 0)
                log = evaluate or progress.step % log_every == 0
                if log or save:
                    self._flush(local)
                if save:
                    self.state.share_buffers()
                if log:
                    row = self._log_row(rate)
                    self.folder.log(row | self._validate() if evaluate else row)
                    bar.set_postfix(_shown(self.folder.history), refresh=False)
                if save:
                    self.state.save()
                    self._clock = time.monotonic()
        return "budget"

    def _step(self, batches: Any, trained: list[nn.Parameter], local: torch.Tensor) -> None:
        """One optimiser step; adds its loss and gradient norm to `local`."""
        config, acc, state = self.config, self.accelerator, self.state
        parts = config.batches.gradient_accumulation
        for part in range(parts):
            batch = next(batches)
            seed_dropout(config.seed, state.progress.step, part, acc.process_index)
            if self.crew is not None:
                plain: Any = state.plain
                intensity, mask = plain.hide_ranges(batch["intensity"])
                shown = {"intensity": intensity, "labels": batch["labels"]} | ({} if mask is None else {"mask": mask})
                loss = self.crew.backward(self._loss, lambda one: acc.backward(one / parts), shown) / parts
            else:
                with contextlib.nullcontext() if part == parts - 1 else acc.no_sync(state.model):
                    loss = self._loss(batch) / parts
                    acc.backward(loss)
            local[0] += loss.detach().to(local)
        local[1] += self._clip(trained)
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        if state.average is not None:
            state.average.update(state.plain)

    def _loss(self, batch: sources.Batch) -> torch.Tensor:
        if self.config.objective.loss == "model":
            own: torch.Tensor = self.state.model(**batch).loss
            return own
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        return self.loss(logits_of(self.state.model(**inputs)), batch["labels"])

    def _crew(self) -> SideBySide | None:
        """Threads that share a batch, where more than one core calculates and the model can be computed so."""
        threads, acc = torch.get_num_threads(), self.accelerator
        alone = acc.num_processes == 1 and acc.device.type == "cpu" and threads > 1
        whole = self.config.network.trained == "all" and not self.config.numerics.compile and self.loss.weight is None
        return SideBySide(threads) if alone and whole and getattr(self.state.plain, "rows_apart", False) else None

    def _clip(self, trained: list[nn.Parameter]) -> torch.Tensor:
        """Clip if asked; the gradient norm (0 under fp16, where overflows are skipped by the scaler and harmless)."""
        limit = self.config.optimization.max_grad_norm
        fp16 = self.accelerator.mixed_precision == "fp16"
        if fp16 and limit is None:
            return torch.zeros((), dtype=torch.float64)
        norm = self.accelerator.clip_grad_norm_(trained, limit or math.inf)
        if fp16 or norm is None:
            return torch.zeros((), dtype=torch.float64)
        whole: torch.Tensor = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        return whole.detach().double()

    def _set_rate(self, seconds: float) -> float:
        """Set the learning rate of the step to come; returns it."""
        minutes = self.config.budget.max_minutes
        done = (self.state.progress.step + 0.5) / self.total
        if self.config.optimization.schedule_by_time and minutes:
            done = max(done, seconds / (minutes * 60))
        rate = learning_rate(self.config.optimization, done)
        for group in self.state.optimizer.param_groups:
            group["lr"] = rate
        self._rate = rate
        return rate

    def _agreed_seconds(self) -> float:
        """Time used so far, the main process's clock on all."""
        seconds = torch.tensor([self.state.progress.seconds + time.monotonic() - self._clock], dtype=torch.float32)
        if self.accelerator.num_processes > 1:
            from accelerate.utils import broadcast

            seconds = broadcast(seconds.to(self.accelerator.device))
        return float(seconds)

    def _out_of_time(self, seconds: float) -> bool:
        minutes = self.config.budget.max_minutes
        return minutes is not None and seconds >= minutes * 60 and self.state.progress.step > 0

    def _judge_the_rest(self, local: torch.Tensor) -> None:
        """After a stop between validations, validate the last stretch too, so that no training is thrown away."""
        progress, history = self.state.progress, self.folder.history
        if self.folder.validated(progress.step):
            return
        self._flush(local)
        row = self._log_row(self._rate) if progress.window_steps else history[-1]
        self.folder.log(row | self._validate())
        self.state.save()
        self._clock = time.monotonic()

    def _flush(self, local: torch.Tensor) -> None:
        """Bring the window sums of all processes together and refuse to go on when they are not finite."""
        progress = self.state.progress
        sums = self.accelerator.reduce(local.clone(), reduction="mean").tolist()
        local.zero_()
        progress.window_loss += sums[0]
        progress.window_norm += sums[1]
        now = time.monotonic()
        progress.seconds += now - self._clock
        progress.train_seconds += now - self._clock
        progress.window_seconds += now - self._clock
        self._clock = now
        if not (math.isfinite(progress.window_loss) and math.isfinite(progress.window_norm)):
            first = progress.step - progress.window_steps + 1
            what = "loss" if not math.isfinite(progress.window_loss) else "gradient"
            raise TrainingDiverged(
                f"{self.folder.path}: the {what} is not finite in steps {first} to {progress.step}; "
                f"{self.state.last_good()}. Lower learning_rate, set max_grad_norm, or use bf16 instead of fp16, "
                "in a new output folder"
            )

    def _log_row(self, rate: float) -> dict[str, float]:
        progress, size = self.state.progress, self.config.batches.batch_size
        steps = max(progress.window_steps, 1)
        row = {
            "step": progress.step,
            "patterns": progress.step * size,
            "epoch": progress.step * size / len(self.rows),
            "learning_rate": rate,
            "train_loss": progress.window_loss / steps,
            "grad_norm": progress.window_norm / steps,
            "patterns_per_s": progress.window_steps * size / max(progress.window_seconds, 1e-9),
            "minutes": progress.seconds / 60,
        }
        progress.window_loss = progress.window_norm = progress.window_seconds = 0.0
        progress.window_steps = 0
        return row

    def _validate(self) -> dict[str, float]:
        """Score the validation split, keep the weights if they are the best so far."""
        config, state, progress = self.config, self.state, self.state.progress
        labels, monitor = self.validation.labels, config.validation.monitor
        with state.average.applied(state.plain) if state.average is not None else contextlib.nullcontext():
            logits = predict_logits(state.model, self.validation, self.accelerator, config.validation.eval_batch_size)
            scores = score(labels, logits, config.network.task)
            found = {"loss": scores["nll"]} | {name: scores[name] for name in ("accuracy", "macro_f1", "ece")}
            if not math.isfinite(found["loss"]):
                raise TrainingDiverged(f"{self.folder.path}: the validation loss is not finite at step {progress.step}")
            value = -calibrated_loss(logits, labels) if monitor == "loss" else found[monitor]
            if progress.best_score is None or value > progress.best_score:
                progress.best_score, progress.best_step, progress.worse_validations = value, progress.step, 0
                state.save_best()
            else:
                progress.worse_validations += 1
        now = time.monotonic()
        progress.seconds += now - self._clock
        self._clock = now
        return {f"validation_{name}": number for name, number in found.items()}


def _shown(history: list[dict[str, float]]) -> dict[str, str]:
    """Newest loss and validation accuracy for the progress bar."""
    shown = {"loss": f"{history[-1]['train_loss']:.3f}"}
    scored = [row["validation_accuracy"] for row in history if row.get("validation_accuracy") is not None]
    return shown | ({"val": f"{scored[-1]:.1%}"} if scored else {})
