"""Fits how a cell search and a library correct a checkpoint's answers, on simulated patterns; says what they bring.

    python benchmarks/evidence.py RUN --rows 2000 --test-rows 2000 --keep FOUND --json RUN/evidence.json

RUN is the folder of a finished `simxrd train`, of a model of space groups whose patterns were simulated while training.
The combinations are fitted on its validation patterns and judged on its test patterns, of other crystals; they are
written into RUN/model, where `simxrd predict`, `simxrd_hf.pipeline` and `benchmarks/measured.py` find them. The library
holds the crystals of all splits; every pattern is compared with it twice: with the crystal it was simulated from in it
("known"), and without the crystals of its formula ("unknown"). With `--disordered` the library is to hold those
crystals too, and patterns of them are fitted on.
"""

import argparse
import hashlib
import json
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from simxrd_hf.errors import BadInput
from simxrd_hf.evidence import Combination, Findings, PatternEvidence, examine, fit_combination, log_softmax
from simxrd_hf.matching import LineLibrary, LineSearch, build_library, read_library
from simxrd_hf.metrics import conformal_threshold
from simxrd_hf.models.predictor import Predictor
from simxrd_hf.training import sources
from simxrd_hf.training.config import TrainConfig
from simxrd_hf.training.evaluation import score
from simxrd_hf.training.loop import machine

ALPHA = 0.1
"""Share of prediction sets allowed to miss the truth."""
MEASURED = ((0, 30_000), (500_000, 600_000))
"""Numbers of the Materials Project that came from measured structures, as the share of P1 among them shows: 1 %,
against 11 % of all others and 51 % from mp-2000000 on (release 2025.02.12)."""
WEIGHT = 4
"""How often a pattern of such a crystal counts in the fit: a fifth of the crystals, they are what one measures."""
DISORDERED_WEIGHT = 2
"""How often a pattern of a disordered crystal counts: many measured crystals are, the databases hold ordered models."""
_SMOOTHING = 100.0  # crystals of all kinds added to the measured ones, so that no group's prior hangs on one crystal
SHOWN = ("accuracy", "macro_f1", "top_5_accuracy", "crystal_system_accuracy", "extinction_symbol_accuracy", "ece")
Found = dict[str, NDArray]


@cache
def _library(path: str) -> LineLibrary:
    return read_library(path)


def _look(
    pattern: NDArray, formula: str, grid: dict[str, float], path: str
) -> tuple[NDArray, int, NDArray, NDArray, float]:
    """Weights of the symbols, lines, similarities with and without the formula, seconds."""
    from simxrd_hf.indexing import find_lines

    begun = time.process_time()
    lines = find_lines(pattern, grid)
    cells = examine(pattern, None, grid)
    search = LineSearch(lines, _library(path), grid)
    known = Findings(cells.cells, cells.lines, search.matches())
    seconds = time.process_time() - begun
    unknown = Findings(cells.cells, cells.lines, search.matches(without_formula=formula))
    return known.cells, known.lines, known.similarity, unknown.similarity, seconds


def collect(config: TrainConfig, split: str, rows: int, library: Path, args: argparse.Namespace) -> Found:
    """Patterns of a split, what was found out about them, and their labels; kept, as it does not hang on the model."""
    source: Any = sources.open_split(config, split, limit_rows=rows)
    key = hashlib.sha256(f"{source.digest} {split} {rows} {library.stat().st_size}".encode()).hexdigest()[:12]
    file = args.keep / f"{split}-{key}.npz" if args.keep else None
    if file is not None and file.exists():
        with np.load(file) as stored:  # the times of another day are left out
            return {name: stored[name] for name in stored if name != "seconds"}
    patterns = np.concatenate(
        [
            source.__getitems__([(0, row) for row in range(first, min(first + 128, len(source)))])["intensity"].numpy()
            for first in range(0, len(source), 128)
        ]
    )
    formulas = sources._crystal_table(str(config.crystals))[0]["reduced_formula"].take(source.groups).to_pylist()
    n = len(patterns)
    from tqdm import tqdm

    with ProcessPoolExecutor(args.workers) as pool:
        work = pool.map(_look, patterns, formulas, [source.grid] * n, [str(library)] * n, chunksize=16)
        looked = list(tqdm(work, total=n, unit="pattern", desc=split, disable=not sys.stderr.isatty()))
    names = ("cells", "lines", "known", "unknown", "seconds")
    found = {name: np.array(column) for name, column in zip(names, zip(*looked, strict=True), strict=True)}
    found |= {"patterns": patterns.astype(np.float32), "labels": np.asarray(source.labels)}
    if file is not None:
        args.keep.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".part.npz")
        np.savez(temporary, **found)  # type: ignore[arg-type]
        temporary.replace(file)
    return found


def log_probabilities(found: Found, predictor: Predictor) -> NDArray:
    """(n, 230) of the network alone."""
    logits = [
        predictor.logits({"intensity": part, "mask": np.ones(part.shape, bool)}).numpy()
        for part in np.array_split(found["patterns"], max(len(found["patterns"]) // 64, 1))
    ]
    return log_softmax(np.concatenate(logits) / predictor.settings.temperature)


def both(log_p: NDArray, found: Found) -> tuple[NDArray, ...]:
    """The rows twice: known to the library and not."""
    twice = [np.concatenate([array, array]) for array in (log_p, found["cells"], found["lines"])]
    return (*twice, np.concatenate([found["known"], found["unknown"]]))


def from_measured(ids: list[str]) -> NDArray:
    """Which crystals came from measured structures, bool (n,)."""
    numbers = [re.fullmatch(r"mp-(\d+)", name) for name in ids]
    known = np.array([int(one.group(1)) if one else -1 for one in numbers])
    return np.logical_or.reduce([(known >= low) & (known < high) for low, high in MEASURED])


def priors(table: Any, disordered: NDArray, rows: int) -> tuple[NDArray, NDArray]:
    """Logarithm of the share of each group over that among the weighted rows of the fit (230,).

    First the share among measured compounds, which prediction takes, then that among all crystals, which the simulated
    test patterns have. Where ids do not tell what was measured, both are zero.

    Args:
        table: The crystals.
        disordered: Labels of the rows of disordered crystals that are fitted on.
        rows: How many other rows are.
    """
    groups = table["space_group"].to_numpy().astype(np.int64) - 1
    measured = from_measured(table["crystal_id"].to_pylist())
    if measured.sum() < 1000:
        return np.zeros(230), np.zeros(230)
    everywhere, there = (np.bincount(groups[rows], minlength=230).astype(float) for rows in (slice(None), measured))
    fitted = everywhere + (WEIGHT - 1) * there
    fitted += DISORDERED_WEIGHT * np.bincount(disordered, minlength=230) * everywhere.sum() / rows
    smooth = there + _SMOOTHING * everywhere / everywhere.sum()
    ratio = [np.where(fitted > 0, share / np.maximum(fitted, 1) * fitted.sum() / share.sum(), 1.0)
             for share in (smooth, everywhere)]  # fmt: skip
    return np.log(np.maximum(ratio[0], 1e-6)), np.log(np.maximum(ratio[1], 1e-6))


def with_set(made: Combination, labels: NDArray, *read: NDArray) -> Combination:
    """The combination with the threshold of its prediction sets."""
    threshold = conformal_threshold(labels, np.exp(made(*read)), alpha=ALPHA, method="lac")
    conformal = {"method": "lac", "coverage": 1 - ALPHA, "threshold": float(threshold), "n": len(labels)}
    return replace(made, conformal=conformal)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished training run")
    parser.add_argument("--rows", type=int, default=2000, help="validation patterns the combinations are fitted on")
    parser.add_argument("--test-rows", type=int, default=2000, help="test patterns they are judged on")
    parser.add_argument(
        "--library", type=Path, help="lines of all the run's crystals; made (RUN/lines.parquet) if absent"
    )
    parser.add_argument("--disordered", type=Path, help="table of disordered crystals; see `simxrd crystals`")
    parser.add_argument("--seed", type=int, help="of the patterns; the run's, if absent")
    parser.add_argument("--keep", type=Path, help="folder for what the searches found, to fit another model sooner")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--search-only", action="store_true", help="search, keep, and stop")
    parser.add_argument("--json", type=Path, help="write the scores")
    args = parser.parse_args()
    torch.set_num_threads(1)
    try:
        config = TrainConfig.from_yaml(args.run / "config.yaml")
        if args.seed is not None:
            config = replace(config, seed=args.seed)
        if config.task != "space_group" or config.data is not None:
            raise BadInput(f"{args.run}: needs a model of space groups trained on patterns simulated while training")
        library = args.library or args.run / "lines.parquet"
        if not library.exists():
            build_library(sources._crystal_table(str(config.crystals))[0])[0].save(library)
        fitting = collect(config, "validation", args.rows, library, args)
        test = collect(config, "test", args.test_rows, library, args)
        others = None
        if args.disordered:
            source = replace(config, crystals=str(args.disordered))
            others = collect(source, "validation", args.rows // 2, library, args)
        if args.search_only:
            return 0
        predictor = Predictor(args.run / "model", indexing=False)
    except BadInput as error:
        print(f"evidence: {error}", file=sys.stderr)
        return 2
    crystals = sources._crystal_table(str(config.crystals))[0]
    ids = crystals["crystal_id"].take(sources.open_split(config, "validation", limit_rows=args.rows).groups).to_pylist()
    repeated = np.repeat(np.arange(len(ids)), np.where(from_measured(ids), WEIGHT, 1))
    fitting["log_p"] = log_probabilities(fitting, predictor)
    fitting = {name: column[repeated] for name, column in fitting.items() if name != "patterns"}
    mixed = np.empty(0, dtype=np.int64)
    if others is not None:
        others["log_p"], mixed = log_probabilities(others, predictor), others["labels"]
        fitting = {
            name: np.concatenate([column, *[others[name]] * DISORDERED_WEIGHT]) for name, column in fitting.items()
        }
    log_p, labels = fitting["log_p"], fitting["labels"]
    about = {
        "rows": len(ids),
        "disordered_rows": len(mixed),
        "preset": config.preset,
        "date": datetime.now(UTC).date().isoformat(),
    }
    alone = (log_p, fitting["cells"], fitting["lines"], np.zeros_like(fitting["known"]))
    cells = with_set(fit_combination(*alone, labels, epochs=40, about=about), labels, *alone)
    read, twice = both(log_p, fitting), np.concatenate([labels, labels])
    size = len(read_library(library))
    combined = fit_combination(*read, twice, epochs=25, blind=2, about=about | {"crystals": size})
    prior, simulated = priors(crystals, mixed, len(ids))
    evidence = PatternEvidence(cells, with_set(combined, twice, *read), size // 2, prior)
    evidence.save(args.run / "model")

    assert evidence.library is not None
    log_p, labels, nothing = log_probabilities(test, predictor), test["labels"], np.zeros_like(test["known"])
    tables = {
        "network": log_p,
        "with cells": evidence.cells(log_p, test["cells"], test["lines"], nothing),
        "with library, unknown": evidence.library(log_p, test["cells"], test["lines"], test["unknown"]),
        "with library, known": evidence.library(log_p, test["cells"], test["lines"], test["known"]),
    }
    results: dict[str, Any] = {}
    for name, table in tables.items():
        if name != "network":  # the test patterns are of all crystals, as they are
            table = log_softmax(table + simulated)
        scores = score(labels, table.astype(np.float32), config.task)
        results[name] = {key: scores[key] for key in SHOWN if key in scores}
        print(f"{name:<23}" + "  ".join(f"{key} {value:.3f}" for key, value in results[name].items()))
    timing = {}
    if "seconds" in test:
        timing["ms_per_pattern"] = round(1000 * float(test["seconds"].mean()))
        print(f"{timing['ms_per_pattern']} ms a pattern and core for both searches, library of {size} crystals")
    if args.json:
        facts = {"test_rows": len(labels), "crystals": size, "fit": about, **timing, **machine()}
        args.json.write_text(json.dumps(results | facts, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
