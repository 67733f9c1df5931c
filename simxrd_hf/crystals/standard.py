"""One structure as a source gives it -> one row of the crystal table: sites, space group, standard primitive cell."""

import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from simxrd_hf.crystals.table import SYMPREC, Rejected
from simxrd_hf.diffraction.crystal import Crystal, CrystalError

SITE_TOLERANCE = 1e-4
"""Fractional; entries closer than this in every coordinate lie on one site."""

# (a_p b_p c_p) = (a b c) P for the primitive cells that spglib chooses (its documentation, "Transformation to the
# primitive cell"), by the letter of the centring.
_PRIMITIVE = {
    "P": np.eye(3),
    "A": np.array([[1, 0, 0], [0, 0.5, -0.5], [0, 0.5, 0.5]]),
    "C": np.array([[0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]]),
    "R": np.array([[2, -1, -1], [1, 1, -2], [1, 1, 1]]) / 3,
    "I": np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / 2,
    "F": np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2,
}


@dataclass(frozen=True)
class RawCrystal:
    """A structure as it was read.

    Args:
        source: File or provider.
        crystal_id: Name.
        lattice: (3, 3), rows, Å.
        atomic_numbers: (n,), one entry for each species on each site.
        frac_coords: (n, 3).
        occupancies: (n,), or none when all are 1.
        b_iso: (n,), Å², NaN where unknown, or none.
        extra: Columns to hand on to the row as they are.
    """

    source: str
    crystal_id: str
    lattice: np.ndarray
    atomic_numbers: Sequence[int] | np.ndarray
    frac_coords: np.ndarray
    occupancies: np.ndarray | None = None
    b_iso: np.ndarray | None = None
    extra: dict[str, Any] = field(default_factory=dict)


def element_symbols() -> tuple[str, ...]:
    """Symbols by atomic number; index 0 is none."""
    from ase.data import chemical_symbols

    return tuple(chemical_symbols)


def formulas(atomic_numbers: Sequence[int] | np.ndarray, occupancies: np.ndarray | None) -> tuple[str, str]:
    """The two formulas of a row.

    Amounts are rounded to a thousandth and divided by their common factor; Fe0.5Ni0.5 becomes FeNi.

    Returns:
        The reduced formula in the order of electronegativity, and in alphabetical order.
    """
    from pymatgen.core import Element

    numbers = np.asarray(atomic_numbers, dtype=np.int64)
    weights = np.bincount(numbers, weights=occupancies)
    amounts = {int(z): round(float(weights[z]) * 1000) for z in np.flatnonzero(weights)}
    factor = math.gcd(*amounts.values()) or 1
    symbols = element_symbols()
    counts = {symbols[z]: amount // factor for z, amount in amounts.items() if amount}

    def write(order: list[str]) -> str:
        return "".join(f"{symbol}{counts[symbol] if counts[symbol] != 1 else ''}" for symbol in order)

    def electronegativity(symbol: str) -> tuple[float, str]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pymatgen remarks on each noble gas that it has none
            value = Element(symbol).X
        return (value if math.isfinite(value) else 10.0, symbol)  # noble gases have none and come last

    return write(sorted(counts, key=electronegativity)), write(sorted(counts))


@lru_cache(maxsize=100_000)
def reduced_formula(formula: str) -> str | None:
    """Reduced formula as crystal tables write it; None for solid solutions and names ("(Ca,Na)Al…", "tourmaline")."""
    from pymatgen.core import Composition

    total: dict[int, float] = {}
    try:
        for part in re.split(
            r"(?<!\D0)[.·*](?=\d*[A-Z(])", formula.replace("_", "").strip()
        ):  # water of a hydrate; not Na0.5Cl
            times, rest = re.fullmatch(r"(\d*)(.*)", part).groups()  # type: ignore[union-attr]
            for element, amount in Composition(rest).element_composition.items():
                total[element.Z] = total.get(element.Z, 0.0) + float(times or 1) * amount
        return formulas(np.array(list(total)), np.array(list(total.values())))[1] or None
    except Exception:  # pymatgen raises many kinds
        return None


def group_sites(
    atomic_numbers: np.ndarray, frac_coords: np.ndarray, occupancies: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, list[list[int]]]:
    """Join entries on one position and give each kind of occupation a number, as spglib wants it.

    Returns:
        Positions (m, 3); kinds (m,), equal for equal species and occupancies; the entries of each site.
    """
    n = len(atomic_numbers)
    if occupancies is None:
        return frac_coords, np.asarray(atomic_numbers, dtype=np.intc), [[i] for i in range(n)]
    sites: list[list[int]] = []
    taken = np.zeros(n, dtype=bool)
    for i in range(n):
        if taken[i]:
            continue
        difference = frac_coords - frac_coords[i]
        difference -= np.round(difference)
        here = np.flatnonzero((np.abs(difference) < SITE_TOLERANCE).all(axis=1) & ~taken)
        taken[here] = True
        sites.append(here.tolist())
    kinds: dict[tuple[Any, ...], int] = {}
    labels = []
    for site in sites:
        occupation = tuple(sorted((int(atomic_numbers[i]), round(float(occupancies[i]), 4)) for i in site))
        labels.append(kinds.setdefault(occupation, len(kinds) + 1))
    return frac_coords[[site[0] for site in sites]], np.array(labels, dtype=np.intc), sites


def symmetry_dataset(lattice: np.ndarray, positions: np.ndarray, kinds: np.ndarray, symprec: float) -> Any:
    """What spglib finds in a structure, or None where it finds nothing."""
    import spglib

    try:
        return spglib.get_symmetry_dataset((lattice, positions, kinds), symprec=symprec)
    except Exception as error:  # spglib's own class appeared in 2.7; before, failures gave None
        if type(error).__module__.partition(".")[0] != "spglib":
            raise
        return None


def conventional_cell(crystal: Crystal, symprec: float = SYMPREC) -> np.ndarray:
    """The conventional cell of a crystal, which published hkl refer to; crystal tables hold primitive ones.

    Args:
        crystal: The crystal, any cell.
        symprec: Tolerance of spglib, Å.

    Returns:
        Cell vectors as rows, Å, float64 (3, 3), in the frame of the crystal's own, in the standard setting of spglib;
        the crystal's own cell where spglib finds no symmetry.
    """
    positions, kinds, _ = group_sites(crystal.atomic_numbers, crystal.frac_coords, crystal.occupancies)
    found = symmetry_dataset(crystal.lattice, positions, kinds, symprec)
    if found is None:
        return crystal.lattice
    cell: np.ndarray = np.linalg.inv(found.transformation_matrix).T @ crystal.lattice
    return cell


def _right_handed(lattice: np.ndarray, frac_coords: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same crystal on right-handed axes: all three are turned round, and the coordinates with them."""
    if np.linalg.det(lattice) < 0:
        return -lattice, -frac_coords
    return lattice, frac_coords


def standardise(raw: RawCrystal, symprec: float) -> dict[str, Any] | Rejected:
    """Find the space group and take the standard primitive cell.

    Args:
        raw: The structure as read.
        symprec: Tolerance of spglib, Å.

    Returns:
        A row of the crystal table, or why there is none.
    """

    def rejected(reason: str) -> Rejected:
        return Rejected(raw.source, raw.crystal_id, reason)

    lattice = np.asarray(raw.lattice, dtype=np.float64)
    coords = np.asarray(raw.frac_coords, dtype=np.float64)
    if lattice.shape == (3, 3) and coords.ndim == 2 and np.isfinite(lattice).all():
        lattice, coords = _right_handed(lattice, coords)
    occupancies = None if raw.occupancies is None else np.asarray(raw.occupancies, dtype=np.float64)
    if occupancies is not None and (occupancies == 1.0).all():
        occupancies = None
    b_iso = None if raw.b_iso is None or np.isnan(raw.b_iso).all() else np.asarray(raw.b_iso, dtype=np.float64)
    try:
        checked = Crystal(raw.crystal_id, lattice, np.asarray(raw.atomic_numbers), coords, occupancies, b_iso)
    except CrystalError as error:
        return rejected(f"not a usable structure: {error}")
    numbers, coords, occupancies, b_iso = (
        checked.atomic_numbers,
        checked.frac_coords,
        checked.occupancies,
        checked.b_iso,
    )
    positions, kinds, sites = group_sites(numbers, coords, occupancies)
    found = symmetry_dataset(checked.lattice, positions, kinds, symprec)
    if found is None:
        return rejected(f"no space group found: spglib at symprec {symprec:g} Å (atoms too close, or a strained cell)")
    # Atoms of the primitive cell: spglib numbers them alike for the atoms it was given and for its standard cell.
    given_of = {int(primitive): i for i, primitive in reversed(list(enumerate(found.mapping_to_primitive)))}
    standard_of = {int(primitive): j for j, primitive in reversed(list(enumerate(found.std_mapping_to_primitive)))}
    centring = _PRIMITIVE[found.international[0]]
    entries = [(standard_of[p], i) for p in sorted(given_of) for i in sites[given_of[p]]]
    order = [i for _, i in entries]
    primitive_coords = np.asarray(found.std_positions)[[j for j, _ in entries]] @ np.linalg.inv(centring).T
    formula, reduced = formulas(numbers[order], None if occupancies is None else occupancies[order])
    return {
        "crystal_id": raw.crystal_id,
        "formula": formula,
        "reduced_formula": reduced,
        "lattice": (centring.T @ found.std_lattice).reshape(-1),
        "atomic_numbers": numbers[order],
        "frac_coords": (primitive_coords % 1.0 % 1.0).reshape(-1),
        "occupancies": None if occupancies is None else occupancies[order],
        "b_iso": None if b_iso is None else b_iso[order],
        "space_group": int(found.number),
        "source": raw.source,
        **raw.extra,
    }
