"""What a library explains of a sample of several phases, as a laboratory reads it: plain data, flags, a figure."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.evidence.findings import HIGHER_THAN_TRICLINIC, Findings
from simxrd_hf.patterns.quality import Flag

if TYPE_CHECKING:
    from simxrd_hf.matching.mixtures import Mixture

FloatArray = NDArray[np.float64]

MOST_PHASES = 4
SEVERAL = 45.0
"""By so much the score of `MixtureSearch` falls with further phases where there are several."""
UNEXPLAINED = 0.35
"""Part of the intensity that is left where a library does not hold the phases."""
NO_CELL, _SOME_CELL = 0.6, 0.65
"""ln of the likelihood ratio by line of the best cell of higher than triclinic symmetry: below it there is none.

With a library the second was chosen, with `UNEXPLAINED`, on the patterns of minerals for choosing and on mixtures whose
phases were taken out of the packaged library (`benchmarks/mixtures.py --absent`)."""
_ENOUGH_LINES = 8
_FEW_LINES = 4
"""Of the measured patterns for choosing, one in a hundred minerals has so few, and most thin films that the answer is
sure of and wrong about: textured, they show one set of planes."""


def phases_answer(mixture: "Mixture") -> dict[str, Any]:
    """The keys "phases" and "unexplained" of an answer, as `simxrd predict --json` prints them."""
    phases = []
    for one in mixture.phases:
        phases.append(
            {
                "formula": one.formula,
                "crystal_id": one.crystal_id,
                "space_group": one.space_group,
                "weight_fraction": round(one.weight_fraction, 4),
                "intensity_share": round(one.intensity_share, 4),
                "cell": [round(value, 4) for value in conventional_cell(one.cell)],
                "volume_change": round(one.volume_change, 5),
                "similarity": round(one.similarity, 4),
                "width_deg": round(one.width, 4),
                "march_dollase": None if one.march_axis is None else round(one.march, 3),
            }
        )
    return {"phases": phases, "unexplained": round(mixture.unexplained, 4)}


def conventional_cell(cell: FloatArray) -> tuple[float, ...]:
    """a, b, c in Å, α, β, γ in degrees of the conventional cell of the lattice of a primitive one (by spglib)."""
    import spglib
    from ase.geometry import cell_to_cellpar

    found = spglib.get_symmetry_dataset((np.asarray(cell, dtype=np.float64), [[0.0, 0.0, 0.0]], [1]), symprec=1e-4)
    lattice = cell if found is None else found.std_lattice
    return tuple(float(value) for value in cell_to_cellpar(lattice))


def phases_text(answer: Mapping[str, Any]) -> list[str]:
    """Lines for people."""
    from simxrd_hf.symmetry import SPACE_GROUPS

    lines = ["  phases of the library, by weight"]
    for one in answer["phases"]:
        a, b, c, alpha, beta, gamma = one["cell"]
        name = f"{one['formula']} {SPACE_GROUPS[one['space_group'] - 1]} ({one['space_group']})"
        cell = f"{a:.4g} {b:.4g} {c:.4g} Å  {alpha:.4g} {beta:.4g} {gamma:.4g}°"
        lines.append(f"    {one['weight_fraction']:7.1%}  {name:<28} {one['crystal_id']}, {cell}")
    if not answer["phases"]:
        lines.append("    none is near")
    lines.append(f"    {answer['unexplained']:7.1%}  of the intensity unexplained")
    return lines


def plot_phases(mixture: "Mixture", path: str | Path, *, title: str = "") -> None:
    """Draw what was observed, the share of each phase, the difference and the lines.

    Args:
        mixture: From `MixtureSearch.mixture`.
        path: Image file (.png, .svg, .pdf).
        title: Name of the pattern.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), dpi=130, layout="constrained")
    upper, ticks, lower = figure.subplots(3, 1, sharex=True, height_ratios=(5, 0.3 + 0.25 * len(mixture.phases), 1.4))
    x, total = mixture.axis, mixture.profiles.sum(axis=0)
    upper.plot(x, np.sqrt(np.maximum(mixture.observed, 0)), color="black", lw=0.7, label="observed")
    upper.plot(x, np.sqrt(np.maximum(total, 0)), color="0.5", lw=0.7, label="calculated")
    for place, (one, profile, at) in enumerate(zip(mixture.phases, mixture.profiles, mixture.ticks, strict=True)):
        colour = f"C{place}"
        label = f"{one.formula} ({one.space_group}), {one.weight_fraction:.1%} by weight"
        upper.fill_between(x, np.sqrt(np.maximum(profile, 0)), color=colour, alpha=0.45, lw=0, label=label)
        ticks.vlines(at, -place - 0.8, -place - 0.2, color=colour, lw=0.8)
    lower.plot(x, mixture.observed - total, color="black", lw=0.6)
    lower.axhline(0, color="0.6", lw=0.5)
    upper.set(ylabel="√ intensity", title=f"{title}: {mixture.unexplained:.0%} of the intensity unexplained")
    upper.legend(fontsize=8, frameon=False)
    ticks.set(yticks=[], ylim=(-max(len(mixture.phases), 1), 0), ylabel="lines")
    lower.set(xlabel="2θ (degrees)", ylabel="difference", xlim=(x[0], x[-1]))
    figure.savefig(path)


def mixture_flag(found: Findings, mixture: "Mixture | None") -> Flag | None:
    """Whether an answer for one phase is to be doubted, because the pattern is not that of one.

    With a library: another phase lowers the score of the explanation by more than any single phase of the patterns that
    the bound was chosen on (`SEVERAL`), or neither crystals nor a cell explain the lines. Without one there is only the
    cell, which a mixture of few lines may fit as well. Very few lines are named before all else.

    Args:
        found: Of the pattern.
        mixture: What a library explains of it, or None.
    """
    if found.clear is not None and 0 < found.clear <= _FEW_LINES:
        few = f"only {found.clear} line{'s' * (found.clear > 1)} above 2 % of the highest"
        return Flag("few_lines", "doubt", f"{few}: many cells have these; a thin film, or strong texture?")
    by_line = None
    if found.cells.any() and found.lines >= _ENOUGH_LINES:
        by_line = float(found.cells[HIGHER_THAN_TRICLINIC].max()) / found.lines
    if mixture is None:
        if by_line is not None and by_line < NO_CELL:
            return Flag("not_one_cell", "doubt", "no cell explains the lines together: perhaps several phases")
        return None
    if not mixture.observed.any():
        return None
    several = mixture.scores[2:]
    if several and mixture.scores[1] - min(several) > SEVERAL:
        names = " + ".join(dict.fromkeys(one.formula for one in mixture.phases))
        return Flag("several_phases", "doubt", f"several phases explain the pattern far better than one: {names}")
    if mixture.unexplained > UNEXPLAINED and by_line is not None and by_line < _SOME_CELL:
        return Flag(
            "not_explained",
            "doubt",
            f"neither the library ({mixture.unexplained:.0%} of the intensity left) nor a cell explains the pattern",
        )
    return None
