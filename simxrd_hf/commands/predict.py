"""Identify measured patterns: ranked space groups, extinction symbols and crystal systems with probabilities."""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import simxrd_hf
from simxrd_hf.errors import BadInput

EXAMPLE = "simxrd predict scan.xy --model runs/tiny/model --wavelength 1.5406 --explain scan.png"

# Text files hold one pattern each; a Parquet file of a dataset holds one per row.
_PARQUET = (".parquet", ".pq")
DEFAULT_MODEL = Path(__file__).resolve().parent.parent / "models" / "default"


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
    parser.add_argument("--negative", choices=("error", "clip"), help="what to do with negative intensities")
    parser.add_argument("--composition", metavar="FORMULA", help="chemical formula, for models that take one")
    parser.add_argument("--together", action="store_true", help="the files are patterns of one sample: one answer")
    parser.add_argument("--top-k", type=int, default=5, metavar="N", help="answers per list (default 5)")
    parser.add_argument("--limit", type=int, metavar="N", help="rows of a Parquet file to read")
    parser.add_argument("--json", action="store_true", help="print one JSON object per answer")
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
    model = args.model or (str(DEFAULT_MODEL) if DEFAULT_MODEL.is_dir() else None)
    if model is None:
        raise BadInput("no model: pass --model FOLDER (simxrd train writes one), or set SIMXRD_MODEL")
    if args.explain and not args.explain.resolve().parent.is_dir():
        raise BadInput(f"--explain {args.explain}: its folder does not exist")
    cell = None if args.cell is None else read_cell(args.cell)
    if cell is not None and not args.explain:
        raise BadInput("--cell is drawn by --explain only: pass --explain too")

    # transformers takes longer to import than this command takes to answer; nothing below needs it.
    simxrd_hf._defer_registration = True
    from simxrd_hf.models.predictor import Predictor

    predictor = Predictor(model)
    inputs = list(_inputs(args))
    if args.explain and len(inputs) != 1:
        raise BadInput(f"--explain draws one pattern, got {len(inputs)}: give one file (or --together, or --limit 1)")
    bad = 0
    for name, item in inputs:
        try:
            answer = predictor([item], top_k=args.top_k, negative=args.negative)[0]
        except ValueError as error:
            message = _hint(f"{error}" if name in str(error) else f"{name}: {error}")
            if len(inputs) == 1:
                raise BadInput(message) from error
            print(f"simxrd predict: {message}", file=sys.stderr)
            bad += 1
            continue
        print(json.dumps({"file": name, **answer}, ensure_ascii=False) if args.json else _table(name, answer))
    if args.explain:
        _explain(args, predictor, *inputs[0], cell)
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


def _inputs(args: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """Name and input of every pattern."""
    paths = [Path(name) for name in args.files]
    for path in paths:
        if not path.is_file():
            raise BadInput(f"{path}: no such file")
    if args.together:
        if any(path.suffix in _PARQUET for path in paths):
            raise BadInput("--together is for files of one pattern each, not for Parquet")
        parts = [_one(path, args, composition=False) for path in paths]
        extra = {} if args.composition is None else {"composition": args.composition}
        yield " + ".join(map(str, paths)), {"patterns": parts, **extra}
        return
    for path in paths:
        if path.suffix in _PARQUET:
            yield from _rows(path, args)
        else:
            yield str(path), _one(path, args)


def _one(path: Path, args: argparse.Namespace, *, composition: bool = True) -> dict[str, Any]:
    from simxrd_hf.models.measured import read_measured

    item = dict(read_measured(path, wavelength=args.wavelength, anode=args.anode, axis=args.axis))
    if item["wavelength"] is None:
        print(
            f"simxrd predict: {path} does not say its wavelength; taken as the model's own. "
            "Pass --wavelength or --anode if the tube was another",
            file=sys.stderr,
        )
    if composition and args.composition is not None:
        item["composition"] = args.composition
    return item


def _rows(path: Path, args: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """Rows of a dataset's Parquet file, which lie on the model's grid."""
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: not readable as Parquet ({error})") from error
    names = [name for name in ("intensity", "crystal_id", "formula") if name in file.schema_arrow.names]
    if "intensity" not in names:
        raise BadInput(f"{path}: has no column intensity, only {', '.join(file.schema_arrow.names)}")
    done = 0
    for batch in file.iter_batches(batch_size=256, columns=names):
        for row in batch.to_pylist():
            if args.limit is not None and done >= args.limit:
                return
            item: dict[str, Any] = {"intensity": row["intensity"]}
            if args.composition is not None:
                item["composition"] = args.composition
            yield f"{path}[{done}]" + (f" {row['crystal_id']}" if "crystal_id" in row else ""), item
            done += 1


def _hint(message: str) -> str:
    """Python argument names in messages, as options of this command."""
    return message.replace('pass negative="clip"', "pass --negative clip").replace(
        "pass two_theta=, d= or q= with it", "give a file of two columns"
    )


def _table(name: str, answer: Mapping[str, Any]) -> str:
    """An answer for people."""
    given = answer["input"]
    first = given if isinstance(given, dict) else given[0]
    unit = {"two_theta": "° 2θ", "d": " Å (d)", "q": " Å⁻¹ (q)"}[first["axis"]]
    wavelength = "" if first["wavelength"] is None else f" at {first['wavelength']:g} Å"
    lines = [
        f"{name}: {first['min']:g} … {first['max']:g}{unit}{wavelength}, {first['covered']:.0%} of the model's range"
    ]
    for kind in ("space_group", "extinction_symbol", "bravais_lattice", "crystal_system", "classes"):
        if kind not in answer:
            continue
        lines.append(f"  {kind.replace('_', ' ')}")
        for entry in answer[kind]:
            number = f"({entry['number']})" if "number" in entry else ""
            lines.append(f"    {entry['score']:7.2%}  {entry['label']} {number}".rstrip())
    if "prediction_set" in answer:
        chosen = answer["prediction_set"]
        lines.append(f"  with {chosen['coverage']:.0%} coverage: {', '.join(chosen['labels'])}")
    return "\n".join(lines)


def _explain(args: argparse.Namespace, predictor: Any, name: str, item: Any, cell: tuple[float, ...] | None) -> None:
    from simxrd_hf.models.explain import draw, explain

    try:
        explanation = explain(predictor, item, cell=cell, negative=args.negative)
    except ValueError as error:
        raise BadInput(str(error)) from error
    try:
        draw(explanation, args.explain, title=name)
    except ValueError as error:  # matplotlib, for a file type it cannot write
        raise BadInput(f"--explain {args.explain}: {error}") from error
    print(f"{args.explain}: {explanation.note}", file=sys.stderr)
