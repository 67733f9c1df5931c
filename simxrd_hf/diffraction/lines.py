"""What one condition makes of the lines of a crystal: where they lie, how strong and how wide they are."""

import math
from typing import NamedTuple

import numpy as np

from simxrd_hf.diffraction import background as bg
from simxrd_hf.diffraction import effects
from simxrd_hf.diffraction.compilation import inlined, kernel
from simxrd_hf.diffraction.lattice import inverse, invert
from simxrd_hf.diffraction.parameters import INDEX
from simxrd_hf.diffraction.philox import draw4
from simxrd_hf.diffraction.reflections import Reflections

# The places of the parameters, as constants the compiled code can see.
(
    GRAIN, ORIENTATION, DISPLACEMENT_U, SIZE, STRAIN, FWHM, U, V, AXIAL_S, AXIAL_H, KALPHA2, ZERO,
    DISPLACEMENT, DEPTH, MARCH_R, MARCH_AXIS, SCALE, SHAPE, B, BACKGROUND, AIR, AMORPHOUS, UNIFORM,
    COUNTS, DETECTOR, IMPURITY, REMOVED, GRAINS, GAUSS_STRAIN,
) = range(len(INDEX))  # fmt: skip

MEASURED = frozenset({
    "axial_s_over_l", "axial_h_over_l", "kalpha2_ratio", "march_r", "march_axis", "cell_scale_percent",
    "cell_shape_percent", "air_scatter_ratio", "amorphous_ratio", "max_counts", "detector_noise_percent",
    "background_removed", "graininess",
})  # fmt: skip
"""What a preset like `lab` draws and one like `simxrd-4m` does not: the code for it is compiled for the first alone."""

# Rows of the table of lines: 2θ of Kα1 and Kα2 and FWHM of both parts in degrees, area, sin θ and cos θ of Kα1, and
# two for the renderer
PLACE, PLACE2, AREA, GAUSS, LORENTZ, SINE, COSINE, WIDTH, ETA = range(9)
ROWS = 9

_DEGREES = 180.0 / math.pi
_STEEPEST = 0.9999  # sin θ; a line that strain moves beyond it is gone
# arcsin y / y in powers of y²
_ARCSIN = tuple(math.comb(2 * k, k) / (4.0**k * (2 * k + 1)) for k in range(11))


class Lines(NamedTuple):
    """A crystal as the compiled code takes it; see `Reflections`."""

    s_squared: np.ndarray  # of each line (m,)
    strength: np.ndarray  # (m,)
    q: np.ndarray  # unit vectors (3, m)
    start: np.ndarray  # (m + 1,)
    member_q: np.ndarray  # unit vectors (3, n)
    member_strength: np.ndarray  # (n,)
    average: np.ndarray  # of a tensor's nine numbers over the rotations of the lattice (9, 9)
    axes: np.ndarray  # Cartesian unit vectors of MARCH_AXES


class Room(NamedTuple):
    """Room for what is computed on the way."""

    strain: np.ndarray  # three matrices (3, 3, 3)
    members: np.ndarray  # one number for each reflection


class Settings(NamedTuple):
    """Preset and grid as numbers for the compiled code."""

    two_theta_min: float
    step: float
    wavelength: float
    wavelength2: float
    polarisation: float
    radius_mm: float
    simxrd_background: bool


def pack(lattice: np.ndarray, found: Reflections, rotations: np.ndarray) -> Lines:
    """Reflections of a crystal on a lattice, ready for `lines_of`."""
    axes = effects.MARCH_AXES @ inverse(lattice).T
    axes /= np.sqrt((axes * axes).sum(axis=1, keepdims=True))
    q, member_q = (np.ascontiguousarray(v.T) / np.sqrt((v * v).sum(axis=1)) for v in (found.q, found.member_q))
    average = np.einsum("rik,rjm->ijkm", rotations, rotations).reshape(9, 9) / len(rotations)
    return Lines(found.s_squared, found.strength, q, found.start, member_q, found.member_strength, average, axes)


@kernel
def _strain(p, average, key0, key1, condition, random, mean, out):
    """Inverse of 1 + ε: isotropic scale plus a traceless random tensor, averaged over the rotations of the lattice."""
    u0, u1, u2, _ = draw4(key0, key1, condition, bg.STRAIN, bg.ZEROTH)
    v0, v1, v2, _ = draw4(key0, key1, condition, bg.STRAIN, bg.FIRST)
    random[0, 0], random[1, 1], random[2, 2] = 2.0 * u0 - 1.0, 2.0 * u1 - 1.0, 2.0 * u2 - 1.0
    random[0, 1] = random[1, 0] = v0 - 0.5
    random[0, 2] = random[2, 0] = v1 - 0.5
    random[1, 2] = random[2, 1] = v2 - 0.5
    for i in range(3):
        for j in range(3):
            total = 0.0
            for k in range(3):
                for m in range(3):
                    total += average[3 * i + j, 3 * k + m] * random[k, m]
            mean[i, j] = total
    trace = (mean[0, 0] + mean[1, 1] + mean[2, 2]) / 3.0
    for i in range(3):
        for j in range(3):
            change = 0.01 * p[SHAPE] * (mean[i, j] - (trace if i == j else 0.0))
            mean[i, j] = change + (1.0 + 0.01 * p[SCALE] if i == j else 0.0)
    invert(mean, out)


def inverse_strain(p: np.ndarray, lines: Lines, key0: int, key1: int, condition: int) -> np.ndarray:
    """Inverse of 1 + ε of one pattern, (3, 3): what it does to the reciprocal vectors of a crystal.

    Args:
        p: Parameters of the pattern.
        lines: Of the crystal.
        key0: First half of the crystal's key.
        key1: Second half.
        condition: The pattern.
    """
    room = np.empty((3, 3, 3))
    _strain(p, lines.average, key0, key1, condition, room[0], room[1], room[2])
    return room[2]


@inlined
def _two_theta(sine, cosine):
    """2 arcsin in degrees, to 1e-10, without a branch: the angle is halved twice, then the series is short."""
    half_cosine = math.sqrt(0.5 * (1.0 + cosine))
    y = sine / (4.0 * half_cosine * math.sqrt(0.5 * (1.0 + half_cosine)))
    u = y * y
    series = _ARCSIN[10]
    for k in range(9, -1, -1):
        series = series * u + _ARCSIN[k]
    return 8.0 * _DEGREES * y * series


@inlined
def _exp(x):
    """Exp of -90 to 80 without a branch or a call, to 1e-6 at the ends and 1e-13 near 0: exp(x/256)^256."""
    v = max(x, -90.0) / 256.0
    e = 1.0 + v * (
        1.0 + v / 2.0 * (1.0 + v / 3.0 * (1.0 + v / 4.0 * (1.0 + v / 5.0 * (1.0 + v / 6.0 * (1.0 + v / 7.0)))))
    )
    for _ in range(8):
        e *= e
    return e


@kernel
def lines_of(lines, settings, measured, p, key0, key1, condition, table, begin, work, room):
    """Fill the table of the lines of one pattern, a column for each, from column `begin` on.

    Lines that do not begin the table are those of a second phase, which has no texture.

    Every step is a loop over all lines that the compiler vectorises. A line that strain moves beyond 2θ = 179° keeps
    its column, with area 0.

    Returns the number of lines.
    """
    n = len(lines.s_squared)
    end = begin + n
    second_phase = begin > 0
    place, place2, area = table[PLACE, begin:end], table[PLACE2, begin:end], table[AREA, begin:end]
    gauss, lorentz = table[GAUSS, begin:end], table[LORENTZ, begin:end]
    sine, cosine, s_squared = table[SINE, begin:end], table[COSINE, begin:end], table[WIDTH, begin:end]
    for i in range(n):
        s_squared[i], area[i] = lines.s_squared[i], lines.strength[i]
    if measured is not None and (p[SCALE] != 0.0 or p[SHAPE] != 0.0):
        back = room.strain[2]
        _strain(p, lines.average, key0, key1, condition, room.strain[0], room.strain[1], back)
        x, y, z = lines.q[0], lines.q[1], lines.q[2]
        for i in range(n):
            r0 = back[0, 0] * x[i] + back[0, 1] * y[i] + back[0, 2] * z[i]
            r1 = back[1, 0] * x[i] + back[1, 1] * y[i] + back[1, 2] * z[i]
            r2 = back[2, 0] * x[i] + back[2, 1] * y[i] + back[2, 2] * z[i]
            s_squared[i] *= r0 * r0 + r1 * r1 + r2 * r2

    if measured is not None and p[MARCH_R] != 1.0 and not second_phase:
        axis = lines.axes[min(int(p[MARCH_AXIS]), len(lines.axes) - 1)]
        x, y, z = lines.member_q[0], lines.member_q[1], lines.member_q[2]
        textured = room.members[: len(x)]
        for k in range(len(x)):
            cosine_k = x[k] * axis[0] + y[k] * axis[1] + z[k] * axis[2]
            textured[k] = lines.member_strength[k] * effects.march_dollase(p[MARCH_R], cosine_k)
        for i in range(n):
            total = 0.0
            for k in range(lines.start[i], lines.start[i + 1]):
                total += textured[k]
            area[i] = total
    if p[ORIENTATION] > 0.0 and not second_phase:
        bg.fill_normal(n, key0, key1, condition, bg.ORIENTATION, work)
        random = work.normal[:n]
        low, high = 1.0 - p[ORIENTATION], 1.0 + p[ORIENTATION]
        for i in range(n):
            area[i] *= min(max(1.0 + 0.2 * random[i], low), high)
    if measured is not None and p[GRAINS] > 0.0 and not second_phase:
        bg.fill_normal(n, key0, key1, condition, bg.GRAINS, work)
        random = work.normal[:n]
        spread = float(p[GRAINS])
        for i in range(n):
            area[i] *= _exp(spread * random[i] - 0.5 * spread * spread)

    wavelength, polarisation = settings.wavelength, settings.polarisation
    b = -2.0 * (p[B] + 8.0 * math.pi**2 / 3.0 * p[DISPLACEMENT_U] ** 2)
    for i in range(n):
        sin = wavelength * math.sqrt(s_squared[i])
        there = 1.0 if sin < _STEEPEST else 0.0
        sin = min(sin, _STEEPEST)
        cos = math.sqrt(1.0 - sin * sin)
        sine[i], cosine[i] = sin, cos
        area[i] *= there * effects.lorentz_polarisation(sin, cos, polarisation) * _exp(b * s_squared[i])

    zero, depth = float(p[ZERO]), effects.transparency_shift(float(p[DEPTH]), settings.radius_mm, 1.0, 1.0) * _DEGREES
    displacement = effects.displacement_shift(float(p[DISPLACEMENT]), settings.radius_mm, 1.0) * _DEGREES
    for i in range(n):
        shift = zero + displacement * cosine[i] + depth * sine[i] * cosine[i]
        place[i] = _two_theta(sine[i], cosine[i]) + shift
    if measured is not None and p[KALPHA2] > 0.0:
        ratio = settings.wavelength2 / wavelength
        for i in range(n):
            shift = zero + displacement * cosine[i] + depth * sine[i] * cosine[i]
            sin = min(ratio * sine[i], 1.0)
            place2[i] = _two_theta(sin, math.sqrt(1.0 - sin * sin)) + shift

    instrument, caglioti_u, caglioti_v = float(p[FWHM]), float(p[U]), float(p[V])
    gauss_strain = effects.strain_width(0.01 * p[GAUSS_STRAIN], 1.0) * _DEGREES
    strain = effects.strain_width(0.01 * p[STRAIN], 1.0) * _DEGREES
    size = effects.scherrer_width(p[SIZE], wavelength, 1.0) * _DEGREES
    grain = effects.simxrd_width(p[GRAIN], wavelength, 1.0)
    for i in range(n):
        over_cos = 1.0 / cosine[i]
        tan = sine[i] * over_cos
        own = effects.caglioti_width(instrument, caglioti_u, caglioti_v, tan)
        spread = gauss_strain * tan
        simxrd = grain * over_cos
        lorentz[i] = strain * tan + size * over_cos + simxrd
        simxrd *= effects.SIMXRD_GAUSS_PER_LORENTZ
        gauss[i] = math.sqrt(own * own + spread * spread + simxrd * simxrd)
    return n
