"""Draws what preprocessing did to a measured pattern, and what of it the model sees."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.diffraction import PatternGrid
from simxrd_hf.errors import BadInput
from simxrd_hf.identify.model_inputs import to_grid
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
    upper.plot(before.two_theta, before.intensity, color="0.25", lw=0.7, label="as read")
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
        lower.plot(after.two_theta, after.intensity, color="tab:blue", lw=0.7, label=steps)
        lower.set_xlabel("2θ (°)")
        lower.set_ylabel(after.unit)
    else:
        values, mask = to_grid(after, grid)
        lower.plot(grid.two_theta, np.where(mask, values, np.nan), color="tab:blue", lw=0.7, label=steps)
        for start, stop in _gaps(mask):
            lower.axvspan(grid.two_theta[start], grid.two_theta[stop - 1], color="0.85", lw=0)
        lower.set_xlim(grid.two_theta[0], grid.two_theta[-1])
        lower.set_xlabel(f"2θ at {grid.wavelength:g} Å (°); grey: not measured")
        lower.set_ylabel("scaled to 100")
    for axes in (upper, lower):
        axes.legend(loc="upper right", fontsize=8, frameon=False)
        axes.margins(x=0)
    figure.savefig(path, dpi=120)


def _gaps(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(start, stop) of every unmasked stretch."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], mask, [True]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
