"""Says what cell search and a library bring to a checkpoint, on simulated test patterns of formulas it has not seen.

    python benchmarks/evidence.py --model RUN/model --crystals crystals.parquet --library lines.parquet --keep FOUND

CRYSTALS is the table the model was trained on, out of library and split by formula. Every pattern is compared with the
library twice: with the crystal it was simulated from in it ("known"), and without the crystals of its formula
("unknown"). What is measured here was fitted by `simxrd evidence`, on validation patterns.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simxrd_hf.errors import BadInput
from simxrd_hf.evidence import LibraryEvidence, PatternEvidence, log_softmax
from simxrd_hf.identify.evidence_fitting import (
    Searched,
    group_shares,
    log_ratio,
    network_log_probabilities,
    search_patterns,
)
from simxrd_hf.identify.libraries import open_library
from simxrd_hf.identify.model_folders import DEFAULT_MODEL
from simxrd_hf.identify.predictor import Predictor
from simxrd_hf.training.evaluation import score
from simxrd_hf.training.machine import machine
from simxrd_hf.training.sources import crystal_table

SHOWN = (
    "accuracy",
    "macro_f1",
    "macro_f1_present",
    "top_5_accuracy",
    "crystal_system_accuracy",
    "extinction_symbol_accuracy",
    "ece",
)


def judge(
    test: Searched, evidence: PatternEvidence, library: LibraryEvidence, predictor: Predictor, crystals: Any
) -> dict[str, dict[str, float]]:
    """Scores on all test patterns and on those of measured structures, printed too."""
    there, everywhere = group_shares(crystals)
    log_p, nothing = network_log_probabilities(test, predictor), np.zeros_like(test.known)
    tables = {
        "network": (log_p, None),
        "with cells": (evidence.cells(log_p, test.cells, test.lines, nothing), evidence.prior),
        "with library, unknown": (library.combination(log_p, test.cells, test.lines, test.unknown), library.prior),
        "with library, known": (library.combination(log_p, test.cells, test.lines, test.known), library.prior),
    }
    results: dict[str, dict[str, float]] = {}
    for name, (table, prior) in tables.items():
        # the test patterns are of all crystals, as they are; some of them are what prediction is for
        for which, rows, more in (
            ("", slice(None), log_ratio(everywhere, there)),
            (", of measured structures", test.measured, 0.0),
        ):
            logits = (table if prior is None else log_softmax(table + prior + more))[rows]
            if not len(logits):
                continue
            scores = score(test.labels[rows], logits.astype(np.float32), "space_group")
            results[name + which] = {key: scores[key] for key in SHOWN if key in scores}
            shown = "  ".join(f"{key} {value:.3f}" for key, value in results[name + which].items())
            print(f"{name + which:<46}{shown}")
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="checkpoint folder with evidence.json")
    parser.add_argument("--crystals", required=True, help="the crystals the model was trained on")
    parser.add_argument("--library", default="packaged", help="a file of `simxrd library`, hf://…, or packaged")
    parser.add_argument("--test-rows", type=int, default=2000, help="test patterns")
    parser.add_argument("--measured", action="store_true", help="only of crystals from measured structures")
    parser.add_argument("--seed", type=int, default=0, help="of the patterns")
    parser.add_argument("--keep", type=Path, help="folder for what the searches found, to go on after a stop")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the scores")
    args = parser.parse_args()
    torch.set_num_threads(1)
    try:
        library = open_library(args.library)
        evidence = PatternEvidence.load(args.model)
        fitted = None if library is None or evidence is None else evidence.for_library(len(library))
        if library is None or evidence is None or fitted is None:
            raise BadInput(f"{args.model}: has no evidence for this library; fit it with `simxrd evidence`")
        predictor = Predictor(args.model, indexing=False)
        test = search_patterns(
            args.crystals,
            args.library,
            args.test_rows,
            split="test",
            measured=args.measured,
            seed=args.seed,
            keep=args.keep,
            num_proc=args.workers,
            progress=True,
        )
        results = judge(test, evidence, fitted, predictor, crystal_table(args.crystals)[0])
    except BadInput as error:
        print(f"evidence: {error}", file=sys.stderr)
        return 2
    if args.json:
        facts = {
            "test_rows": len(test),
            "measured_test_rows": int(test.measured.sum()),
            "groups_in_test": len(np.unique(test.labels)),
            "crystals": len(library),
            "fit": fitted.combination.about,
            **machine(),
        }
        args.json.write_text(json.dumps(results | facts, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
