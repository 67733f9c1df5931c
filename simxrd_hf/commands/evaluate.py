"""Score a saved model on a split: table, per-class figures, predictions as Parquet, confusion matrix as PNG."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

EXAMPLE = (
    "simxrd evaluate run/model simxrd_data --split test --output scores\n"
    "  simxrd evaluate run/model run/config.yaml --split test      # the crystals of an on-the-fly run"
)

# Printed first; all others stand in scores.json.
_MAIN = (
    ("accuracy", "accuracy"),
    ("top_2_accuracy", "top-2 accuracy"),
    ("top_3_accuracy", "top-3 accuracy"),
    ("top_5_accuracy", "top-5 accuracy"),
    ("macro_f1", "macro-F1 (all {num_labels} classes)"),
    ("macro_f1_present", "macro-F1 ({labels_present} classes that occur)"),
    ("macro_precision", "macro-precision"),
    ("macro_recall", "macro-recall"),
    ("crystal_system_accuracy", "crystal system accuracy"),
    ("extinction_symbol_accuracy", "extinction symbol accuracy"),
    ("enantiomorph_accuracy", "accuracy up to enantiomorphs"),
    ("head_accuracy", "accuracy, frequent third of classes"),
    ("middle_accuracy", "accuracy, middle third"),
    ("tail_accuracy", "accuracy, rare third"),
    ("ece", "expected calibration error"),
    ("conformal_coverage", "conformal sets: coverage"),
    ("conformal_mean_size", "conformal sets: mean size"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("model", metavar="MODEL", help="folder of a saved model, or its id on the Hub")
    parser.add_argument("data", metavar="DATA", help="dataset folder, or config.yaml of a training run")
    parser.add_argument("--split", default="test", choices=("train", "validation", "test"))
    parser.add_argument(
        "--data-config", default="in_library", help="split scheme of a dataset folder (default: %(default)s)"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="score only N rows, drawn evenly")
    parser.add_argument("--batch-size", type=int, default=256, help="patterns per forward pass (default: %(default)s)")
    parser.add_argument("--cpu", action="store_true", help="stay on the CPU")
    parser.add_argument("--output", type=Path, help="folder for scores.json, predictions.parquet and confusion.png")
    parser.add_argument("--classes", type=int, default=12, metavar="N", help="classes shown, most frequent first")
    parser.add_argument("--json", action="store_true", help="print the scores as JSON instead of tables")


def run(args: argparse.Namespace) -> int:
    """Score and print."""
    from simxrd_hf.training import evaluate_checkpoint

    result = evaluate_checkpoint(
        args.model,
        args.data,
        args.split,
        data_config=args.data_config,
        batch_size=args.batch_size,
        limit_rows=args.limit,
        cpu=args.cpu,
        output=args.output,
        progress=not args.json,
    )
    if int(os.environ.get("RANK", 0)) > 0:
        return 0
    if args.json:
        print(json.dumps({"scores": result.scores, **result.about, "per_class": result.per_class()}, indent=2))
        return 0
    print(_tables(result, args.classes))
    if args.output is not None:
        print(f"wrote scores.json, predictions.parquet and confusion.png to {args.output}")
    return 0


def _tables(result: Any, most: int) -> str:
    scores = result.scores
    lines = [f"{result.about['model']} on {result.about['data']}, {len(result.labels)} patterns"]
    for key, name in _MAIN:
        if key in scores:
            lines.append(f"  {name.format(**{k: f'{v:g}' for k, v in scores.items()}):<44}{scores[key]:>8.4f}")
    rows = sorted(result.per_class(), key=lambda row: -row["rows"])
    lines.append(f"  {'class':<16}{'rows':>7}{'precision':>11}{'recall':>8}{'F1':>8}")
    lines += [
        f"  {row['label']:<16}{row['rows']:>7}{row['precision']:>11.3f}{row['recall']:>8.3f}{row['f1']:>8.3f}"
        for row in rows[:most]
    ]
    if len(rows) > most:
        lines.append(f"  … and {len(rows) - most} more classes")
    return "\n".join(lines)
