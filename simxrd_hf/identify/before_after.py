"""Draws what preprocessing did to a measured pattern, and what of it the model sees."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.diffraction import PatternGrid
from simxrd_hf.errors import BadInput
from simxrd_hf.identify.model_inputs import to_grid
from simxrd_hf.models.conversion_simxrd import Converter
from simxrd_hf.patterns.pattern import Pattern
from simxrd_hf.patterns.preprocessing import background


def plot_before_after(before: Pattern, after: Pattern, path: str | Path, *, grid: PatternGrid | None = None) -> None:
    """Draw a pattern as read and as it goes into the model.

    Args:
        before: As read.
        after: After `preprocess`.
        path: Image file (.png, .svg, .pdf).
        grid: Mark the model's range, and draw the lower panel on it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    upper, lower = figure.subplots(2, 1)
    upper.plot(*_with_gaps(before), color="0.25", lw=0.7, label="as read")
    if after.metadata.get("background_removed"):
        try:
            base = background(before, method=str(after.metadata["background_removed"]))
            upper.plot(before.two_theta, base, color="tab:red", lw=1.0, label="background taken off")
        except BadInput:
            pass
    upper.set_title(before.path, fontsize=10)
    upper.set_xlabel("2θ (°)")
    upper.set_ylabel(before.unit)
    steps = ", ".join(after.metadata.get("steps", ())) or "no step"
    if grid is None:
        lower.plot(*_with_gaps(after), color="tab:blue", lw=0.7, label=steps)
        lower.set_xlabel("2θ (°)")
        lower.set_ylabel(after.unit)
    else:
        values, mask = to_grid(after, grid)
        lower.plot(grid.two_theta, np.where(mask, values, np.nan), color="tab:blue", lw=0.7, label=steps)
        shade_unmeasured(lower, grid.two_theta, mask)
        lower.set_xlim(grid.two_theta[0], grid.two_theta[-1])
        lower.set_xlabel(f"2θ at {grid.wavelength:g} Å (°); grey: not measured")
        lower.set_ylabel("scaled to 100")
    for axes in (upper, lower):
        axes.legend(loc="upper right", fontsize=8, frameon=False)
        axes.margins(x=0)
    figure.savefig(path, dpi=120)


def hkl_text(indices: Iterable[int]) -> str:
    """Indices of a reflection as crystallographers write them: a bar for minus, blanks where one has two digits.

    Args:
        indices: h, k, l.
    """
    numbers = [int(i) for i in indices]
    words = ["".join(f"{digit}\u0305" for digit in str(-i)) if i < 0 else str(i) for i in numbers]
    return (" " if max(map(abs, numbers), default=0) > 9 else "").join(words)


def shade_unmeasured(
    axes: Any, two_theta: NDArray[np.float64], mask: NDArray[np.bool_], label: str | None = None
) -> None:
    """Draw grey bands where a pattern was not measured.

    Args:
        axes: Of matplotlib.
        two_theta: (n,) the axis.
        mask: (n,) True where measured.
        label: For the legend.
    """
    half = 0.5 * float(np.median(np.diff(two_theta)))
    edges = np.flatnonzero(np.diff(np.concatenate([[True], mask, [True]]).astype(np.int8)))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        axes.axvspan(two_theta[start] - half, two_theta[stop - 1] + half, color="0.85", lw=0, zorder=0, label=label)
        label = None


def _with_gaps(pattern: Pattern) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points of a pattern with a break wherever so much is missing that the model masks it."""
    wide = np.flatnonzero(np.diff(pattern.two_theta) > Converter.max_gap) + 1
    return np.insert(pattern.two_theta, wide, np.nan), np.insert(pattern.intensity, wide, np.nan)
