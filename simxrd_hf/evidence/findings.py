"""What is found out about a pattern beside the network, and the numbers by group that are made of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simxrd_hf.symmetry import (
    CRYSTAL_SYSTEM_OF,
    CRYSTAL_SYSTEMS,
    EXTINCTION_OF,
    EXTINCTION_SYMBOLS,
    POINT_GROUP_ORDER,
)

if TYPE_CHECKING:
    from simxrd_hf.matching import ElementFilter, LineLibrary, Matches

FloatArray = NDArray[np.float64]

N_GROUPS = len(CRYSTAL_SYSTEM_OF)
N_SYMBOLS = len(EXTINCTION_SYMBOLS)
_SYSTEMS = len(CRYSTAL_SYSTEMS)
_SYSTEM = CRYSTAL_SYSTEM_OF.astype(np.int64)
_SYMBOL = EXTINCTION_OF.astype(np.int64)
_SYSTEM_OF_SYMBOL = np.zeros(N_SYMBOLS, dtype=np.int64)
_SYSTEM_OF_SYMBOL[_SYMBOL] = _SYSTEM

HIGHER_THAN_TRICLINIC = _SYSTEM_OF_SYMBOL > 0
"""Which extinction symbols are not triclinic (101,)."""
_CLEAR = 0.02  # of the highest line
_FEW_VOTES = 1e-3
_ALIKE = 0.02  # how far from 1 the similarity of the right crystal is at best
OF_NETWORK = 3
"""The first so many features are of the network."""
OF_LIBRARY = 6
"""Rows of `Findings.similarity`."""
N_FEATURES = 31 + _SYSTEMS


@dataclass(frozen=True, eq=False)
class Findings:
    """What one pattern's lines say.

    Attributes:
        cells: ln of the likelihood ratio of every extinction symbol (101,); see `indexing.extinction_log_likelihoods`.
        lines: Lines the cell search used.
        matches: What a library says, or None where none was asked.
        clear: Lines above 2 % of the highest, or None where nobody counted.
    """

    cells: FloatArray
    lines: int
    matches: "Matches | None" = None
    clear: int | None = None

    @property
    def similarity(self) -> FloatArray:
        """Of the most similar crystal of every group, of all and of those of nearly the volume, and votes (6, 230).

        First of all crystals, then of those that came from measured structures. 0 for none; see `matching.Matches`.
        """
        if self.matches is None:
            return np.zeros((OF_LIBRARY, N_GROUPS))
        return np.stack([self.matches.similarity, self.matches.near, self.matches.votes, *self.matches.measured])


def examine(
    intensity: ArrayLike,
    mask: ArrayLike | None,
    grid: Mapping[str, float],
    library: "LineLibrary | None" = None,
    *,
    cells: bool = True,
    without_formula: str | None = None,
    elements: "ElementFilter | None" = None,
    weigh: Callable[..., FloatArray] | None = None,
) -> Findings:
    """Search cells, and crystals of a library, for the lines of a pattern.

    Args:
        intensity: (n_points,) on the grid.
        mask: (n_points,) True where measured, or None.
        grid: `two_theta_min`, `two_theta_max`, `step` (degrees), `wavelength` (Å).
        library: Crystals to compare with.
        cells: Whether cells are searched for.
        without_formula: Leave out crystals of this formula, in whatever way it is written.
        elements: What the crystals may be made of.
        weigh: Does what `indexing.extinction_log_likelihoods` does, for instance in another process.
    """
    from simxrd_hf.indexing.line_finding import MAX_LINES, find_lines

    lines = find_lines(intensity, grid, mask)
    weights, used = np.zeros(N_SYMBOLS), 0
    if cells:
        if weigh is None:
            # compiled code takes a while to load: only checkpoints that use it pay
            from simxrd_hf.indexing.cells import extinction_log_likelihoods

            weigh = extinction_log_likelihoods
        weights = weigh(lines.two_theta, lines.significance, wavelength=grid["wavelength"])
        used = min(len(lines.two_theta), MAX_LINES)
    matches = None
    if library is not None:
        from simxrd_hf.matching.search import find_matches

        matches = find_matches(intensity, library, grid, mask, without_formula=without_formula, elements=elements)
    clear = int((lines.height > _CLEAR * lines.height.max(initial=0.0)).sum())
    return Findings(weights, used, matches, clear)


def log_softmax(logits: ArrayLike) -> FloatArray:
    """Logarithm of the softmax over the last axis."""
    values = np.asarray(logits, dtype=np.float64)
    values = values - values.max(axis=-1, keepdims=True)
    result: FloatArray = values - np.log(np.exp(values).sum(axis=-1, keepdims=True))
    return result


def _farther(similarity: FloatArray, best: FloatArray) -> FloatArray:
    """Logarithm of how much farther from 1 a similarity is than the best."""
    return np.minimum(np.log((1 - similarity + _ALIKE) / (1 - best + _ALIKE)), 2.5)


def _library_columns(similarity: FloatArray, near: FloatArray, votes: FloatArray) -> list[FloatArray]:
    """Features of what a library, or a part of it, says (n, 230) each."""
    most, nearest = similarity.max(axis=1, keepdims=True), near.max(axis=1, keepdims=True)
    of_system = np.stack([similarity[:, k == _SYSTEM].max(axis=1) for k in range(_SYSTEMS)], axis=1)[:, _SYSTEM]
    of_higher = np.zeros_like(similarity)
    for order in np.unique(POINT_GROUP_ORDER)[:-1]:
        of_higher[:, order == POINT_GROUP_ORDER] = similarity[:, order < POINT_GROUP_ORDER].max(axis=1, keepdims=True)
    return [
        similarity,
        np.minimum(most - similarity, 0.3) * 5,
        np.minimum(of_system - similarity, 0.3) * 5,
        np.clip(of_higher - similarity, -0.3, 0.3) * 5,
        np.broadcast_to(most, similarity.shape),
        _farther(similarity, most),
        near,
        np.minimum(nearest - near, 0.3) * 5,
        _farther(near, nearest),
        np.log(votes + _FEW_VOTES) / 3,
        np.log(votes / np.maximum(votes.sum(axis=1, keepdims=True), _FEW_VOTES) + _FEW_VOTES) / 3,
    ]


def group_features(
    log_p: FloatArray, cells: FloatArray, lines: NDArray[np.int64], similarity: FloatArray
) -> NDArray[np.float32]:
    """What the combination reads of every group, scaled to about one.

    The network: ln p of the group, of its system, and of the group within the system. The cells: how far the weight of
    the group's extinction symbol lies below the best of its system (at most 30), the best weight of the system, of the
    other systems but the triclinic one, and of that, and the number of lines. The library: similarity of the group, how
    far it lies below the best of all and of its system, how much better a group of higher symmetry does, the best of
    all, and ln of how much farther from 1 it is than that (a gap of 0.01 says more at 0.98 than at 0.7); first, second
    and last also for crystals of nearly the volume; ln of the votes of the group, and of its share of all votes; all
    this once more for the crystals that came from measured structures. Then the order of the point group and the
    system, so that the same evidence can mean different things.

    Args:
        log_p: (n, 230) log-probabilities of the network.
        cells: (n, 101) of `Findings`.
        lines: (n,) of `Findings`.
        similarity: (n, 6, 230) of `Findings`.

    Returns:
        (n, 230, 38).
    """
    n = len(log_p)
    probability = np.exp(log_p)
    system_p = np.stack([probability[:, k == _SYSTEM].sum(axis=1) for k in range(_SYSTEMS)], axis=1)
    log_system = np.log(np.maximum(system_p, 1e-30))[:, _SYSTEM]

    best = np.stack([cells[:, k == _SYSTEM_OF_SYMBOL].max(axis=1) for k in range(_SYSTEMS)], axis=1)
    # a triclinic cell fits whatever a higher one does: it is compared by itself
    other = np.stack([np.delete(best, [0, k], axis=1).max(axis=1) for k in range(_SYSTEMS)], axis=1)
    below = np.clip(cells[:, _SYMBOL] - best[:, _SYSTEM], -30, 0)

    shape = (n, N_GROUPS)
    columns = [
        np.maximum(log_p, -15) / 5,
        np.maximum(log_system, -10) / 3,
        np.maximum(log_p - log_system, -12) / 4,
        below / 10,
        np.clip(best[:, _SYSTEM], -10, 80) / 20,
        np.clip(other[:, _SYSTEM], -10, 80) / 20,
        np.broadcast_to(np.clip(best[:, :1], -10, 80) / 20, shape),
        np.broadcast_to(np.asarray(lines)[:, None] / 15, shape),
        *_library_columns(*similarity[:, :3].swapaxes(0, 1)),
        *_library_columns(*similarity[:, 3:].swapaxes(0, 1)),
        np.broadcast_to(np.log(POINT_GROUP_ORDER) / 4, shape),
        *(np.broadcast_to(np.equal(k, _SYSTEM).astype(float), shape) for k in range(_SYSTEMS)),
    ]
    return np.stack(columns, axis=-1).astype(np.float32)
