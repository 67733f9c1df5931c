"""Finds the crystals of a library whose lines and profile, the cell strained a little, are those of a pattern."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simxrd_hf.crystals.provenance import from_measured
from simxrd_hf.errors import BadInput
from simxrd_hf.indexing.line_finding import DOUBLET, bragg_profile, copper, find_lines
from simxrd_hf.matching import similarity_kernels as kernels
from simxrd_hf.matching.elements import ElementFilter
from simxrd_hf.matching.library import BLUR, LineLibrary

FloatArray = NDArray[np.float64]

_SCALES_PERCENT = np.arange(-6.0, 6.01, 0.75)
_MOST_LINES = 64  # of a pattern, the highest
_PER_GROUP, _OVERALL = 2, 150  # crystals refined: best of the quick search in every space group, and of all
_LEAST = 0.4  # of the best quick similarity; below it nothing is refined
_WIDTH_DEG = 0.08
_OF_PROFILE = 0.7  # weight of the profile beside the lines found
_CLEAR = 1.5  # standard deviations of the noise taken off a profile, so that noise is not taken for weak lines
_STRONG, _SURE, _USUAL_DEG = 0.1, 8.0, 0.15  # lines whose width is that of all, and the width if there are none
_LIKEST = 30  # crystals, by similarity, that are put in order
_PER_OFF, _MOST_OFF, _CALCULATED = 0.01, 9.0, 0.02
"""Of `Match.standing`; chosen on simulated patterns of validation formulas, as is `unusual`."""
_MEAN_CHANGE, _USUAL_CHANGE, _SPREAD = -0.013, 0.06, 0.01
N_GROUPS = 230
NEAR = (-0.08, 0.06)
"""Change of volume from a relaxed cell of DFT to the measured one of a compound: PBE cells are some per cent large."""
VOTE_SIMILARITY, VOTE_VOLUME, VOTE_VOLUME_SPREAD = 0.03, -0.02, 0.08
"""A crystal counts e times less for each 0.03 of similarity it is worse than the best, and less by a normal
distribution of its change of volume."""


@dataclass(frozen=True)
class Match:
    """A crystal whose pattern is like the one measured.

    Attributes:
        crystal_id: Its name in the library.
        formula: Reduced formula.
        space_group: Number.
        similarity: 0 to 1, weighted mean of two cosines, amplitudes being square roots of intensities: of the lines
            found (0.3), and of the whole profile (0.7).
        volume_change: Volume of the cell that fits the pattern over that in the library, minus 1.
        shift: Zero shift found, degrees 2θ.
        residual: Weighted sum of squares of the profile that the crystal by itself leaves, over that without it, or
            None where it was not fitted; see `by_profile`.
    """

    crystal_id: str
    formula: str
    space_group: int
    similarity: float
    volume_change: float
    shift: float
    residual: float | None = None

    @property
    def unusual(self) -> float:
        """Squared distance of the change of volume from what relaxed cells of a compound need, 0 inside."""
        return (max(abs(self.volume_change - _MEAN_CHANGE) - _USUAL_CHANGE, 0.0) / _SPREAD) ** 2

    @property
    def standing(self) -> float:
        """What matches are ordered by at first: similarity, less for a cell or a crystal as no compound has."""
        unknown = not from_measured([self.crystal_id])[0]
        return self.similarity - _PER_OFF * min(self.unusual, _MOST_OFF) - _CALCULATED * unknown


@dataclass(frozen=True, eq=False)
class Matches:
    """What a library says about a pattern.

    Attributes:
        similarity: Of the most similar crystal of every space group (230,); 0 where none is like it.
        near: The same of crystals that fit at nearly their own volume, as the compound itself does (230,); see `NEAR`.
        votes: Sum over the crystals of every group of what their similarity and volume make each count, at most 1; see
            `VOTE_SIMILARITY` (230,).
        measured: The three of the crystals that came from measured structures, by themselves (3, 230); see
            `crystals.provenance`.
        best: The most similar crystals, by falling `Match.standing`; `ranking.by_profile` looks closer.
    """

    similarity: FloatArray
    near: FloatArray
    votes: FloatArray
    measured: FloatArray
    best: list[Match]


class LibrarySearch:
    """One pattern beside a library; a crystal is refined once, however often it is asked for.

    A quick comparison of the lines on an axis of ln d, on which a larger cell is a shift, finds candidates; their cells
    are then strained within the symmetry of the lattice, by about a percent, to fit (as relaxed cells of DFT and cells
    of mixed crystals need), all their lines are compared, and the profile they make with that of the pattern: what
    overlaps has no lines of its own to be found.

    Args:
        intensity: (n_points,) on the grid.
        library: The crystals.
        grid: `two_theta_min`, `two_theta_max`, `step` (degrees), `wavelength` (Å).
        mask: (n_points,) True where measured; by default everywhere.
        elements: What the crystals may be made of.

    Raises:
        BadInput: The library is for another wavelength, or no crystal of it is made of these elements.
    """

    def __init__(
        self,
        intensity: ArrayLike,
        library: LineLibrary,
        grid: Mapping[str, float],
        mask: ArrayLike | None = None,
        *,
        elements: ElementFilter | None = None,
    ) -> None:
        self.library, self.wavelength = library, grid["wavelength"]
        if abs(library.wavelength - self.wavelength) > 0.02:
            raise BadInput(f"library: made for {library.wavelength:g} Å, the model's grid is at {self.wavelength:g} Å")
        lines = find_lines(intensity, grid, mask)
        highest = np.sort(np.argsort(-lines.height, kind="stable")[:_MOST_LINES])
        self.seen = lines.two_theta[highest]
        self.amplitude = np.sqrt(lines.height[highest] / lines.height.max(initial=1e-12))
        self._refined: dict[int, tuple[float, float, float]] = {}
        profile = bragg_profile(intensity, grid, mask)
        if profile is None or not len(self.seen):
            return
        self.low, self.high = _ends(grid, mask)
        self._quick, self._scale = _quick(self.seen, self.amplitude, library, self.low, self.high, self.wavelength)
        if elements is not None:
            self._quick = np.where(elements.allows(library), self._quick, 0.0)
        width = lines.width[(lines.height > _STRONG * lines.height.max()) & (lines.significance > _SURE)]
        self._sigma = float(np.median(width) if len(width) else _USUAL_DEG) / np.sqrt(8 * np.log(2))
        self._root = np.sqrt(np.maximum(profile.sharp - _CLEAR * profile.noise, 0.0))
        self._measured, self._start, self._step = profile.measured, grid["two_theta_min"], grid["step"]
        self._radiations = [np.array([[1.0, 1.0]])]
        if copper(self.wavelength):  # which a monochromator or an earlier step may have taken the second line from
            self._radiations.append(DOUBLET / [self.wavelength, 1.0])

    def matches(self, *, top: int = 10, without_formula: str | None = None) -> Matches:
        """What the library says.

        Args:
            top: Matches listed.
            without_formula: Leave out crystals of this formula, in whatever way it is written.
        """
        library = self.library
        if not len(self.seen):
            nothing = np.zeros((6, N_GROUPS))
            return Matches(nothing[0], nothing[1], nothing[2], nothing[3:], [])
        quick = self._quick
        if without_formula is not None:
            from simxrd_hf.crystals.standard import reduced_formula

            left_out = library.reduced_formulas == (reduced_formula(without_formula) or without_formula)
            quick = np.where(left_out, 0.0, quick)
        found = [(one, *self._fitted(one)) for one in _candidates(quick, library.starts).tolist()]
        found.sort(key=lambda entry: (-entry[1], entry[0]))
        every = self._by_group(found)
        measured = self._by_group([entry for entry in found if library.measured[entry[0]]])
        likest = [
            Match(
                str(library.crystal_id[one]),
                str(library.formula[one]),
                int(library.space_group[one]),
                value,
                change,
                shift,
            )
            for one, value, change, shift in found[: max(_LIKEST, top)]
        ]
        best = sorted(likest, key=lambda match: -match.standing)[:top]
        return Matches(every[0], every[1], every[2], measured, best)

    def _by_group(self, found: list[tuple[int, float, float, float]]) -> FloatArray:
        """Similarity, that at nearly the own volume, and votes of every group; crystals by falling similarity."""
        table = np.zeros((3, N_GROUPS))
        for one, value, change, _ in found:
            of_group = table[:, self.library.space_group[one] - 1]
            of_group[0] = max(of_group[0], value)
            if NEAR[0] <= change <= NEAR[1]:
                of_group[1] = max(of_group[1], value)
            worse = (found[0][1] - value) / VOTE_SIMILARITY + ((change - VOTE_VOLUME) / VOTE_VOLUME_SPREAD) ** 2 / 2
            of_group[2] += np.exp(-worse)
        return table

    def _fitted(self, one: int) -> tuple[float, float, float]:
        """Similarity, change of volume and zero shift of a crystal, its cell strained to fit."""
        if one not in self._refined:
            library, scale = self.library, self._scale[one]
            amplitude = library.amplitude[one, : library.counts[one]].astype(np.float64)
            of_lines, strain, shift, place = kernels.refined_similarity(
                library.cells[one].astype(np.float64),
                library.hkl[one, : library.counts[one]],
                amplitude,
                scale,
                self.seen,
                self.amplitude,
                self.low,
                self.high,
                self.wavelength,
                _WIDTH_DEG,
            )
            of_profile = max(
                kernels.profile_similarity(
                    place,
                    shift,
                    amplitude,
                    self._root,
                    self._measured,
                    self._start,
                    self._step,
                    self._sigma,
                    radiation,
                )
                for radiation in self._radiations
            )
            change = float(scale**3 / np.sqrt(np.linalg.det(np.eye(3) + strain)) - 1)
            value = _OF_PROFILE * of_profile + (1 - _OF_PROFILE) * of_lines
            self._refined[one] = float(value), change, float(shift)
        return self._refined[one]


def find_matches(
    intensity: ArrayLike,
    library: LineLibrary,
    grid: Mapping[str, float],
    mask: ArrayLike | None = None,
    *,
    top: int = 10,
    without_formula: str | None = None,
    elements: ElementFilter | None = None,
) -> Matches:
    """Compare a pattern with all crystals of a library; see `LibrarySearch`."""
    search = LibrarySearch(intensity, library, grid, mask, elements=elements)
    return search.matches(top=top, without_formula=without_formula)


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
    result: NDArray[np.int64] = every[quick[every] > max(_LEAST * quick.max(), 1e-6)]
    return result


def _highest(values: FloatArray, count: int) -> NDArray[np.int64]:
    """Where the highest values are; all, where there are no more."""
    return np.arange(len(values)) if len(values) <= count else np.argpartition(-values, count)[:count]
