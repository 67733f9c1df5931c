"""Backgrounds and noise, drawn from the counter of the pattern, so that each is the same whatever else is on."""

import math
from typing import NamedTuple

import numpy as np

from simxrd_hf.diffraction.compilation import compiled, kernel
from simxrd_hf.diffraction.philox import draw4, fill_words, normal_pair

# Streams of the generator: parameters use 0 .. 63
# (numbers of numpy: numba compiles a function anew for each Python number that is written out)
ORIENTATION, BACKGROUND, AMORPHOUS, UNIFORM_NOISE, COUNTING, DETECTOR, STRAIN, IMPURITY, GRAINS = np.arange(64, 73)
ZEROTH, FIRST, SECOND = np.arange(3)

POISSON_EXACT_BELOW = 4.0
"""Mean counts below which the Poisson number is found by exact inversion."""


class Work(NamedTuple):
    """Room for the random numbers of one pattern: as many as it has points or lines, rounded up to whole blocks."""

    words: np.ndarray  # uint32; this and the next two a multiple of BLOCK long
    chance: np.ndarray  # float32
    normal: np.ndarray  # float32
    block: np.ndarray  # float32 (4, BLOCK)


BLOCK = 64
"""Numbers that are made together: loops over whole blocks leave no remainder, which would not vectorise."""


@kernel
def whole(n):
    """The next multiple of BLOCK."""
    return (n + BLOCK - 1) // BLOCK * BLOCK


@compiled
def new_work(n):
    """Room for n random numbers."""
    size = whole(n)
    return Work(
        np.zeros(size, np.uint32),
        np.empty(size, np.float32),
        np.empty(size, np.float32),
        np.empty((4, BLOCK), np.float32),
    )


@compiled
def add_simxrd_background(y, two_theta_min, step, height, key0, key1, condition):
    """Add the background of the SimXRD rows: a polynomial of degree 6 with normal coefficients in 2θ (degrees).

    The polynomial is shifted to a minimum of 0, scaled to a maximum of `height` and mirrored, as the rows have it.
    """
    c = np.empty(8)
    for i in range(2):
        u, v, w, x = draw4(key0, key1, condition, BACKGROUND, i)
        c[4 * i], c[4 * i + 1] = normal_pair(u, v)
        c[4 * i + 2], c[4 * i + 3] = normal_pair(w, x)
    n = len(y)
    x_end = two_theta_min + step * (n - 1)
    # Σ c_i x^(6-i) over x_end^6 is Σ c_i x_end^-i t^(6-i) with t = x / x_end: no overflow in float32
    for i in range(7):
        c[i] *= x_end**-i
    c0, c1, c2, c3 = np.float32(c[0]), np.float32(c[1]), np.float32(c[2]), np.float32(c[3])
    c4, c5, c6 = np.float32(c[4]), np.float32(c[5]), np.float32(c[6])
    slope = np.float32(-step / x_end)
    one = np.float32(1.0)
    shape = np.empty(n, np.float32)
    for i in range(n):  # mirrored: the first point takes the polynomial at the last 2θ
        t = one + slope * np.float32(i)
        shape[i] = ((((((c0 * t + c1) * t + c2) * t + c3) * t + c4) * t) + c5) * t + c6
    low, high = lowest_highest(shape)
    if high > low:
        factor = np.float32(height / (high - low))
        for i in range(n):
            y[i] += factor * (shape[i] - low)


@compiled
def add_chebyshev_background(y, height, key0, key1, condition):
    """Add a smooth background of highest point `height`: Chebyshev series of degree 3 to 6, never negative.

    Coefficients are normal with sd 1 / (1 + k); a random pedestal lifts the lowest point to between 0 and `height`.
    """
    n = len(y)
    c = np.zeros(8)
    for i in range(2):
        u, v, w, x = draw4(key0, key1, condition, BACKGROUND, i)
        c[4 * i], c[4 * i + 1] = normal_pair(u, v)
        c[4 * i + 2], c[4 * i + 3] = normal_pair(w, x)
    u, v, _, _ = draw4(key0, key1, condition, BACKGROUND, SECOND)
    degree = 3 + int(4.0 * u)
    for k in range(8):
        c[k] = c[k] / (1.0 + k) if 1 <= k <= degree else 0.0
    shape = np.empty(n, np.float32)
    c1, c2, c3 = np.float32(c[1]), np.float32(c[2]), np.float32(c[3])
    c4, c5, c6 = np.float32(c[4]), np.float32(c[5]), np.float32(c[6])
    slope = np.float32(2.0 / (n - 1))
    one, two = np.float32(1.0), np.float32(2.0)
    for i in range(n):
        x = slope * np.float32(i) - one
        t2 = two * x * x - one
        t3 = two * x * t2 - x
        t4 = two * x * t3 - t2
        t5 = two * x * t4 - t3
        t6 = two * x * t5 - t4
        shape[i] = c1 * x + c2 * t2 + c3 * t3 + c4 * t4 + c5 * t5 + c6 * t6
    low, high = lowest_highest(shape)
    if high > low:
        factor = np.float32(height * (1.0 - v) / (high - low))
        pedestal = np.float32(height * v)
        for i in range(n):
            y[i] += pedestal + factor * (shape[i] - low)


@kernel
def add_air_scatter(y, two_theta_min, step, height):
    """Add air scatter ∝ 1/2θ, `height` at the first point."""
    start = np.float32(two_theta_min / step)
    top = np.float32(height * two_theta_min / step)
    for i in range(len(y)):
        y[i] += top / (start + np.float32(i))


@kernel
def add_amorphous(y, two_theta_min, step, wavelength, height, key0, key1, condition):
    """Add 1 to 3 Gaussian humps of an amorphous part, the highest `height`; FWHM 5 to 12°, d of 2.5 to 5.5 Å."""
    u, _, _, _ = draw4(key0, key1, condition, AMORPHOUS, ZEROTH)
    for hump in range(1 + int(3.0 * u)):
        a, b, c, _ = draw4(key0, key1, condition, AMORPHOUS, 1 + hump)
        sin = min(wavelength / (2.0 * (2.5 + 3.0 * a)), 0.99)
        centre = (2.0 * math.degrees(math.asin(sin)) - two_theta_min) / step
        sigma = (5.0 + 7.0 * b) / 2.3548 / step
        part = np.float32(height if hump == 0 else height * c)
        offset, scale = np.float32(-centre), np.float32(0.5 / (sigma * sigma))
        for i in range(len(y)):
            x = np.float32(i) + offset
            y[i] += part * exp_minus(scale * x * x)


@kernel
def exp_minus(v):
    """exp(-v) for float32 v >= 0 without a branch or a call: exp(-v/32)^32, to 3e-6; beyond v = 24 it is 4e-11."""
    one = np.float32(1.0)
    v = min(v * np.float32(1.0 / 32.0), np.float32(0.75))
    e = one - v * np.float32(1.0 / 7.0)
    e = one - v * np.float32(1.0 / 6.0) * e
    e = one - v * np.float32(1.0 / 5.0) * e
    e = one - v * np.float32(1.0 / 4.0) * e
    e = one - v * np.float32(1.0 / 3.0) * e
    e = one - v * np.float32(1.0 / 2.0) * e
    e = one - v * e
    e *= e
    e *= e
    e *= e
    e *= e
    e *= e
    return e


@kernel
def add_uniform_noise(y, height, key0, key1, condition, work):
    """Add noise uniform between 0 and `height` (the noise of the SimXRD rows)."""
    words = work.words[: len(y)]
    fill_words(words, key0, key1, condition, UNIFORM_NOISE)
    scale = np.float32(height * 2.0**-24)
    for i in range(len(y)):
        y[i] += scale * np.float32(np.int32(words[i] >> np.uint32(8)))


# ln(1.5 + x) for -0.5 <= x < 0.5: Chebyshev fit, to 5e-9
_LN = np.array([0.405465104, 0.666666681, -0.222221368, 0.0987642666, -0.0494096183, 0.0263631141, -0.014338342,
                0.00813297751, -0.00615147096, 0.0037526242], np.float32)  # fmt: skip
# PPND7: numerator from the constant on, denominator from the first power on
_MIDDLE = np.array([3.3871327179, 50.434271938, 159.29113202, 59.109374720, 17.895169469, 78.757757664, 67.187563600],
                   np.float32)  # fmt: skip
_TAIL = np.array([1.4234372777, 2.7568153900, 1.3067284816, 0.17023821103, 0.73700164250, 0.12021132975], np.float32)


@kernel
def fill_normal(n, key0, key1, condition, stream, work):
    """Fill `work.normal` with n standard normal numbers: the quantile of one 32-bit uniform number each.

    Wichura, Appl. Statist. 37 (1988) 477, algorithm PPND7: a rational function of the number in the middle 85 %, of
    √-ln p in the tails; both are computed for each, so that the loops vectorise, to 5e-6. `work.chance` keeps the
    numbers: -p where the quantile is negative, 1 - p where it is positive.
    """
    fill_words(work.words[:n], key0, key1, condition, stream)
    size = whole(n)
    words, chance, out = work.words[:size], work.chance[:size], work.normal[:size]
    scale, half = np.float32(2.0**-32), np.float32(0.5)
    for i in range(size):
        w = words[i]
        low = w < np.uint32(0x80000000)
        p = (np.float32(np.int32(w if low else ~w)) + half) * scale
        chance[i] = -p if low else p
    # ln p by exponent and mantissa
    bits, mantissa = chance.view(np.uint32), words.view(np.float32)
    for i in range(size):
        b = bits[i]
        words[i] = (b & np.uint32(0x7FFFFF)) | np.uint32(0x3F800000)
        out[i] = np.float32(np.int32((b >> np.uint32(23)) & np.uint32(0xFF)) - np.int32(127))
    c0, c1, c2, c3, c4 = _LN[0], _LN[1], _LN[2], _LN[3], _LN[4]
    c5, c6, c7, c8, c9 = _LN[5], _LN[6], _LN[7], _LN[8], _LN[9]
    a0, a1, a2, a3 = _MIDDLE[0], _MIDDLE[1], _MIDDLE[2], _MIDDLE[3]
    b1, b2, b3 = _MIDDLE[4], _MIDDLE[5], _MIDDLE[6]
    e0, e1, e2, e3, f1, f2 = _TAIL[0], _TAIL[1], _TAIL[2], _TAIL[3], _TAIL[4], _TAIL[5]
    ln2, one, zero = np.float32(math.log(2.0)), np.float32(1.0), np.float32(0.0)
    centre, middle, shift = np.float32(0.180625), np.float32(0.425), np.float32(1.6)
    for i in range(size):
        p = chance[i]
        q = half - abs(p)
        r = centre - q * q
        inner = q * (((a3 * r + a2) * r + a1) * r + a0) / (((b3 * r + b2) * r + b1) * r + one)
        x = mantissa[i] - np.float32(1.5)
        series = c5 + x * (c6 + x * (c7 + x * (c8 + x * c9)))
        series = c0 + x * (c1 + x * (c2 + x * (c3 + x * (c4 + x * series))))
        r = math.sqrt(max(-(ln2 * out[i] + series), zero)) - shift
        outer = (((e3 * r + e2) * r + e1) * r + e0) / ((f2 * r + f1) * r + one)
        z = inner if q <= middle else outer
        out[i] = -z if p < zero else z


@kernel
def count(y, max_counts, key0, key1, condition, work):
    """Replace a pattern by counts: Poisson numbers of mean y, scaled so that the highest mean is `max_counts`.

    From a mean m of 4 on the asymptotic expansion of the quantile in that of the normal distribution, z, to 1/m (Giles,
    ACM Trans. Math. Softw. 42 (2016) 7, equation 8); below it exact inversion.
    """
    n = len(y)
    fill_normal(n, key0, key1, condition, COUNTING, work)
    scale = np.float32(max_counts / highest(y))
    zero, limit = np.float32(0.0), np.float32(POISSON_EXACT_BELOW)
    means, normal = work.words[: whole(n)].view(np.float32), work.normal[: whole(n)]
    for i in range(n):
        means[i] = max(scale * y[i], zero)
    for i in range(n, len(means)):
        means[i] = limit
    k0, k1 = np.float32(1.0 / 3.0), np.float32(1.0 / 6.0)
    k2, k3 = np.float32(-1.0 / 36.0), np.float32(-1.0 / 72.0)
    k4, k5, k6 = np.float32(-8.0 / 405.0), np.float32(7.0 / 810.0), np.float32(1.0 / 270.0)
    for i in range(len(means)):
        z, mean = normal[i], max(means[i], limit)
        root = math.sqrt(mean)
        zz = z * z
        value = mean + root * z + (k0 + k1 * zz) + z * (k2 + k3 * zz) / root + (k4 + zz * (k5 + k6 * zz)) / mean
        normal[i] = math.floor(max(value, zero))
    for start in range(0, len(means), BLOCK):
        largest, some = zero, False
        for i in range(start, start + BLOCK):
            if means[i] < limit:
                some = True
                largest = max(largest, means[i])
        if some:
            chance = work.chance[start : start + BLOCK]
            _count_block(means[start : start + BLOCK], normal[start : start + BLOCK], chance, largest, work.block)
    for i in range(n):
        y[i] = normal[i]


@kernel
def _count_block(means, out, chance, largest, block):
    """Poisson numbers by inversion where the mean is small: how many cumulated probabilities u exceeds."""
    u, term, total, number = block[0], block[1], block[2], block[3]
    one, zero, limit = np.float32(1.0), np.float32(0.0), np.float32(POISSON_EXACT_BELOW)
    for i in range(BLOCK):
        u[i] = -chance[i] if chance[i] < zero else one - chance[i]
        number[i] = zero
        term[i] = exp_minus(min(means[i], limit))
        total[i] = term[i]
    # beyond six standard deviations and six there is less than 2^-24, the last place of u
    for k in range(1, int(largest + 6.0 * math.sqrt(largest)) + 7):
        over = np.float32(1.0 / k)
        for i in range(BLOCK):
            number[i] += one if u[i] > total[i] else zero
            term[i] *= means[i] * over
            total[i] += term[i]
    for i in range(BLOCK):
        out[i] = number[i] if means[i] < limit else out[i]


@kernel
def add_detector_noise(y, relative, key0, key1, condition, work):
    """Multiply each point by 1 + `relative` x a standard normal number."""
    fill_normal(len(y), key0, key1, condition, DETECTOR, work)
    z = work.normal[: len(y)]
    r, one, zero = np.float32(relative), np.float32(1.0), np.float32(0.0)
    for i in range(len(y)):
        y[i] *= max(one + r * z[i], zero)


@kernel
def lowest_highest(y):
    """Smallest and largest value of a float32 array, by their bits: integers that rise with them vectorise."""
    bits = y.view(np.int32)
    low, high = np.int32(0x7FFFFFFF), np.int32(-0x80000000)
    for i in range(len(bits)):
        b = bits[i]
        b ^= (b >> np.int32(31)) & np.int32(0x7FFFFFFF)
        low, high = min(low, b), max(high, b)
    low ^= (low >> np.int32(31)) & np.int32(0x7FFFFFFF)
    high ^= (high >> np.int32(31)) & np.int32(0x7FFFFFFF)
    return _number(y, low), _number(y, high)


@kernel
def highest(y):
    """Largest value of a float32 array of numbers not below 0."""
    bits = y.view(np.int32)
    top = np.int32(0)
    for i in range(len(bits)):
        top = max(top, bits[i])
    return _number(y, top)


@kernel
def _number(y, bits):
    """The float32 number of some bits, by way of the first place of an array."""
    first = y[0]
    y.view(np.int32)[0] = bits
    number = y[0]
    y[0] = first
    return number
