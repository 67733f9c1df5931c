"""Calculate the lines of crystals once, so that `simxrd predict --library` can compare patterns with them."""

import argparse
import json
from pathlib import Path

EXAMPLE = (
    "simxrd library crystals.parquet -o lines.parquet\n"
    "  simxrd library my_cifs/ -o lines.parquet\n"
    "  simxrd library crystals.parquet disordered.parquet -o lines.parquet\n"
    "  simxrd predict scan.xrdml --library lines.parquet"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        nargs="+",
        help="crystals, anything `simxrd crystals` reads: a table, a folder of CIFs, …",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="the Parquet file of lines to write")
    parser.add_argument(
        "--split-by",
        choices=("formula", "prototype", "row_order"),
        help="only the crystals that a model out of library is trained on, split so",
    )
    parser.add_argument(
        "--max-atoms", type=int, default=200, metavar="N", help="leave out larger cells (default 200 atoms)"
    )
    parser.add_argument("--num-proc", type=int, default=1, metavar="N", help="processes (default 1)")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(args: argparse.Namespace) -> int:
    """Calculate, write, sum up."""
    import pyarrow as pa

    from simxrd_hf.crystals import read_crystals
    from simxrd_hf.errors import BadInput
    from simxrd_hf.matching import build_library

    if not args.output.resolve().parent.is_dir():  # before the work, not after it
        raise BadInput(f"{args.output.parent}: no such folder; create it or choose another output path")
    if args.output.is_dir():
        raise BadInput(f"{args.output}: is a folder; name the file to write")
    sources = [read_crystals(source, progress=not args.json) for source in args.source]
    table = pa.concat_tables([found.table.replace_schema_metadata(None) for found in sources])
    rejected = [row for found in sources for row in found.rejected.to_pylist()]
    if args.split_by is not None:
        from simxrd_hf.data.splits import crystal_splits

        table = table.filter(crystal_splits(table, args.split_by) == 0)
    library, left_out = build_library(table, max_atoms=args.max_atoms, num_proc=args.num_proc, progress=not args.json)
    left_out = {row["crystal_id"] or row["source"]: row["reason"] for row in rejected} | left_out
    library.save(args.output)
    size = args.output.stat().st_size
    if args.json:
        facts = {"output": str(args.output), "crystals": len(library), "bytes": size, "left_out": left_out}
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return 0
    print(f"wrote {args.output}: lines of {len(library)} crystals ({size / 1e6:.2f} MB)")
    if left_out:
        print(f"left out: {len(left_out)}, for instance")
        for name, reason in list(left_out.items())[:3]:
            print(f"  {name}: {reason}")
    return 0
