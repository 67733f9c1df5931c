"""Backgrounds and noise, drawn from the counter of the pattern, so that each is the same whatever else is on."""

import math

import numpy as np
from numba import njit

from simxrd_hf.diffraction.philox import draw4, fill_words, normal_pair

# Streams of the generator: parameters use 0 .. 63
ORIENTATION, BACKGROUND, AMORPHOUS, UNIFORM_NOISE, COUNTING, DETECTOR, STRAIN, IMPURITY, GRAINS = range(64, 73)

POISSON_EXACT_BELOW = 16.0
"""Mean counts below which the Poisson number is found by exact inversion."""


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
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
    u, v, _, _ = draw4(key0, key1, condition, BACKGROUND, 2)
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


@njit(cache=True, nogil=True, error_model="numpy")
def add_air_scatter(y, two_theta_min, step, height):
    """Add air scatter ∝ 1/2θ, `height` at the first point."""
    start = np.float32(two_theta_min / step)
    top = np.float32(height * two_theta_min / step)
    for i in range(len(y)):
        y[i] += top / (start + np.float32(i))


@njit(cache=True, nogil=True)
def add_amorphous(y, two_theta_min, step, wavelength, height, key0, key1, condition):
    """Add 1 to 3 Gaussian humps of an amorphous part, the highest `height`; FWHM 5 to 12°, d of 2.5 to 5.5 Å."""
    u, _, _, _ = draw4(key0, key1, condition, AMORPHOUS, 0)
    for hump in range(1 + int(3.0 * u)):
        a, b, c, _ = draw4(key0, key1, condition, AMORPHOUS, 1 + hump)
        sin = min(wavelength / (2.0 * (2.5 + 3.0 * a)), 0.99)
        centre = (2.0 * math.degrees(math.asin(sin)) - two_theta_min) / step
        sigma = (5.0 + 7.0 * b) / 2.3548 / step
        part = height if hump == 0 else height * c
        for i in range(max(0, int(centre - 5.0 * sigma)), min(len(y), int(centre + 5.0 * sigma) + 1)):
            z = (i - centre) / sigma
            y[i] += part * math.exp(-0.5 * z * z)


@njit(cache=True, nogil=True, error_model="numpy")
def add_uniform_noise(y, height, key0, key1, condition):
    """Add noise uniform between 0 and `height` (the noise of the SimXRD rows)."""
    words = np.empty(len(y), np.uint32)
    fill_words(words, key0, key1, condition, UNIFORM_NOISE)
    scale = np.float32(height * 2.0**-24)
    for i in range(len(y)):
        y[i] += scale * np.float32(words[i] >> np.uint32(8))


@njit(cache=True, nogil=True, error_model="numpy")
def fill_normal(out, key0, key1, condition, stream):
    """Fill a float64 array with standard normal numbers: the quantile of one 32-bit uniform number each.

    Wichura, Appl. Statist. 37 (1988) 477, algorithm PPND7, relative error 1e-7: a rational function in the middle 85 %
    (which the compiler vectorises), logarithms only in the tails.
    """
    n = len(out)
    words = np.empty(n, np.uint32)
    fill_words(words, key0, key1, condition, stream)
    scale = 2.0**-32
    for i in range(n):
        q = (words[i] + 0.5) * scale - 0.5
        r = 0.180625 - q * q
        out[i] = (
            q
            * (((59.109374720 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179)
            / (((67.187563600 * r + 78.757757664) * r + 17.895169469) * r + 1.0)
        )
    for i in range(n):
        p = (words[i] + 0.5) * scale
        if abs(p - 0.5) <= 0.425:
            continue
        r = math.sqrt(-math.log(min(p, 1.0 - p))) - 1.6  # at most 3.1: the far tail beyond r = 5 needs p < 2^-36
        z = (((0.17023821103 * r + 1.3067284816) * r + 2.7568153900) * r + 1.4234372777) / (
            (0.12021132975 * r + 0.73700164250) * r + 1.0
        )
        out[i] = z if p > 0.5 else -z


@njit(cache=True, nogil=True)
def poisson_small(mean, u):
    """Poisson number by inversion: the smallest k whose cumulated probability reaches u; for means below about 100."""
    term = math.exp(-mean)
    total = term
    k = 0
    while total < u and k < 400:
        k += 1
        term *= mean / k
        total += term
    return k


@njit(cache=True, nogil=True, error_model="numpy")
def count(y, max_counts, key0, key1, condition):
    """Replace a pattern by counts: Poisson numbers of mean y, scaled so that the highest mean is `max_counts`.

    From a mean m of 16 on the normal quantile z with the Cornish-Fisher skewness term, round(m + √m z + (z² - 1)/6);
    below it exact inversion.
    """
    n = len(y)
    z = np.empty(n)
    fill_normal(z, key0, key1, condition, COUNTING)
    scale = max_counts / lowest_highest(y)[1]
    lowest = POISSON_EXACT_BELOW
    for i in range(n):
        mean = max(scale * y[i], 0.0)
        lowest = min(lowest, mean)
        z[i] = math.floor(max(mean + math.sqrt(mean) * z[i] + (z[i] * z[i] - 1.0) / 6.0 + 0.5, 0.0))
    if lowest < POISSON_EXACT_BELOW:
        words = np.empty(n, np.uint32)
        fill_words(words, key0, key1, condition, COUNTING)
        for i in range(n):
            mean = max(scale * y[i], 0.0)
            if mean < POISSON_EXACT_BELOW:
                z[i] = poisson_small(mean, (words[i] + 0.5) * 2.0**-32)
    for i in range(n):
        y[i] = z[i]


@njit(cache=True, nogil=True, error_model="numpy")
def add_detector_noise(y, relative, key0, key1, condition):
    """Multiply each point by 1 + `relative` x a standard normal number."""
    z = np.empty(len(y))
    fill_normal(z, key0, key1, condition, DETECTOR)
    for i in range(len(y)):
        y[i] *= max(1.0 + relative * z[i], 0.0)


@njit(cache=True, nogil=True)
def lowest_highest(y):
    """Smallest and largest value of a float32 array of at least 32 points, in 32 lanes that the compiler vectorises."""
    whole = len(y) // 32 * 32
    lows, highs = y[:32].copy(), y[:32].copy()
    for start in range(32, whole, 32):
        part = y[start : start + 32]
        for lane in range(32):
            value = part[lane]
            lows[lane] = value if value < lows[lane] else lows[lane]
            highs[lane] = value if value > highs[lane] else highs[lane]
    low, high = lows[0], highs[0]
    for lane in range(32):
        low, high = min(low, lows[lane]), max(high, highs[lane])
    for i in range(whole, len(y)):
        low, high = min(low, y[i]), max(high, y[i])
    return low, high
