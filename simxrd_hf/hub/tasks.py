"""The benchmark as the Hub knows it: its tasks (split x target x metric), their scores, and `eval.yaml`."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from simxrd_hf.files import write_whole

NAME = "SimXRD"
DESCRIPTION = (
    "Crystal symmetry from powder X-ray diffraction patterns: space group (230 classes) and crystal system (7) of "
    "crystals seen in training under other conditions (in_library) and of unseen crystals (out_of_library). "
    "Macro-F1 runs over all classes of the task; a class without a pattern in the split scores 0 for every model."
)
FRAMEWORK = "simxrd_hf"
TARGETS = ("space_group", "crystal_system")
# Higher is better in all of them: the Hub ranks a task by its value, largest first.
METRICS = {"space_group": ("accuracy", "macro_f1", "top_5_accuracy"), "crystal_system": ("accuracy", "macro_f1")}
SPLITS = (("in_library", "test"), ("out_of_library", "test"), ("hidden", "test"))
MEASURED = ("measured", "test")
"""Measured patterns are scored alike, but are no split of the simulated dataset and so no task of its `eval.yaml`."""


@dataclass(frozen=True)
class BenchmarkTask:
    """One number of the benchmark: `id` is `<config>-<target>-<metric>`, e.g. `out_of_library-space_group-macro_f1`."""

    config: str
    split: str
    target: str
    metric: str

    @property
    def id(self) -> str:
        """Name of the task in `eval.yaml` and `.eval_results`."""
        return f"{self.config}-{self.target}-{self.metric}"


BENCHMARK_TASKS = tuple(
    BenchmarkTask(config, split, target, metric)
    for config, split in SPLITS
    for target in TARGETS
    for metric in METRICS[target]
)
"""Every task, in the order of `eval.yaml`."""


def benchmark_scores(config: str, split: str, target: str, scores: dict[str, float]) -> dict[str, float]:
    """Task id -> value, of the scores of one split and target that are tasks of the benchmark.

    Args:
        config: "in_library", "out_of_library" or "hidden".
        split: Split of the config.
        target: "space_group" or "crystal_system".
        scores: From `classification_scores`.
    """
    return {
        task.id: float(scores[task.metric])
        for task in BENCHMARK_TASKS
        if (task.config, task.split, task.target) == (config, split, target) and task.metric in scores
    }


def eval_yaml(configs: Iterable[str] | None = None) -> str:
    """Text of `eval.yaml`.

    Args:
        configs: The configs the dataset repository offers; all of the benchmark by default.
    """
    offered = {config for config, _ in SPLITS} if configs is None else set(configs)
    body = {
        "name": NAME,
        "description": DESCRIPTION,
        "evaluation_framework": FRAMEWORK,
        "tasks": [
            {"id": task.id, "config": task.config, "split": task.split}
            for task in BENCHMARK_TASKS
            if task.config in offered
        ],
    }
    return yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=116)


def write_eval_yaml(folder: str | Path, configs: Iterable[str] | None = None) -> Path:
    """Write `eval.yaml` into a dataset folder.

    Args:
        folder: The dataset folder.
        configs: The configs it offers; all of the benchmark by default.
    """
    path = Path(folder) / "eval.yaml"
    write_whole(path, eval_yaml(configs))
    return path
