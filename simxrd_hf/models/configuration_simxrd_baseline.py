"""Configuration of the 21 SimXRD benchmark networks."""

from typing import TYPE_CHECKING

from huggingface_hub.dataclasses import strict

from .configuration_simxrd_common import SimXRDConfig
from .networks_simxrd_baseline import ARCHITECTURES, FURTHER, PUBLISHED_SOFTMAXES, VARIANTS

# What is imported relatively travels with this file, so that a saved model always finds its code: see `saving_simxrd`.
if TYPE_CHECKING:
    from .modeling_simxrd_baseline import SimXRDBaselineModel  # noqa: F401


@strict
class SimXRDBaselineConfig(SimXRDConfig):
    """Configuration of a network of the SimXRD benchmark (`model_type` "simxrd_baseline").

    Args:
        architecture: One of `ARCHITECTURES`: cnn1 … cnn11, mlp, rnn, lstm, gru, birnn, bilstm, bigru, transformer,
            itransformer, patchtst; or, beside these 21, cpicann.
        variant: "corrected" (default) returns logits and has the wiring faults mended; "as_published" keeps them, to
            check the paper: softmax before the cross-entropy (cnn1 … cnn8, mlp), a transformer that attends over the
            batch, bidirectional nets that read the last step only, no activation inside cpicann's residual blocks.
        intensity_scaling: "none" (published: maximum 100), "unit" or "sqrt" (both: maximum 1).

    The further arguments are those of `SimXRDConfig`.
    """

    model_type = "simxrd_baseline"

    architecture: str = "cnn11"
    variant: str = "corrected"
    intensity_scaling: str = "none"

    @property
    def returns_probabilities(self) -> bool:
        """True for the nine networks whose published forward ends in a softmax."""
        return self.variant == "as_published" and self.architecture in PUBLISHED_SOFTMAXES

    def validate_baseline_fields(self) -> None:
        """Check the names."""
        for field, known in (
            ("architecture", ARCHITECTURES + FURTHER),
            ("variant", VARIANTS),
            ("intensity_scaling", ("none", "unit", "sqrt")),
        ):
            if getattr(self, field) not in known:
                raise ValueError(f"{field} must be one of {', '.join(known)}, got {getattr(self, field)!r}")
