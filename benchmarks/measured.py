"""Scores a checkpoint on labelled measured patterns, by source, crystal system, label quality and wavelength."""

import argparse
import csv
import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from simxrd_hf import __version__
from simxrd_hf.errors import BadInput
from simxrd_hf.identify.measured_scores import evaluate_measured, read_table, rows_with_ids, train_formulas
from simxrd_hf.patterns.preprocessing import STEPS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patterns", type=Path, required=True, help="Parquet table of labelled measured patterns")
    parser.add_argument("--model", required=True, help="checkpoint folder or Hub repository")
    parser.add_argument("--steps", nargs="*", default=[], choices=list(STEPS), help="preprocessing, in this order")
    parser.add_argument("--augment", action="store_true", help="average the answers to small shifts and scalings")
    parser.add_argument("--no-indexing", action="store_true", help="the network alone, without the cell search")
    parser.add_argument(
        "--no-prior", action="store_true", help="groups as frequent as in training, not as among measured compounds"
    )
    parser.add_argument("--library", help="lines of known crystals: a file of `simxrd library`, hf://…, or packaged")
    parser.add_argument("--phases", type=int, help="0: no search for several phases, so no flags of it; quicker")
    parser.add_argument("--crystals", help="the crystals the model was trained on: scores in and out of its formulas")
    parser.add_argument("--split-by", default="formula", help="how its training set was split, or 'none'")
    parser.add_argument("--ids", type=Path, help="file of sample ids, one a line: only these rows, all of them")
    parser.add_argument("--bootstrap", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="about 100 rows")
    parser.add_argument("--rows", type=Path, help="write the answer to every row as CSV")
    parser.add_argument("--json", type=Path, help="write the scores")
    args = parser.parse_args()
    try:
        formulas = train_formulas(args.crystals, args.split_by) if args.crystals else None
        rows = read_table(args.patterns)
        if args.ids:
            rows = rows_with_ids(rows, args.ids.read_text(encoding="utf-8").splitlines())
        scores = evaluate_measured(
            rows,
            args.model,
            steps=args.steps,
            augment=args.augment,
            indexing=not args.no_indexing,
            library=args.library,
            prior=not args.no_prior,
            phases=args.phases,
            formulas=formulas,
            limit=100 if args.quick else None,
            bootstrap=args.bootstrap,
            progress=sys.stderr.isatty(),
        )
    except BadInput as error:
        print(f"measured: {error}", file=sys.stderr)
        return 2
    print(scores.table())
    print(f"\ntemperature that fits these rows: {scores.temperature:.2f} times the checkpoint's own")
    print(f"{len(scores.skipped)} rows not classified")
    for name, reason in list(scores.skipped.items())[:5]:
        print(f"  {name}: {reason}")
    if args.rows and scores.rows:
        with args.rows.open("w", newline="") as file:
            writer = csv.DictWriter(file, scores.rows[0].keys(), lineterminator="\n")
            writer.writeheader()
            writer.writerows(scores.rows)
    if args.json:
        # the headline is the largest public collection, where other groups have published numbers
        rruff = next((name for name in scores.groups if name.startswith("source: RRUFF")), "all")
        group = scores.groups[rruff]
        flat = {
            key: group[key]
            for key in (
                "crystal_system_acc",
                "space_group_acc",
                "ece",
                "ece_if_calibrated",
                "ece_if_calibrated_high",
                "ece_refitted",
                "n",
            )
            if key in group
        }
        flat |= {f"{name}/{key}": value for name, values in scores.groups.items() for key, value in values.items()}
        flat |= {
            "rows": rruff,
            "model": str(args.model),
            "steps": " ".join(args.steps),
            "augment": args.augment,
            "indexing": not args.no_indexing,
            "prior": not args.no_prior,
            "library": Path(args.library).name if args.library else None,
            "temperature": scores.temperature,
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{platform.machine()} {platform.system()}",
            "version": __version__,
        }
        args.json.write_text(json.dumps(flat, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
