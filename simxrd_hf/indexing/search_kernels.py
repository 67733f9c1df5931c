"""Compiled loops of the cell search: guess, refine and judge cells 1/d² = A t₀ + B t₁ + C t₂ + D t₃ + … against lines.

`terms` are the index terms (t₀, t₁ …) of the reflections a lattice allows; see `tables`. Cubic cells use A alone,
tetragonal and hexagonal ones A and C, orthorhombic ones A to C, monoclinic ones A to D, triclinic ones all six.

A reflection near a line is looked for among pairs (h, k): 1/d² = low + C (l − middle)², where low and middle are of the
pair, so that the only l worth a look are the two at which it meets the line.

No kernel makes an array: none counts references, and none waits for numpy's functions to be compiled. What they need on
their way lies in `room`, by rows.
"""

import math

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.diffraction.compilation import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

CUBIC, TETRAGONAL, HEXAGONAL, ORTHORHOMBIC, MONOCLINIC, TRICLINIC = 0, 1, 2, 3, 4, 5
P, A, B, C, I, F, R = range(7)  # noqa: E741
MULTIPLICITY = np.array([1.0, 2.0, 2.0, 2.0, 2.0, 4.0, 3.0])
"""Lattice points in the cell of each centring."""
MODULUS = np.array([1.0, 2.0, 2.0, 1.0, 2.0, 2.0, 3.0])
"""What l has to be a multiple of, or must not be one of, in each centring; see `demanded`."""

_DEGREES = 180.0 / math.pi
_SAME = 6e-3  # relative difference of the parameters of cells that refinement would make equal
_ONE = 1e-3  # the same of cells that are one
_MISS = 2.0  # what a line without a reflection costs in the first look
_SHIFT_SIGMA = 0.06  # degrees: how far the zero point of a diffractometer is out as a rule
_LINE_SIGMA = 0.03
_FAR = 1e9  # more than any 1/d²

# Rows of the room: of pairs low, middle, what l must be, h, k and the distance from a line; 1/d² of reflections and
# their places among the terms; of lines 1/d², allowance and rarity; 1/d² of lines without the zero shift and of the
# ends of their windows; sin θ and cos θ of lines; numbers of one cell, and from `_MATRIX` on the normal equations.
_LOW, _MIDDLE, _DEMANDED, _H, _K, _OFF, _SQUARE, _PLACE = range(8)
_Q, _ALLOWANCE, _RARITY, _AT, _FROM, _TO, _SINE, _COSINE, _CELL, _MATRIX = range(8, 18)
_UNKNOWNS = 7
_ROWS = _MATRIX + _UNKNOWNS
# Places in the row of one cell: least 1/d² of h² and k², of h k, of k², of h² alone; 1 / C; middle of h and of k; terms
# of a reflection; what `_distance` and `_around` find; from the rest on two cells to be tried and a row of equations.
_HH, _HK, _KK, _LEAST, _INVERSE, _BY_H, _BY_K, _TERM = range(8)
_LEAST_OFF, _BELOW, _ABOVE, _COUNT, _TRIED, _MOVED, _EQUATION = 14, 15, 16, 17, 20, 26, 32
# numbers of numpy: numba compiles a function anew for each Python number that is written out
_NONE, _FEW = np.int64(0), np.int64(3)
"""Lines whose reflections the first look lists before it lists those of all."""


def new_room() -> FloatArray:
    """Room for the kernels; beyond so many pairs of indices, and terms, none is looked at."""
    return np.zeros((_ROWS, 8192))


@kernel
def demanded(h: int, k: int, centring: int) -> int:
    """What l of a reflection (h k l) must be: a multiple of `MODULUS` (0), none (1), or there is no such l (−1).

    Of rhombohedral lattices (k h l), the mirror image, will do as well.
    """
    if centring == A:
        return k % 2
    if centring == B:
        return h % 2
    if centring == C:
        return -((h + k) % 2)
    if centring == I:
        return (h + k) % 2
    if centring == F:
        return -1 if (h + k) % 2 != 0 else k % 2
    if centring == R:
        return 0 if (h - k) % 3 == 0 else 1
    return 0


def centred(h: int, k: int, l: int, centring: int) -> bool:  # noqa: E741
    """Whether a lattice with this centring reflects (h k l) or, of rhombohedral ones, its mirror image (k h l)."""
    return bool(demanded(h, k, centring) == int(l % MODULUS[centring] != 0))


@kernel
def _determinant(p: FloatArray) -> float:
    """Of the reciprocal metric of a triclinic cell, 1 / V²."""
    minors = p[0] * p[4] * p[4] + p[1] * p[3] * p[3] + p[2] * p[5] * p[5]
    return p[0] * p[1] * p[2] + 0.25 * (p[3] * p[4] * p[5] - minors)


@kernel
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


@kernel
def _form(p: FloatArray, kind: int, room: FloatArray) -> None:
    """Numbers of a cell that is not cubic, for `_pairs`."""
    form = room[_CELL]
    inverse = 1.0 / p[2]
    a, b, c = p[0], 0.0, p[1]
    by_h, by_k = 0.0, 0.0
    least = a
    if kind == TETRAGONAL:
        c = p[0]
    elif kind == HEXAGONAL:
        b, c = p[0], p[0]
    elif kind >= MONOCLINIC:
        a -= 0.25 * p[3] * p[3] * inverse
        by_h = -0.5 * p[3] * inverse
        least = a
        if kind == TRICLINIC:
            b = p[5] - 0.5 * p[3] * p[4] * inverse
            c -= 0.25 * p[4] * p[4] * inverse
            by_k = -0.5 * p[4] * inverse
            least = a - 0.25 * b * b / c
    form[_HH], form[_HK], form[_KK], form[_LEAST], form[_INVERSE], form[_BY_H], form[_BY_K] = (
        a, b, c, least, inverse, by_h, by_k
    )  # fmt: skip


@kernel
def _pairs(kind: int, centring: int, most: float, room: FloatArray) -> int:
    """List the pairs (h, k) that have a reflection with 1/d² up to `most`, once for each of its equivalents.

    Returns how many; those that fill up the last eight are of no reflection.
    """
    form = room[_CELL]
    a, b, c, least, by_h, by_k = form[_HH], form[_HK], form[_KK], form[_LEAST], form[_BY_H], form[_BY_K]
    end = room.shape[1] - 8
    n = 0
    h = _NONE
    while least * h * h <= most:
        first = 0
        last = h if kind in (TETRAGONAL, HEXAGONAL) else end
        if kind == TRICLINIC:
            first = math.ceil(-0.5 * b * h / c)
        for step in range(-1, 2, 2):  # k upwards from its first, of triclinic cells downwards too
            if step < 0 and kind != TRICLINIC:
                continue
            k = first if step > 0 else first - 1
            while k <= last and n < end:
                low = a * h * h + b * h * k + c * k * k
                if low > most:
                    break
                must = demanded(h, k, centring)
                if must >= 0:
                    room[_LOW, n] = low
                    room[_MIDDLE, n] = by_h * h + by_k * k
                    room[_DEMANDED, n] = must
                    room[_H, n] = h
                    room[_K, n] = k
                    n += 1
                k += step
        h += 1
    whole = (n + 7) // 8 * 8
    for j in range(n, whole):
        room[_LOW, j] = _FAR
        room[_MIDDLE, j] = 0.0
        room[_DEMANDED, j] = 0.0
    return whole


@kernel
def _distance(q: float, n: int, c: float, modulus: float, room: FloatArray) -> float:
    """Distance of 1/d² from the nearest reflection of n pairs; that of each pair is left in the room.

    Without a branch, so that vectors do it; the least is found among the bits of the numbers, which rise with them:
    that of integers is found by vectors too.
    """
    inverse, over = room[_CELL, _INVERSE], 1.0 / modulus
    for j in range(n):
        low, middle, must = room[_LOW, j], room[_MIDDLE, j], room[_DEMANDED, j]
        rest = q - low
        root = math.sqrt(max(rest, 0.0) * inverse)
        u, v = np.rint(middle + root), np.rint(middle - root)
        above, below = c * (u - middle) * (u - middle), c * (v - middle) * (v - middle)
        # (000) is no reflection
        far = _FAR if low + above <= 0.0 else abs(rest - above)
        near = _FAR if low + below <= 0.0 else abs(rest - below)
        far = far if (1.0 if u - modulus * np.floor(u * over + 0.1) != 0.0 else 0.0) == must else _FAR
        near = near if (1.0 if v - modulus * np.floor(v * over + 0.1) != 0.0 else 0.0) == must else _FAR
        room[_OFF, j] = min(far, near)
    bits = room.view(np.int64)
    room[_CELL, _LEAST_OFF] = _FAR
    least = bits[_CELL, _LEAST_OFF]
    for j in range(n):
        least = min(least, bits[_OFF, j])
    bits[_CELL, _LEAST_OFF] = least
    return room[_CELL, _LEAST_OFF]


@kernel
def _terms_of_nearest(p: FloatArray, kind: int, centring: int, q: float, best: float, room: FloatArray) -> None:
    """Index terms of the reflection that `_distance` has found."""
    j = 0
    while room[_OFF, j] != best:
        j += 1
    h, k, middle = room[_H, j], room[_K, j], room[_MIDDLE, j]
    rest = q - room[_LOW, j]
    root = math.sqrt(max(rest, 0.0) * room[_CELL, _INVERSE])
    u, v = np.rint(middle + root), np.rint(middle - root)
    modulus, must = MODULUS[centring], room[_DEMANDED, j]
    u_may = (u % modulus != 0.0) == (must != 0.0) and (h != 0.0 or k != 0.0 or u != 0.0)
    v_may = (v % modulus != 0.0) == (must != 0.0) and (h != 0.0 or k != 0.0 or v != 0.0)
    off_u, off_v = abs(rest - p[2] * (u - middle) ** 2), abs(rest - p[2] * (v - middle) ** 2)
    l = u if u_may and (not v_may or off_u <= off_v) else v  # noqa: E741
    term = room[_CELL]
    term[_TERM + 2] = l * l
    if kind == TETRAGONAL:
        term[_TERM] = h * h + k * k
    elif kind == HEXAGONAL:
        term[_TERM] = h * h + k * k + h * k
    else:
        term[_TERM], term[_TERM + 1] = h * h, k * k
        term[_TERM + 3], term[_TERM + 4], term[_TERM + 5] = h * l, k * l, h * k


@kernel
def _cubic_distance(p: FloatArray, centring: int, q: float, room: FloatArray) -> float:
    """Distance of 1/d² from the nearest reflection of a cubic cell."""
    index = int(np.rint(q / p[0]))
    there = index > 0
    if centring == I:
        there = there and index % 2 == 0
    elif centring == F:
        there = there and (index % 4 == 0 or index % 8 == 3)
    room[_CELL, _TERM] = index
    return abs(q - index * p[0]) if there else _FAR


@kernel
def _quick(
    p: FloatArray, kind: int, centring: int, first: int, known: int, least: float, few: int, room: FloatArray
) -> float:
    """Σ −ln(chance that a random line falls on a reflection) over the lines that do, from the mean density of lines.

    −1e9 where it is not above `least`. Lines whose bit is set in `known` are taken to fall on a reflection. The
    reflections of so `few` lines are listed before those of all: most guesses are given up there.
    """
    crowd = math.log(_density(p, kind, centring))
    total = 0.0
    for i in range(first):  # if every line fell on a reflection
        total += max(room[_RARITY, i] - crowd, 0.0)
    if total <= least:
        return -1e9
    c, modulus = p[2], MODULUS[centring]
    listed, pairs = 0, 0
    if kind != CUBIC:
        _form(p, kind, room)
    for i in range(first):
        if known >> i & 1:
            continue
        if kind == CUBIC:
            distance = _cubic_distance(p, centring, room[_Q, i], room)
        else:
            if i >= listed:
                listed = first if listed > 0 else min(i + few, first)
                pairs = _pairs(kind, centring, room[_Q, listed - 1] + room[_ALLOWANCE, listed - 1], room)
            distance = _distance(room[_Q, i], pairs, c, modulus, room)
        if distance >= room[_ALLOWANCE, i]:
            total -= max(room[_RARITY, i] - crowd, 0.0) + _MISS
            if total <= least:
                return -1e9
    return total


@kernel
def _rarity(n: int, kind: int, room: FloatArray) -> None:
    """−ln of the chance that a random line falls on a reflection, where `_density` is 1."""
    for i in range(n):
        part = 1.0 if kind == CUBIC else math.sqrt(room[_Q, i])
        room[_RARITY, i] = -math.log(2 * room[_ALLOWANCE, i] * part)


@kernel
def search(
    q: FloatArray,
    allowance: FloatArray,
    combinations: IntArray,
    inverses: FloatArray,
    free: IntArray,
    kind: int,
    centring: int,
    first: int,
    limits: FloatArray,
    score: FloatArray,
    cells: FloatArray,
    values: FloatArray,
    room: FloatArray,
) -> int:
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
        limits: Least and greatest of a parameter, least product of all three axes' parameters.
        score: (keep,) quick scores are left here.
        cells: (keep, 6) and parameters, zeros at first.
        values: (9, m) room for the parameters of all combinations: 1/d² of their lines, then the first three.
        room: See `new_room`.

    Returns:
        How many cells are kept.
    """
    f, many, keep = len(free), len(combinations), len(score)
    for i in range(len(q)):
        room[_Q, i], room[_ALLOWANCE, i] = q[i], allowance[i]
    _rarity(len(q), kind, room)
    for i in range(keep):
        score[i] = -1e8
    for j in range(f):
        for m in range(many):
            values[3 + j, m] = q[combinations[m, j]]
    worst, found = 0, 0
    p = room[_CELL, _TRIED:_MOVED]
    for i in range(6):
        p[i] = 0.0
    for k in range(len(inverses)):
        for i in range(min(f, 3)):
            for m in range(many):
                values[i, m] = inverses[k, i, 0] * values[3, m]
            for j in range(1, f):
                part = inverses[k, i, j]
                for m in range(many):
                    values[i, m] += part * values[3 + j, m]
        for m in range(many):
            # axes in order and a reduced cell, so that every lattice is met once: what fails is left at once
            fits = True
            for i in range(f):
                if i < 3:
                    value = values[i, m]
                    if value < limits[0] or value > limits[1]:
                        fits = False
                        break
                else:
                    value = 0.0
                    for j in range(f):
                        value += inverses[k, i, j] * values[3 + j, m]
                p[free[i]] = value
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
            known = _NONE
            for j in range(f):
                known |= 1 << combinations[m, j]
            s = _quick(p, kind, centring, first, known, score[worst], _FEW, room)
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
                if score[place] < -1e7:
                    found += 1
                score[place] = s
                for i in range(6):
                    cells[place, i] = p[i]
                worst = 0
                for t in range(keep):
                    if score[t] < score[worst]:
                        worst = t
    return found


@kernel
def _moves_to_a_cell(p: FloatArray, free: IntArray, room: FloatArray) -> bool:
    """Whether the parameters, with what `_solve` found added, are still of a cell, and of no nearly flat one."""
    f = len(free)
    moved = room[_CELL, _MOVED:_EQUATION]
    for i in range(6):
        moved[i] = p[i] if i < len(p) else 0.0
    for j in range(f):
        moved[free[j]] += room[_MATRIX + j, _UNKNOWNS]
        if free[j] < 3 and moved[free[j]] <= 1e-4:
            return False
    if f == 4:
        return moved[3] ** 2 < 3.9 * moved[0] * moved[2]
    if f == 6:
        return (
            moved[3] ** 2 < 3.9 * moved[0] * moved[2]
            and moved[4] ** 2 < 3.9 * moved[1] * moved[2]
            and moved[5] ** 2 < 3.9 * moved[0] * moved[1]
            and _determinant(moved) > 0.02 * moved[0] * moved[1] * moved[2]
        )
    return True


@kernel
def _clear(room: FloatArray) -> None:
    """Normal equations of no line."""
    for i in range(_UNKNOWNS):
        for j in range(_UNKNOWNS + 1):
            room[_MATRIX + i, j] = 0.0


@kernel
def _add(slope: float, residual: float, free: IntArray, room: FloatArray) -> None:
    """Add a line to the normal equations: 2θ changes by `slope` with 1/d², whose index terms are in the room."""
    f = len(free)
    row = room[_CELL, _EQUATION:]
    for j in range(f):
        row[j] = slope * room[_CELL, _TERM + free[j]]
    row[f] = 1.0
    for i in range(f + 1):
        for j in range(f + 1):
            room[_MATRIX + i, j] += row[i] * row[j]
        room[_MATRIX + i, _UNKNOWNS] += row[i] * residual


@kernel
def _solve(n: int, room: FloatArray) -> bool:
    """Gauss elimination of the first n rows in place; the solution takes the place of the last column.

    By hand, because a cold start would have to load and link LAPACK for systems of at most seven equations.
    """
    matrix = room[_MATRIX:]
    for i in range(n):
        pivot = i
        for j in range(i + 1, n):
            if abs(matrix[j, i]) > abs(matrix[pivot, i]):
                pivot = j
        if abs(matrix[pivot, i]) < 1e-9:
            return False
        for j in range(_UNKNOWNS + 1):
            matrix[i, j], matrix[pivot, j] = matrix[pivot, j], matrix[i, j]
        for j in range(n):
            if j != i:
                factor = matrix[j, i] / matrix[i, i]
                for k in range(i, _UNKNOWNS + 1):
                    matrix[j, k] -= factor * matrix[i, k]
    for i in range(n):
        matrix[i, _UNKNOWNS] /= matrix[i, i]
    return True


@kernel
def _step(p: FloatArray, free: IntArray, shift: float, room: FloatArray) -> tuple[bool, float]:
    """Solve the normal equations of the free parameters and the zero shift, which a prior holds near 0, and move there.

    Where they are singular or what they give is no cell, nothing moves. Returns whether it did, and the shift.
    """
    f = len(free)
    hold = (_LINE_SIGMA / _SHIFT_SIGMA) ** 2
    room[_MATRIX + f, f] += hold
    room[_MATRIX + f, _UNKNOWNS] -= hold * shift
    if not _solve(f + 1, room) or not _moves_to_a_cell(p, free, room):
        return False, shift
    for i in range(f):
        p[free[i]] += room[_MATRIX + i, _UNKNOWNS]
    return True, min(max(shift + room[_MATRIX + f, _UNKNOWNS], -0.3), 0.3)


@kernel
def _polish(
    p: FloatArray,
    kind: int,
    centring: int,
    free: IntArray,
    lines: FloatArray,
    wavelength: float,
    stages: FloatArray,
    room: FloatArray,
) -> float:
    """Fit a guess to ever more lines, from the lowest on; returns the zero shift.

    A cell of a few low lines may be a percent off, too far for the lines above; but not for the next ones.
    """
    f = len(free)
    shift = 0.0
    modulus = MODULUS[centring]
    for stage in range(len(stages)):
        _clear(room)
        used = 0
        count = min(int(stages[stage, 0]), len(lines))
        sine, cosine = math.sin(0.5 * shift / _DEGREES), math.cos(0.5 * shift / _DEGREES)
        for i in range(count):
            sin = room[_SINE, i] * cosine - room[_COSINE, i] * sine
            cos = room[_COSINE, i] * cosine + room[_SINE, i] * sine
            room[_Q, i] = (2 * sin / wavelength) ** 2
            slope = wavelength * wavelength / (4 * sin * cos) * _DEGREES  # d 2θ / d(1/d²)
            room[_RARITY, i] = slope
            room[_ALLOWANCE, i] = stages[stage, 1] / slope
        pairs = 0
        if kind != CUBIC:
            _form(p, kind, room)
            pairs = _pairs(kind, centring, room[_Q, count - 1] + abs(room[_ALLOWANCE, count - 1]), room)
        for i in range(count):
            q, slope = room[_Q, i], room[_RARITY, i]
            if kind == CUBIC:
                distance = _cubic_distance(p, centring, q, room)
            else:
                distance = _distance(q, pairs, p[2], modulus, room)
            if distance >= room[_ALLOWANCE, i]:
                continue
            if kind != CUBIC:
                _terms_of_nearest(p, kind, centring, q, distance, room)
            used += 1
            value = 0.0
            for j in range(f):
                value += room[_CELL, _TERM + free[j]] * p[free[j]]
            _add(slope, slope * (q - value), free, room)
        if used < f + 1:
            break
        moved, shift = _step(p, free, shift, room)
        if not moved:
            break
    return shift


@kernel
def polished(
    cells: FloatArray,
    kind: int,
    centring: int,
    free: IntArray,
    lines: FloatArray,
    wavelength: float,
    stages: FloatArray,
    degrees: float,
    score: FloatArray,
    chosen: IntArray,
    room: FloatArray,
) -> int:
    """Fit guesses to ever more lines, score them anew on all of them, and choose the best that differ.

    Args:
        cells: (n, 6) parameters, changed in place.
        kind: `CUBIC` … `TRICLINIC`.
        centring: `P` … `R`.
        free: (f,) places of the free parameters.
        lines: (k,) 2θ, degrees, ascending.
        wavelength: Å.
        stages: (m, 2) lines used, and how far a reflection may be off, degrees.
        degrees: How far it may be off for the score.
        score: (n,) scores are left here.
        chosen: (c,) places of the cells chosen, the best first.
        room: See `new_room`.

    Returns:
        How many are chosen.
    """
    for i in range(len(lines)):
        room[_SINE, i] = math.sin(0.5 * lines[i] / _DEGREES)
        room[_COSINE, i] = math.cos(0.5 * lines[i] / _DEGREES)
    for c in range(len(cells)):
        p = cells[c]
        shift = _polish(p, kind, centring, free, lines, wavelength, stages, room)
        sine, cosine = math.sin(0.5 * shift / _DEGREES), math.cos(0.5 * shift / _DEGREES)
        for i in range(len(lines)):
            sin = room[_SINE, i] * cosine - room[_COSINE, i] * sine
            cos = room[_COSINE, i] * cosine + room[_SINE, i] * sine
            room[_Q, i] = (2 * sin / wavelength) ** 2
            room[_ALLOWANCE, i] = 4 * sin * cos / wavelength**2 * degrees / _DEGREES
        _rarity(len(lines), kind, room)
        score[c] = _quick(p, kind, centring, len(lines), _NONE, -1e9, len(lines), room)
    return _distinct(cells, score, chosen, room)


@kernel
def _distinct(cells: FloatArray, score: FloatArray, chosen: IntArray, room: FloatArray) -> int:
    """The best of some cells (n, k) that differ, as many as `chosen` holds, by falling score; returns how many."""
    n = len(cells)
    order = room[_PLACE]
    for c in range(n):
        i = c
        while i > 0 and score[int(order[i - 1])] < score[c]:
            order[i] = order[i - 1]
            i -= 1
        order[i] = c
    count = 0
    for c in range(n):
        here = int(order[c])
        new = True
        for i in range(count):
            there = chosen[i]
            largest = 0.0
            for j in range(cells.shape[1]):
                largest = max(largest, cells[there, j])
            new = False
            for j in range(cells.shape[1]):
                if not abs(cells[there, j] - cells[here, j]) <= _ONE * largest:
                    new = True
            if not new:
                break
        if new:
            chosen[count] = here
            count += 1
            if count == len(chosen):
                break
    return count


@kernel
def _squares(terms: FloatArray, first: int, end: int, p: FloatArray, q_max: float, room: FloatArray) -> int:
    """1/d² of the reflections up to q_max, and their places among the terms (k, n) into the room; returns how many."""
    squares, place = room[_SQUARE], room[_PLACE]
    count = end - first
    for i in range(count):
        squares[i] = 0.0
    for j in range(len(terms)):
        part = p[j]
        if part != 0.0:
            for i in range(count):
                squares[i] += part * terms[j, first + i]
    n = 0
    for i in range(count):
        q = squares[i]
        squares[n] = q
        place[n] = first + i
        n += q <= q_max
    return n


@kernel
def _square(two_theta: float, wavelength: float) -> float:
    """1/d² at an angle in degrees; negative below 0°."""
    sine = 2 * math.sin(0.5 * two_theta / _DEGREES) / wavelength
    return sine * abs(sine)


@kernel
def _angle(q: float, wavelength: float) -> float:
    """2θ in degrees."""
    return 2 * math.asin(min(0.5 * wavelength * math.sqrt(q), 1.0)) * _DEGREES


@kernel
def _around(line: int, n: int, room: FloatArray) -> None:
    """The greatest of n squares up to a line's, the least above it, and how many lie in its window, into the room.

    Where there is none these are 0 and 1e9. The angle of no other reflection need be known to find the nearest. By the
    bits of the numbers, see `_distance`.
    """
    bits = room.view(np.int64)
    room[_CELL, _ABOVE] = _FAR
    far = bits[_CELL, _ABOVE]
    at, low, high = bits[_AT, line], bits[_FROM, line], bits[_TO, line]
    below, above, count = far - far, far, far - far
    for i in range(n):
        here = bits[_SQUARE, i]
        below = max(below, here if here <= at else 0)
        above = min(above, far if here <= at else here)
        count += (here > low) & (here < high)
    bits[_CELL, _BELOW], bits[_CELL, _ABOVE] = below, above
    room[_CELL, _COUNT] = count


@kernel
def _refine(
    terms: FloatArray,
    first: int,
    end: int,
    p: FloatArray,
    free: IntArray,
    lines: FloatArray,
    q_max: float,
    wavelength: float,
    tolerance: float,
    room: FloatArray,
) -> float:
    """Least squares of the free parameters and of a zero shift on the lines that have a reflection within tolerance.

    The shift, which is returned, is held near 0 by a prior. Where the equations are singular or the parameters would
    make no cell, what was reached before stands.
    """
    shift = 0.0
    f = len(free)
    for turn in range(4):
        n = _squares(terms, first, end, p, q_max, room)
        limit = tolerance if turn < 2 else 0.6 * tolerance
        _clear(room)
        used = 0
        for i in range(len(lines)):
            line = lines[i]
            room[_AT, i] = _square(line - shift, wavelength)
            _around(i, n, room)
            below, above = room[_CELL, _BELOW], room[_CELL, _ABOVE]
            nearest, angle, distance = 0.0, 0.0, limit
            for side in range(2):
                q = below if side == 0 else above
                if 0.0 < q < _FAR:
                    here = _angle(q, wavelength)
                    off = abs(here + shift - line)
                    if off < distance:
                        nearest, angle, distance = q, here, off
            if nearest == 0.0:
                continue
            best = 0
            while room[_SQUARE, best] != nearest:
                best += 1
            used += 1
            slope = wavelength * wavelength / (2 * math.sin(angle / _DEGREES)) * _DEGREES  # d 2θ / d(1/d²)
            term = int(room[_PLACE, best])
            for j in range(len(terms)):
                room[_CELL, _TERM + j] = terms[j, term]
            _add(slope, line - angle - shift, free, room)
        if used < f + 2:
            break
        moved, shift = _step(p, free, shift, room)
        if not moved:
            break
    return shift


@kernel
def _windows(lines: FloatArray, shift: float, wavelength: float, window: float, room: FloatArray) -> None:
    """1/d² of lines without the zero shift, and of the ends of windows around them, into the room."""
    for i in range(len(lines)):
        at_zero = lines[i] - shift
        room[_AT, i] = _square(at_zero, wavelength)
        room[_FROM, i] = _square(at_zero - window, wavelength)
        room[_TO, i] = _square(min(at_zero + window, 180.0), wavelength)


@kernel
def _log_ratio(
    terms: FloatArray,
    first: int,
    end: int,
    p: FloatArray,
    shift: float,
    lines: FloatArray,
    spurious: FloatArray,
    q_max: float,
    wavelength: float,
    sigma: float,
    window: float,
    room: FloatArray,
) -> float:
    """How much better a cell explains the lines than chance: Σ ln [p(line | cell) / p(line | random reflections)].

    At random, with ρ reflections per degree around a line, the nearest lies at the distance δ with the density
    2ρ exp(−2ρδ); with the right cell, δ is half-normal with `sigma`, unless the line is foreign, which it is with the
    probability `spurious`, (n,). Needs the `_windows` of the shift.
    """
    n = _squares(terms, first, end, p, q_max, room)
    own = math.sqrt(2 / math.pi) / sigma
    total, product = 0.0, 1.0
    for i in range(len(lines)):
        foreign, at_zero = spurious[i], lines[i] - shift
        _around(i, n, room)
        below, above = room[_CELL, _BELOW], room[_CELL, _ABOVE]
        rho = (room[_CELL, _COUNT] + 0.5) / (2 * window)
        nearest = window
        if below > 0.0:
            nearest = min(nearest, abs(_angle(below, wavelength) - at_zero))
        if above < _FAR:
            nearest = min(nearest, abs(_angle(above, wavelength) - at_zero))
        # of the line's own density over that of chance, whose exponent is bounded so that it cannot become 0
        ratio = math.exp(min(2 * rho * nearest, 50.0) - 0.5 * (nearest / sigma) ** 2) / (2 * rho)
        product *= (1 - foreign) * own * ratio + foreign
        if not 1e-200 < product < 1e200:
            total += math.log(product)
            product = 1.0
    return total + math.log(product)


@kernel
def refined(
    terms: FloatArray,
    ends: IntArray,
    orders: IntArray,
    setting_centrings: IntArray,
    guesses: FloatArray,
    centrings: IntArray,
    free: IntArray,
    lines: FloatArray,
    spurious: FloatArray,
    q_max: float,
    wavelength: float,
    sigma: float,
    window: float,
    tolerance: float,
    cells: FloatArray,
    about: FloatArray,
    chosen: IntArray,
    room: FloatArray,
) -> int:
    """Fit guesses to all lines in the settings they are of, judge them, and choose the best that differ.

    Args:
        terms: (k, n) index terms of the reflections of all settings, one after the other.
        ends: (w + 1,) where those of each setting begin and end.
        orders: (w, k) order of a cell's parameters in each.
        setting_centrings: (w,) centring of each.
        guesses: (g, 6) parameters.
        centrings: (g,) their centrings.
        free: (f,) places of the free parameters.
        lines: (l,) 2θ, degrees, ascending.
        spurious: (l,) chance that a line is foreign.
        q_max: 1/d² up to which reflections count.
        wavelength: Å.
        sigma: Standard deviation of a line, degrees.
        window: Degrees to either side, where the density of reflections is counted.
        tolerance: How far a reflection may be off, degrees.
        cells: (g w, k) fitted parameters are left here.
        about: (3, g w) and their `_log_ratio`, zero shift and setting.
        chosen: (c,) places of the cells chosen, the best first.
        room: See `new_room`.

    Returns:
        How many are chosen.
    """
    n = 0
    for g in range(len(guesses)):
        for w in range(len(orders)):
            if setting_centrings[w] != centrings[g]:
                continue
            p = cells[n]
            for j in range(len(p)):
                p[j] = guesses[g, orders[w, j]]
            shift = _refine(terms, ends[w], ends[w + 1], p, free, lines, q_max, wavelength, tolerance, room)
            _windows(lines, shift, wavelength, window, room)
            about[0, n] = _log_ratio(
                terms, ends[w], ends[w + 1], p, shift, lines, spurious, q_max, wavelength, sigma, window, room
            )
            about[1, n], about[2, n] = shift, w
            n += 1
    return _distinct(cells[:n], about[0], chosen, room)


@kernel
def best_log_ratios(
    terms: FloatArray,
    ends: IntArray,
    orders: IntArray,
    symbols: IntArray,
    cells: FloatArray,
    shifts: FloatArray,
    lines: FloatArray,
    spurious: FloatArray,
    q_max: float,
    wavelength: float,
    sigma: float,
    window: float,
    best: FloatArray,
    room: FloatArray,
) -> None:
    """The highest `_log_ratio` of every symbol, over cells and the settings of its axes.

    Args:
        terms: See `refined`.
        ends: See `refined`.
        orders: See `refined`.
        symbols: (w,) symbol of each setting, from 0 on.
        cells: (c, k) parameters.
        shifts: (c,) zero shifts, degrees.
        lines: See `refined`.
        spurious: See `refined`.
        q_max: See `refined`.
        wavelength: Å.
        sigma: See `refined`.
        window: See `refined`.
        best: (symbols,) raised to the logarithms.
        room: See `new_room`.
    """
    p = room[_CELL, _TRIED:_MOVED]
    for c in range(len(cells)):
        _windows(lines, shifts[c], wavelength, window, room)
        for w in range(len(symbols)):
            for j in range(orders.shape[1]):
                p[j] = cells[c, orders[w, j]]
            value = _log_ratio(
                terms, ends[w], ends[w + 1], p, shifts[c], lines, spurious, q_max, wavelength, sigma, window, room
            )
            best[symbols[w]] = max(best[symbols[w]], value)
