"""Identify measured patterns: ranked space groups, extinction symbols and crystal systems with probabilities."""

import argparse
import csv
import json
import os
import sys
from collections.abc import Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

from simxrd_hf.commands.predict_inputs import MANY, cores, count, in_processes, in_turn, inputs, open_predictor
from simxrd_hf.errors import BadInput

EXAMPLE = "simxrd predict scan.xrdml\n  simxrd predict scan.xy --wavelength 1.5406 --model run/model --explain scan.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="measured pattern, or Parquet file with intensity rows"
    )
    parser.add_argument(
        "--model",
        default=os.environ.get("SIMXRD_MODEL"),
        help="checkpoint folder or Hub repository (default: SIMXRD_MODEL in the environment, else the packaged model)",
    )
    parser.add_argument("--wavelength", type=float, metavar="Å", help="wins over the one a file names")
    parser.add_argument("--anode", help="tube anode (Cu, Co, Mo, Fe, Cr, Ag) instead of a wavelength")
    parser.add_argument(
        "--axis", help="first column, where a file does not tell: two_theta, two_theta_radians, d, q or q_nm"
    )
    parser.add_argument(
        "--scan", type=int, metavar="N", help="the scan of a file that holds several over one range, counted from 0"
    )
    parser.add_argument(
        "--column", metavar="NAME", help="the column of intensities in a table, by name or number (from 1)"
    )
    parser.add_argument(
        "--negative", choices=("error", "clip"), default="clip", help="negative intensities: refuse, or 0 (default)"
    )
    parser.add_argument(
        "--steps",
        nargs="*",
        default=[],
        metavar="STEP",
        help="preprocessing, in this order: spikes, background, kalpha2 (default: none)",
    )
    parser.add_argument(
        "--augment", action="store_true", help="average the answers to small shifts and scalings of each pattern"
    )
    parser.add_argument(
        "--no-indexing", action="store_true", help="the network alone: no search for cells that fit the lines"
    )
    parser.add_argument(
        "--library",
        metavar="FILE|hf://…|none",
        help="lines of known crystals, from `simxrd library` or a dataset of the Hub: list those that match, alone and "
        "together, and let them correct the answers (default: the packaged one)",
    )
    parser.add_argument(
        "--elements",
        metavar="Ti,Zn,O",
        help="what the sample is made of: other crystals are left out; C? may be there, !Si is not (default: those of "
        "--composition, else any)",
    )
    parser.add_argument(
        "--phases",
        type=int,
        metavar="N",
        help="explain the pattern by so many crystals of the library (default: 1 to 4, as many as pay; 0: none)",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FOLDER",
        help="draw each file before and after preprocessing, and, with a library, the share of every phase in it",
    )
    parser.add_argument("--composition", metavar="FORMULA", help="chemical formula or elements of the sample")
    parser.add_argument("--together", action="store_true", help="the files are patterns of one sample: one answer")
    parser.add_argument("--top-k", type=int, default=5, metavar="N", help="answers per list (default 5)")
    parser.add_argument("--limit", type=int, metavar="N", help="rows of a Parquet file to read")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object per answer")
    form.add_argument("--csv", action="store_true", help="print one line of CSV per answer: the best of each list")
    parser.add_argument(
        "--num-proc",
        type=int,
        metavar="N",
        help="processes that share many patterns (default: one for each core from 16 patterns on)",
    )
    parser.add_argument("--explain", type=Path, metavar="PNG", help="draw what speaks for the answer (one input)")
    parser.add_argument(
        "--cell",
        nargs="+",
        metavar="V",
        help="cell for the reflections drawn: a b c in Å, α β γ in degrees, or a CIF file",
    )


def run(args: argparse.Namespace) -> int:
    """Classify and print."""
    if args.top_k < 1:
        raise BadInput(f"--top-k must be at least 1, got {args.top_k}")
    if args.num_proc is not None and args.num_proc < 1:
        raise BadInput(f"--num-proc must be at least 1, got {args.num_proc}")
    if args.explain and args.augment:
        raise BadInput("--explain draws the answer to one pattern as it is: leave --augment out")
    if args.explain and not args.explain.resolve().parent.is_dir():
        raise BadInput(f"--explain {args.explain}: its folder does not exist")
    cell = None if args.cell is None else read_cell(args.cell)
    if cell is not None and not args.explain:
        raise BadInput("--cell is drawn by --explain only: pass --explain too")

    patterns = inputs(args)
    first = list(islice(patterns, 2))
    single = len(first) == 1
    if args.explain and not single:
        raise BadInput("--explain draws one pattern, not none or several: give one file (or --together, or --limit 1)")
    total = count(args)
    processes = 1 if single else args.num_proc or (cores() if total >= MANY else 1)
    writer = csv.writer(sys.stdout, lineterminator="\n") if args.csv else None
    if writer:
        writer.writerow(_CSV + _CSV_PHASES)
    bad = 0
    predictor = open_predictor(args) if processes == 1 else None
    given = chain(first, patterns)
    answers = in_turn(args, given, predictor) if predictor is not None else in_processes(args, given, processes)
    from tqdm import tqdm

    for name, answer, problem in tqdm(
        answers, total=total, unit="pattern", disable=single or not sys.stderr.isatty(), smoothing=0.1
    ):
        if problem is not None:
            if single:
                raise BadInput(problem)
            tqdm.write(f"simxrd predict: {problem}", file=sys.stderr)
            bad += 1
        elif writer:
            writer.writerow(_csv_row(name, answer))
        else:
            tqdm.write(json.dumps({"file": name, **answer}, ensure_ascii=False) if args.json else _table(name, answer))
    if args.explain:
        name, source = first[0]
        _explain(args, predictor, name, source.load(args, predictor)[0], cell)
    return 2 if bad else 0


def read_cell(values: list[str]) -> tuple[float, ...]:
    """Six numbers, or the cell of a structure file.

    Raises:
        BadInput: Neither.
    """
    if len(values) == 1:
        from ase.io import read

        try:
            return tuple(float(value) for value in read(values[0]).cell.cellpar())
        except FileNotFoundError:
            raise BadInput(f"--cell {values[0]}: no such file") from None
        except Exception as error:  # ase raises whatever its format readers raise
            raise BadInput(f"--cell {values[0]}: cannot be read as a structure ({error})") from error
    try:
        numbers = tuple(float(value) for value in values)
    except ValueError:
        raise BadInput(f"--cell needs six numbers or one file, got {' '.join(values)}") from None
    if len(numbers) != 6:
        raise BadInput(f"--cell needs six numbers (a b c α β γ) or one file, got {len(numbers)}")
    return numbers


_LISTS = ("space_group", "extinction_symbol", "bravais_lattice", "crystal_system", "classes")
_CSV = ("file", *(f"{kind}{end}" for kind in _LISTS for end in ("", "_score")), "prediction_set", "flags", "warnings")
_CSV_PHASES = ("phases", "unexplained")


def _csv_row(name: str, answer: Mapping[str, Any]) -> list[Any]:
    """The best of each list, empty where the model has no such list."""
    row: list[Any] = [name]
    for kind in _LISTS:
        best = (answer.get(kind) or [{"label": "", "score": None}])[0]
        row += [best["label"], "" if best["score"] is None else f"{best['score']:.6f}"]
    row.append(" ".join(answer.get("prediction_set", {}).get("labels", ())))
    row.append(" ".join(flag["code"] for flag in answer.get("flags", ())))
    row.append("; ".join(answer.get("warnings", ())))
    row.append("; ".join(f"{one['formula']} {one['weight_fraction']:.3f}" for one in answer.get("phases", ())))
    return [*row, answer.get("unexplained", "")]


def _table(name: str, answer: Mapping[str, Any]) -> str:
    """An answer for people."""
    given = answer["input"]
    first = given if isinstance(given, dict) else given[0]
    unit = {"two_theta": "° 2θ", "d": " Å (d)", "q": " Å⁻¹ (q)"}[first["axis"]]
    wavelength = "" if first["wavelength"] is None else f" at {first['wavelength']:g} Å"
    lines = [
        f"{name}: {first['min']:g} … {first['max']:g}{unit}{wavelength}, {first['covered']:.0%} of the model's range"
    ]
    for flag in answer.get("flags", ()):
        doubt = "the ranking below means little" if flag["severity"] == "refuse" else "read the ranking with care"
        lines.append(f"  ! {flag['message']}: {doubt}")
    lines += [f"  note: {note}" for note in answer.get("warnings", ())]
    for kind in _LISTS:
        if kind not in answer:
            continue
        lines.append(f"  {kind.replace('_', ' ')}")
        for entry in answer[kind]:
            number = f"({entry['number']})" if "number" in entry else ""
            lines.append(f"    {entry['score']:7.2%}  {entry['label']} {number}".rstrip())
    if "prediction_set" in answer:
        chosen = answer["prediction_set"]
        lines.append(f"  with {chosen['coverage']:.0%} coverage: {', '.join(chosen['labels'])}")
    if "phases" in answer:
        from simxrd_hf.identify.phases import phases_text

        lines += phases_text(answer)
    if "matches" in answer:
        lines.append("  crystals of the library, the likeliest first, and their similarity")
        lines += [_match(match) for match in answer["matches"][:5]] or ["    none is near"]
    return "\n".join(lines)


def _match(match: Mapping[str, Any]) -> str:
    """A crystal for people."""
    from simxrd_hf.symmetry import SPACE_GROUPS

    symbol = SPACE_GROUPS[match["space_group"] - 1]
    name = f"{match['formula']} {symbol} ({match['space_group']})"
    return f"    {match['similarity']:7.2f}  {name}  {match['crystal_id']}, cell volume {match['volume_change']:+.1%}"


def _explain(args: argparse.Namespace, predictor: Any, name: str, item: Any, cell: tuple[float, ...] | None) -> None:
    from simxrd_hf.identify.explanation import draw, explain

    try:
        explanation = explain(predictor, item, cell=cell, negative=args.negative)
    except ValueError as error:
        raise BadInput(str(error)) from error
    try:
        draw(explanation, args.explain, title=Path(name).name)
    except ValueError as error:  # matplotlib, for a file type it cannot write
        raise BadInput(f"--explain {args.explain}: {error}") from error
    print(f"{args.explain}: {explanation.note}", file=sys.stderr)
