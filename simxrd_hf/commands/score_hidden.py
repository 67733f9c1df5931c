"""Score answers to the hidden test of a dataset with the key that only its host has."""

import argparse
import json
from pathlib import Path

EXAMPLE = "simxrd score-hidden answers.parquet dataset-key/key.parquet --target space_group"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "answers", type=Path, help="Parquet table of row_id and probabilities, or row_id and the class index"
    )
    parser.add_argument("key", type=Path, help="key.parquet, which `simxrd generate --hidden-test` wrote")
    parser.add_argument("--target", choices=("space_group", "crystal_system"), default="space_group")
    parser.add_argument("--json", action="store_true", help="print all scores as JSON")


def run(args: argparse.Namespace) -> int:
    """Score and print."""
    from simxrd_hf.hub import score_hidden

    scores = score_hidden(args.answers, args.key, target=args.target)
    if args.json:
        print(json.dumps(scores))
        return 0
    for name, found in scores.items():
        print(f"{name:<16} {found['n']:>9,} rows   accuracy {found['accuracy']:.1%}   macro-F1 {found['macro_f1']:.3f}")
    return 0
