"""Compiled loops of the cell search: guess, refine and judge cells 1/d² = A t₀ + B t₁ + C t₂ + D t₃ against lines.

`terms` are the index terms (t₀ … t₃) of the reflections a lattice allows; see `tables`. Cubic cells use A alone,
tetragonal and hexagonal ones A and C, orthorhombic ones no D.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

CUBIC, TETRAGONAL, HEXAGONAL, ORTHORHOMBIC, MONOCLINIC = 0, 1, 2, 3, 4

_DEGREES = 180.0 / math.pi
_SAME = 6e-3  # relative difference of the parameters of cells that refinement would make equal
_MISS = 2.0  # what a line without a reflection costs in the first look
_SHIFT_SIGMA = 0.06  # degrees: how far the zero point of a diffractometer is out as a rule
_LINE_SIGMA = 0.03


@njit(cache=True)
def search(
    q: FloatArray,
    allowance: FloatArray,
    combinations: NDArray[np.int64],
    inverses: FloatArray,
    free: NDArray[np.int64],
    kind: int,
    first: int,
    keep: int,
    limits: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Cells that put reflections of low indices on low lines, the best by a quick score.

    Args:
        q: (n,) 1/d² of the lines, ascending, Å⁻².
        allowance: (n,) how far a reflection may be off, Å⁻².
        combinations: (m, f) lines taken together, f the number of free parameters.
        inverses: (k, f, f) inverses of the index terms tried on them.
        free: (f,) places of the free parameters.
        kind: `CUBIC` … `MONOCLINIC`.
        first: Lines the quick score looks at.
        keep: Cells kept.
        limits: Least and greatest of a parameter, least product of all three axes' parameters.

    Returns:
        (keep,) quick scores, −1e8 for unused places, and (keep, 4) parameters.
    """
    score = np.full(keep, -1e8)
    cells = np.zeros((keep, 4))
    worst = 0
    f = len(free)
    p = np.zeros(4)
    for m in range(combinations.shape[0]):
        for k in range(inverses.shape[0]):
            fits = True
            for i in range(f):
                value = 0.0
                for j in range(f):
                    value += inverses[k, i, j] * q[combinations[m, j]]
                if i < 3 and (value < limits[0] or value > limits[1]):
                    fits = False
                    break
                p[free[i]] = value
            if not fits:
                continue
            if kind == ORTHORHOMBIC and (p[0] < p[1] or p[1] < p[2] or p[0] * p[1] * p[2] < limits[2]):
                continue
            if kind == MONOCLINIC:  # the reduced cell of the plane, so that every lattice is met once
                if p[0] < p[2] or p[3] < 0 or p[3] > p[2]:
                    continue
                if p[1] * (p[0] * p[2] - 0.25 * p[3] * p[3]) < limits[2]:
                    continue
            s = _quick(p, kind, q, allowance, first)
            if s <= score[worst]:
                continue
            place = worst
            for t in range(keep):  # a cell found before, in another way
                if score[t] > -1e7:
                    same = True
                    for i in range(4):
                        if abs(cells[t, i] - p[i]) > _SAME * max(p[i], p[2]):
                            same = False
                    if same:
                        place = t
                        break
            if s > score[place]:
                score[place] = s
                for i in range(4):
                    cells[place, i] = p[i]
                worst = 0
                for t in range(keep):
                    if score[t] < score[worst]:
                        worst = t
    return score, cells


@njit(cache=True)
def _quick(p: FloatArray, kind: int, q: FloatArray, allowance: FloatArray, first: int) -> float:
    """Σ −ln(chance that a random line falls on a reflection) over the lines that do, from the mean density of lines."""
    if kind == ORTHORHOMBIC:
        density = math.pi / 4 / math.sqrt(p[0] * p[1] * p[2])
    elif kind == TETRAGONAL:
        density = math.pi / 8 / (p[0] * math.sqrt(p[2]))
    elif kind == HEXAGONAL:
        density = math.pi / 12 * 1.1547 / (p[0] * math.sqrt(p[2]))
    elif kind == MONOCLINIC:
        plane = p[0] * p[2] - 0.25 * p[3] * p[3]
        density = math.pi / 2 / math.sqrt(p[1] * plane)
    else:
        density = 0.0
    total = 0.0
    missed = 0
    for i in range(first):
        off = allowance[i]
        hit = False
        if kind == CUBIC:
            rho = 0.85 / p[0]
            index = np.rint(q[i] / p[0])
            hit = index > 0 and abs(q[i] - index * p[0]) < off
        elif kind == MONOCLINIC:
            rho = density * math.sqrt(q[i])
            hit = _on_monoclinic(p, plane, q[i], off)
        else:
            rho = density * math.sqrt(q[i])
            for h in range(int(math.sqrt((q[i] + off) / p[0])) + 1):
                last = h
                if kind == ORTHORHOMBIC:
                    rest = q[i] - p[0] * h * h
                    if rest < -off:
                        break
                    last = int(math.sqrt((max(rest, 0.0) + off) / p[1]))
                for k in range(last + 1):
                    if kind == ORTHORHOMBIC:
                        rest = q[i] - p[0] * h * h - p[1] * k * k
                    elif kind == TETRAGONAL:
                        rest = q[i] - p[0] * (h * h + k * k)
                    else:
                        rest = q[i] - p[0] * (h * h + h * k + k * k)
                    if rest < -off:
                        break
                    index = np.rint(math.sqrt(max(rest, 0.0) / p[2]))
                    if h + k + index > 0 and abs(rest - p[2] * index * index) < off:
                        hit = True
                        break
                if hit:
                    break
        if hit:
            total -= math.log(min(2 * off * rho, 1.0))
        else:
            total -= _MISS
            missed += 1
            if missed > first // 4 + 1:
                return -1e9
    return total


@njit(cache=True)
def _on_monoclinic(p: FloatArray, plane: float, q: float, off: float) -> bool:
    """Whether some reflection of a monoclinic lattice lies within `off` of q."""
    for k in range(int(math.sqrt((q + off) / p[1])) + 1):
        rest = q - p[1] * k * k
        for h in range(int(math.sqrt((max(rest, 0.0) + off) * p[2] / plane)) + 1):
            # C l² + D h l + A h² = rest
            root = math.sqrt(max(rest - h * h * plane / p[2], 0.0) / p[2])
            middle = -0.5 * p[3] * h / p[2]
            for side in range(2):
                index = np.rint(middle + root if side == 0 else middle - root)
                value = p[0] * h * h + p[2] * index * index + p[3] * h * index
                if abs(rest - value) < off and (h > 0 or k > 0 or index != 0):
                    return True
    return False


@njit(cache=True)
def _angles(
    terms: FloatArray, p: FloatArray, q_max: float, wavelength: float, out: FloatArray, index: FloatArray
) -> int:
    """2θ of the reflections up to q_max into `out`, their rows into `index`; returns how many."""
    n = 0
    for i in range(terms.shape[0]):
        q = terms[i, 0] * p[0] + terms[i, 1] * p[1] + terms[i, 2] * p[2] + terms[i, 3] * p[3]
        if q <= q_max:
            out[n] = 2 * math.asin(min(0.5 * wavelength * math.sqrt(q), 1.0)) * _DEGREES
            index[n] = i
            n += 1
    return n


@njit(cache=True)
def refine(
    terms: FloatArray,
    start: FloatArray,
    free: NDArray[np.int64],
    lines: FloatArray,
    q_max: float,
    wavelength: float,
    tolerance: float,
    work: FloatArray,
) -> tuple[FloatArray, float]:
    """Least squares of the free parameters and of a zero shift on the lines that have a reflection within tolerance.

    The shift is held near 0 by a prior. Where the equations are singular or the parameters would make no cell, what
    was reached before stands.
    """
    p = start.copy()
    shift = 0.0
    f = len(free)
    matrix = np.zeros((5, 6))
    row = np.zeros(6)
    for turn in range(4):
        n = _angles(terms, p, q_max, wavelength, work[0], work[1])
        limit = tolerance if turn < 2 else 0.6 * tolerance
        matrix[:] = 0.0
        used = 0
        for line in lines:
            best, distance = -1, limit
            for i in range(n):
                off = abs(work[0, i] + shift - line)
                if off < distance:
                    best, distance = i, off
            if best < 0:
                continue
            used += 1
            slope = wavelength * wavelength / (2 * math.sin(work[0, best] / _DEGREES)) * _DEGREES  # d 2θ / d(1/d²)
            term = int(work[1, best])
            for i in range(f):
                row[i] = slope * terms[term, free[i]]
            row[f] = 1.0
            row[f + 1] = line - work[0, best] - shift
            for i in range(f + 1):
                for j in range(f + 2):
                    matrix[i, j if j <= f else 5] += row[i] * row[j]
        if used < f + 2:
            return p, shift
        hold = (_LINE_SIGMA / _SHIFT_SIGMA) ** 2
        matrix[f, f] += hold
        matrix[f, 5] -= hold * shift
        if not _solve(matrix, f + 1):
            return p, shift
        for i in range(f):
            if i < 3 and p[free[i]] + matrix[i, 5] <= 1e-4:
                return p, shift
        if f == 4 and (p[3] + matrix[3, 5]) ** 2 >= 4 * (p[0] + matrix[0, 5]) * (p[2] + matrix[2, 5]):
            return p, shift
        for i in range(f):
            p[free[i]] += matrix[i, 5]
        shift = min(max(shift + matrix[f, 5], -0.3), 0.3)
    return p, shift


@njit(cache=True)
def _solve(matrix: FloatArray, n: int) -> bool:
    """Gauss elimination of the first n rows in place; the solution takes the place of the last column.

    By hand, because a cold start would have to load and link LAPACK for systems of at most five equations.
    """
    for i in range(n):
        pivot = i
        for j in range(i + 1, n):
            if abs(matrix[j, i]) > abs(matrix[pivot, i]):
                pivot = j
        if abs(matrix[pivot, i]) < 1e-9:
            return False
        for j in range(6):
            matrix[i, j], matrix[pivot, j] = matrix[pivot, j], matrix[i, j]
        for j in range(n):
            if j != i:
                factor = matrix[j, i] / matrix[i, i]
                for k in range(i, 6):
                    matrix[j, k] -= factor * matrix[i, k]
    for i in range(n):
        matrix[i, 5] /= matrix[i, i]
    return True


@njit(cache=True)
def log_ratio(
    terms: FloatArray,
    p: FloatArray,
    shift: float,
    lines: FloatArray,
    q_max: float,
    wavelength: float,
    sigma: float,
    stray: FloatArray,
    window: float,
    work: FloatArray,
) -> float:
    """How much better a cell explains the lines than chance: Σ ln [p(line | cell) / p(line | random reflections)].

    At random, with ρ reflections per degree around a line, the nearest lies at the distance δ with the density
    2ρ exp(−2ρδ); with the right cell, δ is half-normal with `sigma`, unless the line is foreign, which it is with the
    probability `stray`, (n,).
    """
    n = _angles(terms, p, q_max, wavelength, work[0], work[1])
    total = 0.0
    for at in range(len(lines)):
        line, foreign = lines[at], stray[at]
        nearest = 1e9
        near = 0
        for i in range(n):
            off = abs(work[0, i] + shift - line)
            if off < window:
                near += 1
                if off < nearest:
                    nearest = off
        rho = (near + 0.5) / (2 * window)
        nearest = min(nearest, window)
        chance = 2 * rho * math.exp(-min(2 * rho * nearest, 50.0))  # bounded, so that it cannot become 0
        own = math.sqrt(2 / math.pi) / sigma * math.exp(-0.5 * (nearest / sigma) ** 2)
        total += math.log(((1 - foreign) * own + foreign * chance) / chance)
    return total
