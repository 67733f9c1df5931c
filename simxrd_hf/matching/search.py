"""Finds the crystals of a library whose lines, the cell strained a little, are those of a pattern."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simxrd_hf.errors import BadInput
from simxrd_hf.indexing.lines import Lines
from simxrd_hf.matching import kernels
from simxrd_hf.matching.library import BLUR, LineLibrary, composition

FloatArray = NDArray[np.float64]

_SCALES_PERCENT = np.arange(-6.0, 6.01, 0.75)
_MOST_LINES = 64  # of a pattern, the highest
_PER_GROUP, _OVERALL = 2, 150  # crystals refined: best of the quick search in every space group, and of all
_LEAST = 0.4  # of the best quick similarity; below it nothing is refined
_WIDTH_DEG = 0.08
N_GROUPS = 230
NEAR = (-0.08, 0.06)
"""Change of volume from a relaxed cell of DFT to the measured one of a compound: PBE cells are some per cent large."""
VOTE_SIMILARITY, VOTE_VOLUME, VOTE_VOLUME_SPREAD = 0.03, -0.02, 0.08
"""A crystal counts e times less for each 0.03 of similarity it is worse than the best, and less by a normal
distribution of its change of volume."""


@dataclass(frozen=True)
class Match:
    """A crystal whose lines are like those of a pattern.

    Attributes:
        crystal_id: Its name in the library.
        formula: Reduced formula.
        space_group: Number.
        similarity: Cosine of the lines, 0 to 1, amplitudes being square roots of intensities.
        volume_change: Volume of the cell that fits the pattern over that in the library, minus 1.
        shift: Zero shift found, degrees 2θ.
    """

    crystal_id: str
    formula: str
    space_group: int
    similarity: float
    volume_change: float
    shift: float


@dataclass(frozen=True, eq=False)
class Matches:
    """What a library says about a pattern.

    Attributes:
        similarity: Of the most similar crystal of every space group (230,); 0 where none is like it.
        near: The same of crystals that fit at nearly their own volume, as the compound itself does (230,); see `NEAR`.
        votes: Sum over the crystals of every group of what their similarity and volume make each count, at most 1; see
            `VOTE_SIMILARITY` (230,).
        best: The most similar crystals, best first.
    """

    similarity: FloatArray
    near: FloatArray
    votes: FloatArray
    best: list[Match]


class LineSearch:
    """The lines of one pattern beside a library; a crystal is refined once, however often it is asked for.

    A quick comparison on an axis of ln d, on which a larger cell is a shift, finds candidates; their cells are then
    strained within the symmetry of the lattice, by about a percent, to fit (as relaxed cells of DFT and cells of mixed
    crystals need), and all their lines are compared.

    Args:
        lines: Of the pattern.
        library: The crystals.
        grid: `two_theta_min`, `two_theta_max`, `step` (degrees), `wavelength` (Å).
        mask: (n_points,) True where measured; by default everywhere.

    Raises:
        BadInput: The library is for another wavelength.
    """

    def __init__(
        self, lines: Lines, library: LineLibrary, grid: Mapping[str, float], mask: ArrayLike | None = None
    ) -> None:
        self.library, self.wavelength = library, grid["wavelength"]
        if abs(library.wavelength - self.wavelength) > 0.02:
            raise BadInput(f"library: made for {library.wavelength:g} Å, the model's grid is at {self.wavelength:g} Å")
        highest = np.sort(np.argsort(-lines.height, kind="stable")[:_MOST_LINES])
        self.seen = lines.two_theta[highest]
        self.amplitude = np.sqrt(lines.height[highest] / lines.height.max(initial=1e-12))
        self._refined: dict[int, tuple[float, float, float]] = {}
        if len(self.seen):
            self.low, self.high = _ends(grid, mask)
            self._quick, self._scale = _quick(self.seen, self.amplitude, library, self.low, self.high, self.wavelength)

    def matches(self, *, top: int = 10, without_formula: str | None = None) -> Matches:
        """What the library says.

        Args:
            top: Matches listed.
            without_formula: Leave out crystals of this reduced formula, its elements in any order.
        """
        library = self.library
        similarity, near, votes = np.zeros((3, N_GROUPS))
        if not len(self.seen):
            return Matches(similarity, near, votes, [])
        quick = self._quick
        if without_formula is not None:
            quick = np.where(library.compositions == composition(without_formula), 0.0, quick)
        found = []
        for one in _candidates(quick, library.starts).tolist():
            value, change, shift = self._fitted(one)
            group = library.space_group[one] - 1
            similarity[group] = max(similarity[group], value)
            if NEAR[0] <= change <= NEAR[1]:
                near[group] = max(near[group], value)
            found.append((value, one, change, shift))
        found.sort(key=lambda entry: (-entry[0], entry[1]))
        for value, one, change, _ in found:
            worse = (found[0][0] - value) / VOTE_SIMILARITY + ((change - VOTE_VOLUME) / VOTE_VOLUME_SPREAD) ** 2 / 2
            votes[library.space_group[one] - 1] += np.exp(-worse)
        best = [
            Match(
                str(library.crystal_id[one]),
                str(library.formula[one]),
                int(library.space_group[one]),
                value,
                change,
                shift,
            )
            for value, one, change, shift in found[:top]
        ]
        return Matches(similarity, near, votes, best)

    def _fitted(self, one: int) -> tuple[float, float, float]:
        """Similarity, change of volume and zero shift of a crystal, its cell strained to fit."""
        if one not in self._refined:
            library, scale = self.library, self._scale[one]
            count = library.counts[one]
            value, strain, shift = kernels.refined_similarity(
                library.cells[one].astype(np.float64),
                library.hkl[one, :count],
                library.amplitude[one, :count].astype(np.float64),
                scale,
                self.seen,
                self.amplitude,
                self.low,
                self.high,
                self.wavelength,
                _WIDTH_DEG,
            )
            change = float(scale**3 / np.sqrt(np.linalg.det(np.eye(3) + strain)) - 1)
            self._refined[one] = float(value), change, float(shift)
        return self._refined[one]


def find_matches(
    lines: Lines,
    library: LineLibrary,
    grid: Mapping[str, float],
    mask: ArrayLike | None = None,
    *,
    top: int = 10,
    without_formula: str | None = None,
) -> Matches:
    """Compare the lines of a pattern with all crystals of a library; see `LineSearch`."""
    return LineSearch(lines, library, grid, mask).matches(top=top, without_formula=without_formula)


def _ends(grid: Mapping[str, float], mask: ArrayLike | None) -> tuple[float, float]:
    """2θ of the first and last measured point."""
    if mask is None:
        return grid["two_theta_min"], grid["two_theta_max"]
    measured = np.flatnonzero(np.asarray(mask, dtype=bool))
    return tuple(grid["two_theta_min"] + grid["step"] * float(measured[end]) for end in (0, -1))  # type: ignore[return-value]


def _quick(
    seen: FloatArray, amplitude: FloatArray, library: LineLibrary, low: float, high: float, wavelength: float
) -> tuple[FloatArray, FloatArray]:
    """Quick similarity with every crystal, and the scale of its cell (n,)."""

    def place(two_theta: ArrayLike) -> FloatArray:
        spacing = wavelength / (2 * np.sin(np.radians(np.asarray(two_theta) / 2)))
        return (np.log(spacing) - kernels.LOG_D_MIN) / kernels.LOG_D_STEP

    bins = np.arange(kernels.LOG_D_BINS)
    drawn = np.zeros(kernels.LOG_D_BINS)
    for centre, height in zip(place(seen), amplitude, strict=True):
        np.maximum(drawn, height * (1 - np.abs(bins - centre) / (BLUR / kernels.LOG_D_STEP)), out=drawn)
    drawn /= np.sqrt((amplitude * amplitude).sum())
    shifts = np.rint(np.log1p(_SCALES_PERCENT / 100) / kernels.LOG_D_STEP).astype(np.int64)
    first, last = max(int(place(high)), 0), min(int(place(low)), kernels.LOG_D_BINS - 1)
    best, which = kernels.quick_similarity(
        library.places, library.amplitude, library.counts, drawn.astype(np.float32), shifts, first, last
    )
    return best.astype(np.float64) / library.crowding, 1 + _SCALES_PERCENT[which] / 100


def _candidates(quick: FloatArray, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Crystals worth refining: derivatives of one structure in low symmetry may crowd out all others."""
    chosen = [_highest(quick, _OVERALL)]
    for first, end in itertools.pairwise(starts):
        chosen.append(first + _highest(quick[first:end], _PER_GROUP))
    every = np.unique(np.concatenate(chosen))
    return every[quick[every] > max(_LEAST * quick.max(), 1e-6)]


def _highest(values: FloatArray, count: int) -> NDArray[np.int64]:
    """Where the highest values are; all, where there are no more."""
    return np.arange(len(values)) if len(values) <= count else np.argpartition(-values, count)[:count]
