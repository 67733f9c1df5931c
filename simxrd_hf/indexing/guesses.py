"""The low indices that the lowest lines of crystals have, lattice by lattice, as packaged in `guesses.npz`.

Few combinations are frequent, so that a search that tries these alone misses few cells; `count_guesses` counts them.
"""

from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.diffraction.lattice import reduce_basis
from simxrd_hf.indexing import search_kernels as kernels
from simxrd_hf.indexing.tables import CENTRINGS, FREE

FloatArray = NDArray[np.float64]

FILE = Path(__file__).parent / "guesses.npz"

LOWEST = {
    kernels.CUBIC: 4,
    kernels.TETRAGONAL: 7,
    kernels.HEXAGONAL: 7,
    kernels.ORTHORHOMBIC: 9,
    kernels.MONOCLINIC: 9,
    kernels.TRICLINIC: 9,
}
"""Lowest lines of a pattern that are combined, by the form of the metric."""

FORMS = {
    "c": kernels.CUBIC,
    "t": kernels.TETRAGONAL,
    "h": kernels.HEXAGONAL,
    "o": kernels.ORTHORHOMBIC,
    "m": kernels.MONOCLINIC,
    "a": kernels.TRICLINIC,
}
"""First letter of a Bravais lattice → form of its metric."""


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
            kind = FORMS[lattice[0]]
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


def alike_angles(axes: FloatArray) -> FloatArray:
    """The same lattice by axes (rows) whose angles are all acute, or none is: turning one round changes two of them."""
    a, b, c = axes
    a = -a if a @ b < 0 else a
    c = -c if b @ c < 0 else c
    return np.stack([a, -b if a @ c < 0 else b, c])


def sorted_axes(kind: int, reciprocal: NDArray[Any]) -> FloatArray:
    """Reciprocal axes (rows) of the setting in which cells are guessed."""
    if kind == kernels.TRICLINIC:
        axes = reduce_basis(reciprocal)
        axes = axes[np.argsort(-(axes * axes).sum(axis=1))]
        return alike_angles(axes)
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


def index_parameters(lattice: str, conventional: NDArray[Any]) -> FloatArray:
    """Parameters (6,) of a cell, given by its vectors as rows, in the setting of `Guess`; see `tables`."""
    axes = sorted_axes(FORMS[lattice[0]], np.linalg.inv(conventional).T.copy())
    metric = axes @ axes.T
    every = np.array([*metric.diagonal(), 2 * metric[0, 2], 2 * metric[1, 2], 2 * metric[0, 1]])
    parameters, free = np.zeros(6), FREE[FORMS[lattice[0]]]
    parameters[free] = every[free]
    return parameters
