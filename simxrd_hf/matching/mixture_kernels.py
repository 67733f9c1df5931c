"""Compiled inner loops of the search for several phases: what a crystal explains of a pattern that holds others too."""

import math

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.compiler import njit
from simxrd_hf.diffraction.compilation import kernel
from simxrd_hf.diffraction.lattice import ROTATIONS_ROOM, invert, rotations_into
from simxrd_hf.matching.similarity_kernels import design_into, positions, side_by_side

FloatArray = NDArray[np.float64]

LEVELS = np.array([1.0, 0.75, 0.56, 0.42, 0.31, 0.23, 0.17, 0.125, 0.09, 0.066])
"""Amplitudes of the strongest line that the quick screen tries, parts of the highest seen."""
_MISSING = 1.0  # a part of a line that is not there costs as much as one that is there brings
_REACH = 8.0  # widths (at half height) after which a line is cut
_SWEEPS = 3
_FIRST_STEP = 0.01


_LANES = 16  # scales of the cell looked at at once, a whole number of vectors


def screen(
    places: NDArray[np.int16],
    amplitude: NDArray[np.float32],
    counts: NDArray[np.int64],
    chosen: NDArray[np.int64],
    seen: NDArray[np.float32],
    shifts: NDArray[np.int64],
    lines: int,
    low: int,
    high: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int16]]:
    """What crystals explain of the lines seen, at the best scales of cell and intensity; other lines cost nothing.

    Args:
        places: Bins of ln d of the lines, strongest first, int16 (n, ≥ lines).
        amplitude: Their amplitudes (n, ≥ lines), float32.
        counts: Lines of each crystal (n,).
        chosen: Which crystals (k,).
        seen: Amplitude seen at each bin of ln d, the highest 1, float32.
        shifts: Bins by which the lines are moved (s,), at most 16.
        lines: How many lines of a crystal are used, a multiple of four.
        low: First bin measured.
        high: Last bin measured.

    Returns:
        Σ (amplitude explained − amplitude that should be there and is not) float32 (k,), the same over the sum of all
        amplitudes that should be there (k,), and which shift gave it (k,).
    """
    gain, share = np.zeros((2, len(chosen)), np.float32)
    which = np.zeros(len(chosen), np.int16)
    here, first, _ = side_by_side(seen, shifts, low, high, _LANES, -1.0)
    _screen(
        places, amplitude, counts, chosen, here, first, len(shifts), lines, np.empty((2, _LANES), np.float32),
        gain, share, which,
    )  # fmt: skip
    return gain, share, which


@njit(cache=True, nogil=True, fastmath=True, _nrt=False)
def _screen(places, amplitude, counts, chosen, here, first, shifts, lines, sums, gain, share, which):
    whole, there = sums[0], sums[1]
    lanes = here.shape[
        1
    ]  # were it a number known beforehand, the loops would be unrolled, and none be left for vectors
    end, none = len(here) - 1, np.float32(0.0)
    for n in range(len(chosen)):
        i = chosen[n]
        used = min(counts[i], lines)
        for k in range(lanes):
            whole[k] = none
        for j in range(used):
            at, a = min(max(places[i, j] - first, 0), end), amplitude[i, j]
            for k in range(lanes):
                whole[k] += a if here[at, k] >= none else none
        for level in range(len(LEVELS)):
            c = np.float32(LEVELS[level])
            for k in range(lanes):
                there[k] = none
            for j in range(
                0, used, 4
            ):  # four at a time, or the sums would wait for one another; absent lines have none
                r0 = min(max(places[i, j] - first, 0), end)
                r1 = min(max(places[i, j + 1] - first, 0), end)
                r2 = min(max(places[i, j + 2] - first, 0), end)
                r3 = min(max(places[i, j + 3] - first, 0), end)
                h0, h1, h2, h3 = (
                    c * amplitude[i, j],
                    c * amplitude[i, j + 1],
                    c * amplitude[i, j + 2],
                    c * amplitude[i, j + 3],
                )
                for k in range(lanes):
                    part = max(min(here[r0, k], h0), none) + max(min(here[r1, k], h1), none)
                    there[k] += part + (max(min(here[r2, k], h2), none) + max(min(here[r3, k], h3), none))
            for k in range(shifts):
                total = c * whole[k]
                value = there[k] - np.float32(_MISSING) * (total - there[k])
                if value > gain[n]:
                    gain[n] = value
                    share[n] = there[k] / total
                    which[n] = k


def design_of(cell: FloatArray, hkl: NDArray[np.int8]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(sin θ / λ)² of lines as a linear function of the strains that the lattice allows: matrix (m, f), start (f,).

    The third are the tensors of the strains (f, 3, 3).
    """
    design, start, basis = np.empty((len(hkl), 6)), np.empty(6), np.empty((6, 3, 3))
    free = _design(cell, hkl, design, start, basis, np.empty((ROTATIONS_ROOM, 3)))
    return np.ascontiguousarray(design[:, :free]), start[:free], basis[:free]


@kernel
def _design(cell, hkl, design, start, basis, room):
    return design_into(cell, hkl, design, start, basis, room)


@kernel
def _explained(design, free, parameters, amplitude, level, seen, start, step, wavelength, place):
    """As in `screen`, of a map of the amplitude seen along 2θ."""
    positions(design, free, parameters, 0.0, wavelength, place)
    value = 0.0
    for j in range(len(design)):
        at = (place[j] - start) / step
        i = math.floor(at)
        if i < 0 or i + 1 >= len(seen):
            continue
        part = at - i
        u = seen[i] + part * (seen[i + 1] - seen[i])
        height = level * amplitude[j]
        there = min(u, height)
        value += there - _MISSING * (height - there)
    return value


@kernel
def _best_level(design, free, parameters, amplitude, seen, start, step, wavelength, place):
    best, level = 0.0, 0.0
    for at in range(len(LEVELS)):
        c = LEVELS[at]
        value = _explained(design, free, parameters, amplitude, c, seen, start, step, wavelength, place)
        if value > best:
            best, level = value, c
    return level


def align(
    cell: FloatArray,
    hkl: NDArray[np.int8],
    amplitude: FloatArray,
    scale: float,
    seen: FloatArray,
    start: float,
    step: float,
    wavelength: float,
    spread: float,
) -> tuple[FloatArray, float, FloatArray, FloatArray, FloatArray]:
    """Strain the cell of a crystal until its lines meet those of a pattern that may hold others.

    Coordinate search, each time in a sharper map; lines of others draw a line no further than its own height.

    Args:
        cell: Cell vectors as rows, Å (3, 3).
        hkl: Indices of the lines (m, 3).
        amplitude: Their amplitudes (m,).
        scale: Factor of the cell to begin with.
        seen: Maps of the amplitude seen along 2θ, from blurred to sharp (b, n_points).
        start: 2θ of the first point.
        step: Degrees.
        wavelength: Å.
        spread: Standard deviation of the strains that costs one tenth of what the crystal explains.

    Returns:
        The strain parameters (f,), what the crystal explains in the sharpest map, and what `design_of` gives.
    """
    lines = len(hkl)
    design, origin, basis, parameters = np.empty((lines, 6)), np.empty(6), np.empty((6, 3, 3)), np.empty(6)
    room, place = np.empty((ROTATIONS_ROOM, 3)), np.empty(lines)
    free, value = _align(
        cell,
        hkl,
        amplitude,
        scale,
        seen,
        start,
        step,
        wavelength,
        spread,
        design,
        origin,
        basis,
        parameters,
        room,
        place,
    )
    return parameters[:free], value, np.ascontiguousarray(design[:, :free]), origin[:free], basis[:free]


@kernel
def _align(
    cell, hkl, amplitude, scale, seen, start, step, wavelength, spread, design, origin, basis, parameters, room, place
):
    free = design_into(cell, hkl, design, origin, basis, room)
    whole = 0.0
    for j in range(len(hkl)):
        whole += amplitude[j]
    for k in range(free):
        parameters[k] = origin[k] / scale**2
    value, size = 0.0, _FIRST_STEP
    for b in range(len(seen)):
        level = _best_level(design, free, parameters, amplitude, seen[b], start, step, wavelength, place)
        if level == 0.0:
            level = LEVELS[len(LEVELS) - 1]
        total = level * whole
        value = -1e30
        for sweep in range(_SWEEPS + 1):
            if sweep > 0:
                size *= 0.6
            for k in range(free):
                kept, best = parameters[k], parameters[k]
                for move in range(-2, 3):
                    if move == 0 and value > -1e30:
                        continue
                    parameters[k] = kept + move * size * (1.0 if free == 1 else 0.7)
                    cost = 0.0
                    for x in range(free):
                        cost += ((parameters[x] - origin[x]) / spread) ** 2
                    now = _explained(
                        design, free, parameters, amplitude, level, seen[b], start, step, wavelength, place
                    )
                    now -= 0.05 * total * cost
                    if now > value + 1e-12:
                        value, best = now, parameters[k]
                parameters[k] = best
        size = max(size * 1.8, 0.0015)
    return free, value


def texture(cell: FloatArray, hkl: NDArray[np.int8], axis: FloatArray, r: float) -> FloatArray:
    """Factors of the lines of a powder with March–Dollase texture, mean over the lattice's symmetry (m,).

    Dollase, J. Appl. Cryst. 19, 267 (1986); the mean over the sphere is 1, so that scales stay weights.

    Args:
        cell: Cell vectors as rows (3, 3).
        hkl: Indices of the lines (m, 3).
        axis: Indices of the reciprocal axis (3,).
        r: Below 1 for platelets.
    """
    out = np.empty(len(hkl))
    _texture(cell, hkl, axis, r, np.empty((ROTATIONS_ROOM, 3)), out)
    return out


@kernel
def _texture(cell, hkl, axis, r, room, out):
    count = rotations_into(cell, room)
    back, n, q = room[ROTATIONS_ROOM - 5 : ROTATIONS_ROOM - 2], room[ROTATIONS_ROOM - 2], room[ROTATIONS_ROOM - 1]
    invert(cell, back)
    for x in range(3):
        n[x] = back[x, 0] * axis[0] + back[x, 1] * axis[1] + back[x, 2] * axis[2]
    length = n[0] * n[0] + n[1] * n[1] + n[2] * n[2]
    for j in range(len(hkl)):
        for x in range(3):
            q[x] = back[x, 0] * hkl[j, 0] + back[x, 1] * hkl[j, 1] + back[x, 2] * hkl[j, 2]
        square = length * (q[0] * q[0] + q[1] * q[1] + q[2] * q[2])
        total = 0.0
        for k in range(count):
            cosine = 0.0
            for x in range(3):
                for y in range(3):
                    cosine += n[x] * room[3 * k + x, y] * q[y]
            c2 = cosine * cosine / square
            base = r * r * c2 + (1.0 - c2) / r
            total += 1.0 / (base * math.sqrt(base))
        out[j] = total / count


@kernel
def draw(design, parameters, intensity, shift, displacement, width, tail, components, start, step, wavelength, out):
    """A phase's profile, and its derivatives where `out` has room for them: its rows (1 or 4 + f, n_points).

    Pseudo-Voigt lines with a Lorentzian part `tail`, full widths at half height width / cos θ.

    Args:
        design: See `design_of` (m, f).
        parameters: (f,).
        intensity: Integrated intensities of the lines (m,).
        shift: Zero shift, degrees.
        displacement: Coefficient of cos θ of the shift by displacement, degrees.
        width: Degrees.
        tail: 0 to 1.
        components: Wavelength, as part of `wavelength`, and share of every line of the radiation (k, 2).
        start: 2θ of the first point.
        step: Degrees.
        wavelength: Å.
        out: First the profile, then derivatives by shift, displacement, ln width, and the parameters.
    """
    free = len(parameters)
    slopes = len(out) > 1
    n = out.shape[1]
    for k in range(len(out)):
        for i in range(n):
            out[k, i] = 0.0
    gauss = 4.0 * math.log(2.0)
    gauss_norm = math.sqrt(gauss / math.pi)
    for j in range(len(design)):
        if intensity[j] <= 0.0:
            continue
        square = 0.0
        for k in range(free):
            square += design[j, k] * parameters[k]
        if square <= 0.0:
            continue
        base = wavelength * math.sqrt(square)
        for c in range(len(components)):
            sine = base * components[c, 0]
            if sine >= 0.995:
                continue
            cosine = math.sqrt(1.0 - sine * sine)
            centre = math.degrees(2.0 * math.asin(sine)) + shift + displacement * cosine
            h = width / cosine
            first = max(math.ceil((centre - _REACH * h - start) / step), 0)
            last = min(math.floor((centre + _REACH * h - start) / step), n - 1)
            if first > last:
                continue
            height = components[c, 1] * intensity[j]
            # of 2θ by (sin θ / λ)²
            slope = math.degrees(sine / (square * cosine))
            for i in range(first, last + 1):
                x = (start + i * step - centre) / h
                g = (1.0 - tail) * gauss_norm * math.exp(-gauss * x * x)
                below = 1.0 + 4.0 * x * x
                m = tail * 2.0 / math.pi / below
                value = height * (g + m) / h
                out[0, i] += value
                if not slopes:
                    continue
                # derivative of the profile by the place of its centre
                by_centre = height * (g * 2.0 * gauss * x + m * 8.0 * x / below) / (h * h)
                out[1, i] += by_centre
                out[2, i] += by_centre * cosine
                out[3, i] += by_centre * x * h - value
                move = by_centre * slope
                for k in range(free):
                    out[4 + k, i] += move * design[j, k]


@kernel
def hills(profile, reach, out):
    """Highest of the neighbours, each lowered in proportion to its distance up to `reach` points."""
    n = len(profile)
    for i in range(n):
        best = profile[i]
        for j in range(max(i - reach, 0), min(i + reach, n - 1) + 1):
            value = profile[j] * (1.0 - abs(i - j) / (reach + 1.0))
            best = max(best, value)
        out[i] = best
