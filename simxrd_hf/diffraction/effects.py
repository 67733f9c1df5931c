"""What sample and diffractometer do to a line: small formulas, each with its unit and source. Angles in radians."""

import math

import numpy as np

from simxrd_hf.diffraction.compilation import inlined, kernel

MARCH_AXES = np.array(
    [
        (1, 0, 0), (0, 1, 0), (0, 0, 1),
        (1, 1, 0), (1, 0, 1), (0, 1, 1),
        (1, -1, 0), (1, 0, -1), (0, 1, -1),
        (1, 1, 1), (1, 1, -1), (1, -1, 1), (-1, 1, 1),
    ],
    dtype=np.float64,
)  # fmt: skip
"""Preferred reciprocal axes that `march_axis` chooses from, hkl of the given cell."""

SIMXRD_GAUSS_PER_LORENTZ = math.sqrt(8.0 * math.log(2.0)) / math.sqrt(8.0 * math.sqrt(2.0))
"""Gaussian over Lorentzian FWHM of the SimXRD rows: sigma² = G²/(8√2) where G is the Lorentzian FWHM."""


@inlined
def lorentz_polarisation(sin_theta, cos_theta, c):
    """(1 + C cos² 2θ) / ((1 + C) sin² θ cos θ), C = cos² 2θ of the monochromator, 1 without. Int. Tables C, 6.2."""
    cos_2theta = 1.0 - 2.0 * sin_theta * sin_theta
    return (1.0 + c * cos_2theta * cos_2theta) / ((1.0 + c) * sin_theta * sin_theta * cos_theta)


@inlined
def simxrd_width(grain_size_nm, wavelength, cos_theta):
    """Lorentzian FWHM in degrees of the published rows: 0.888 λ/(D cos θ), a radian formula read as degrees."""
    return 0.888 * wavelength / (grain_size_nm * cos_theta)


@inlined
def scherrer_width(size_nm, wavelength, cos_theta):
    """Lorentzian FWHM in radians of a volume-weighted size: K λ/(D cos θ), K = 0.9 (Scherrer 1918)."""
    return 0.9 * wavelength / (10.0 * size_nm * cos_theta)


@inlined
def strain_width(microstrain, tan_theta):
    """FWHM in radians of a relative strain e: 4 e tan θ (Stokes and Wilson 1944)."""
    return 4.0 * microstrain * tan_theta


@inlined
def caglioti_width(fwhm_40, u, v, tan_theta):
    """Gaussian FWHM of the instrument, the unit of `fwhm_40`: FWHM² = U tan²θ + V tan θ + W.

    Caglioti, Paoletti and Ricci, Nucl. Instrum. 3 (1958) 223. U and V are in units of FWHM(40°)², W makes the curve
    pass through FWHM(40°); the square is kept above 5 % of FWHM(40°)².
    """
    tan_20 = 0.36397023426620234
    square = 1.0 + u * (tan_theta * tan_theta - tan_20 * tan_20) + v * (tan_theta - tan_20)
    return fwhm_40 * math.sqrt(max(square, 0.05))


@inlined
def displacement_shift(displacement_mm, radius_mm, cos_theta):
    """Δ2θ = -2 s cos θ / R in radians (Wilson, Mathematical Theory of X-ray Powder Diffractometry, 1963)."""
    return -2.0 * displacement_mm * cos_theta / radius_mm


@inlined
def transparency_shift(depth_mm, radius_mm, sin_theta, cos_theta):
    """Δ2θ = -sin 2θ / (2 μ R) in radians for a thick sample, 1/μ the depth (Wilson 1963)."""
    return -depth_mm * sin_theta * cos_theta / radius_mm


@inlined
def debye_waller(b, s_squared):
    """Intensity factor exp(-2 B s²), s = sin θ/λ."""
    return math.exp(-2.0 * b * s_squared)


@inlined
def march_dollase(r, cos_alpha):
    """(r² cos²α + sin²α / r)^(-3/2), α between the reflection and the preferred axis.

    Dollase, J. Appl. Cryst. 19 (1986) 267. Its mean over the sphere is 1.
    """
    c2 = min(cos_alpha * cos_alpha, 1.0)
    base = r * r * c2 + (1.0 - c2) / r
    return 1.0 / (base * math.sqrt(base))


@kernel
def axial_nodes(sin_2theta, cos_2theta, s_over_l, h_over_l, fwhm, height, nodes, shifts, weights):
    """Split a line by its axial divergence: shifts (the unit of `fwhm`, which is degrees) and weights (sum 1).

    Finger, Cox and Jephcoat, J. Appl. Cryst. 27 (1994) 892: the cone 2θ is caught at height h (over the radius L) at
    2φ with cos 2φ = cos 2θ √(1 + h²), and height h is seen with W(h) = 2 min(H, S) up to |H - S|, then H + S - h. Their
    density W / (h cos 2φ) in 2φ is W dh / (sin 2φ (1 + h²)): with h as the variable it has no singularity, and
    Gauss-Legendre nodes on both parts of W do. The shift δ = 2θ - 2φ solves sin 2θ δ - cos 2θ δ²/2 = e,
    e = cos 2θ (√(1 + h²) - 1), to δ³/6.

    Returns:
        Number of nodes; heights beyond the end of the cone are caught by nothing.
    """
    low, high = abs(h_over_l - s_over_l), h_over_l + s_over_l
    slope = 0.5 * abs(cos_2theta) / sin_2theta * 57.29577951308232 / fwhm
    count = 0
    total = 0.0
    for part in range(2):
        a, b = (0.0, low) if part == 0 else (low, high)
        if b <= a:
            continue
        # by the spread in widths, for an error below 3e-4 of the highest point of the pattern
        spread = (b * b - a * a) * slope
        if height > 0.15:
            n = 1 if spread < 0.002 else 2 if spread < 0.1 else 3 + int(3.6 * spread)
        elif height > 0.015:
            n = 1 if spread < 0.02 else 2 + int(2.7 * spread)
        else:
            n = 1 if spread < 0.15 else 2 + int(1.5 * spread)
        n = min(n, len(nodes) - 1)
        for i in range(n):
            h = 0.5 * (a + b) + 0.5 * (b - a) * nodes[n, i, 0]
            square = h * h
            e = cos_2theta * square / (1.0 + math.sqrt(1.0 + square))
            rest = 1.0 - 2.0 * e * cos_2theta / (sin_2theta * sin_2theta)
            if rest <= 0.0:
                continue
            root = math.sqrt(rest)
            seen = 1.0 if part == 0 else (high - h) / (high - low)
            weight = nodes[n, i, 1] * (b - a) * seen / (root * (1.0 + square))
            shifts[count] = -57.29577951308232 * 2.0 * e / (sin_2theta * (1.0 + root))
            weights[count] = weight
            total += weight
            count += 1
    if count == 0:
        shifts[0], weights[0] = 0.0, 1.0
        return 1
    for i in range(count):
        weights[i] /= total
    return count
