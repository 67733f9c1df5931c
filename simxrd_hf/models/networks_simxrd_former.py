"""The network of `simxrd_former` in plain torch: strided convolutions, rotary attention, position-aware pooling.

Nothing here needs transformers; `modeling_simxrd_former` adds attention backends and activation checkpointing, and
the command line builds these classes directly where start-up time counts.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .symmetry_simxrd import BRAVAIS_OF, CRYSTAL_SYSTEM_OF, EXTINCTION_OF, SPACE_GROUPS

N_ELEMENTS = 118
INPUT_CHANNELS = 4

# The tree crystal system → Bravais lattice → extinction symbol → space group, as parent indices per level. The lattice
# nodes are pairs (system, lattice), 15 of them, because hP belongs to the trigonal and to the hexagonal system.
_LATTICES = sorted(set(zip(CRYSTAL_SYSTEM_OF.tolist(), BRAVAIS_OF.tolist(), strict=True)))
_LATTICE_OF = [_LATTICES.index(pair) for pair in zip(CRYSTAL_SYSTEM_OF.tolist(), BRAVAIS_OF.tolist(), strict=True)]
_EXTINCTION_PARENT = dict(zip(EXTINCTION_OF.tolist(), _LATTICE_OF, strict=True))
PARENTS: tuple[tuple[int, ...], ...] = (
    tuple(system for system, _ in _LATTICES),
    tuple(_EXTINCTION_PARENT[index] for index in sorted(_EXTINCTION_PARENT)),
    tuple(EXTINCTION_OF.tolist()),
)
# Nodes per level: 7 systems, 15 lattices, 101 extinction symbols, 230 groups.
LEVEL_SIZES = (int(CRYSTAL_SYSTEM_OF.max()) + 1, *(len(parents) for parents in PARENTS))
# Node of every level that a space group lies in, by number - 1.
LEVELS_OF_GROUP = (
    tuple(CRYSTAL_SYSTEM_OF.tolist()),
    tuple(_LATTICE_OF),
    tuple(EXTINCTION_OF.tolist()),
    tuple(range(len(SPACE_GROUPS))),
)


class SymmetryTree(nn.Module):
    """Scores of all nodes → log-probabilities per level, each node's share taken from its parent.

    log p(child) = log p(parent) + score(child) − log Σ exp score(siblings), so the probabilities of the groups of a
    system sum to that of the system, and likewise for lattices and extinction symbols.
    """

    def __init__(self) -> None:
        super().__init__()
        for name, table in self.tables().items():
            self.register_buffer(name, table, persistent=False)

    @staticmethod
    def tables() -> dict[str, Tensor]:
        """Constant index tables: per level the parents, and every parent's children padded with one past the last."""
        tables = {}
        for level, parents in enumerate(PARENTS):
            families: list[list[int]] = [[] for _ in range(LEVEL_SIZES[level])]
            for child, parent in enumerate(parents):
                families[parent].append(child)
            longest = max(map(len, families))
            padded = [family + [len(parents)] * (longest - len(family)) for family in families]
            tables[f"parents_{level}"] = torch.tensor(parents)
            tables[f"children_{level}"] = torch.tensor(padded)
        return tables

    def forward(self, scores: Tensor) -> tuple[Tensor, ...]:
        """(batch, 353) → log-probabilities (batch, 7), (batch, 15), (batch, 101), (batch, 230), in float32."""
        system, *levels = scores.float().split(LEVEL_SIZES, dim=-1)
        log_p = [torch.log_softmax(system, dim=-1)]
        for index, score in enumerate(levels):
            parents, children = getattr(self, f"parents_{index}"), getattr(self, f"children_{index}")
            padded = functional.pad(score, (0, 1), value=-1e9)
            siblings = torch.logsumexp(padded[:, children], dim=-1)
            log_p.append((log_p[-1] - siblings)[:, parents] + score)
        return tuple(log_p)


def inverse_d_squared(grid: Mapping[str, float], n_points: int, like: Tensor) -> Tensor:
    """1/d² = 4 sin²θ / λ² in Å⁻² along the grid, shape (n_points,)."""
    index = torch.arange(n_points, device=like.device, dtype=torch.float32)
    theta = torch.deg2rad(grid["two_theta_min"] + grid["step"] * index) / 2
    return (2 * theta.sin() / grid["wavelength"]).square().to(like.dtype)


def rotary_tables(
    grid: Mapping[str, float], stride: int, tokens: int, width: int, base: float, axis: str, like: Tensor
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary position code (Su et al. 2021), each (tokens, width).

    Args:
        grid: The pattern grid.
        stride: Grid points per token.
        tokens: Number of tokens.
        width: Width of an attention head, even.
        base: Ratio of the slowest to the fastest rotation.
        axis: "log_d": positions along −ln d, where a change of the lattice parameter of a cubic crystal moves all
            reflections alike, so that attention sees ratios of d; "index": positions along 2θ. Both run from 0 to
            tokens − 1.
        like: Gives device and dtype.
    """
    index = torch.arange(tokens, device=like.device, dtype=torch.float32)
    if axis == "log_d":
        centre = grid["two_theta_min"] + grid["step"] * (stride * index + (stride - 1) / 2)
        position = torch.deg2rad(centre.clamp(max=179.0) / 2).sin().log()
        position = (position - position[0]) * ((tokens - 1) / (position[-1] - position[0]))
    else:
        position = index
    rate = base ** (-torch.arange(0, width, 2, device=like.device, dtype=torch.float32) / width)
    angle = (position[:, None] * rate).repeat(1, 2)
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply the rotary code to (batch, heads, tokens, width)."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


class PatternNorm(nn.Module):
    """Divides a pattern's features by their root mean square over all positions and channels, times a gain a channel.

    A norm of every position alone (layer norm) would lift the noise of empty stretches to the height of the peaks and
    lose how strong the peaks are.

    Args:
        width: Channels.
    """

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, width) → the same."""
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        scale = (exact.square().mean(dim=(1, 2), keepdim=True) + 1e-6).rsqrt()
        return x * (scale * self.weight).to(x.dtype)


class ConvBlock(nn.Module):
    """ConvNeXt block (Liu et al. 2022) in one dimension, channels last: depthwise convolution, then a small MLP."""

    def __init__(self, width: int, kernel: int, expansion: int):
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = PatternNorm(width)
        self.up = nn.Linear(width, expansion * width)
        self.down = nn.Linear(expansion * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, width) → the same."""
        # as an image of height 1: torch then keeps channels last, and on a CPU the gradient is up to 6 times as fast
        conv = self.depthwise
        image = x.transpose(1, 2).unsqueeze(2)
        padding = (0, conv.kernel_size[0] // 2)
        y = functional.conv2d(image, conv.weight.unsqueeze(2), conv.bias, padding=padding, groups=conv.groups)
        y = y.squeeze(2).transpose(1, 2)
        result: Tensor = x + self.down(functional.gelu(self.up(self.norm(y))))
        return result


class DenseBlock(nn.Module):
    """Residual block of a dense convolution over three positions and a linear map: nearly all of it matrix products.

    On CPUs, where depthwise convolutions and elementwise passes are bound by memory, it does more for the same time.
    """

    def __init__(self, width: int):
        super().__init__()
        self.norm = PatternNorm(width)
        self.mix = nn.Linear(3 * width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, width) → the same."""
        padded = functional.pad(self.norm(x), (0, 0, 1, 1))
        neighbours = torch.cat([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], dim=-1)
        result: Tensor = x + self.out(functional.gelu(self.mix(neighbours)))
        return result


class PatchStem(nn.Conv1d):
    """Convolution with a kernel of three strides and a padding of one, computed as one matrix product.

    The parameters are those of the convolution. Each token sees its own stretch of the pattern and both neighbours, so
    three shifted copies of the stretches side by side replace the sliding window, which CPUs are slow at.

    Args:
        channels: Input channels.
        width: Output channels.
        stride: Grid points per token.
    """

    def __init__(self, channels: int, width: int, stride: int):
        super().__init__(channels, width, 3 * stride, stride=stride, padding=stride)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, length), length a multiple of the stride → (batch, tokens, width)."""
        if torch.is_autocast_enabled(x.device.type):  # before the copies, not after them
            x = x.to(torch.get_autocast_dtype(x.device.type))
        batch, channels, length = x.shape
        stride = self.stride[0]
        own = x.reshape(batch, channels, length // stride, stride).transpose(1, 2).flatten(2)
        padded = functional.pad(own, (0, 0, 1, 1))
        seen = torch.cat([padded[:, :-2], own, padded[:, 2:]], dim=-1)
        weight = self.weight.view(-1, channels, 3, stride).transpose(1, 2).flatten(1)
        return functional.linear(seen, weight, self.bias)


class Downsample(nn.Module):
    """Joins `stride` neighbouring positions into one by a linear map, so no position is lost.

    Args:
        width: Channels before.
        out: Channels after.
        stride: Positions joined.
        activate: Apply GELU instead of the norm: for stages without blocks, which would else be linear.
    """

    def __init__(self, width: int, out: int, stride: int, activate: bool = False):
        super().__init__()
        self.stride = stride
        self.norm = None if activate else PatternNorm(width)
        self.join = nn.Linear(stride * width, out)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, width) → (batch, length / stride, out)."""
        y = functional.gelu(x) if self.norm is None else self.norm(x)
        result: Tensor = self.join(y.reshape(x.shape[0], -1, self.stride * x.shape[2]))
        return result


class HeadBlock(nn.Module):
    """Residual MLP on the embedding."""

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.down = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width) → the same."""
        result: Tensor = x + self.down(self.dropout(functional.gelu(self.up(self.norm(x)))))
        return result


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.scaling = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """(batch, heads, tokens, width) each → (batch, tokens, heads, width)."""
        dropout = self.dropout if self.training else 0.0
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout).transpose(1, 2)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        """(batch, tokens, width) → the same; `mask` (batch, 1, 1, tokens) is added to the attention scores."""
        batch, tokens, width = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        y = self.attend(rotate(q, cos, sin), rotate(k, cos, sin), v, mask)
        result: Tensor = self.out(y.reshape(batch, tokens, width))
        return result


class AttentionBlock(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, attention: Attention, width: int, expansion: int):
        super().__init__()
        self.norm_attention = PatternNorm(width)
        self.attention = attention
        self.norm_mlp = PatternNorm(width)
        self.up = nn.Linear(width, expansion * width)
        self.down = nn.Linear(expansion * width, width)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        """(batch, tokens, width) → the same."""
        x = x + self.attention(self.norm_attention(x), cos, sin, mask)
        result: Tensor = x + self.down(functional.gelu(self.up(self.norm_mlp(x))))
        return result


class FormerBody(nn.Module):
    """Pattern → embedding.

    Input channels: intensity, its square root, 1/d² of the point, and whether it is missing. Convolution stages
    shorten the pattern to tokens; attention relates them; a narrow projection of every token is flattened, so that
    the place of each feature is kept to the end.

    Args:
        widths: Channels of the convolution stages.
        strides: Shortening before each stage; their product is the number of grid points per token.
        depths: Convolution blocks per stage.
        blocks: "depthwise" (ConvNeXt) or "dense" convolution blocks.
        kernel: Depthwise kernel, odd.
        attention_layers: Attention blocks.
        attention_heads: Heads; the last width must be a multiple of twice their number.
        expansion: Hidden width of the MLPs over their width.
        pooled_channels: Channels kept per token when flattening.
        hidden_size: Width of the embedding.
        head_layers: Residual MLPs on the embedding.
        dropout: Of the embedding and inside its MLPs.
        attention_dropout: Of attention weights.
        rope_base: See `rotary_tables`.
        rope_axis: See `rotary_tables`.
        use_composition: Take element fractions as a further input.
        grid: Pattern grid.
        n_points: Points of a pattern.
        conv_block: Class of the depthwise convolution blocks.
        dense_block: Class of the dense ones.
        head_block: Class of the residual MLPs on the embedding.
        attention_block: Makes an attention block.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int],
        strides: Sequence[int],
        depths: Sequence[int],
        kernel: int,
        attention_layers: int,
        attention_heads: int,
        expansion: int,
        pooled_channels: int,
        hidden_size: int,
        dropout: float,
        rope_base: float,
        rope_axis: str,
        use_composition: bool,
        grid: Mapping[str, float],
        n_points: int,
        blocks: str = "depthwise",
        head_layers: int = 0,
        attention_dropout: float = 0.0,
        conv_block: Callable[[int, int, int], nn.Module] = ConvBlock,
        dense_block: Callable[[int], nn.Module] = DenseBlock,
        head_block: Callable[[int, float], nn.Module] = HeadBlock,
        attention_block: Callable[[int, int, int, float], nn.Module] | None = None,
    ):
        super().__init__()
        self.grid = dict(grid)
        self.n_points = n_points
        self.stride = math.prod(strides)
        self.tokens = -(-n_points // self.stride)
        self.head_width = widths[-1] // attention_heads
        self.rope_base = rope_base
        self.rope_axis = rope_axis
        self.stem = PatchStem(INPUT_CHANNELS, widths[0], strides[0])
        stages: list[nn.Module] = []
        for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            if index:
                stages.append(Downsample(widths[index - 1], width, strides[index], activate=depths[index - 1] == 0))
            for _ in range(depth):
                stages.append(dense_block(width) if blocks == "dense" else conv_block(width, kernel, expansion))
        self.stages = nn.ModuleList(stages)
        make = attention_block or _plain_block
        self.layers = nn.ModuleList(
            [make(widths[-1], attention_heads, expansion, attention_dropout) for _ in range(attention_layers)]
        )
        self.compress = nn.Linear(widths[-1], pooled_channels)
        self.embed = nn.Linear(self.tokens * pooled_channels, hidden_size)
        self.composition = nn.Linear(N_ELEMENTS, hidden_size) if use_composition else None
        self.no_composition = nn.Parameter(torch.zeros(hidden_size)) if use_composition else None
        self.dropout = nn.Dropout(dropout)
        self.head = nn.ModuleList([head_block(hidden_size, dropout) for _ in range(head_layers)])

    def prepare(self, intensity: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Input channels (batch, 4, padded length) and the attention mask (batch, 1, 1, tokens) or None.

        A channel that is the same in all patterns drowns what tells them apart, and training then lingers on a
        plateau: hence 1/d² centred on 0 and small, "missing" (0 as a rule) instead of "measured" (1 as a rule), and
        intensities scaled so that a typical pattern has a variance near one.
        """
        measured = torch.ones_like(intensity) if mask is None else mask.to(intensity.dtype)
        scaled = (intensity / 100.0).clamp(min=0) * measured
        coordinate = inverse_d_squared(self.grid, self.n_points, intensity)
        coordinate = (0.1 * coordinate / coordinate[-1] - 0.05).expand_as(scaled)
        # The gradient of the square root is infinite at 0; the offset bounds it and shifts values by at most 1e-3.
        root = (scaled + 1e-6).sqrt() - 1e-3
        padding = (0, self.tokens * self.stride - self.n_points)
        channels = functional.pad(torch.stack([30.0 * scaled, 10.0 * root, coordinate], dim=1), padding)
        missing = functional.pad(1.0 - measured, padding, value=1.0)
        channels = torch.cat([channels, missing[:, None]], dim=1)
        if mask is None:
            return channels, None
        unseen = missing.reshape(-1, self.tokens, self.stride).amin(dim=-1)
        return channels, (unseen * -1e4)[:, None, None, :]

    def rotary(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Position code of the tokens."""
        return rotary_tables(self.grid, self.stride, self.tokens, self.head_width, self.rope_base, self.rope_axis, like)

    def pool(self, x: Tensor, composition: Tensor | None) -> Tensor:
        """Tokens (batch, tokens, width) → embedding (batch, hidden_size).

        A composition row that is all zero, or no composition at all, counts as unknown.
        """
        embedding: Tensor = self.embed(functional.gelu(self.compress(x)).flatten(1))
        if self.composition is not None and self.no_composition is not None:
            if composition is None:
                embedding = embedding + self.no_composition
            else:
                known = (composition.sum(dim=-1, keepdim=True) > 0).to(embedding.dtype)
                given = self.composition(composition.to(embedding.dtype))
                embedding = embedding + known * given + (1 - known) * self.no_composition
        embedding = self.dropout(functional.gelu(embedding))
        for block in self.head:
            embedding = block(embedding)
        return embedding

    def forward(
        self,
        intensity: Tensor,
        mask: Tensor | None = None,
        composition: Tensor | None = None,
        hidden: list[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Embed patterns.

        Args:
            intensity: (batch, n_points), maximum 100.
            mask: (batch, n_points) bool, True where measured.
            composition: (batch, 118) element fractions, atomic number 1 first.
            hidden: Filled with the output of the stem and of every block.

        Returns:
            Tokens (batch, tokens, width) and embedding (batch, hidden_size).
        """
        channels, attention_mask = self.prepare(intensity, mask)
        x = self.stem(channels)
        record = [] if hidden is None else hidden
        record.append(x)
        for stage in self.stages:
            x = stage(x)
            record.append(x)
        cos, sin = self.rotary(x)
        for layer in self.layers:
            x = layer(x, cos, sin, attention_mask)
            record.append(x)
        return x, self.pool(x, composition)


def _plain_block(width: int, heads: int, expansion: int, dropout: float) -> AttentionBlock:
    return AttentionBlock(Attention(width, heads, dropout), width, expansion)


BODY_FIELDS = (
    "widths",
    "strides",
    "depths",
    "blocks",
    "kernel",
    "attention_layers",
    "attention_heads",
    "expansion",
    "pooled_channels",
    "hidden_size",
    "head_layers",
    "dropout",
    "attention_dropout",
    "rope_base",
    "rope_axis",
    "use_composition",
)


def has_one_class(num_labels: int, problem_type: str | None = None) -> bool:
    """Whether one of the labels is true, rather than several at once or none of them (a regression)."""
    return num_labels > 1 and problem_type in (None, "single_label_classification")


def is_hierarchical(task: str, num_labels: int, problem_type: str | None = None) -> bool:
    """Whether the classifier scores the whole symmetry tree: for one of the 230 space groups, and only for that."""
    return task == "space_group" and num_labels == len(SPACE_GROUPS) and has_one_class(num_labels, problem_type)


def classifier_width(task: str, num_labels: int, problem_type: str | None = None) -> int:
    """Outputs of the classifier's linear layer: all nodes of the tree, or one per label."""
    return sum(LEVEL_SIZES) if is_hierarchical(task, num_labels, problem_type) else num_labels


def body_from_config(config: Mapping[str, Any], n_points: int) -> FormerBody:
    """The plain body for the fields of a `config.json`; fields that came later than the file keep their defaults."""
    later = {"blocks", "head_layers", "attention_dropout"} - set(config)
    fields = {name: config[name] for name in BODY_FIELDS if name not in later}
    return FormerBody(**fields, grid=config["grid"], n_points=n_points)
