"""Fits how a cell search and a library correct a checkpoint's answers, on simulated patterns; says what they bring.

    python benchmarks/evidence.py RUN --rows 2000 --test-rows 2000 --keep FOUND --json RUN/evidence.json

RUN is the folder of a finished `simxrd train`, of a model of space groups whose patterns were simulated while training.
The combinations are fitted on its validation patterns, most of them of crystals that came from measured structures, and
judged on its test patterns, of other crystals; they are written into RUN/model, where `simxrd predict`,
`simxrd_hf.pipeline` and `benchmarks/measured.py` find them. The library holds the crystals of all splits; every pattern
is compared with it twice: with the crystal it was simulated from in it ("known"), and without the crystals of its
formula ("unknown"). With `--disordered` the library is to hold those crystals too, and patterns of them are fitted on.
"""

import argparse
import hashlib
import json
import sys
import tempfile
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

from simxrd_hf.crystals.provenance import from_measured
from simxrd_hf.errors import BadInput
from simxrd_hf.evidence import Combination, Findings, PatternEvidence, examine, fit_combination, log_softmax
from simxrd_hf.files import replacing
from simxrd_hf.identify.predictor import Predictor
from simxrd_hf.matching import LibrarySearch, LineLibrary, build_library, read_library
from simxrd_hf.metrics import conformal_threshold
from simxrd_hf.training import sources
from simxrd_hf.training.config import TrainConfig
from simxrd_hf.training.evaluation import score
from simxrd_hf.training.machine import machine
from simxrd_hf.training.samplers import even_choice

ALPHA = 0.1
"""Share of prediction sets allowed to miss the truth."""
MEASURED_WEIGHT = 2
"""How often a pattern of a crystal from a measured structure counts in the fit: they are what one measures."""
DISORDERED_WEIGHT = 2
"""How often a pattern of a disordered crystal counts: many measured crystals are, the databases hold ordered models."""
NAMES = ("patterns", "cells", "lines", "known", "unknown", "labels")
"""What is kept of every pattern of the fit."""
_SEED_STEP = 1000
_PART = 512  # patterns searched between two savings
_SMOOTHING = 100.0  # crystals of all kinds added to the measured ones, so that no group's prior hangs on one crystal
SHOWN = (
    "accuracy",
    "macro_f1",
    "macro_f1_present",
    "top_5_accuracy",
    "crystal_system_accuracy",
    "extinction_symbol_accuracy",
    "ece",
)
Found = dict[str, NDArray]


@cache
def _library(path: str) -> LineLibrary:
    return read_library(path)


def _look(
    pattern: NDArray, formula: str, grid: dict[str, float], path: str
) -> tuple[NDArray, int, NDArray, NDArray, float]:
    """Weights of the symbols, lines, similarities with and without the formula, seconds."""
    begun = time.process_time()
    cells = examine(pattern, None, grid)
    search = LibrarySearch(pattern, _library(path), grid)
    known = Findings(cells.cells, cells.lines, search.matches())
    seconds = time.process_time() - begun
    unknown = Findings(cells.cells, cells.lines, search.matches(without_formula=formula))
    return known.cells, known.lines, known.similarity, unknown.similarity, seconds


def collect(
    config: TrainConfig, split: str, rows: int, library: Path, args: argparse.Namespace, *, measured: bool = False
) -> Found:
    """Patterns of a split, what was found out about them, and their labels; kept, as it does not hang on the model.

    Args:
        config: Of the run.
        split: "validation" or "test".
        rows: How many patterns, drawn evenly.
        library: Lines of crystals.
        args: Of the command.
        measured: Only patterns of crystals that came from measured structures.
    """
    source: Any = sources.open_split(config, split, limit_rows=None if measured else rows)
    crystals = sources.crystal_table(str(config.crystals))[0]
    chosen = np.arange(len(source))
    if measured:
        chosen = np.flatnonzero(from_measured(crystals["crystal_id"].take(source.groups).to_pylist()))
        chosen = chosen[even_choice(len(chosen), rows)]
    key = f"{source.digest} {split} {rows} {library.stat().st_size}" + " measured" * measured
    key = hashlib.sha256(key.encode()).hexdigest()[:12]
    file = args.keep / f"{split}-{key}.npz"
    if file.exists():
        with np.load(file) as stored:  # the times of another day are left out
            return {name: stored[name] for name in stored if name != "seconds"}
    formulas = crystals["reduced_formula"].take(source.groups[chosen]).to_pylist()
    from tqdm import tqdm

    pieces = {first: file.with_name(f"{file.stem}-{first}.npz") for first in range(0, len(chosen), _PART)}
    bar = tqdm(total=len(chosen), unit="pattern", desc=split, disable=not sys.stderr.isatty())
    with ProcessPoolExecutor(args.workers) as pool, bar:
        for first, piece in pieces.items():
            here = slice(first, first + _PART)
            if not piece.exists():
                _store(piece, _searched(source, chosen[here], formulas[here], library, pool))
            bar.update(len(chosen[here]))
    parts = []
    for piece in pieces.values():
        with np.load(piece) as stored:
            parts.append(dict(stored))
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    found["labels"] = np.asarray(source.labels)[chosen]
    found["measured"] = from_measured(crystals["crystal_id"].take(source.groups[chosen]).to_pylist())
    _store(file, found)
    for piece in pieces.values():
        piece.unlink()
    return found


def _searched(source: Any, rows: NDArray, formulas: list[str], library: Path, pool: ProcessPoolExecutor) -> Found:
    """Patterns of some rows and what was found out about them."""
    patterns = source.__getitems__([(0, row) for row in rows.tolist()])["intensity"].numpy().astype(np.float32)
    n = len(patterns)
    looked = pool.map(_look, patterns, formulas, [source.grid] * n, [str(library)] * n, chunksize=8)
    names = ("cells", "lines", "known", "unknown", "seconds")
    found = {name: np.array(column) for name, column in zip(names, zip(*looked, strict=True), strict=True)}
    return found | {"patterns": patterns}


def _store(file: Path, found: Found) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary:
        np.savez(temporary, **found)  # type: ignore[arg-type]


def fitted_on(config: TrainConfig, library: Path, args: argparse.Namespace) -> list[tuple[Found, int]]:
    """Patterns of the fit and how often they count; see `fit`."""
    drawn = [replace(config, seed=config.seed + _SEED_STEP * k) for k in range(args.measured_draws)]
    measured = [collect(one, "validation", 2 * args.rows, library, args, measured=True) for one in drawn]
    parts = [
        (collect(config, "validation", args.rows, library, args), 1),
        ({name: np.concatenate([found[name] for found in measured]) for name in NAMES}, MEASURED_WEIGHT),
    ]
    if args.disordered:
        source = replace(config, crystals=str(args.disordered))
        parts.append((collect(source, "validation", args.rows // 2, library, args), DISORDERED_WEIGHT))
    return parts


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


def group_shares(table: Any) -> tuple[NDArray, NDArray]:
    """Of each group among the crystals from measured structures, and among all crystals of a table (230,)."""
    groups = table["space_group"].to_numpy().astype(np.int64) - 1
    measured = groups[from_measured(table["crystal_id"].to_pylist())]
    everywhere = np.bincount(groups, minlength=230) / len(groups)
    there = (np.bincount(measured, minlength=230) + _SMOOTHING * everywhere) / (len(measured) + _SMOOTHING)
    return there, everywhere


def log_ratio(share: NDArray, other: NDArray) -> NDArray:
    """Logarithm of one share over another; 0 for groups that occur in neither (230,)."""
    return np.log(np.maximum(np.divide(share, other, out=np.ones(230), where=share > 0), 1e-6))


def prior(table: Any, parts: list[tuple[Found, int]]) -> NDArray:
    """What makes answers of the fit answers for measured compounds; see `PatternEvidence.prior`.

    Args:
        table: The crystals.
        parts: See `fit`.
    """
    there, everywhere = group_shares(table)
    expected = [
        everywhere,
        there,
        *(np.bincount(found["labels"], minlength=230) / len(found["labels"]) for found, _ in parts[2:]),
    ]
    counts = [len(found["labels"]) * times for found, times in parts]
    fitted = np.average(expected, axis=0, weights=counts)
    return log_ratio(there, fitted)


def with_set(made: Combination, labels: NDArray, *read: NDArray) -> Combination:
    """The combination with the threshold of its prediction sets."""
    threshold = conformal_threshold(labels, np.exp(made(*read)), alpha=ALPHA, method="lac")
    conformal = {"method": "lac", "coverage": 1 - ALPHA, "threshold": float(threshold), "n": len(labels)}
    return replace(made, conformal=conformal)


def fit(
    parts: list[tuple[Found, int]], predictor: Predictor, size: int, table: Any, preset: str | None
) -> PatternEvidence:
    """Both combinations.

    Args:
        parts: Patterns, and how often they count: of all crystals, of measured structures, and perhaps disordered ones.
        predictor: The network.
        size: Crystals in the library.
        table: The crystals.
        preset: Conditions the patterns were simulated under.
    """
    for found, _ in parts:
        found["log_p"] = log_probabilities(found, predictor)
    fitting = {name: np.concatenate([found[name] for found, _ in parts]) for name in ("log_p", *NAMES)}
    weights = np.concatenate([np.full(len(found["labels"]), times) for found, times in parts])
    log_p, labels = fitting["log_p"], fitting["labels"]
    counts = [len(found["labels"]) for found, _ in parts] + [0] * (3 - len(parts))
    about: dict[str, Any] = dict(zip(("rows", "measured_rows", "disordered_rows"), counts, strict=True))
    about |= {"preset": preset, "date": datetime.now(UTC).date().isoformat()}
    alone = (log_p, fitting["cells"], fitting["lines"], np.zeros_like(fitting["known"]))
    cells = with_set(fit_combination(*alone, labels, weights, epochs=40, about=about), labels, *alone)
    read, twice = both(log_p, fitting), np.concatenate([labels, labels])
    combined = fit_combination(
        *read, twice, np.concatenate([weights, weights]), epochs=25, blind=2, about=about | {"crystals": size}
    )
    return PatternEvidence(cells, with_set(combined, twice, *read), size // 2, prior(table, parts))


def judge(test: Found, evidence: PatternEvidence, predictor: Predictor, table: Any) -> dict[str, dict[str, float]]:
    """Scores on patterns the fit has not seen, of all crystals and of those from measured structures, printed too."""
    assert evidence.library is not None and evidence.prior is not None
    there, everywhere = group_shares(table)
    log_p, labels, nothing = log_probabilities(test, predictor), test["labels"], np.zeros_like(test["known"])
    tables = {
        "network": log_p,
        "with cells": evidence.cells(log_p, test["cells"], test["lines"], nothing),
        "with library, unknown": evidence.library(log_p, test["cells"], test["lines"], test["unknown"]),
        "with library, known": evidence.library(log_p, test["cells"], test["lines"], test["known"]),
    }
    results: dict[str, dict[str, float]] = {}
    for name, table in tables.items():
        # the test patterns are of all crystals, as they are; some of them are what prediction is for
        for which, rows, shares in (
            ("", slice(None), evidence.prior + log_ratio(everywhere, there)),
            (", of measured structures", test["measured"], evidence.prior),
        ):
            logits = (table if name == "network" else log_softmax(table + shares))[rows]
            scores = score(labels[rows], logits.astype(np.float32), "space_group")
            results[name + which] = {key: scores[key] for key in SHOWN if key in scores}
            print(
                f"{name + which:<46}" + "  ".join(f"{key} {value:.3f}" for key, value in results[name + which].items())
            )
    return results


def main() -> int:
    with tempfile.TemporaryDirectory() as temporary:
        return run(Path(temporary))


def run(temporary: Path) -> int:
    """The command; what no folder is named for is kept in `temporary`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished training run")
    parser.add_argument(
        "--rows",
        type=int,
        default=2000,
        help="validation patterns the combinations are fitted on; and up to twice as many of crystals from measured "
        "structures, and half as many of disordered ones",
    )
    parser.add_argument(
        "--measured-draws", type=int, default=1, help="patterns of each crystal from a measured structure"
    )
    parser.add_argument("--test-rows", type=int, default=2000, help="test patterns they are judged on")
    parser.add_argument(
        "--library", type=Path, help="lines of all the run's crystals; made (RUN/lines.parquet) if absent"
    )
    parser.add_argument("--disordered", type=Path, help="table of disordered crystals; see `simxrd crystals`")
    parser.add_argument("--seed", type=int, help="of the patterns; the run's, if absent")
    parser.add_argument(
        "--keep",
        type=Path,
        help="folder for what the searches found: to go on after a stop, and to fit another model sooner",
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--search-only", action="store_true", help="search, keep, and stop")
    parser.add_argument(
        "--judge-only", action="store_true", help="fit nothing: score what lies beside the model, on other test rows"
    )
    parser.add_argument("--json", type=Path, help="write the scores")
    args = parser.parse_args()
    args.keep = args.keep or temporary
    torch.set_num_threads(1)
    try:
        config = TrainConfig.from_yaml(args.run / "config.yaml")
        if args.seed is not None:
            config = replace(config, seed=args.seed)
        if config.task != "space_group" or config.data is not None:
            raise BadInput(f"{args.run}: needs a model of space groups trained on patterns simulated while training")
        library = args.library or args.run / "lines.parquet"
        if not library.exists():
            build_library(sources.crystal_table(str(config.crystals))[0])[0].save(library)
        parts = [] if args.judge_only else fitted_on(config, library, args)
        test = collect(config, "test", args.test_rows, library, args)
        if args.search_only:
            return 0
        predictor = Predictor(args.run / "model", indexing=False)
    except BadInput as error:
        print(f"evidence: {error}", file=sys.stderr)
        return 2
    table = sources.crystal_table(str(config.crystals))[0]
    size = len(read_library(library))
    if args.judge_only:
        there = PatternEvidence.load(args.run / "model")
        if there is None or there.library is None or there.prior is None:
            print(f"evidence: {args.run}/model has no evidence with a library; fit it first", file=sys.stderr)
            return 2
        evidence = there
    else:
        evidence = fit(parts, predictor, size, table, config.preset)
        evidence.save(args.run / "model")
    results = judge(test, evidence, predictor, table)
    timing = {}
    if "seconds" in test:
        timing["ms_per_pattern"] = round(1000 * float(test["seconds"].mean()))
        print(f"{timing['ms_per_pattern']} ms a pattern and core for both searches, library of {size} crystals")
    if args.json:
        facts = {
            "test_rows": len(test["labels"]),
            "measured_test_rows": int(test["measured"].sum()),
            "groups_in_test": len(np.unique(test["labels"])),
            "crystals": size,
            "fit": evidence.library.about if evidence.library else None,
            **timing,
            **machine(),
        }
        args.json.write_text(json.dumps(results | facts, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
