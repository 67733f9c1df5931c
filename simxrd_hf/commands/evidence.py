"""Fit how cell search and a library correct a model's answers, on simulated patterns of formulas it has not seen."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simxrd_hf.evidence import PatternEvidence
    from simxrd_hf.identify import Predictor

EXAMPLE = (
    "simxrd evidence crystals.parquet --model run/model --library lines.parquet --disordered disordered.parquet\n"
    "  simxrd evidence --model run/model --library packaged --borrow --calibrate measured.parquet   # one more size"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "crystals",
        metavar="CRYSTALS",
        nargs="?",
        help="the crystals the model was trained on, out of library, split by formula",
    )
    parser.add_argument("--model", type=Path, required=True, help="checkpoint folder of a model of space groups")
    parser.add_argument("--library", required=True, metavar="FILE|hf://…|packaged", help="lines of known crystals")
    parser.add_argument("--disordered", metavar="TABLE", help="disordered crystals, of `simxrd crystals --disordered`")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="write evidence.json there (default: into the checkpoint)"
    )
    parser.add_argument(
        "--rows",
        type=int,
        default=2000,
        metavar="N",
        help="patterns of all crystals; and up to twice as many of crystals from measured structures, and half as many "
        "of disordered ones (default 2000)",
    )
    parser.add_argument(
        "--known-weight",
        type=float,
        default=1.0,
        metavar="W",
        help="how often a pattern whose crystals are in the library counts, for one without (default 1)",
    )
    parser.add_argument(
        "--borrow",
        action="store_true",
        help="fit nothing: take what was fitted for the next larger library (CRYSTALS is not needed)",
    )
    parser.add_argument(
        "--calibrate",
        metavar="MEASURED",
        help="Parquet table of labelled measured patterns: its half for choosing says how sure to be with this library",
    )
    parser.add_argument("--preset", default="lab", help="conditions of the patterns (default lab)")
    parser.add_argument("--seed", type=int, default=0, help="of the patterns (default 0)")
    parser.add_argument("--anew", action="store_true", help="forget what was fitted before, for other libraries too")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep what was found there, to go on after a stop")
    parser.add_argument("--num-proc", type=int, default=1, metavar="N", help="processes (default 1)")


def run(args: argparse.Namespace) -> int:
    """Simulate, search, fit, write."""
    from simxrd_hf.errors import BadInput
    from simxrd_hf.evidence import PatternEvidence
    from simxrd_hf.identify.evidence_fitting import borrowed, calibrated
    from simxrd_hf.identify.libraries import open_library
    from simxrd_hf.identify.measured_scores import read_table
    from simxrd_hf.identify.predictor import Predictor

    output = args.output or args.model
    if not output.is_dir():  # before the work, not after it
        raise BadInput(f"{output}: no such folder; create it, or name another one with -o")
    if args.rows < 1 or not args.known_weight > 0:
        raise BadInput("--rows and --known-weight must be above 0")
    if args.crystals is None and not args.borrow:
        raise BadInput("name the crystals the model was trained on, or --borrow")
    if args.calibrate and output.resolve() != args.model.resolve():
        raise BadInput("--calibrate asks the model with what was fitted: leave -o out")
    predictor = Predictor(args.model, indexing=False)
    if predictor.settings.task != "space_group":
        raise BadInput(f"{args.model}: names {predictor.settings.task}; a model of space groups is needed")
    rows = read_table(args.calibrate) if args.calibrate else []
    library = open_library(args.library)
    if library is None:
        raise BadInput("--library: name one; network and cells are fitted together with it")
    before = None if args.anew else PatternEvidence.load(args.model)
    if args.borrow:
        if before is None:
            raise BadInput(f"{args.model}: has no evidence.json to borrow from")
        fitted = borrowed(before, len(library))
    else:
        fitted = _fitted(args, predictor, before, len(library))
    path = fitted.save(output)
    if rows:
        path = calibrated(output, rows, library).save(output)
    counts = " and ".join(f"{one.least_crystals:,}" for one in fitted.libraries)
    print(f"wrote {path}: network, cells and libraries from {counts} crystals on")
    return 0


def _fitted(
    args: argparse.Namespace, predictor: "Predictor", before: "PatternEvidence | None", crystals: int
) -> "PatternEvidence":
    from simxrd_hf.identify.evidence_fitting import DISORDERED_WEIGHT, MEASURED_WEIGHT, fit_evidence, search_patterns
    from simxrd_hf.training.sources import crystal_table

    how = {"preset": args.preset, "seed": args.seed, "keep": args.keep, "num_proc": args.num_proc, "progress": True}
    parts = [
        (search_patterns(args.crystals, args.library, args.rows, **how), 1),
        (search_patterns(args.crystals, args.library, 2 * args.rows, measured=True, **how), MEASURED_WEIGHT),
    ]
    if args.disordered:
        half = max(args.rows // 2, 1)
        parts.append((search_patterns(args.disordered, args.library, half, **how), DISORDERED_WEIGHT))
    return fit_evidence(
        parts,
        predictor,
        crystal_table(args.crystals)[0],
        crystals,
        known_weight=args.known_weight,
        cells=before,
        about={"preset": args.preset, "seed": args.seed},
    )
