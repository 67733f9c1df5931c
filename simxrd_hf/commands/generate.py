"""Write a dataset of simulated patterns as Parquet: resumable, checked, ready for `load_dataset` and the Hub."""

import argparse
import json
from pathlib import Path

from simxrd_hf.errors import BadInput

EXAMPLE = "simxrd generate crystals.parquet -o dataset --num-proc 8"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "crystals",
        nargs="?",
        help="crystal table, CIF (file, folder, zip), ASE database …; the packaged AFLOW prototypes if absent",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the dataset")
    parser.add_argument("--config", action="append", help="in_library, out_of_library, tiny; repeat for several")
    parser.add_argument("--preset", default="simxrd-4m", help="physics: simxrd-4m, lab, or a .yaml or .json file")
    parser.add_argument("--seed", type=int, default=0, help="seed of drawn parameters and noise")
    parser.add_argument("--split-by", default="formula", help="out-of-library split: formula, prototype or row_order")
    parser.add_argument("--conditions", help="conditions to make, e.g. 0-9,30-32; all 33 if absent")
    parser.add_argument("--label", action="append", help="class column; repeat for several")
    parser.add_argument("--dtype", default="float32", help="storage of the intensities: float32 or float16")
    parser.add_argument("--exact", action="store_true", help="keep all digits of float32 intensities: twice the size")
    parser.add_argument("--rows-per-shard", type=int, help="upper bound of the rows in a train file")
    parser.add_argument("--draw", type=int, help="use this many of the crystals, drawn evenly")
    parser.add_argument("--draw-seed", type=int, default=0, help="another number draws other crystals")
    parser.add_argument("--hidden-test", action="store_true", help="also condition 33 without labels")
    parser.add_argument("--key-dir", type=Path, help="where the key of the hidden test goes (OUTPUT-key)")
    parser.add_argument("--title", default="SimXRD", help="name of the dataset on its card")
    parser.add_argument("--licence", default="other", help="licence identifier of the card, as the Hub spells it")
    parser.add_argument("--num-proc", type=int, default=1, help="processes")
    parser.add_argument("--engine", default="processes", help="processes, datatrove, ray or slurm (extra: scale)")
    parser.add_argument(
        "--slurm",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="for --engine slurm, repeatable: partition and time at least, other options of sbatch as they are",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a dataset of other parameters")
    parser.add_argument("--project-rows", type=int, metavar="N", help="also say what N rows would take at this rate")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from simxrd_hf.data import GenerationError, generate
    from simxrd_hf.data.plan import ROWS_PER_SHARD

    source = args.crystals
    if source is None or args.draw:
        from simxrd_hf.crystals import CrystalTable, prototypes, read_crystals, sample

        found = prototypes() if source is None else read_crystals(source, progress=not args.json)
        source = (
            CrystalTable(sample(found.table, args.draw, seed=args.draw_seed), found.rejected) if args.draw else found
        )
    try:
        report = generate(
            source,
            args.output,
            configs=args.config or ("in_library", "out_of_library"),
            preset=args.preset,
            seed=args.seed,
            split_by=args.split_by,
            conditions=_conditions(args.conditions),
            labels=args.label or ("space_group", "crystal_system"),
            dtype=args.dtype,
            exact=args.exact,
            rows_per_shard=args.rows_per_shard or ROWS_PER_SHARD,
            hidden_test=args.hidden_test,
            key_dir=args.key_dir,
            title=args.title,
            licence=args.licence,
            num_proc=args.num_proc,
            engine=args.engine,
            engine_options=_pairs(args.slurm),
            overwrite=args.overwrite,
            progress=not args.json,
        )
    except GenerationError as error:
        print(f"simxrd generate: {error}")
        return 1
    result = report.to_dict()
    if args.project_rows and report.new_rows:
        result["projected_rows"] = args.project_rows
        result["projected_minutes"] = args.project_rows / report.rows_per_second / 60
        result["projected_gigabytes"] = args.project_rows * report.bytes_per_row / 1e9
    if args.json:
        print(json.dumps(result))
        return 0
    for config, splits in report.rows.items():
        print(f"{config:<16}" + ", ".join(f"{name} {rows:,}" for name, rows in splits.items()))
    print(
        f"{report.total_rows:,} patterns of {report.crystals:,} crystals in {report.folder}, "
        f"{report.bytes / 1e6:,.1f} MB, {report.bytes_per_row:,.0f} bytes each"
    )
    if report.new_rows:
        print(f"{report.new_rows:,} made now, {report.rows_per_second:,.0f} a second on {args.num_proc} process(es)")
    else:
        print("nothing was left to do: all files are there and sound")
    if report.rejected:
        print(f"{report.rejected} crystals set aside, reasons in {report.folder / 'rejected.parquet'}")
    if "projected_minutes" in result:
        print(
            f"{args.project_rows:,} rows at this rate: {result['projected_minutes']:,.0f} minutes, "
            f"{result['projected_gigabytes']:,.1f} GB"
        )
    return 0


def _conditions(text: str | None) -> list[int] | None:
    """Numbers and ranges, such as 0-9,30."""
    if text is None:
        return None
    found: list[int] = []
    for piece in text.split(","):
        first, _, last = piece.partition("-")
        try:
            found += range(int(first), int(last or first) + 1)
        except ValueError:
            raise BadInput(f"--conditions {text!r}: {piece!r} is neither a number nor a range like 0-9") from None
    return found


def _pairs(texts: list[str]) -> dict[str, str]:
    """NAME=VALUE, each once."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value or name in found:
            raise BadInput(f"--slurm {text!r}: give NAME=VALUE, each name once")
        found[name] = value
    return found
