"""Structure types: a label that crystals of one prototype share whatever their elements, for splits by prototype."""

from collections.abc import Iterable, Iterator
from string import ascii_uppercase
from typing import Any

import numpy as np
import pyarrow as pa

from simxrd_hf.crystals.aflow import wyckoff_relabellings
from simxrd_hf.crystals.parallel import ordered_map
from simxrd_hf.crystals.standard import group_sites, symmetry_dataset
from simxrd_hf.crystals.table import SYMPREC, CrystalTable, metadata
from simxrd_hf.progress import bar
from simxrd_hf.symmetry import BRAVAIS_LATTICES, BRAVAIS_OF

UNKNOWN = "unknown"
"""Label of a crystal in which spglib finds no symmetry at the tolerance (never of two kinds)."""


def prototype_label(
    lattice: np.ndarray,
    atomic_numbers: np.ndarray,
    frac_coords: np.ndarray,
    occupancies: np.ndarray | None,
    symprec: float,
) -> str:
    """Structure-type label after the pattern of AFLOW's prototype labels, such as `AB_cF8_225_a_b` for rock salt.

    Anonymous formula, Pearson symbol, space group, then the Wyckoff letters each kind of atom occupies. Kinds (species
    with their occupancies) are ordered by count, then by letters, so that the label does not depend on the elements; of
    the equivalent choices of origin and axes the alphabetically first labelling is taken.

    Args:
        lattice: (3, 3), rows, Å.
        atomic_numbers: (n,).
        frac_coords: (n, 3).
        occupancies: (n,) or none.
        symprec: Tolerance of spglib, Å.
    """
    positions, kinds, _ = group_sites(atomic_numbers, frac_coords, occupancies)
    found = symmetry_dataset(lattice, positions, kinds, symprec)
    if found is None:
        return UNKNOWN
    number = int(found.number)
    # One entry for each orbit: its kind and letter; and the atoms of each kind in the primitive cell.
    orbits = {int(orbit): (int(kinds[i]), found.wyckoffs[i]) for i, orbit in enumerate(found.crystallographic_orbits)}
    primitive = {int(p): int(kinds[i]) for i, p in enumerate(found.mapping_to_primitive)}
    counts: dict[int, int] = {}
    for kind in primitive.values():
        counts[kind] = counts.get(kind, 0) + 1
    divisor = int(np.gcd.reduce(list(counts.values())))

    def letters(kind: int, exchange: dict[str, str]) -> str:
        tally: dict[str, int] = {}
        for owner, letter in orbits.values():
            if owner == kind:
                new = exchange.get(letter, letter)
                tally[new] = tally.get(new, 0) + 1
        return "".join(f"{tally[letter] if tally[letter] > 1 else ''}{letter}" for letter in sorted(tally))

    best = min(
        sorted((counts[kind] // divisor, letters(kind, exchange)) for kind in counts)
        for exchange in wyckoff_relabellings()[number]
    )
    formula = "".join(f"{_anonymous(i)}{amount if amount > 1 else ''}" for i, (amount, _) in enumerate(best))
    lattice_name = BRAVAIS_LATTICES[BRAVAIS_OF[number - 1]].replace("S", "C")
    # AFLOW counts the atoms of the primitive cell on rhombohedral lattices, of the conventional one elsewhere.
    in_cell = len(primitive) if lattice_name == "hR" else len(found.std_types)
    return "_".join([formula, f"{lattice_name}{in_cell}", str(number), *(letter for _, letter in best)])


def _anonymous(index: int) -> str:
    return (
        ascii_uppercase[index]
        if index < 26
        else f"{ascii_uppercase[index // 26 - 1]}{ascii_uppercase[index % 26]}".lower()
    )


def _labels_of(task: tuple[list[dict[str, Any]], float]) -> list[str]:
    rows, symprec = task
    return [
        prototype_label(
            np.asarray(row["lattice"], dtype=np.float64).reshape(3, 3),
            np.asarray(row["atomic_numbers"]),
            np.asarray(row["frac_coords"], dtype=np.float64).reshape(-1, 3),
            None if row["occupancies"] is None else np.asarray(row["occupancies"]),
            symprec,
        )
        for row in rows
    ]


def prototype_labels(table: pa.Table | CrystalTable, *, num_proc: int = 1, progress: bool = False) -> pa.Array:
    """Structure-type labels of all crystals (about 1 ms of one core a small cell).

    Labels already in the table's `prototype` column are kept.

    Args:
        table: Crystal table.
        num_proc: Processes.
        progress: Show a progress bar.

    Returns:
        string array, one label a row, see `prototype_label`.
    """
    if isinstance(table, CrystalTable):
        table = table.table
    labels: list[str | None] = table["prototype"].to_pylist()
    missing = [index for index, label in enumerate(labels) if label is None]
    symprec = float(metadata(table).get("symprec", SYMPREC))
    columns = ["lattice", "atomic_numbers", "frac_coords", "occupancies"]
    todo = table.select(columns).take(pa.array(missing, type=pa.int64()))

    def tasks() -> Iterator[tuple[list[dict[str, Any]], float]]:
        for batch in todo.to_batches(max_chunksize=256):
            yield batch.to_pylist(), symprec

    done: Iterable[list[str]] = ordered_map(_labels_of, tasks(), num_proc)
    shown = bar(done, show=progress, total=-(-len(missing) // 256), unit="block", desc="structure types")
    found = (label for block in shown for label in block)
    for index, label in zip(missing, found, strict=True):
        labels[index] = label
    return pa.array(labels, type=pa.string())
