"""Compiled loops of the cell search: guess, refine and judge cells 1/d² = A t₀ + B t₁ + C t₂ + D t₃ + … against lines.

`terms` are the index terms (t₀, t₁ …) of the reflections a lattice allows; see `tables`. Cubic cells use A alone,
tetragonal and hexagonal ones A and C, orthorhombic ones A to C, monoclinic ones A to D, triclinic ones all six.
"""

import math

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.compiler import njit

FloatArray = NDArray[np.float64]

CUBIC, TETRAGONAL, HEXAGONAL, ORTHORHOMBIC, MONOCLINIC, TRICLINIC = 0, 1, 2, 3, 4, 5
P, A, B, C, I, F, R = range(7)  # noqa: E741
MULTIPLICITY = np.array([1.0, 2.0, 2.0, 2.0, 2.0, 4.0, 3.0])
"""Lattice points in the cell of each centring."""

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
    centring: int,
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
        kind: `CUBIC` … `TRICLINIC`.
        centring: `P` … `R`.
        first: Lines the quick score looks at.
        keep: Cells kept.
        limits: Least and greatest of a parameter, least product of all three axes' parameters.

    Returns:
        (keep,) quick scores, −1e8 for unused places, and (keep, 6) parameters.
    """
    score = np.full(keep, -1e8)
    cells = np.zeros((keep, 6))
    worst = 0
    f = len(free)
    p = np.zeros(6)
    term = np.zeros(6)
    rarity = np.empty(len(q))
    _rarity(q, allowance, kind, rarity)
    for k in range(inverses.shape[0]):
        for m in range(combinations.shape[0]):
            fits = True
            for i in range(f):
                value = 0.0
                for j in range(f):
                    value += inverses[k, i, j] * q[combinations[m, j]]
                if i < 3 and (value < limits[0] or value > limits[1]):
                    fits = False
                    break
                p[free[i]] = value
                # axes in order and a reduced cell, so that every lattice is met once: what fails is left at once
                if kind == MONOCLINIC:
                    fits = not (i == 2 and p[0] < value) and not (i == 3 and (value < 0 or value > p[2]))
                elif f > 2:
                    if i == 1 or i == 2:
                        fits = p[i - 1] >= value
                    elif i > 2:
                        alike = i == 3 or p[3] == 0 or (value >= 0) == (p[3] > 0)  # all angles acute, or none
                        fits = alike and abs(value) <= p[2 if i < 5 else 1]
                if not fits:
                    break
            if not fits:
                continue
            if kind == ORTHORHOMBIC and p[0] * p[1] * p[2] < limits[2]:
                continue
            if kind == MONOCLINIC and p[1] * (p[0] * p[2] - 0.25 * p[3] * p[3]) < limits[2]:
                continue
            if kind == TRICLINIC and _determinant(p) < limits[2]:
                continue
            known = 0
            for j in range(f):
                known |= 1 << combinations[m, j]
            s = _quick(p, kind, centring, q, allowance, rarity, first, known, score[worst], term)
            if s <= score[worst]:
                continue
            place = worst
            for t in range(keep):  # a cell found before, in another way
                if score[t] > -1e7:
                    same = True
                    for i in range(6):
                        if abs(cells[t, i] - p[i]) > _SAME * max(p[i], p[2]):
                            same = False
                            break
                    if same:
                        place = t
                        break
            if s > score[place]:
                score[place] = s
                for i in range(6):
                    cells[place, i] = p[i]
                worst = 0
                for t in range(keep):
                    if score[t] < score[worst]:
                        worst = t
    return score, cells


@njit(cache=True)
def centred(h: int, k: int, l: int, centring: int) -> bool:  # noqa: E741
    """Whether a lattice with this centring reflects (h k l) or, of rhombohedral ones, its mirror image (k h l)."""
    if centring == A:
        return (k + l) % 2 == 0
    if centring == B:
        return (h + l) % 2 == 0
    if centring == C:
        return (h + k) % 2 == 0
    if centring == I:
        return (h + k + l) % 2 == 0
    if centring == F:
        return (h + k) % 2 == 0 and (k + l) % 2 == 0
    if centring == R:
        return (h - k + l) % 3 == 0 or (h - k - l) % 3 == 0
    return True


@njit(cache=True)
def _determinant(p: FloatArray) -> float:
    """Of the reciprocal metric of a triclinic cell, 1 / V²."""
    minors = p[0] * p[4] * p[4] + p[1] * p[3] * p[3] + p[2] * p[5] * p[5]
    return p[0] * p[1] * p[2] + 0.25 * (p[3] * p[4] * p[5] - minors)


@njit(cache=True)
def _density(p: FloatArray, kind: int, centring: int) -> float:
    """Reflections per unit of 1/d² at 1/d² = 1 Å⁻², equivalent ones counted once; of cubic lattices anywhere."""
    if kind == CUBIC:
        # of the sums of three squares that exist, one in two is even, three in eight are those of F lattices
        return 0.85 / p[0] * (1.0 if centring == P else 0.5 if centring == I else 0.375)
    if kind == ORTHORHOMBIC:
        density = math.pi / 4 / math.sqrt(p[0] * p[1] * p[2])
    elif kind == TETRAGONAL:
        density = math.pi / 8 / (p[0] * math.sqrt(p[2]))
    elif kind == HEXAGONAL:
        density = math.pi / 12 * 1.1547 / (p[0] * math.sqrt(p[2]))
    elif kind == MONOCLINIC:
        density = math.pi / 2 / math.sqrt(p[1] * (p[0] * p[2] - 0.25 * p[3] * p[3]))
    else:
        density = math.pi / math.sqrt(_determinant(p))
    return density / MULTIPLICITY[centring]


@njit(cache=True)
def _reflection(
    p: FloatArray, kind: int, centring: int, q: float, off: float, nearest: bool, term: FloatArray
) -> float:
    """Distance from q of a reflection within `off`, −1 where there is none; its index terms into `term`.

    With `nearest` it is the closest of all, else any.
    """
    best = off
    found = False
    if kind == CUBIC:
        index = int(np.rint(q / p[0]))
        hit = index > 0 and abs(q - index * p[0]) < off
        if centring == I:
            hit = hit and index % 2 == 0
        elif centring == F:
            hit = hit and (index % 4 == 0 or index % 8 == 3)
        if not hit:
            return -1.0
        term[0] = index
        return abs(q - index * p[0])
    if kind == MONOCLINIC:
        inverse = 1.0 / p[2]
        plane = p[0] - 0.25 * p[3] * p[3] * inverse
        lean = -0.5 * p[3] * inverse
        for k in range(int(math.sqrt((q + off) / p[1])) + 1):
            rest = q - p[1] * k * k
            for h in range(int(math.sqrt((max(rest, 0.0) + off) / plane)) + 1):
                # C l² + D h l + A h² = rest
                root = math.sqrt(max(rest - h * h * plane, 0.0) * inverse)
                middle = lean * h
                for side in range(2):
                    l = int(np.rint(middle + root if side == 0 else middle - root))  # noqa: E741
                    distance = abs(rest - (p[0] * h * h + p[2] * l * l + p[3] * h * l))
                    if distance < best and (h > 0 or k > 0 or l != 0) and centred(h, k, l, centring):
                        best, found = distance, True
                        term[0], term[1], term[2], term[3] = h * h, k * k, l * l, h * l
                        if not nearest:
                            return best
        return best if found else -1.0
    if kind == TRICLINIC:
        # C l² + (E k + D h) l + … = q; for its l at best, a h² + b h k + c k² are left of the other terms
        inverse = 1.0 / p[2]
        a = p[0] - 0.25 * p[3] * p[3] * inverse
        b = p[5] - 0.5 * p[3] * p[4] * inverse
        c = p[1] - 0.25 * p[4] * p[4] * inverse
        for h in range(int(math.sqrt((q + off) / (a - 0.25 * b * b / c))) + 1):
            centre = -0.5 * b * h / c
            wide = math.sqrt(max(q + off - (a - 0.25 * b * b / c) * h * h, 0.0) / c)
            for k in range(math.ceil(centre - wide), math.floor(centre + wide) + 1):
                root = math.sqrt(max(q - a * h * h - b * h * k - c * k * k, 0.0) * inverse)
                middle = -0.5 * (p[3] * h + p[4] * k) * inverse
                for side in range(2):
                    l = int(np.rint(middle + root if side == 0 else middle - root))  # noqa: E741
                    value = p[0] * h * h + p[1] * k * k + p[2] * l * l + p[3] * h * l + p[4] * k * l + p[5] * h * k
                    if abs(q - value) < best and (h > 0 or k != 0 or l != 0):
                        best, found = abs(q - value), True
                        term[0], term[1], term[2] = h * h, k * k, l * l
                        term[3], term[4], term[5] = h * l, k * l, h * k
                        if not nearest:
                            return best
        return best if found else -1.0
    inverse = 1.0 / p[2]
    for h in range(int(math.sqrt((q + off) / p[0])) + 1):
        last = h
        if kind == ORTHORHOMBIC:
            rest = q - p[0] * h * h
            if rest < -off:
                break
            last = int(math.sqrt((max(rest, 0.0) + off) / p[1]))
        for k in range(last + 1):
            if kind == ORTHORHOMBIC:
                rest = q - p[0] * h * h - p[1] * k * k
            elif kind == TETRAGONAL:
                rest = q - p[0] * (h * h + k * k)
            else:
                rest = q - p[0] * (h * h + h * k + k * k)
            if rest < -off:
                break
            l = int(np.rint(math.sqrt(max(rest, 0.0) * inverse)))  # noqa: E741
            distance = abs(rest - p[2] * l * l)
            if distance < best and h + k + l > 0 and centred(h, k, l, centring):
                best, found = distance, True
                term[2] = l * l
                if kind == ORTHORHOMBIC:
                    term[0], term[1] = h * h, k * k
                else:
                    term[0] = h * h + k * k + (h * k if kind == HEXAGONAL else 0)
                if not nearest:
                    return best
    return best if found else -1.0


@njit(cache=True)
def _quick(
    p: FloatArray,
    kind: int,
    centring: int,
    q: FloatArray,
    allowance: FloatArray,
    rarity: FloatArray,
    first: int,
    known: int,
    least: float,
    term: FloatArray,
) -> float:
    """Σ −ln(chance that a random line falls on a reflection) over the lines that do, from the mean density of lines.

    −1e9 where it is not above `least`. Lines whose bit is set in `known` are taken to fall on a reflection.
    """
    crowd = math.log(_density(p, kind, centring))
    total = 0.0
    for i in range(first):  # if every line fell on a reflection
        total += max(rarity[i] - crowd, 0.0)
    for i in range(first):
        if total <= least:
            return -1e9
        if known >> i & 1 == 0 and _reflection(p, kind, centring, q[i], allowance[i], False, term) < 0:
            total -= max(rarity[i] - crowd, 0.0) + _MISS
    return total


@njit(cache=True)
def _rarity(q: FloatArray, allowance: FloatArray, kind: int, out: FloatArray) -> None:
    """−ln of the chance that a random line falls on a reflection, where `_density` is 1."""
    for i in range(len(q)):
        out[i] = -math.log(2 * allowance[i] * (1.0 if kind == CUBIC else math.sqrt(q[i])))


@njit(cache=True)
def _moves_to_a_cell(p: FloatArray, free: NDArray[np.int64], matrix: FloatArray) -> bool:
    """Whether the parameters, with what `_solve` found added, are still of a cell, and of no nearly flat one."""
    moved = np.zeros(6)
    moved[: len(p)] = p
    for j in range(len(free)):
        moved[free[j]] += matrix[j, 7]
        if free[j] < 3 and moved[free[j]] <= 1e-4:
            return False
    if len(free) == 4:
        return moved[3] ** 2 < 3.9 * moved[0] * moved[2]
    if len(free) == 6:
        return (
            moved[3] ** 2 < 3.9 * moved[0] * moved[2]
            and moved[4] ** 2 < 3.9 * moved[1] * moved[2]
            and moved[5] ** 2 < 3.9 * moved[0] * moved[1]
            and _determinant(moved) > 0.02 * moved[0] * moved[1] * moved[2]
        )
    return True


@njit(cache=True)
def _add(matrix: FloatArray, row: FloatArray, n: int) -> None:
    """Add a line to the normal equations: its n derivatives and, after them, its residual."""
    for i in range(n):
        for j in range(n + 1):
            matrix[i, j if j < n else 7] += row[i] * row[j]


@njit(cache=True)
def _step(matrix: FloatArray, p: FloatArray, free: NDArray[np.int64], shift: float) -> tuple[bool, float]:
    """Solve the normal equations of the free parameters and the zero shift, which a prior holds near 0, and move there.

    Where they are singular or what they give is no cell, nothing moves. Returns whether it did, and the shift.
    """
    f = len(free)
    hold = (_LINE_SIGMA / _SHIFT_SIGMA) ** 2
    matrix[f, f] += hold
    matrix[f, 7] -= hold * shift
    if not _solve(matrix, f + 1) or not _moves_to_a_cell(p, free, matrix):
        return False, shift
    for i in range(f):
        p[free[i]] += matrix[i, 7]
    return True, min(max(shift + matrix[f, 7], -0.3), 0.3)


@njit(cache=True)
def polish(
    p: FloatArray,
    kind: int,
    centring: int,
    free: NDArray[np.int64],
    lines: FloatArray,
    wavelength: float,
    stages: FloatArray,
) -> float:
    """Fit a guess to ever more lines, from the lowest on; returns the zero shift.

    A cell of a few low lines may be a percent off, too far for the lines above; but not for the next ones.

    Args:
        p: Parameters, changed in place.
        kind: `CUBIC` … `TRICLINIC`.
        centring: `P` … `R`.
        free: (f,) places of the free parameters.
        lines: (n,) 2θ, degrees, ascending.
        wavelength: Å.
        stages: (m, 2) lines used, and how far a reflection may be off, degrees.
    """
    f = len(free)
    shift = 0.0
    matrix = np.zeros((7, 8))
    row = np.zeros(8)
    term = np.zeros(6)
    for stage in range(len(stages)):
        matrix[:] = 0.0
        used = 0
        for i in range(min(int(stages[stage, 0]), len(lines))):
            theta = 0.5 * (lines[i] - shift) / _DEGREES
            q = (2 * math.sin(theta) / wavelength) ** 2
            slope = wavelength * wavelength / (2 * math.sin(2 * theta)) * _DEGREES  # d 2θ / d(1/d²)
            if _reflection(p, kind, centring, q, stages[stage, 1] / slope, True, term) < 0:
                continue
            used += 1
            value = 0.0
            for j in range(f):
                value += term[free[j]] * p[free[j]]
                row[j] = slope * term[free[j]]
            row[f] = 1.0
            row[f + 1] = slope * (q - value)
            _add(matrix, row, f + 1)
        if used < f + 1:
            break
        moved, shift = _step(matrix, p, free, shift)
        if not moved:
            break
    return shift


@njit(cache=True)
def polished(
    cells: FloatArray,
    kind: int,
    centring: int,
    free: NDArray[np.int64],
    lines: FloatArray,
    wavelength: float,
    stages: FloatArray,
    degrees: float,
) -> FloatArray:
    """`polish` every guess, (n, 6), in place, and score it anew on all lines, found within `degrees`: (n,)."""
    score = np.empty(len(cells))
    q = np.empty(len(lines))
    allowance = np.empty(len(lines))
    rarity = np.empty(len(lines))
    term = np.zeros(6)
    for c in range(len(cells)):
        shift = polish(cells[c], kind, centring, free, lines, wavelength, stages)
        for i in range(len(lines)):
            angle = (lines[i] - shift) / _DEGREES
            q[i] = (2 * math.sin(angle / 2) / wavelength) ** 2
            allowance[i] = 2 * math.sin(angle) / wavelength**2 * degrees / _DEGREES
        _rarity(q, allowance, kind, rarity)
        score[c] = _quick(cells[c], kind, centring, q, allowance, rarity, len(lines), 0, -1e9, term)
    return score


@njit(cache=True)
def _squares(terms: FloatArray, p: FloatArray, q_max: float, out: FloatArray, index: FloatArray) -> int:
    """1/d² of the reflections up to q_max into `out`, their rows into `index`; returns how many."""
    n = 0
    for i in range(terms.shape[0]):
        q = 0.0
        for j in range(terms.shape[1]):
            q += terms[i, j] * p[j]
        out[n] = q
        index[n] = i
        n += q <= q_max
    return n


@njit(cache=True)
def _square(two_theta: float, wavelength: float) -> float:
    """1/d² at an angle in degrees; negative below 0°."""
    sine = 2 * math.sin(0.5 * two_theta / _DEGREES) / wavelength
    return sine * abs(sine)


@njit(cache=True)
def _angle(q: float, wavelength: float) -> float:
    """2θ in degrees."""
    return 2 * math.asin(min(0.5 * wavelength * math.sqrt(q), 1.0)) * _DEGREES


@njit(cache=True, fastmath={"nnan", "nsz", "reassoc"})
def _around(squares: FloatArray, n: int, q: float) -> tuple[float, float]:
    """The greatest of n squares up to q, −1 if there is none, and the least above it, 1e9 if there is none.

    Without a branch, so that vectors do it; the angle of no other reflection need be known to find the nearest.
    """
    below, above = -1.0, 1e9
    for i in range(n):
        here = squares[i]
        below = max(below, here if here <= q else -1.0)
        above = min(above, here if here > q else 1e9)
    return below, above


@njit(cache=True)
def _count(squares: FloatArray, n: int, low: float, high: float) -> int:
    """How many of n squares lie between two."""
    count = 0
    for i in range(n):
        count += (squares[i] > low) & (squares[i] < high)
    return count


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
    matrix = np.zeros((7, 8))
    row = np.zeros(8)
    for turn in range(4):
        n = _squares(terms, p, q_max, work[0], work[1])
        limit = tolerance if turn < 2 else 0.6 * tolerance
        matrix[:] = 0.0
        used = 0
        for line in lines:
            below, above = _around(work[0], n, _square(line - shift, wavelength))
            nearest, angle, distance = 0.0, 0.0, limit
            for q in (below, above):
                if 0.0 < q < 1e9:
                    off = abs(_angle(q, wavelength) + shift - line)
                    if off < distance:
                        nearest, angle, distance = q, _angle(q, wavelength), off
            if nearest == 0.0:
                continue
            best = 0
            while work[0, best] != nearest:
                best += 1
            used += 1
            slope = wavelength * wavelength / (2 * math.sin(angle / _DEGREES)) * _DEGREES  # d 2θ / d(1/d²)
            term = int(work[1, best])
            for i in range(f):
                row[i] = slope * terms[term, free[i]]
            row[f] = 1.0
            row[f + 1] = line - angle - shift
            _add(matrix, row, f + 1)
        if used < f + 2:
            break
        moved, shift = _step(matrix, p, free, shift)
        if not moved:
            break
    return p, shift


@njit(cache=True)
def _solve(matrix: FloatArray, n: int) -> bool:
    """Gauss elimination of the first n rows in place; the solution takes the place of the last column.

    By hand, because a cold start would have to load and link LAPACK for systems of at most seven equations.
    """
    for i in range(n):
        pivot = i
        for j in range(i + 1, n):
            if abs(matrix[j, i]) > abs(matrix[pivot, i]):
                pivot = j
        if abs(matrix[pivot, i]) < 1e-9:
            return False
        for j in range(8):
            matrix[i, j], matrix[pivot, j] = matrix[pivot, j], matrix[i, j]
        for j in range(n):
            if j != i:
                factor = matrix[j, i] / matrix[i, i]
                for k in range(i, 8):
                    matrix[j, k] -= factor * matrix[i, k]
    for i in range(n):
        matrix[i, 7] /= matrix[i, i]
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
    spurious: FloatArray,
    window: float,
    work: FloatArray,
) -> float:
    """How much better a cell explains the lines than chance: Σ ln [p(line | cell) / p(line | random reflections)].

    At random, with ρ reflections per degree around a line, the nearest lies at the distance δ with the density
    2ρ exp(−2ρδ); with the right cell, δ is half-normal with `sigma`, unless the line is foreign, which it is with the
    probability `spurious`, (n,).
    """
    n = _squares(terms, p, q_max, work[0], work[1])
    total = 0.0
    for at in range(len(lines)):
        line, foreign = lines[at], spurious[at]
        at_zero = line - shift
        low, high = _square(at_zero - window, wavelength), _square(min(at_zero + window, 180.0), wavelength)
        rho = (_count(work[0], n, low, high) + 0.5) / (2 * window)
        nearest = window
        for q in _around(work[0], n, _square(at_zero, wavelength)):
            if 0.0 < q < 1e9:
                nearest = min(nearest, abs(_angle(q, wavelength) - at_zero))
        chance = 2 * rho * math.exp(-min(2 * rho * nearest, 50.0))  # bounded, so that it cannot become 0
        own = math.sqrt(2 / math.pi) / sigma * math.exp(-0.5 * (nearest / sigma) ** 2)
        total += math.log(((1 - foreign) * own + foreign * chance) / chance)
    return total


@njit(cache=True)
def best_log_ratios(
    terms: FloatArray,
    ends: NDArray[np.int64],
    orders: NDArray[np.int64],
    symbols: NDArray[np.int64],
    cells: FloatArray,
    shifts: FloatArray,
    lines: FloatArray,
    q_max: float,
    wavelength: float,
    sigma: float,
    spurious: FloatArray,
    window: float,
    work: FloatArray,
) -> FloatArray:
    """The highest `log_ratio` of every symbol, over cells and the settings of its axes.

    Args:
        terms: Index terms of the reflections of all settings, one after the other.
        ends: (w + 1,) where those of each setting begin and end.
        orders: (w, k) order of a cell's parameters in each.
        symbols: (w,) symbol of each, from 0 on, rising.
        cells: (c, 6) parameters.
        shifts: (c,) zero shifts, degrees.
        lines: See `log_ratio`.
        q_max: 1/d² up to which reflections count.
        wavelength: Å.
        sigma: See `log_ratio`.
        spurious: See `log_ratio`.
        window: Degrees to either side, where the density of reflections is counted.
        work: (2, n) room for as many reflections as the largest setting has.

    Returns:
        (symbols,) logarithms.
    """
    best = np.full(symbols[-1] + 1, -np.inf)
    p = np.empty(orders.shape[1])
    for w in range(len(symbols)):
        of_setting = terms[ends[w] : ends[w + 1]]
        for c in range(len(cells)):
            for j in range(len(p)):
                p[j] = cells[c, orders[w, j]]
            value = log_ratio(of_setting, p, shifts[c], lines, q_max, wavelength, sigma, spurious, window, work)
            best[symbols[w]] = max(best[symbols[w]], value)
    return best
