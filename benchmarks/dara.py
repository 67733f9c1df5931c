"""Weighed mixtures by this package and by DARA, in turn in one run, from the same candidate crystals, elements known.

    python benchmarks/dara.py --scans FOLDER --structures STRUCTURES [MORE…] --dara-python VENV/bin/python

FOLDER holds scans and truth.csv, as for mixtures.py. Candidates of a scan are the crystals of the tables that came from
measured structures and have no other elements than the sample: as CIFs for DARA, as a library of lines for us. VENV
holds `dara-xrd==1.3.0` and its engine BGMN, which it fetches by itself at the first call; DARA runs with its defaults.
Phases are compared by reduced formula. Seconds are of the wall clock, without making the CIFs and the library.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

SERVED = """
import json, logging, sys, time
import ray
from pathlib import Path
from dara import search_phases
ray.init(num_cpus=int(sys.argv[1]), include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
for line in sys.stdin:
    task = json.loads(line)
    begun = time.perf_counter()
    try:
        found = search_phases(task["scan"], [Path(one) for one in task["cifs"]])
        weights = found[0].refinement_result.get_phase_weights() if found else {}
        answer = {"weights": {name: float(value) for name, value in weights.items()}, "results": len(found)}
    except Exception as error:
        answer = {"error": repr(error)[:300], "weights": {}}
    print("ANSWER" + json.dumps(answer | {"seconds": time.perf_counter() - begun}), flush=True)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=Path, required=True, help="folder of weighed mixtures with truth.csv")
    parser.add_argument("--structures", type=Path, nargs="+", required=True, help="crystal tables of candidates")
    parser.add_argument("--dara-python", type=Path, required=True, help="interpreter that has dara-xrd")
    parser.add_argument("--only", default="", help="scans whose name ends so, for instance 8min.xrdml")
    parser.add_argument("--num-proc", type=int, default=2, help="processors of DARA's Ray")
    parser.add_argument("--json", type=Path, help="write the figures and every scan")
    args = parser.parse_args()
    import pyarrow as pa
    import pyarrow.parquet as pq
    from mixtures import elements_of, weighed

    from simxrd_hf.crystals.provenance import from_measured
    from simxrd_hf.crystals.standard import reduced_formula
    from simxrd_hf.diffraction import PatternGrid
    from simxrd_hf.matching import ElementFilter, MixtureSearch, build_library
    from simxrd_hf.training.machine import machine

    needed = ["crystal_id", "formula", "reduced_formula", "lattice", "atomic_numbers", "frac_coords", "space_group"]
    table = pa.concat_tables(
        [pq.read_table(path, columns=needed) for path in args.structures], promote_options="default"
    )
    table = table.filter(pa.array(from_measured(table["crystal_id"].to_pylist())))
    kinds = [elements_of([formula]) for formula in table["formula"].to_pylist()]
    grid = PatternGrid().to_dict()
    rows: list[dict[str, Any]] = []
    command = [str(args.dara_python), "-c", SERVED, str(args.num_proc)]
    with (
        tempfile.TemporaryDirectory() as scratch,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=scratch,
            env={**os.environ, "RAY_worker_niceness": "0"},  # Ray's own is 15: anything else would go before it
        ) as peer,
    ):
        for name, values, mask, truth in weighed(args.scans):
            if not name.endswith(args.only):
                continue
            sample = elements_of(truth)
            chosen = table.take([place for place, one in enumerate(kinds) if one <= sample])
            formulas = [reduced_formula(one) or one for one in chosen["formula"].to_pylist()]
            library, _ = build_library(chosen)
            begun = time.perf_counter()
            found = MixtureSearch(values, library, grid, mask, elements=ElementFilter(present=sample)).mixture()
            row: dict[str, Any] = {"scan": name, "candidates": len(chosen), "truth": truth}
            row["ours"] = scored([(one.formula, one.weight_fraction) for one in found.phases], truth)
            row["ours"]["seconds"] = time.perf_counter() - begun
            folder = Path(scratch) / "cifs"
            shutil.rmtree(folder, ignore_errors=True)
            cifs = written(chosen, folder)
            said = asked(peer, {"scan": str((args.scans / name).resolve()), "cifs": cifs})
            weights = [(formulas[int(stem.removeprefix("p"))], value) for stem, value in said["weights"].items()]
            row["dara"] = scored(weights, truth) | {key: said[key] for key in ("seconds", "error") if key in said}
            rows.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
        assert peer.stdin
        peer.stdin.close()
    figures: dict[str, Any] = {"n": len(rows), "candidates": float(np.median([row["candidates"] for row in rows]))}
    for who in ("ours", "dara"):
        scores = [row[who] for row in rows]
        right = sum(one["right"] for one in scores)
        figures[who] = {
            "recall": right / sum(len(row["truth"]) for row in rows),
            "precision": right / max(sum(len(one["answer"]) for one in scores), 1),
            "fraction_error_points": float(np.mean([one["fraction_error_points"] for one in scores])),
            "seconds_median": float(np.median([one["seconds"] for one in scores])),
            "failed": sum("error" in one for one in scores),
        }
    figures |= {"machine": machine(), "date": datetime.now(UTC).date().isoformat(), "rows": rows}
    print(json.dumps({key: value for key, value in figures.items() if key != "rows"}, indent=1))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


def scored(found: list[tuple[str, float]], truth: dict[str, float]) -> dict[str, Any]:
    """Phases found, by reduced formula, against those weighed in."""
    from simxrd_hf.crystals.standard import reduced_formula

    answer: dict[str, float] = {}
    for formula, weight in found:
        name = reduced_formula(formula) or formula
        answer[name] = answer.get(name, 0.0) + weight
    errors = [abs(answer.get(one, 0.0) - weight) for one, weight in truth.items()]
    right = len(answer.keys() & truth.keys())
    return {"answer": answer, "right": right, "fraction_error_points": 100 * float(np.mean(errors))}


def written(table: Any, folder: Path) -> list[str]:
    """Paths of CIFs of crystals, with the symmetry pymatgen finds, named by their row (p0.cif)."""
    from pymatgen.core import Structure
    from pymatgen.io.cif import CifWriter

    folder.mkdir(parents=True)
    paths = []
    for place, row in enumerate(table.to_pylist()):
        coords = np.reshape(row["frac_coords"], (-1, 3))
        structure = Structure(np.reshape(row["lattice"], (3, 3)), row["atomic_numbers"], coords)
        path = folder / f"p{place}.cif"
        CifWriter(structure, symprec=0.01).write_file(path)
        paths.append(str(path))
    return paths


def asked(peer: "subprocess.Popen[str]", task: dict[str, Any]) -> dict[str, Any]:
    """DARA's answer to one task."""
    assert peer.stdin and peer.stdout
    peer.stdin.write(json.dumps(task) + "\n")
    peer.stdin.flush()
    for line in peer.stdout:
        if line.startswith("ANSWER"):
            said: dict[str, Any] = json.loads(line.removeprefix("ANSWER"))
            return said
    raise SystemExit("DARA's process has ended, see above")


if __name__ == "__main__":
    sys.exit(main())
