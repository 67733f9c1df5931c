"""Convert the SimXRD authors' own files (ASE databases, TFRecord review files) to typed Parquet; executes no text."""

import argparse
import json
from pathlib import Path

EXAMPLE = "simxrd import-original train_1/binxrd.db val_db/binxrd.db -o simxrd_as_published"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("files", nargs="+", type=Path, help="databases or TFRecord files")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the dataset")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16"), help="storage of the intensities")
    parser.add_argument("--exact", action="store_true", help="keep all digits of float32 intensities: twice the size")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier import")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from simxrd_hf.data import import_original

    report = import_original(
        args.files, args.output, dtype=args.dtype, exact=args.exact, overwrite=args.overwrite, progress=not args.json
    )
    if args.json:
        print(json.dumps(report.to_dict()))
        return 0
    for split, rows in report.rows.items():
        print(f"{split:<12}{rows:,} rows")
    print(f"written to {report.folder} in {report.seconds:.1f} s")
    if report.rejected:
        print(f"{report.rejected:,} rows refused, listed in {report.folder / 'rejected.parquet'}:")
        for reason, count in sorted(report.reasons.items(), key=lambda item: -item[1])[:5]:
            print(f"  {count:,}  {reason}")
    return 0
