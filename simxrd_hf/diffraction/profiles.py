"""Line profiles added to a pattern: near the line on the fine grid, the Lorentzian tails on one 16 times coarser.

A profile V(x) has tails T(x) = c1 r + c2 r² + c3 r³ with r = 1 / (x² + γ²). Beyond a distance R the tail is the
profile; inside R it goes on as the cubic P in x² that shares value and three derivatives with T at R. So V = N + S with
N = V - P inside R and 0 outside, and S smooth on the scale R: N is summed point by point, S on the coarse grid, which
is interpolated once for each pattern. Every line is whole on the whole grid: there is no cut-off.

Nothing here uses fast-math: the compiler may neither reorder nor fuse, so that every build gives the same bits. The
loops vectorise all the same, as each point stands alone; their lengths are multiples of 64: no remainder is left.
"""

import math

import numpy as np
from numba import njit

COARSE = 16
"""Fine steps per coarse step."""
REACH = 63.5
"""Smallest R in fine steps: 4 coarse steps, so that S is smooth enough for the interpolation."""
PAD = 3
"""Coarse points before the first and after the last fine point."""
EDGE = 64
"""Room before the first and after the last point of the fine grid, so that a window may stick out."""

_LN2 = math.log(2.0)

# Six-point Lagrange interpolation between coarse points: weights of the neighbours -2 .. 3 at the 16 inner places.
_WEIGHTS = np.ones((6, COARSE))
for _i in range(6):
    for _j in range(6):
        if _i != _j:
            _WEIGHTS[_i] *= (np.arange(COARSE) / COARSE - (_j - 2)) / (_i - _j)
_WEIGHTS = _WEIGHTS.astype(np.float32)

# Hui, Armstrong and Wray, J. Quant. Spectrosc. Radiat. Transfer 19 (1978) 509: w(z) as a rational function of y - ix.
_HUI_A = np.array([122.607931777104326, 214.382388694706425, 181.928533092181549, 93.155580458138441,
                   30.180142196210589, 5.912626209773153, 0.564189583562615, 0.0])  # fmt: skip
_HUI_B = np.array([122.607931773875350, 352.730625110963558, 457.334478783897737, 348.703917719495792,
                   170.354001821091472, 53.992906912940207, 10.479857114260399, 1.0])  # fmt: skip


@njit(cache=True, nogil=True)
def coarse_size(n_points):
    """Length of the coarse grid under n fine points."""
    return _whole((n_points - 1) // COARSE + 2 + 2 * PAD)


@njit(cache=True, nogil=True)
def fine_size(n_points):
    """Length of the fine grid with its edges."""
    return _whole(n_points) + 2 * EDGE


@njit(cache=True, nogil=True)
def _whole(n):
    return (n + 63) // 64 * 64


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def thompson_cox_hastings(gauss, lorentz):
    """FWHM and Lorentzian part η of the pseudo-Voigt for Gaussian and Lorentzian FWHM.

    Thompson, Cox and Hastings, J. Appl. Cryst. 20 (1987) 79-83, equations 10 and 11.
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
    fwhm = fifth**0.2
    ratio = lorentz / fwhm
    return fwhm, ratio * (1.36603 + ratio * (-0.47719 + ratio * 0.11116))


@njit(cache=True, nogil=True, error_model="numpy")
def tail_shape(area, gamma, sigma, reach, out):
    """Tail and inner polynomial of a profile: out = γ², R², c1, c2, c3, p0, p1, p2, p3 (float32, lengths in steps).

    The tail of a Voigt profile is its Lorentzian with the first two Gaussian corrections (σ² and σ⁴ terms of the
    convolution); with σ = 0 it is the Lorentzian itself.
    """
    g2 = gamma * gamma
    s2 = sigma * sigma
    c1 = area * gamma / math.pi
    c2 = c1 * 3.0 * s2
    c3 = c1 * (15.0 * s2 * s2 - 4.0 * g2 * s2)
    u0 = reach * reach
    r = 1.0 / (u0 + g2)
    out[0], out[1], out[2], out[3], out[4] = g2, u0, c1, c2, c3
    out[5] = r * (c1 + r * (c2 + r * c3))
    out[6] = -r * r * (c1 + r * (2.0 * c2 + r * 3.0 * c3))
    out[7] = r * r * r * (c1 + r * (3.0 * c2 + r * 6.0 * c3))
    out[8] = -r * r * r * r * (c1 + r * (4.0 * c2 + r * 10.0 * c3))


@njit(cache=True, nogil=True, error_model="numpy")
def add_tail(coarse, position, weight, tail):
    """Add the smooth part of a line at `position` (fine steps from the first point) to the coarse grid."""
    x0 = np.float32(position / COARSE + PAD)
    g2, u0, c1, c2, c3, p0, p1, p2, p3 = tail[0], tail[1], tail[2], tail[3], tail[4], tail[5], tail[6], tail[7], tail[8]
    w = np.float32(weight)
    step = np.float32(COARSE)
    one = np.float32(1.0)
    for j in range(len(coarse)):
        x = (np.float32(j) - x0) * step
        u = x * x
        r = one / (u + g2)
        outer = r * (c1 + r * (c2 + r * c3))
        du = u - u0
        inner = p0 + du * (p1 + du * (p2 + du * p3))
        coarse[j] += w * (outer if du > np.float32(0.0) else inner)


@njit(cache=True, nogil=True)
def _window(position, reach, size):
    """First point of the fine grid within reach of a line and the number of points, a multiple of 64."""
    first = max(math.ceil(position - reach) + EDGE, 0)
    last = min(math.floor(position + reach) + EDGE, size - 1)
    if last < first:
        return 0, 0
    count = _whole(last - first + 1)
    return max(min(first, size - count), 0), min(count, size)


@njit(cache=True, nogil=True, error_model="numpy")
def add_near_pseudo_voigt(fine, position, weight, fwhm, eta, tail, reach):
    """Add N of a pseudo-Voigt line to the fine grid; lengths in steps, area `weight` x 1."""
    first, count = _window(position, reach, len(fine))
    offset = np.float32(first - EDGE - position)
    lorentz = np.float32(weight * eta * 0.5 * fwhm / math.pi)
    gauss = np.float32(weight * (1.0 - eta) * 2.0 / fwhm * math.sqrt(_LN2 / math.pi))
    quarter = np.float32(0.25 * fwhm * fwhm)
    exponent = np.float32(4.0 * _LN2 / (fwhm * fwhm) / 32.0)
    w = np.float32(weight)
    u0, p0, p1, p2, p3 = tail[1], tail[5] * w, tail[6] * w, tail[7] * w, tail[8] * w
    zero, one, limit = np.float32(0.0), np.float32(1.0), np.float32(0.75)
    k2, k3, k4 = np.float32(1.0 / 2.0), np.float32(1.0 / 6.0), np.float32(1.0 / 24.0)
    part = fine[first : first + count]
    for i in range(count):
        x = np.float32(i) + offset
        u = x * x
        # exp(-v) = exp(-v/32)^32; beyond v = 24 it is below 1e-10
        v = min(u * exponent, limit)
        e = one - v * (one - v * (k2 - v * (k3 - v * k4)))
        e *= e
        e *= e
        e *= e
        e *= e
        e *= e
        du = u - u0
        near = lorentz / (u + quarter) + gauss * e - (p0 + du * (p1 + du * (p2 + du * p3)))
        part[i] += near if du < zero else zero


@njit(cache=True, nogil=True, error_model="numpy")
def add_near_voigt(fine, position, weight, sigma, coefficients, tail, reach):
    """Add N of a Voigt line to the fine grid; lengths in steps, area `weight` x 1.

    With t = x / (√2 σ), u = t² and the Taylor coefficients n, d of numerator and denominator at y,
    Re w = (A C + u B D) / (C² + u D²), A = n0 - n2 u + n4 u² - n6 u³, B = n1 - n3 u + n5 u², C and D likewise from d.
    """
    first, count = _window(position, reach, len(fine))
    offset = np.float32(first - EDGE - position)
    scale = np.float32(0.5 / (sigma * sigma))
    height = np.float32(weight / (sigma * math.sqrt(2.0 * math.pi)))
    w = np.float32(weight)
    u0, p0, p1, p2, p3 = tail[1], tail[5] * w, tail[6] * w, tail[7] * w, tail[8] * w
    n0, n1, n2, n3 = coefficients[0, 0], coefficients[0, 1], coefficients[0, 2], coefficients[0, 3]
    n4, n5, n6 = coefficients[0, 4], coefficients[0, 5], coefficients[0, 6]
    d0, d1, d2, d3 = coefficients[1, 0], coefficients[1, 1], coefficients[1, 2], coefficients[1, 3]
    d4, d5, d6, d7 = coefficients[1, 4], coefficients[1, 5], coefficients[1, 6], coefficients[1, 7]
    zero = np.float32(0.0)
    part = fine[first : first + count]
    for i in range(count):
        x = np.float32(i) + offset
        xx = x * x
        u = xx * scale
        a = n0 - u * (n2 - u * (n4 - u * n6))
        b = n1 - u * (n3 - u * n5)
        c = d0 - u * (d2 - u * (d4 - u * d6))
        d = d1 - u * (d3 - u * (d5 - u * d7))
        du = xx - u0
        near = height * (a * c + u * b * d) / (c * c + u * d * d) - (p0 + du * (p1 + du * (p2 + du * p3)))
        part[i] += near if du < zero else zero


@njit(cache=True, nogil=True, error_model="numpy")
def sum_grids(fine, coarse, out):
    """Write the fine grid plus the coarse grid, interpolated, to the n points of a pattern."""
    n = len(out)
    for block in range((n + COARSE - 1) // COARSE):
        j = block + PAD
        a, b, c = coarse[j - 2], coarse[j - 1], coarse[j]
        d, e, f = coarse[j + 1], coarse[j + 2], coarse[j + 3]
        start = block * COARSE
        part = fine[start + EDGE : start + EDGE + COARSE]
        for i in range(COARSE):
            part[i] += (
                a * _WEIGHTS[0, i]
                + b * _WEIGHTS[1, i]
                + c * _WEIGHTS[2, i]
                + d * _WEIGHTS[3, i]
                + e * _WEIGHTS[4, i]
                + f * _WEIGHTS[5, i]
            )
    out[:] = fine[EDGE : EDGE + n]
