"""Which reflections a lattice allows, and a small search for the cell of a lattice of high symmetry."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Crystal systems whose cell has at most two free lengths and no free angle.
INDEXABLE = ("cubic", "tetragonal", "trigonal", "hexagonal")

MIN_MERIT = 8.0  # figure of merit (de Wolff 1968) from which a cell is shown; 10 is the textbook mark for 20 lines
MAX_LINES = 20


@dataclass(frozen=True)
class FittedCell:
    """A unit cell that explains the lines of a pattern.

    Attributes:
        cell: a, b, c in Å, α, β, γ in degrees.
        merit: M_N of de Wolff (J. Appl. Cryst. 1, 108, 1968) for the lines used.
        lines: Lines the search was given.
        matched: Lines within the tolerance of an allowed reflection.
    """

    cell: tuple[float, float, float, float, float, float]
    merit: float
    lines: int
    matched: int


@dataclass(frozen=True)
class Reflections:
    """Allowed reflections, one row per distinct d, ascending 2θ.

    Attributes:
        hkl: (n, 3) indices of one member.
        d: (n,) Å.
        two_theta: (n,) degrees.
    """

    hkl: NDArray[np.int64]
    d: FloatArray
    two_theta: FloatArray


@lru_cache(maxsize=32)
def _operations(number: int) -> tuple[NDArray[np.int64], FloatArray]:
    """Rotations (n, 3, 3) and translations (n, 3) of a space group in its first setting (hexagonal axes for R)."""
    import spglib

    for hall in range(1, 531):
        kind = spglib.get_spacegroup_type(hall)
        if kind is not None and kind.number == number:
            operations = spglib.get_symmetry_from_database(hall)
            return operations["rotations"].astype(np.int64), operations["translations"].astype(np.float64)
    raise ValueError(f"space-group numbers run from 1 to 230, got {number}")


def is_allowed(hkl: NDArray[np.int64], number: int) -> NDArray[np.bool_]:
    """Whether the space group allows reflections at general positions.

    A reflection h is absent if some operation (R, t) has hR = h and h·t no integer (International Tables A, 1.6.3).

    Args:
        hkl: (n, 3).
        number: Space-group number.

    Returns:
        (n,) bool.
    """
    rotations, translations = _operations(number)
    fixed = (np.einsum("ni,oij->noj", hkl, rotations) == hkl[:, None, :]).all(axis=-1)
    phase = hkl @ translations.T
    shifted = np.abs(phase - np.round(phase)) > 1e-6
    return ~(fixed & shifted).any(axis=1)


def reciprocal_metric(cell: tuple[float, ...]) -> FloatArray:
    """Reciprocal metric tensor G* in Å⁻², so that 1/d² = h G* hᵀ.

    Raises:
        ValueError: Not six numbers that make a cell.
    """
    if len(cell) != 6 or not np.isfinite(cell).all():
        raise ValueError(f"a cell needs six numbers, a b c in Å and α β γ in degrees, got {' '.join(map(str, cell))}")
    lengths, angles = np.array(cell[:3]), np.array(cell[3:])
    if (lengths <= 0).any() or (angles <= 0).any() or (angles >= 180).any():
        raise ValueError(f"cell lengths must be above 0 and angles between 0 and 180°, got {' '.join(map(str, cell))}")
    cosines = np.cos(np.radians(angles))
    metric = np.outer(lengths, lengths)
    for (i, j), cosine in zip(((1, 2), (0, 2), (0, 1)), cosines, strict=True):
        metric[i, j] *= cosine
        metric[j, i] *= cosine
    if np.linalg.det(metric) <= 0:
        raise ValueError(f"the angles {angles[0]:g}, {angles[1]:g}, {angles[2]:g}° cannot meet in one corner")
    return np.linalg.inv(metric)


def reflections(
    cell: tuple[float, ...], number: int, *, wavelength: float, two_theta_min: float, two_theta_max: float
) -> Reflections:
    """Reflections of a cell that a space group allows, within a range.

    Args:
        cell: a, b, c (Å), α, β, γ (degrees).
        number: Space-group number, for its reflection conditions.
        wavelength: Å.
        two_theta_min: Degrees.
        two_theta_max: Degrees.

    Raises:
        ValueError: The cell is none, or so large that there are too many reflections to draw.
    """
    metric = reciprocal_metric(cell)
    largest = 2 * np.sin(np.radians(two_theta_max / 2)) / wavelength
    limits = np.floor(largest * np.sqrt(np.diag(np.linalg.inv(metric)))).astype(int)
    if np.prod(2 * limits + 1) > 2_000_000:
        raise ValueError(f"the cell {' '.join(f'{value:g}' for value in cell)} has too many reflections in this range")
    hkl = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in limits), indexing="ij"), axis=-1).reshape(-1, 3)
    # Fewest negative indices first among equals, so that 111 stands for its family.
    hkl = hkl[np.lexsort((-hkl[:, 2], -hkl[:, 1], -hkl[:, 0], (hkl < 0).sum(axis=1)))]
    inverse_d = np.sqrt(np.maximum(np.einsum("ni,ij,nj->n", hkl, metric, hkl), 0.0))
    least = 2 * np.sin(np.radians(two_theta_min / 2)) / wavelength
    kept = (inverse_d >= max(least, 1e-9)) & (inverse_d <= largest)
    hkl, inverse_d = hkl[kept], inverse_d[kept]
    allowed = is_allowed(hkl, number)
    hkl, inverse_d = hkl[allowed], inverse_d[allowed]
    _, first = np.unique(np.round(inverse_d, 6), return_index=True)
    hkl, inverse_d = hkl[first], inverse_d[first]
    two_theta = 2 * np.degrees(np.arcsin(np.minimum(inverse_d * wavelength / 2, 1.0)))
    return Reflections(hkl, 1 / inverse_d, two_theta)


def find_lines(two_theta: FloatArray, intensity: FloatArray, *, least: float = 0.02) -> tuple[FloatArray, FloatArray]:
    """Positions and heights of the lines of a pattern, ascending 2θ.

    Args:
        two_theta: (n,) degrees, even steps.
        intensity: (n,).
        least: Smallest prominence kept, as part of the largest intensity.

    Returns:
        Positions in degrees, refined by a parabola through three points, and prominences.
    """
    from scipy.signal import find_peaks, savgol_filter

    smooth = savgol_filter(intensity, 7, 2) if len(intensity) > 7 else intensity
    tops, found = find_peaks(smooth, prominence=least * smooth.max(), width=2)
    prominence = found["prominences"]
    before, top, after = smooth[tops - 1], smooth[tops], smooth[tops + 1]
    bend = before - 2 * top + after
    shift = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, 1.0), 0.0)
    return two_theta[tops] + np.clip(shift, -1, 1) * (two_theta[1] - two_theta[0]), prominence


def fit_cell(
    lines: FloatArray, system: str, number: int, *, wavelength: float, tolerance: float = 0.08
) -> FittedCell | None:
    """Search for the cell of a cubic, tetragonal, trigonal or hexagonal lattice.

    Squared reciprocal spacings obey 1/d² = A m + C l², with m = h² + k² + l² (cubic; C = 0), h² + k² (tetragonal) or
    h² + hk + k² (hexagonal axes). The lowest lines are given every pair of low allowed indices, each candidate is
    scored on all lines, and the best is refined by least squares. A zero-point error is not fitted.

    Args:
        lines: Positions in degrees 2θ; the lowest `MAX_LINES` are used.
        system: Crystal system.
        number: Space-group number, for its reflection conditions.
        wavelength: Å.
        tolerance: How far a line may lie from its reflection, degrees.

    Returns:
        The cell, or None where none with a figure of merit of at least `MIN_MERIT` matches nine lines of ten, or the
        pattern has too few lines to tell (4 for cubic, 6 otherwise).
    """
    if system not in INDEXABLE:
        return None
    cubic = system == "cubic"
    lines = np.sort(lines)[:MAX_LINES]
    if len(lines) < (4 if cubic else 6):
        return None
    observed = (2 * np.sin(np.radians(lines / 2)) / wavelength) ** 2
    # The tolerance as one of 1/d² = 4 sin²θ / λ², whose derivative by 2θ is 2 sin 2θ / λ².
    allowance = 2 * np.sin(np.radians(lines)) / wavelength**2 * np.radians(tolerance)
    terms = _index_terms(system, number)
    if cubic:
        guesses = (observed[:4, None] / terms[None, :40, 0]).reshape(-1, 1)
        guesses = np.hstack([guesses, np.zeros_like(guesses)])
        limits = (1 / 30**2, 1 / 2.4**2)
        guesses = guesses[(guesses[:, 0] > limits[0]) & (guesses[:, 0] < limits[1])]
    else:
        low = terms[(terms[:, 0] <= 4) & (terms[:, 1] <= 36)]
        guesses = _pair_guesses(observed[:6], low)
    # The lowest lines alone throw out most guesses; their reflections have low indices.
    few = min(8, len(lines))
    merit = np.concatenate(
        [
            _merits(guesses[start : start + 1000], terms, observed[:few], allowance[:few])[0]
            for start in range(0, len(guesses), 1000)
        ]
        or [np.empty(0)]
    )
    best: FittedCell | None = None
    for index in np.argsort(-merit)[:200]:
        refined = _refine(guesses[index], terms, observed, allowance)
        scores, counts = _merits(refined[None], terms, observed, allowance)
        if counts[0] < 0.9 * len(lines) or scores[0] < MIN_MERIT or (best and scores[0] <= best.merit):
            continue
        best = FittedCell(_cell(refined, system), float(scores[0]), len(lines), int(counts[0]))
    return best


def _index_terms(system: str, number: int) -> FloatArray:
    """Distinct (m, l²) of allowed reflections with small indices, (n, 2), ascending m + l²."""
    planar, axial = (12, 12) if system == "cubic" else (6, 20)
    sides = np.arange(-planar, planar + 1)
    hkl = np.stack(np.meshgrid(sides, sides, np.arange(axial + 1), indexing="ij"), axis=-1).reshape(-1, 3)
    hkl = hkl[hkl.any(axis=1)]
    hkl = hkl[is_allowed(hkl, number)]
    h, k, length = hkl.T
    if system == "cubic":
        terms = np.stack([h**2 + k**2 + length**2, np.zeros_like(h)], axis=1)
    else:
        mixed = h * k if system in ("trigonal", "hexagonal") else 0
        terms = np.stack([h**2 + k**2 + mixed, length**2], axis=1)
    terms = np.unique(terms[terms[:, 0] <= planar**2], axis=0)
    return terms[np.argsort(terms.sum(axis=1), kind="stable")].astype(np.float64)


def _pair_guesses(observed: FloatArray, terms: FloatArray) -> FloatArray:
    """(A, C) from every pair of low lines with every pair of low index terms; sensible cells only."""
    lines = np.array([(i, j) for i in range(len(observed)) for j in range(i + 1, len(observed))])
    pairs = np.array([(i, j) for i in range(len(terms)) for j in range(len(terms)) if i != j])
    (m1, n1), (m2, n2) = terms[pairs[:, 0]].T, terms[pairs[:, 1]].T
    determinant = m1 * n2 - m2 * n1
    solvable = determinant != 0
    m1, n1, m2, n2, determinant = (value[solvable] for value in (m1, n1, m2, n2, determinant))
    q1, q2 = observed[lines[:, 0], None], observed[lines[:, 1], None]
    a = (q1 * n2 - q2 * n1) / determinant
    c = (q2 * m1 - q1 * m2) / determinant
    guesses = np.stack([a.ravel(), c.ravel()], axis=1)
    sensible = (guesses > 1 / 40**2).all(axis=1) & (guesses < 1 / 2.2**2).all(axis=1)
    return np.unique(np.round(guesses[sensible], 7), axis=0)


def _merits(
    guesses: FloatArray, terms: FloatArray, observed: FloatArray, allowance: FloatArray
) -> tuple[FloatArray, NDArray[np.int64]]:
    """M_N = Q_N / (2 ⟨|ΔQ|⟩ N_possible) and matched lines of each guess."""
    calculated = guesses @ terms.T
    distance = np.abs(observed[None, :, None] - calculated[:, None, :]).min(axis=-1)
    possible = (calculated <= observed[-1] + allowance[-1]).sum(axis=1)
    # Lines that overlap make one; the smallest distance counted keeps exact data from an infinite merit.
    spread = np.maximum(np.minimum(distance, 3 * allowance).mean(axis=1), 1e-6)
    return observed[-1] / (2 * spread * np.maximum(possible, 1)), (distance <= allowance).sum(axis=1)


def _refine(guess: FloatArray, terms: FloatArray, observed: FloatArray, allowance: FloatArray) -> FloatArray:
    """Least squares of (A, C) on the matched lines, weights 1 / allowance, three rounds."""
    for _ in range(3):
        calculated = terms @ guess
        nearest = np.abs(observed[:, None] - calculated[None]).argmin(axis=1)
        matched = np.abs(observed - calculated[nearest]) <= 2 * allowance
        if matched.sum() < 3:
            return guess
        design = terms[nearest[matched]] / allowance[matched, None]
        used = design.any(axis=0)
        solution, _, rank, _ = np.linalg.lstsq(design[:, used], observed[matched] / allowance[matched], rcond=None)
        if rank < used.sum() or (solution <= 0).any():
            return guess
        guess = guess.copy()
        guess[used] = solution
    return guess


def _cell(parameters: FloatArray, system: str) -> tuple[float, float, float, float, float, float]:
    first = 1 / np.sqrt(parameters[0])
    if system == "cubic":
        return (first, first, first, 90.0, 90.0, 90.0)
    last = 1 / np.sqrt(parameters[1])
    if system == "tetragonal":
        return (first, first, last, 90.0, 90.0, 90.0)
    a = float(np.sqrt(4 / 3) * first)
    return (a, a, float(last), 90.0, 90.0, 120.0)
