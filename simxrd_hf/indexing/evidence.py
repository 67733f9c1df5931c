"""Corrects the answers of a network by what cells say about the lines of a pattern.

A network reads the whole pattern but not exact ratios of spacings; a cell search reads nothing else. Both are combined
by a small network fitted on simulated patterns that neither was fitted on. The numbers lie beside a checkpoint as
`lattice_evidence.json`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simxrd_hf.errors import BadInput
from simxrd_hf.indexing.lines import find_lines
from simxrd_hf.symmetry import CRYSTAL_SYSTEM_OF, CRYSTAL_SYSTEMS, EXTINCTION_OF, EXTINCTION_SYMBOLS

FloatArray = NDArray[np.float64]

FILE = "lattice_evidence.json"
_VERSION = 1
_SYSTEMS = len(CRYSTAL_SYSTEMS)
_SYSTEM = CRYSTAL_SYSTEM_OF.astype(np.int64)
_SYMBOL = EXTINCTION_OF.astype(np.int64)
_SYSTEM_OF_SYMBOL = np.zeros(len(EXTINCTION_SYMBOLS), dtype=np.int64)
_SYSTEM_OF_SYMBOL[_SYMBOL] = _SYSTEM
_ARRAYS = ("hidden_weight", "hidden_bias", "system_weight", "system_bias", "symbol_weight")
N_FEATURES = 2 * _SYSTEMS


def pattern_evidence(intensity: ArrayLike, mask: ArrayLike | None, grid: Mapping[str, float]) -> FloatArray:
    """What the lines of a pattern say: (102,) weight of every extinction symbol, and the number of lines used.

    Args:
        intensity: (n_points,) on the grid.
        mask: (n_points,) True where measured, or None.
        grid: The grid, see `find_lines`.
    """
    # compiled code, half a second to load: only checkpoints that use it pay
    from simxrd_hf.indexing.cells import MAX_LINES, weigh_symbols

    lines = find_lines(intensity, grid, mask)
    weights = weigh_symbols(lines.two_theta, lines.significance, wavelength=grid["wavelength"])
    return np.append(weights, min(len(lines.two_theta), MAX_LINES))


def log_softmax(logits: ArrayLike) -> FloatArray:
    """Logarithm of the softmax over the last axis."""
    values = np.asarray(logits, dtype=np.float64)
    values = values - values.max(axis=-1, keepdims=True)
    return values - np.log(np.exp(values).sum(axis=-1, keepdims=True))


def features(log_p: FloatArray, evidence: FloatArray) -> tuple[FloatArray, FloatArray]:
    """What the combination reads.

    Args:
        log_p: (n, 230) log-probabilities of the network.
        evidence: (n, 102) of `pattern_evidence`.

    Returns:
        (n, 14): best weight of each crystal system but the triclinic one, number of lines, log-probability of each
        system, all scaled to about one; and (n, 230): how far the weight of a group's extinction symbol lies below the
        best of its system, at most 30, 0 for triclinic groups.
    """
    weights = evidence[:, :-1]
    best = np.stack([weights[:, k == _SYSTEM_OF_SYMBOL].max(axis=1) for k in range(1, _SYSTEMS)], axis=1)
    p = np.exp(log_p)
    systems = np.stack([p[:, k == _SYSTEM].sum(axis=1) for k in range(_SYSTEMS)], axis=1)
    read = np.concatenate(
        [
            np.clip(best, -10, 80) / 10,
            evidence[:, -1:] / 10,
            np.maximum(np.log(np.maximum(systems, 1e-30)), -10) / 3,
        ],
        axis=1,
    )
    below = np.clip(weights[:, _SYMBOL] - np.pad(best, ((0, 0), (1, 0)))[:, _SYSTEM], -30, 0)
    below[:, _SYSTEM == 0] = 0.0
    return read, below


@dataclass(frozen=True, eq=False)
class LatticeEvidence:
    """The combination of a network's answer with the cells found.

    log p′(group) = scale · log p(group) + u(system) + v(system) · below(symbol) + constant, where u comes from one
    hidden layer of tanh units over `features`.

    Attributes:
        scale: Factor of the network's log-probabilities.
        hidden_weight: (h, 14).
        hidden_bias: (h,).
        system_weight: (7, h).
        system_bias: (7,).
        symbol_weight: (7,) v.
        conformal: Threshold of prediction sets for the combined answers, as in a model's config; or None.
        about: How it was fitted.
    """

    scale: float
    hidden_weight: FloatArray
    hidden_bias: FloatArray
    system_weight: FloatArray
    system_bias: FloatArray
    symbol_weight: FloatArray
    conformal: dict[str, Any] | None = None
    about: Mapping[str, Any] | None = None

    def combine(self, log_p: FloatArray, evidence: FloatArray) -> FloatArray:
        """(n, 230) log-probabilities of the network and (n, 102) evidence → (n, 230) combined log-probabilities."""
        read, below = features(log_p, evidence)
        hidden = np.tanh(read @ self.hidden_weight.T + self.hidden_bias)
        systems = hidden @ self.system_weight.T + self.system_bias
        return log_softmax(self.scale * log_p + systems[:, _SYSTEM] + self.symbol_weight[_SYSTEM] * below)

    def adjust(
        self, logits: ArrayLike, prepared: Mapping[str, Any], grid: Mapping[str, float], temperature: float
    ) -> FloatArray:
        """Logits of the network → logits of the combined answer, to be divided by the same temperature.

        Args:
            logits: (patterns, 230).
            prepared: "intensity" and "mask", (patterns, n_points) each, as the network read them.
            grid: The grid they lie on.
            temperature: Of the model.
        """
        masks = prepared.get("mask", [None] * len(prepared["intensity"]))
        found = np.stack(
            [pattern_evidence(y, mask, grid) for y, mask in zip(prepared["intensity"], masks, strict=True)]
        )
        return temperature * self.combine(log_softmax(np.asarray(logits) / temperature), found)

    def save(self, folder: str | Path) -> Path:
        """Write `lattice_evidence.json` into a checkpoint folder, whole or not at all."""
        path = Path(folder) / FILE
        content = {"version": _VERSION, "scale": self.scale, "conformal": self.conformal, "about": self.about}
        content |= {name: np.round(getattr(self, name), 6).tolist() for name in _ARRAYS}
        temporary = path.with_name(path.name + ".part")
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")
        temporary.replace(path)
        return path

    @classmethod
    def load(cls, folder: str | Path) -> "LatticeEvidence | None":
        """The combination that lies beside a checkpoint, or None where there is none.

        Raises:
            BadInput: The file is damaged or of another version.
        """
        path = Path(folder) / FILE
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["version"] != _VERSION:
                raise BadInput(f"{path}: version {content['version']}, this code reads {_VERSION}: update simxrd_hf")
            arrays = {name: np.asarray(content[name], dtype=np.float64) for name in _ARRAYS}
            made = cls(float(content["scale"]), **arrays, conformal=content["conformal"], about=content["about"])
            width = len(made.hidden_bias)
            shapes = {
                "hidden_weight": (width, N_FEATURES),
                "hidden_bias": (width,),
                "system_weight": (_SYSTEMS, width),
                "system_bias": (_SYSTEMS,),
                "symbol_weight": (_SYSTEMS,),
            }
            for name, shape in shapes.items():
                if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
                    raise ValueError(f"{name} is not {shape} finite numbers")
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, BadInput):
                raise
            raise BadInput(f"{path}: damaged ({error}); copy or download it again, or delete it") from error
        return made


def fit_evidence(
    log_p: FloatArray,
    evidence: FloatArray,
    labels: NDArray[np.int64],
    *,
    hidden: int = 12,
    decay: float = 1.0,
    steps: int = 600,
    seed: int = 0,
    about: Mapping[str, Any] | None = None,
) -> LatticeEvidence:
    """Fit the combination by maximum likelihood of the space groups.

    Args:
        log_p: (n, 230) of patterns the network was not trained on.
        evidence: (n, 102).
        labels: (n,) space-group numbers − 1.
        hidden: Units of the hidden layer.
        decay: Weight decay of AdamW.
        steps: Full-batch steps, the rate of 0.01 going down along a cosine.
        seed: Of the first weights.
        about: Kept with the result.
    """
    import torch

    read, below = (torch.from_numpy(array) for array in features(log_p, evidence))
    known, target, system = torch.from_numpy(log_p), torch.from_numpy(labels), torch.from_numpy(_SYSTEM)
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(hidden, N_FEATURES, generator=generator, dtype=torch.float64) / N_FEATURES**0.5
    start = [torch.ones(()), first, torch.zeros(hidden), torch.zeros(_SYSTEMS, hidden), torch.zeros(_SYSTEMS)]
    start.append(torch.full((_SYSTEMS,), 0.1))
    parameters = [value.double().requires_grad_() for value in start]
    scale, weight, bias, out_weight, out_bias, symbol = parameters
    optimizer = torch.optim.AdamW(parameters, lr=0.01, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        systems = torch.tanh(read @ weight.T + bias) @ out_weight.T + out_bias
        logits = scale * known + systems[:, system] + symbol[system] * below
        loss = torch.nn.functional.cross_entropy(logits, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    values = [value.detach().numpy() for value in parameters]
    return LatticeEvidence(float(values[0]), **dict(zip(_ARRAYS, values[1:], strict=True)), about=dict(about or {}))
