"""Finds the Bragg lines of a pattern on a grid, each once: without the second line of the copper doublet."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simxrd_hf.diffraction.scattering import KALPHA
from simxrd_hf.patterns.peaks import BROAD_DEG, WIDEST_DEG, averaged, find_peaks, opening, smoothed

FloatArray = NDArray[np.float64]

_KALPHA1, _KALPHA2 = KALPHA["Cu"]
DOUBLET = np.array([[_KALPHA1, 2 / 3], [_KALPHA2, 1 / 3]])
"""Wavelength in Å and share of the two Kα lines of copper."""
_SMOOTHING_DEG = 0.03
MAX_LINES = 30
"""The lowest so many are searched for cells."""


@dataclass(frozen=True)
class Lines:
    """Lines of a pattern, ascending.

    Attributes:
        two_theta: (n,) degrees, at the wavelength of the grid.
        height: (n,) above the background, in units of the pattern.
        significance: (n,) rise above the surroundings in standard deviations of the noise, at most 100.
        width: (n,) full width at half of that rise, degrees.
    """

    two_theta: FloatArray
    height: FloatArray
    significance: FloatArray
    width: FloatArray


@dataclass(frozen=True)
class Profile:
    """A pattern without background.

    Attributes:
        measured: (n_points,) True where it was; gaps are bridged.
        smooth: (n_points,) the pattern, smoothed by 0.03° (standard deviation).
        sharp: (n_points,) what of it stands out of an opening of 2°: the Bragg lines.
        noise: (n_points,) standard deviation of `smooth` by counting noise.
    """

    measured: NDArray[np.bool_]
    smooth: FloatArray
    sharp: FloatArray
    noise: FloatArray


def bragg_profile(intensity: ArrayLike, grid: Mapping[str, float], mask: ArrayLike | None = None) -> Profile | None:
    """Part a pattern into background, noise and what is left; arguments as for `find_lines`.

    Returns:
        None where fewer than five points were measured.
    """
    y = np.asarray(intensity, dtype=np.float64)
    measured = np.ones(len(y), dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
    if measured.sum() < 5:
        return None
    if not measured.all():  # gaps are bridged, so that their edges are no lines
        y = np.interp(np.arange(len(y)), np.flatnonzero(measured), y[measured])
    sigma = _SMOOTHING_DEG / grid["step"]
    smooth = smoothed(y, sigma)
    sharp = smooth - opening(smooth, round(BROAD_DEG / grid["step"]) | 1)
    # second differences of white noise have six times its variance; smoothing keeps 1 / (2 √π σ) of it
    noise = np.median(np.abs(np.diff(y[measured], 2))) / 0.6745 / np.sqrt(6 * averaged(sigma))
    level = max(float(np.median(smooth[measured])), 1e-12)
    return Profile(measured, smooth, sharp, noise * np.sqrt(np.maximum(smooth / level, 1.0)))


def find_lines(
    intensity: ArrayLike,
    grid: Mapping[str, float],
    mask: ArrayLike | None = None,
    *,
    least: float = 0.01,
    noise_factor: float = 4.0,
) -> Lines:
    """Lines that stand out of background and noise.

    A line whose partner at the place of Kα2 has been found too is a resolved Kα1 line: the partner is dropped and the
    position moved to where the mean of the doublet, the wavelength of the default grid, would have put it.

    Args:
        intensity: (n_points,) on the grid.
        grid: `two_theta_min`, `two_theta_max`, `step` (degrees), `wavelength` (Å).
        mask: (n_points,) True where measured; by default everywhere.
        least: Smallest prominence, as part of the highest line.
        noise_factor: Smallest prominence in standard deviations of the counting noise.
    """
    profile = bragg_profile(intensity, grid, mask)
    if profile is None:
        return Lines(*np.empty((4, 0)))
    smooth, sharp, step = profile.smooth, profile.sharp, grid["step"]
    tops, rise, width = find_peaks(sharp)
    width *= step
    significance = np.minimum(rise / np.maximum(profile.noise[tops], rise / 100), 100)
    good = (significance > noise_factor) & (rise > least * sharp.max(initial=0.0)) & profile.measured[tops]
    good &= width < WIDEST_DEG
    tops, significance = tops[good], significance[good]
    before, top, after = smooth[tops - 1], smooth[tops], smooth[tops + 1]
    bend = before - 2 * top + after
    shift = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, 1.0), 0.0)
    position = grid["two_theta_min"] + step * (tops + np.clip(shift, -1, 1))
    return _without_second(Lines(position, sharp[tops], significance, width[good]), grid["wavelength"])


def copper(wavelength: float) -> bool:
    """Whether a wavelength in Å is one of copper Kα, of its first line or of the mean."""
    return abs(wavelength / _KALPHA1 - 1) < 2e-3


def _without_second(lines: Lines, wavelength: float) -> Lines:
    """Drop Kα2 lines; where there is none the doublet is not resolved and its line stays where it is."""
    if not copper(wavelength):
        return lines
    position, height = lines.two_theta, lines.height
    sine = np.sin(np.radians(position / 2))
    partner = 2 * np.degrees(np.arcsin(np.minimum(sine * _KALPHA2 / _KALPHA1, 1.0)))
    centre = 2 * np.degrees(np.arcsin(np.minimum(sine * wavelength / _KALPHA1, 1.0)))
    kept = np.ones(len(position), dtype=bool)
    moved = position.copy()
    for i in range(len(position)):
        if not kept[i] or partner[i] - position[i] < 0.06:
            continue
        for j in range(i + 1, len(position)):
            if position[j] > partner[i] + 0.04:
                break
            if abs(position[j] - partner[i]) < 0.04 and 0.2 < height[j] / height[i] < 0.85:
                kept[j] = False
                moved[i] = centre[i]
                break
    order = np.argsort(moved[kept], kind="stable")
    return Lines(moved[kept][order], height[kept][order], lines.significance[kept][order], lines.width[kept][order])
