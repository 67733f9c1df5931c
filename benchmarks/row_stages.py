"""Where the CPU time of a stored row goes: microseconds of one thread for each stage of `simxrd generate`, and a floor.

Each stage is run alone, by the code that generation runs, over the crystals of one train block; the best of some turns.
Floors: of the patterns, every line's table read from the cache and one pass over the points; of packing and writing, a
copy of as many bytes; of compression, bytes in which zstd finds nothing; of what else is needed, nothing. The sum of
SHA-256 by the processor's own instructions is its own floor.

    python benchmarks/row_stages.py --structures STRUCTURES --json benchmarks/results/row_stages.json
"""

import argparse
import contextlib
import datetime
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from simxrd_hf.compiler import njit
from simxrd_hf.crystals import crystal, prototypes, read_crystals, sample
from simxrd_hf.data.jobs import Job
from simxrd_hf.data.plan import Recipe
from simxrd_hf.data.rounding import CODE_BITS, pack, round_rows
from simxrd_hf.data.rows import RowSimulator
from simxrd_hf.data.shard_files import LEVEL, Shard
from simxrd_hf.diffraction import profiles
from simxrd_hf.errors import BadInput

TURNS = 5


@njit
def add_tables(table: np.ndarray, y: np.ndarray, times: int) -> None:
    """Add four table rows to one window, again and again: what a line costs where all lies in the cache."""
    w0, w1, w2, w3 = np.float32(0.1), np.float32(0.2), np.float32(0.3), np.float32(0.4)
    for n in range(times):
        t0, t1, t2, t3 = table[0, n & 7], table[0, (n & 7) + 1], table[1, n & 7], table[1, (n & 7) + 1]
        for i in range(len(y)):
            y[i] += (w0 * t0[i] + w1 * t1[i]) + (w2 * t2[i] + w3 * t3[i])


def best(function: Callable[[], object], rows: int) -> float:
    """CPU microseconds for each of some rows."""
    found = np.inf
    for _ in range(TURNS):
        start = time.process_time()
        function()
        found = min(found, time.process_time() - start)
    return 1e6 * found / rows


def measure(table: pa.Table, folder: Path) -> dict[str, Any]:
    """Figures of the first block of a generation of these crystals."""
    job = Job.begin(folder / "d", table, Recipe.make())
    plan, block = job.plan, job.tasks[0].block
    conditions = np.array([c for chosen in plan.conditions.values() for c in chosen])
    rows = len(conditions) * len(block.windows[0])
    job.run(0)
    crystals, prepared = [], []
    source = RowSimulator(plan, reuse=True)
    simulator, points = source.simulator, plan.recipe.grid.n_points
    for row in block.windows[0].tolist():
        with contextlib.suppress(BadInput):
            prepared.append(simulator.prepare(crystal(job.crystals, row)))
            crystals.append(row)
    made = np.empty((len(conditions), points), np.float32)
    batches, _ = source.window(block.windows[0], plan.conditions)
    stored = np.concatenate([b["intensity"].flatten().to_numpy() for b in batches.values()]).reshape(-1, points)
    places = np.random.default_rng(0).permutation(len(crystals) * len(conditions)).reshape(len(crystals), -1)
    room = np.empty_like(stored)
    result = {
        "crystal_from_its_table": best(lambda: [crystal(job.crystals, row) for row in crystals], rows),
        "patterns": best(lambda: [simulator.simulate(one, conditions, out=made) for one in prepared], rows),
        "rounding_into_place": best(lambda: [round_rows(made, place, room) for place in places], rows),
    }
    known = [crystal(job.crystals, row) for row in crystals]
    result["lines_of_the_crystal"] = best(lambda: [simulator.prepare(one) for one in known], rows)
    window = best(lambda: source.window(block.windows[0], plan.conditions), rows)
    result["rest_of_a_window"] = window - sum(result.values())

    page = stored[:240]  # as many rows as a page has
    values = page.reshape(-1)
    packed = np.empty(-(-len(values) // 8) * CODE_BITS, np.uint8)
    codec = pa.Codec("zstd", compression_level=LEVEL)
    result["packing_codes"] = best(lambda: pack(values, packed), len(page))
    result["zstd"] = best(lambda: codec.compress(packed, asbytes=True), len(page))
    shard = Shard(source.schema)
    with_patterns = best(lambda: shard.write(batches["train"]), batches["train"].num_rows)
    result["other_columns_and_headers"] = with_patterns - result["packing_codes"] - result["zstd"]
    content = b"".join(shard._file.close())
    size = len(content) / shard._rows
    result["sha256"] = best(lambda: hashlib.sha256(content).digest(), shard._rows)
    file = folder / "x"
    result["file"] = best(lambda: file.write_bytes(content), shard._rows)
    start = time.process_time()
    record = job.run(0)
    total = 1e6 * (time.process_time() - start) / sum(f["rows"] for f in record["files"].values())
    result["footers_and_rest"] = total - sum(result.values())

    lines = float(np.mean([len(one.lines.s_squared) for one in prepared]))
    voigt = profiles.voigt_table(1.0)
    y = np.zeros(profiles.WINDOW, np.float32)
    add_tables(voigt, y, 1)
    copied = np.empty_like(page)
    copy = best(lambda: np.copyto(copied, page), len(page))
    random = np.random.default_rng(0).integers(0, 256, len(packed), np.uint8)
    floors = {
        "patterns": lines * best(lambda: add_tables(voigt, y, 100_000), 100_000) + copy,
        "packing_codes": copy,
        "zstd": best(lambda: codec.compress(random, asbytes=True), len(page)),
        "sha256": result["sha256"],
        "file": copy * size / (4 * points),
    }
    told = {f"{name}_us": value for name, value in result.items()} | {f"{k}_floor_us": v for k, v in floors.items()}
    return {
        "rows": rows,
        "lines": lines,
        "bytes_per_row": size,
        "total_us": total,
        "floor_us": sum(floors.values()),
    } | told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", metavar="PATH", help="crystals; the packaged prototypes if absent")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as one flat object")
    args = parser.parse_args()
    pa.set_cpu_count(1)
    table = sample((read_crystals(args.structures) if args.structures else prototypes()).table, 3000)
    result: dict[str, Any] = {"date": datetime.date.today().isoformat(), "load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory(prefix="simxrd_row_stages_") as folder:
        result |= measure(table, Path(folder))
    for name, value in result.items():
        print(f"{name:34}", f"{value:.4g}" if isinstance(value, float) else value)
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
