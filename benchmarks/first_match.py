"""How often the first crystal a library lists is the compound, on simulated patterns of measured structures.

    python benchmarks/first_match.py --crystals crystals.parquet --rows rows.csv --json first_match.json

The patterns are of test formulas (preset lab), their crystals are in the library; formulas are compared reduced, and
structure types as `crystals.prototype_labels` writes them. How matches are put in order (`matching.by_profile`) was
chosen on validation formulas. `--elements` says what each pattern is made of.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from simxrd_hf.crystals import CRYSTAL_SCHEMA, prototype_labels
from simxrd_hf.crystals.standard import reduced_formula
from simxrd_hf.errors import BadInput
from simxrd_hf.identify.evidence_fitting import held_out
from simxrd_hf.identify.libraries import open_library
from simxrd_hf.matching import ElementFilter, LibrarySearch, MixtureSearch, by_profile
from simxrd_hf.training.machine import machine
from simxrd_hf.training.sources import crystal_table


def structure_types(table: pa.Table, names: set[str]) -> dict[str, str]:
    """Structure type of crystals of a table by name; such as it lacks are left out."""
    known = table["crystal_id"].to_pylist()
    chosen = table.take([place for place, name in enumerate(known) if name in names])
    columns = [
        chosen[f.name] if f.name in chosen.column_names else pa.nulls(len(chosen), f.type) for f in CRYSTAL_SCHEMA
    ]
    labels = prototype_labels(pa.table(columns, schema=CRYSTAL_SCHEMA))
    return dict(zip(chosen["crystal_id"].to_pylist(), labels.to_pylist(), strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crystals", required=True, help="crystal table, split by formula")
    parser.add_argument("--library", default="packaged", help="a file of `simxrd library`, hf://…, or packaged")
    parser.add_argument("--patterns", type=int, default=400, help="how many")
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--elements", action="store_true", help="also with the elements of each pattern given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=Path, help="write every pattern as CSV")
    parser.add_argument("--json", type=Path, help="write the figures")
    args = parser.parse_args()
    try:
        library = open_library(args.library)
        if library is None:
            raise BadInput("--library: name one")
        source, chosen = held_out(args.crystals, args.patterns, split=args.split, measured=True, seed=args.seed)
    except BadInput as error:
        print(f"first_match: {error}", file=sys.stderr)
        return 2
    every = crystal_table(args.crystals)[0]
    table = every.take(source.groups[chosen])
    names, formulas = table["crystal_id"].to_pylist(), table["reduced_formula"].to_pylist()
    there = set(library.crystal_id)
    rows = []
    for row, name, formula in zip(chosen.tolist(), names, formulas, strict=True):
        if name not in there:
            continue
        pattern = source.__getitems__([(0, row)])["intensity"][0].numpy()
        truth = reduced_formula(formula) or formula
        entry = {"id": name, "truth": truth}
        modes = {"": None} | ({"_elements_given": ElementFilter.parse(formula)} if args.elements else {})
        for mode, elements in modes.items():
            alike = LibrarySearch(pattern, library, source.grid, elements=elements).matches().best
            best = by_profile(alike, MixtureSearch(pattern, library, source.grid, elements=elements))
            answers = [reduced_formula(match.formula) or match.formula for match in best]
            entry |= {
                "answer" + mode: answers[0] if answers else "",
                "first" + mode: best[0].crystal_id if best else "",
                "similarity" + mode: round(best[0].similarity, 4) if best else 0.0,
                "right" + mode: bool(answers) and answers[0] == truth,
                "among_ten" + mode: truth in answers,
            }
        rows.append(entry)
    asked = {row[key].split("~")[0] for row in rows for key in ("id", *(f"first{mode}" for mode in modes))}
    types = structure_types(every, asked)
    for row in rows:
        for mode in modes:  # a disordered crystal has the type of the ordered model it stands for
            of_first = types.get(row[f"first{mode}"].split("~")[0])
            row[f"right_type{mode}"] = row[f"right{mode}"] or (of_first is not None and of_first == types[row["id"]])
    figures = {
        key: float(np.mean([row[key] for row in rows])) for key in rows[0] if key.startswith(("right", "among_ten"))
    }
    for key, value in figures.items():
        print(f"{key}: {value:.1%} of {len(rows)}")
    if args.rows:
        with args.rows.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    if args.json:
        facts = {"n": len(rows), "crystals": len(library), "split": args.split, "seed": args.seed, **machine()}
        args.json.write_text(json.dumps(figures | facts, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
