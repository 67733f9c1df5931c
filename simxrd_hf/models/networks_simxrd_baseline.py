"""The 21 networks of the SimXRD benchmark, and one beside them, in plain torch, up to their classifiers."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

ARCHITECTURES = (
    *(f"cnn{number}" for number in range(1, 12)),
    "mlp",
    "rnn",
    "lstm",
    "gru",
    "birnn",
    "bilstm",
    "bigru",
    "transformer",
    "itransformer",
    "patchtst",
)
FURTHER = ("cpicann",)
"""Networks of others that the benchmark's paper does not have."""
VARIANTS = ("corrected", "as_published")

# How often the published forward applied a softmax before a cross-entropy loss that applies its own.
PUBLISHED_SOFTMAXES = dict.fromkeys(("cnn1", "cnn2", "cnn3", "cnn5", "cnn6", "cnn7", "cnn8"), 1) | {"cnn4": 2, "mlp": 2}


class Resample(nn.Module):
    """Linear interpolation of (batch, 1, n) to (batch, 1, length); corners are not aligned."""

    def __init__(self, length: int):
        super().__init__()
        self.length = length

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, n) → (batch, 1, length)."""
        return functional.interpolate(x, size=self.length, mode="linear", align_corners=False)


class Recurrent(nn.Module):
    """A recurrent net that reads one point per step.

    Published bidirectional nets take the last step, where the backward half of the top layer has seen the last point
    only. Corrected ones take the state each direction ends in: forward at the last step, backward at the first.
    """

    def __init__(self, kind: type[nn.RNN] | type[nn.LSTM] | type[nn.GRU], bidirectional: bool, both_ends: bool):
        super().__init__()
        self.hidden = 64
        self.both_ends = bidirectional and both_ends
        self.layers = kind(1, self.hidden, num_layers=4, batch_first=True, bidirectional=bidirectional)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, n) → (batch, 64 or 128)."""
        steps = self.layers(x.transpose(1, 2))[0]
        if self.both_ends:
            return torch.cat([steps[:, -1, : self.hidden], steps[:, 0, self.hidden :]], dim=-1)
        result: Tensor = steps[:, -1]
        return result


def position_code(length: int, width: int, like: Tensor) -> Tensor:
    """Sinusoidal position code of Vaswani et al. 2017, shape (length, width); `width` must be even."""
    position = torch.arange(length, device=like.device, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, device=like.device, dtype=torch.float32) * (-math.log(10000.0) / width))
    angle = position * rate
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1).to(like.dtype)


class PointTransformer(nn.Module):
    """Transformer encoder with one point per token.

    As published it lacks `batch_first`, so it attends over the patterns of the batch, has no position code, and
    reads the last point. Corrected: attention over the points, a sinusoidal position code, the mean over points.
    """

    def __init__(self, corrected: bool):
        super().__init__()
        self.corrected = corrected
        self.embed = nn.Linear(1, 32)
        layer = nn.TransformerEncoderLayer(32, nhead=1, dim_feedforward=2048, batch_first=corrected)
        self.encoder = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, n) → (batch, 32)."""
        tokens = self.embed(x.transpose(1, 2))
        if not self.corrected:
            last: Tensor = self.encoder(tokens)[:, -1]
            return last
        mean: Tensor = self.encoder(tokens + position_code(tokens.shape[1], tokens.shape[2], tokens)).mean(dim=1)
        return mean


def _small_encoder() -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(128, nhead=2, dim_feedforward=64, activation="gelu", batch_first=True)
    return nn.TransformerEncoder(layer, num_layers=2, norm=nn.LayerNorm(128), enable_nested_tensor=False)


class InvertedTransformer(nn.Module):
    """iTransformer (Liu et al. 2024) on one series: its single token makes the attention an identity mixing."""

    def __init__(self, length: int):
        super().__init__()
        self.embed = nn.Linear(length, 128)
        self.dropout = nn.Dropout(0.1)
        self.encoder = _small_encoder()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, length) → (batch, 128)."""
        result: Tensor = self.dropout(functional.gelu(self.encoder(self.dropout(self.embed(x))))).flatten(1)
        return result


class PatchTransformer(nn.Module):
    """PatchTST (Nie et al. 2023): standardised series, patches of 64 with stride 64, one of them padding."""

    def __init__(self, length: int):
        super().__init__()
        self.n_patches = length // 64 + 1
        self.embed = nn.Linear(64, 128, bias=False)
        self.dropout = nn.Dropout(0.1)
        self.encoder = _small_encoder()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, length) → (batch, 128 · patches)."""
        x = x - x.mean(dim=-1, keepdim=True)
        x = x / torch.sqrt(x.square().mean(dim=-1, keepdim=True) + 1e-5)
        x = torch.cat([x, x[..., -1:].expand(-1, -1, 64)], dim=-1)
        tokens = self.embed(x.reshape(x.shape[0], self.n_patches, 64))
        tokens = self.encoder(self.dropout(tokens + position_code(self.n_patches, 128, tokens)))
        result: Tensor = self.dropout(tokens.flatten(1))
        return result


class ResidualBlock(nn.Module):
    """Two convolutions over three points and a shortcut (He et al. 2016), in one dimension.

    CPICANN's code makes an activation between the two and does not apply it; corrected, it does.
    """

    def __init__(self, channels: int, out: int, stride: int, corrected: bool):
        super().__init__()
        self.between = nn.ReLU() if corrected else nn.Identity()
        self.conv1, self.norm1 = nn.Conv1d(channels, out, 3, stride, 1), nn.BatchNorm1d(out)
        self.conv2, self.norm2 = nn.Conv1d(out, out, 3, 1, 1), nn.BatchNorm1d(out)
        shorter = nn.Sequential(nn.Conv1d(channels, out, 1, stride), nn.BatchNorm1d(out))
        self.shortcut = shorter if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, n) → (batch, out, n / stride)."""
        y = self.norm2(self.conv2(self.between(self.norm1(self.conv1(x)))))
        return functional.relu(y + self.shortcut(x))


class QueryKeyPositionLayer(nn.Module):
    """Transformer layer, norms after, whose position code goes to queries and keys but not to values."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        """(batch, tokens, width), (tokens, width) → (batch, tokens, width)."""
        placed = x + position
        x = self.norm1(x + self.dropout(self.attention(placed, placed, x, need_weights=False)[0]))
        result: Tensor = self.norm2(x + self.dropout(self.down(self.dropout(functional.relu(self.up(x))))))
        return result


class ConvSelfAttention(nn.Module):
    """CPICANN (Zhang et al. 2024, IUCrJ 11, 634): a convolutional stem, six layers of self-attention, a class token."""

    WIDTH = 128

    def __init__(self, corrected: bool):
        super().__init__()
        width = self.WIDTH
        self.stem = nn.Sequential(
            nn.Conv1d(1, 64, 35, 2, 17),
            nn.BatchNorm1d(64),
            nn.ReLU(),
            nn.MaxPool1d(3, 2, 1),
            ResidualBlock(64, 64, 2, corrected),
            ResidualBlock(64, 64, 1, corrected),
            ResidualBlock(64, width, 2, corrected),
            ResidualBlock(width, width, 1, corrected),
            nn.MaxPool1d(3, 2, 1),
        )
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.layers = nn.ModuleList([QueryKeyPositionLayer(width, 8, 1024, 0.1) for _ in range(6)])
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, n), maximum 100 → (batch, 128)."""
        tokens = self.stem(x / 100).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(tokens), -1, -1).to(tokens.dtype), tokens], dim=1)
        code = position_code(tokens.shape[1], self.WIDTH, tokens)
        position = torch.cat([code[:, ::2], code[:, 1::2]], dim=1)  # all sines, then all cosines
        for layer in self.layers:
            tokens = layer(tokens, position)
        result: Tensor = self.norm(tokens[:, 0])
        return result


class _Stack:
    """Collects the stages of one network and keeps count of channels and length."""

    def __init__(self, n_points: int):
        self.stages: list[nn.Module] = []
        self.channels = 1
        self.length = n_points

    def resample(self, length: int) -> "_Stack":
        self.stages.append(Resample(length))
        self.length = length
        return self

    def conv(
        self,
        channels: int,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        *,
        act: Callable[[], nn.Module] | None = nn.ReLU,
        pool: type[nn.Module] | None = None,
        window: tuple[int, int, int] = (2, 2, 0),
        dropout: float = 0.0,
    ) -> "_Stack":
        """One stage: convolution, activation, pooling with (kernel, stride, padding), dropout."""
        layers: list[nn.Module] = [nn.Conv1d(self.channels, channels, kernel, stride, padding)]
        self.channels = channels
        self.length = (self.length + 2 * padding - kernel) // stride + 1
        if act is not None:
            layers.append(act())
        if pool is not None:
            size, step, pad = window
            layers.append(pool(size, step, pad))
            self.length = (self.length + 2 * pad - size) // step + 1
        if dropout:
            layers.append(nn.Dropout(dropout))
        if self.length < 1:
            raise ValueError("the grid has too few points for this network: its layers leave none")
        self.stages.append(nn.Sequential(*layers))
        return self

    def flatten(self) -> "_Stack":
        self.stages.append(nn.Flatten())
        self.channels, self.length = self.channels * self.length, 1
        return self

    def linear(self, width: int, *after: nn.Module, before: nn.Module | None = None) -> "_Stack":
        first = [] if before is None else [before]
        self.stages.append(nn.Sequential(*first, nn.Linear(self.channels, width), *after))
        self.channels = width
        return self

    def add(self, stage: nn.Module, width: int) -> "_Stack":
        self.stages.append(stage)
        self.channels, self.length = width, 1
        return self


def _stack(architecture: str, n_points: int, seven_way: bool, corrected: bool) -> _Stack:
    net = _Stack(n_points)
    relu, leaky = nn.ReLU, nn.LeakyReLU
    if architecture == "cnn1":  # Park et al. 2017, IUCrJ 4, 486
        net.resample(10001)
        net.conv(80, 100, 5, 48, pool=nn.AvgPool1d, window=(3, 2, 0), dropout=0.3)
        net.conv(80, 50, 5, 24, pool=nn.AvgPool1d, window=(3, 1, 0), dropout=0.3)
        net.conv(80, 25, 2, 11, pool=nn.AvgPool1d, window=(3, 1, 0), dropout=0.3)
        first, second = (700, 70) if seven_way else (2300, 1150)
        net.flatten().linear(first, relu(), nn.Dropout(0.5)).linear(second, relu(), nn.Dropout(0.5))
    elif architecture == "cnn2":  # Lee et al. 2020, Nat. Commun. 11, 86
        net.resample(4501)
        net.conv(64, 50, 2, 25, act=leaky, pool=nn.MaxPool1d, window=(3, 2, 1))
        net.conv(64, 25, 3, 12, act=leaky, pool=nn.MaxPool1d, window=(2, 3, 1))
        net.flatten().linear(2000, before=leaky()).linear(500, leaky(), before=leaky())
    elif architecture == "cnn3":  # Lee et al. 2020
        net.resample(4501)
        net.conv(64, 20, 1, 9, act=leaky, pool=nn.MaxPool1d, window=(3, 3, 1))
        net.conv(64, 15, 1, 7, act=leaky, pool=nn.MaxPool1d, window=(2, 3, 1))
        net.conv(64, 10, 2, 5, act=leaky, pool=nn.MaxPool1d, window=(2, 2, 1))
        net.flatten().linear(2500, before=leaky()).linear(1000, leaky(), before=leaky())
    elif architecture == "cnn4":  # Wang et al. 2020, J. Chem. Inf. Model. 60, 2004
        net.resample(2251)
        net.conv(6, 5, pool=nn.MaxPool1d, dropout=0.2)
        for channels in (16, 32, 64):
            net.conv(channels, 5).conv(channels, 5, pool=nn.MaxPool1d, dropout=0.2)
        net.flatten().linear(120, relu()).linear(84, relu())
    elif architecture == "cnn5":  # Maffettone et al. 2021, Nat. Comput. Sci. 1, 290; its pooling window is one point
        for channels in (8, 8, 4):
            net.conv(channels, 5, 2, act=lambda: leaky(0.2))
        net.flatten().add(nn.Dropout(0.4), net.channels)
    elif architecture == "cnn6":  # Dong et al. 2021, npj Comput. Mater. 7, 74
        net.conv(128, 35, 1, 17, act=leaky).conv(128, 35, 1, 17, act=leaky)
        net.conv(128, 35, 1, 17, act=leaky, pool=nn.MaxPool1d).conv(64, 30, act=leaky, pool=nn.MaxPool1d)
        for _ in range(3):
            net.conv(64, 25, act=leaky, pool=nn.MaxPool1d)
        net.flatten().linear(500, nn.Dropout(0.1), before=leaky()).linear(250, nn.Dropout(0.1), leaky(), before=leaky())
    elif architecture == "cnn7":  # Szymanski et al. 2021, Chem. Mater. 33, 4204
        net.resample(4501)
        shapes = ((35, 17, (3, 2, 1)), (30, 15, (3, 2, 1)), (25, 12, (2, 2, 0)))
        for kernel, padding, window in (*shapes, *((k, k // 2, (1, 2, 0)) for k in (20, 15, 10))):
            net.conv(64, kernel, 1, padding, pool=nn.MaxPool1d, window=window)
        net.flatten().linear(1200, relu(), nn.BatchNorm1d(1200), nn.Dropout(0.7))
    elif architecture == "cnn8":  # Lee et al. 2022, fully convolutional
        net.resample(8192)
        inner, outer = (0.2, 0.4) if seven_way else (0.05, 0.05)
        widths = [16, 16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 512]
        for index, channels in enumerate(widths):
            dropout = outer if index == len(widths) - 1 else inner
            net.conv(channels, 3, 1, 1, act=leaky, pool=nn.MaxPool1d, dropout=dropout)
        net.conv(64 if seven_way else 256, 3, 1, 1, act=None, pool=nn.MaxPool1d, dropout=outer).flatten()
    elif architecture in {"cnn9", "cnn10"}:  # common-phase nets of three and four layers
        channels, kernel, dropout, depth = (27, 11, 0.21, 3) if architecture == "cnn9" else (24, 12, 0.33, 4)
        for _ in range(depth):
            net.conv(channels, kernel, pool=nn.MaxPool1d, dropout=dropout)
        net.flatten().linear(2000, relu(), nn.Dropout(dropout))
    elif architecture == "cnn11":  # Salgado et al. 2023, npj Comput. Mater. 9, 214
        net.resample(8500)
        net.conv(80, 100, 5, dropout=0.3).conv(80, 50, 5, dropout=0.3).conv(80, 25, 2, dropout=0.3)
        net.flatten().linear(2300, relu(), nn.Dropout(0.5)).linear(1150, relu(), nn.Dropout(0.5))
    elif architecture == "mlp":
        net.flatten().linear(7000, relu()).linear(7000, relu()).linear(3500, relu())
    elif architecture.endswith(("rnn", "lstm", "gru")):
        kind = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[architecture.removeprefix("bi")]
        bidirectional = architecture.startswith("bi")
        net.add(Recurrent(kind, bidirectional, both_ends=corrected), 128 if bidirectional else 64)
    elif architecture == "transformer":
        net.add(PointTransformer(corrected), 32)
    elif architecture == "itransformer":
        net.resample(8192).add(InvertedTransformer(8192), 128)
    elif architecture == "patchtst":
        net.resample(8192).add(PatchTransformer(8192), 128 * (8192 // 64 + 1))
    elif architecture == "cpicann":
        net.add(ConvSelfAttention(corrected), ConvSelfAttention.WIDTH)
        for _ in range(2):
            net.linear(512, nn.BatchNorm1d(512), relu(), nn.Dropout(0.5))
    else:
        raise ValueError(f"no architecture {architecture!r}; known are {', '.join(ARCHITECTURES + FURTHER)}")
    return net


class BaselineBody(nn.Module):
    """One benchmark network without its classifier.

    Args:
        architecture: One of `ARCHITECTURES` or `FURTHER`.
        n_points: Points of a pattern.
        seven_way: Use the layout published for crystal systems where it differs (`cnn1`, `cnn8`).
        corrected: False rebuilds the published wiring faults of `transformer` and the bidirectional nets.
    """

    def __init__(self, architecture: str, n_points: int, *, seven_way: bool = False, corrected: bool = True):
        super().__init__()
        stack = _stack(architecture, n_points, seven_way, corrected)
        self.stages = nn.ModuleList(stack.stages)
        self.width = stack.channels

    def forward(self, intensity: Tensor) -> Tensor:
        """(batch, n_points) → (batch, width)."""
        x = intensity[:, None]
        for stage in self.stages:
            x = stage(x)
        return x


def scale_intensity(intensity: Tensor, mask: Tensor | None, scaling: str) -> Tensor:
    """Put patterns with maximum 100 on the scale a network was trained on.

    Args:
        intensity: (batch, n).
        mask: (batch, n), True where measured; other points become 0.
        scaling: "none" (as published), "unit" (maximum 1) or "sqrt" (square root, maximum 1).
    """
    if mask is not None:
        intensity = intensity * mask.to(intensity.dtype)
    if scaling == "none":
        return intensity
    intensity = intensity / 100.0
    return intensity.clamp(min=0).sqrt() if scaling == "sqrt" else intensity


def published_probabilities(logits: Tensor, architecture: str) -> Tensor:
    """What the published forward returned: softmax applied once or twice where it was, else the logits."""
    for _ in range(PUBLISHED_SOFTMAXES.get(architecture, 0)):
        logits = torch.softmax(logits, dim=-1)
    return logits
