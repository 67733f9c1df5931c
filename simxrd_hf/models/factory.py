"""One function that makes any model of the package from its name."""

from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedModel

from simxrd_hf.errors import BadInput
from simxrd_hf.models.configuration_simxrd_baseline import SimXRDBaselineConfig
from simxrd_hf.models.configuration_simxrd_former import SIZES, SimXRDFormerConfig
from simxrd_hf.models.modeling_simxrd_baseline import SimXRDBaselineForSequenceClassification
from simxrd_hf.models.modeling_simxrd_former import SimXRDFormerForSequenceClassification
from simxrd_hf.models.networks_simxrd_baseline import ARCHITECTURES, FURTHER


def create_model(
    name: str,
    task: str = "space_group",
    *,
    variant: str = "corrected",
    size: str | None = None,
    **config_overrides: Any,
) -> PreTrainedModel:
    """Make a classifier with fresh weights.

    Args:
        name: A benchmark network ("cnn1" … "patchtst", "cpicann") or "simxrd_former".
        task: "space_group" or "crystal_system".
        variant: "corrected" or "as_published"; benchmark networks only.
        size: "tiny", "light", "small" or "base"; `simxrd_former` only.
        **config_overrides: Further fields of the model's configuration.

    Raises:
        BadInput: No such model, or an option that does not belong to it.
    """
    try:
        return _create(name, task, variant, size, config_overrides)
    except StrictDataclassError as error:
        raise BadInput(f"{name}: {error}") from error


def _create(name: str, task: str, variant: str, size: str | None, config_overrides: dict[str, Any]) -> PreTrainedModel:
    if name in ARCHITECTURES + FURTHER:
        if size is not None:
            raise BadInput(f"{name} has one size only: leave size out")
        config = SimXRDBaselineConfig(architecture=name, task=task, variant=variant, **config_overrides)
        return SimXRDBaselineForSequenceClassification(config)
    if name == "simxrd_former":
        if variant != "corrected":
            raise BadInput("simxrd_former was never published elsewhere: leave variant out")
        size = size or "tiny"
        if size not in SIZES:
            raise BadInput(f"simxrd_former has the sizes {', '.join(SIZES)}, not {size!r}")
        return SimXRDFormerForSequenceClassification(
            SimXRDFormerConfig(task=task, **{**SIZES[size], **config_overrides})
        )
    raise BadInput(f"there is no model {name!r}; known are simxrd_former, {', '.join(ARCHITECTURES + FURTHER)}")
