"""Which 2θ regions speak for an answer, drawn with the reflections of the predicted lattice."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.files import replacing
from simxrd_hf.identify.before_after import hkl_text, shade_unmeasured
from simxrd_hf.identify.predictor import Predictor
from simxrd_hf.indexing import FittedCell, Lines, Reflections, find_lines, fit_cell, reflections
from simxrd_hf.models.answers_simxrd import answer_logits, combine, probabilities
from simxrd_hf.models.resampling_simxrd import grid_axis
from simxrd_hf.models.symmetry_simxrd import CRYSTAL_SYSTEM_OF, CRYSTAL_SYSTEMS, SPACE_GROUPS

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Explanation:
    """What speaks for an answer.

    Attributes:
        answer: The answer explained, as the predictor gives it.
        label: The class explained.
        grid: The model's grid.
        two_theta: (n_points,) degrees along it.
        intensity: (n_points,) the pattern as the model reads it.
        mask: (n_points,) True where measured.
        evidence: (n_points,) change of ln p(label) when the structure of the pattern around a point is flattened;
            positive where it speaks for the label.
        reflections: Reflections of the lattice drawn, or None.
        cell: The cell they belong to, or None.
        note: Where the cell comes from, or why there is none.
    """

    answer: dict[str, Any]
    label: str
    grid: Mapping[str, float]
    two_theta: FloatArray
    intensity: FloatArray
    mask: NDArray[np.bool_]
    evidence: FloatArray
    reflections: Reflections | None
    cell: tuple[float, ...] | None
    note: str


def flattened(intensity: FloatArray, start: int, stop: int, edge: int = 12) -> FloatArray:
    """The pattern with [start, stop) replaced by a straight line between the lowest points just outside it."""
    left = intensity[max(start - edge, 0) : start + 1].min()
    right = intensity[stop - 1 : stop + edge].min()
    changed = intensity.copy()
    changed[start:stop] = np.minimum(changed[start:stop], np.linspace(left, right, stop - start))
    return changed


def occlusion(
    predictor: Predictor, prepared: dict[str, Any], index: int, *, width: float = 1.0, step: float = 0.25
) -> FloatArray:
    """Evidence by occlusion (Zeiler and Fergus 2014): flatten one window after the other and look at ln p.

    Args:
        predictor: The model.
        prepared: Arrays of one pattern, from `predictor.prepare`.
        index: The class looked at.
        width: Window in degrees 2θ.
        step: Distance of the windows in degrees.

    Returns:
        (n_points,) mean drop of ln p(class) over the windows that hold the point, in nats.
    """
    pattern = prepared["intensity"][0].astype(np.float64)
    grid = predictor.converter.grid
    size, stride = (max(1, round(value / grid["step"])) for value in (width, step))
    starts = range(0, max(len(pattern) - size, 0) + 1, stride)
    rows = np.stack([pattern, *(flattened(pattern, start, start + size) for start in starts)]).astype(np.float32)
    log_p = np.empty(len(rows))
    for first in range(0, len(rows), 64):
        chunk = rows[first : first + 64]
        arrays = {"intensity": chunk}
        for name in ("mask", "composition"):
            if name in prepared:
                arrays[name] = np.repeat(prepared[name][:1], len(chunk), axis=0)
        table = probabilities(
            predictor.logits(arrays).numpy(),
            predictor.settings.temperature,
            are_probabilities=predictor.settings.returns_probabilities,
        )
        log_p[first : first + len(chunk)] = np.log(np.maximum(table[:, index], 1e-30))
    total, count = np.zeros(len(pattern)), np.zeros(len(pattern))
    for start, value in zip(starts, log_p[0] - log_p[1:], strict=True):
        total[start : start + size] += value
        count[start : start + size] += 1
    return total / np.maximum(count, 1)


def explain(
    predictor: Predictor,
    item: Any,
    *,
    cell: tuple[float, ...] | None = None,
    wavelength: float | None = None,
    negative: str | None = None,
) -> Explanation:
    """Explain the best answer for one input.

    Reflections need a cell. With `cell` it is the one given; otherwise one is searched for, and none is drawn where the
    search fails. What speaks for the answer is asked of the network alone.

    Args:
        predictor: The model.
        item: One input, as for the predictor; of several patterns of a sample the first is drawn.
        cell: a, b, c (Å), α, β, γ (degrees).
        wavelength: Å, for 2θ axes that come without one.
        negative: "error" or "clip".

    Raises:
        ValueError: The input or the cell cannot be used.
    """
    prepared = predictor.prepare(item, wavelength=wavelength, negative=negative)
    settings = predictor.settings
    logits = predictor.scores(prepared)
    table = probabilities(logits, settings.temperature, are_probabilities=settings.returns_probabilities)
    index = int((table[0] if len(table) == 1 else combine(table)).argmax())
    result = answer_logits(logits, prepared["info"], settings)
    evidence = occlusion(predictor, prepared, index)
    grid = predictor.converter.grid
    axis = grid_axis(grid)
    intensity = prepared["intensity"][0].astype(np.float64)
    labels = tuple(settings.id2label[i] for i in range(len(settings.id2label)))
    number = index + 1 if labels == SPACE_GROUPS else None
    found, cell, note = _lattice(axis, find_lines(intensity, grid, prepared["mask"][0]), number, cell, grid)
    return Explanation(
        answer=result,
        label=labels[index],
        grid=grid,
        two_theta=axis,
        intensity=intensity,
        mask=prepared["mask"][0],
        evidence=evidence,
        reflections=found,
        cell=cell,
        note=note,
    )


def _lattice(
    axis: FloatArray, lines: Lines, number: int | None, cell: tuple[float, ...] | None, grid: Mapping[str, float]
) -> tuple[Reflections | None, tuple[float, ...] | None, str]:
    if number is None:
        return None, None, "The model names no space group, so no reflections are drawn."
    symbol = SPACE_GROUPS[number - 1]
    note = f"Reflections {symbol} allows for the cell given."
    shift = 0.0
    if cell is None:
        system = CRYSTAL_SYSTEMS[CRYSTAL_SYSTEM_OF[number - 1]]
        fit: FittedCell | None = fit_cell(lines.two_theta, number, wavelength=grid["wavelength"])
        if fit is None:
            return None, None, f"No reflections: no {system} cell with the conditions of {symbol} fits the lines found."
        cell = fit.cell
        note = (
            f"Reflections {symbol} allows for the {system} cell fitted to the lines here: {fit.matched} of {fit.lines} "
            f"explained, M = {fit.merit:.0f}, zero shift {fit.shift:+.2f}°."
        )
        shift = fit.shift
    found = reflections(cell, number, wavelength=grid["wavelength"], two_theta_min=axis[0], two_theta_max=axis[-1])
    return replace(found, two_theta=found.two_theta + shift), cell, note


def draw(explanation: Explanation, path: str | Path, *, title: str = "") -> None:
    """Write the explanation as a figure: pattern, reflections, evidence, ranked answers.

    Args:
        explanation: From `explain`.
        path: PNG, PDF or SVG file; it appears whole or not at all.
        title: Name of the pattern.
    """
    from matplotlib.colors import TwoSlopeNorm
    from matplotlib.figure import Figure

    e = explanation
    figure = Figure(figsize=(11, 6.2), dpi=130, layout="constrained")
    columns = figure.add_gridspec(1, 2, width_ratios=(3.2, 1))
    rows = columns[0].subgridspec(3, 1, height_ratios=(5, 0.45, 2))
    top = figure.add_subplot(rows[0])
    ticks = figure.add_subplot(rows[1], sharex=top)
    below = figure.add_subplot(rows[2], sharex=top)
    halves = columns[1].subgridspec(2, 1)
    ranks = [figure.add_subplot(halves[0]), figure.add_subplot(halves[1])]

    shown = np.where(e.mask, np.sqrt(np.maximum(e.intensity, 0)), np.nan)
    largest = max(float(np.abs(e.evidence).max()), 1e-9)
    norm = TwoSlopeNorm(0.0, -largest, largest)
    ceiling = float(np.nanmax(shown)) * 1.06
    top.imshow(
        np.where(e.mask, e.evidence, np.nan)[None],
        aspect="auto",
        cmap="PuOr_r",
        norm=norm,
        alpha=0.55,
        extent=(e.two_theta[0], e.two_theta[-1], 0, ceiling),
        interpolation="nearest",
    )
    top.plot(e.two_theta, shown, color="black", linewidth=0.8)
    if not e.mask.all():
        shade_unmeasured(top, e.two_theta, e.mask, "not measured")
        top.legend(loc="upper right", fontsize=8, frameon=False)
        shade_unmeasured(below, e.two_theta, e.mask)
    top.set(ylim=(0, ceiling), ylabel="√ intensity", title=f"{title + ': ' if title else ''}evidence for {e.label}")
    ticks.set(yticks=[], ylim=(0, 1))
    ticks.set_ylabel("hkl", rotation=0, ha="right", va="center")
    for side in ("left", "right", "top"):
        ticks.spines[side].set_visible(False)
    if e.reflections is not None:
        ticks.vlines(e.reflections.two_theta, 0.05, 0.95, color="black", linewidth=0.8)
        _name_reflections(top, e, ceiling)
    below.axhline(0, color="0.5", linewidth=0.6)
    measured = np.where(e.mask, e.evidence, 0.0)
    below.fill_between(e.two_theta, 0, np.maximum(measured, 0), color="#b35806", linewidth=0, label="for")
    below.fill_between(e.two_theta, 0, np.minimum(measured, 0), color="#542788", linewidth=0, label="against")
    below.set(xlabel="2θ (degrees)", ylabel="change of ln p", xlim=(e.two_theta[0], e.two_theta[-1]))
    below.legend(loc="upper right", fontsize=8, frameon=False, ncols=2)
    for axes in (top, ticks):
        axes.tick_params(labelbottom=False)
    lists = [name for name in ("space_group", "classes", "crystal_system") if name in e.answer][:2]
    for axes, name in zip(ranks, lists, strict=False):
        entries = e.answer[name][:5]
        axes.barh([entry["label"] for entry in entries], [entry["score"] for entry in entries], color="0.45")
        axes.invert_yaxis()
        axes.set(xlim=(0, 1), title=name.replace("_", " "), xlabel="probability")
        axes.spines[["top", "right"]].set_visible(False)
    for axes in ranks[len(lists) :]:
        axes.axis("off")
    note = e.note
    if e.cell is not None:
        note += " a, b, c = {:.4g}, {:.4g}, {:.4g} Å; α, β, γ = {:.4g}, {:.4g}, {:.4g}°.".format(*e.cell)
    figure.supxlabel(
        f"{note}\nEvidence: change of ln p({e.label}) when 1° of the pattern is flattened; "
        "what absent lines say does not show.",
        fontsize=8,
        x=0.01,
        ha="left",
    )
    path = Path(path)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:] or "png")


def _name_reflections(axes: Any, e: Explanation, ceiling: float) -> None:
    """Write hkl over the strongest lines, at most ten, leaving out those that would overlap."""
    assert e.reflections is not None
    lines = find_lines(e.intensity, e.grid, e.mask)
    placed: list[float] = []
    for position in lines.two_theta[np.argsort(-lines.height)][:10]:
        nearest = int(np.abs(e.reflections.two_theta - position).argmin())
        if abs(e.reflections.two_theta[nearest] - position) > 0.15 or any(abs(position - x) < 2.2 for x in placed):
            continue
        placed.append(position)
        name = hkl_text(e.reflections.hkl[nearest])
        height = np.sqrt(max(float(np.interp(position, e.two_theta, e.intensity)), 0))
        high = height > 0.9 * ceiling
        axes.annotate(
            name,
            (position, height),
            xytext=(4, -9) if high else (0, 3),
            textcoords="offset points",
            ha="left" if high else "center",
            fontsize=8,
        )
