"""What the configurations of all SimXRD classifiers have in common: task, labels, pattern grid, calibration."""

from typing import Any

from transformers import PreTrainedConfig

from .resampling_simxrd import DEFAULT_GRID, check_grid
from .symmetry_simxrd import TASK_LABELS

CONFIG_VERSION = 1


class SimXRDConfig(PreTrainedConfig):
    """Fields every SimXRD classifier has. Not used alone: each model type has its own strict subclass.

    Args:
        task: "space_group" (230 labels; index = number − 1) or "crystal_system" (7 labels). It names the labels unless
            `num_labels` or `id2label` says otherwise.
        grid: The patterns' grid: `two_theta_min`, `two_theta_max`, `step` (degrees) and `wavelength` (Å).
        temperature: The pipeline divides logits by it before the softmax (1.0: not calibrated).
        conformal: Thresholds for prediction sets at a stated coverage, or None. Keys: `method` ("lac" or "aps"),
            `coverage` (between 0 and 1) and `threshold` (on the score of that method).
        config_version: Version of this layout; another one is refused.
    """

    task: str = "space_group"
    grid: dict[str, float] | None = None
    temperature: float = 1.0
    conformal: dict[str, Any] | None = None
    config_version: int = CONFIG_VERSION
    id2label: dict[int, str] | dict[str, str] | None = None
    label2id: dict[str, int] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        self.grid = self.full_grid
        names = TASK_LABELS.get(self.task)
        count = kwargs.get("num_labels")
        if self.id2label is not None and count is not None and count != len(self.id2label):
            self.id2label = self.label2id = None  # a head swap: the old names do not describe the new classes
        if self.id2label is None and names is not None and count in (None, len(names)):
            self.id2label = dict(enumerate(names))
        if self.id2label is not None:
            kwargs.pop("num_labels", None)
            self.label2id = {name: int(index) for index, name in self.id2label.items()}
        super().__post_init__(**kwargs)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Like the parent's, but a task given as keyword also renames the labels."""
        task = kwargs.pop("task", None)
        if task is not None and task != config_dict.get("task", "space_group"):
            config_dict = {**config_dict, "task": task, "id2label": None, "label2id": None}
        return super().from_dict(config_dict, **kwargs)

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
