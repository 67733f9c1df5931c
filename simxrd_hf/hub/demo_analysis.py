"""What the demo works out of a file: pattern, answer of the model, reflections to mark, files to take home."""

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.errors import BadInput
from simxrd_hf.symmetry import CRYSTAL_SYSTEM_OF, CRYSTAL_SYSTEMS, SPACE_GROUPS


@dataclass(frozen=True)
class Analysis:
    """One file, worked out.

    Attributes:
        name: File name.
        two_theta: Degrees, (n,), for `wavelength`.
        intensity: (n,).
        wavelength: Å.
        answer: What the model says, as the pipeline gives it.
        ticks: Degrees 2θ of the reflections to mark, (m,).
        tick_names: Their Miller indices.
        notes: What to know: where ticks and wavelength come from, warnings of the reader.
    """

    name: str
    two_theta: NDArray[np.float64]
    intensity: NDArray[np.float64]
    wavelength: float
    answer: dict[str, Any]
    ticks: NDArray[np.float64]
    tick_names: list[str]
    notes: list[str] = field(default_factory=list)


def analyse(path: str | Path, predictor: Any, wavelength: str | float | None = None) -> Analysis:
    """Read a measured pattern or a crystal structure, ask the model, find reflections to mark.

    Args:
        path: A file of a diffractometer, two columns, or a CIF.
        predictor: `simxrd_hf.identify.predictor.Predictor`.
        wavelength: Å, or the anode ("Cu"); what the file says by default.

    Raises:
        BadInput: A file of neither kind, or a pattern the model cannot read.
    """
    path = Path(path)
    if path.suffix.lower() in (".cif", ".mcif"):
        text = path.read_text(encoding="utf-8", errors="replace").lower()
        if "_atom_site_fract_x" in text or "_atom_site.fract_x" in text:
            return _structure(path, predictor)
    return _pattern(path, predictor, wavelength)


def _ask(predictor: Any, two_theta: NDArray[Any], intensity: NDArray[Any], wavelength: float) -> dict[str, Any]:
    item = {"two_theta": two_theta, "intensity": intensity, "wavelength": wavelength}
    try:
        result: dict[str, Any] = predictor([item], top_k=10, negative="clip")[0]
        return result
    except BadInput:
        raise
    except ValueError as error:
        raise BadInput(str(error)) from error


def _structure(path: Path, predictor: Any) -> Analysis:
    """A CIF: its pattern under the laboratory preset, marked with its own reflections."""
    from simxrd_hf.crystals import conventional_cell, crystal, read_crystals
    from simxrd_hf.diffraction import PatternGrid, peaks, simulate

    table = read_crystals(path)
    if table.table.num_rows == 0:
        reason = table.rejected["reason"][0].as_py() if table.rejected.num_rows else "no structure in the file"
        raise BadInput(f"{path.name}: {reason}")
    grid = PatternGrid()
    one = crystal(table, 0)
    made = simulate(one, "lab", conditions=[0])
    lines = peaks(one, cell=conventional_cell(one))
    strong = (lines.intensity > 0.5) & (lines.two_theta >= grid.two_theta_min) & (lines.two_theta <= grid.two_theta_max)
    number = int(table.table["space_group"][0].as_py())
    notes = [
        f"Simulated from the structure with the preset `lab`; its space group by spglib is "
        f"**{SPACE_GROUPS[number - 1]}** ({number}), {CRYSTAL_SYSTEMS[CRYSTAL_SYSTEM_OF[number - 1]]}.",
        "Ticks: the structure's own reflections.",
    ]
    intensity = made.intensity[0].astype(np.float64)
    return Analysis(
        path.name,
        grid.two_theta,
        intensity,
        grid.wavelength,
        _ask(predictor, grid.two_theta, intensity, grid.wavelength),
        lines.two_theta[strong],
        [" ".join(map(str, hkl)) for hkl in lines.hkl[strong]],
        notes,
    )


def _pattern(path: Path, predictor: Any, wavelength: str | float | None) -> Analysis:
    """A measured pattern, marked with the reflections of a lattice fitted to it under the predicted symmetry."""
    from simxrd_hf.patterns import read_pattern
    from simxrd_hf.patterns.pattern import NOMINAL_WAVELENGTH

    given, anode = None, None
    try:
        given = None if wavelength is None else float(str(wavelength).replace(",", "."))
    except ValueError:
        anode = str(wavelength).strip()
    pattern = read_pattern(path, wavelength=given, anode=anode)
    notes = list(pattern.warnings)
    used = pattern.wavelength
    if used is None:
        used = NOMINAL_WAVELENGTH
        notes.append(f"The file names no wavelength: Cu Kα, {used} Å, was taken. Give another one if that is wrong.")
    answer = _ask(predictor, pattern.two_theta, pattern.intensity, used)
    ticks, names, note = _lattice_ticks(pattern.two_theta, pattern.intensity, used, answer)
    return Analysis(path.name, pattern.two_theta, pattern.intensity, used, answer, ticks, names, [*notes, note])


def _lattice_ticks(
    two_theta: NDArray[Any], intensity: NDArray[Any], wavelength: float, answer: dict[str, Any]
) -> tuple[NDArray[np.float64], list[str], str]:
    from simxrd_hf.indexing import find_lines, fit_cell, reflections

    none = np.empty(0)
    if "space_group" not in answer:
        return none, [], "No ticks: this model names no space group."
    number = answer["space_group"][0]["number"]
    symbol, system = SPACE_GROUPS[number - 1], CRYSTAL_SYSTEMS[CRYSTAL_SYSTEM_OF[number - 1]]
    grid = {"two_theta_min": float(two_theta[0]), "two_theta_max": float(two_theta[-1]), "step": 0.02}
    even = np.arange(two_theta[0], two_theta[-1], grid["step"])
    lines = find_lines(np.interp(even, two_theta, intensity), grid | {"wavelength": wavelength})
    fit = fit_cell(lines.two_theta, number, wavelength=wavelength)
    if fit is None:
        return none, [], f"No ticks: no {system} cell with the conditions of {symbol} fits the lines found."
    found = reflections(
        fit.cell, number, wavelength=wavelength, two_theta_min=two_theta[0], two_theta_max=two_theta[-1]
    )
    cell = ", ".join(f"{name} = {value:.4f} Å" for name, value in zip("abc", fit.cell, strict=False))
    note = (
        f"Ticks: reflections {symbol} allows for a fitted {system} cell ({cell}), {fit.matched} of {fit.lines} lines."
    )
    return found.two_theta + fit.shift, [" ".join(map(str, hkl)) for hkl in found.hkl], note


def export(analysis: Analysis, folder: Path) -> list[str]:
    """Write the answer as JSON and the pattern with ticks as CSV.

    Args:
        analysis: From `analyse`.
        folder: Made where needed.

    Returns:
        The two files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = Path(analysis.name).stem
    answer = folder / f"{stem}-answer.json"
    answer.write_text(
        json.dumps(
            {
                "file": analysis.name,
                "wavelength_angstrom": analysis.wavelength,
                "answer": analysis.answer,
                "reflections": [
                    {"hkl": name, "two_theta_deg": round(float(at), 4)}
                    for name, at in zip(analysis.tick_names, analysis.ticks, strict=True)
                ],
                "notes": analysis.notes,
            },
            indent=1,
            default=str,
        ),
        encoding="utf-8",
    )
    pattern = folder / f"{stem}-pattern.csv"
    with pattern.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["two_theta_deg", "intensity"])
        writer.writerows(zip(analysis.two_theta.round(5), analysis.intensity.round(4), strict=True))
    return [str(answer), str(pattern)]
