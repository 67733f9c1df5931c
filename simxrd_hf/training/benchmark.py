"""The benchmark table: train and score a matrix of models in turn, resumable; one results file and its rendering."""

import contextlib
import csv
import io
import itertools
import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from simxrd_hf.errors import BadInput
from simxrd_hf.files import write_whole
from simxrd_hf.training.config import TrainConfig, flattened, overlaid
from simxrd_hf.training.settings import read_yaml, refuse_unknown

# Published networks whose released code has no defect that changes training are the same in both variants.
_REWIRED = ("transformer", "birnn", "bilstm", "bigru")

KEYS = ("model", "variant", "task", "config", "seed")
SCORES = (
    "accuracy",
    "macro_f1",
    "macro_precision",
    "macro_recall",
    "macro_f1_present",
    "top_2_accuracy",
    "top_3_accuracy",
    "top_5_accuracy",
    "extinction_symbol_accuracy",
    "crystal_system_accuracy",
    "head_accuracy",
    "middle_accuracy",
    "tail_accuracy",
    "head_macro_f1",
    "middle_macro_f1",
    "tail_macro_f1",
    "ece",
    "nll",
    "conformal_coverage",
    "conformal_mean_size",
    "n",
    "num_labels",
    "labels_present",
)
ABOUT = (
    "parameters",
    "patterns",
    "steps",
    "best_step",
    "stopped",
    "minutes",
    "patterns_per_s",
    "validation_accuracy",
    "train_rows",
    "processes",
    "device",
    "torch",
    "date",
    "config_digest",
    "data_digest",
    "status",
    "error",
)


@dataclass(frozen=True)
class BenchmarkPlan:
    """A matrix of trainings.

    Attributes:
        settings: Settings of `TrainConfig` common to all cells.
        models: Name of the row -> settings of its own; the name is that of the model unless the settings give `model`,
            so that several sizes of one model can stand in a table.
        tasks: Tasks.
        configs: Split schemes.
        seeds: Seeds.
        variants: Variants; "as_published" is left out where the published code has no defect that changes training.
        test_rows: Score on that many test rows, drawn evenly (all if None).
        output: Folder of runs and results.
    """

    settings: Mapping[str, Any]
    models: Mapping[str, Mapping[str, Any]]
    tasks: Sequence[str] = ("crystal_system", "space_group")
    configs: Sequence[str] = ("in_library", "out_of_library")
    seeds: Sequence[int] = (0,)
    variants: Sequence[str] = ("corrected",)
    test_rows: int | None = None
    output: str = "simxrd_benchmark"
    cells: list[tuple[dict[str, Any], TrainConfig]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("tasks", "configs", "seeds", "variants", "models"):
            if not getattr(self, name):
                raise BadInput(f"{name}: names nothing to run")
        object.__setattr__(self, "cells", list(self._cells()))

    def _cells(self) -> Any:
        for config, task, model, variant, seed in itertools.product(
            self.configs, self.tasks, self.models, self.variants, self.seeds
        ):
            own = {"model": model, **flattened(self.models[model] or {}, f"models: {model}")}
            if variant == "as_published" and not _differs_as_published(own["model"]):
                continue
            key = {"model": model, "variant": variant, "task": task, "config": config, "seed": seed}
            place = {"variant": variant, "task": task, "data_config": config, "seed": seed}
            folder = Path(self.output) / "runs" / "-".join(map(str, key.values()))
            settings = flattened(self.settings, "settings") | own | place | {"output": str(folder)}
            yield key, TrainConfig.from_dict(settings, where=f"cell {model}/{variant}/{task}/{config}/{seed}")

    @classmethod
    def from_yaml(cls, path: str | Path, **overrides: Any) -> "BenchmarkPlan":
        """Read a plan.

        Args:
            path: YAML with the fields of the plan; `models` is a list of names or a mapping name -> settings.
            **overrides: Fields that win over the file; `settings` is merged.

        Raises:
            BadInput: Unknown field or setting.
        """
        content = read_yaml(path)
        refuse_unknown(
            content, ["settings", "models", "tasks", "configs", "seeds", "variants", "test_rows", "output"], str(path)
        )
        common = flattened(content.pop("settings", None) or {}, f"{path}: settings")
        settings = overlaid(common, flattened(overrides.pop("settings", {}), "overrides"))
        models = content.pop("models", None) or {}
        known = models if isinstance(models, dict) else {name: {} for name in models}
        chosen = overrides.pop("models", None)
        if chosen:
            known = {name: known.get(name) or {} for name in chosen}
        fields = {**content, **{name: value for name, value in overrides.items() if value is not None}}
        return cls(settings=settings, models=known, **fields)


def _differs_as_published(model: str) -> bool:
    from simxrd_hf.models.networks_simxrd_baseline import PUBLISHED_SOFTMAXES

    return model in PUBLISHED_SOFTMAXES or model in _REWIRED


def run_benchmark(plan: BenchmarkPlan | str | Path, *, keep_checkpoints: bool = False) -> list[dict[str, Any]]:
    """Run all cells of a plan that are not done, and write the results after each.

    A cell that stopped in the middle goes on from its last checkpoint; one that fails is noted and the others go on.
    The results hold every finished cell of the folder, so a table may be made part by part; and a cell that another
    run is at is left to it, so several runs of one plan share the work.

    Args:
        plan: The plan, or its YAML file.
        keep_checkpoints: Keep the checkpoints of finished cells (the final model is always kept).

    Returns:
        The rows of results.csv.

    Raises:
        BadInput: A finished cell was made with other settings.
    """
    import accelerate

    plan = plan if isinstance(plan, BenchmarkPlan) else BenchmarkPlan.from_yaml(plan)
    output = Path(plan.output)
    failed: list[dict[str, Any]] = []
    todo = [(key, config) for key, config in plan.cells if not _finished(Path(config.execution.output), config)]
    for number, (key, config) in enumerate(todo, 1):
        folder = Path(config.execution.output)
        state = accelerate.PartialState(cpu=config.execution.cpu)
        with _claimed(folder, config, state) as mine:
            if not mine:
                continue
            print(f"[{number}/{len(todo)}] {' '.join(str(value) for value in key.values())}", flush=True)
            try:
                row = _run_cell(key, config, plan.test_rows)
            except (BadInput, RuntimeError) as error:
                if state.num_processes > 1 or "holds a run" in str(error):
                    raise  # the processes could no longer agree on what comes next; or the user must decide
                failed.append(key | {"status": "failed", "error": " ".join(str(error).split())[:300]})
                print(f"  failed: {failed[-1]['error']}", flush=True)
            else:
                if state.is_main_process:
                    write_whole(folder / "row.json", json.dumps(row, indent=1))
                    if not keep_checkpoints:
                        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        if state.is_main_process:
            render(output, failed)
        state.wait_for_everyone()
    if not todo and accelerate.PartialState(cpu=plan.cells[0][1].execution.cpu).is_main_process:
        render(output)
    return [*finished_rows(output), *failed]


@contextlib.contextmanager
def _claimed(folder: Path, config: TrainConfig, state: Any) -> Iterator[bool]:
    """Keep other runs of the plan from a cell; yields whether it is free and not done, the same on all processes."""
    from accelerate.utils import broadcast_object_list

    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f".{folder.name}.lock")
    with contextlib.ExitStack() as stack:
        held = True
        if state.is_main_process:
            try:
                stack.enter_context(FileLock(path).acquire(blocking=False))
            except Timeout:
                held = False
        mine = [held and not _finished(folder, config)]
        if state.num_processes > 1:
            broadcast_object_list(mine)
        yield mine[0]


def finished_rows(output: Path) -> list[dict[str, Any]]:
    """Rows of all cells finished in a folder, whichever plan they were part of."""
    return [json.loads(path.read_text()) for path in sorted((output / "runs").glob("*/row.json"))]


def _finished(folder: Path, config: TrainConfig) -> bool:
    path = folder / "row.json"
    if path.exists() and json.loads(path.read_text())["config_digest"] != config.digest:
        raise BadInput(
            f"{folder}: holds a run of another config; choose another output folder, or delete this one to run it again"
        )
    return path.exists()


def _run_cell(key: dict[str, Any], config: TrainConfig, test_rows: int | None) -> dict[str, Any]:
    from simxrd_hf.training.evaluation import evaluate_checkpoint
    from simxrd_hf.training.loop import train

    result = train(config)
    found = evaluate_checkpoint(
        result.model_dir,
        config,
        "test",
        batch_size=config.validation.eval_batch_size,
        limit_rows=test_rows,
        cpu=config.execution.cpu,
        output=result.output / "test",
    )
    about = {name: getattr(result, name) for name in ("patterns", "steps", "best_step", "stopped", "minutes")}
    about |= {"patterns_per_s": result.patterns_per_s, "validation_accuracy": result.validation["accuracy"]}
    about |= {name: result.about.get(name) for name in ABOUT if name in result.about}
    return key | {name: found.scores.get(name) for name in SCORES} | about | {"status": "ok", "error": None}


def render(output: Path, failed: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """Write results.csv, .json, .md and .png of all finished cells of a folder, each file whole or not at all.

    Args:
        output: The folder.
        failed: Rows of cells that failed.

    Returns:
        The rows.
    """
    with FileLock(output / ".lock"):  # of several runs one writes at a time, and what it writes is the newest
        rows = [*finished_rows(output), *failed]
        _write(rows, output)
    return rows


def _write(rows: Sequence[Mapping[str, Any]], output: Path) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, [*KEYS, *SCORES, *ABOUT], lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows({name: _short(value) for name, value in row.items()} for row in rows)
    write_whole(output / "results.csv", text.getvalue())
    write_whole(output / "results.json", json.dumps(list(rows), indent=1))
    write_whole(output / "results.md", render_markdown(rows))
    if any(row.get("status") == "ok" for row in rows):
        from simxrd_hf.training.plots import plot_benchmark

        plot_benchmark(_grouped(rows), output / "results.png")


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _grouped(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """(config, task), in order -> entries of models and variants with mean and deviation over seeds, best first."""
    groups: dict[tuple[str, str], dict[tuple[str, str], list[Mapping[str, Any]]]] = {}
    for row in rows:
        if row.get("status") == "ok":
            cell = groups.setdefault((row["config"], row["task"]), {})
            cell.setdefault((row["model"], row["variant"]), []).append(row)
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for place, cells in sorted(groups.items()):
        entries = []
        for (model, variant), several in cells.items():
            entry: dict[str, Any] = {"model": model, "variant": variant, "seeds": len(several)}
            for name in (*SCORES, *_NUMBERS):
                values = [float(row[name]) for row in several if row.get(name) is not None]
                entry[name] = (float(np.mean(values)), float(np.std(values, ddof=1))) if len(values) > 1 else None
                if len(values) == 1:
                    entry[name] = (values[0], math.nan)
            entries.append(entry)
        found[place] = sorted(entries, key=lambda entry: -entry["accuracy"][0])
    return found


_NUMBERS = ("parameters", "patterns", "patterns_per_s", "minutes")

# Column of the Markdown table -> (score, as percent)
_COLUMNS = {
    "accuracy": ("accuracy", True),
    "macro-F1": ("macro_f1", True),
    "macro-P": ("macro_precision", True),
    "macro-R": ("macro_recall", True),
    "top-3": ("top_3_accuracy", True),
    "top-5": ("top_5_accuracy", True),
    "extinction": ("extinction_symbol_accuracy", True),
    "head": ("head_accuracy", True),
    "middle": ("middle_accuracy", True),
    "tail": ("tail_accuracy", True),
    "ECE": ("ece", True),
    "patterns/s": ("patterns_per_s", False),
    "patterns seen": ("patterns", False),
    "tested on": ("n", False),
}


def render_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The results as Markdown, one table per split scheme and task; mean ± standard deviation where seeds repeat.

    Args:
        rows: As `run_benchmark` returns them or results.json holds them.
    """
    parts = []
    for (config, task), entries in _grouped(rows).items():
        here = [row for row in rows if (row["config"], row["task"]) == (config, task) and row["status"] == "ok"]
        devices, dates = sorted({row["device"] for row in here}), sorted({row["date"] for row in here})
        columns = {head: spec for head, spec in _COLUMNS.items() if any(entry[spec[0]] for entry in entries)}
        labels = f"Macro averages over all {int(here[0]['num_labels'])} classes"
        parts.append(f"### {task.replace('_', ' ')}, {config.replace('_', ' ')}\n")
        made = f"{' or '.join(devices)}; {' to '.join(dict.fromkeys([dates[0], dates[-1]]))}"
        parts.append(f"{labels}; scores in percent. {made}.\n")
        parts.append(f"| model | variant | parameters | {' | '.join(columns)} |")
        parts.append("| --- | --- | ---: |" + " ---: |" * len(columns))
        for entry in entries:
            cells = [_cell(entry[score], percent) for score, percent in columns.values()]
            size = f"{entry['parameters'][0] / 1e6:.3g} M" if entry["parameters"] else ""
            variant = entry["variant"].replace("_", " ")
            parts.append(f"| {entry['model']} | {variant} | {size} | {' | '.join(cells)} |")
        parts.append("")
    failed = [row for row in rows if row.get("status") == "failed"]
    if failed:
        parts.append("Failed:\n")
        parts += [f"- {' '.join(str(row[name]) for name in KEYS)}: {row['error']}" for row in failed]
        parts.append("")
    return "\n".join(parts)


def _cell(value: tuple[float, float] | None, percent: bool) -> str:
    if value is None:
        return ""
    mean, spread = value
    if not percent:
        return f"{mean:,.0f}"
    return f"{100 * mean:.1f}" + ("" if math.isnan(spread) else f" ± {100 * spread:.1f}")
