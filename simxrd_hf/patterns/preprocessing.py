"""Optional steps between a measured pattern and a model: spikes, Kα2, background; the grid; a picture of both."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns.pattern import ANODES, KALPHA_RATIO, Pattern, mean_kalpha

BACKGROUNDS = ("fabc", "arpls", "snip", "mor", "std_distribution")


def remove_spikes(pattern: Pattern, *, threshold: float = 8.0) -> Pattern:
    """Replace single points that stick out of their neighbours (cosmic rays, electronics) by the neighbours' mean.

    A line of a diffractometer is several points wide; a point is a spike only when it exceeds both neighbours by
    `threshold` standard deviations and what stands beside it is no flank: the neighbours rise above the points next
    to them by less than a tenth as much. Coarse scans (steps above 0.06°) are left alone, their lines may be a point
    wide.

    Args:
        pattern: The pattern.
        threshold: In standard deviations of the noise, estimated from the pattern (Poisson at least, for counts).

    Returns:
        The pattern; `metadata["spikes_removed"]` counts the points replaced.
    """
    y = pattern.intensity
    if len(y) < 7 or np.median(np.diff(pattern.two_theta)) > 0.06:
        return pattern
    middle = y[2:-2]
    higher, lower = np.maximum(y[1:-3], y[3:-1]), np.minimum(y[1:-3], y[3:-1])
    ground = np.maximum(y[:-4], y[4:])
    # counting noise grows with the square root of the height, whatever the scale
    level = max(float(np.median(y)), 1e-12)
    sigma = noise_level(y) * np.sqrt(np.maximum(higher / level, 1.0))
    if pattern.unit == "counts":
        sigma = np.maximum(sigma, np.sqrt(np.maximum(higher, 1.0)))
    excess = middle - higher
    spike = (excess > threshold * sigma) & (higher - np.minimum(ground, higher) < 0.1 * excess)
    spike &= higher - lower < 0.1 * excess + 3 * sigma
    if not spike.any():
        return pattern
    where = np.flatnonzero(spike) + 2
    repaired = y.copy()
    repaired[where] = (y[where - 1] + y[where + 1]) / 2
    return pattern.replace(intensity=repaired, metadata={**pattern.metadata, "spikes_removed": len(where)})


def noise_level(intensity: NDArray[Any]) -> float:
    """Standard deviation of the point-to-point noise, from the median of second differences (6 = 1² + 2² + 1²)."""
    return float(np.median(np.abs(np.diff(intensity, n=2))) / 0.6745 / np.sqrt(6))


def on_even_steps(pattern: Pattern) -> tuple[NDArray[np.float64], float]:
    """Intensity interpolated to even steps of the median width, and that step in degrees."""
    x, y = pattern.two_theta, pattern.intensity
    step = float(np.median(np.diff(x)))
    count = int(min((x[-1] - x[0]) / step + 1.5, 4 * len(x)))  # a wide gap must not fill the memory
    return np.interp(x[0] + step * np.arange(count), x, y), step


def strip_kalpha2(pattern: Pattern, *, ratio: float | None = None) -> Pattern:
    """Take the Kα2 lines away (W. A. Rachinger, J. Sci. Instrum. 25, 254, 1948).

    I₁(2θ) = I(2θ) − r · I₁(2θ'), sin θ' = sin θ · λ₁/λ₂: walking up in angle, what the Kα1 part at the smaller angle
    2θ' sends to 2θ as Kα2 is already known. The background must go first (or is stripped along, which leaves it at
    1/(1 + r) of its height); noise grows by about √(1 + r²).

    Args:
        pattern: A pattern whose metadata names `kalpha1` and `kalpha2`, or `anode`.
        ratio: I(Kα2) / I(Kα1); the file's, else 0.5.

    Returns:
        The pattern, its wavelength now Kα1.

    Raises:
        BadInput: the pattern does not say that it holds both lines.
    """
    facts = pattern.metadata
    first, second = facts.get("kalpha1"), facts.get("kalpha2")
    if first is None or second is None:
        pair = ANODES.get(str(facts.get("anode", "")))
        known = pattern.wavelength
        if pair is None or known is None or abs(known - mean_kalpha(*pair)) > 3e-4 * known:
            raise BadInput(f"{pattern.path}: nothing says that the pattern holds Kα1 and Kα2 (give the anode)")
        first, second = pair
    r = float(facts.get("kalpha_ratio", KALPHA_RATIO)) if ratio is None else ratio
    x, y = pattern.two_theta, pattern.intensity
    sine = np.sin(np.radians(x / 2)) * (first / second)
    source = 2 * np.degrees(np.arcsin(sine))  # angle whose Kα1 sends its Kα2 to x
    right = np.clip(np.searchsorted(x, source), 1, len(x) - 1)
    left = right - 1
    weight = np.clip((source - x[left]) / (x[right] - x[left]), 0.0, 1.0)
    stripped = np.empty_like(y)
    # Below the first source angle nothing is known of what lies left of the scan: the part is taken as flat there.
    for i, (a, b, w, before) in enumerate(zip(left, right, weight, source < x[0], strict=True)):
        if before:
            stripped[i] = y[i] / (1 + r)
        elif b < i:
            stripped[i] = y[i] - r * ((1 - w) * stripped[a] + w * stripped[b])
        else:  # the doublet is closer than a step: the source lies between the last point and this one
            stripped[i] = (y[i] - r * (1 - w) * stripped[a]) / (1 + r * w)
    metadata = {key: value for key, value in facts.items() if key not in {"kalpha1", "kalpha2", "kalpha_ratio"}}
    return pattern.replace(intensity=stripped, wavelength=float(first), metadata={**metadata, "kalpha2_stripped": True})


def background(pattern: Pattern, *, method: str = "fabc", width: float = 6.0) -> NDArray[np.float64]:
    """The smooth background under the lines, shape (n,); needs pybaselines.

    Args:
        pattern: The pattern.
        method: One of `BACKGROUNDS`, names of pybaselines. Method and width did best in benchmarks/preprocessing.py.
        width: What counts as smooth, in degrees 2θ: features narrower than this are lines.

    Raises:
        BadInput: unknown method, or pybaselines is not installed.
    """
    if method not in BACKGROUNDS:
        raise BadInput(f"background method {method!r} is not known; choose one of {', '.join(BACKGROUNDS)}")
    try:
        from pybaselines import Baseline
    except ImportError:
        raise BadInput("taking off the background needs pybaselines (pip install 'simxrd_hf[measured]')") from None
    values, step = on_even_steps(pattern)  # the methods count in points
    even = pattern.two_theta[0] + step * np.arange(len(values))
    half = int(np.clip(round(width / 2 / step), 2, len(even) // 4))
    fit = Baseline(x_data=even, check_finite=False)
    # Whittaker smoothing passes half the amplitude of waves of 2π · λ^(1/4) points (P. H. C. Eilers, Anal. Chem. 75,
    # 3631, 2003); two such widths a wave make λ.
    stiffness = float((4 * half / (2 * np.pi)) ** 4)
    options: dict[str, dict[str, Any]] = {
        "fabc": {"lam": stiffness, "scale": max(2, half // 4)},
        "arpls": {"lam": stiffness},
        "snip": {"max_half_window": half, "decreasing": True, "smooth_half_window": max(1, half // 15)},
        "mor": {"half_window": half},
        "std_distribution": {"half_window": half},
    }
    with np.errstate(all="ignore"):
        estimate, _ = getattr(fit, method)(values, **options[method])
    if not np.isfinite(estimate).all():
        raise BadInput(f"{pattern.path}: no background could be fitted by {method}; leave the step out")
    result: NDArray[np.float64] = np.interp(pattern.two_theta, even, estimate)
    return result


def subtract_background(pattern: Pattern, *, method: str = "fabc", width: float = 6.0) -> Pattern:
    """Take the background off and set what is then negative to zero; see `background`."""
    estimate = background(pattern, method=method, width=width)
    return pattern.replace(
        intensity=np.maximum(pattern.intensity - estimate, 0.0),
        metadata={**pattern.metadata, "background_removed": method},
    )


def _strip_where_known(pattern: Pattern) -> Pattern:
    """Kα2 stripping for patterns that say they hold the doublet; others pass unchanged."""
    return strip_kalpha2(pattern) if "kalpha2" in pattern.metadata else pattern


STEPS: dict[str, Callable[[Pattern], Pattern]] = {
    "spikes": remove_spikes,
    "background": subtract_background,
    "kalpha2": _strip_where_known,
}


def preprocess(pattern: Pattern, steps: Iterable[str] = ()) -> Pattern:
    """Apply steps by name, in the order given.

    Args:
        pattern: The pattern.
        steps: Any of "spikes", "background", "kalpha2" (skipped for a pattern that does not say it holds Kα2).

    Returns:
        The pattern; `metadata["steps"]` lists what was done.

    Raises:
        BadInput: unknown step.
    """
    done = []
    for name in steps:
        if name not in STEPS:
            raise BadInput(f"preprocessing step {name!r} is not known; choose from {', '.join(STEPS)}")
        pattern = STEPS[name](pattern)
        done.append(name)
    return pattern.replace(metadata={**pattern.metadata, "steps": done}) if done else pattern
