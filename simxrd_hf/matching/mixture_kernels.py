"""Compiled inner loops of the search for several phases: what a crystal explains of a pattern that holds others too."""

import math

import numpy as np

from simxrd_hf.compiler import njit
from simxrd_hf.diffraction.lattice import inverse, lattice_rotations
from simxrd_hf.matching.similarity_kernels import _positions, _symmetric_basis

LEVELS = np.array([1.0, 0.75, 0.56, 0.42, 0.31, 0.23, 0.17, 0.125, 0.09, 0.066])
"""Amplitudes of the strongest line that the quick screen tries, parts of the highest seen."""
_MISSING = 1.0  # a part of a line that is not there costs as much as one that is there brings
_REACH = 8.0  # widths (at half height) after which a line is cut
_SWEEPS = 3
_FIRST_STEP = 0.01


@njit(cache=True, nogil=True, fastmath=True)
def screen(places, amplitude, counts, chosen, seen, shifts, lines, low, high):
    """What crystals explain of the lines seen, at the best scales of cell and intensity; other lines cost nothing.

    Args:
        places: Bins of ln d of the lines, strongest first, int16 (n, ≥ lines).
        amplitude: Their amplitudes (n, ≥ lines), float32.
        counts: Lines of each crystal (n,).
        chosen: Which crystals (k,).
        seen: Amplitude seen at each bin of ln d, the highest 1, float32.
        shifts: Bins by which the lines are moved (s,).
        lines: How many lines of a crystal are used.
        low: First bin measured.
        high: Last bin measured.

    Returns:
        Σ (amplitude explained − amplitude that should be there and is not) float32 (k,), the same over the sum of all
        amplitudes that should be there (k,), and which shift gave it (k,).
    """
    gain = np.zeros(len(chosen), np.float32)
    share = np.zeros(len(chosen), np.float32)
    which = np.zeros(len(chosen), np.int16)
    u = np.empty(lines, np.float32)
    a = np.empty(lines, np.float32)
    for n in range(len(chosen)):
        i = chosen[n]
        for k in range(len(shifts)):
            m = 0
            for j in range(min(counts[i], lines)):
                place = places[i, j] + shifts[k]
                if low <= place <= high:
                    u[m] = seen[place]
                    a[m] = amplitude[i, j]
                    m += 1
            for level in LEVELS:
                c = np.float32(level)
                there = np.float32(0.0)
                total = np.float32(0.0)
                for j in range(m):
                    height = c * a[j]
                    there += min(u[j], height)
                    total += height
                value = there - np.float32(_MISSING) * (total - there)
                if value > gain[n]:
                    gain[n] = value
                    share[n] = there / total
                    which[n] = k
    return gain, share, which


@njit(cache=True, nogil=True)
def design_of(cell, hkl):
    """(sin θ / λ)² of lines as a linear function of the strains that the lattice allows: matrix (m, f), start (f,)."""
    back = inverse(cell)
    basis = _symmetric_basis(cell)
    free = len(basis)
    design = np.empty((len(hkl), free))
    q = np.empty(3)
    for j in range(len(hkl)):
        for x in range(3):
            q[x] = hkl[j, 0] * back[x, 0] + hkl[j, 1] * back[x, 1] + hkl[j, 2] * back[x, 2]
        for k in range(free):
            value = 0.0
            for x in range(3):
                for y in range(3):
                    value += q[x] * basis[k, x, y] * q[y]
            design[j, k] = value / 4
    start = np.array([basis[k, 0, 0] + basis[k, 1, 1] + basis[k, 2, 2] for k in range(free)])
    return design, start, basis


@njit(cache=True, nogil=True)
def _explained(design, parameters, amplitude, level, seen, start, step, wavelength, place):
    """As in `screen`, of a map of the amplitude seen along 2θ."""
    _positions(design, parameters, 0.0, wavelength, place)
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


@njit(cache=True, nogil=True)
def _best_level(design, parameters, amplitude, seen, start, step, wavelength, place):
    best, level = 0.0, 0.0
    for c in LEVELS:
        value = _explained(design, parameters, amplitude, c, seen, start, step, wavelength, place)
        if value > best:
            best, level = value, c
    return level


@njit(cache=True, nogil=True)
def align(cell, hkl, amplitude, scale, seen, start, step, wavelength, spread):
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
        The strain parameters (f,), and what the crystal explains in the sharpest map.
    """
    design, origin, _ = design_of(cell, hkl)
    free = len(origin)
    parameters = origin / scale**2
    place = np.empty(len(hkl))
    value, size = 0.0, _FIRST_STEP
    for b in range(len(seen)):
        level = _best_level(design, parameters, amplitude, seen[b], start, step, wavelength, place)
        if level == 0.0:
            level = LEVELS[len(LEVELS) - 1]
        total = level * amplitude.sum()
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
                    now = _explained(design, parameters, amplitude, level, seen[b], start, step, wavelength, place)
                    now -= 0.05 * total * cost
                    if now > value + 1e-12:
                        value, best = now, parameters[k]
                parameters[k] = best
        size = max(size * 1.8, 0.0015)
    return parameters, value


@njit(cache=True, nogil=True)
def texture(cell, hkl, axis, r):
    """Factors of the lines of a powder with March–Dollase texture, mean over the lattice's symmetry (m,).

    Dollase, J. Appl. Cryst. 19, 267 (1986); the mean over the sphere is 1, so that scales stay weights.

    Args:
        cell: Cell vectors as rows (3, 3).
        hkl: Indices of the lines (m, 3).
        axis: Indices of the reciprocal axis (3,).
        r: Below 1 for platelets.
    """
    back = inverse(cell)
    rotations = lattice_rotations(cell)
    n, q = np.empty(3), np.empty(3)
    for x in range(3):
        n[x] = back[x, 0] * axis[0] + back[x, 1] * axis[1] + back[x, 2] * axis[2]
    length = n[0] * n[0] + n[1] * n[1] + n[2] * n[2]
    out = np.empty(len(hkl))
    for j in range(len(hkl)):
        for x in range(3):
            q[x] = back[x, 0] * hkl[j, 0] + back[x, 1] * hkl[j, 1] + back[x, 2] * hkl[j, 2]
        square = length * (q[0] * q[0] + q[1] * q[1] + q[2] * q[2])
        total = 0.0
        for k in range(len(rotations)):
            cosine = 0.0
            for x in range(3):
                for y in range(3):
                    cosine += n[x] * rotations[k, x, y] * q[y]
            c2 = cosine * cosine / square
            total += (r * r * c2 + (1.0 - c2) / r) ** -1.5
        out[j] = total / len(rotations)
    return out


@njit(cache=True, nogil=True)
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
    out[:] = 0.0
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


@njit(cache=True, nogil=True)
def hills(profile, reach, out):
    """Highest of the neighbours, each lowered in proportion to its distance up to `reach` points."""
    n = len(profile)
    for i in range(n):
        best = profile[i]
        for j in range(max(i - reach, 0), min(i + reach, n - 1) + 1):
            value = profile[j] * (1.0 - abs(i - j) / (reach + 1.0))
            best = max(best, value)
        out[i] = best
