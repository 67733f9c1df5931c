"""Counts the low indices that the lowest lines of crystals have, and writes `guesses.npz` anew.

`python -m tools.guesses CRYSTALS` makes the packaged file again of the crystals it was made of.
"""

import heapq
import itertools
import sys
from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.diffraction import Crystal
from simxrd_hf.indexing import search_kernels as kernels
from simxrd_hf.indexing.guesses import FILE, FORMS, LOWEST, sorted_axes
from simxrd_hf.indexing.tables import CENTRINGS

FloatArray = NDArray[np.float64]

_TIMES = {name: 3 if name == "a" else 5 for name in FORMS}
"""Every crystal is to be found by that many combinations, where it has them."""
_KEPT = 0.6  # of the combinations, the most useful: the others find no more cells (`benchmarks/cells.py`)
_CRYSTALS = 2500  # of a lattice are counted
_VISIBLE = 0.12  # amplitude of a line, over the highest, from which it counts
_RESOLVED_DEG = 0.08
_WAVELENGTH = 1.5418
_SYMPREC = 0.1


def index_terms(kind: int, hkl: NDArray[np.int64]) -> NDArray[np.int64]:
    """Terms of the free parameters (n, f) of indices (n, 3)."""
    h, k, l = hkl.T  # noqa: E741
    if kind == kernels.TRICLINIC:
        return np.stack([h * h, k * k, l * l, h * l, k * l, h * k], axis=1)
    if kind == kernels.MONOCLINIC:
        return np.stack([h * h, k * k, l * l, h * l], axis=1)
    if kind == kernels.ORTHORHOMBIC:
        return np.stack([h * h, k * k, l * l], axis=1)
    return np.stack([h * h + k * k + (h * k if kind == kernels.HEXAGONAL else 0), l * l], axis=1)


def lowest_indices(
    lattice: str, conventional: FloatArray, vectors: FloatArray, amplitude: FloatArray
) -> NDArray[np.int64] | None:
    """Indices of the lowest visible lines of a crystal in the setting of `Guess`, the lowest first.

    Args:
        lattice: Its Bravais lattice.
        conventional: Its conventional cell, vectors as rows, Å.
        vectors: (n, 3) scattering vectors 1/d of its lines in the same axes, Å⁻¹.
        amplitude: (n,) of them.

    Returns:
        (m, 3), or None where they are not whole numbers.
    """
    axes = sorted_axes(FORMS[lattice[0]], np.linalg.inv(conventional).T.copy())
    hkl = vectors @ np.linalg.inv(axes)
    if np.abs(hkl - np.rint(hkl)).max(initial=0.0) > 0.05:
        return None
    q = np.sqrt(((np.rint(hkl) @ axes) ** 2).sum(axis=1))
    two_theta = 2 * np.degrees(np.arcsin(np.minimum(_WAVELENGTH / 2 * q, 1.0)))
    seen = np.flatnonzero((two_theta > 5) & (two_theta < 90) & (amplitude > _VISIBLE))
    seen = seen[np.argsort(two_theta[seen], kind="stable")]
    seen = seen[np.diff(two_theta[seen], prepend=-1.0) > _RESOLVED_DEG]
    return np.rint(hkl[seen[: LOWEST[FORMS[lattice[0]]]]]).astype(np.int64)


def conventional_axes(made: Crystal, number: int) -> FloatArray | None:
    """Conventional cell, vectors as rows in the axes of the crystal; None where spglib finds another space group."""
    import spglib

    data = spglib.get_symmetry_dataset((made.lattice, made.frac_coords, made.atomic_numbers), symprec=_SYMPREC)
    if data is None or data.number != number:
        return None
    return np.linalg.inv(data.transformation_matrix).T @ made.lattice


def covering(crystals: list[set[tuple[tuple[int, ...], ...]]], times: int) -> list[tuple[tuple[int, ...], ...]]:
    """Combinations, the most useful first, that every crystal has `times` of, or all it has (greedy cover)."""
    owners: dict[Any, list[int]] = defaultdict(list)
    for number, some in enumerate(crystals):
        for one in some:
            owners[one].append(number)
    wanted = np.array([min(times, len(some)) for some in crystals])
    heap = [(-len(of), one) for one, of in owners.items()]
    heapq.heapify(heap)
    chosen = []
    while heap:
        count, one = heapq.heappop(heap)
        useful = sum(wanted[number] > 0 for number in owners[one])
        if useful < -count:
            if useful:
                heapq.heappush(heap, (-useful, one))
            continue
        chosen.append(one)
        wanted[owners[one]] -= 1
    return chosen


def count(crystals: str) -> dict[str, NDArray[np.int16]]:
    """The arrays of `guesses.npz`, of training crystals (out of library, split by formula) of a source."""
    from simxrd_hf.crystals import crystal, read_crystals
    from simxrd_hf.data.splits import SPLITS, crystal_splits
    from simxrd_hf.matching import build_library
    from simxrd_hf.symmetry import BRAVAIS_LATTICES, BRAVAIS_OF

    table = read_crystals(crystals).table
    lattices = np.array(BRAVAIS_LATTICES)[BRAVAIS_OF[table["space_group"].to_numpy() - 1]]
    training = crystal_splits(table) == SPLITS.index("train")
    arrays = {}
    for lattice in CENTRINGS:
        if lattice[0] == "c":
            continue
        kind = FORMS[lattice[0]]
        rows = np.flatnonzero(training & (lattices == lattice))
        rows = np.random.default_rng(0).permutation(rows)[:_CRYSTALS]
        some = table.take(rows)
        where = {name: row for row, name in enumerate(some["crystal_id"].to_pylist())}
        library, _ = build_library(some)
        found = []
        for row, name in enumerate(library.crystal_id):
            one = crystal(some, where[name])
            conventional = conventional_axes(one, int(library.space_group[row]))
            if conventional is None:
                continue
            n = library.counts[row]
            vectors = library.hkl[row, :n] @ np.linalg.inv(library.cells[row].astype(np.float64)).T
            hkl = lowest_indices(lattice, conventional, vectors, library.amplitude[row, :n])
            if hkl is not None:
                found.append(hkl)
        for centring in CENTRINGS[lattice]:
            of_setting = [hkl for hkl in found if all(kernels.centred(*map(int, one), centring) for one in hkl)]
            chosen = covering([_combinations(index_terms(kind, hkl)) for hkl in of_setting], _TIMES[lattice[0]])
            chosen = chosen[: round(_KEPT * len(chosen))]
            arrays[f"{lattice}_{centring}"] = np.array(chosen, dtype=np.int16)
            print(
                f"{lattice} {len(found)} crystals, {len(of_setting)} of setting {centring}: {len(chosen)} combinations"
            )
    return arrays


def _combinations(terms: NDArray[np.int64]) -> set[tuple[tuple[int, ...], ...]]:
    """Combinations of rows that fix all parameters."""
    rows = [tuple(row) for row in terms.tolist()]
    return {
        some
        for some in itertools.combinations(rows, terms.shape[1])
        if abs(np.linalg.det(np.array(some, dtype=np.float64))) > 0.5
    }


if __name__ == "__main__":
    counted: dict[str, Any] = dict(count(sys.argv[1]))
    np.savez_compressed(FILE, **counted)
