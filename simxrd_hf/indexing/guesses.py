"""The low indices that the lowest lines of crystals have, lattice by lattice, as packaged in `guesses.npz`.

`python -m simxrd_hf.indexing.guesses CRYSTALS` counts them anew: few combinations are frequent, so that a search that
tries these alone misses few cells.
"""

import heapq
import itertools
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.diffraction.lattice import reduce_basis
from simxrd_hf.indexing import kernels
from simxrd_hf.indexing.tables import FREE

FloatArray = NDArray[np.float64]

FILE = Path(__file__).parent / "guesses.npz"

CENTRINGS = {
    **dict.fromkeys(("aP", "mP", "oP", "tP", "hP", "cP"), (kernels.P,)),
    **dict.fromkeys(("cI", "tI", "oI"), (kernels.I,)),
    **dict.fromkeys(("cF", "oF"), (kernels.F,)),
    "hR": (kernels.R,),
    "oS": (kernels.A, kernels.B, kernels.C),
    "mS": (kernels.A, kernels.C, kernels.I),
}
"""Bravais lattice → its centring in the settings that cells are guessed in."""
LOWEST = {
    kernels.CUBIC: 4,
    kernels.TETRAGONAL: 7,
    kernels.HEXAGONAL: 7,
    kernels.ORTHORHOMBIC: 9,
    kernels.MONOCLINIC: 9,
    kernels.TRICLINIC: 9,
}
"""Lowest lines of a pattern that are combined, by the form of the metric."""

_SYSTEMS = {
    "c": kernels.CUBIC,
    "t": kernels.TETRAGONAL,
    "h": kernels.HEXAGONAL,
    "o": kernels.ORTHORHOMBIC,
    "m": kernels.MONOCLINIC,
    "a": kernels.TRICLINIC,
}
_TIMES = {name: 3 if name == "a" else 5 for name in _SYSTEMS}
"""Every crystal is to be found by that many combinations, where it has them."""
_CRYSTALS = 2500  # of a lattice are counted
_VISIBLE = 0.12  # amplitude of a line, over the highest, from which it counts
_RESOLVED_DEG = 0.08
_WAVELENGTH = 1.5418


class Guess(NamedTuple):
    """What to try for one lattice and setting.

    Attributes:
        kind: Form of the metric.
        centring: Of the setting in which parameters are sorted: a*² ≥ b*² ≥ c*² of orthorhombic lattices, the reduced
            plane with a*² ≥ c*² of monoclinic ones, a reduced reciprocal cell with a*² ≥ b*² ≥ c*² and all or none of
            the angles acute of triclinic ones.
        inverses: (k, f, f) inverses of the index terms of combinations of f lines, the lowest first.
    """

    kind: int
    centring: int
    inverses: FloatArray


@cache
def guesses() -> dict[str, tuple[Guess, ...]]:
    """Bravais lattice → its settings."""
    found: dict[str, list[Guess]] = defaultdict(list)
    with np.load(FILE) as file:
        for name in file.files:
            lattice, centring = name.split("_")
            kind = _SYSTEMS[lattice[0]]
            rows = file[name].astype(np.float64)
            found[lattice].append(Guess(kind, int(centring), np.ascontiguousarray(np.linalg.inv(rows))))
    # no sum of three squares is 4ᵃ (8 b + 7); those of F lattices are of three even or three odd numbers
    sums = [n for n in range(1, 49) if n not in (7, 15, 23, 28, 31, 39, 47)]
    of_lattice = {
        "cP": [n for n in sums if n < 33],
        "cI": [n for n in sums if n % 2 == 0],
        "cF": [n for n in sums if n % 4 == 0 or n % 8 == 3],
    }
    for lattice, some in of_lattice.items():
        inverses = 1 / np.array(some, dtype=np.float64)[:, None, None]
        found[lattice].append(Guess(kernels.CUBIC, CENTRINGS[lattice][0], inverses))
    return {lattice: tuple(some) for lattice, some in found.items()}


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


def _sorted_axes(kind: int, reciprocal: NDArray) -> FloatArray:
    """Reciprocal axes (rows) of the setting in which cells are guessed."""
    if kind == kernels.TRICLINIC:
        axes = reduce_basis(reciprocal)
        axes = axes[np.argsort(-(axes * axes).sum(axis=1))]
        # all angles acute, or none: turning an axis round changes two of them
        axes[0] *= -1 if axes[0] @ axes[1] < 0 else 1
        axes[2] *= -1 if axes[1] @ axes[2] < 0 else 1
        axes[1] *= -1 if axes[0] @ axes[2] < 0 else 1
        return axes
    if kind == kernels.ORTHORHOMBIC:
        return reciprocal[np.argsort(-(reciprocal * reciprocal).sum(axis=1))]
    if kind != kernels.MONOCLINIC:
        return reciprocal
    u, v = reciprocal[0], reciprocal[2]
    while True:
        if u @ u < v @ v:
            u, v = v, u
        turns = np.rint(u @ v / (v @ v))
        if turns == 0:
            break
        u = u - turns * v
    return np.stack([u, reciprocal[1], -v if u @ v < 0 else v])


def index_parameters(lattice: str, conventional: NDArray) -> FloatArray:
    """Parameters (6,) of a cell, given by its vectors as rows, in the setting of `Guess`; see `tables`."""
    axes = _sorted_axes(_SYSTEMS[lattice[0]], np.linalg.inv(conventional).T.copy())
    metric = axes @ axes.T
    every = np.array([*metric.diagonal(), 2 * metric[0, 2], 2 * metric[1, 2], 2 * metric[0, 1]])
    parameters, free = np.zeros(6), FREE[_SYSTEMS[lattice[0]]]
    parameters[free] = every[free]
    return parameters


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
    axes = _sorted_axes(_SYSTEMS[lattice[0]], np.linalg.inv(conventional).T.copy())
    hkl = vectors @ np.linalg.inv(axes)
    if np.abs(hkl - np.rint(hkl)).max(initial=0.0) > 0.05:
        return None
    q = np.sqrt(((np.rint(hkl) @ axes) ** 2).sum(axis=1))
    two_theta = 2 * np.degrees(np.arcsin(np.minimum(_WAVELENGTH / 2 * q, 1.0)))
    seen = np.flatnonzero((two_theta > 5) & (two_theta < 90) & (amplitude > _VISIBLE))
    seen = seen[np.argsort(two_theta[seen], kind="stable")]
    seen = seen[np.diff(two_theta[seen], prepend=-1.0) > _RESOLVED_DEG]
    return np.rint(hkl[seen[: LOWEST[_SYSTEMS[lattice[0]]]]]).astype(np.int64)


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
    import spglib

    from simxrd_hf.crystals import crystal, read_crystals
    from simxrd_hf.data.splits import crystal_splits
    from simxrd_hf.matching import build_library
    from simxrd_hf.symmetry import BRAVAIS_LATTICES, BRAVAIS_OF

    table = read_crystals(crystals).table
    lattices = np.array(BRAVAIS_LATTICES)[BRAVAIS_OF[table["space_group"].to_numpy() - 1]]
    training = crystal_splits(table) == 0
    arrays = {}
    for lattice in CENTRINGS:
        if lattice[0] == "c":
            continue
        kind = _SYSTEMS[lattice[0]]
        rows = np.flatnonzero(training & (lattices == lattice))
        rows = np.random.default_rng(0).permutation(rows)[:_CRYSTALS]
        some = table.take(rows)
        where = {name: row for row, name in enumerate(some["crystal_id"].to_pylist())}
        library, _ = build_library(some)
        found = []
        for row, name in enumerate(library.crystal_id):
            one = crystal(some, where[name])
            data = spglib.get_symmetry_dataset((one.lattice, one.frac_coords, one.atomic_numbers), symprec=0.1)
            if data is None or data.number != library.space_group[row]:
                continue
            conventional = np.linalg.inv(data.transformation_matrix).T @ one.lattice
            n = library.counts[row]
            vectors = library.hkl[row, :n] @ np.linalg.inv(library.cells[row].astype(np.float64)).T
            hkl = lowest_indices(lattice, conventional, vectors, library.amplitude[row, :n])
            if hkl is not None:
                found.append(hkl)
        for centring in CENTRINGS[lattice]:
            of_setting = [hkl for hkl in found if all(kernels.centred(*map(int, one), centring) for one in hkl)]
            chosen = covering([_combinations(index_terms(kind, hkl)) for hkl in of_setting], _TIMES[lattice[0]])
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
