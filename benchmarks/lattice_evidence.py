"""Fits how a cell search corrects a checkpoint's answers, on simulated patterns, and says what it brings.

    python benchmarks/lattice_evidence.py RUN --rows 4000 --test-rows 2000 --json RUN/lattice_evidence.json

RUN is the folder of a finished `simxrd train`, of a model of space groups whose patterns were simulated while training.
The combination is fitted on its validation patterns and judged on its test patterns, of other crystals; it is written
into RUN/model, where `simxrd predict`, `simxrd_hf.pipeline` and `benchmarks/measured.py` find it.
"""

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from simxrd_hf.errors import BadInput
from simxrd_hf.indexing.evidence import fit_evidence, log_softmax, pattern_evidence
from simxrd_hf.metrics import conformal_threshold
from simxrd_hf.models.predictor import Predictor
from simxrd_hf.training import sources
from simxrd_hf.training.config import TrainConfig
from simxrd_hf.training.evaluation import score
from simxrd_hf.training.loop import machine

ALPHA = 0.1
"""Share of prediction sets allowed to miss the truth."""
SHOWN = ("accuracy", "macro_f1", "top_5_accuracy", "crystal_system_accuracy", "extinction_symbol_accuracy", "ece")


def collect(
    config: TrainConfig, split: str, rows: int, predictor: Predictor, workers: int
) -> tuple[NDArray, NDArray, NDArray, float]:
    """Log-probabilities of the network, evidence and labels of a split's patterns, and seconds a pattern searched."""
    source = sources.open_split(config, split, limit_rows=rows)
    logits, patterns = [], []
    for start in range(0, len(source), 128):
        batch = source.__getitems__([(0, row) for row in range(start, min(start + 128, len(source)))])
        intensity = batch["intensity"].float().numpy()
        logits.append(predictor.logits({"intensity": intensity, "mask": np.ones(intensity.shape, bool)}).numpy())
        patterns.append(intensity)
    whole = np.concatenate(patterns)
    begun = time.monotonic()
    with ProcessPoolExecutor(workers) as pool:
        grids = [predictor.converter.grid] * len(whole)
        found = list(pool.map(pattern_evidence, whole, [None] * len(whole), grids, chunksize=32))
    seconds = (time.monotonic() - begun) * workers / len(whole)
    log_p = log_softmax(np.concatenate(logits) / predictor.settings.temperature)
    return log_p, np.array(found), np.asarray(source.labels), seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished training run")
    parser.add_argument("--rows", type=int, default=4000, help="validation patterns the combination is fitted on")
    parser.add_argument("--test-rows", type=int, default=2000, help="test patterns it is judged on")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the scores")
    args = parser.parse_args()
    torch.set_num_threads(1)
    try:
        config = TrainConfig.from_yaml(args.run / "config.yaml")
        if config.task != "space_group" or config.data is not None:
            raise BadInput(f"{args.run}: needs a model of space groups trained on patterns simulated while training")
        predictor = Predictor(args.run / "model", indexing=False)
        log_p, evidence, labels, _ = collect(config, "validation", args.rows, predictor, args.workers)
        about = {"rows": len(labels), "preset": config.preset, "date": datetime.now(UTC).date().isoformat()}
        made = fit_evidence(log_p, evidence, labels, about=about)
        threshold = conformal_threshold(labels, np.exp(made.combine(log_p, evidence)), alpha=ALPHA, method="lac")
        conformal = {"method": "lac", "coverage": 1 - ALPHA, "threshold": float(threshold), "n": len(labels)}
        made = replace(made, conformal=conformal)
        log_p, evidence, labels, seconds = collect(config, "test", args.test_rows, predictor, args.workers)
    except BadInput as error:
        print(f"lattice_evidence: {error}", file=sys.stderr)
        return 2
    results = {}
    for name, table in (("network", log_p), ("with cell search", made.combine(log_p, evidence))):
        scores = score(labels, table.astype(np.float32), config.task)
        results[name] = {key: scores[key] for key in SHOWN if key in scores}
        print(f"{name:<17}" + "  ".join(f"{key} {value:.3f}" for key, value in results[name].items()))
    print(f"{1000 * seconds:.0f} ms a pattern and core for the search")
    made.save(args.run / "model")
    if args.json:
        facts = {"test_rows": len(labels), "ms_per_pattern": round(1000 * seconds), "fit": about, **machine()}
        args.json.write_text(json.dumps(results | facts, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
