"""The two figures of a model card: confusion of crystal systems and reliability diagram."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from simxrd_hf.files import replacing
from simxrd_hf.metrics.calibration import reliability_bins
from simxrd_hf.metrics.classification import confusion_counts
from simxrd_hf.symmetry import CRYSTAL_SYSTEM_OF, CRYSTAL_SYSTEMS


def save_card_figures(
    folder: str | Path, labels: ArrayLike, probabilities: ArrayLike, *, target: str
) -> tuple[str, str]:
    """Draw `confusion.png` and `reliability.png` into a model folder.

    Args:
        folder: The model folder.
        labels: (n,) true class indices.
        probabilities: (n, classes) rows that sum to 1.
        target: "space_group" or "crystal_system"; 230 groups are drawn by their crystal systems, which fit on a page.

    Returns:
        The two file names, for `model_card`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    folder = Path(folder)
    truth = np.asarray(labels)
    table = np.asarray(probabilities)
    predicted = table.argmax(axis=1)
    if target == "space_group":
        truth_system, predicted_system = CRYSTAL_SYSTEM_OF[truth], CRYSTAL_SYSTEM_OF[predicted]
    else:
        truth_system, predicted_system = truth, predicted

    counts = confusion_counts(truth_system, predicted_system, len(CRYSTAL_SYSTEMS))
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(6.2, 5.4), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    for row, column in np.ndindex(share.shape):
        if counts[row].sum():
            colour = "white" if share[row, column] > 55 else "black"
            axes.text(column, row, f"{share[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(7), CRYSTAL_SYSTEMS, rotation=35, ha="right")
    axes.set_yticks(
        range(7), [f"{name} ({count:,})" for name, count in zip(CRYSTAL_SYSTEMS, counts.sum(axis=1), strict=True)]
    )
    axes.set_xlabel("predicted crystal system")
    axes.set_ylabel("true crystal system (patterns)")
    figure.colorbar(image, label="share of the row, %", shrink=0.8)
    _save(figure, FigureCanvasAgg, folder / "confusion.png")

    save_reliability(folder / "reliability.png", truth, table)
    return "confusion.png", "reliability.png"


def save_reliability(path: str | Path, labels: ArrayLike, probabilities: ArrayLike, *, title: str = "") -> None:
    """Draw a reliability diagram: stated probability of the most probable class against the share that was right.

    Args:
        path: PNG file.
        labels: (n,) true class indices.
        probabilities: (n, classes); only the largest of each row counts.
        title: What the patterns are.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    bins = reliability_bins(np.asarray(labels), np.asarray(probabilities))
    filled = bins["count"] > 0
    middle = (bins["edges"][:-1] + bins["edges"][1:]) / 2
    figure = Figure(figsize=(5.4, 5.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    width = bins["edges"][1] - bins["edges"][0]
    upper.bar(middle[filled], bins["accuracy"][filled], width * 0.94, color="#4c78a8", label="share that was right")
    upper.plot([0, 1], [0, 1], color="0.35", linestyle="--", linewidth=1, label="perfectly calibrated")
    upper.plot(bins["confidence"][filled], bins["accuracy"][filled], "o", color="#e45756", markersize=4)
    upper.set_ylabel("share right")
    if title:
        upper.set_title(title, fontsize="medium")
    upper.set_xlim(0, 1)
    upper.set_ylim(0, 1)
    upper.legend(loc="upper left", frameon=False)
    lower.bar(middle, bins["count"], width * 0.94, color="0.6")
    lower.set_ylabel("patterns")
    lower.set_xlabel("stated probability of the most probable class")
    _save(figure, FigureCanvasAgg, Path(path))


def _save(figure: Any, canvas: Any, path: Path) -> None:
    canvas(figure)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
