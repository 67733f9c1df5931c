"""One training run as plain data: every setting with its unit, YAML in and out, a digest of what affects the result."""

import contextlib
import dataclasses
import difflib
import hashlib
import json
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from simxrd_hf.errors import BadInput
from simxrd_hf.files import write_whole

TASKS = ("crystal_system", "space_group")
NUM_LABELS = {"crystal_system": 7, "space_group": 230}


def _setting(default: Any, help: str, *, choices: Iterable[str] | None = None, runtime: bool = False) -> Any:
    """A field with its help text; `runtime` settings say how a run is carried out and may change when it resumes."""
    metadata = {"help": help, "choices": tuple(choices) if choices else None, "runtime": runtime}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training run.

    Data come either from a folder of stored patterns (`data`, as `simxrd generate` writes it) or are simulated while
    training (`crystals` and `preset`). The numbers of patterns are totals over all processes, so a run means the same
    on one process and on eight.

    Raises:
        BadInput: A setting of the wrong type or out of range, or settings that contradict each other.
    """

    # What is trained
    model: str = _setting("cnn11", "architecture name, or folder of a saved model to go on from")
    task: str = _setting("crystal_system", "what is predicted", choices=TASKS)
    variant: str = _setting(
        "corrected", "baseline as repaired or with its published defects", choices=("corrected", "as_published")
    )
    size: str | None = _setting(None, "size of architectures that come in several (tiny, light, small, base)")
    model_options: dict[str, Any] = _setting({}, "further fields of the model's config")  # noqa: RUF009

    # What it is trained on
    data: str | None = _setting(None, "folder of stored patterns")
    data_config: str = _setting("in_library", "split scheme", choices=("in_library", "out_of_library", "tiny"))
    streaming: bool = _setting(False, "read stored patterns shard by shard, never all at once")
    crystals: str | None = _setting(None, "crystals to simulate on the fly (instead of data)")
    preset: str = _setting("simxrd-4m", "simulation preset for on-the-fly patterns, name or file")
    split_by: str = _setting(
        "formula", "how crystals are split out of library", choices=("formula", "prototype", "row_order")
    )
    fresh_patterns: bool = _setting(True, "on the fly: new draws on every pass (else the same 30 conditions again)")
    isostructural: float = _setting(
        0.0, "on the fly: share of training patterns of invented crystals, other elements in a strained cell"
    )
    extra_crystals: list[str] = _setting(  # noqa: RUF009
        [], "on the fly: further training crystals, but for those with the formula of one that is held out"
    )
    impurity_pool: int = _setting(0, "on the fly: crystals to draw second phases from, for presets that have them")
    limit_crystals: int | None = _setting(None, "use that many crystals, drawn evenly")
    max_atoms: int | None = _setting(None, "on the fly: leave out training crystals with more atoms in the cell")
    train_conditions: int | None = _setting(None, "use only the first that many of the 30 training conditions")
    validation_rows: int | None = _setting(None, "validate on that many rows, drawn evenly")

    # For how long
    patterns: int | None = _setting(None, "budget: training patterns in all (instead of epochs)")
    epochs: float | None = _setting(None, "budget: passes over the training rows")
    max_minutes: float | None = _setting(
        None, "stop after that many minutes of training, restarts included", runtime=True
    )
    schedule_by_time: bool = _setting(False, "let warm-up and decay follow max_minutes where that comes first")

    # How
    batch_size: int = _setting(128, "patterns per optimiser step, over all processes and accumulation steps")
    gradient_accumulation: int = _setting(1, "micro-batches per optimiser step and process")
    sampling: str = _setting("shuffle", "order of rows", choices=("shuffle", "class_balanced", "crystal_balanced"))
    balance_power: float = _setting(0.0, "class_balanced: 0 draws classes equally, 0.5 by square root, 1 as they are")
    optimizer: str = _setting("adamw", "optimiser", choices=("adamw", "adam"))
    learning_rate: float = _setting(1e-3, "peak learning rate")
    weight_decay: float = _setting(0.01, "decoupled weight decay (adamw), not on biases and norms")
    beta2: float = _setting(0.999, "second-moment decay of the optimiser")
    schedule: str = _setting("cosine", "learning rate after warm-up", choices=("cosine", "constant", "linear"))
    warmup: float = _setting(0.05, "share of the run with rising learning rate")
    final_learning_rate: float = _setting(0.0, "learning rate at the end, as a share of the peak")
    max_grad_norm: float | None = _setting(None, "clip the gradient norm")
    ema_decay: float | None = _setting(None, "keep an exponential moving average of the weights and use it")
    loss: str = _setting("cross_entropy", "training loss", choices=("cross_entropy", "focal", "model"))
    label_smoothing: float = _setting(0.0, "share of the target spread over all classes")
    focal_gamma: float = _setting(2.0, "focusing exponent of the focal loss")
    logit_adjustment: float = _setting(0.0, "tau of the logit-adjusted loss; 0 is off, 1 the consistent choice")
    class_weights: str = _setting("none", "loss weight of a class", choices=("none", "effective_number", "inverse"))
    effective_beta: float = _setting(0.999, "beta of the effective number of samples")
    mixed_precision: str = _setting("no", "numeric type of the forward pass", choices=("no", "bf16", "fp16"))
    compile: bool = _setting(False, "torch.compile the model")
    deterministic: bool = _setting(False, "only deterministic GPU kernels (slower)")
    seed: int = _setting(0, "seed of weights, order, dropout and on-the-fly patterns")

    # Validation and stopping
    evaluate_every: int | None = _setting(None, "steps between validations; once an epoch if absent")
    monitor: str = _setting(
        "loss",
        "validation score that picks the best; loss: after the best temperature",
        choices=("loss", "accuracy", "macro_f1"),
    )
    patience: int | None = _setting(None, "stop after that many validations without a better score")
    calibration: str = _setting("lac", "conformal sets fitted on validation", choices=("lac", "aps", "none"))
    alpha: float = _setting(0.1, "share of conformal sets allowed to miss the truth")

    # Carrying out (may change between restarts)
    output: str = _setting("simxrd_run", "folder of checkpoints, history and the final model", runtime=True)
    checkpoint_every: int | None = _setting(
        None, "steps between checkpoints, beside those at validations", runtime=True
    )
    keep_checkpoints: int = _setting(2, "newest checkpoints kept beside the best", runtime=True)
    log_every: int = _setting(50, "steps between lines of the history")
    eval_batch_size: int = _setting(256, "patterns per validation batch and process", runtime=True)
    num_workers: int = _setting(0, "processes that prepare batches, per training process", runtime=True)
    trackers: list[str] = _setting([], "tensorboard, trackio, wandb, …, where installed", runtime=True)  # noqa: RUF009
    cpu: bool = _setting(False, "train on the CPU even where a GPU is", runtime=True)
    profile: bool = _setting(False, "profile a few steps, write table and trace", runtime=True)
    progress: bool = _setting(True, "progress bar", runtime=True)

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for spec in dataclasses.fields(self):
            value = _checked(spec, hints[spec.name], getattr(self, spec.name))
            object.__setattr__(self, spec.name, value)
        if (self.data is None) == (self.crystals is None):
            raise BadInput("data, crystals: give exactly one of them (stored patterns, or crystals to simulate)")
        if self.patterns is not None and self.epochs is not None:
            raise BadInput("patterns, epochs: give one budget, not both")
        if self.patterns is None and self.epochs is None and self.max_minutes is None:
            raise BadInput("patterns, epochs, max_minutes: one of them must say how long to train")
        if self.schedule_by_time and self.max_minutes is None:
            raise BadInput("schedule_by_time: needs max_minutes")
        if self.streaming and self.data is None:
            raise BadInput("streaming: is for stored patterns; on-the-fly patterns are never stored")
        if self.streaming and self.sampling != "shuffle":
            raise BadInput(f"sampling: {self.sampling} needs random access; set streaming to false")
        if self.streaming and (self.limit_crystals or self.train_conditions):
            raise BadInput("streaming: reads whole shards; limit_crystals and train_conditions need streaming: false")
        if self.data is not None and self.isostructural:
            raise BadInput("isostructural: is for on-the-fly patterns; stored rows carry no atoms")
        if self.data is not None and self.extra_crystals:
            raise BadInput("extra_crystals: are for on-the-fly patterns; give stored ones in one folder of data")
        if self.data is not None and self.max_atoms is not None:
            raise BadInput("max_atoms: is for on-the-fly patterns; stored rows carry no atoms")
        positive = (
            "batch_size gradient_accumulation learning_rate eval_batch_size log_every patterns epochs max_minutes "
            "evaluate_every checkpoint_every keep_checkpoints patience max_grad_norm limit_crystals validation_rows "
            "max_atoms train_conditions"
        )
        for name in positive.split():
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise BadInput(f"{name}: must be above 0, not {value}")
        unit = "label_smoothing isostructural warmup final_learning_rate balance_power effective_beta beta2 alpha"
        for name in [*unit.split(), *(["ema_decay"] if self.ema_decay is not None else [])]:
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"{name}: must lie between 0 and 1, not {getattr(self, name)}")
        for name in ("weight_decay", "impurity_pool", "num_workers", "focal_gamma", "logit_adjustment", "seed"):
            if getattr(self, name) < 0:
                raise BadInput(f"{name}: must not be negative")
        if self.batch_size % self.gradient_accumulation:
            raise BadInput(
                f"gradient_accumulation: {self.gradient_accumulation} does not divide batch_size {self.batch_size}"
            )

    @property
    def num_labels(self) -> int:
        """Classes of the task."""
        return NUM_LABELS[self.task]

    @property
    def digest(self) -> str:
        """16 hex digits over all settings that affect the result (not where and by how many workers it is made)."""
        text = json.dumps(self.result_settings(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def result_settings(self) -> dict[str, Any]:
        """The settings that the digest covers, as plain data."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if not f.metadata["runtime"]}

    def to_dict(self) -> dict[str, Any]:
        """All settings as plain data."""
        return dataclasses.asdict(self)

    def to_yaml(self, path: str | Path | None = None) -> str:
        """The settings that differ from the defaults, as YAML; written to `path` if given."""
        defaults = {f.name: _default(f) for f in dataclasses.fields(self)}
        text = yaml.safe_dump(
            {name: value for name, value in self.to_dict().items() if value != defaults[name]},
            sort_keys=False,  # and ASCII: PyYAML writes U+0085 as it is, but reads it back as a line break
        )
        if path is not None:
            write_whole(path, text)
        return text

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any], *, where: str = "config") -> "TrainConfig":
        """Build from plain data.

        Args:
            settings: Names and values.
            where: Named in error messages.

        Raises:
            BadInput: An unknown name (the nearest known one is suggested) or an unusable value.
        """
        known = [f.name for f in dataclasses.fields(cls)]
        refuse_unknown(settings, known, where)
        try:
            return cls(**settings)
        except BadInput as error:
            raise BadInput(f"{where}: {error}") from None

    @classmethod
    def from_yaml(cls, path: str | Path, **overrides: Any) -> "TrainConfig":
        """Read a YAML file; `overrides` win over what stands in it."""
        return cls.from_dict({**read_yaml(path), **overrides}, where=str(path))

    def replace(self, **changes: Any) -> "TrainConfig":
        """A copy with some settings changed."""
        return dataclasses.replace(self, **changes)


def refuse_unknown(given: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raise BadInput naming the first unknown key and the nearest known one."""
    known = list(known)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
            raise BadInput(f"{where}: there is no setting {name!r}{hint}")


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML file that must hold a mapping.

    Raises:
        BadInput: Not there, not YAML, or not a mapping.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path}: there is no such config file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: is not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict):
        raise BadInput(f"{path}: must hold 'name: value' lines, not {type(content).__name__}")
    return content


def _default(spec: dataclasses.Field) -> Any:
    return spec.default_factory() if callable(spec.default_factory) else spec.default


def plain_type(hint: Any) -> tuple[type, bool]:
    """The type inside `X | None` (or `list[X]`) and whether None is allowed."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    kind = next(option for option in options if option is not type(None))
    return typing.get_origin(kind) or kind, type(None) in options


def _checked(spec: dataclasses.Field, hint: Any, value: Any) -> Any:
    """`value` in the field's type, or BadInput. YAML reads 1e-3 as text and 1 as int where a float is meant."""
    kind, optional = plain_type(hint)
    if value is None and optional:
        return None
    if kind is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):
            value = float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if kind is str and isinstance(value, Path):
        value = str(value)
    if kind is list and isinstance(value, tuple | str):
        value = [value] if isinstance(value, str) else list(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise BadInput(f"{spec.name}: must be {kind.__name__}, not {value!r}")
    if isinstance(value, float) and not abs(value) < float("inf"):
        raise BadInput(f"{spec.name}: must be a finite number")
    choices = spec.metadata["choices"]
    if choices and value not in choices:
        raise BadInput(f"{spec.name}: must be one of {', '.join(choices)}, not {value!r}")
    return value
