"""Tables of the 230 space groups: names, coarser classes of symmetry, mirror images, distance between groups.

A space group is named by its number 1 … 230 (International Tables for Crystallography, Vol. A, "ITA"); its index is
number - 1. The table `space_groups.csv` is derived from spglib and pymatgen by `tools.space_groups`, which also
states the rules; nothing here needs those libraries.

Extinction symbols: two groups share one when they have the same crystal system, the same Bravais lattice and the same
systematically absent reflections after the best choice of axes. That gives 101. (Powder lines alone cannot tell
trigonal from hexagonal groups on the primitive lattice; counted by lattice and absence without the crystal system there
would be 97. Counted with the Laue class there are 120, or the 122 of ITA where -31m and -3m1 stand apart.)

All index arrays have shape (230,) and type int16, read-only: entry i belongs to group number i + 1.
"""

import csv
from functools import cache
from importlib.resources import files

import numpy as np

__all__ = [
    "BRAVAIS_LATTICES",
    "BRAVAIS_OF",
    "CRYSTAL_SYSTEMS",
    "CRYSTAL_SYSTEM_OF",
    "ENANTIOMORPH_OF",
    "EXTINCTION_OF",
    "EXTINCTION_SYMBOLS",
    "LAUE_CLASSES",
    "LAUE_OF",
    "MAXIMAL_SUBGROUPS",
    "POINT_GROUPS",
    "POINT_GROUP_OF",
    "SPACE_GROUPS",
    "crystal_system",
    "subgroup_distance",
]

CRYSTAL_SYSTEMS = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")
"""The seven crystal systems in ITA's order."""

BRAVAIS_LATTICES = ("aP", "mP", "mS", "oP", "oS", "oI", "oF", "tP", "tI", "hP", "hR", "cP", "cI", "cF")
"""The 14 Bravais lattices; S stands for a lattice centred on one face (A or C)."""

LAUE_CLASSES = ("-1", "2/m", "mmm", "4/m", "4/mmm", "-3", "-3m", "6/m", "6/mmm", "m-3", "m-3m")
"""The eleven Laue classes."""

_TEXT = (files(__name__) / "space_groups.csv").read_text(encoding="utf-8")
_ROWS = list(csv.DictReader(_TEXT.splitlines()))


def _column(field: str) -> list[str]:
    return [row[field] for row in _ROWS]


def _indices(field: str, names: tuple[str, ...]) -> np.ndarray:
    position = {name: index for index, name in enumerate(names)}
    array = np.array([position[value] for value in _column(field)], dtype=np.int16)
    array.flags.writeable = False
    return array


SPACE_GROUPS: tuple[str, ...] = tuple(_column("symbol"))
"""Short Hermann-Mauguin symbols in plain ASCII, as spglib writes them ("P2_1/c"); the index is the number - 1."""

POINT_GROUPS: tuple[str, ...] = tuple(dict.fromkeys(_column("point_group")))
"""Names of the 32 point groups in the order of their first space group."""

EXTINCTION_SYMBOLS: tuple[str, ...] = tuple(dict.fromkeys(_column("extinction_symbol")))
"""The 101 extinction symbols, each after its crystal system ("cubic F d - -"), in the order of their first group."""

CRYSTAL_SYSTEM_OF = _indices("crystal_system", CRYSTAL_SYSTEMS)
BRAVAIS_OF = _indices("bravais_lattice", BRAVAIS_LATTICES)
LAUE_OF = _indices("laue_class", LAUE_CLASSES)
POINT_GROUP_OF = _indices("point_group", POINT_GROUPS)
EXTINCTION_OF = _indices("extinction_symbol", EXTINCTION_SYMBOLS)

ENANTIOMORPH_OF = np.array([min(int(row["number"]), int(row["enantiomorph"])) - 1 for row in _ROWS], dtype=np.int16)
"""Index of the group's enantiomorphic pair: the lower index of the two in the 11 pairs, its own index elsewhere."""
ENANTIOMORPH_OF.flags.writeable = False

# by POINT_GROUPS
_ORDERS = [1, 2, 2, 2, 4, 4, 4, 8, 4, 4, 8, 8, 8, 8, 16, 3, 6, 6, 6, 12, 6, 6, 12, 12, 12, 12, 24, 12, 24, 24, 24, 48]
POINT_GROUP_ORDER = np.array(_ORDERS, dtype=np.int16)[POINT_GROUP_OF]
"""Order of the point group of each space group (230,): the operations in a primitive cell."""
POINT_GROUP_ORDER.flags.writeable = False

MAXIMAL_SUBGROUPS: tuple[tuple[int, ...], ...] = tuple(
    tuple(int(number) - 1 for number in text.split()) for text in _column("maximal_subgroups")
)
"""Indices of the types of the maximal subgroups of each group (ITA Vol. A1); a group can be among its own."""


def crystal_system(number: int) -> str:
    """Crystal system of a space group.

    Args:
        number: Space-group number, 1 … 230.

    Raises:
        ValueError: There is no such group.
    """
    if not 1 <= number <= len(SPACE_GROUPS):
        raise ValueError(f"space group {number}: the number must lie between 1 and 230")
    return CRYSTAL_SYSTEMS[CRYSTAL_SYSTEM_OF[number - 1]]


@cache
def subgroup_distance() -> np.ndarray:
    """Number of steps between two groups on the undirected graph of maximal subgroups.

    Returns:
        (230, 230) uint8, read-only, by index: 0 on the diagonal, 1 where one group is a maximal subgroup of the other.
    """
    n = len(SPACE_GROUPS)
    adjacent = np.zeros((n, n), dtype=bool)
    for group, subgroups in enumerate(MAXIMAL_SUBGROUPS):
        adjacent[group, list(subgroups)] = True
    adjacent |= adjacent.T
    steps = adjacent.astype(np.int32)
    unseen = np.iinfo(np.uint8).max
    distance = np.full((n, n), unseen, dtype=np.uint8)
    reached = np.eye(n, dtype=bool)
    distance[reached] = 0
    step = 0
    while (distance == unseen).any():
        step += 1
        fresh = (reached.astype(np.int32) @ steps > 0) & (distance == unseen)
        if not fresh.any():
            raise AssertionError("the graph of maximal subgroups falls into parts")
        distance[fresh] = step
        reached = fresh
    distance.flags.writeable = False
    return distance
