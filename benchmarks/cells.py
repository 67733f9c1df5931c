"""How often the cell search finds the cell of a simulated pattern.

    python benchmarks/cells.py --crystals STRUCTURES --library lines.parquet [--rows 500] [--json OUT]

The library (`simxrd library STRUCTURES -o lines.parquet`) gives the lines of the true crystal, which are fitted to
those of the pattern: a pattern of the preset `lab` is of a cell some per cent off the calculated one. That cell is then
judged as the search judges what it finds. For every Bravais lattice are printed: how many patterns had lines enough, in
what share of them a cell was found that explains the lines as well as the true one (less than 1 in ln p behind, for the
extinction symbol of the crystal), and in what share that symbol is the best of all or less than 3 behind.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.crystals import crystal, read_crystals
from simxrd_hf.data.splits import SPLITS, crystal_splits
from simxrd_hf.diffraction import PatternGrid, Simulator
from simxrd_hf.errors import BadInput
from simxrd_hf.indexing import cells, find_lines
from simxrd_hf.indexing.guesses import index_parameters
from simxrd_hf.indexing.tables import CENTRINGS, reflection_conditions
from simxrd_hf.matching import LineLibrary, read_library
from simxrd_hf.matching import similarity_kernels as kernels
from simxrd_hf.symmetry import BRAVAIS_LATTICES, EXTINCTION_OF
from simxrd_hf.training.machine import machine

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # tools/ is part of a checkout, not of the package
from tools.guesses import conventional_axes

_SCALES = np.linspace(0.95, 1.05, 7)
_WIDTH_DEG = 0.08


def true_parameters(lattice: str, made: Any, library: LineLibrary, row: int, lines: Any, grid: Any) -> NDArray | None:
    """Parameters of the crystal's cell, strained to fit the lines of its pattern; None where spglib differs."""
    count = library.counts[row]
    amplitude = np.sqrt(lines.height / lines.height.max())
    fits = [
        (
            *kernels.refined_similarity(
                library.cells[row].astype(np.float64),
                library.hkl[row, :count],
                library.amplitude[row, :count].astype(np.float64),
                scale,
                lines.two_theta,
                amplitude,
                grid["two_theta_min"],
                grid["two_theta_max"],
                grid["wavelength"],
                _WIDTH_DEG,
            ),
            scale,
        )
        for scale in _SCALES
    ]
    _, strain, _, _, scale = max(fits, key=lambda fit: fit[0])
    conventional = conventional_axes(made, int(library.space_group[row]))
    if conventional is None:
        return None
    # q² = qᵀ (1 + E) q: vectors of the reciprocal lattice are multiplied by its root, those of the direct one divided
    values, axes = np.linalg.eigh(np.eye(3) + strain)
    return index_parameters(lattice, scale * conventional @ (axes / np.sqrt(values)) @ axes.T)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crystals", required=True, help="crystal table or structures")
    parser.add_argument("--library", type=Path, required=True, help="lines of these crystals")
    parser.add_argument("--rows", type=int, default=500, help="patterns, of crystals of the test split by formula")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    try:
        table, library = read_crystals(args.crystals).table, read_library(args.library)
    except BadInput as error:
        print(f"cells: {error}", file=sys.stderr)
        return 2
    place = {name: row for row, name in enumerate(library.crystal_id)}
    test = np.flatnonzero(crystal_splits(table) == SPLITS.index("test"))
    rows = np.random.default_rng(args.seed).permutation(test)[: args.rows]
    grid = PatternGrid().to_dict()
    simulator = Simulator("lab", seed=args.seed)
    by_symbol = {one.symbol: one for one in reflection_conditions()}
    loosest = {lattice: loose for (_, lattice), (loose, _) in cells.lattices().items()}
    found: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for row in rows.tolist():
        made = crystal(table, row)
        symbol = int(EXTINCTION_OF[table["space_group"][row].as_py() - 1])
        conditions = by_symbol[symbol]
        if made.crystal_id not in place:
            continue
        lines = find_lines(simulator.simulate(made, [31]).intensity[0], grid)
        search = cells.CellSearch(lines.two_theta, grid["wavelength"], lines.significance)
        if not search.enough(conditions.kind):
            continue
        parameters = true_parameters(conditions.lattice, made, library, place[made.crystal_id], lines, grid)
        if parameters is None:
            continue
        guesses = [(centring, parameters) for centring in CENTRINGS[conditions.lattice]]
        true = max(
            search.score(setting.terms, cell.parameters[setting.order], cell.shift)
            for cell in search.refined(loosest[conditions.lattice], guesses)
            for setting in conditions.settings
        )
        begun = time.process_time()
        weights = cells.extinction_log_likelihoods(lines.two_theta, lines.significance, wavelength=grid["wavelength"])
        seconds = time.process_time() - begun
        found[conditions.lattice].append((weights[symbol] > true - 1, weights[symbol] > weights.max() - 3, seconds))
    results = {}
    for lattice in (*[name for name in BRAVAIS_LATTICES if name in found], "all"):
        some = np.array([one for name, of in found.items() if lattice in (name, "all") for one in of])
        results[lattice] = {
            "patterns": len(some),
            "found": round(float(some[:, 0].mean()), 3),
            "symbol_leads": round(float(some[:, 1].mean()), 3),
            "ms": round(1000 * float(some[:, 2].mean())),
        }
        print(lattice, "  ".join(f"{key} {value}" for key, value in results[lattice].items()))
    if args.json:
        facts = {"rows": args.rows, "seed": args.seed, "lattices": results, **machine()}
        args.json.write_text(json.dumps(facts, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
