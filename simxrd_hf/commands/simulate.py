"""Simulate powder patterns of crystals: print the lines, write the pattern, plot it with its hkl."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simxrd_hf.errors import BadInput
from simxrd_hf.files import replacing
from simxrd_hf.progress import bar

if TYPE_CHECKING:
    from simxrd_hf.diffraction import Crystal, PatternGrid, Peaks, Preset, Simulation, Simulator

EXAMPLE = (
    "simxrd simulate quartz.cif --plot quartz.png -o quartz.xy\n"
    "  simxrd simulate my_cifs/ --preset lab --anode Co --condition 0-9 -o patterns.parquet"
)
MAX_PANELS = 6
MAX_LABELS = 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="CIF, folder, .db, .parquet … as `simxrd crystals`")
    parser.add_argument("--preset", default="simxrd-4m", help="simxrd-4m, lab, or a .yaml or .json file")
    parser.add_argument("--condition", default="0", metavar="N[-M],…", help="which conditions to draw (default 0)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws (default 0)")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--anode", choices=["Cr", "Fe", "Co", "Cu", "Mo", "Ag"], help="Kα doublet of an X-ray tube")
    source.add_argument("--wavelength", type=float, metavar="Å", help="one wavelength, e.g. of a synchrotron")
    parser.add_argument("--range", nargs=2, type=float, metavar=("MIN", "MAX"), help="2θ range in degrees (10 80)")
    parser.add_argument("--step", type=float, help="2θ step in degrees (0.02)")
    parser.add_argument("--limit", type=int, metavar="N", help="read only the first N entries of each source")
    parser.add_argument("--peaks", action="store_true", help="print the table of lines")
    parser.add_argument("-o", "--output", type=Path, help="write the pattern as .xy, or patterns as .parquet")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw pattern and lines with their hkl")
    parser.add_argument("--json", action="store_true", help="print lines and drawn parameters as JSON")


def run(args: argparse.Namespace) -> int:
    """Simulate, then print, write and plot what was asked for."""
    from simxrd_hf.crystals import conventional_cell, crystal, read_crystals
    from simxrd_hf.diffraction import CrystalError, PatternGrid, Simulator, get_preset, peaks

    for path, endings in ((args.output, (".xy", ".parquet")), (args.plot, (".png", ".pdf", ".svg"))):
        if path is not None and path.suffix.lower() not in endings:
            raise BadInput(f"{path}: the name must end in {' or '.join(endings)}")
    conditions = _conditions(args.condition)
    preset, wavelength = _radiation(get_preset(args.preset), args.anode, args.wavelength)
    low, high = args.range or (10.0, 80.0)
    grid = PatternGrid(low, high, 0.02 if args.step is None else args.step, wavelength)
    simulator = Simulator(preset, seed=args.seed, grid=grid)

    results: list[tuple[Crystal, str, Peaks, Simulation]] = []
    problems: list[str] = []
    for name in args.files:
        found = read_crystals(name, limit=args.limit)
        problems += [f"{row['crystal_id']}: {row['reason']}" for row in found.rejected.to_pylist()]
        for i in bar(range(len(found.table)), show=len(found.table) >= 20, desc=Path(name).name):
            try:
                item = crystal(found.table, i)
                lines = peaks(
                    item,
                    wavelength=simulator.wavelength,
                    two_theta_range=(grid.two_theta_min, grid.two_theta_max),
                    anomalous=preset.anomalous,
                    thermal=preset.thermal,
                    monochromator_two_theta=preset.monochromator_two_theta_deg,
                    min_intensity=0.01,
                    cell=conventional_cell(item),
                )
                made = simulator.simulate(item, conditions)
            except CrystalError as error:
                problems.append(str(error))
                continue
            results.append((item, str(found.table["formula"][i]), lines, made))
    for problem in problems:
        print(f"simxrd simulate: left out: {problem}", file=sys.stderr)
    if not results:
        raise BadInput("no crystal could be simulated" + (f": {problems[0]}" if problems else ""))

    if args.output is not None:
        _write(args.output, results, grid, preset, args.seed)
    if args.plot is not None:
        _plot(args.plot, results, grid, simulator)
    if args.json:
        print(json.dumps([_plain(*result, preset) for result in results]))
    elif args.peaks or (args.output is None and args.plot is None):
        for result in results:
            _print_lines(*result)
    else:
        written = [str(path) for path in (args.output, args.plot) if path is not None]
        print(f"{len(results)} crystals, {len(conditions)} conditions of {preset.name}: {', '.join(written)}")
    return 0


def _conditions(text: str) -> list[int]:
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        try:
            numbers += range(int(first), int(last or first) + 1)
        except ValueError:
            raise BadInput(f"--condition {text!r}: give numbers and ranges such as 0,3 or 0-9") from None
    if not numbers:
        raise BadInput(f"--condition {text!r} is empty")
    return numbers


def _radiation(preset: "Preset", anode: str | None, wavelength: float | None) -> tuple["Preset", float]:
    """The preset for another tube or wavelength, and the wavelength of the grid."""
    from simxrd_hf.diffraction.scattering import KALPHA, mean_wavelength

    if wavelength is not None:
        return preset.replace(kalpha=None, parameters={"kalpha2_ratio": None}), wavelength
    if anode is not None:
        return (preset if preset.kalpha is None else preset.replace(kalpha=KALPHA[anode])), mean_wavelength(anode)
    return preset, 1.54184 if preset.kalpha is None else mean_wavelength("Cu")


def _plain(item: "Crystal", formula: str, lines: "Peaks", made: "Simulation", preset: "Preset") -> dict[str, Any]:
    return {
        "crystal_id": item.crystal_id,
        "formula": formula,
        "preset": preset.name,
        "digest": preset.digest,
        "conditions": made.conditions.tolist(),
        "parameters": {name: values.tolist() for name, values in made.parameters.items()},
        "peaks": {
            "two_theta": lines.two_theta.tolist(),
            "d": lines.d.tolist(),
            "hkl": lines.hkl.tolist(),
            "multiplicity": lines.multiplicity.tolist(),
            "f_squared": lines.f_squared.tolist(),
            "intensity": lines.intensity.tolist(),
        },
    }


def _print_lines(item: "Crystal", formula: str, lines: "Peaks", made: "Simulation") -> None:
    print(f"{item.crystal_id}  {formula}  {len(lines.d)} lines above 0.01 %")
    drawn = ", ".join(f"{name} {values[0]:.4g}" for name, values in made.parameters.items())
    print(f"condition {made.conditions[0]}: {drawn}")
    print(f"{'h':>4}{'k':>4}{'l':>4}{'mult':>6}{'2theta':>10}{'d (Å)':>10}{'|F|²':>12}{'I':>9}")
    for row in zip(
        lines.hkl, lines.multiplicity, lines.two_theta, lines.d, lines.f_squared, lines.intensity, strict=True
    ):
        (h, k, m), multiplicity, angle, d, f_squared, intensity = row
        print(f"{h:4d}{k:4d}{m:4d}{multiplicity:6d}{angle:10.4f}{d:10.5f}{f_squared:12.2f}{intensity:9.3f}")


def _write(path: Path, results: list[Any], grid: "PatternGrid", preset: "Preset", seed: int) -> None:
    with replacing(path) as temporary:
        if path.suffix.lower() == ".xy":
            item, formula, _, made = results[0]
            if len(results) > 1 or len(made.conditions) > 1:
                raise BadInput(f"{path}: an .xy file holds one pattern; name a .parquet file for several")
            rows = [f"# {item.crystal_id} {formula}; {preset.name}, seed {seed}, condition {made.conditions[0]}"]
            rows.append(f"# wavelength {grid.wavelength} Å; 2theta (degrees), intensity (highest 100)")
            rows += [f"{x:.4f} {y:.5f}" for x, y in zip(grid.two_theta, made.intensity[0], strict=True)]
            temporary.write_text("\n".join(rows) + "\n", encoding="utf-8")
        else:
            _write_parquet(temporary, results, grid, preset, seed)


def _write_parquet(path: Path, results: list[Any], grid: "PatternGrid", preset: "Preset", seed: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    batches = []
    for item, formula, _, made in results:
        n = len(made.conditions)
        batches.append(
            pa.table(
                {
                    "crystal_id": pa.array([item.crystal_id] * n, pa.string()),
                    "formula": pa.array([formula] * n, pa.string()),
                    "condition": pa.array(made.conditions, pa.int16()),
                    "intensity": pa.FixedSizeListArray.from_arrays(made.intensity.reshape(-1), grid.n_points),
                    **made.parameters,
                }
            )
        )
    metadata = {"grid": json.dumps(grid.to_dict()), "preset": json.dumps(preset.to_dict()), "seed": str(seed)}
    pq.write_table(pa.concat_tables(batches).replace_schema_metadata(metadata), path, compression="zstd")


def _plot(path: Path, results: list[Any], grid: "PatternGrid", simulator: "Simulator") -> None:
    from matplotlib.figure import Figure

    shown = results[:MAX_PANELS]
    figure = Figure(figsize=(11, 3.6 * len(shown)), layout="constrained")
    axes = figure.subplots(len(shown), 1, squeeze=False)
    for axis, (item, formula, lines, made) in zip(axes[:, 0], shown, strict=True):
        axis.plot(grid.two_theta, made.intensity[0], linewidth=0.9, color="#1f4e79")
        places = _places(simulator, item, lines, int(made.conditions[0]))
        axis.vlines(places, -7.0, -2.5, color="#b03a2e", linewidth=0.8)
        _label(axis, grid, made.intensity[0], places, lines)
        axis.set_xlim(grid.two_theta_min, grid.two_theta_max)
        axis.set_ylim(-10.0, 128.0)
        axis.set_yticks([0, 25, 50, 75, 100])
        axis.set_ylabel("intensity")
        moved = ", ticks moved with the lines" if (abs(places - lines.two_theta) > 5e-4).any() else ""
        title = f"{item.crystal_id}  {formula}   ({simulator.preset.name}, condition {made.conditions[0]}{moved})"
        axis.set_title(title, fontsize=10, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1, 0].set_xlabel(f"2θ (degrees), λ = {grid.wavelength:.5g} Å")
    if len(results) > len(shown):
        figure.suptitle(f"the first {len(shown)} of {len(results)} crystals", fontsize=10)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)


def _places(simulator: "Simulator", item: "Crystal", lines: "Peaks", condition: int) -> Any:
    """2θ of the lines in the pattern that is drawn, with its strained cell and all shifts."""
    import numpy as np

    from simxrd_hf.crystals import conventional_cell

    vectors = lines.hkl @ np.linalg.inv(conventional_cell(item)).T
    return simulator.line_positions(item, vectors, condition)


def _label(axis: Any, grid: "PatternGrid", y: Any, places: Any, lines: "Peaks") -> None:
    """Write the hkl of the strongest lines above them, leaving out those that would touch a stronger one's."""
    width = grid.two_theta_max - grid.two_theta_min
    taken: list[float] = []
    for i in lines.intensity.argsort()[::-1]:
        place = float(places[i])
        if len(taken) == MAX_LABELS or not grid.two_theta_min < place < grid.two_theta_max:
            continue
        if any(abs(place - other) < 0.013 * width for other in taken):
            continue
        taken.append(place)
        near = abs(grid.two_theta - place) < 0.004 * width
        text = " ".join(str(n) if n >= 0 else f"$\\bar{{{-n}}}$" for n in lines.hkl[i].tolist())
        axis.text(place, float(y[near].max()) + 3.0, text, rotation=90, ha="center", va="bottom", fontsize=7)
