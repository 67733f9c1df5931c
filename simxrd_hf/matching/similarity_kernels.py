"""Compiled inner loops of search/match: a quick similarity with every crystal, a refined one with the best of them.

The kernels make no array, so that none counts references and a first use does not wait for numpy's functions to be
compiled: what they write to is made by the functions around them.
"""

import math

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.compiler import njit
from simxrd_hf.diffraction.compilation import kernel
from simxrd_hf.diffraction.lattice import ROTATIONS_ROOM, invert, rotations_into

FloatArray = NDArray[np.float64]

# ln(d / Å) is cut into steps; lines of a crystal are moved along it, as all spacings of a larger cell are.
LOG_D_MIN = math.log(0.7)
LOG_D_STEP = 0.001
LOG_D_BINS = 3800

# how far the strain may still be off, fit by fit: a line is looked for as far away as that moves it
_UNCERTAINTY = np.array([0.02, 0.012, 0.008, 0.005, 0.003, 0.001, 0.0])
_SHIFT_SHARE = 10.0  # degrees of zero shift that may still be off, per unit of strain
_STRENGTH = 1.5  # a line is the likelier partner, the higher this power of its amplitude
_SLACK = 0.3  # part of that uncertainty kept as variance of a line with one partner: it may be the wrong one
_WEIGHT = 0.5  # of the lines against the priors
_SIGMA_DEG = 0.04
_STRAIN_PRIOR = 0.02  # standard deviation of the components of the strain of 1/d²
_SHIFT_PRIOR = 0.05  # degrees
_MAX_SHIFT = 0.25


def log_d_places(
    cells: NDArray[np.float32], hkl: NDArray[np.int8], counts: NDArray[np.int64], lines: int
) -> NDArray[np.int16]:
    """Bin of ln d of the strongest lines of every crystal.

    Args:
        cells: Cell vectors as rows, Å, float32 (n, 3, 3).
        hkl: Indices, strongest line first, int8 (n, k, 3).
        counts: Lines of each crystal (n,).
        lines: How many of them are used.

    Returns:
        int16 (n, lines).
    """
    out = np.zeros((len(cells), lines), np.int16)
    _log_d_places(cells.astype(np.float64), hkl, counts, np.empty((3, 3)), out)
    return out


@kernel
def _log_d_places(cells, hkl, counts, back, out):
    for i in range(len(cells)):
        invert(cells[i], back)
        for j in range(min(out.shape[1], counts[i])):
            square = 0.0
            for x in range(3):
                q = hkl[i, j, 0] * back[x, 0] + hkl[i, j, 1] * back[x, 1] + hkl[i, j, 2] * back[x, 2]
                square += q * q
            place = (-0.5 * math.log(square) - LOG_D_MIN) / LOG_D_STEP
            out[i, j] = int(min(max(np.rint(place), -3000.0), 10000.0))


def crowding(
    places: NDArray[np.int16], amplitude: NDArray[np.float32], counts: NDArray[np.int64], reach: float
) -> NDArray[np.float32]:
    """How much longer the vector of a crystal's blurred lines is than if no two of them met.

    Args:
        places: See `log_d_places`, int16 (n, k).
        amplitude: Amplitudes of the lines (n, ≥ k).
        counts: Lines of each crystal (n,).
        reach: Bins at which two lines no longer meet.

    Returns:
        float32 (n,).
    """
    out = np.ones(len(places), np.float32)
    _crowding(places, amplitude, counts, reach, out)
    return out


@kernel
def _crowding(places, amplitude, counts, reach, out):
    for i in range(len(places)):
        lines = min(counts[i], places.shape[1])
        alone, together = 0.0, 0.0
        for j in range(lines):
            alone += amplitude[i, j] ** 2
            for k in range(lines):
                off = abs(places[i, j] - places[i, k]) / reach
                if off < 1.0:
                    together += amplitude[i, j] * amplitude[i, k] * (1.0 - off)
        if alone > 0.0:
            out[i] = math.sqrt(together / alone)


_LANES = 24  # scales of the cell compared at once, a whole number of vectors


def quick_similarity(
    places: NDArray[np.int16],
    amplitude: NDArray[np.float32],
    counts: NDArray[np.int64],
    seen: NDArray[np.float32],
    shifts: NDArray[np.int64],
    low: int,
    high: int,
) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """Cosine of the lines seen with those of every crystal, at the best scale of its cell.

    What every scale would see at a bin is laid out side by side, so that a line is looked up once for all of them.

    Args:
        places: See `log_d_places`, int16 (n, k).
        amplitude: Amplitudes of the lines (n, ≥ k), float32.
        counts: Lines of each crystal (n,).
        seen: What is seen at each bin of ln d, divided by its norm, float32.
        shifts: Bins by which the lines are moved (s,), at most 24.
        low: First bin measured.
        high: Last bin measured.

    Returns:
        Similarity float32 (n,), and which shift gave it (n,).
    """
    here, first, far = side_by_side(seen, shifts, low, high, _LANES, 0.0)
    best, which = np.zeros(len(places), np.float32), np.zeros(len(places), np.int16)
    _quick(
        places, amplitude, counts, here, shifts, low, high, first, far, np.empty((2, _LANES), np.float32), best, which
    )
    return best, which


def side_by_side(
    seen: NDArray[np.float32], shifts: NDArray[np.int64], low: int, high: int, lanes: int, outside: float
) -> tuple[NDArray[np.float32], int, int]:
    """What every shift would see at a bin, in one row of `lanes`: (rows, lanes), the bin of the first, and the reach.

    Nothing is seen in the first row and the last: beyond them no shift brings a line into the pattern.
    """
    far = int(np.abs(shifts).max()) + 1
    first = low - far
    here = np.full((high - low + 2 * far + 1, lanes), outside, np.float32)
    for lane, shift in enumerate(shifts):
        start = low - shift - first
        here[start : start + high - low + 1, lane] = seen[low : high + 1]
    return here, first, far


@njit(cache=True, nogil=True, fastmath=True, _nrt=False)
def _quick(places, amplitude, counts, here, shifts, low, high, first, far, sums, best, which):
    total, outside = sums[0], sums[1]
    end = len(here) - 1  # nothing is seen at the first row and the last
    for i in range(len(places)):
        for k in range(_LANES):
            total[k] = 0.0
            outside[k] = 0.0
        norm = np.float32(1e-12)
        lines = min(counts[i], places.shape[1])
        for j in range(0, lines, 4):  # four at a time, or the sums would wait for one another; absent lines have none
            r0 = min(max(places[i, j] - first, 0), end)
            r1 = min(max(places[i, j + 1] - first, 0), end)
            r2 = min(max(places[i, j + 2] - first, 0), end)
            r3 = min(max(places[i, j + 3] - first, 0), end)
            a0, a1, a2, a3 = amplitude[i, j], amplitude[i, j + 1], amplitude[i, j + 2], amplitude[i, j + 3]
            for k in range(_LANES):
                total[k] += a0 * here[r0, k] + a1 * here[r1, k] + a2 * here[r2, k] + a3 * here[r3, k]
        for j in range(lines):
            place = places[i, j]
            square = amplitude[i, j] * amplitude[i, j]
            if low - far < place < high + far:
                norm += square
                if place < low + far or place > high - far:  # some shift moves it out of the pattern
                    for k in range(len(shifts)):
                        if not low <= place + shifts[k] <= high:
                            outside[k] += square
        for k in range(len(shifts)):
            value = total[k] / math.sqrt(max(norm - outside[k], np.float32(1e-12)))
            if value > best[i]:
                best[i] = value
                which[i] = k


def symmetric_basis(cell: FloatArray) -> FloatArray:
    """Orthonormal symmetric tensors that the symmetry of the lattice allows, (m, 3, 3)."""
    basis = np.empty((6, 3, 3))
    return basis[: _symmetric_basis(cell, basis, np.empty((ROTATIONS_ROOM, 3)))]


@kernel
def _symmetric_basis(cell, basis, room):
    rotations = rotations_into(cell, room)
    count = 0
    mean = room[ROTATIONS_ROOM - 3 :]
    for a in range(3):
        for b in range(a, 3):
            for i in range(3):
                for j in range(3):
                    total = 0.0
                    for r in range(rotations):
                        one = room[3 * r : 3 * r + 3]
                        total += (one[i, a] * one[j, b] + one[i, b] * one[j, a]) / 2
                    mean[i, j] = total / rotations
            for k in range(count):
                common = 0.0
                for i in range(3):
                    for j in range(3):
                        common += mean[i, j] * basis[k, i, j]
                for i in range(3):
                    for j in range(3):
                        mean[i, j] -= common * basis[k, i, j]
            square = 0.0
            for i in range(3):
                for j in range(3):
                    square += mean[i, j] * mean[i, j]
            size = math.sqrt(square)
            if size > 0.05:  # what is left of a dependent tensor is rounding; of others never below 0.1
                for i in range(3):
                    for j in range(3):
                        basis[count, i, j] = mean[i, j] / size
                count += 1
    return count


@kernel
def design_into(cell, hkl, design, start, basis, room):
    """(sin θ / λ)² of lines as a linear function of the strains that the lattice allows.

    Args:
        cell: Cell vectors as rows, Å (3, 3).
        hkl: Indices of the lines (m, 3).
        design: (m, 6) derivatives by the strains are left here.
        start: (6,) strains of the cell itself.
        basis: (6, 3, 3) their tensors.
        room: (`ROTATIONS_ROOM`, 3).

    Returns:
        How many strains there are.
    """
    free = _symmetric_basis(cell, basis, room)
    back = room[:3]
    invert(cell, back)
    for k in range(free):
        start[k] = basis[k, 0, 0] + basis[k, 1, 1] + basis[k, 2, 2]
    for j in range(len(hkl)):
        q0 = hkl[j, 0] * back[0, 0] + hkl[j, 1] * back[0, 1] + hkl[j, 2] * back[0, 2]
        q1 = hkl[j, 0] * back[1, 0] + hkl[j, 1] * back[1, 1] + hkl[j, 2] * back[1, 2]
        q2 = hkl[j, 0] * back[2, 0] + hkl[j, 1] * back[2, 1] + hkl[j, 2] * back[2, 2]
        for k in range(free):
            b = basis[k]
            value = q0 * b[0, 0] * q0 + q0 * b[0, 1] * q1 + q0 * b[0, 2] * q2
            value += q1 * b[1, 0] * q0 + q1 * b[1, 1] * q1 + q1 * b[1, 2] * q2
            value += q2 * b[2, 0] * q0 + q2 * b[2, 1] * q1 + q2 * b[2, 2] * q2
            design[j, k] = value / 4  # of (sin θ / λ)² = q² / 4
    return free


@kernel
def positions(design, free, parameters, shift, wavelength, out):
    """2θ in degrees of every line."""
    for j in range(len(design)):
        square = 0.0
        for k in range(free):
            square += design[j, k] * parameters[k]
        out[j] = 2.0 * math.degrees(math.asin(min(wavelength * math.sqrt(max(square, 0.0)), 1.0))) + shift


@kernel
def _overlap(x, a, y, b, width):
    """Σ a b exp(-(x - y)² / 4 width²): the product of two stick patterns drawn as Gaussians; both ascending."""
    total = 0.0
    first = 0
    for i in range(len(x)):
        while first < len(y) and y[first] < x[i] - 6 * width:
            first += 1
        j = first
        while j < len(y) and y[j] <= x[i] + 6 * width:
            off = (x[i] - y[j]) / (2 * width)
            total += a[i] * b[j] * math.exp(-off * off)
            j += 1
    return total


@kernel
def _solve(matrix, right, n):
    """Solve a positive definite system by Cholesky's way in place; the solution takes the place of `right`.

    By hand, as are the sums over small matrices here: to compile numpy's functions takes a second and more each.
    """
    for j in range(n):
        for k in range(j):
            for i in range(j, n):
                matrix[i, j] -= matrix[i, k] * matrix[j, k]
        root = math.sqrt(matrix[j, j])
        for i in range(j, n):
            matrix[i, j] /= root
    for i in range(n):
        for k in range(i):
            right[i] -= matrix[i, k] * right[k]
        right[i] /= matrix[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            right[i] -= matrix[k, i] * right[k]
        right[i] /= matrix[i, i]


def refined_similarity(
    cell: FloatArray,
    hkl: NDArray[np.int8],
    amplitude: FloatArray,
    scale: float,
    seen: FloatArray,
    seen_amplitude: FloatArray,
    low: float,
    high: float,
    wavelength: float,
    width: float,
) -> tuple[float, FloatArray, float, FloatArray]:
    """Cosine of the lines seen with those of one crystal whose cell is strained to fit them.

    The strain keeps the symmetry of the lattice; it, and a zero shift, are found by least squares with normal priors,
    lines being assigned anew in ever narrower windows.

    Args:
        cell: Cell vectors as rows, Å (3, 3).
        hkl: Indices of its lines (m, 3).
        amplitude: Their amplitudes (m,).
        scale: Factor of the cell to begin with.
        seen: 2θ of the lines seen, degrees, ascending (n,).
        seen_amplitude: Their amplitudes (n,).
        low: 2θ where the measurement begins.
        high: 2θ where it ends.
        wavelength: Å.
        width: Standard deviation, degrees, with which lines are drawn for the cosine.

    Returns:
        Similarity, the strain tensor E of the reciprocal metric (q² = qᵀ (1 + E) q, (3, 3)), the zero shift, and 2θ of
        every line with both, degrees (m,).
    """
    lines = len(hkl)
    strain, place = np.empty((3, 3)), np.empty(lines)
    value, shift = _refined(
        cell * scale,
        hkl,
        amplitude,
        amplitude**_STRENGTH,
        seen,
        seen_amplitude,
        low,
        high,
        wavelength,
        width,
        np.empty((lines, 6)),
        np.empty((6, 3, 3)),
        np.empty((11, 7)),
        np.empty((2, lines)),
        np.empty((ROTATIONS_ROOM, 3)),
        strain,
        place,
    )
    return value, strain, shift, place


@kernel
def _refined(
    cell, hkl, amplitude, strength, seen, seen_amplitude, low, high, wavelength, width,
    design, basis, equations, sorted_lines, room, strain, place,
):  # fmt: skip
    start, parameters, row, right, normal = equations[0], equations[1], equations[2], equations[3], equations[4:]
    free, lines = design_into(cell, hkl, design, start, basis, room), len(hkl)
    for k in range(free):
        parameters[k] = start[k]
    shift = 0.0
    for turn in range(len(_UNCERTAINTY)):
        uncertainty = _UNCERTAINTY[turn]
        positions(design, free, parameters, shift, wavelength, place)
        for k in range(free + 1):
            for m in range(free + 1):
                normal[k, m] = 0.0
        for k in range(free):
            normal[k, k] = 1 / _STRAIN_PRIOR**2
            right[k] = (start[k] - parameters[k]) / _STRAIN_PRIOR**2
        normal[free, free] = 1 / _SHIFT_PRIOR**2
        right[free] = -shift / _SHIFT_PRIOR**2
        for o in range(len(seen)):
            angle = math.radians(seen[o] - shift)
            spread = math.degrees(2 * math.tan(angle / 2) * uncertainty) + _SHIFT_SHARE * uncertainty
            reach = _SIGMA_DEG**2 + spread**2
            for k in range(free):
                row[k] = 0.0
            total, centre, square = 0.0, 0.0, 0.0
            for j in range(lines):
                off = seen[o] - place[j]
                if off * off < 6.0 * reach:
                    share = strength[j] * math.exp(-0.5 * off * off / reach)
                    total += share
                    centre += share * off
                    square += share * off * off
                    for k in range(free):
                        row[k] += share * design[j, k]
            if total == 0.0:
                continue
            for k in range(free):
                row[k] /= total
            centre /= total
            variance = max(square / total - centre * centre, 0.0) + _SIGMA_DEG**2 + (_SLACK * spread) ** 2
            slope = math.sin(angle) / (2 * wavelength * wavelength) * math.radians(1.0)  # of (sin θ / λ)² by degree
            row[free] = slope
            weight = seen_amplitude[o] / (variance * slope * slope) * _WEIGHT
            off = centre * slope
            for k in range(free + 1):
                right[k] += weight * row[k] * off
                for m in range(free + 1):
                    normal[k, m] += weight * row[k] * row[m]
        _solve(normal, right, free + 1)
        for k in range(free):
            parameters[k] += right[k]
        shift = min(max(shift + right[free], -_MAX_SHIFT), _MAX_SHIFT)
    positions(design, free, parameters, shift, wavelength, place)
    for x in range(3):
        for y in range(3):
            strain[x, y] = -1.0 if x == y else 0.0
            for k in range(free):
                strain[x, y] += parameters[k] * basis[k, x, y]
    lines_at, a = sorted_lines[0], sorted_lines[1]
    count = 0
    for j in range(lines):  # in order of their places: nearly so already
        if low <= place[j] <= high:
            i = count
            while i > 0 and lines_at[i - 1] > place[j]:
                lines_at[i], a[i] = lines_at[i - 1], a[i - 1]
                i -= 1
            lines_at[i], a[i] = place[j], amplitude[j]
            count += 1
    lines_at, a = lines_at[:count], a[:count]
    if count == 0 or len(seen) == 0:
        return 0.0, shift
    own = _overlap(lines_at, a, lines_at, a, width)
    theirs = _overlap(seen, seen_amplitude, seen, seen_amplitude, width)
    return _overlap(lines_at, a, seen, seen_amplitude, width) / math.sqrt(own * theirs), shift


def profile_similarity(
    place: FloatArray,
    shift: float,
    amplitude: FloatArray,
    root: FloatArray,
    measured: NDArray[np.bool_],
    start: float,
    step: float,
    sigma: float,
    components: FloatArray,
) -> float:
    """Cosine of the square roots of a measured profile and of one drawn from lines as Gaussians.

    Lines that run into each other, and weak ones beside strong ones, count as they are seen: no peak has to be found.

    Args:
        place: 2θ of the lines, degrees, with the zero shift (m,).
        shift: The zero shift.
        amplitude: Square roots of their intensities (m,).
        root: Square root of the profile above background and noise (n,).
        measured: Where it was measured (n,).
        start: 2θ of its first point.
        step: Degrees.
        sigma: Standard deviation of the lines, degrees.
        components: Wavelength, as part of the one `place` is for, and share of every line of the radiation (k, 2).
    """
    value: float = _profile(
        place, shift, amplitude, root, measured, start, step, sigma, components, np.zeros(len(root))
    )
    return value


@kernel
def _profile(place, shift, amplitude, root, measured, start, step, sigma, components, drawn):
    change = math.exp(-((step / sigma) ** 2))
    for j in range(len(place)):
        sine = math.sin(math.radians((place[j] - shift) / 2))
        for k in range(len(components)):
            here = sine * components[k, 0]
            if here >= 1.0:
                continue
            centre = (2 * math.degrees(math.asin(here)) + shift - start) / step
            first = max(math.ceil(centre - 4 * sigma / step), 0)
            last = min(math.floor(centre + 4 * sigma / step), len(root) - 1)
            height = components[k, 1] * amplitude[j] * amplitude[j]
            # exp(-x²/2) at equal steps: each value from the one before, by a factor that itself changes by one
            pace = step / sigma
            off = (first - centre) * pace
            value = height * math.exp(-0.5 * off * off)
            factor = math.exp(-pace * (off + 0.5 * pace))
            for i in range(first, last + 1):
                drawn[i] += value
                value *= factor
                factor *= change
    both, own, theirs = _products(root, drawn, measured)
    return both / math.sqrt(own * theirs) if own > 0.0 and theirs > 0.0 else 0.0


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"}, _nrt=False)
def _products(root, drawn, measured):
    """Σ r √d, Σ d and Σ r² where measured; without a branch, so that it is done with vectors."""
    both, own, theirs = 0.0, 0.0, 0.0
    for i in range(len(root)):
        used = 1.0 if measured[i] else 0.0
        both += used * root[i] * math.sqrt(drawn[i])
        own += used * drawn[i]
        theirs += used * root[i] * root[i]
    return both, own, theirs
