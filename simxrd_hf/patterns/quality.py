"""Checks before classification: is there anything in a pattern that a model of crystalline powders can answer for?"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.patterns.pattern import Pattern
from simxrd_hf.patterns.peaks import BROAD_DEG, WIDEST_DEG, averaged, find_peaks, opening, smoothed
from simxrd_hf.patterns.preprocessing import noise_level, on_even_steps

if TYPE_CHECKING:
    from simxrd_hf.diffraction import PatternGrid

_SMOOTHING_DEG = 0.12  # full width of the average that lines survive and counting noise does not
_HUMP_DEG = 1.5


@dataclass(frozen=True)
class Flag:
    """One finding.

    Attributes:
        code: Short name, for programs.
        severity: "refuse": an answer would be meaningless; "doubt": read the answer with care.
        message: One sentence for people.
    """

    code: str
    severity: str
    message: str


def assess(pattern: Pattern, grid: "PatternGrid | None" = None) -> list[Flag]:
    """Look for reasons not to trust a classification of this pattern.

    Whether a sample holds several phases is not judged: a pattern alone does not tell a mixture from one phase with a
    large cell.

    Args:
        pattern: As read, before any background is taken off.
        grid: The model's grid; coverage is checked against it when the wavelength is known.

    Returns:
        Findings, the gravest first; empty when nothing speaks against the pattern.
    """
    flags: list[Flag] = []
    y = pattern.intensity
    top, bottom = float(y.max()), float(y.min())
    if top - bottom <= 1e-9 * max(abs(top), 1e-300):
        return [Flag("constant", "refuse", f"all intensities are {top:g}: the detector saw nothing or was off")]
    if top <= 0:
        return [Flag("negative", "refuse", "no intensity is above zero")]
    plateau = _longest_run(y >= top)
    lines = find_lines(pattern)
    if plateau >= 5 and plateau * float(np.median(np.diff(pattern.two_theta))) > 0.05:
        flags.append(Flag("saturated", "doubt", f"{plateau} neighbours at the maximum {top:g}: saturated detector?"))
    if len(lines) == 0:
        if _has_humps(pattern):
            flags.append(Flag("amorphous", "refuse", "broad humps and no Bragg line: the sample looks amorphous"))
        else:
            flags.append(Flag("noise_only", "refuse", "no Bragg line stands out of the noise"))
    elif len(lines) <= 2:
        flags.append(Flag("few_lines", "doubt", f"only {len(lines)} line{'s' * (len(lines) > 1)} found"))
    if pattern.wavelength is None:
        flags.append(Flag("wavelength_unknown", "refuse", "nobody has named the wavelength"))
    elif grid is not None:
        low, high = _range_on(pattern, grid)
        covered = max(0.0, min(high, grid.two_theta[-1]) - max(low, grid.two_theta[0]))
        share = covered / float(grid.two_theta[-1] - grid.two_theta[0])
        if covered < 5:
            flags.append(Flag("outside_range", "refuse", f"only {covered:.1f}° of the model's range were measured"))
        elif share < 0.5:
            flags.append(Flag("short_range", "doubt", f"{share:.0%} of the model's range were measured"))
    step = float(np.median(np.diff(pattern.two_theta)))
    if step > 0.1:
        flags.append(Flag("coarse_step", "doubt", f"steps of {step:.2g}° blur neighbouring lines"))
    return sorted(flags, key=lambda flag: flag.severity != "refuse")


def _range_on(pattern: Pattern, grid: "PatternGrid") -> tuple[float, float]:
    """First and last angle of the pattern at the grid's wavelength, degrees."""
    ratio = grid.wavelength / pattern.require_wavelength()
    ends = np.sin(np.radians(pattern.two_theta[[0, -1]] / 2)) * ratio
    low, high = 2 * np.degrees(np.arcsin(np.minimum(ends, 1.0)))
    return float(low), float(high)


def _longest_run(flags: NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def find_lines(pattern: Pattern, *, threshold: float = 7.0) -> NDArray[np.float64]:
    """2θ of the Bragg lines that stand out of the noise, shape (lines,).

    The smoothed pattern less its morphological opening (all that is broader than 2°) is searched for maxima that rise
    `threshold` standard deviations of the remaining noise, and 1 % of the strongest, above their surroundings.
    """
    y, step = on_even_steps(pattern)
    sigma_points = _SMOOTHING_DEG / 2.355 / step
    smooth = smoothed(y, sigma_points) if sigma_points > 0.4 else y
    window = max(3, int(BROAD_DEG / step))
    sharp = smooth - opening(smooth, min(window, len(y)))
    # counting noise at the height of each point, after smoothing over 2 √π σ independent points
    gain = 1.0 / np.sqrt(averaged(sigma_points)) if sigma_points > 0.4 else 1.0
    level = max(float(np.median(np.maximum(y, 0))), 1e-12)
    noise = noise_level(y) * gain * np.sqrt(np.maximum(smooth / level, 1.0))
    floor = np.maximum(threshold * noise, 0.01 * float(sharp.max(initial=0.0)))
    found, prominence, width = find_peaks(sharp)
    good = (prominence > floor[found]) & (width * step < WIDEST_DEG)
    # half a line's height is gone within its width; the crest of a hump has hardly sunk there
    reach = max(1, round(WIDEST_DEG / 2 / step))
    beside = (smooth[np.maximum(found - reach, 0)] + smooth[np.minimum(found + reach, len(smooth) - 1)]) / 2
    good &= smooth[found] - beside > 0.5 * prominence
    result: NDArray[np.float64] = pattern.two_theta[0] + step * found[good]
    return result


def _has_humps(pattern: Pattern) -> bool:
    """Whether anything broad rises above the straight line through a pattern by more than its noise allows."""
    y, step = on_even_steps(pattern)
    sigma = _HUMP_DEG / 2.355 / step
    smooth = smoothed(y, sigma)
    place = np.linspace(-1, 1, len(y))
    rest = smooth - np.polyval(np.polyfit(place, smooth, 1), place)
    noise = noise_level(y) / np.sqrt(averaged(sigma))
    result: bool = float(rest.std()) > 4 * noise
    return result
