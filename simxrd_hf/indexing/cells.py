"""Searches a list of lines for cells, lattice by lattice, and weighs every extinction symbol by them.

The lowest lines are given the combinations of low indices that crystals show there (the trial method, e.g. Werner et
al., J. Appl. Cryst. 18, 367, 1985), lattice by lattice: a centred cell must not compete with primitive ones of half its
volume, as it leaves half of the reflections out. The best guesses are fitted, with a zero shift, to ever more lines,
then judged on all.
"""

import itertools
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simxrd_hf.diffraction.lattice import reduce_basis
from simxrd_hf.indexing import search_kernels as kernels
from simxrd_hf.indexing.allowed import reflections
from simxrd_hf.indexing.guesses import LOWEST, alike_angles, guesses
from simxrd_hf.indexing.line_finding import MAX_LINES
from simxrd_hf.indexing.tables import FREE, AxisSetting, ReflectionConditions, reflection_conditions
from simxrd_hf.symmetry import EXTINCTION_OF, EXTINCTION_SYMBOLS

FloatArray = NDArray[np.float64]

MIN_MERIT = 8.0
"""Figure of merit (de Wolff 1968) from which a cell is shown; 10 is the textbook mark for 20 lines."""

_GUESS_DEG = 0.10  # how far a line may lie from its reflection while guessing; shifts of the zero point are in it
# a guess is fitted to so many lines, within so many degrees, one step after the other
_STAGES = np.array([[6.0, 0.2], [8.0, 0.15], [10.0, 0.15], [13.0, 0.12], [18.0, 0.12], [30.0, 0.10], [30.0, 0.08]])
_POLISHED_DEG = 0.06  # then its reflections are looked for so near to the lines
_KEPT = 16  # guesses of a setting that all lines are fitted to
_REFINE_DEG = 0.15
_MATCH_DEG = 0.08
_SIGMA_DEG = 0.03
_SPURIOUS = 0.05  # share of strong lines that are of an impurity
_SURE, _LEAST_SURE = 7.0, 10  # standard deviations of a line that is no noise; lines guesses may stand on anyhow
_NOISE, _NOISE_SCALE = 5.0, 1.6  # of weak ones more and more are noise: half of them at four standard deviations
_WINDOW_DEG = 4.0  # to either side, where the density of reflections is counted
_LIMITS = np.array([1 / 40**2, 1 / 2.2**2, 1 / 2500**2])  # axes of 2.2 to 40 Å, volume up to 2500 Å³

# form → (lines of the quick score, guesses of a setting kept of it, cells judged for every symbol)
_EFFORT = {
    kernels.CUBIC: (12, 16, 8),
    kernels.TETRAGONAL: (10, 150, 16),
    kernels.HEXAGONAL: (10, 150, 16),
    kernels.ORTHORHOMBIC: (11, 150, 8),
    kernels.MONOCLINIC: (11, 150, 8),
    kernels.TRICLINIC: (12, 100, 8),
}


@dataclass(frozen=True)
class FittedCell:
    """A unit cell that explains the lines of a pattern.

    Attributes:
        cell: a, b, c in Å, α, β, γ in degrees.
        merit: M_N of de Wolff (J. Appl. Cryst. 1, 108, 1968) for the lines used.
        lines: Lines the search was given.
        matched: Lines within the tolerance of an allowed reflection.
        shift: Zero shift found, degrees 2θ.
    """

    cell: tuple[float, float, float, float, float, float]
    merit: float
    lines: int
    matched: int
    shift: float


class CellSearch:
    """Candidate cells for one list of lines."""

    def __init__(self, two_theta: ArrayLike, wavelength: float, significance: ArrayLike | None = None):
        lines = np.asarray(two_theta, dtype=np.float64)
        order = np.argsort(lines, kind="stable")[:MAX_LINES]
        self.lines = lines[order]
        height = np.full(len(lines), 100.0) if significance is None else np.asarray(significance, dtype=np.float64)
        self.spurious = np.minimum(_SPURIOUS + _NOISE * np.exp(-height[order] / _NOISE_SCALE), 0.95)
        self.wavelength = wavelength
        # guesses stand on lines that are no noise, or the strongest where most are weak
        sure = height[order] >= min(_SURE, np.sort(height[order])[-_LEAST_SURE:].min(initial=100.0))
        self.sure = self.lines[sure]
        self.q_max = float(self._q(min(self.lines[-1] + _WINDOW_DEG, 179.0))) if len(self.lines) else 0.0
        self.room = kernels.new_room()

    def _q(self, two_theta: ArrayLike) -> FloatArray:
        return (2 * np.sin(np.radians(np.asarray(two_theta) / 2)) / self.wavelength) ** 2

    def _allowance(self, two_theta: FloatArray, degrees: float) -> FloatArray:
        """A distance in 2θ as one in 1/d² = 4 sin²θ / λ², whose derivative by 2θ is 2 sin 2θ / λ²."""
        result: FloatArray = 2 * np.sin(np.radians(two_theta)) / self.wavelength**2 * np.radians(degrees)
        return result

    def enough(self, kind: int) -> bool:
        """Whether there are more lines than a cell of this form could always be fitted to."""
        return len(self.sure) >= 3 + len(FREE[kind]) - (kind == kernels.CUBIC)

    def guessed(self, lattice: str) -> tuple[NDArray[np.int64], FloatArray]:
        """Centrings (n,) and parameters (n, 6) of the cells that pass the quick score, best first."""
        centrings, scores, found = [], [], []
        for guess in guesses()[lattice]:
            kind, free = guess.kind, FREE[guess.kind]
            first, keep, _ = _EFFORT[kind]
            # few free parameters can wait for good lines; many need all the low ones
            lines = self.sure if len(free) < 3 else self.lines
            combinations = _combinations(min(LOWEST[kind], len(lines)), len(free))
            score, cells = np.empty(keep), np.zeros((keep, 6))
            kernels.search(
                self._q(lines),
                self._allowance(lines, _GUESS_DEG),
                combinations,
                guess.inverses,
                free,
                kind,
                guess.centring,
                min(first, len(lines)),
                _LIMITS,
                score,
                cells,
                np.empty((9, len(combinations))),
                self.room,
            )
            cells = cells[score > -1e7]
            score, chosen = np.empty(len(cells)), np.empty(_KEPT, dtype=np.int64)
            count = kernels.polished(
                cells,
                kind,
                guess.centring,
                free,
                self.lines,
                self.wavelength,
                _STAGES,
                _POLISHED_DEG,
                score,
                chosen,
                self.room,
            )
            scores.append(score[chosen[:count]])
            found.append(cells[chosen[:count]])
            centrings.append(np.full(count, guess.centring))
        order = np.argsort(-np.concatenate(scores), kind="stable")
        return np.concatenate(centrings)[order], np.concatenate(found)[order]

    def refined(
        self, conditions: ReflectionConditions, guesses: tuple[NDArray[np.int64], FloatArray]
    ) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
        """Guesses fitted to all lines in the settings they are of, without repetitions, best first.

        Returns:
            Parameters (n, 4), or (n, 6) of triclinic cells, zero shifts in degrees (n,), and settings (n,).
        """
        centrings, parameters = guesses
        terms, ends, orders, _ = _settings(conditions)
        of_settings = np.array([setting.centring for setting in conditions.settings])
        most = len(parameters) * len(of_settings)
        cells, about = np.empty((most, orders.shape[1])), np.empty((3, most))
        chosen = np.empty(_EFFORT[conditions.kind][2], dtype=np.int64)
        count = kernels.refined(
            terms,
            ends,
            orders,
            of_settings,
            parameters,
            centrings,
            FREE[conditions.kind],
            self.lines,
            self.spurious,
            self.q_max,
            self.wavelength,
            _SIGMA_DEG,
            _WINDOW_DEG,
            _REFINE_DEG,
            cells,
            about,
            chosen,
            self.room,
        )
        chosen = chosen[:count]
        return cells[chosen], about[1, chosen], about[2, chosen].astype(np.int64)

    def best_scores(
        self, symbols: tuple[ReflectionConditions, ...], cells: FloatArray, shifts: FloatArray
    ) -> FloatArray:
        """Logarithm of the likelihood of the lines with the best of the cells over that by chance, for every symbol."""
        best = np.full(len(symbols), -np.inf)
        kernels.best_log_ratios(
            *_settings(*symbols),
            cells,
            shifts,
            self.lines,
            self.spurious,
            self.q_max,
            self.wavelength,
            _SIGMA_DEG,
            _WINDOW_DEG,
            best,
            self.room,
        )
        return best

    def matched_and_merit(self, setting: AxisSetting, parameters: FloatArray, shift: float) -> tuple[int, float]:
        """Lines explained, and M_N = Q_N / (2 ⟨|ΔQ|⟩ N_possible) of de Wolff, the zero shift taken off."""
        calculated = np.unique(np.round(setting.terms @ parameters, 7))
        q = self._q(self.lines - shift)
        distance = np.abs(q[:, None] - calculated[None]).min(axis=1)
        allowance = self._allowance(self.lines, _MATCH_DEG)
        possible = int((calculated <= q[-1] + allowance[-1]).sum())
        # a smallest distance keeps exact lines from an infinite merit
        off = max(float(np.minimum(distance, 3 * allowance).mean()), 1e-6)
        return int((distance <= allowance).sum()), float(q[-1] / (2 * off * max(possible, 1)))


@cache
def lattices() -> dict[tuple[int, str], tuple[ReflectionConditions, tuple[ReflectionConditions, ...]]]:
    """Form and Bravais lattice → its symbol of fewest conditions, and all its symbols."""
    members: dict[tuple[int, str], list[ReflectionConditions]] = {}
    for one in reflection_conditions():
        members.setdefault((one.kind, one.lattice), []).append(one)
    return {
        key: (max(some, key=lambda one: max(len(setting.terms) for setting in one.settings)), tuple(some))
        for key, some in members.items()
    }


@cache
def _settings(
    *symbols: ReflectionConditions,
) -> tuple[FloatArray, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """All settings of some symbols in one, as `kernels.best_log_ratios` takes them."""
    every = [(number, one) for number, symbol in enumerate(symbols) for one in symbol.settings]
    return (
        np.ascontiguousarray(np.concatenate([one.terms for _, one in every]).T),
        np.cumsum([0, *(len(one.terms) for _, one in every)]),
        np.stack([one.order for _, one in every]),
        np.array([number for number, _ in every]),
    )


@cache
def _combinations(lines: int, together: int) -> NDArray[np.int64]:
    """Choices of some of the lowest lines (m, `together`)."""
    return np.array(list(itertools.combinations(range(lines), together)), dtype=np.int64).reshape(-1, together)


def extinction_log_likelihoods(
    two_theta: ArrayLike, significance: ArrayLike | None = None, *, wavelength: float
) -> FloatArray:
    """How well cells explain the lines of a pattern, for every extinction symbol.

    Args:
        two_theta: (n,) positions of lines, degrees; the lowest `MAX_LINES` are used.
        significance: (n,) heights in standard deviations of the noise; weak lines are then trusted less.
        wavelength: Å.

    Returns:
        (101,) ln [p(lines | best cell found with the reflections the symbol allows) / p(lines | chance)], in the order
        of `EXTINCTION_SYMBOLS`; 0 where there are too few lines.
    """
    weights = np.zeros(len(EXTINCTION_SYMBOLS))
    search = CellSearch(two_theta, wavelength, significance)
    for (kind, lattice), (loosest, symbols) in lattices().items():
        if not search.enough(kind):
            continue
        cells, shifts, _ = search.refined(loosest, search.guessed(lattice))
        if len(cells):
            weights[[one.symbol for one in symbols]] = search.best_scores(symbols, cells, shifts)
    return weights


def fit_cell(two_theta: ArrayLike, number: int, *, wavelength: float) -> FittedCell | None:
    """Search for the cell of a space group.

    Args:
        two_theta: (n,) positions of lines, degrees; the lowest `MAX_LINES` are used.
        number: Space-group number, for its system and reflection conditions.
        wavelength: Å.

    Returns:
        The cell, or None where the lines are too few to tell (3 for cubic, 5 for tetragonal and hexagonal, 6 for
        orthorhombic, 7 for monoclinic, 9 for triclinic cells), or no cell with a figure of merit of at least
        `MIN_MERIT` matches nine lines of ten.
    """
    conditions = next((one for one in reflection_conditions() if one.symbol == EXTINCTION_OF[number - 1]), None)
    if conditions is None:
        return None
    search = CellSearch(two_theta, wavelength)
    if not search.enough(conditions.kind):
        return None
    found = []
    for parameters, shift, place in zip(*search.refined(conditions, search.guessed(conditions.lattice)), strict=True):
        setting = conditions.settings[place]
        matched, merit = search.matched_and_merit(setting, parameters, shift)
        cell = _cell(parameters, conditions.kind, setting.plane)
        found.append(FittedCell(cell, merit, len(search.lines), matched, float(shift)))
    best = max(found, key=lambda one: (one.matched, one.merit), default=None)
    if best is None or best.matched < 0.9 * best.lines or best.merit < MIN_MERIT:
        return None
    if conditions.kind == kernels.ORTHORHOMBIC:
        return replace(best, cell=_standard_axes(best, search.lines - best.shift, number, wavelength))
    return best


def _standard_axes(
    fit: FittedCell, lines: FloatArray, number: int, wavelength: float
) -> tuple[float, float, float, float, float, float]:
    """Axes in the order of the group's standard setting; groups of one symbol differ in it (Pna2₁ and Pnma)."""

    def distance(axes: tuple[float, ...]) -> float:
        cell = (*axes, 90.0, 90.0, 90.0)
        far = min(float(lines[-1]) + 1, 179.0)
        allowed = reflections(cell, number, wavelength=wavelength, two_theta_min=1.0, two_theta_max=far).two_theta
        return float(np.minimum(np.abs(lines[:, None] - allowed[None]).min(axis=1, initial=1.0), _MATCH_DEG).sum())

    a, b, c = min(itertools.permutations(fit.cell[:3]), key=distance)
    return (a, b, c, 90.0, 90.0, 90.0)


def _cell(
    parameters: FloatArray, kind: int, plane: NDArray[np.int64]
) -> tuple[float, float, float, float, float, float]:
    """Cell of the standard setting of the symbol, reduced if triclinic."""
    if kind == kernels.MONOCLINIC:
        back = np.linalg.inv(plane)
        metric = back.T @ np.array([[parameters[0], parameters[3] / 2], [parameters[3] / 2, parameters[2]]]) @ back
        a, b, c, d = metric[0, 0], parameters[1], metric[1, 1], 2 * metric[0, 1]  # a*², b*², c*², 2 a* c* cos β*
        sine = np.sqrt(1 - d * d / (4 * a * c))
        beta = float(np.degrees(np.arccos(-d / (2 * np.sqrt(a * c)))))
        return (float(1 / (np.sqrt(a) * sine)), float(1 / np.sqrt(b)), float(1 / (np.sqrt(c) * sine)), 90.0, beta, 90.0)
    if kind == kernels.TRICLINIC:
        a, b, c, ac, bc, ab = parameters * [1, 1, 1, 0.5, 0.5, 0.5]
        metric = np.linalg.inv([[a, ab, ac], [ab, b, bc], [ac, bc, c]])
        direct = alike_angles(reduce_basis(np.linalg.cholesky(metric)))
        length = np.linalg.norm(direct, axis=1)
        cosines = (direct @ direct.T / np.outer(length, length))[[1, 0, 0], [2, 2, 1]]
        return (*map(float, length), *map(float, np.degrees(np.arccos(cosines))))  # type: ignore[return-value]
    axes = [float(1 / np.sqrt(value)) if value > 0 else 0.0 for value in parameters]
    if kind == kernels.CUBIC:
        return (axes[0], axes[0], axes[0], 90.0, 90.0, 90.0)
    if kind == kernels.TETRAGONAL:
        return (axes[0], axes[0], axes[2], 90.0, 90.0, 90.0)
    if kind == kernels.HEXAGONAL:
        a = float(np.sqrt(4 / 3) * axes[0])
        return (a, a, axes[2], 90.0, 90.0, 120.0)
    return (axes[0], axes[1], axes[2], 90.0, 90.0, 90.0)
