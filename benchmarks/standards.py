"""`simxrd refine` on scans of standards and of weighed mixtures: cells against certificates, Rwp against rietx by hand.

    python benchmarks/standards.py SCANS --json benchmarks/results/standards.json

SCANS holds scans, CIF files and `truth.csv`, a row for each phase of a scan: file, crystal (a CIF file), anode or
wavelength, and what is known of a, c (Å) and weight_fraction, each of which may be empty. By hand is what the tests of
rietx do with such scans, from the crystal of the CIF file and with the points and weights that `simxrd refine` has:
displacement, cell, U, V, W, X, Y, the share of Kα2, S/L and H/L apart, B of every atom; the zero is not refined.
"""

import argparse
import csv
import json
import os
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ |= {"RIETX_TELEMETRY": "0", "OPENBLAS_NUM_THREADS": "1"}

from simxrd_hf.crystals import read_crystals
from simxrd_hf.errors import BadInput
from simxrd_hf.identify.refinement import StartingPhase, engine_model, refine_found
from simxrd_hf.matching import build_library
from simxrd_hf.patterns import Pattern, read_pattern
from simxrd_hf.training.machine import machine


def by_hand(pattern: Pattern, rows: list[dict[str, Any]]) -> float:
    """Rwp of rietx with the freedoms of its own tests."""
    import rietx as rx

    data, structure, instrument, _ = engine_model(pattern, [StartingPhase(row) for row in rows])
    instrument.geometry.axial_sl.value = instrument.geometry.axial_hl.value = 0.025
    instrument.geometry.axial_sl.max = 1.0
    for phase in structure.phases:
        phase.lor_size.value = 0.0
    instrument.profile.x.value, instrument.profile.w.value = 5e-3, 2e-3
    stages = (
        ["phases.*.scale", "instrument.background.*"],
        ["instrument.geometry.sample_displacement"],
        ["phases.*.cell.*"],
        ["instrument.profile.w"],
        [f"instrument.profile.{name}" for name in "uvxy"],
        ["instrument.source.lines.*.weight", "instrument.geometry.axial_sl", "instrument.geometry.axial_hl"],
        ["phases.*.atoms.*.biso"],
    )
    plan = rx.RefinementPlan(stages=[rx.Stage(paths[0], paths) for paths in stages])
    fit = rx.Refinement(structure, instrument, history=False).fit(data, plan=plan, telemetry=False)
    return float(fit.statistics.rwp)


def measure(folder: Path, name: str, known: list[dict[str, str]]) -> dict[str, Any]:
    """One scan: what was refined, how far it is off, and how long it took."""
    import pyarrow as pa

    first = known[0]
    wavelength = float(first["wavelength"]) if first["wavelength"] else None
    pattern = read_pattern(folder / name, anode=first["anode"] or None, wavelength=wavelength)
    tables = [read_crystals(folder / row["crystal"], progress=False).table for row in known]
    crystals = pa.concat_tables([one.replace_schema_metadata(None) for one in tables])
    library = build_library(crystals)[0]
    begun = time.perf_counter()
    found = refine_found(pattern, library, crystals, phases=len(known))
    row: dict[str, Any] = {"rwp": found.rwp, "seconds": time.perf_counter() - begun, "notes": found.notes}
    row |= found.instrument
    by_name = {one["crystal_id"]: one for one in found.phases}
    errors = []
    for truth, table in zip(known, tables, strict=True):
        identity = table["crystal_id"][0].as_py()
        one = by_name.get(identity)
        if one is not None:
            row[f"{identity}/a"], row[f"{identity}/c"] = one["cell"][0], one["cell"][2]
            row[f"{identity}/a_esd"], row[f"{identity}/b_factor"] = one["cell_esd"][0], one["b_factor"]
            for axis, place in (("a", 0), ("c", 2)):
                if truth[axis]:
                    row[f"{identity}/{axis}_off_percent"] = 100 * (one["cell"][place] / float(truth[axis]) - 1)
        if truth["weight_fraction"]:
            amount = 0.0 if one is None else one["weight_fraction"]
            errors.append(100 * (amount - float(truth["weight_fraction"])))
            row[f"{identity}/weight_off_points"] = errors[-1]
    if errors:
        row["weights_off_points"] = sum(map(abs, errors)) / len(errors)
    if len(known) == 1:
        row["rwp_by_hand"] = by_hand(pattern, tables[0].to_pylist())
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", type=Path, help="folder with truth.csv")
    parser.add_argument("--only", nargs="*", help="these files")
    parser.add_argument("--json", type=Path, help="write the figures")
    args = parser.parse_args()
    known: dict[str, list[dict[str, str]]] = defaultdict(list)
    try:
        with (args.scans / "truth.csv").open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                known[row["file"]].append(row)
        results = {}
        for name, rows in known.items():
            if args.only and name not in args.only:
                continue
            results[name] = measure(args.scans, name, rows)
            shown = {key: round(value, 5) for key, value in results[name].items() if isinstance(value, float)}
            print(name, shown, *results[name]["notes"], flush=True)
    except (BadInput, OSError) as error:
        print(f"standards: {error}", file=sys.stderr)
        return 2
    if args.json:
        facts = {"date": datetime.now(UTC).date().isoformat(), **machine()}
        args.json.write_text(json.dumps(results | facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
