"""Read crystal structures from any source into one Parquet table, and say what is in it."""

import argparse
import json
import re
from pathlib import Path
from typing import Any

EXAMPLE = (
    "simxrd crystals my_cifs/ -o crystals.parquet\n"
    "  simxrd crystals prototypes -o prototypes.parquet          # needs no data and no network\n"
    "  simxrd crystals 'optimade:https://optimade.materialsproject.org?filter=nelements=2' --limit 500 -o ab.parquet\n"
    "  simxrd crystals crystals.parquet --disordered -o disordered.parquet --num-proc 8"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a Parquet crystal table, a CIF, a folder of CIFs (any depth), a zip of CIFs, an ASE database (.db, "
        ".json), pymatgen structures (.json), 'prototypes' (shipped with pymatgen), mp:IDS,SYSTEMS or FORMULAS "
        "(Materials Project), optimade:URL, or hf://datasets/OWNER/NAME",
    )
    parser.add_argument(
        "-o", "--output", type=Path, help="the Parquet file to write; without it only the summary is shown"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="read only the first N entries of the source")
    parser.add_argument("--ids", metavar="REGEX", help="keep crystals whose whole id the regular expression matches")
    parser.add_argument(
        "--sample", type=int, metavar="N", help="keep N crystals drawn evenly (every set equally likely)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of --sample (default 0)")
    parser.add_argument(
        "--symprec",
        type=float,
        default=0.01,
        metavar="Å",
        help="tolerance of spglib for the space group (default 0.01)",
    )
    parser.add_argument(
        "--recompute", action="store_true", help="find space groups and primitive cells of a Parquet table anew"
    )
    parser.add_argument("--no-deduplicate", action="store_true", help="keep crystals that repeat an earlier one")
    parser.add_argument(
        "--disordered",
        action="store_true",
        help="instead of the crystals, those that ordered models among them stand for: elements that replace each "
        "other share their sites, hydrogen is left out, the symmetry is higher",
    )
    parser.add_argument("--prototype-labels", action="store_true", help="fill the column prototype (structure types)")
    parser.add_argument(
        "--num-proc", type=int, default=1, metavar="N", help="processes that parse and find space groups"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(args: argparse.Namespace) -> int:
    """Read, write, sum up."""
    from simxrd_hf.crystals import (
        CrystalTable,
        disordered_crystals,
        prototype_labels,
        read_crystals,
        sample,
        summary,
        write_crystals,
    )
    from simxrd_hf.errors import BadInput

    if args.output is not None and not args.output.parent.is_dir():  # before the work, not after it
        raise BadInput(f"{args.output.parent}: no such folder; create it or choose another output path")
    found = read_crystals(
        args.source,
        symprec=args.symprec,
        deduplicate=not args.no_deduplicate,
        limit=args.limit,
        num_proc=args.num_proc,
        recompute=args.recompute,
        progress=not args.json,
    )
    chosen = found.table if args.ids is None else _with_ids(found.table, args.ids)
    table = chosen if args.sample is None else sample(chosen, args.sample, seed=args.seed)
    if args.disordered:
        table = disordered_crystals(table, num_proc=args.num_proc, progress=not args.json)
        if not len(table):
            raise BadInput(f"{args.source}: no ordered model of a disordered crystal among {len(found.table)} crystals")
    if args.prototype_labels:
        labels = prototype_labels(table, num_proc=args.num_proc, progress=not args.json)
        table = table.set_column(table.column_names.index("prototype"), table.schema.field("prototype"), labels)
    result: dict[str, Any] = {"source": args.source, **summary(CrystalTable(table, found.rejected))}
    if args.sample is not None:
        result["sampled_from"] = len(chosen)
    if args.output is not None:
        result["output"] = str(write_crystals(table, args.output))
        beside = args.output.with_name("rejected.parquet")
        if len(found.rejected) or beside.exists():  # an old list must not be taken for this one
            write_crystals(found.rejected, beside)
        if len(found.rejected):
            result["rejected_file"] = str(beside)
    print(
        json.dumps(result, indent=2, ensure_ascii=False) if args.json else _text(result, found.rejected.to_pylist()[:3])
    )
    return 0


def _with_ids(table: Any, pattern: str) -> Any:
    from simxrd_hf.errors import BadInput

    try:
        matching = re.compile(pattern)
    except re.error as error:
        raise BadInput(f"--ids: {pattern!r} is no regular expression ({error})") from None
    kept = table.filter([matching.fullmatch(name) is not None for name in table["crystal_id"].to_pylist()])
    if not len(kept):
        raise BadInput(f"--ids: {pattern!r} matches none of {len(table)} ids, the first is {table['crystal_id'][0]}")
    return kept


def _text(result: dict[str, Any], examples: list[dict[str, str]]) -> str:
    of = f" drawn from {result['sampled_from']}" if "sampled_from" in result else ""
    atoms = result["atoms_per_cell"]
    lines = [
        f"{result['source']}: {result['crystals']} crystals{of}, {result['space_groups']} space groups, "
        f"{result['elements']} elements",
        f"  crystal systems   {_counts(result['crystal_systems'])}",
        f"  commonest groups  {_counts(result['commonest_space_groups'])}",
        f"  atoms in a cell   {', '.join(f'{name} {value}' for name, value in atoms.items())}",
    ]
    if result["partly_occupied"]:
        lines.append(f"  partly occupied   {result['partly_occupied']} crystals")
    lines.append(f"  space groups by spglib at symprec {result['symprec']:g} Å")
    if result["rejected"]:
        where = f", listed in {result['rejected_file']}" if "rejected_file" in result else ""
        lines.append(f"set aside: {result['rejected']}{where}")
        lines += [f"  {count:>7}  {reason}" for reason, count in result["rejected_reasons"].items()]
        lines.append("  for instance:")
        lines += [f"    {entry['crystal_id']}: {entry['reason']}" for entry in examples]
    if "output" in result:
        lines.append(f"wrote {result['output']} ({Path(result['output']).stat().st_size / 1e6:.2f} MB)")
    return "\n".join(lines)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
