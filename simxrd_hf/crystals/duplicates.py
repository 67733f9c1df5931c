"""Which crystals of a table are the same crystal: the stated rule, and its use on large tables."""

from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from simxrd_hf.crystals.standard import group_sites, symmetry_dataset
from simxrd_hf.crystals.table import SYMPREC, metadata

TOLERANCE = 0.01
NEIGHBOURS = 24
RULE = (
    "same reduced formula, same space group, same number of atoms in the primitive cell, volume per atom within 1 %, "
    "and for every element the mean distances to the 1st … 24th nearest atom within 1 %; the first in the source stays"
)
"""Two crystals count as one when all of this holds."""


def neighbour_distances(
    lattice: np.ndarray, atomic_numbers: np.ndarray, frac_coords: np.ndarray, k: int = NEIGHBOURS
) -> np.ndarray:
    """Mean distance from the atoms of each element to their 1st … k-th nearest atoms.

    The "average minimum distances" of a crystal (Widdowson et al., MATCH 87 (2022) 529), one row an element: the same
    for every cell, origin and orientation of the crystal, and a small change of the atoms changes them little.

    Args:
        lattice: (3, 3), rows, Å.
        atomic_numbers: (n,).
        frac_coords: (n, 3).
        k: How many neighbours.

    Returns:
        (elements in order of atomic number, k), Å.
    """
    volume = abs(np.linalg.det(lattice))
    coords = frac_coords % 1.0
    n = len(coords)
    # Spacing of the lattice planes: images up to ceil(radius / spacing) cells away can lie within the radius.
    spacing = 1.0 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    radius = 1.3 * (3 * (k + 1) * volume / (4 * np.pi * n)) ** (1 / 3)
    while True:
        span = np.ceil(radius / spacing).astype(int)
        shifts = np.stack(np.meshgrid(*(np.arange(-s, s + 1) for s in span), indexing="ij"), axis=-1).reshape(-1, 3)
        images = (coords[None, :, :] + shifts[:, None, :]).reshape(-1, 3)
        # Only images within the radius of the cell, which bounds the work for long thin cells.
        margin = radius / spacing
        images = images[((images >= -margin) & (images <= 1 + margin)).all(axis=1)] @ lattice
        distances = np.empty((n, k))
        block = max(1, 4_000_000 // max(1, len(images)))
        enough = len(images) > k
        for start in range(0, n if enough else 0, block):
            centre = (coords[start : start + block] @ lattice)[:, None, :]
            squares = ((images[None, :, :] - centre) ** 2).sum(axis=2)
            nearest = np.sort(np.partition(squares, k, axis=1)[:, : k + 1], axis=1)
            distances[start : start + block] = np.sqrt(nearest[:, 1:])  # the first is the atom itself
        if enough and distances[:, -1].max() <= radius:
            break
        radius *= 1.4
    elements, which = np.unique(atomic_numbers, return_inverse=True)
    sums = np.zeros((len(elements), k))
    np.add.at(sums, which, distances)
    return sums / np.bincount(which)[:, None]


def atoms_in_primitive_cell(row: dict[str, Any], symprec: float) -> int:
    """Number of sites in the primitive cell of a row; of the given cell where spglib finds no symmetry."""
    occupancies = row["occupancies"]
    positions, kinds, _ = group_sites(
        np.asarray(row["atomic_numbers"]),
        np.asarray(row["frac_coords"], dtype=np.float64).reshape(-1, 3),
        None if occupancies is None else np.asarray(occupancies),
    )
    found = symmetry_dataset(np.asarray(row["lattice"]).reshape(3, 3), positions, kinds, symprec)
    return len(positions) if found is None else int(found.mapping_to_primitive.max()) + 1


def find_duplicates(table: pa.Table) -> dict[int, int]:
    """Rows that repeat an earlier one by `RULE`.

    Distances are computed only for crystals that agree in formula, group and volume, and compared only where a few of
    them agree: the time grows with the number of rows, also where all are alike in these.

    Args:
        table: Crystal table.

    Returns:
        Row -> the earlier row that stays.
    """
    rows = len(table)
    if rows < 2:
        return {}
    symprec = float(metadata(table).get("symprec", SYMPREC))
    cells = pc.list_flatten(table["lattice"]).to_numpy().reshape(-1, 3, 3)
    atoms = pc.list_value_length(table["atomic_numbers"]).to_numpy()
    volume = np.log(np.abs(np.linalg.det(cells)) / atoms)
    formula = table["reduced_formula"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    group = table["space_group"].to_numpy()
    order = np.lexsort((volume, group, formula))
    step = np.log1p(TOLERANCE)
    close = (np.diff(formula[order]) == 0) & (np.diff(group[order]) == 0) & (np.diff(volume[order]) <= step)
    # Runs of rows each within 1 % of the next in volume; pairs are compared only inside a run.
    run = np.concatenate([[0], np.cumsum(~close)])
    members: dict[int, list[int]] = {}
    sizes: dict[int, int] = {}

    def primitive_atoms(row: int) -> int:
        # Tells polytypes apart (4H and 6H of silicon carbide), whose near neighbours are alike.
        if row not in sizes:
            one = table.slice(row, 1).to_pylist()[0]
            sizes[row] = atoms_in_primitive_cell(one, symprec)
        return sizes[row]

    for position in np.flatnonzero(np.concatenate([[False], close]) | np.concatenate([close, [False]])):
        members.setdefault(int(run[position]), []).append(int(order[position]))
    numbers, coords = table["atomic_numbers"], table["frac_coords"]
    repeats: dict[int, int] = {}
    for candidates in members.values():
        kept = _Kept()
        for row in sorted(candidates):
            print_ = neighbour_distances(
                cells[row],
                numbers[row].values.to_numpy(zero_copy_only=False),
                coords[row].values.to_numpy(zero_copy_only=False).reshape(-1, 3),
            )
            for earlier, other in kept.near(print_):
                if (
                    abs(volume[row] - volume[earlier]) <= step
                    and (np.abs(print_ - other) <= TOLERANCE * np.maximum(np.maximum(print_, other), 1e-9)).all()
                    and primitive_atoms(row) == primitive_atoms(earlier)
                ):
                    repeats[row] = earlier
                    break
            else:
                kept.add(row, print_)
    return repeats


class _Kept:
    """Crystals of one run that are no repeats, found by their distances without a look at all of them.

    Distances within 1 % of one another differ by at most ln(1 / 0.99) in their logarithms. A few of them, coarsely
    rounded, make a key; two crystals that agree have keys that differ by at most one in each place.
    """

    _PLACES = 6

    def __init__(self) -> None:
        self._cells: dict[tuple[int, ...], list[tuple[int, NDArray[Any]]]] = {}

    def _scaled(self, distances: NDArray[Any]) -> NDArray[Any]:
        # those that differ most among the like: spread over elements and neighbours
        flat = distances.reshape(-1)
        chosen = flat[np.linspace(0, len(flat) - 1, self._PLACES).astype(int)]
        width = -4 * np.log(1 - TOLERANCE)  # four times the tolerance: most have no neighbouring cell to look into
        scaled: NDArray[Any] = np.log(np.maximum(chosen, 1e-9)) / width
        return scaled

    def near(self, distances: NDArray[Any]) -> list[tuple[int, NDArray[Any]]]:
        """Kept crystals whose chosen distances may agree, in the order they were kept."""
        scaled = self._scaled(distances)
        reach = 0.25 + 1e-9
        choices = [range(int(np.floor(s - reach)), int(np.floor(s + reach)) + 1) for s in scaled]
        found = [
            one for key in product(*choices) for one in self._cells.get(key, ()) if one[1].shape == distances.shape
        ]
        return sorted(found, key=lambda one: one[0])

    def add(self, row: int, distances: NDArray[Any]) -> None:
        """Keep a crystal."""
        key = tuple(int(s) for s in np.floor(self._scaled(distances)))
        self._cells.setdefault(key, []).append((row, distances))
