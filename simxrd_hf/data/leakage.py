"""How much of a test split a model may have met in training: same formula, same structure type, same pattern."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from simxrd_hf.data.splits import SPLITS, hash64, prototype_keys
from simxrd_hf.diffraction import PatternGrid, peaks
from simxrd_hf.errors import BadInput

# Fingerprint: noise-free lines on a coarse grid, each widened to 0.3° as an instrument would, scaled to length 1.
_BIN_DEG = 0.1
_FWHM_DEG = 0.3
NEAR_DUPLICATE = 0.98
"""Cosine of two fingerprints from which two patterns are called near duplicates."""


def fingerprint(crystal: Any, grid: PatternGrid) -> np.ndarray:
    """Noise-free pattern of a crystal on a coarse grid, float32, length 1.

    Raises:
        BadInput: The crystal has no reflection on the grid.
    """
    low, high = float(grid.two_theta[0]), float(grid.two_theta[-1])
    found = peaks(crystal, wavelength=grid.wavelength, two_theta_range=(low, high), min_intensity=0.1)
    bins = round((high - low) / _BIN_DEG) + 1
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
    return (smooth / length).astype(np.float32)


def leakage_report(
    crystals: pa.Table,
    split: np.ndarray,
    *,
    grid: PatternGrid | None = None,
    n_test: int = 300,
    n_train: int = 3000,
) -> dict[str, Any]:
    """Compare the test crystals of a split with its train crystals.

    Args:
        crystals: Crystal table.
        split: Index into `SPLITS` per crystal.
        grid: Grid of the patterns; the default one if absent.
        n_test: Test crystals whose patterns are compared; drawn by hash if there are more.
        n_train: Train crystals they are compared with, drawn likewise.

    Returns:
        `train_crystals`, `test_crystals`; shares of the test crystals whose reduced formula (`same_formula`) or
        structure type (`same_prototype`, see `splits.prototype_keys`) occurs in train; `patterns_tested`,
        `patterns_compared_with`, `near_duplicate` (share of the tested whose pattern has a cosine of at least
        `NEAR_DUPLICATE` with one compared with; a lower bound where train was sampled), `nearest_cosine_median`.
        A share is None when a side is empty.
    """
    from simxrd_hf.crystals import crystal

    grid = grid or PatternGrid()
    train, test = (np.flatnonzero(split == SPLITS.index(name)) for name in ("train", "test"))

    def overlap(keys: list[str]) -> float | None:
        known = {keys[i] for i in train}
        return sum(keys[i] in known for i in test) / len(test) if len(test) and len(train) else None

    ids = crystals["crystal_id"].to_pylist()

    def prints(rows: np.ndarray, limit: int) -> np.ndarray:
        order = rows[np.argsort(hash64([ids[r] for r in rows], "leakage"), kind="stable")] if len(rows) else rows
        made = []
        for row in order[:limit]:
            try:
                made.append(fingerprint(crystal(crystals, int(row)), grid))
            except BadInput:  # set aside by the generation as well
                continue
        return np.array(made)

    tested, compared = prints(test, n_test), prints(train, n_train)
    nearest = (tested @ compared.T).max(axis=1) if len(tested) and len(compared) else None
    return {
        "train_crystals": len(train),
        "test_crystals": len(test),
        "same_formula": overlap(crystals["reduced_formula"].to_pylist()),
        "same_prototype": overlap(prototype_keys(crystals)),
        "patterns_tested": len(tested),
        "patterns_compared_with": len(compared),
        "near_duplicate": None if nearest is None else float((nearest >= NEAR_DUPLICATE).mean()),
        "nearest_cosine_median": None if nearest is None else float(np.median(nearest)),
    }
