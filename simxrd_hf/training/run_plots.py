"""Pictures of a run: learning curve, confusion matrix, benchmark table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.files import replacing


def _save(figure: Any, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)


def plot_learning_curve(history: Sequence[dict[str, float]], path: Path, *, title: str = "") -> None:
    """Losses and validation scores over the patterns seen.

    Args:
        history: Rows of history.csv; columns may be missing in a row.
        path: PNG to write.
        title: Above the picture.
    """
    from matplotlib.figure import Figure

    def series(name: str) -> tuple[list[float], list[float]]:
        rows = [row for row in history if row.get(name) is not None]
        return [row["patterns"] for row in rows], [row[name] for row in rows]

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(*series("train_loss"), color="0.6", label="training")
    left.plot(*series("validation_loss"), "o-", ms=3, label="validation")
    left.set(xlabel="patterns seen", ylabel="loss")
    right.plot(*series("validation_accuracy"), "o-", ms=3, label="accuracy")
    right.plot(*series("validation_macro_f1"), "s-", ms=3, label="macro-F1")
    right.set(xlabel="patterns seen", ylabel="validation score", ylim=(0, 1.02))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        axes.ticklabel_format(axis="x", style="sci", scilimits=(-3, 4))
    figure.suptitle(title)
    _save(figure, path)


def plot_confusion(
    labels: NDArray[Any],
    predicted: NDArray[Any],
    names: Sequence[str],
    path: Path,
    *,
    title: str = "",
    max_named: int = 40,
) -> None:
    """Confusion matrix, each row scaled to the share of its true class; numbers where few classes leave room.

    Args:
        labels: (n,) true classes.
        predicted: (n,) predicted classes.
        names: Names of all classes.
        path: PNG to write.
        title: Above the picture.
        max_named: Only classes that occur are shown; beyond this many they are not named one by one.
    """
    from matplotlib.figure import Figure

    from simxrd_hf.metrics import confusion_counts

    counts = confusion_counts(labels, predicted, len(names))
    shown = np.flatnonzero(counts.sum(axis=1) + counts.sum(axis=0))
    counts = counts[np.ix_(shown, shown)]
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    n = len(shown)
    side = 2.2 + (0.62 * n if n <= 12 else 0.24 * n if n <= max_named else 6.0)
    figure = Figure(figsize=(side + 0.9, side), layout="constrained")
    axes = figure.subplots()
    # The square root of the share keeps the few confusions visible beside a strong diagonal.
    image = axes.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    if n <= 12:
        for i in range(n):
            for j in range(n):
                if counts[i, j]:
                    colour = "white" if share[i, j] > 0.4 else "black"
                    axes.text(
                        j, i, f"{share[i, j]:.0%}\n{counts[i, j]}", ha="center", va="center", fontsize=7, color=colour
                    )
    if n <= max_named:
        axes.set_xticks(
            range(n), [names[int(k)] for k in shown], rotation=90 if n > 12 else 35, ha="right" if n <= 12 else "center"
        )
        axes.set_yticks(range(n), [names[int(k)] for k in shown])
        axes.tick_params(labelsize=8 if n <= 12 else 6)
    else:
        axes.set_xticks([])
        axes.set_yticks([])
    rest = f" ({n} of {len(names)} classes occur)" if n > max_named else ""
    axes.set(xlabel=f"predicted{rest}", ylabel="true")
    axes.set_title(title, fontsize=9)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, ticks=np.sqrt([0, 0.01, 0.1, 0.25, 0.5, 1]))
    bar.ax.set_yticklabels(["0", "1 %", "10 %", "25 %", "50 %", "100 %"], fontsize=7)
    bar.set_label("share of the true class", fontsize=8)
    _save(figure, path)


def plot_benchmark(groups: dict[tuple[str, str], list[dict[str, Any]]], path: Path) -> None:
    """Accuracy and macro-F1 of every model and method, one panel per split scheme and task.

    Args:
        groups: (config, task) -> entries with `model`, `method`, `variant` and (mean, deviation) of the scores.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    def called(entry: dict[str, Any]) -> str:
        return " ".join(filter(None, (entry["model"], entry["method"].replace("_", " "))))

    models = {place: list(dict.fromkeys(called(entry) for entry in entries)) for place, entries in groups.items()}
    columns = min(len(groups), 2)
    counts = [len(names) for names in models.values()]
    heights = [1.5 + 0.26 * max(counts[first : first + columns]) for first in range(0, len(counts), columns)]
    figure = Figure(figsize=(5.2 * columns, sum(heights)), layout="constrained")
    panels = figure.subplots(len(heights), columns, squeeze=False, height_ratios=heights).ravel()
    styles = {"corrected": {}, "as_published": {"mfc": "white"}}
    for axes, (place, entries) in zip(panels, groups.items(), strict=False):
        names = models[place]
        for entry in entries:
            y = len(names) - 1 - names.index(called(entry))
            lower = 0.16 if entry["variant"] == "as_published" else 0.0
            for score, colour, mark in (("accuracy", "C0", "o"), ("macro_f1", "C1", "s")):
                mean, spread = entry[score]
                error = None if np.isnan(spread) else 100 * spread
                axes.errorbar(
                    100 * mean, y - lower, xerr=error, fmt=mark, color=colour, ms=5, **styles.get(entry["variant"], {})
                )
        axes.set_yticks(range(len(names)), names[::-1])
        highest = 100 * max(entry[score][0] for entry in entries for score in ("accuracy", "macro_f1"))
        axes.set(xlim=(-2, min(10 * np.ceil(highest / 10 + 0.5), 100) + 2), ylim=(-0.7, len(names) - 0.3))
        axes.set_xlabel("percent", fontsize=8)
        axes.set_title(f"{place[1].replace('_', ' ')}, {place[0].replace('_', ' ')}", fontsize=10)
        axes.grid(axis="x", alpha=0.3)
        axes.tick_params(labelsize=8)
    for axes in panels[len(groups) :]:
        axes.set_visible(False)
    panels[0].plot([], [], "o", color="C0", label="accuracy")
    panels[0].plot([], [], "s", color="C1", label="macro-F1")
    if any(entry["variant"] == "as_published" for entries in groups.values() for entry in entries):
        panels[0].plot([], [], "o", color="0.4", mfc="white", label="as published")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    _save(figure, path)
