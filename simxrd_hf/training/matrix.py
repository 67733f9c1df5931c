"""The benchmark: train and score a matrix of models and methods in turn, resumable; `matrix_table` renders it."""

import contextlib
import itertools
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from simxrd_hf.errors import BadInput
from simxrd_hf.files import write_whole
from simxrd_hf.training.config import TrainConfig, flattened, overlaid
from simxrd_hf.training.matrix_table import ABOUT, SCORES, finished_rows, render
from simxrd_hf.training.settings import read_yaml, refuse_unknown

# Published networks whose released code has no defect that changes training are the same in both variants.
_REWIRED = ("transformer", "birnn", "bilstm", "bigru", "cpicann")


@dataclass(frozen=True)
class Method:
    """One way to treat all models of a plan alike.

    Attributes:
        settings: Settings of `TrainConfig`, by their names alone.
        after: The method whose trained model it goes on from.
        adjust: With `after`: do not train, adjust the logits of that model by tau times the log class frequencies.
        only: Models it is for; all if empty.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    after: str | None = None
    adjust: float | None = None
    only: Sequence[str] = ()

    @classmethod
    def from_dict(cls, content: Mapping[str, Any] | None, where: str) -> "Method":
        """From a plan's YAML: `after`, `adjust`, `only`, and settings."""
        own = {name: value for name, value in (content or {}).items() if name in ("after", "adjust", "only")}
        rest = {name: value for name, value in (content or {}).items() if name not in own}
        if "adjust" in own and (rest or "after" not in own):
            raise BadInput(f"{where}: adjust needs `after: METHOD` and no settings; nothing is trained")
        return cls(flattened(rest, where), **own)


@dataclass(frozen=True)
class Cell:
    """One entry of the table.

    Attributes:
        key: What stands in the first columns.
        config: Its training; for a method that only adjusts logits, that of the model it adjusts.
        folder: Where its results go.
        after: Folder of the cell that must be done before.
        adjust: See `Method`.
    """

    key: dict[str, Any]
    config: TrainConfig
    folder: Path
    after: Path | None = None
    adjust: float | None = None

    @property
    def name(self) -> str:
        """What it is, in words."""
        return " ".join(str(value) for value in self.key.values() if value != "")


@dataclass(frozen=True)
class BenchmarkPlan:
    """A matrix of trainings.

    Attributes:
        settings: Settings of `TrainConfig` common to all cells.
        models: Name of the row -> settings of its own; the name is that of the model unless the settings give `model`,
            so that several sizes of one model can stand in a table.
        methods: Name of a method -> what it is; each is done with each model. Without any, a plan has models alone.
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
    methods: Mapping[str, Method] = field(default_factory=lambda: {"": Method()})
    cells: list[Cell] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("tasks", "configs", "seeds", "variants", "models", "methods"):
            if not getattr(self, name):
                raise BadInput(f"{name}: names nothing to run")
        object.__setattr__(self, "cells", list(self._cells()))

    def _cells(self) -> Iterator[Cell]:
        for config, task, model, variant, seed in itertools.product(
            self.configs, self.tasks, self.models, self.variants, self.seeds
        ):
            own = {"model": model, **flattened(self.models[model] or {}, f"models: {model}")}
            if variant == "as_published" and not _differs_as_published(own["model"]):
                continue
            place = {"variant": variant, "task": task, "data_config": config, "seed": seed}
            done: dict[str, Cell] = {}
            for name, method in self.methods.items():
                if method.only and model not in method.only:
                    continue
                key = {"model": model, "method": name, "variant": variant, "task": task, "config": config, "seed": seed}
                folder = Path(self.output) / "runs" / "-".join(str(value) for value in key.values() if value != "")
                settings = overlaid(flattened(self.settings, "settings"), own, method.settings) | place
                base = None
                if method.after is not None:
                    if method.after not in done:
                        raise BadInput(f"methods: {name}: comes after {method.after!r}, which is no method before it")
                    base = done[method.after]
                    settings["model"] = str(base.folder / "model")
                where = f"cell {'/'.join(str(value) for value in key.values() if value != '')}"
                made = TrainConfig.from_dict(settings | {"output": str(folder)}, where=where)
                if base is not None and method.adjust is not None:
                    made = base.config
                done[name] = Cell(key, made, folder, base.folder if base else None, method.adjust)
                yield done[name]

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
            content,
            ["settings", "models", "methods", "tasks", "configs", "seeds", "variants", "test_rows", "output"],
            str(path),
        )
        common = flattened(content.pop("settings", None) or {}, f"{path}: settings")
        settings = overlaid(common, flattened(overrides.pop("settings", {}), "overrides"))
        models = content.pop("models", None) or {}
        known = models if isinstance(models, dict) else {name: {} for name in models}
        chosen = overrides.pop("models", None)
        if chosen:
            known = {name: known.get(name) or {} for name in chosen}
        methods = {
            name: Method.from_dict(method, f"{path}: methods: {name}")
            for name, method in (content.pop("methods", None) or {"": {}}).items()
        }
        wanted = overrides.pop("methods", None)
        if wanted:
            refuse_unknown(wanted, methods, f"{path}: methods")
            needed = {*wanted, *(methods[name].after for name in wanted)}
            methods = {name: method for name, method in methods.items() if name in needed}
        fields = {**content, **{name: value for name, value in overrides.items() if value is not None}}
        return cls(settings=settings, models=known, methods=methods, **fields)


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
    todo = [cell for cell in plan.cells if not _finished(cell)]
    for number, cell in enumerate(todo, 1):
        state = accelerate.PartialState(cpu=cell.config.execution.cpu)
        with _claimed(cell, state) as mine:
            if not mine:
                continue
            print(f"[{number}/{len(todo)}] {cell.name}", flush=True)
            if cell.after is not None and not (cell.after / "row.json").exists():
                print(f"  left: it goes on from {cell.after.name}; start again when that is done", flush=True)
                continue
            try:
                row = _run_cell(cell, plan.test_rows)
            except (BadInput, RuntimeError) as error:
                if state.num_processes > 1 or "holds a run" in str(error):
                    raise  # the processes could no longer agree on what comes next; or the user must decide
                failed.append(cell.key | {"status": "failed", "error": " ".join(str(error).split())[:300]})
                print(f"  failed: {failed[-1]['error']}", flush=True)
            else:
                if state.is_main_process:
                    write_whole(cell.folder / "row.json", json.dumps(row, indent=1))
                    if not keep_checkpoints:
                        shutil.rmtree(cell.folder / "checkpoints", ignore_errors=True)
        if state.is_main_process:
            render(output, failed)
        state.wait_for_everyone()
    if not todo and accelerate.PartialState(cpu=plan.cells[0].config.execution.cpu).is_main_process:
        render(output)
    return [*finished_rows(output), *failed]


@contextlib.contextmanager
def _claimed(cell: Cell, state: Any) -> Iterator[bool]:
    """Keep other runs of the plan from a cell; yields whether it is free and not done, the same on all processes."""
    from accelerate.utils import broadcast_object_list

    cell.folder.parent.mkdir(parents=True, exist_ok=True)
    path = cell.folder.with_name(f".{cell.folder.name}.lock")
    with contextlib.ExitStack() as stack:
        held = True
        if state.is_main_process:
            try:
                stack.enter_context(FileLock(path).acquire(blocking=False))
            except Timeout:
                held = False
        mine = [held and not _finished(cell)]
        if state.num_processes > 1:
            broadcast_object_list(mine)
        yield mine[0]


def _finished(cell: Cell) -> bool:
    path = cell.folder / "row.json"
    if path.exists() and json.loads(path.read_text())["config_digest"] != cell.config.digest:
        raise BadInput(
            f"{cell.folder}: holds a run of another config; "
            "choose another output folder, or delete this one to run it again"
        )
    return path.exists()


def _run_cell(cell: Cell, test_rows: int | None) -> dict[str, Any]:
    from simxrd_hf.training.evaluation import evaluate_checkpoint
    from simxrd_hf.training.loop import train

    config = cell.config
    if cell.adjust is None:
        result = train(config)
        about = {name: getattr(result, name) for name in ("patterns", "steps", "best_step", "stopped", "minutes")}
        about |= {"patterns_per_s": result.patterns_per_s, "validation_accuracy": result.validation["accuracy"]}
        about |= {name: result.about.get(name) for name in ABOUT if name in result.about}
        model_dir = result.model_dir
    else:
        assert cell.after is not None
        before = json.loads((cell.after / "row.json").read_text())
        about = {name: before.get(name) for name in ABOUT} | {"minutes": 0.0, "patterns_per_s": None}
        model_dir = cell.after / "model"
    found = evaluate_checkpoint(
        model_dir,
        config,
        "test",
        batch_size=config.validation.eval_batch_size,
        limit_rows=test_rows,
        cpu=config.execution.cpu,
        output=cell.folder / "test",
        logit_adjustment=cell.adjust or 0.0,
    )
    scores = {name: found.scores.get(name) for name in SCORES}
    return cell.key | scores | about | {"status": "ok", "error": None}
