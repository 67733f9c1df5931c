"""Configuration of `simxrd_former`, the package's own classifier."""

from typing import TYPE_CHECKING, Any

from huggingface_hub.dataclasses import strict

from .configuration_simxrd_common import SimXRDConfig

# What is imported relatively travels with this file, so that a saved model always finds its code: see `saving_simxrd`.
if TYPE_CHECKING:
    from .modeling_simxrd_former import SimXRDFormerModel  # noqa: F401

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "widths": [32, 64, 96],
        "depths": [1, 1, 1],
        "attention_layers": 2,
        "attention_heads": 4,
        "pooled_channels": 16,
        "hidden_size": 256,
    },
    "light": {
        "widths": [96, 256],
        "strides": [8, 8],
        "depths": [0, 1],
        "blocks": "dense",
        "attention_layers": 0,
        "pooled_channels": 48,
        "hidden_size": 768,
        "head_layers": 1,
    },
    "small": {
        "widths": [48, 96, 192],
        "depths": [1, 1, 1],
        "attention_layers": 3,
        "attention_heads": 4,
        "pooled_channels": 32,
        "hidden_size": 512,
    },
    "base": {
        "widths": [96, 192, 384],
        "depths": [2, 2, 2],
        "attention_layers": 6,
        "attention_heads": 6,
        "pooled_channels": 48,
        "hidden_size": 768,
        "expansion": 3,
    },
}


@strict
class SimXRDFormerConfig(SimXRDConfig):
    """Configuration of the package's own network (`model_type` "simxrd_former"); the defaults are its size "tiny".

    Args:
        widths: Channels of the convolution stages.
        strides: Shortening before each stage; their product is the number of grid points per token.
        depths: Convolution blocks per stage.
        blocks: Convolution blocks: "depthwise" (ConvNeXt) or "dense" (matrix products over three positions).
        kernel: Depthwise kernel, odd.
        attention_layers: Attention blocks.
        attention_heads: Heads; the last width must be a multiple of twice their number.
        expansion: Hidden width of the MLPs over their width.
        pooled_channels: Channels kept per token when the tokens are flattened.
        hidden_size: Width of the embedding.
        head_layers: Residual MLPs on the embedding.
        dropout: Of the embedding.
        attention_dropout: Of attention weights (costly on CPUs: it keeps torch from fused attention).
        rope_base: Ratio of the slowest to the fastest rotation of the position code.
        rope_axis: "log_d" (attention sees ratios of d) or "index" (differences of 2θ).
        use_composition: Take element fractions as an optional further input.
        composition_dropout: Part of the compositions hidden in training, so that the model also works without.
        range_dropout: Part of the training patterns of which only a random 2θ range is shown, so that the model also
            works on shorter scans.
        label_smoothing: Of the space-group loss.
        level_weights: Weights of the losses of crystal system, lattice and extinction symbol beside the group's.

    The further arguments are those of `SimXRDConfig`.
    """

    model_type = "simxrd_former"

    widths: list[int] | tuple[int, ...] = (32, 64, 96)
    strides: list[int] | tuple[int, ...] = (4, 4, 2)
    depths: list[int] | tuple[int, ...] = (1, 1, 1)
    blocks: str = "depthwise"
    kernel: int = 7
    attention_layers: int = 2
    attention_heads: int = 4
    expansion: int = 2
    pooled_channels: int = 16
    hidden_size: int = 256
    head_layers: int = 0
    dropout: float = 0.0
    attention_dropout: float = 0.0
    rope_base: float = 1000.0
    rope_axis: str = "log_d"
    use_composition: bool = False
    composition_dropout: float = 0.5
    range_dropout: float = 0.0
    label_smoothing: float = 0.0
    level_weights: list[float] | tuple[float, ...] = (0.25, 0.25, 0.25)

    def validate_former_fields(self) -> None:
        """Check what types alone do not."""
        if not len(self.widths) == len(self.strides) == len(self.depths) > 0:
            raise ValueError(
                f"widths, strides and depths need one entry per stage, got {self.widths}, {self.strides}, {self.depths}"
            )
        if min(*self.widths, *self.strides, self.attention_heads, self.expansion, self.pooled_channels) < 1:
            raise ValueError("widths, strides, heads, expansion and pooled_channels must be at least 1")
        if self.widths[-1] % (2 * self.attention_heads):
            raise ValueError(f"the last width ({self.widths[-1]}) must be a multiple of twice {self.attention_heads}")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {self.kernel}")
        if self.rope_axis not in ("log_d", "index"):
            raise ValueError(f"rope_axis must be 'log_d' or 'index', got {self.rope_axis!r}")
        if self.blocks not in ("depthwise", "dense"):
            raise ValueError(f"blocks must be 'depthwise' or 'dense', got {self.blocks!r}")
        for name in ("dropout", "attention_dropout", "composition_dropout", "range_dropout", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        if len(self.level_weights) != 3:
            raise ValueError(f"level_weights needs three numbers, got {self.level_weights}")
