"""Which reflections a space group allows, and where a cell puts them."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Reflections:
    """Allowed reflections, one row per distinct d, ascending 2θ.

    Attributes:
        hkl: (n, 3) indices of one member.
        d: (n,) Å.
        two_theta: (n,) degrees.
    """

    hkl: NDArray[np.int64]
    d: FloatArray
    two_theta: FloatArray


@lru_cache(maxsize=32)
def _operations(number: int) -> tuple[NDArray[np.int64], FloatArray]:
    """Rotations (n, 3, 3) and translations (n, 3) of a space group in its first setting (hexagonal axes for R)."""
    import spglib

    for hall in range(1, 531):
        kind = spglib.get_spacegroup_type(hall)
        if kind is not None and kind.number == number:
            operations = spglib.get_symmetry_from_database(hall)
            return operations["rotations"].astype(np.int64), operations["translations"].astype(np.float64)
    raise ValueError(f"space-group numbers run from 1 to 230, got {number}")


def is_allowed(hkl: NDArray[np.int64], number: int) -> NDArray[np.bool_]:
    """Whether the space group allows reflections at general positions.

    A reflection h is absent if some operation (R, t) has hR = h and h·t no integer (International Tables A, 1.6.3).

    Args:
        hkl: (n, 3).
        number: Space-group number.

    Returns:
        (n,) bool.
    """
    rotations, translations = _operations(number)
    fixed = (np.einsum("ni,oij->noj", hkl, rotations) == hkl[:, None, :]).all(axis=-1)
    phase = hkl @ translations.T
    shifted = np.abs(phase - np.round(phase)) > 1e-6
    result: NDArray[np.bool_] = ~(fixed & shifted).any(axis=1)
    return result


def reciprocal_metric(cell: tuple[float, ...]) -> FloatArray:
    """Reciprocal metric tensor G* in Å⁻², so that 1/d² = h G* hᵀ.

    Raises:
        ValueError: Not six numbers that make a cell.
    """
    if len(cell) != 6 or not np.isfinite(cell).all():
        raise ValueError(f"a cell needs six numbers, a b c in Å and α β γ in degrees, got {' '.join(map(str, cell))}")
    lengths, angles = np.array(cell[:3]), np.array(cell[3:])
    if (lengths <= 0).any() or (angles <= 0).any() or (angles >= 180).any():
        raise ValueError(f"cell lengths must be above 0 and angles between 0 and 180°, got {' '.join(map(str, cell))}")
    cosines = np.cos(np.radians(angles))
    metric = np.outer(lengths, lengths)
    for (i, j), cosine in zip(((1, 2), (0, 2), (0, 1)), cosines, strict=True):
        metric[i, j] *= cosine
        metric[j, i] *= cosine
    if np.linalg.det(metric) <= 0:
        raise ValueError(f"the angles {angles[0]:g}, {angles[1]:g}, {angles[2]:g}° cannot meet in one corner")
    return np.linalg.inv(metric)


def reflections(
    cell: tuple[float, ...], number: int, *, wavelength: float, two_theta_min: float, two_theta_max: float
) -> Reflections:
    """Reflections of a cell that a space group allows, within a range.

    Args:
        cell: a, b, c (Å), α, β, γ (degrees).
        number: Space-group number, for its reflection conditions.
        wavelength: Å.
        two_theta_min: Degrees.
        two_theta_max: Degrees.

    Raises:
        ValueError: The cell is none, or so large that there are too many reflections to draw.
    """
    metric = reciprocal_metric(cell)
    largest = 2 * np.sin(np.radians(two_theta_max / 2)) / wavelength
    limits = np.floor(largest * np.sqrt(np.diag(np.linalg.inv(metric)))).astype(int)
    if np.prod(2 * limits + 1) > 2_000_000:
        raise ValueError(f"the cell {' '.join(f'{value:g}' for value in cell)} has too many reflections in this range")
    hkl = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in limits), indexing="ij"), axis=-1).reshape(-1, 3)
    # Fewest negative indices first among equals, so that 111 stands for its family.
    hkl = hkl[np.lexsort((-hkl[:, 2], -hkl[:, 1], -hkl[:, 0], (hkl < 0).sum(axis=1)))]
    inverse_d = np.sqrt(np.maximum(np.einsum("ni,ij,nj->n", hkl, metric, hkl), 0.0))
    least = 2 * np.sin(np.radians(two_theta_min / 2)) / wavelength
    kept = (inverse_d >= max(least, 1e-9)) & (inverse_d <= largest)
    hkl, inverse_d = hkl[kept], inverse_d[kept]
    allowed = is_allowed(hkl, number)
    hkl, inverse_d = hkl[allowed], inverse_d[allowed]
    _, first = np.unique(np.round(inverse_d, 6), return_index=True)
    hkl, inverse_d = hkl[first], inverse_d[first]
    two_theta = 2 * np.degrees(np.arcsin(np.minimum(inverse_d * wavelength / 2, 1.0)))
    return Reflections(hkl, 1 / inverse_d, two_theta)
