r"""Phases of weighed mixtures beside DARA (`dara-xrd`), in turns, each with the same scans and the same crystals.

    python -m venv dara && dara/bin/pip install dara-xrd==1.3.0 "numpy<2.4"     # its engine comes with the first import
    python benchmarks/peer_dara.py --scans FOLDER --structures STRUCTURES nio.parquet --dara dara/bin/python \
        --rows rows.csv --json peer_dara.json

FOLDER holds scans and `truth.csv` (see `mixtures.py`). The crystals are those of the tables that came from measured
structures and hold elements of the sample alone, gases left out as DARA does when it makes its list; as their cells
are calculated, it may strain them by 3 % instead of 1 %. Everything else is its default, two processors included;
what takes longer than `--limit` seconds counts as nothing found. The first of its solutions counts. Seconds are
those of the clock, without start and compilation.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from mixtures import agreement, compared, elements_of, weighed

from simxrd_hf.crystals.provenance import from_measured
from simxrd_hf.crystals.standard import element_symbols
from simxrd_hf.diffraction import PatternGrid
from simxrd_hf.matching.library import build_library
from simxrd_hf.matching.mixtures import ElementFilter, MixtureSearch
from simxrd_hf.training.machine import machine

GASES = {"H", "N", "O", "F", "Cl"}
WORKER = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import ray
from dara import search_phases
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
print("ready", flush=True)
for line in sys.stdin:
    task = json.loads(line)
    begun = time.time()
    found = search_phases(pattern_path=task["scan"], phases=task["cifs"], phase_params={"lattice_range": 0.03},
                          refinement_params={"n_threads": 2})
    weights = found[0].refinement_result.get_phase_weights() if found else {}
    answer = {name: float(value) for name, value in weights.items()}
    print("answer " + json.dumps({"weights": answer, "seconds": time.time() - begun}), flush=True)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=Path, required=True)
    parser.add_argument("--structures", type=Path, nargs="+", required=True, help="crystal tables")
    parser.add_argument("--dara", required=True, help="the interpreter of DARA's environment")
    parser.add_argument("--only", nargs="+", default=[""], help="scans whose name holds one of these")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for one scan (default: %(default)g)")
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    table = pa.concat_tables([pq.read_table(path) for path in args.structures], promote_options="default")
    measured = from_measured(table["crystal_id"].to_pylist())
    symbols = np.array(element_symbols())
    held = [set(symbols[numbers]) for numbers in table["atomic_numbers"].to_pylist()]
    rows: list[dict[str, Any]] = []
    for sample in weighed(args.scans):
        name, values, mask, truth = sample
        if not any(one in name for one in args.only):
            continue
        elements = elements_of(truth)
        chosen = [i for i, there in enumerate(held) if measured[i] and there <= elements and not there <= GASES]
        crystals = table.take(chosen)
        library, _ = build_library(crystals)
        grid = PatternGrid().to_dict()
        if not rows:  # compiles
            MixtureSearch(values, library, grid, mask, elements=ElementFilter(present=elements)).mixture()
        begun = time.perf_counter()
        ours = MixtureSearch(values, library, grid, mask, elements=ElementFilter(present=elements)).mixture()
        seconds = time.perf_counter() - begun
        found = [(phase.formula, phase.weight_fraction) for phase in ours.phases]
        rows.append(row_of("simxrd_hf", name, truth, found, seconds, len(chosen)))
        with tempfile.TemporaryDirectory() as folder:
            paths = cifs_of(crystals, Path(folder))
            answer, seconds = ask_dara(args.dara, args.scans / name, list(paths), args.limit, Path(folder))
        found = [(paths[path], weight) for path, weight in answer.items()]
        rows.append(row_of("dara-xrd", name, truth, found, seconds, len(chosen)))
        for row in rows[-2:]:
            print("  ".join(f"{value}" for value in row.values()), flush=True)
    results = {who: summary([row for row in rows if row["who"] == who]) for who in ("simxrd_hf", "dara-xrd")}
    for who, figures in results.items():
        print(who + ": " + "  ".join(f"{key} {value:.3g}" for key, value in figures.items()))
    if args.rows:
        with args.rows.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    if args.json:
        facts = {
            "date": datetime.now(UTC).date().isoformat(),
            "scans": len(rows) // 2,
            "limit_s": args.limit,
            **machine(),
        }
        args.json.write_text(json.dumps(results | facts, indent=1) + "\n")
    return 0


def cifs_of(crystals: pa.Table, folder: Path) -> dict[str, str]:
    """CIFs with symmetry, by the names DARA will give them; the formula of each."""
    from pymatgen.core import Structure
    from pymatgen.io.cif import CifWriter

    formulas = {}
    for number, row in enumerate(crystals.to_pylist()):
        places = np.reshape(row["frac_coords"], (-1, 3))
        structure = Structure(np.reshape(row["lattice"], (3, 3)), row["atomic_numbers"], places)
        name = f"p{number}"
        CifWriter(structure, symprec=0.01).write_file(folder / f"{name}.cif")
        formulas[name] = row["formula"]
    return formulas


def ask_dara(python: str, scan: Path, names: list[str], limit: float, folder: Path) -> tuple[dict[str, float], float]:
    """Weights by name of the first solution, and seconds; nothing where it takes too long."""
    task = {"scan": str(scan.resolve()), "cifs": [str(folder / f"{name}.cif") for name in names]}
    with started(python, folder) as worker:
        assert worker.stdin is not None and worker.stdout is not None
        for line in worker.stdout:
            if line.startswith("ready"):
                break
        begun = time.perf_counter()
        try:
            said, _ = worker.communicate(json.dumps(task) + "\n", timeout=limit)
        except subprocess.TimeoutExpired:
            return {}, time.perf_counter() - begun
    answers = [json.loads(line[7:]) for line in said.splitlines() if line.startswith("answer ")]
    return (answers[-1]["weights"], answers[-1]["seconds"]) if answers else ({}, time.perf_counter() - begun)


@contextmanager
def started(python: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """DARA, and at the end an end to it and all its workers."""
    import psutil

    worker = subprocess.Popen(
        [python, "-c", WORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=folder,
    )
    try:
        yield worker
    finally:
        for process in [*psutil.Process(worker.pid).children(recursive=True)] if worker.poll() is None else []:
            process.kill()
        worker.kill()
        worker.wait()


def row_of(
    who: str, name: str, truth: dict[str, float], found: list[tuple[str, float]], seconds: float, crystals: int
) -> dict[str, Any]:
    """One answer beside what was weighed in, as `mixtures.py` counts."""
    told = {"who": who, "sample": name, "crystals": crystals}
    return told | compared(truth, found) | {"seconds": round(seconds, 2)}


def summary(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Figures of one program."""
    return agreement(rows) | {
        "median_s": float(np.median([row["seconds"] for row in rows])),
        "longest_s": float(max(row["seconds"] for row in rows)),
    }


if __name__ == "__main__":
    sys.exit(main())
