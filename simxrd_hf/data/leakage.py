"""How much of a test split a model may have met in training: same formula, same structure type, same pattern."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from simxrd_hf.data.splits import SPLITS, prototype_keys
from simxrd_hf.diffraction import PatternGrid, peaks
from simxrd_hf.errors import BadInput

# Fingerprint: noise-free lines on a coarse grid, each widened to 0.3° as an instrument would, scaled to length 1.
_BIN_DEG = 0.1
_FWHM_DEG = 0.3
NEAR_DUPLICATE = 0.98
"""Cosine of two fingerprints from which two patterns are called near duplicates."""
_CRYSTALS_PER_TASK = 500
_PAIRS_COMPARED_EXACTLY = 300_000_000
"""Above this many pairs an index finds the nearest ones; comparing all takes seconds up to here."""
_ROWS_AT_ONCE = 1000


def _bins(grid: PatternGrid) -> int:
    return round(float(grid.two_theta[-1] - grid.two_theta[0]) / _BIN_DEG) + 1


def fingerprint(crystal: Any, grid: PatternGrid) -> NDArray[np.float32]:
    """Noise-free pattern of a crystal on a coarse grid, float32, length 1.

    Raises:
        BadInput: The crystal has no reflection on the grid.
    """
    low, high = float(grid.two_theta[0]), float(grid.two_theta[-1])
    found = peaks(crystal, wavelength=grid.wavelength, two_theta_range=(low, high), min_intensity=0.1)
    bins = _bins(grid)
    position = (np.asarray(found.two_theta) - low) / _BIN_DEG
    left = np.floor(position).astype(int)
    sticks = np.zeros(bins + 1)
    for offset, weight in ((0, left + 1 - position), (1, position - left)):
        inside = (left + offset >= 0) & (left + offset < bins)
        np.add.at(sticks, left[inside] + offset, (weight * found.intensity)[inside])
    sigma = _FWHM_DEG / _BIN_DEG / np.sqrt(8 * np.log(2))
    half = int(4 * sigma) + 1
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    smooth = np.convolve(sticks[:bins], kernel, mode="same")
    length = np.linalg.norm(smooth)
    if not length > 0:
        raise BadInput(f"crystal {crystal.crystal_id}: no reflection on the grid")
    return np.asarray(smooth / length, dtype=np.float32)


def fingerprints(crystals: pa.Table, *, grid: PatternGrid | None = None, num_proc: int = 1) -> NDArray[np.float32]:
    """Fingerprints of all crystals of a table.

    Args:
        crystals: Crystal table.
        grid: Grid of the patterns; the default one if absent.
        num_proc: Processes; fewer are used for few crystals.

    Returns:
        float32 (crystals, bins); a row is 0 where a crystal has no pattern (the generation sets it aside as well).
    """
    from simxrd_hf.crystals.parallel import ordered_map

    starts = range(0, crystals.num_rows, _CRYSTALS_PER_TASK)
    parts = (crystals.slice(start, _CRYSTALS_PER_TASK).combine_chunks() for start in starts)
    made = list(ordered_map(partial(_fingerprints, grid=grid or PatternGrid()), parts, min(num_proc, len(starts) // 4)))
    return np.concatenate(made)


def _fingerprints(crystals: pa.Table, grid: PatternGrid) -> NDArray[np.float32]:
    from simxrd_hf.crystals import crystal

    rows = np.zeros((crystals.num_rows, _bins(grid)), dtype=np.float32)
    for row in range(crystals.num_rows):
        with contextlib.suppress(BadInput):
            rows[row] = fingerprint(crystal(crystals, row), grid)
    return rows


def nearest(tested: NDArray[np.float32], compared: NDArray[np.float32]) -> tuple[NDArray[np.float32], str]:
    """Cosine of each fingerprint with the nearest of others.

    Up to 3·10⁸ pairs all are compared. Beyond, a graph of neighbours is searched (Malkov & Yashunin 2016,
    arXiv:1603.09320, as usearch builds it, extra `scale`), in time and memory near linear; it may miss a nearest one,
    so what it finds is a lower bound. Without usearch all pairs are compared whatever their number.

    Args:
        tested: (n, bins), each of length 1.
        compared: (m, bins), likewise; m > 0.

    Returns:
        Cosines, float32 (n,), and how they were found, in words.
    """
    if tested.shape[0] * compared.shape[0] > _PAIRS_COMPARED_EXACTLY:
        try:
            from usearch.index import Index
        except ImportError:
            pass
        else:
            index = Index(ndim=tested.shape[1], metric="ip", dtype="f16", expansion_add=64, expansion_search=32)
            index.add(np.arange(len(compared)), compared)
            found = np.asarray(index.search(tested, 1).keys).reshape(-1)
            # The index keeps half floats: what it found is compared once more in full.
            pairs = [np.einsum("ij,ij->i", tested[r], compared[found[r]]) for r in _pieces(len(tested))]
            return np.concatenate(pairs), f"the nearest of {len(compared):,} found by a graph of neighbours (usearch)"
    best = np.concatenate([(tested[r] @ compared.T).max(axis=1) for r in _pieces(len(tested))])
    return best, f"all {len(compared):,} compared"


def _pieces(n: int) -> list[slice]:
    return [slice(start, start + _ROWS_AT_ONCE) for start in range(0, n, _ROWS_AT_ONCE)]


def leakage_report(
    crystals: pa.Table,
    split: np.ndarray,
    *,
    grid: PatternGrid | None = None,
    patterns: NDArray[np.float32] | None = None,
    num_proc: int = 1,
) -> dict[str, Any]:
    """Compare the test crystals of a split with its train crystals.

    Args:
        crystals: Crystal table.
        split: Index into `SPLITS` per crystal.
        grid: Grid of the patterns; the default one if absent.
        patterns: `fingerprints` of the crystals on this grid, if they are there already.
        num_proc: Processes that make fingerprints.

    Returns:
        `train_crystals`, `test_crystals`; shares of the test crystals whose reduced formula (`same_formula`) or
        structure type (`same_prototype`, see `splits.prototype_keys`) occurs in train; `patterns_tested`,
        `patterns_compared_with` (test and train crystals that have a pattern), `near_duplicate` (share of the tested
        whose pattern has a cosine of at least `NEAR_DUPLICATE` with one compared with), `nearest_cosine_median`, and
        `method`, how neighbours were found. A share is None when a side is empty.
    """
    train, test = (np.flatnonzero(split == SPLITS.index(name)) for name in ("train", "test"))

    def overlap(keys: list[str]) -> float | None:
        known = {keys[i] for i in train}
        return sum(keys[i] in known for i in test) / len(test) if len(test) and len(train) else None

    if patterns is None and len(train) and len(test):
        patterns = fingerprints(crystals, grid=grid, num_proc=num_proc)
    if patterns is None:
        tested = compared = np.empty((0, 0), dtype=np.float32)
    else:
        has_pattern = np.asarray(patterns.any(axis=1), dtype=bool)
        tested, compared = (patterns[side[has_pattern[side]]] for side in (test, train))
    cosine, method = nearest(tested, compared) if len(tested) and len(compared) else (None, "nothing to compare")
    return {
        "train_crystals": len(train),
        "test_crystals": len(test),
        "same_formula": overlap(crystals["reduced_formula"].to_pylist()),
        "same_prototype": overlap(prototype_keys(crystals)),
        "patterns_tested": len(tested),
        "patterns_compared_with": len(compared),
        "near_duplicate": None if cosine is None else float((cosine >= NEAR_DUPLICATE).mean()),
        "nearest_cosine_median": None if cosine is None else float(np.median(cosine)),
        "method": method,
    }
