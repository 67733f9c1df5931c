"""Line profiles added to a pattern: near the line on its points, the Lorentzian tails through a coarse grid.

Beyond a distance R a profile is its tail, T(x) = a1/x² + a2/x⁴ + a3/x⁶; inside R the tail goes on as the cubic in x²
that shares value and three derivatives with it at R. So a profile is N + S: N is 0 beyond R and is summed point by
point; S is smooth on the scale R and linear in a1, a2, a3, whatever the width: each line leaves its three numbers on a
grid 16 times coarser (spread over six points), and one sum for each pattern turns them into all the tails together.
Every line is whole on the whole grid: there is no cut-off.

R is 64 steps, which suits lines of up to 31 steps. A wider one goes to a grid with half, a quarter, … of the points,
where it is narrow enough; what such a grid holds is smooth and is interpolated to the next finer one at the end.

Nothing here uses fast-math: the compiler may neither reorder nor fuse, so that every build gives the same bits. The
loops vectorise all the same, as each point stands alone; their lengths are fixed or multiples of 16.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from simxrd_hf.diffraction.compilation import compiled, inlined, kernel

COARSE = 16
"""Steps per coarse step."""
REACH = 64.0
"""R in steps: 4 coarse steps, so that S is smooth enough for the interpolation."""
WIDEST = 24.0
"""FWHM in steps up to which a line stays on its grid."""
WINDOW = 128
"""Points of N: 63 before the point left of the line, 64 after it."""
EDGE = 128
"""Room before the first and after the last point, so that a window may stick out."""
PAD = 16
"""Coarse points before the first and after the last point; lines beyond them act on each coarse point directly."""
_MARGIN = 4  # coarse points beyond the grid that the interpolation needs
_BAND = 16  # coarse steps beyond which a2 and a3 are nothing
LEVELS = 14
"""Grids, each with half the points of the one before; the last takes lines of 250,000 steps."""

_LN2 = math.log(2.0)

# Six-point Lagrange interpolation between coarse points: weights of the neighbours -2 .. 3 at the 16 inner places.
_WEIGHTS = np.ones((6, COARSE))
for _i in range(6):
    for _j in range(6):
        if _i != _j:
            _WEIGHTS[_i] *= (np.arange(COARSE) / COARSE - (_j - 2)) / (_i - _j)
_WEIGHTS = _WEIGHTS.astype(np.float32)


def _join(k: int, reach: float) -> list[float]:
    """Value and derivatives (over m!) of u^-k with respect to u = x² at u = R²."""
    return [(-1) ** m * math.comb(k + m - 1, m) * reach ** (-2.0 * (k + m)) for m in range(4)]


_JOIN = np.array([_join(k, REACH) for k in (1, 2, 3)])

# Hui, Armstrong and Wray, J. Quant. Spectrosc. Radiat. Transfer 19 (1978) 509: w(z) as a rational function of y - ix.
_HUI_A = np.array([122.607931777104326, 214.382388694706425, 181.928533092181549, 93.155580458138441,
                   30.180142196210589, 5.912626209773153, 0.564189583562615, 0.0])  # fmt: skip
_HUI_B = np.array([122.607931773875350, 352.730625110963558, 457.334478783897737, 348.703917719495792,
                   170.354001821091472, 53.992906912940207, 10.479857114260399, 1.0])  # fmt: skip


class Grids(NamedTuple):
    """Room for the profiles of one pattern: the grids of all levels, one after the other.

    Attributes:
        layout: Of each level the number of points, the first of its fine values, the number of its coarse points, and
            the first of its coarse values, int64 (LEVELS, 4).
        fine: Near parts, float32.
        sticks: a1, a2, a3 of the lines in coarse steps, float32 (3, n).
        coarse: Smooth parts, float32.
        tails: S of a1, a2, a3 = 1 at coarse distances from -m to m, float32 (3, 2 m + 1).
    """

    layout: np.ndarray
    fine: np.ndarray
    sticks: np.ndarray
    coarse: np.ndarray
    tails: np.ndarray


@lru_cache(maxsize=16)
def make_layout(n_points: int) -> tuple[np.ndarray, np.ndarray]:
    """Layout and tails of `Grids` for patterns of some number of points."""
    layout = np.zeros((LEVELS, 4), np.int64)
    n, fine, coarse = n_points, 0, 0
    for level in range(LEVELS):
        # whole vectors for what `_spread_tails` writes
        count = PAD + (-(-n // COARSE) + 2 * _MARGIN + 63) // 64 * 64
        layout[level] = n, fine, count, coarse
        fine += (n + 2 * EDGE + 15) // 16 * 16
        coarse += count
        n = n // 2 + 1
    far = int(layout[0, 2])
    reach = REACH / COARSE
    u = np.arange(-far, far + 1, dtype=np.float64) ** 2
    inside = u < reach**2
    u[inside] = 1.0
    tails = np.stack([u**-k for k in (1.0, 2.0, 3.0)])
    du = np.arange(-far, far + 1)[inside] ** 2 - reach**2
    for k in range(3):
        tails[k, inside] = np.polynomial.polynomial.polyval(du, _join(k + 1, reach))
    return layout, tails.astype(np.float32)


@compiled
def new_grids(layout, tails):
    """Grids of a layout, not yet empty; see `clear`."""
    last = layout[LEVELS - 1]
    coarse = last[2] + last[3]
    return Grids(
        layout,
        np.empty(last[0] + last[1] + 2 * EDGE + 16, np.float32),
        np.empty((3, coarse), np.float32),
        np.empty(coarse, np.float32),
        tails,
    )


@inlined
def level_of(width):
    """Level of the grid for lines of some FWHM in steps, and one over the number of steps its step has."""
    level, part = 0, 1.0
    while width * part > WIDEST and level < LEVELS - 1:
        level += 1
        part *= 0.5
    return level, part


@kernel
def voigt_coefficients(y, out):
    """Taylor coefficients at y of numerator (row 0) and denominator (row 1) of the rational w(z), float32 (2, 8)."""
    for row in range(2):
        table = _HUI_A if row == 0 else _HUI_B
        for m in range(8):
            total = 0.0
            for k in range(7, m - 1, -1):
                binomial = 1.0
                for i in range(m):
                    binomial = binomial * (k - i) / (i + 1)
                total = total * y + table[k] * binomial
            out[row, m] = total


@inlined
def thompson_cox_hastings(gauss, lorentz):
    """FWHM and Lorentzian part η of the pseudo-Voigt for Gaussian and Lorentzian FWHM.

    Thompson, Cox and Hastings, J. Appl. Cryst. 20 (1987) 79-83, equations 10 and 11. The fifth root is found from the
    FWHM of the true Voigt profile (Olivero and Longbothum 1977), which is within 2 %, by two steps of Newton's rule.
    """
    g2, l2 = gauss * gauss, lorentz * lorentz
    fifth = (
        g2 * g2 * gauss
        + 2.69269 * g2 * g2 * lorentz
        + 2.42843 * g2 * gauss * l2
        + 4.47163 * g2 * l2 * lorentz
        + 0.07842 * gauss * l2 * l2
        + l2 * l2 * lorentz
    )
    fwhm = 0.5346 * lorentz + math.sqrt(0.2166 * l2 + g2)
    for _ in range(2):
        square = fwhm * fwhm
        fwhm = 0.8 * fwhm + 0.2 * fifth / (square * square)
    ratio = lorentz / fwhm
    return fwhm, ratio * (1.36603 + ratio * (-0.47719 + ratio * 0.11116))


@inlined
def tail_of(area, gamma, sigma, out):
    """a1, a2, a3 of a Voigt profile of half width γ and standard deviation σ: the series of its tail in 1/x.

    With σ = 0 it is the Lorentzian's.
    """
    g2, s2 = gamma * gamma, sigma * sigma
    first = area * gamma * (1.0 / math.pi)
    out[0] = first
    out[1] = first * (3.0 * s2 - g2)
    out[2] = first * (15.0 * s2 * s2 - 10.0 * g2 * s2 + g2 * g2)


@inlined
def add_tail(grids, level, position, weight, tail):
    """Leave the smooth part of a line at `position` (steps of its level from the first point) on the coarse grid."""
    count, first = grids.layout[level, 2], grids.layout[level, 3]
    x = position / COARSE + PAD
    j = math.floor(x)
    square = 1.0 / (COARSE * COARSE)
    a1 = weight * tail[0] * square
    a2 = weight * tail[1] * square * square
    a3 = weight * tail[2] * square * square * square
    if j < 2 or j + 3 >= count:
        for i in range(count):
            u = 1.0 / max((i - x) * (i - x), 16.0)
            grids.coarse[first + i] += u * (a1 + u * (a2 + u * a3))
        return
    t = np.float32(x - j)
    one, two, three = np.float32(1.0), np.float32(2.0), np.float32(3.0)
    # Lagrange weights of the neighbours -2 .. 3
    p2, p1, m1, m2, m3 = t + two, t + one, t - one, t - two, t - three
    low, high = p2 * p1 * t, m1 * m2 * m3
    low1, high1 = low * np.float32(1.0 / 24.0), high * np.float32(1.0 / 24.0)
    w0, w1, w2 = p1 * t * high * np.float32(-1.0 / 120.0), p2 * t * high1, -two * p2 * p1 * high1
    w3, w4, w5 = two * low1 * m2 * m3, -low1 * m1 * m3, low * m1 * m2 * np.float32(1.0 / 120.0)
    at = first + j - 2
    for k in range(3):
        a = np.float32(a1 if k == 0 else a2 if k == 1 else a3)
        stick = grids.sticks[k, at : at + 6]
        stick[0] += w0 * a
        stick[1] += w1 * a
        stick[2] += w2 * a
        stick[3] += w3 * a
        stick[4] += w4 * a
        stick[5] += w5 * a


@inlined
def _near(grids, level, position):
    """First fine value of the window of N, -1 if it is off the grid; how far the line is beyond a point, in steps."""
    whole = math.floor(position)
    n, first = grids.layout[level, 0], grids.layout[level, 1]
    if whole < -64 or whole > n + 63:
        return -1, 0.0
    return first + EDGE + int(whole) - 63, position - whole


@inlined
def add_near_pseudo_voigt(grids, level, position, weight, fwhm, eta, tail):
    """Add N of a pseudo-Voigt line to a fine grid; lengths in steps of the level, area `weight` x 1.

    `tail` is that of its Lorentzian part.
    """
    first, part = _near(grids, level, position)
    if first < 0:
        return
    y = grids.fine[first : first + WINDOW]
    offset = np.float32(-63.0 - part)
    lorentz = np.float32(weight * eta * 0.5 * fwhm / math.pi)
    quarter = np.float32(0.25 * fwhm * fwhm)
    u0 = np.float32(REACH * REACH)
    p0 = np.float32(weight * (tail[0] * _JOIN[0, 0] + tail[1] * _JOIN[1, 0] + tail[2] * _JOIN[2, 0]))
    p1 = np.float32(weight * (tail[0] * _JOIN[0, 1] + tail[1] * _JOIN[1, 1] + tail[2] * _JOIN[2, 1]))
    p2 = np.float32(weight * (tail[0] * _JOIN[0, 2] + tail[1] * _JOIN[1, 2] + tail[2] * _JOIN[2, 2]))
    p3 = np.float32(weight * (tail[0] * _JOIN[0, 3] + tail[1] * _JOIN[1, 3] + tail[2] * _JOIN[2, 3]))
    for i in range(WINDOW):
        x = np.float32(i) + offset
        u = x * x
        du = u - u0
        y[i] += lorentz / (u + quarter) - (p0 + du * (p1 + du * (p2 + du * p3)))
    # the Gaussian part is below 1e-7 of its height beyond 2.4 widths
    half = min(int(2.4 * fwhm) + 1, 63)
    start = (63 - half) // 16 * 16
    blocks = (64 + half - start) // 16 + 1
    gauss = np.float32(weight * (1.0 - eta) * 2.0 / fwhm * math.sqrt(_LN2 / math.pi))
    exponent = np.float32(4.0 * _LN2 / (fwhm * fwhm) / 32.0)
    one, limit = np.float32(1.0), np.float32(0.75)
    k2, k3, k4 = np.float32(1.0 / 2.0), np.float32(1.0 / 6.0), np.float32(1.0 / 24.0)
    for b in range(start // 16, start // 16 + min(blocks, 8 - start // 16)):
        z = grids.fine[first + 16 * b : first + 16 * b + 16]
        base = offset + np.float32(16 * b)
        for i in range(16):
            x = np.float32(i) + base
            # exp(-v) = exp(-v/32)^32; beyond v = 24 it is below 1e-10
            v = min(x * x * exponent, limit)
            e = one - v * (one - v * (k2 - v * (k3 - v * k4)))
            e *= e
            e *= e
            e *= e
            e *= e
            e *= e
            z[i] += gauss * e


@kernel
def add_near_voigt(grids, level, position, weight, sigma, coefficients, tail):
    """Add N of a Voigt line to a fine grid; lengths in steps of the level, area `weight` x 1.

    With t = x / (√2 σ), u = t² and the Taylor coefficients n, d of numerator and denominator at y,
    Re w = (A C + u B D) / (C² + u D²), A = n0 - n2 u + n4 u² - n6 u³, B = n1 - n3 u + n5 u², C and D likewise from d.
    """
    first, part = _near(grids, level, position)
    if first < 0:
        return
    y = grids.fine[first : first + WINDOW]
    offset = np.float32(-63.0 - part)
    scale = np.float32(0.5 / (sigma * sigma))
    height = np.float32(weight / (sigma * math.sqrt(2.0 * math.pi)))
    u0 = np.float32(REACH * REACH)
    p0 = np.float32(weight * (tail[0] * _JOIN[0, 0] + tail[1] * _JOIN[1, 0] + tail[2] * _JOIN[2, 0]))
    p1 = np.float32(weight * (tail[0] * _JOIN[0, 1] + tail[1] * _JOIN[1, 1] + tail[2] * _JOIN[2, 1]))
    p2 = np.float32(weight * (tail[0] * _JOIN[0, 2] + tail[1] * _JOIN[1, 2] + tail[2] * _JOIN[2, 2]))
    p3 = np.float32(weight * (tail[0] * _JOIN[0, 3] + tail[1] * _JOIN[1, 3] + tail[2] * _JOIN[2, 3]))
    n0, n1, n2, n3 = coefficients[0, 0], coefficients[0, 1], coefficients[0, 2], coefficients[0, 3]
    n4, n5, n6 = coefficients[0, 4], coefficients[0, 5], coefficients[0, 6]
    d0, d1, d2, d3 = coefficients[1, 0], coefficients[1, 1], coefficients[1, 2], coefficients[1, 3]
    d4, d5, d6, d7 = coefficients[1, 4], coefficients[1, 5], coefficients[1, 6], coefficients[1, 7]
    for i in range(WINDOW):
        x = np.float32(i) + offset
        xx = x * x
        u = xx * scale
        a = n0 - u * (n2 - u * (n4 - u * n6))
        b = n1 - u * (n3 - u * n5)
        c = d0 - u * (d2 - u * (d4 - u * d6))
        d = d1 - u * (d3 - u * (d5 - u * d7))
        du = xx - u0
        y[i] += height * (a * c + u * b * d) / (c * c + u * d * d) - (p0 + du * (p1 + du * (p2 + du * p3)))


PLACES = 16
"""Places of a line between two points that a table of profiles holds."""
_CLASSES = 32  # of width in each octave
NARROWEST = 4.0


@lru_cache(maxsize=4)
def voigt_table(gauss_per_lorentz: float) -> np.ndarray:
    """N of Voigt profiles of one shape, by width and by place between two points: for lines that differ in width alone.

    Linear interpolation between the widths (1/32 of an octave apart) and the places (1/16 of a step) is good to 3e-4 of
    the highest point.

    Args:
        gauss_per_lorentz: Gaussian over Lorentzian FWHM.

    Returns:
        N times the width, float32 (classes of width from 4 to 32 steps, places, points); the width is
        0.5346 w + √(0.2166 w² + g²) of the two FWHM.
    """
    lorentz = 1.0 / (0.5346 + math.sqrt(0.2166 + gauss_per_lorentz**2))
    gauss = gauss_per_lorentz * lorentz
    octaves = np.arange(3 * _CLASSES + 1)
    width = NARROWEST * 2.0 ** (octaves // _CLASSES) * (1.0 + octaves % _CLASSES / _CLASSES)
    sigma, gamma = (gauss / 2.3548200450309493 * width)[:, None, None], (0.5 * lorentz * width)[:, None, None]
    x = np.arange(WINDOW) - 63.0 - (np.arange(PLACES + 1) / PLACES)[:, None]
    z = (gamma - 1j * x) / (sigma * math.sqrt(2.0))
    value = (np.polyval(_HUI_A[::-1], z) / np.polyval(_HUI_B[::-1], z)).real / (sigma * math.sqrt(2.0 * math.pi))
    s2, g2 = sigma**2, gamma**2
    tail = gamma / math.pi * np.stack([np.ones_like(s2), 3 * s2 - g2, 15 * s2 * s2 - 10 * g2 * s2 + g2 * g2])
    du = x * x - REACH * REACH
    for k in range(3):
        value = value - tail[k] * np.polynomial.polynomial.polyval(du, _JOIN[k])
    return np.ascontiguousarray(value * width[:, None, None], dtype=np.float32)


@inlined
def add_near_from_table(grids, level, position, weight, width, table):
    """Add N of a line of some width, between 4 and 32 steps of the level, from `voigt_table`."""
    first, part = _near(grids, level, position)
    if first < 0:
        return
    number = 0
    f = width / NARROWEST
    while f >= 2.0:
        f *= 0.5
        number += _CLASSES
    f = (f - 1.0) * _CLASSES
    c = min(int(f), _CLASSES - 1)
    f -= c
    g = part * PLACES
    m = int(g)
    g -= m
    scale = weight / width
    w0, w1 = np.float32((1.0 - f) * (1.0 - g) * scale), np.float32((1.0 - f) * g * scale)
    w2, w3 = np.float32(f * (1.0 - g) * scale), np.float32(f * g * scale)
    t0, t1 = table[number + c, m], table[number + c, m + 1]
    t2, t3 = table[number + c + 1, m], table[number + c + 1, m + 1]
    y = grids.fine[first : first + WINDOW]
    for i in range(WINDOW):
        y[i] += (w0 * t0[i] + w1 * t1[i]) + (w2 * t2[i] + w3 * t3[i])


@kernel
def clear(grids, top):
    """Empty the grids of the levels up to `top`."""
    zero = np.float32(0.0)
    fine = grids.fine[: grids.layout[top, 1] + grids.layout[top, 0] + 2 * EDGE]
    for i in range(len(fine)):
        fine[i] = zero
    count = grids.layout[top, 3] + grids.layout[top, 2]
    one, two, three, smooth = grids.sticks[0], grids.sticks[1], grids.sticks[2], grids.coarse
    for i in range(count):
        one[i] = two[i] = three[i] = smooth[i] = zero


@kernel
def _spread_tails(grids, level):
    """Turn what the lines left on the coarse grid of a level into its smooth part."""
    count, first = grids.layout[level, 2], grids.layout[level, 3]
    blocks = -(-grids.layout[level, 0] // COARSE)
    centre = grids.tails.shape[1] // 2
    low = PAD - _MARGIN
    length = (blocks + 2 * _MARGIN + 63) // 64 * 64
    out = grids.coarse[first + low : first + low + length]
    one, two, three = grids.tails[0], grids.tails[1], grids.tails[2]
    stick = grids.sticks[0, first : first + count]
    for i in range(0, count // 4 * 4, 4):
        a, b, c, d = stick[i], stick[i + 1], stick[i + 2], stick[i + 3]
        if a == 0.0 and b == 0.0 and c == 0.0 and d == 0.0:
            continue
        at = centre + low - i
        ta, tb = one[at : at + length], one[at - 1 : at - 1 + length]
        tc, td = one[at - 2 : at - 2 + length], one[at - 3 : at - 3 + length]
        for j in range(length):
            out[j] += (a * ta[j] + b * tb[j]) + (c * tc[j] + d * td[j])
    second, third = grids.sticks[1, first : first + count], grids.sticks[2, first : first + count]
    for i in range(count):
        a, b = second[i], third[i]
        if a == 0.0:
            continue
        begin = min(max(i - _BAND, 0), count - 2 * _BAND)
        part = grids.coarse[first + begin : first + begin + 2 * _BAND]
        ta = two[centre + begin - i : centre + begin - i + 2 * _BAND]
        tb = three[centre + begin - i : centre + begin - i + 2 * _BAND]
        for j in range(2 * _BAND):
            part[j] += a * ta[j] + b * tb[j]


@kernel
def sum_grids(grids, top, out):
    """Write all that was added to levels up to `top`, near parts and smooth parts, to the n points of a pattern."""
    for level in range(top, -1, -1):
        n, start, first = grids.layout[level, 0], grids.layout[level, 1], grids.layout[level, 3]
        _spread_tails(grids, level)
        for block in range(-1, -(-n // COARSE) + 1):
            j = first + block + PAD
            a, b, c = grids.coarse[j - 2], grids.coarse[j - 1], grids.coarse[j]
            d, e, f = grids.coarse[j + 1], grids.coarse[j + 2], grids.coarse[j + 3]
            at = start + EDGE + block * COARSE
            part = grids.fine[at : at + COARSE]
            for i in range(COARSE):
                part[i] += (
                    (a * _WEIGHTS[0, i] + b * _WEIGHTS[1, i])
                    + (c * _WEIGHTS[2, i] + d * _WEIGHTS[3, i])
                    + (e * _WEIGHTS[4, i] + f * _WEIGHTS[5, i])
                )
        if level > 0:
            _refine(grids, level)
    y = grids.fine[EDGE : EDGE + len(out)]
    for i in range(len(out)):
        out[i] = y[i]


@kernel
def _refine(grids, level):
    """Add a level to the next finer one: its points, and between them six-point interpolation."""
    n, start = grids.layout[level, 0], grids.layout[level, 1]
    below = grids.layout[level - 1, 1] + EDGE
    near, next_, far = np.float32(150.0 / 256.0), np.float32(-25.0 / 256.0), np.float32(3.0 / 256.0)
    # from four points before the first to four after the last, which the next refinement looks at
    y = grids.fine[start + EDGE - 6 : start + EDGE + n + 7]
    out = grids.fine[below - 8 : below + 2 * n + 8]
    for i in range(n + 8):
        out[2 * i] += y[i + 2]
        out[2 * i + 1] += near * (y[i + 2] + y[i + 3]) + next_ * (y[i + 1] + y[i + 4]) + far * (y[i] + y[i + 5])
