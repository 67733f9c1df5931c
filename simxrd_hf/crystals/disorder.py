"""The disordered crystal an ordered model stands for: elements that replace each other share sites, H is left out.

Databases of calculated crystals hold ordered models of what is disordered in nature: a feldspar whose Al and Si are put
on sites of their own is C2 or P1 there, where diffraction sees C2/m. The model keeps nearly all the symmetry in its
positions; what it lacks comes back when elements that replace each other in crystals are taken for one.
"""

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from simxrd_hf.crystals.parallel import ordered_map
from simxrd_hf.crystals.standard import RawCrystal, element_symbols, group_sites, standardise
from simxrd_hf.crystals.symmetry_kernels import mean_sites, most_operations
from simxrd_hf.crystals.table import SYMPREC, CrystalTable, Rejected, table_from_rows, with_metadata
from simxrd_hf.progress import bar
from simxrd_hf.symmetry import POINT_GROUP_ORDER

SUFFIX = "~disordered"
"""Behind the name of the ordered model."""
TOLERANCES = (0.3, 0.5, 0.8)
"""Å; tried one after the other: at large ones spglib misses some symmetry of small cells."""
LARGEST_SHIFT, MEAN_SHIFT = 0.6, 0.3
"""Å; how far an atom of an ordered model may be off its site in the disordered crystal, and all by root mean square."""

_FAMILIES = (
    "Na K Rb Cs Ca Sr Ba Pb Tl Ag Cd Hg Bi Th U Y La Ce Pr Nd Sm Eu Gd Tb Dy Ho Er Tm Yb Lu",
    "Li Na Mg Ca Mn Fe Co Ni Cu Zn Cd Sc Y Zr",
    "Mg Al Sc Ti V Cr Mn Fe Co Ni Cu Zn Y Zr Nb Mo Tc Ru Rh Pd Ag Hf Ta W Re Os Ir Pt Au Hg Cd",
    "Al Ga In Si Ge Sn",
    "Be B Al Si Ga Ge",
    "Si P V As",
    "O F N",
    "F Cl Br I",
    "S Se Te",
    "P As Sb Bi",
    "Sb Te",
)
_IN_SALTS = (
    "Li Na Mg Ca Cd Al Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge Y Zr Nb Mo Ru Rh In Sn Sb Te Hf Ta W Re Os Ir Pt Bi",
    "Li Be Mg Al Si V Mn Fe Co Zn Ga Ge",
)
"""Elements that share a site often: large cations; middling ones and metals; semimetals; small cations; anions. Those
of `_IN_SALTS` do so where there are O, F or Cl to keep them apart. Drawn up by hand along the ionic radii of Shannon,
Acta Cryst. A 32, 751 (1976)."""
_ANIONS = (8, 9, 17)


def _may_mix(families: tuple[str, ...]) -> np.ndarray:
    symbols = element_symbols()
    allowed = np.zeros((len(symbols), len(symbols)), dtype=bool)
    for family in families:
        inside = np.isin(symbols, family.split())
        allowed |= inside[:, None] & inside[None, :]
    return allowed


_METALS_MIX = _may_mix(_FAMILIES)
_SALTS_MIX = _may_mix(_FAMILIES + _IN_SALTS)
_HYDROGEN = 1
_BLOCK = 256
_FEW = 12  # atoms; of so small cells nearly all lie on special positions


@contextlib.contextmanager
def _quiet_spglib() -> Iterator[None]:
    """It would write to stderr about every large tolerance that does not work out."""
    name = "SPGLIB_WARNING"
    before = os.environ.get(name)
    os.environ[name] = "OFF"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


class _Sites:
    """Sites of one crystal, whose symmetry is asked for again and again.

    Args:
        lattice: Cell vectors as rows, Å (3, 3).
        positions: Fractional coordinates (n, 3).
    """

    def __init__(self, lattice: np.ndarray, positions: np.ndarray) -> None:
        self.lattice, self.positions = lattice, positions
        self._known: dict[tuple[bytes, float], Any] = {}

    def operations(self, kinds: np.ndarray, tolerance: float) -> Any:
        """Rotations and translations that carry every site to one of its kind, or None; found once."""
        _, first, which = np.unique(kinds, return_index=True, return_inverse=True)
        # what the kinds are called does not matter: two elements joined are often all that there are
        named = np.argsort(np.argsort(first))[which].astype(np.intc)
        key = named.tobytes(), tolerance
        if key not in self._known:
            self._known[key] = _operations(self.lattice, self.positions, named + 1, tolerance)
        return self._known[key]

    def count(self, kinds: np.ndarray, tolerance: float) -> int:
        """How many operations there are."""
        found = self.operations(kinds, tolerance)
        return 0 if found is None else len(found[0])

    def at_most(self, kinds: np.ndarray, tolerance: float) -> int:
        """An upper bound of `count`, in a hundredth of its time."""
        result: int = most_operations(self.lattice, self.positions, kinds, tolerance)
        return result


def _operations(lattice: np.ndarray, positions: np.ndarray, kinds: np.ndarray, tolerance: float) -> Any:
    """Rotations and translations, or None."""
    import spglib

    try:
        with _quiet_spglib():
            found = spglib.get_symmetry((lattice, positions, kinds), symprec=tolerance)
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "spglib":
            raise
        return None
    return None if found is None else (found["rotations"], found["translations"])


def _kinds(sites: _Sites, numbers: np.ndarray, most: int, tolerance: float) -> tuple[np.ndarray, int]:
    """Elements as kinds, those joined that together give more than `most` operations, and how many they give."""
    kinds = numbers.astype(np.intc)
    may_mix = _SALTS_MIX if np.isin(_ANIONS, numbers).any() else _METALS_MIX
    # joining more kinds loses no symmetry: what all together do not bring, none brings
    joined = {int(z): int(z) for z in np.unique(kinds)}
    for a, b in itertools.combinations(sorted(joined), 2):
        if may_mix[a, b]:
            old, new = joined[b], joined[a]
            joined = {z: new if k == old else k for z, k in joined.items()}
    together = np.array([joined[int(z)] for z in kinds], np.intc)
    if sites.at_most(together, tolerance) <= most:
        return kinds, 0
    limit = sites.count(together, tolerance)
    if limit <= most:
        return kinds, 0
    if sites.at_most(kinds, tolerance) > most:
        most = max(most, sites.count(kinds, tolerance))
    members = {z: {z} for z in joined}
    while most < limit:
        best = None
        for a, b in itertools.combinations(sorted(members), 2):
            if all(may_mix[x, y] for x in members[a] for y in members[b]):
                joined_two = np.where(kinds == b, a, kinds).astype(np.intc)
                if sites.at_most(joined_two, tolerance) <= most:
                    continue
                count = sites.count(joined_two, tolerance)
                if count > most:
                    most, best = count, (a, b)
                if count == limit:
                    break
        if best is None:
            break
        a, b = best
        kinds = np.where(kinds == b, a, kinds).astype(np.intc)
        members[a] |= members.pop(b)
    return kinds, most


def disordered(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The disordered crystal of an ordered model.

    Elements of one family (`_FAMILIES`) that together make the structure more symmetric are taken to share their
    sites, pair by pair, the greatest gain first; hydrogen, which scatters X-rays least, is left out. Positions and the
    cell are averaged over the symmetry, each site gets the mean composition of its orbit. Of what the `TOLERANCES`
    give, the most symmetric is taken whose atoms are near enough (`LARGEST_SHIFT`, `MEAN_SHIFT`).

    Args:
        row: Of a crystal table, without partly occupied sites.

    Returns:
        A row of the crystal table whose name ends in `SUFFIX` and whose formulas are those of the model; or None, where
        this gives no other space group.
    """
    if row.get("occupancies") is not None:
        return None
    numbers = np.asarray(row["atomic_numbers"], dtype=np.int64)
    heavy = numbers != _HYDROGEN
    if not heavy.any():
        return None
    lattice = np.asarray(row["lattice"], dtype=np.float64).reshape(3, 3)
    positions = np.asarray(row["frac_coords"], dtype=np.float64).reshape(-1, 3)[heavy]
    numbers = numbers[heavy]
    # the cell is primitive: it has as many operations as the point group
    most, best = int(POINT_GROUP_ORDER[row["space_group"] - 1]), None
    sites = _Sites(lattice, positions)
    for tolerance in _tolerances(len(numbers)):
        kinds, count = _kinds(sites, numbers, most, tolerance)
        if count <= most or ((kinds == numbers).all() and heavy.all()):
            continue
        found = sites.operations(kinds, tolerance)
        shares = (numbers[:, None] == np.arange(numbers.max() + 1)).astype(float)
        averaged = _averaged(lattice, positions, shares, kinds, *found)
        if averaged is not None:
            most, best = count, averaged
    if best is None:
        return None
    made = _row(row, best)
    while made is not None and (more := _more_symmetric(made)) is not None:
        made = _row(row, more)
    if made is None or made["space_group"] == row["space_group"]:
        return None
    return made | {"formula": row["formula"], "reduced_formula": row["reduced_formula"]}


def _tolerances(sites: int) -> tuple[float, ...]:
    return TOLERANCES[: 1 if sites <= _FEW else None]


def _row(model: Mapping[str, Any], sites: tuple[np.ndarray, np.ndarray, np.ndarray]) -> dict[str, Any] | None:
    """Row of the table from cell, positions and shares of the elements."""
    cell, places, shares = sites
    site, numbers = np.nonzero(shares > 1e-6)
    amounts = shares[site, numbers]
    raw = RawCrystal(
        str(model.get("source")),
        str(model["crystal_id"]) + SUFFIX,
        cell,
        numbers.astype(np.uint8),
        places[site],
        np.where(amounts > 1 - 1e-6, 1.0, amounts),
    )
    made = standardise(raw, SYMPREC)
    return None if isinstance(made, Rejected) else made


def _more_symmetric(row: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Sites averaged once more: a smaller primitive cell can have symmetry that the cell of the model hid."""
    numbers = np.asarray(row["atomic_numbers"], dtype=np.int64)
    amounts = np.ones(len(numbers)) if row["occupancies"] is None else np.asarray(row["occupancies"])
    lattice = np.asarray(row["lattice"], dtype=np.float64).reshape(3, 3)
    places = np.asarray(row["frac_coords"], dtype=np.float64).reshape(-1, 3)
    positions, kinds, sites = group_sites(numbers, places, None if row["occupancies"] is None else amounts)
    shares = np.zeros((len(sites), numbers.max() + 1))
    for index, entries in enumerate(sites):
        shares[index, numbers[entries]] = amounts[entries]
    for tolerance in _tolerances(len(sites)):
        if most_operations(lattice, positions, kinds, tolerance) <= POINT_GROUP_ORDER[row["space_group"] - 1]:
            continue
        found = _operations(lattice, positions, kinds, tolerance)
        if found is not None and len(found[0]) > POINT_GROUP_ORDER[row["space_group"] - 1]:
            return _averaged(lattice, positions, shares, kinds, *found)
    return None


def disordered_crystals(
    table: pa.Table | CrystalTable, *, max_atoms: int = 200, num_proc: int = 1, progress: bool = False
) -> pa.Table:
    """The disordered crystals of all ordered models in a table (tens of milliseconds of one core a crystal).

    Args:
        table: Crystal table.
        max_atoms: Larger cells are passed over.
        num_proc: Processes.
        progress: Show a progress bar.

    Returns:
        A crystal table; most crystals have none. See `disordered`.
    """
    if isinstance(table, CrystalTable):
        table = table.table
    blocks = -(-len(table) // _BLOCK)

    def tasks() -> Iterator[tuple[list[dict[str, Any]], int]]:
        for block in range(blocks):
            yield table.slice(block * _BLOCK, _BLOCK).to_pylist(), max_atoms

    done: Iterable[list[dict[str, Any]]] = ordered_map(_disordered_of, tasks(), num_proc)
    shown = bar(done, show=progress, total=blocks, unit="block", desc="disordered crystals")
    found = table_from_rows([row for block in shown for row in block])
    return with_metadata(found, SYMPREC, deduplicated=False)


def _disordered_of(task: tuple[list[dict[str, Any]], int]) -> list[dict[str, Any]]:
    rows, max_atoms = task
    found = [disordered(row) for row in rows if len(row["atomic_numbers"]) <= max_atoms]
    return [row for row in found if row is not None]


def _averaged(
    lattice: np.ndarray,
    positions: np.ndarray,
    shares: np.ndarray,
    kinds: np.ndarray,
    rotations: np.ndarray,
    translations: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Cell, positions and shares of the elements (sites, 119) with exactly the symmetry of the operations, or None."""
    metric = lattice @ lattice.T
    metric = np.mean([r.T @ metric @ r for r in rotations], axis=0)
    offset, mean, one_to_one = mean_sites(positions, kinds, shares, metric, rotations, translations)
    if not one_to_one:
        return None
    shift = np.sqrt(np.einsum("ik,kl,il->i", offset, metric, offset))
    if shift.max() > LARGEST_SHIFT or np.sqrt(np.mean(shift**2)) > MEAN_SHIFT:
        return None
    return np.linalg.cholesky(metric), positions + offset, mean
