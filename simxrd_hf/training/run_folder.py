"""The output folder of a run: whose it is, its log of numbers, its summary."""

import csv
import io
import json
import math
import re
import shutil
import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from simxrd_hf.errors import BadInput
from simxrd_hf.exclusive import LOCK, take
from simxrd_hf.files import TEMPORARY, write_whole
from simxrd_hf.training.checkpoints import CheckpointFolder
from simxrd_hf.training.config import TrainConfig
from simxrd_hf.training.history import COLUMNS, read_history

# What a run killed in its first second leaves behind.
_OURS = re.compile(rf"config\.yaml|{re.escape(LOCK)}|{re.escape(TEMPORARY)}.*")


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


class RunFolder:
    """The folder of one run, as all its processes see it; the main process writes.

    Args:
        config: The run's settings.
        data_digest: Identifies the data it trains on.
        accelerator: Its processes.
    """

    def __init__(self, config: TrainConfig, data_digest: str, accelerator: Any) -> None:
        self.path = Path(config.execution.output)
        self.config, self.accelerator = config, accelerator
        self.identity = {"config_digest": config.digest, "data_digest": data_digest}
        self.history: list[dict[str, float]] = []
        self._lock: Any = None

    @property
    def model_dir(self) -> Path:
        """Where the model is exported to."""
        return self.path / "model"

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints lie."""
        return self.path / "checkpoints"

    def open(self, overwrite: bool) -> TrainResult | None:
        """Take the folder: empty, or of this very run.

        Args:
            overwrite: Delete what an earlier run left.

        Returns:
            What the run left if it has ended, else None.

        Raises:
            BadInput: The folder holds something else.
        """
        acc, record = self.accelerator, self.path / "run.json"
        self._take(acc)
        replaced = overwrite and record.exists()  # what else lies here, scores for instance, stays beside the new run
        acc.wait_for_everyone()
        if overwrite and acc.is_main_process:
            for name in ("checkpoints", "model", "profile"):
                shutil.rmtree(self.path / name, ignore_errors=True)
            for name in ("run.json", "history.csv", "config.yaml", "learning_curve.png"):
                (self.path / name).unlink(missing_ok=True)
        acc.wait_for_everyone()
        finished = None
        before = self._record()
        if before is not None:
            self._refuse_other_run(before)
            limit = self.config.budget.max_minutes or math.inf
            more_time = before.get("stopped") == "time" and limit > before["minutes"]
            if before.get("stopped") and not more_time and self._whole(before):
                finished = self._result(before)
        elif (
            not replaced and self.path.is_dir() and not all(_OURS.fullmatch(path.name) for path in self.path.iterdir())
        ):
            raise BadInput(f"{self.path}: is not empty and holds no run of this program; choose another output folder")
        acc.wait_for_everyone()
        if acc.is_main_process and finished is None:
            # First what says whose folder this is: a run killed at once is known again.
            content = self.identity | {"settings": self.config.result_settings()}
            write_whole(record, json.dumps(content, indent=1))
            self.config.to_yaml(self.path / "config.yaml")
        return finished

    def _take(self, acc: Any) -> None:
        """Keep other runs out of the folder until this one is closed; fails on all processes alike."""
        from accelerate.utils import broadcast_object_list

        problem: list[str | None] = [None]
        if acc.is_main_process:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                self._lock = take(self.path, "training")
            except BadInput as error:
                problem = [str(error)]
        if acc.num_processes > 1:
            broadcast_object_list(problem)
        if problem[0] is not None:
            raise BadInput(problem[0])

    def release(self) -> None:
        """Let others into the folder."""
        if self._lock is not None:
            self._lock.release()

    def _record(self) -> dict[str, Any] | None:
        """run.json, or, where it was lost or damaged, what the newest checkpoint says; None without either."""
        path = self.path / "run.json"
        known = {"config_digest", "data_digest"}
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(before, dict) and known <= set(before):
                return before
            problem = "holds no config_digest and data_digest"
        except FileNotFoundError:
            problem = None
        except ValueError as error:
            problem = str(error)
        state = CheckpointFolder(self.checkpoints).identity()
        if known <= set(state):
            warnings.warn(f"{path}: {problem or 'is missing'}; going on by the newest checkpoint", stacklevel=2)
            return {name: state[name] for name in known}
        if problem is not None:
            raise BadInput(f"{path}: damaged ({problem}), and there is no checkpoint: delete this file and start again")
        return None

    def _whole(self, before: dict[str, Any]) -> bool:
        """Whether a run that has ended left its model and all that its result needs."""
        names = {spec.name for spec in fields(TrainResult)} - {"output", "model_dir"}
        return names <= set(before) and any(self.model_dir.glob("*.safetensors"))

    def _refuse_other_run(self, before: dict[str, Any]) -> None:
        """Raise BadInput if the folder holds a run of other settings or data, naming the first that differ."""
        advice = "choose another output folder, or --overwrite to delete the old run"
        if before.get("config_digest") != self.identity["config_digest"]:
            old, new = before.get("settings", {}), self.config.result_settings()
            differing = [f"{k}: {old.get(k)!r} there, {new[k]!r} here" for k in new if old.get(k) != new[k]]
            raise BadInput(f"{self.path}: holds a run of another config ({'; '.join(differing[:3])}); {advice}")
        if before.get("data_digest") != self.identity["data_digest"]:
            raise BadInput(f"{self.path}: holds a run on other data (their digest has changed); {advice}")

    def go_on_from(self, step: int) -> None:
        """Take the log as it stood at a step; what was logged later will be logged again."""
        earlier = read_history(self.path / "history.csv") if step else []
        self._rewrite([row for row in earlier if row["step"] <= step])

    def _rewrite(self, rows: list[dict[str, float]]) -> None:
        self.history = rows
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            text = io.StringIO()
            writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            write_whole(self.path / "history.csv", text.getvalue())

    def log(self, row: dict[str, float]) -> None:
        """Append one line to history.csv (or complete the last one), send it to the trackers."""
        if self.history and self.history[-1]["step"] == row["step"]:
            self._rewrite([*self.history[:-1], row])
            return
        self.history.append(row)
        if self.accelerator.is_main_process:
            with (self.path / "history.csv").open("a", newline="") as file:
                csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(row)
        if self.config.execution.trackers:
            self.accelerator.log({k: v for k, v in row.items() if k != "step"}, step=int(row["step"]))

    def validated(self, step: int) -> bool:
        """Whether the last line of the log has the validation scores of a step."""
        last = self.history[-1] if self.history else {}
        return last.get("step") == step and last.get("validation_loss") is not None

    def close(self, summary: dict[str, Any]) -> TrainResult:
        """Write the summary of a run that has ended, on the main process."""
        if self.accelerator.is_main_process:
            record = self.identity | {"settings": self.config.result_settings()} | summary
            write_whole(self.path / "run.json", json.dumps(record, indent=1))
        return self._result(summary)

    def _result(self, summary: dict[str, Any]) -> TrainResult:
        names = {spec.name for spec in fields(TrainResult)}
        known = {name: value for name, value in summary.items() if name in names}
        return TrainResult(output=self.path, model_dir=self.model_dir, **known)
