"""What the configurations of all SimXRD classifiers have in common: task, labels, pattern grid, calibration."""

from typing import Any

from transformers import PreTrainedConfig

from .resampling_simxrd import DEFAULT_GRID, check_grid
from .saving_simxrd import complete
from .symmetry_simxrd import TASK_LABELS

CONFIG_VERSION = 1
# What was fitted to the old labels' answers, and what it is without a fit.
UNCALIBRATED: dict[str, Any] = {"temperature": 1.0, "conformal": None}


class InstalledTasks(dict[str, Any]):
    """`custom_pipelines` of a model whose pipeline the installed package brings.

    `transformers.pipeline` infers the task from it, but finds no pipeline in it that it would have to load as foreign
    code: it takes the one registered under the task's name.
    """

    def __contains__(self, task: object) -> bool:
        return False


class SimXRDConfig(PreTrainedConfig):
    """Fields every SimXRD classifier has. Not used alone: each model type has its own strict subclass.

    Args:
        task: "space_group" (230 labels; index = number − 1) or "crystal_system" (7 labels). It names the labels unless
            `num_labels` or `id2label` says otherwise.
        grid: The patterns' grid: `two_theta_min`, `two_theta_max`, `step` (degrees) and `wavelength` (Å).
        temperature: The pipeline divides logits by it before the softmax (1.0: not calibrated).
        conformal: Thresholds for prediction sets at a stated coverage, or None. Keys: `method` ("lac" or "aps"),
            `coverage` (between 0 and 1), `threshold` (on the score of that method) and, where every kind of class was
            fitted by itself, `thresholds` (one of each label, used instead).
            New labels (`num_labels`, `id2label`, another task) set both back, since they were fitted to the old ones.
        config_version: Version of this layout; another one is refused.
    """

    task: str = "space_group"
    grid: dict[str, float] | None = None
    temperature: float = 1.0
    conformal: dict[str, Any] | None = None
    config_version: int = CONFIG_VERSION
    id2label: dict[int, str] | dict[str, str] | None = None
    label2id: dict[str, int] | None = None

    # Set on the package's own classes: the task is registered, its pipeline need not come from the repository.
    _task_is_installed = False

    def __post_init__(self, **kwargs: Any) -> None:
        if self._task_is_installed and kwargs.get("custom_pipelines"):
            kwargs["custom_pipelines"] = InstalledTasks(kwargs["custom_pipelines"])
        self.grid = self.full_grid
        names = TASK_LABELS.get(self.task)
        count = kwargs.get("num_labels")
        if self.id2label is not None and count is not None and count != len(self.id2label):
            self.id2label = self.label2id = None  # a head swap: the old names do not describe the new classes
            for name, value in UNCALIBRATED.items():
                setattr(self, name, value)
        if self.id2label is None and names is not None and count in (None, len(names)):
            self.id2label = dict(enumerate(names))
        if self.id2label is not None:
            kwargs.pop("num_labels", None)
            self.label2id = {name: int(index) for index, name in self.id2label.items()}
        super().__post_init__(**kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        swapped = name == "id2label" and getattr(self, "_post_init_done", False) and value != self.id2label
        super().__setattr__(name, value)
        if swapped:
            for field, uncalibrated in UNCALIBRATED.items():
                setattr(self, field, uncalibrated)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Like the parent's, but a task given as keyword also renames the labels."""
        task = kwargs.pop("task", None)
        if task is not None and task != config_dict.get("task", "space_group"):
            config_dict = {**config_dict, "task": task, "id2label": None, "label2id": None, **UNCALIBRATED}
        # The parent sets keywords in their order: what is given for the new labels must come after them.
        last = {name: kwargs.pop(name) for name in UNCALIBRATED if name in kwargs}
        return super().from_dict(config_dict, **kwargs, **last)

    def save_pretrained(self, save_directory: Any, push_to_hub: bool = False, **kwargs: Any) -> None:
        """Like the parent's; the folder then also holds the model's code and its feature extractor.

        Saving a model goes through here too, so that every way of saving (`Trainer.save_model`, `push_to_hub`,
        `pipe.save_pretrained` …) leaves what strangers can load.
        """
        super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)
        complete(save_directory, self.model_type, self.full_grid)

    @property
    def n_points(self) -> int:
        """Points of a pattern on the grid."""
        return check_grid(self.full_grid)

    @property
    def full_grid(self) -> dict[str, float]:
        """The grid with every key."""
        return {**DEFAULT_GRID, **(self.grid or {})}

    @property
    def returns_probabilities(self) -> bool:
        """Whether the model returns probabilities instead of logits, as some published networks did."""
        return False

    def validate_common_fields(self) -> None:
        """Check values that types alone do not, at construction and before saving."""
        if self.config_version != CONFIG_VERSION:
            raise ValueError(
                f"config_version is {self.config_version}, this code reads version {CONFIG_VERSION}: "
                "use the simxrd_hf release the checkpoint was written with, or a newer one"
            )
        if self.task not in TASK_LABELS:
            raise ValueError(f"task must be one of {', '.join(TASK_LABELS)}, got {self.task!r}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
        check_grid(self.full_grid)
        if self.conformal is not None:
            missing = {"method", "coverage", "threshold"} - set(self.conformal)
            if missing:
                raise ValueError(f"conformal lacks {', '.join(sorted(missing))}")
            if self.conformal["method"] not in ("lac", "aps"):
                raise ValueError(f"conformal method must be 'lac' or 'aps', got {self.conformal['method']!r}")
            if len(self.conformal.get("thresholds", range(self.num_labels))) != self.num_labels:
                raise ValueError(f"conformal thresholds must be one of each of the {self.num_labels} labels")
