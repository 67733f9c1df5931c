"""Fits how a cell search and a library correct a model's answers, on simulated patterns of formulas it has not seen."""

import hashlib
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.crystals.provenance import from_measured
from simxrd_hf.errors import BadInput
from simxrd_hf.evidence import (
    Combination,
    Findings,
    LibraryEvidence,
    PatternEvidence,
    examine,
    fit_combination,
    log_softmax,
)
from simxrd_hf.files import replacing
from simxrd_hf.identify.libraries import open_library
from simxrd_hf.identify.measured_scores import evaluate_measured, halves
from simxrd_hf.identify.predictor import Predictor
from simxrd_hf.matching import LibrarySearch, LineLibrary
from simxrd_hf.metrics import conformal_threshold
from simxrd_hf.progress import bar
from simxrd_hf.training.config import TrainConfig
from simxrd_hf.training.samplers import even_choice
from simxrd_hf.training.sources import SimulatedSplit, crystal_table

FloatArray = NDArray[np.float64]

ALPHA = 0.1
"""Share of prediction sets allowed to miss the truth."""
MEASURED_WEIGHT = 2
"""How often a pattern of a crystal from a measured structure counts in the fit: they are what one measures."""
DISORDERED_WEIGHT = 2
"""How often a pattern of a disordered crystal counts: many measured crystals are, the databases hold ordered models."""
_PART = 256  # patterns searched between two savings
_SMOOTHING = 100.0  # crystals of all kinds added to the measured ones, so that no group's prior hangs on one crystal


@dataclass(frozen=True, eq=False)
class Searched:
    """Simulated patterns, and what was found about them; it does not hang on the model.

    Attributes:
        patterns: (n, n_points) float32.
        labels: Space-group numbers − 1 (n,).
        measured: Whether the crystal came from a measured structure (n,).
        cells: As in `Findings` (n, 101).
        lines: As in `Findings` (n,).
        known: `Findings.similarity` with the whole library (n, 6, 230).
        unknown: The same without the crystals of the pattern's formula.
    """

    patterns: NDArray[np.float32]
    labels: NDArray[np.int64]
    measured: NDArray[np.bool_]
    cells: FloatArray
    lines: NDArray[np.int64]
    known: FloatArray
    unknown: FloatArray

    def __len__(self) -> int:
        return len(self.labels)


@cache
def _library(name: str) -> LineLibrary:
    library = open_library(name)
    assert library is not None
    return library


def _look(pattern: NDArray[Any], formula: str, grid: dict[str, float], library: str) -> tuple[Any, ...]:
    cells = examine(pattern, None, grid)
    search = LibrarySearch(pattern, _library(library), grid)
    known = Findings(cells.cells, cells.lines, search.matches())
    unknown = Findings(cells.cells, cells.lines, search.matches(without_formula=formula))
    return known.cells, known.lines, known.similarity, unknown.similarity


def held_out(
    crystals: str | Path,
    rows: int,
    *,
    split: str = "validation",
    measured: bool = False,
    preset: str = "lab",
    impurity_pool: int = 500,
    seed: int = 0,
) -> tuple[SimulatedSplit, NDArray[np.int64]]:
    """Patterns of held-out formulas, and which of them are meant; arguments as of `search_patterns`.

    Raises:
        BadInput: No crystal is left.
    """
    config = TrainConfig(
        model="former",
        task="space_group",
        crystals=str(crystals),
        preset=preset,
        data_config="out_of_library",
        impurity_pool=impurity_pool,
        seed=seed,
        epochs=1,
    )
    source = SimulatedSplit.for_config(config, split, limit_rows=None if measured else rows)
    if not measured:
        return source, np.arange(len(source))
    names = crystal_table(str(crystals))[0]["crystal_id"].take(source.groups).to_pylist()
    chosen = np.flatnonzero(from_measured(names))
    return source, chosen[even_choice(len(chosen), rows)]


def search_patterns(
    crystals: str | Path,
    library: str | Path,
    rows: int,
    *,
    split: str = "validation",
    measured: bool = False,
    preset: str = "lab",
    impurity_pool: int = 500,
    seed: int = 0,
    keep: str | Path | None = None,
    num_proc: int = 1,
    progress: bool = False,
) -> Searched:
    """Simulate patterns of held-out formulas, and search cells and a library for each.

    Args:
        crystals: A crystal table, or anything `read_crystals` reads: that which the model was trained on, split by
            formula.
        library: "packaged", a file of `simxrd library`, or "hf://datasets/OWNER/NAME".
        rows: How many patterns, of crystals drawn evenly.
        split: "validation" or "test".
        measured: Only crystals that came from measured structures.
        preset: Conditions of the patterns.
        impurity_pool: Crystals that second phases are drawn from.
        seed: Of the patterns.
        keep: Folder for what was found: a second call goes on from there.
        num_proc: Processes.
        progress: Show a progress bar.

    Raises:
        BadInput: The crystals or the library cannot be used, or no crystal is left.
    """
    source, chosen = held_out(
        crystals, rows, split=split, measured=measured, preset=preset, impurity_pool=impurity_pool, seed=seed
    )
    table = crystal_table(str(crystals))[0]
    of_measured = from_measured(table["crystal_id"].take(source.groups[chosen]).to_pylist())
    formulas = table["reduced_formula"].take(source.groups[chosen]).to_pylist()
    # "spawn": compiled code and torch have threads that a fork would lose
    pool = ProcessPoolExecutor(num_proc, multiprocessing.get_context("spawn")) if num_proc > 1 else None
    key = hashlib.sha256(f"{source.digest} {split} {rows} {measured} {len(_library(str(library)))}".encode())
    found: dict[str, list[NDArray[Any]]] = {}
    shown = bar(show=progress, total=len(chosen), unit="pattern", desc=split)
    try:
        for first in range(0, len(chosen), _PART):
            file = None if keep is None else Path(keep) / f"{split}-{key.hexdigest()[:12]}-{first}.npz"
            if file is not None and file.exists():
                with np.load(file) as stored:
                    part = dict(stored)
            else:
                here = slice(first, first + _PART)
                part = _searched(source, chosen[here], formulas[here], str(library), pool)
                part |= {"labels": np.asarray(source.labels)[chosen[here]], "measured": of_measured[here]}
                if file is not None:
                    file.parent.mkdir(parents=True, exist_ok=True)
                    with replacing(file) as temporary, Path(temporary).open("wb") as stream:
                        np.savez(stream, **part)  # type: ignore[arg-type]
            for name, values in part.items():
                found.setdefault(name, []).append(values)
            shown.update(len(part["labels"]))
    finally:
        shown.close()
        if pool is not None:
            pool.shutdown(cancel_futures=True)
    return Searched(**{name: np.concatenate(parts) for name, parts in found.items()})


def _searched(
    source: SimulatedSplit, rows: NDArray[np.int64], formulas: list[str], library: str, pool: ProcessPoolExecutor | None
) -> dict[str, NDArray[Any]]:
    patterns = source.__getitems__([(0, row) for row in rows.tolist()])["intensity"].numpy().astype(np.float32)
    n = len(patterns)
    given = (patterns, formulas, [source.grid] * n, [library] * n)
    looked = map(_look, *given) if pool is None else pool.map(_look, *given, chunksize=8)
    columns = zip(("cells", "lines", "known", "unknown"), zip(*looked, strict=True), strict=True)
    return {name: np.array(column) for name, column in columns} | {"patterns": patterns}


def network_log_probabilities(searched: Searched, predictor: Predictor) -> FloatArray:
    """(n, 230) of the network alone."""
    parts = np.array_split(searched.patterns, max(len(searched) // 64, 1))
    logits = [predictor.logits({"intensity": one, "mask": np.ones(one.shape, bool)}).numpy() for one in parts]
    return log_softmax(np.concatenate(logits) / predictor.settings.temperature)


def group_shares(table: Any) -> tuple[FloatArray, FloatArray]:
    """Of each group among the crystals from measured structures, and among all crystals of a table (230,)."""
    groups = table["space_group"].to_numpy().astype(np.int64) - 1
    measured = groups[from_measured(table["crystal_id"].to_pylist())]
    everywhere = np.bincount(groups, minlength=230) / len(groups)
    there = (np.bincount(measured, minlength=230) + _SMOOTHING * everywhere) / (len(measured) + _SMOOTHING)
    return there, everywhere


def log_ratio(share: FloatArray, other: FloatArray) -> FloatArray:
    """Logarithm of one share over another; 0 for groups that occur in neither (230,)."""
    ratio: FloatArray = np.log(np.maximum(np.divide(share, other, out=np.ones(230), where=share > 0), 1e-6))
    return ratio


def fit_evidence(
    parts: Sequence[tuple[Searched, int]],
    predictor: Predictor,
    crystals: Any,
    library_size: int,
    *,
    known_weight: float = 1.0,
    cells: PatternEvidence | None = None,
    epochs: int = 25,
    about: dict[str, Any] | None = None,
) -> PatternEvidence:
    """Fit the combination of network, cells and library by maximum likelihood, and that of network and cells.

    Every pattern is shown with the crystals of its formula in the library and without them: a library never holds all
    that is measured.

    Args:
        parts: Patterns, and how often they count: of all crystals, of measured structures, and perhaps of disordered
            ones; of their labels each part after the first two tells how frequent the groups are among them.
        predictor: The network, without corrections.
        crystals: Table the patterns were drawn from, for the prior.
        library_size: Crystals in the library; it may be used with libraries of half that and more.
        known_weight: How often a pattern whose crystals are in the library counts, for one without.
        cells: Evidence whose other parts are kept; absent, network and cells are fitted too.
        epochs: Passes over the patterns.
        about: Kept with the result.
    """
    searched = [one for one, _ in parts]
    log_p = np.concatenate([network_log_probabilities(one, predictor) for one in searched])
    weights = np.concatenate([np.full(len(one), float(times)) for one, times in parts])
    cell, lines, known, unknown, labels = (
        np.concatenate([getattr(one, name) for one in searched])
        for name in ("cells", "lines", "known", "unknown", "labels")
    )
    counts = [len(one) for one in searched] + [0] * (3 - len(searched))
    facts: dict[str, Any] = dict(zip(("rows", "measured_rows", "disordered_rows"), counts, strict=False))
    facts |= {"date": datetime.now(UTC).date().isoformat()} | (about or {})
    prior = _prior(crystals, parts)
    if cells is None:
        alone = (log_p, cell, lines, np.zeros_like(known))
        fitted = fit_combination(*alone, labels, weights, epochs=40, about=facts)
        cells = PatternEvidence(_with_set(fitted, labels, *alone), prior=prior)
    log_p, cell, lines = (np.concatenate([one, one]) for one in (log_p, cell, lines))
    read = (log_p, cell, lines, np.concatenate([known, unknown]))
    twice = np.concatenate([labels, labels])
    both = np.concatenate([known_weight * weights, weights])
    facts |= {"crystals": library_size, "known_weight": known_weight}
    combined = fit_combination(*read, twice, both, epochs=epochs, blind=2, about=facts)
    return cells.with_library(LibraryEvidence(library_size // 2, _with_set(combined, twice, *read), prior))


def borrowed(evidence: PatternEvidence, library_size: int) -> PatternEvidence:
    """For libraries from half this size on, what was fitted for the next larger ones.

    Raises:
        BadInput: Nothing was.
    """
    larger = [one for one in evidence.libraries if one.least_crystals > library_size // 2]
    if not larger:
        raise BadInput(f"nothing was fitted for libraries larger than {library_size:,} crystals: none to borrow")
    return evidence.with_library(replace(larger[0], least_crystals=library_size // 2))


def calibrated(model: str | Path, rows: Sequence[Mapping[str, Any]], library: LineLibrary) -> PatternEvidence:
    """A model's evidence, that for this library made as sure as it is right on the measured rows for choosing.

    One temperature, and the threshold of the prediction sets, from that half of the rows; see `HALVES`.

    Args:
        model: Checkpoint folder with `evidence.json`.
        rows: As `read_table` gives them.
        library: The library.

    Raises:
        BadInput: No evidence for such a library, or no rows.
    """
    evidence = PatternEvidence.load(model)
    fitted = None if evidence is None else evidence.for_library(len(library))
    if evidence is None or fitted is None:
        raise BadInput(f"{model}: has no evidence for a library of {len(library):,} crystals; fit it first")
    half = halves([str(row["sample_name"]) for row in rows])
    chosen = [row for row, reported in zip(rows, half, strict=True) if not reported]
    if not chosen:
        raise BadInput("none of the measured rows is of the half for choosing")
    measured = evaluate_measured(chosen, str(model), library=library, phases=0, bootstrap=2)
    tempered = log_softmax(np.log(np.maximum(measured.probabilities, 1e-30)) / measured.temperature)
    threshold = conformal_threshold(measured.labels, np.exp(tempered), alpha=ALPHA, method="lac")
    combination = replace(
        fitted.combination.tempered(measured.temperature),
        conformal={"method": "lac", "coverage": 1 - ALPHA, "threshold": float(threshold), "n": len(measured.labels)},
        about={**(fitted.combination.about or {}), "temperature": round(measured.temperature, 4)},
    )
    prior = None if fitted.prior is None else fitted.prior / measured.temperature
    return evidence.with_library(replace(fitted, combination=combination, prior=prior))


def _with_set(made: Combination, labels: NDArray[np.int64], *read: Any) -> Combination:
    """The combination with the threshold of its prediction sets."""
    threshold = conformal_threshold(labels, np.exp(made(*read)), alpha=ALPHA, method="lac")
    conformal = {"method": "lac", "coverage": 1 - ALPHA, "threshold": float(threshold), "n": len(labels)}
    return replace(made, conformal=conformal)


def _prior(table: Any, parts: Sequence[tuple[Searched, int]]) -> FloatArray:
    """What makes answers of the fit answers for measured compounds; see `PatternEvidence.prior`."""
    there, everywhere = group_shares(table)
    others = [np.bincount(one.labels, minlength=230) / len(one) for one, _ in parts[2:]]
    counts = [len(one) * times for one, times in parts]
    fitted: FloatArray = np.average([everywhere, there, *others][: len(parts)], axis=0, weights=counts)
    return log_ratio(there, fitted)
