"""Index terms of the reflections each extinction symbol allows, as packaged in `conditions.npz`.

1/d² = A t₀ + B t₁ + C t₂ + D t₃ + … with the terms (h² + k² + l², 0, 0, 0) for cubic, (h² + k², 0, l², 0) for
tetragonal, (h² + hk + k², 0, l², 0) for hexagonal axes, (h², k², l², 0) for orthorhombic and (h², k², l², hl) for
monoclinic lattices; triclinic ones, which allow all, have (h², k², l², hl, kl, hk) and are not in the file.
`python -m simxrd_hf.indexing.tables` writes the file anew from the symmetry operations.
"""

import itertools
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.indexing.allowed import is_allowed
from simxrd_hf.indexing.search_kernels import (
    CUBIC,
    HEXAGONAL,
    MONOCLINIC,
    ORTHORHOMBIC,
    TETRAGONAL,
    TRICLINIC,
    A,
    B,
    C,
    F,
    I,
    P,
    R,
)
from simxrd_hf.symmetry import BRAVAIS_LATTICES, BRAVAIS_OF, CRYSTAL_SYSTEM_OF, CRYSTAL_SYSTEMS, EXTINCTION_OF

FILE = Path(__file__).parent / "conditions.npz"

KINDS = {
    "cubic": CUBIC,
    "tetragonal": TETRAGONAL,
    "trigonal": HEXAGONAL,
    "hexagonal": HEXAGONAL,
    "orthorhombic": ORTHORHOMBIC,
    "monoclinic": MONOCLINIC,
    "triclinic": TRICLINIC,
}
"""Crystal systems whose cells are searched for → form of their metric."""

FREE = {
    CUBIC: np.array([0]),
    TETRAGONAL: np.array([0, 2]),
    HEXAGONAL: np.array([0, 2]),
    ORTHORHOMBIC: np.array([0, 1, 2]),
    MONOCLINIC: np.array([0, 1, 2, 3]),
    TRICLINIC: np.array([0, 1, 2, 3, 4, 5]),
}
"""Free parameters of each form."""

CENTRINGS = {
    **dict.fromkeys(("aP", "mP", "oP", "tP", "hP", "cP"), (P,)),
    **dict.fromkeys(("cI", "tI", "oI"), (I,)),
    **dict.fromkeys(("cF", "oF"), (F,)),
    "hR": (R,),
    "oS": (A, B, C),
    "mS": (A, C, I),
}
"""Bravais lattice → its centring in the settings that cells are guessed in."""

# Bases of the plane normal to the unique axis b that differ modulo 2, which is all that centrings and glides see.
_PLANES = [((1, 0), (0, 1)), ((0, 1), (1, 0)), ((1, 1), (0, 1)), ((1, 0), (1, 1)), ((1, 1), (1, 0)), ((0, 1), (1, 1))]


class AxisSetting(NamedTuple):
    """One setting of the axes.

    Attributes:
        terms: (n, 4), or (n, 6) of triclinic cells: index terms of the reflections allowed in it.
        order: (4,), or (6,) of triclinic cells: order of the cell's parameters to take with them.
        plane: (2, 2) how h and l of the standard setting follow from those of this one; of monoclinic symbols.
        centring: Of the cell before its parameters are taken in that order; see `search_kernels`.
    """

    terms: NDArray[np.float64]
    order: NDArray[np.int64]
    plane: NDArray[np.int64]
    centring: int


@dataclass(frozen=True, eq=False)
class ReflectionConditions:
    """What one extinction symbol allows.

    Attributes:
        symbol: Index of the extinction symbol.
        system: Crystal system.
        lattice: Bravais lattice.
        kind: Form of the metric.
        settings: The settings of the axes that differ for this symbol.
    """

    symbol: int
    system: str
    lattice: str
    kind: int
    settings: tuple[AxisSetting, ...]


@cache
def reflection_conditions() -> tuple[ReflectionConditions, ...]:
    """All extinction symbols."""
    with np.load(FILE) as file:
        symbols, ends, terms = file["symbols"].tolist(), file["ends"], file["terms"].astype(np.float64)
        order_ends, orders = file["order_ends"], file["orders"].astype(np.int64)
        planes = file["planes"].astype(np.int64)
    first = [int(np.flatnonzero(symbol == EXTINCTION_OF)[0]) for symbol in range(int(EXTINCTION_OF.max()) + 1)]
    lattice = [BRAVAIS_LATTICES[BRAVAIS_OF[group]] for group in first]
    settings: dict[int, list[AxisSetting]] = {}
    for place, symbol in enumerate(symbols):
        block = np.ascontiguousarray(terms[ends[place] : ends[place + 1]])
        for order in orders[order_ends[place] : order_ends[place + 1]]:
            centring = _centring(lattice[symbol], block, order)
            settings.setdefault(symbol, []).append(AxisSetting(block, order, planes[place], centring))
    settings[int(EXTINCTION_OF[0])] = [AxisSetting(_triclinic(), np.arange(6), np.eye(2, dtype=np.int64), P)]
    found = []
    for symbol, some in settings.items():
        system = CRYSTAL_SYSTEMS[CRYSTAL_SYSTEM_OF[first[symbol]]]
        found.append(ReflectionConditions(symbol, system, lattice[symbol], KINDS[system], tuple(some)))
    return tuple(found)


def _centring(lattice: str, terms: NDArray[np.float64], order: NDArray[np.int64]) -> int:
    """Centring of the cell whose parameters, taken in `order`, go with the terms."""
    if len(CENTRINGS[lattice]) == 1:
        return CENTRINGS[lattice][0]
    odd = np.empty((len(terms), 3), dtype=bool)
    odd[:, order[:3]] = terms[:, :3] % 2 == 1  # squares are odd where indices are
    h, k, l = odd.T  # noqa: E741
    absent = {A: k ^ l, B: h ^ l, C: h ^ k, I: h ^ k ^ l}
    return next(centring for centring in CENTRINGS[lattice] if not absent[centring].any())


def index_terms(system: str, number: int, plane: tuple[tuple[int, int], ...] = _PLANES[0]) -> NDArray[np.int64]:
    """Distinct index terms of the reflections a space group allows, (n, 4), low ones first.

    Args:
        system: Its crystal system.
        number: Space-group number.
        plane: For monoclinic groups, how (h, l) of the standard setting follow from those of another.
    """
    if system == "monoclinic":
        sides = [np.arange(-9, 10), np.arange(10), np.arange(-14, 15)]
    elif system == "orthorhombic":
        sides = [np.arange(13)] * 3
    elif system == "cubic":
        sides = [np.arange(15)] * 3
    else:
        sides = [np.arange(-8, 9), np.arange(-8, 9), np.arange(19)]
    hkl = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 3)
    hkl = hkl[hkl.any(axis=1)]
    (a, b), (c, d) = plane
    h, k, l = hkl.T  # noqa: E741
    hkl = hkl[is_allowed(np.stack([a * h + b * l, k, c * h + d * l], axis=1), number)]
    h, k, l = hkl.T  # noqa: E741
    none = np.zeros_like(h)
    if system == "monoclinic":
        terms = np.stack([h**2, k**2, l**2, h * l], axis=1)
        terms = terms[terms[:, :3].sum(axis=1) <= 150]
    elif system == "orthorhombic":
        terms = np.stack([h**2, k**2, l**2, none], axis=1)
        terms = terms[terms.sum(axis=1) <= 150]
    elif system == "cubic":
        terms = np.stack([h**2 + k**2 + l**2, none, none, none], axis=1)
        terms = terms[terms[:, 0] <= 196]
    else:
        mixed = h * k if system in ("trigonal", "hexagonal") else 0
        terms = np.stack([h**2 + k**2 + mixed, none, l**2, none], axis=1)
        terms = terms[terms[:, 0] <= 64]
    terms = np.unique(terms, axis=0)
    return terms[np.argsort(terms[:, :3].sum(axis=1), kind="stable")]


def _triclinic() -> NDArray[np.float64]:
    """Index terms of a reduced triclinic cell, one of each pair of opposite reflections, low ones first."""
    h, k, l = (side.ravel() for side in np.meshgrid(np.arange(8), np.arange(-9, 10), np.arange(-14, 15), indexing="ij"))  # noqa: E741
    half = (h > 0) | (k > 0) | ((k == 0) & (l > 0))
    terms = np.stack([h * h, k * k, l * l, h * l, k * l, h * k], axis=1)[half]
    terms = terms[terms[:, :3].sum(axis=1) <= 150]
    result: NDArray[np.float64] = terms[np.argsort(terms[:, :3].sum(axis=1), kind="stable")].astype(np.float64)
    return result


def _orders(terms: NDArray[np.int64], system: str) -> list[tuple[int, ...]]:
    """Orders of the axes that change the terms."""
    if system != "orthorhombic":
        return [(0, 1, 2, 3)]
    found: dict[bytes, tuple[int, ...]] = {}
    for order in itertools.permutations(range(3)):
        changed = np.zeros_like(terms)
        changed[:, order] = terms[:, :3]
        found.setdefault(np.unique(changed, axis=0).tobytes(), (*order, 3))
    return list(found.values())


def build() -> dict[str, NDArray[np.generic]]:
    """The arrays of `conditions.npz`."""
    symbols, terms, orders, planes = [], [], [], []
    for symbol in range(int(EXTINCTION_OF.max()) + 1):
        number = int(np.flatnonzero(symbol == EXTINCTION_OF)[0]) + 1
        system = CRYSTAL_SYSTEMS[CRYSTAL_SYSTEM_OF[number - 1]]
        if system == "triclinic":
            continue
        different: dict[bytes, tuple[Any, NDArray[np.int64]]] = {}
        for plane in _PLANES if system == "monoclinic" else _PLANES[:1]:
            some = index_terms(system, number, plane)
            different.setdefault(some.tobytes(), (plane, some))
        for plane, some in different.values():
            symbols.append(symbol)
            planes.append(plane)
            terms.append(some)
            orders.append(_orders(some, system))
    return {
        "symbols": np.array(symbols, dtype=np.int16),
        "ends": np.cumsum([0, *map(len, terms)]).astype(np.int32),
        "terms": np.concatenate(terms).astype(np.int16),
        "order_ends": np.cumsum([0, *map(len, orders)]).astype(np.int32),
        "orders": np.concatenate([np.array(some) for some in orders]).astype(np.int8),
        "planes": np.array(planes, dtype=np.int8),
    }


if __name__ == "__main__":
    arrays: dict[str, Any] = dict(build())
    np.savez_compressed(FILE, **arrays)
