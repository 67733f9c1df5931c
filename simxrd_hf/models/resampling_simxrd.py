"""Any measured axis (2θ, d or q, any wavelength) to the grid a model reads; numpy alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

DEFAULT_GRID: dict[str, float] = {"two_theta_min": 10.0, "two_theta_max": 80.0, "step": 0.02, "wavelength": 1.54184}

# Å. Shorter than any powder beamline, longer than any laboratory anode: a value outside is in another unit.
WAVELENGTH_LIMITS = (0.05, 5.0)


def check_wavelength(wavelength: float) -> float:
    """Return the wavelength in Å, or say why it cannot be one."""
    low, high = WAVELENGTH_LIMITS
    if not low <= wavelength <= high:
        raise ValueError(
            f"wavelength must be in Å, between {low} and {high} (Cu Kα is 1.54184), got {wavelength}; "
            "convert nm (× 10), pm (÷ 100) or keV (12.39842 ÷ energy) first"
        )
    return float(wavelength)


def check_grid(grid: Mapping[str, float]) -> int:
    """Number of points of a grid.

    Args:
        grid: `two_theta_min`, `two_theta_max`, `step` in degrees, `wavelength` in Å.

    Raises:
        ValueError: A key is missing or unknown, or a value makes no grid.
    """
    if set(grid) != set(DEFAULT_GRID):
        raise ValueError(f"grid must have exactly the keys {', '.join(DEFAULT_GRID)}, got {', '.join(sorted(grid))}")
    low, high, step = grid["two_theta_min"], grid["two_theta_max"], grid["step"]
    if not (0 < low < high < 180 and 0 < step < high - low):
        raise ValueError(f"grid needs 0 < two_theta_min < two_theta_max < 180 and a step between, got {dict(grid)}")
    check_wavelength(grid["wavelength"])
    # as PatternGrid: no point lies beyond the last angle, but for rounding
    return int((high - low) / step + 1e-6) + 1


def grid_axis(grid: Mapping[str, float]) -> NDArray[np.float64]:
    """The grid's 2θ in degrees, shape (n_points,)."""
    return grid["two_theta_min"] + grid["step"] * np.arange(check_grid(grid), dtype=np.float64)


def describe_grid(grid: Mapping[str, float]) -> str:
    """One phrase for error messages."""
    return (
        f"2θ {grid['two_theta_min']:g} … {grid['two_theta_max']:g}° in steps of {grid['step']:g}° "
        f"at {grid['wavelength']:g} Å ({check_grid(grid)} points)"
    )


def check_intensity(intensity: ArrayLike, negative: str = "error") -> NDArray[np.float64]:
    """A pattern as a float array, or a message naming the first point that cannot be one.

    Args:
        intensity: One pattern, counts on any scale.
        negative: "error" refuses intensities below 0; "clip" sets them to 0 (for background-subtracted patterns).

    Raises:
        ValueError: Not one-dimensional, NaN or infinite, negative (unless clipped), or nowhere above 0.
    """
    values = np.asarray(intensity, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"a pattern must be a one-dimensional array, got shape {values.shape}")
    finite = np.isfinite(values)
    if not finite.all():
        index = int(np.argmin(finite))
        raise ValueError(
            f"intensity[{index}] is {values[index]}: {int((~finite).sum())} of {values.size} points are not numbers; "
            "remove those points together with their positions"
        )
    below = values < 0
    if below.any():
        if negative == "error":
            index = int(np.argmax(below))
            raise ValueError(
                f"intensity[{index}] is {values[index]:g}: {int(below.sum())} of {values.size} points are negative; "
                'pass negative="clip" if the background was subtracted'
            )
        values = np.where(below, 0.0, values)
    if not (values > 0).any():
        raise ValueError("the pattern is 0 everywhere: there is nothing to classify")
    return values


def check_axis(kind: str, axis: ArrayLike, n_points: int) -> NDArray[np.float64]:
    """An axis as a float array, ascending for 2θ and q, strictly monotonic for d."""
    values = np.asarray(axis, dtype=np.float64)
    if values.shape != (n_points,):
        raise ValueError(f"{kind} has shape {values.shape}, intensity has {n_points} points: they must agree")
    if not np.isfinite(values).all():
        raise ValueError(f"{kind}[{int(np.argmin(np.isfinite(values)))}] is not a number")
    if n_points < 2:
        raise ValueError(f"{kind} has {n_points} point; a pattern needs a range")
    steps = np.diff(values)
    if kind == "d" and (steps < 0).all():
        steps = -steps
    if not (steps > 0).all():
        index = int(np.argmax(steps <= 0))
        raise ValueError(
            f"{kind} must be sorted without repeats: {kind}[{index + 1}] = {values[index + 1]:g} comes after "
            f"{kind}[{index}] = {values[index]:g}; sort the points by {kind} first"
        )
    if values.min() <= 0:
        raise ValueError(f"{kind} must be above 0, the least is {values.min():g}")
    if kind == "two_theta" and values.max() >= 180:
        raise ValueError(f"two_theta must be in degrees below 180, the largest is {values.max():g}")
    return values


def to_two_theta(kind: str, axis: NDArray[np.float64], source: float, target: float) -> NDArray[np.float64]:
    """Positions as 2θ in degrees at the target wavelength; points no reflection can reach there become 180°.

    Bragg: λ = 2 d sin θ; q = 2π / d.

    Args:
        kind: "two_theta" (degrees), "d" (Å) or "q" (Å⁻¹).
        axis: Positions.
        source: Wavelength of a 2θ axis in Å.
        target: Wavelength of the grid in Å.
    """
    if kind == "two_theta":
        if source == target:
            return axis
        sine = np.sin(np.radians(axis / 2)) * (target / source)
    elif kind == "d":
        sine = target / (2 * axis)
    else:
        sine = axis * target / (4 * np.pi)
    return 2 * np.degrees(np.arcsin(np.minimum(sine, 1.0)))


def resample(
    intensity: NDArray[np.float64],
    positions: NDArray[np.float64],
    grid: Mapping[str, float],
    *,
    max_gap: float = 0.5,
    min_overlap: float = 5.0,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Patterns of one axis onto the grid.

    A coarser or equal axis is interpolated linearly. A finer one (under half the grid's step) is averaged over each
    grid cell, so that no counts are thrown away.

    Args:
        intensity: (patterns, n) on a common axis.
        positions: (n,) 2θ in degrees at the grid's wavelength, ascending.
        grid: Target grid.
        max_gap: Intervals between neighbouring points wider than this, in degrees, count as not measured.
        min_overlap: Least range shared with the grid, in degrees.

    Returns:
        Values (patterns, n_points), 0 where not measured, and the mask (n_points,), True where measured.

    Raises:
        ValueError: The axis shares less than `min_overlap` degrees with the grid.
    """
    axis = grid_axis(grid)
    overlap = min(positions[-1], axis[-1]) - max(positions[0], axis[0])
    if overlap < min(min_overlap, axis[-1] - axis[0]):
        raise ValueError(
            f"the pattern covers 2θ {positions[0]:.3f} … {positions[-1]:.3f}° at {grid['wavelength']:g} Å, which "
            f"shares {max(overlap, 0):.2f}° with the model's {describe_grid(grid)}; "
            f"at least {min_overlap:g}° are needed"
        )
    edge = grid["step"] / 2
    right = np.clip(np.searchsorted(positions, axis), 1, len(positions) - 1)
    left = right - 1
    measured = (axis >= positions[0] - edge) & (axis <= positions[-1] + edge)
    measured &= positions[right] - positions[left] <= max_gap
    inside = (positions >= axis[0]) & (positions <= axis[-1])
    if np.median(np.diff(positions[inside])) < 0.5 * grid["step"]:
        values = _cell_means(intensity, positions, axis, edge)
    else:
        weight = np.clip((axis - positions[left]) / (positions[right] - positions[left]), 0.0, 1.0)
        values = intensity[:, left] * (1 - weight) + intensity[:, right] * weight
    return np.where(measured, values, 0.0), measured


def _cell_means(
    intensity: NDArray[np.float64], positions: NDArray[np.float64], axis: NDArray[np.float64], edge: float
) -> NDArray[np.float64]:
    """Mean over each grid cell of the line through the points: differences of its running integral."""
    steps = np.diff(positions)
    areas = np.cumsum((intensity[:, 1:] + intensity[:, :-1]) * (steps / 2), axis=1)
    areas = np.concatenate([np.zeros((len(intensity), 1)), areas], axis=1)
    edges = np.clip(np.append(axis - edge, axis[-1] + edge), positions[0], positions[-1])
    right = np.clip(np.searchsorted(positions, edges), 1, len(positions) - 1)
    left = right - 1
    offset = edges - positions[left]
    slope = (intensity[:, right] - intensity[:, left]) / steps[left]
    running = areas[:, left] + intensity[:, left] * offset + slope * offset**2 / 2
    width = np.diff(edges)
    result: NDArray[np.float64] = np.diff(running, axis=1) / np.where(width > 0, width, 1.0)
    return result


def coverage(kind: str | None, axis: NDArray[np.float64], wavelength: float, mask: NDArray[np.bool_]) -> dict[str, Any]:
    """What a pattern was given as: axis, range, wavelength, and the part of the grid it fills."""
    name = "two_theta" if kind is None else kind
    return {
        "axis": name,
        "min": float(axis.min()),
        "max": float(axis.max()),
        "points": len(axis),
        "wavelength": float(wavelength) if name == "two_theta" else None,
        "covered": float(mask.mean()),
    }
