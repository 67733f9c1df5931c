"""Time of a search in a library of crystals against the size of the library, as numbers and a picture.

    simxrd library STRUCTURES -o lines.parquet
    python benchmarks/library_size.py lines.parquet --json benchmarks/results/library_size.json

Smaller libraries are drawn from the one given; larger ones repeat its crystals, cells one per mille larger each time.
CPU time of one search on one thread, the least of some, as the median over patterns.
"""

import argparse
import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from simxrd_hf.crystals import crystal, prototypes
from simxrd_hf.diffraction import PatternGrid, Simulator
from simxrd_hf.matching import LineLibrary, find_matches, read_library
from simxrd_hf.training.machine import machine

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 137_000, 200_000, 350_000, 500_000)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path, help="file of `simxrd library`")
    parser.add_argument("--patterns", type=int, default=8, help="patterns searched for (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, and a picture beside it")
    args = parser.parse_args(argv)
    library = read_library(args.library)
    table = prototypes().table
    simulator, grid = Simulator("lab"), PatternGrid().to_dict()
    rows = np.linspace(0, table.num_rows - 1, args.patterns).astype(int)
    patterns = [simulator.simulate(crystal(table, int(row)), [31]).intensity[0] for row in rows]
    seconds = {}
    for size in SIZES:
        sized = of_size(library, size)
        find_matches(patterns[0], sized, grid)  # compile, and what a library works out once
        taken = []
        for pattern in patterns:
            tries = []
            for _ in range(3):
                started = time.process_time()
                find_matches(pattern, sized, grid)
                tries.append(time.process_time() - started)
            taken.append(min(tries))
        seconds[size] = statistics.median(taken)
        print(f"{size:>9,} crystals {1e3 * seconds[size]:>8.1f} ms", flush=True)
    growth = (seconds[500_000] / seconds[100_000]) / 5
    print(f"from 100,000 to 500,000 crystals the time grows {growth:.2f} times as fast as the library")
    if args.json:
        content = {"ms": {size: round(1e3 * s, 2) for size, s in seconds.items()}, "growth_over_linear": growth}
        args.json.write_text(json.dumps(content | machine(), indent=1) + "\n")
        draw(seconds, args.json.with_suffix(".png"))
    return 0


def of_size(library: LineLibrary, size: int) -> LineLibrary:
    """A library of so many crystals, in the order of space groups."""
    n = len(library)
    chosen = np.random.default_rng(0).permutation(n)[:size] if size <= n else np.arange(size) % n
    times = np.zeros(size) if size <= n else np.arange(size) // n
    order = np.argsort(library.space_group[chosen], kind="stable")
    chosen, times = chosen[order], times[order]
    names = ("crystal_id", "formula", "space_group", "hkl", "amplitude")
    fields = {name: getattr(library, name)[chosen] for name in names}
    cells = (library.cells[chosen] * (1 + 1e-3 * times[:, None, None])).astype(np.float32)
    return replace(library, cells=cells, **fields)


def draw(seconds: dict[int, float], path: Path) -> None:
    """Milliseconds against crystals, both logarithmic, and what linear growth from 100,000 on would be."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.loglog(seconds.keys(), [1e3 * s for s in seconds.values()], "o-", label="one search, one thread")
    axes.loglog([1e5, 5e5], [1e3 * seconds[100_000], 5e3 * seconds[100_000]], "k--", lw=1, label="linear")
    axes.set(xlabel="crystals in the library", ylabel="ms")
    axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    sys.exit(main())
