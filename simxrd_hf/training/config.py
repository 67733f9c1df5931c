"""One training run as plain data: sections of settings, YAML in and out, a digest of what affects the result."""

import dataclasses
import hashlib
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from simxrd_hf.errors import BadInput
from simxrd_hf.files import write_whole
from simxrd_hf.training.settings import Section, checked, default_of, read_yaml, refuse_unknown, setting

TASKS = ("crystal_system", "space_group")
NUM_LABELS = {"crystal_system": 7, "space_group": 230}


@dataclass(frozen=True)
class NetworkConfig(Section):
    """What is trained."""

    model: str = setting("cnn11", "architecture name, or folder of a saved model to go on from")
    task: str = setting("crystal_system", "what is predicted", choices=TASKS)
    variant: str = setting(
        "corrected", "baseline as repaired or with its published defects", choices=("corrected", "as_published")
    )
    size: str | None = setting(None, "size of architectures that come in several (tiny, light, small, base)")
    model_options: dict[str, Any] = setting({}, "further fields of the model's config")  # noqa: RUF009
    trained: str = setting(
        "all",
        "train all of it, or of a saved model the classifier alone, drawn anew (decoupled retraining)",
        choices=("all", "classifier"),
        later=True,
    )


@dataclass(frozen=True)
class SourceConfig(Section):
    """What it is trained on: stored patterns (`data`), or crystals to simulate while training (`crystals`)."""

    data: str | None = setting(None, "folder of stored patterns")
    data_config: str = setting("in_library", "split scheme", choices=("in_library", "out_of_library", "tiny"))
    streaming: bool = setting(False, "read stored patterns shard by shard, never all at once")
    shuffle_rows: int = setting(
        32_768, "streaming: rows of a process that are in memory and shuffled together, 14 kB each", above=0, later=True
    )
    crystals: str | None = setting(None, "crystals to simulate on the fly (instead of data)")
    preset: str = setting("simxrd-4m", "simulation preset for on-the-fly patterns, name or file")
    split_by: str = setting(
        "formula", "how crystals are split out of library", choices=("formula", "prototype", "row_order")
    )
    fresh_patterns: bool = setting(True, "on the fly: new draws on every pass (else the same 30 conditions again)")
    isostructural: float = setting(
        0.0,
        "on the fly: share of training patterns of invented crystals, other elements in a strained cell",
        least=0,
        most=1,
    )
    extra_crystals: list[str] = setting(  # noqa: RUF009
        [], "on the fly: further training crystals, but for those with the formula of one that is held out"
    )
    impurity_pool: int = setting(
        0, "on the fly: crystals to draw second phases from, for presets that have them", least=0
    )
    limit_crystals: int | None = setting(None, "use that many crystals, drawn evenly", above=0)
    max_atoms: int | None = setting(
        None, "on the fly: leave out training crystals with more atoms in the cell", above=0
    )
    train_conditions: int | None = setting(None, "use only the first that many of the 30 training conditions", above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.data is None) == (self.crystals is None):
            raise BadInput("data, crystals: give exactly one of them (stored patterns, or crystals to simulate)")
        if self.streaming and self.data is None:
            raise BadInput("streaming: is for stored patterns; on-the-fly patterns are never stored")
        if self.streaming and (self.limit_crystals or self.train_conditions):
            raise BadInput("streaming: reads whole shards; limit_crystals and train_conditions need streaming: false")
        if self.data is not None and self.isostructural:
            raise BadInput("isostructural: is for on-the-fly patterns; stored rows carry no atoms")
        if self.data is not None and self.extra_crystals:
            raise BadInput("extra_crystals: are for on-the-fly patterns; give stored ones in one folder of data")
        if self.data is not None and self.max_atoms is not None:
            raise BadInput("max_atoms: is for on-the-fly patterns; stored rows carry no atoms")


@dataclass(frozen=True)
class BudgetConfig(Section):
    """For how long."""

    patterns: int | None = setting(None, "budget: training patterns in all (instead of epochs)", above=0)
    epochs: float | None = setting(None, "budget: passes over the training rows", above=0)
    max_minutes: float | None = setting(
        None, "stop after that many minutes of training, restarts included", above=0, runtime=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.patterns is not None and self.epochs is not None:
            raise BadInput("patterns, epochs: give one budget, not both")
        if self.patterns is None and self.epochs is None and self.max_minutes is None:
            raise BadInput("patterns, epochs, max_minutes: one of them must say how long to train")


@dataclass(frozen=True)
class BatchConfig(Section):
    """Which rows come when, and how many at a time."""

    batch_size: int = setting(128, "patterns per optimiser step, over all processes and accumulation steps", above=0)
    gradient_accumulation: int = setting(1, "micro-batches per optimiser step and process", above=0)
    sampling: str = setting("shuffle", "order of rows", choices=("shuffle", "class_balanced", "crystal_balanced"))
    balance_power: float = setting(
        0.0, "class_balanced: 0 draws classes equally, 0.5 by square root, 1 as they are", least=0, most=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size % self.gradient_accumulation:
            raise BadInput(
                f"gradient_accumulation: {self.gradient_accumulation} does not divide batch_size {self.batch_size}"
            )


@dataclass(frozen=True)
class OptimizationConfig(Section):
    """The optimiser and its learning rate."""

    optimizer: str = setting("adamw", "optimiser", choices=("adamw", "adam"))
    learning_rate: float = setting(1e-3, "peak learning rate", above=0)
    weight_decay: float = setting(0.01, "decoupled weight decay (adamw), not on biases and norms", least=0)
    beta2: float = setting(0.999, "second-moment decay of the optimiser", least=0, most=1)
    schedule: str = setting("cosine", "learning rate after warm-up", choices=("cosine", "constant", "linear"))
    schedule_by_time: bool = setting(False, "let warm-up and decay follow max_minutes where that comes first")
    warmup: float = setting(0.05, "share of the run with rising learning rate", least=0, most=1)
    final_learning_rate: float = setting(0.0, "learning rate at the end, as a share of the peak", least=0, most=1)
    max_grad_norm: float | None = setting(None, "clip the gradient norm", above=0)
    ema_decay: float | None = setting(
        None, "keep an exponential moving average of the weights and use it", least=0, most=1
    )


@dataclass(frozen=True)
class ObjectiveConfig(Section):
    """The loss."""

    loss: str = setting("cross_entropy", "training loss", choices=("cross_entropy", "focal", "model"))
    label_smoothing: float = setting(0.0, "share of the target spread over all classes", least=0, most=1)
    focal_gamma: float = setting(2.0, "focusing exponent of the focal loss", least=0)
    logit_adjustment: float = setting(0.0, "tau of the logit-adjusted loss; 0 is off, 1 the consistent choice", least=0)
    class_weights: str = setting("none", "loss weight of a class", choices=("none", "effective_number", "inverse"))
    effective_beta: float = setting(0.999, "beta of the effective number of samples", least=0, most=1)


@dataclass(frozen=True)
class NumericsConfig(Section):
    """How it is calculated."""

    mixed_precision: str = setting(
        "auto",
        "numeric type of the forward pass; auto: bf16 where the processor multiplies it, else no",
        choices=("auto", "no", "bf16", "fp16"),
    )
    compile: bool = setting(False, "torch.compile the model")
    deterministic: bool = setting(False, "only deterministic GPU kernels (slower)")


@dataclass(frozen=True)
class ValidationConfig(Section):
    """Validation, stopping and calibration."""

    validation_rows: int | None = setting(None, "validate on that many rows, drawn evenly", above=0)
    evaluate_every: int | None = setting(None, "steps between validations; once an epoch if absent", above=0)
    monitor: str = setting(
        "loss",
        "validation score that picks the best; loss: after the best temperature",
        choices=("loss", "accuracy", "macro_f1"),
    )
    patience: int | None = setting(None, "stop after that many validations without a better score", above=0)
    calibration: str = setting("lac", "conformal sets fitted on validation", choices=("lac", "aps", "none"))
    alpha: float = setting(0.1, "share of conformal sets allowed to miss the truth", least=0, most=1)
    eval_batch_size: int = setting(256, "patterns per validation batch and process", above=0, runtime=True)


@dataclass(frozen=True)
class ExecutionConfig(Section):
    """Where and by what means; most of it may change between restarts."""

    output: str = setting("simxrd_run", "folder of checkpoints, history and the final model", runtime=True)
    checkpoint_every: int | None = setting(
        None, "steps between checkpoints, beside those at validations", above=0, runtime=True
    )
    keep_checkpoints: int = setting(2, "newest checkpoints kept beside the best", above=0, runtime=True)
    log_every: int = setting(50, "steps between lines of the history", above=0)
    num_workers: int | None = setting(
        None,
        "processes that prepare batches, per training process (default: those that simulating while training needs)",
        least=0,
        runtime=True,
    )
    threads: int | None = setting(
        None,
        "threads of the CPU that calculate, per training process (default: as many cores as are idle at the start)",
        above=0,
        runtime=True,
        later=True,
    )
    trackers: list[str] = setting([], "tensorboard, trackio, wandb, …, where installed", runtime=True)  # noqa: RUF009
    cpu: bool = setting(False, "train on the CPU even where a GPU is", runtime=True)
    profile: bool = setting(False, "profile a few steps, write table and trace", runtime=True)
    progress: bool = setting(True, "progress bar", runtime=True)


@dataclass(frozen=True, init=False)
class TrainConfig:
    """Settings of one training run, in sections.

    No two sections have a setting of the same name, so each may also be given, and read, by its name alone:
    `TrainConfig(model="cnn5", data="d", epochs=1).learning_rate`. Flags and older YAML files do so. The numbers of
    patterns are totals over all processes, so a run means the same on one process and on eight.

    Args:
        settings: Sections (as objects or mappings) and single settings, by name.

    Raises:
        BadInput: A setting of the wrong type or out of range, unknown, given twice, or at odds with another one.
    """

    network: NetworkConfig
    source: SourceConfig
    budget: BudgetConfig
    batches: BatchConfig
    optimization: OptimizationConfig
    objective: ObjectiveConfig
    numerics: NumericsConfig
    validation: ValidationConfig
    execution: ExecutionConfig
    seed: int = setting(0, "seed of weights, order, dropout and on-the-fly patterns", least=0)

    def __init__(self, **settings: Any) -> None:
        given = flattened(settings, "config")
        for name, section in SECTIONS.items():
            own = {s.name: given[s.name] for s in dataclasses.fields(section) if s.name in given}
            object.__setattr__(self, name, section(**own))
        seed = next(spec for spec in dataclasses.fields(self) if spec.name == "seed")
        object.__setattr__(self, "seed", checked(seed, int, given.get("seed", seed.default)))
        if self.source.streaming and self.batches.sampling != "shuffle":
            raise BadInput(f"sampling: {self.batches.sampling} needs random access; set streaming to false")
        if self.optimization.schedule_by_time and self.budget.max_minutes is None:
            raise BadInput("schedule_by_time: needs max_minutes")

    def __getattr__(self, name: str) -> Any:
        """A setting by its name alone."""
        if name in _SECTION_OF:
            return getattr(getattr(self, _SECTION_OF[name]), name)
        raise AttributeError(f"{type(self).__name__} has no setting {name!r}")

    @property
    def num_labels(self) -> int:
        """Classes of the task."""
        return NUM_LABELS[self.network.task]

    @property
    def digest(self) -> str:
        """16 hex digits over all settings that affect the result (not where and by how many workers it is made)."""
        text = json.dumps(self.result_settings(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def flat(self) -> dict[str, Any]:
        """All settings by their names alone, as plain data."""
        return {name: getattr(self, name) for name in SETTINGS}

    def result_settings(self) -> dict[str, Any]:
        """The settings that the digest covers, by their names alone."""
        return {name: value for name, value in self.flat().items() if _counts(SETTINGS[name], value)}

    def to_dict(self) -> dict[str, Any]:
        """All settings as plain data, in sections."""
        return dataclasses.asdict(self)

    def to_yaml(self, path: str | Path | None = None) -> str:
        """The settings that differ from the defaults, in sections, as YAML; written to `path` if given."""
        content: dict[str, Any] = {}
        for name, value in self.flat().items():
            if value != default_of(SETTINGS[name]):
                place = content.setdefault(_SECTION_OF[name], {}) if name in _SECTION_OF else content
                place[name] = value
        # ASCII: PyYAML writes U+0085 as it is, but reads it back as a line break
        text = yaml.safe_dump(content, sort_keys=False)
        if path is not None:
            write_whole(path, text)
        return text

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any], *, where: str = "config") -> "TrainConfig":
        """Build from plain data.

        Args:
            settings: Names and values, in sections or by their names alone.
            where: Named in error messages.

        Raises:
            BadInput: An unknown name (the nearest known one is suggested) or an unusable value.
        """
        given = flattened(settings, where)
        try:
            return cls(**given)
        except BadInput as error:
            raise BadInput(f"{where}: {error}") from None

    @classmethod
    def from_yaml(cls, path: str | Path, **overrides: Any) -> "TrainConfig":
        """Read a YAML file; `overrides` win over what stands in it."""
        given = overlaid(flattened(read_yaml(path), str(path)), flattened(overrides, "overrides"))
        return cls.from_dict(given, where=str(path))

    def replace(self, **changes: Any) -> "TrainConfig":
        """A copy with some settings changed."""
        return type(self)(**self.flat() | flattened(changes, "changes"))


SECTIONS: dict[str, type[Section]] = {
    name: kind for name, kind in typing.get_type_hints(TrainConfig).items() if issubclass(kind, Section)
}
_SECTION_OF = {spec.name: name for name, section in SECTIONS.items() for spec in dataclasses.fields(section)}
# Name → field, of all settings, in order.
SETTINGS: dict[str, "dataclasses.Field[Any]"] = {
    spec.name: spec for section in SECTIONS.values() for spec in dataclasses.fields(section)
} | {spec.name: spec for spec in dataclasses.fields(TrainConfig) if spec.name not in SECTIONS}


def _counts(spec: "dataclasses.Field[Any]", value: Any) -> bool:
    """Whether the digest covers a setting."""
    return not spec.metadata["runtime"] and not (spec.metadata["later"] and value == default_of(spec))


# Of each family one setting is used: what is given later replaces what was given before.
_EXCLUSIVE = (("patterns", "epochs"), ("data", "crystals"))


def overlaid(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by their names alone, where later ones win; a later budget or source replaces an earlier one."""
    found: dict[str, Any] = {}
    for layer in layers:
        for family in _EXCLUSIVE:
            if any(name in layer for name in family):
                found = {name: value for name, value in found.items() if name not in family}
        found |= layer
    return found


def flattened(settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Settings by their names alone, from sections, single names, or both.

    Raises:
        BadInput: An unknown name, a section that is no mapping, or a setting given twice.
    """
    refuse_unknown(settings, [*SETTINGS, *SECTIONS], where)
    flat = {name: value for name, value in settings.items() if name in SETTINGS}
    for name, content in settings.items():
        if name not in SECTIONS:
            continue
        if isinstance(content, Section):
            content = dataclasses.asdict(content)
        if not isinstance(content, Mapping):
            raise BadInput(f"{where}: {name}: is a section and must hold 'name: value' lines, not {content!r}")
        refuse_unknown(content, (spec.name for spec in dataclasses.fields(SECTIONS[name])), f"{where}: {name}")
        for key in content:
            if key in flat:
                raise BadInput(f"{where}: {key}: is given twice, in section {name} and by itself")
        flat |= content
    return flat
