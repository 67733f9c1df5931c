"""Pictures of a dataset: sample patterns and the frequency of its labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simxrd_hf import symmetry
from simxrd_hf.files import replacing

if TYPE_CHECKING:
    from simxrd_hf.diffraction import PatternGrid

_INK = "#1f4e79"


def plot_samples(dataset: Any, path: str | Path, *, grid: PatternGrid | None = None) -> Path:
    """One pattern of each crystal system, the first that the dataset holds.

    Args:
        dataset: Rows with `intensity`, `space_group` and `formula`: a `datasets.Dataset` or a list of dicts.
        path: PNG to write.
        grid: 2θ axis; the default one if absent.

    Returns:
        The path.
    """
    from matplotlib.figure import Figure

    from simxrd_hf.diffraction import PatternGrid

    two_theta = (grid or PatternGrid()).two_theta
    groups = np.asarray(dataset["space_group"] if hasattr(dataset, "column_names") else _column(dataset, "space_group"))
    systems = symmetry.CRYSTAL_SYSTEM_OF[groups]
    chosen = [int(np.argmax(systems == s)) for s in range(7) if (systems == s).any()]
    figure = Figure(figsize=(8, 1.15 * len(chosen) + 0.6))
    axes = figure.subplots(len(chosen), 1, sharex=True, squeeze=False)
    for axis, index in zip(axes[:, 0], chosen, strict=True):
        row = dataset[index]
        axis.plot(two_theta, np.asarray(row["intensity"], dtype=np.float32), color=_INK, linewidth=0.7)
        group = int(row["space_group"])
        system = symmetry.CRYSTAL_SYSTEMS[symmetry.CRYSTAL_SYSTEM_OF[group]]
        text = f"{row['formula']}   {symmetry.SPACE_GROUPS[group]} ({group + 1})   {system}"
        axis.text(0.995, 0.9, text, transform=axis.transAxes, ha="right", va="top", fontsize=8)
        axis.set(ylim=(0, 112), yticks=[0, 100], xlim=(two_theta[0], two_theta[-1]))
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1, 0].set_xlabel("2θ (degrees)", fontsize=8)
    figure.supylabel("intensity (highest point = 100)", fontsize=8)
    figure.tight_layout()
    return _save(figure, path)


def _column(rows: Sequence[dict[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in rows]


def plot_labels(space_groups: np.ndarray, path: str | Path) -> Path:
    """Crystals by crystal system and by space group.

    Args:
        space_groups: Number 1 … 230 of each crystal.
        path: PNG to write.

    Returns:
        The path.
    """
    from matplotlib.figure import Figure

    counts = np.bincount(space_groups - 1, minlength=230)
    per_system = np.bincount(symmetry.CRYSTAL_SYSTEM_OF, weights=counts, minlength=7)
    figure = Figure(figsize=(9, 2.8))
    left, right = figure.subplots(1, 2, width_ratios=(1, 2.4))
    left.barh(np.arange(7), per_system, color=_INK)
    left.set_yticks(np.arange(7), symmetry.CRYSTAL_SYSTEMS, fontsize=8)
    left.set_xlabel("crystals", fontsize=8)
    right.bar(np.arange(1, 231), counts, width=1.0, color=_INK)
    right.set(yscale="symlog", xlim=(0, 231))
    right.set_xlabel(f"space group ({int((counts > 0).sum())} of 230 occur)", fontsize=8)
    right.set_ylabel("crystals", fontsize=8)
    for axis in (left, right):
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return _save(figure, path)


def _save(figure: Any, path: str | Path) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        # Without the program's version and date in the file, equal pictures are equal bytes.
        figure.savefig(temporary, dpi=120, format="png", metadata={"Software": None})
    return path
