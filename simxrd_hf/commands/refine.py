"""Refine the cells, widths and amounts of the crystals in a measured pattern by a Rietveld fit."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

EXAMPLE = (
    "simxrd refine scan.xrdml --crystals rutile.cif zincite.cif -o fit/\n"
    "  simxrd refine scan.xrdml --crystals crystals.parquet --library lines.parquet --elements Ti,Zn,O -o fit/"
)
_FEW = 4  # crystals given by hand are all refined


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("file", metavar="FILE", help="measured pattern")
    parser.add_argument(
        "--crystals",
        nargs="+",
        required=True,
        metavar="SOURCE",
        help=f"structures, anything `simxrd crystals` reads; up to {_FEW} are all refined, of more those that explain "
        "the pattern together",
    )
    parser.add_argument(
        "--library",
        metavar="FILE|hf://…",
        help="lines of these crystals, where there are already (default: calculated)",
    )
    parser.add_argument("--elements", metavar="Ti,Zn,O", help="what the sample is made of: other crystals are left out")
    parser.add_argument("--phases", type=int, metavar="N", help="so many crystals (default: as many as pay)")
    parser.add_argument("--wavelength", type=float, metavar="Å", help="wins over the one a file names")
    parser.add_argument("--anode", help="tube anode (Cu, Co, Mo, Fe, Cr, Ag) instead of a wavelength")
    parser.add_argument("--scan", type=int, metavar="N", help="the scan of a file that holds several, counted from 0")
    parser.add_argument("--column", metavar="NAME", help="the column of intensities in a table")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FOLDER",
        help="write refined.cif, phases.csv, fit.csv, fit.json, topas.inp",
    )
    parser.add_argument("--json", action="store_true", help="print the fit as JSON")


def run(args: argparse.Namespace) -> int:
    """Find, refine, write."""
    import pyarrow as pa

    from simxrd_hf.crystals import read_crystals
    from simxrd_hf.errors import BadInput
    from simxrd_hf.identify.libraries import open_library
    from simxrd_hf.identify.refinement import refine_found
    from simxrd_hf.matching import ElementFilter, build_library
    from simxrd_hf.patterns import read_pattern

    if args.output is not None and args.output.exists() and not args.output.is_dir():
        raise BadInput(f"-o {args.output}: is a file; name a folder")
    pattern = read_pattern(
        Path(args.file),
        wavelength=args.wavelength,
        anode=args.anode,
        scan=args.scan,
        column=args.column,
    )
    pattern.require_wavelength()
    tables = [read_crystals(source, progress=not args.json).table for source in args.crystals]
    table = pa.concat_tables([one.replace_schema_metadata(None) for one in tables])
    library = open_library(args.library)
    if library is None:
        library, left_out = build_library(table, progress=not args.json)
        for name, reason in list(left_out.items())[:3]:
            print(f"simxrd refine: {name} left out: {reason}", file=sys.stderr)
    phases = args.phases or (table.num_rows if table.num_rows <= _FEW else None)
    found = refine_found(pattern, library, table, elements=ElementFilter.parse(args.elements), phases=phases)
    if args.output is not None:
        found.write(args.output)
    if args.json:
        print(json.dumps({"file": args.file, **found.to_dict()}, ensure_ascii=False))
    else:
        print(_table(args.file, found))
        if args.output is not None:
            print(f"wrote {args.output}/")
    return 0


def _table(name: str, found: Any) -> str:
    """The fit for people."""
    from simxrd_hf.symmetry import SPACE_GROUPS

    lines = [f"{name}: Rwp {found.rwp:.1%}, χ² {found.chi_squared:.2f} ({found.engine})"]
    for one in found.phases:
        share, off = one["weight_fraction"], one["weight_fraction_esd"]
        amount = "  ?   " if share is None else f"{share:6.1%}" + ("" if off is None else f" ± {off:.1%}")
        lines.append(
            f"  {amount}  {one['formula']} {SPACE_GROUPS[one['space_group'] - 1]} ({one['space_group']})  "
            f"{one['crystal_id']}"
        )
        cell = [
            f"{v:.5g}" if e is None else f"{v:.{4 if k < 3 else 2}f}({e:.1g})"
            for k, (v, e) in enumerate(zip(one["cell"], one["cell_esd"], strict=True))
        ]
        lines.append(f"          cell {' '.join(cell)}, volume {one['volume_change']:+.2%} from the start")
        if one["march_dollase"] is not None:
            lines.append(f"          March–Dollase r = {one['march_dollase']:.2f} about {one['march_dollase_axis']}")
    shown = (("axial_divergence", "axial divergence S/L = H/L"), ("kalpha2_ratio", "Kα2/Kα1"))
    freed = [f"{text} {found.instrument[name]:.3f}" for name, text in shown if found.instrument[name] is not None]
    if freed:
        lines.append(f"          {', '.join(freed)}")
    lines += [f"  ! {note}" for note in found.notes]
    return "\n".join(lines)
