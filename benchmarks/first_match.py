"""How often the first crystal a library lists is the compound, on simulated patterns of measured structures.

    python benchmarks/first_match.py --crystals crystals.parquet --rows rows.csv --json first_match.json

The patterns are of test formulas (preset lab), their crystals are in the library; formulas are compared reduced. How
matches are put in order (`matching.Match.standing`) was chosen on validation formulas. `--elements` says what each
pattern is made of.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np

from simxrd_hf.crystals.standard import reduced_formula
from simxrd_hf.errors import BadInput
from simxrd_hf.identify.evidence_fitting import held_out
from simxrd_hf.identify.libraries import open_library
from simxrd_hf.matching import ElementFilter, LibrarySearch
from simxrd_hf.training.machine import machine
from simxrd_hf.training.sources import crystal_table


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
    table = crystal_table(args.crystals)[0].take(source.groups[chosen])
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
            best = LibrarySearch(pattern, library, source.grid, elements=elements).matches().best
            answers = [reduced_formula(match.formula) or match.formula for match in best]
            entry |= {
                "answer" + mode: answers[0] if answers else "",
                "similarity" + mode: round(best[0].similarity, 4) if best else 0.0,
                "right" + mode: bool(answers) and answers[0] == truth,
                "among_ten" + mode: truth in answers,
            }
        rows.append(entry)
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
