"""One crystal as the physics sees it, checked once so that nothing later can meet a NaN or an empty cell."""

import math
from dataclasses import dataclass

import numpy as np

from simxrd_hf.compiler import njit
from simxrd_hf.errors import BadInput

MAX_ATOMIC_NUMBER = 98
MAX_ATOMS = 20_000
MAX_B_ISO = 100.0
MIN_DISTANCE = 0.1
"""Å; two atoms closer than this are one site, whose occupancies must not exceed 1 together."""


class CrystalError(BadInput):
    """A crystal that cannot be simulated; the message names the crystal and the field."""


@dataclass(frozen=True, eq=False)
class Crystal:
    """A crystal structure.

    Args:
        crystal_id: Name; it keys the random draws, so equal names give equal draws.
        lattice: Cell vectors as rows, Å, float64 (3, 3); any setting, primitive or not, right-handed.
        atomic_numbers: Elements, 1 to 98, uint8 (n,).
        frac_coords: Fractional coordinates, float64 (n, 3).
        occupancies: Site occupancies in (0, 1], float64 (n,); all 1 if absent.
        b_iso: Isotropic displacement parameters B = 8π²⟨u²⟩, Å², float64 (n,), NaN where unknown; absent if none known.

    Raises:
        CrystalError: Anything that has no pattern: wrong shapes, values that are not finite, no volume, unknown
            elements, coincident atoms, occupancies above 1.
    """

    crystal_id: str
    lattice: np.ndarray
    atomic_numbers: np.ndarray
    frac_coords: np.ndarray
    occupancies: np.ndarray | None = None
    b_iso: np.ndarray | None = None

    def __post_init__(self) -> None:
        lattice = self._floats("lattice", self.lattice)
        if lattice.size != 9:
            raise self._error("lattice", f"has {lattice.size} numbers; give three vectors of three components")
        lattice = lattice.reshape((3, 3))
        lengths = np.sqrt((lattice * lattice).sum(axis=1))
        volume = _determinant(lattice)
        if not (lengths.min() > 0.5 and lengths.max() < 5000.0):
            raise self._error(
                "lattice", f"axes of {lengths.min():.4g} to {lengths.max():.4g} Å; expected 0.5 to 5000 Å"
            )
        if not volume > 1e-4 * lengths.prod():
            what = "zero volume (coplanar axes)" if volume > -1e-4 * lengths.prod() else "a negative volume"
            raise self._error("lattice", f"has {what}, {volume:.4g} Å³; give a right-handed, non-flat cell")
        numbers = np.asarray(self.atomic_numbers).reshape(-1)
        if numbers.size == 0:
            raise self._error("atomic_numbers", "is empty; a crystal needs atoms")
        if numbers.size > MAX_ATOMS:
            raise self._error("atomic_numbers", f"has {numbers.size} atoms; the limit is {MAX_ATOMS}")
        if numbers.dtype.kind not in "iu" or numbers.min() < 1 or numbers.max() > MAX_ATOMIC_NUMBER:
            raise self._error("atomic_numbers", f"must be integers from 1 to {MAX_ATOMIC_NUMBER} (H to Cf)")
        coords = self._floats("frac_coords", self.frac_coords)
        if coords.size != 3 * numbers.size:
            raise self._error("frac_coords", f"has {coords.size} numbers for {numbers.size} atoms; give three for each")
        coords = coords.reshape(-1, 3)
        if np.abs(coords).max() > 1e4:
            raise self._error("frac_coords", "has values beyond ±10000; are they fractional?")
        occupancies = self.occupancies
        if occupancies is not None:
            occupancies = self._per_atom("occupancies", occupancies, numbers.size)
            if not (occupancies.min() > 0.0 and occupancies.max() <= 1.0 + 1e-6):
                raise self._error("occupancies", "must be above 0 and at most 1")
        b_iso = self.b_iso
        if b_iso is not None:
            b_iso = self._per_atom("b_iso", b_iso, numbers.size, allow_nan=True)
            known = b_iso[~np.isnan(b_iso)]
            if known.size and not (known.min() >= 0.0 and known.max() <= MAX_B_ISO):
                raise self._error("b_iso", f"must lie between 0 and {MAX_B_ISO} Å²")
        first, second = _overfull_pair(
            lattice, coords, np.ones(numbers.size) if occupancies is None else occupancies, MIN_DISTANCE
        )
        if first >= 0:
            raise self._error(
                "frac_coords", f"atoms {first} and {second} coincide (closer than {MIN_DISTANCE} Å, occupancy above 1)"
            )
        for name, value in {
            "crystal_id": str(self.crystal_id),
            "lattice": lattice,
            "atomic_numbers": numbers.astype(np.uint8),
            "frac_coords": coords,
            "occupancies": occupancies,
            "b_iso": b_iso,
        }.items():
            object.__setattr__(self, name, value)

    @property
    def volume(self) -> float:
        """Cell volume, Å³."""
        return _determinant(self.lattice)

    def _error(self, field: str, problem: str) -> CrystalError:
        return CrystalError(f"crystal {str(self.crystal_id)!r}: {field} {problem}")

    def _floats(self, field: str, value: object, *, allow_nan: bool = False) -> np.ndarray:
        try:
            array = np.array(value, dtype=np.float64, order="C")
        except (TypeError, ValueError):
            raise self._error(field, "is not an array of numbers") from None
        finite = np.isfinite(array) | np.isnan(array) if allow_nan else np.isfinite(array)
        if not finite.all():
            raise self._error(field, "has NaN or infinite values")
        return array

    def _per_atom(self, field: str, value: object, n_atoms: int, *, allow_nan: bool = False) -> np.ndarray:
        array = self._floats(field, value, allow_nan=allow_nan).reshape(-1)
        if array.size != n_atoms:
            raise self._error(field, f"has {array.size} values for {n_atoms} atoms")
        return array


def _determinant(m: np.ndarray) -> float:
    (a, b, c), (d, e, f), (g, h, i) = m.tolist()
    return math.fsum((a * e * i, b * f * g, c * d * h, -c * e * g, -b * d * i, -a * f * h))


@njit(cache=True, nogil=True)
def _overfull_pair(
    lattice: np.ndarray, frac: np.ndarray, occupancies: np.ndarray, min_distance: float
) -> tuple[int, int]:
    """First pair of atoms on one site whose occupancies exceed 1, or (-1, -1)."""
    for i in range(len(frac)):
        total = occupancies[i]
        for j in range(len(frac)):
            if j == i:
                continue
            x = frac[i, 0] - frac[j, 0]
            y = frac[i, 1] - frac[j, 1]
            z = frac[i, 2] - frac[j, 2]
            x -= np.rint(x)
            y -= np.rint(y)
            z -= np.rint(z)
            dx = x * lattice[0, 0] + y * lattice[1, 0] + z * lattice[2, 0]
            dy = x * lattice[0, 1] + y * lattice[1, 1] + z * lattice[2, 1]
            dz = x * lattice[0, 2] + y * lattice[1, 2] + z * lattice[2, 2]
            if dx * dx + dy * dy + dz * dz < min_distance * min_distance:
                total += occupancies[j]
                if total > 1.001:
                    return i, j
    return -1, -1
