"""All reflections of a crystal in the limiting sphere: positions from the metric, structure factors from the atoms."""

import math
from dataclasses import dataclass

import numpy as np

from simxrd_hf.diffraction.crystal import Crystal, CrystalError
from simxrd_hf.diffraction.effects import lorentz_polarisation
from simxrd_hf.diffraction.lattice import determinant, inverse
from simxrd_hf.diffraction.scattering import DEFAULT_B_ISO, FormFactor, factor_table, waasmaier_kirfel
from simxrd_hf.diffraction.structure_factors import merge, primitive_atoms, structure_factors
from simxrd_hf.errors import BadInput

MAX_REFLECTIONS = 1_000_000
MAX_WORK = 4_000_000_000
"""Bounds of the hkl loop: reflections, and reflections times atoms; beyond them the crystal is refused."""


@dataclass(frozen=True, eq=False)
class Reflections:
    """Friedel-folded reflections of one crystal, sorted by 1/d², equal d merged into lines.

    Attributes:
        s_squared: (sin θ / λ)² = 1/(4d²) of each line, 1/Å² (m,).
        strength: Σ |F|² over all hkl of the line, divided by V², electrons²/Å⁶ (m,).
        multiplicity: Number of hkl on the line that are not absent, Friedel mates counted (m,).
        q: Reciprocal vector of its strongest reflection, 1/Å (m, 3).
        start: First reflection of each line, and the end (m + 1,).
        member_hkl: Indices of all folded reflections in the reduced cell, whole numbers as float64 (n, 3).
        member_q: Reciprocal vectors of all folded reflections, 1/Å (n, 3).
        member_strength: Their part of `strength` (n,).
        reduced_cell: Reduced primitive cell vectors, Å (3, 3).
    """

    s_squared: np.ndarray
    strength: np.ndarray
    multiplicity: np.ndarray
    q: np.ndarray
    start: np.ndarray
    member_hkl: np.ndarray
    member_q: np.ndarray
    member_strength: np.ndarray
    reduced_cell: np.ndarray


def find_reflections(
    crystal: Crystal,
    *,
    wavelength: float,
    two_theta_min: float,
    two_theta_max: float,
    anomalous: bool,
    thermal: str,
    form_factor: FormFactor = waasmaier_kirfel,
    merge_deg: float = 1e-6,
    cutoff: float = 1e-9,
) -> Reflections:
    """List the lines of a crystal between two angles.

    Args:
        crystal: The crystal, any cell; reduced here to its primitive cell.
        wavelength: Å.
        two_theta_min: Degrees.
        two_theta_max: Degrees, below 180.
        anomalous: Whether f' and f'' are added to f0.
        thermal: "none", "site" (the crystal's own B_iso where given, else by class of element).
        form_factor: The f0 table.
        merge_deg: Reflections closer than this in 2θ are one line, at the mean of their 1/d² weighted by |F|².
        cutoff: Lines weaker than this part of the strongest |F|² sum are extinct and dropped.

    Raises:
        CrystalError: No reflection in the range, or more than the bounds of the loop.
    """
    if thermal not in ("none", "site"):
        raise BadInput(f"thermal must be 'none' or 'site', not {thermal!r}")
    sin_max = math.sin(math.radians(min(two_theta_max, 179.9)) / 2.0)
    s_squared_max = (sin_max / wavelength) ** 2
    s_squared_min = (math.sin(math.radians(max(two_theta_min, 0.0)) / 2.0) / wavelength) ** 2
    real, imaginary, step = factor_table(wavelength, s_squared_max, anomalous, form_factor)

    n_atoms = len(crystal.atomic_numbers)
    occupancy = np.ones(n_atoms) if crystal.occupancies is None else crystal.occupancies
    b_iso = np.zeros(n_atoms)
    if thermal == "site":
        b_iso = DEFAULT_B_ISO[crystal.atomic_numbers]
        if crystal.b_iso is not None:
            b_iso = np.where(np.isnan(crystal.b_iso), b_iso, crystal.b_iso)

    volume = crystal.volume
    expected = 2.0 / 3.0 * math.pi * volume * (2.0 * math.sqrt(s_squared_max)) ** 3
    # a centred cell counts lattice points that are absences; the bound allows for the largest usual centring
    if expected > 4 * MAX_REFLECTIONS or expected * n_atoms > 16 * MAX_WORK:
        raise _too_many(crystal, expected, n_atoms)
    cell, frac, kinds, kind_start = primitive_atoms(
        crystal.lattice, crystal.frac_coords, crystal.atomic_numbers, b_iso, occupancy
    )
    expected *= abs(determinant(cell)) / volume
    if expected > MAX_REFLECTIONS or expected * len(frac) > MAX_WORK:
        raise _too_many(crystal, expected, len(frac))
    hkl, s_squared, f_squared = structure_factors(
        cell,
        frac,
        kind_start,
        crystal.atomic_numbers[kinds].astype(np.int64),
        real,
        imaginary,
        b_iso[kinds],
        occupancy[kinds],
        step,
        s_squared_min,
        s_squared_max,
        int(expected * 1.5) + 1000,
    )
    if len(hkl) == 0 or not f_squared.max() > 0.0:
        raise CrystalError(
            f"crystal {crystal.crystal_id!r}: lattice has no reflection between {two_theta_min:.4g} and "
            f"{two_theta_max:.4g} degrees at {wavelength:.5g} Å; choose another range or wavelength"
        )
    order = np.argsort(s_squared, kind="stable")
    line_s, strength, multiplicity, q, start, member_hkl, member_q, member_strength = merge(
        cell, hkl, s_squared, f_squared, order, wavelength, math.radians(merge_deg), cutoff
    )
    return Reflections(line_s, strength, multiplicity, q, start, member_hkl, member_q, member_strength, cell)


@dataclass(frozen=True, eq=False)
class Peaks:
    """The lines of a powder pattern, sorted by 2θ.

    Attributes:
        two_theta: Degrees (m,).
        d: Lattice spacing, Å (m,).
        hkl: One reflection of the line (m, 3); other forms may share its d.
        multiplicity: Number of hkl that share the d and are not absent, Friedel mates counted (m,).
        f_squared: Mean |F|² of those hkl for the cell of the indices, electrons² (m,).
        intensity: multiplicity x |F|² x Lorentz-polarisation, largest 100 (m,).
    """

    two_theta: np.ndarray
    d: np.ndarray
    hkl: np.ndarray
    multiplicity: np.ndarray
    f_squared: np.ndarray
    intensity: np.ndarray


def peaks(
    crystal: Crystal,
    *,
    wavelength: float = 1.54184,
    two_theta_range: tuple[float, float] = (10.0, 80.0),
    anomalous: bool = True,
    thermal: str = "site",
    form_factor: FormFactor = waasmaier_kirfel,
    monochromator_two_theta: float = 0.0,
    min_intensity: float = 0.0,
    cell: np.ndarray | None = None,
) -> Peaks:
    """List the Bragg lines of a crystal.

    Args:
        crystal: The crystal.
        wavelength: Å.
        two_theta_range: First and last 2θ, degrees.
        anomalous: Whether f' and f'' are used.
        thermal: "site" (B_iso of each site, by class of element where unknown) or "none".
        form_factor: The f0 table; another one may be given as a function of Z and s².
        monochromator_two_theta: 2θ of the monochromator, degrees; 0 for none.
        min_intensity: Lines below this (of 100) are left out.
        cell: Cell vectors as rows, Å, that the hkl refer to, e.g. the conventional cell of a primitive crystal; the
            crystal's own if absent.

    Returns:
        The lines, sorted by 2θ, the strongest 100.

    Raises:
        CrystalError: No reflection in the range, or too many.
        BadInput: A range or wavelength out of sense.
    """
    low, high = two_theta_range
    if not (0.0 <= low < high < 180.0):
        raise BadInput(f"two_theta_range {two_theta_range} must rise and lie between 0 and 180 degrees")
    if not 0.01 <= wavelength <= 10.0:
        raise BadInput(f"wavelength {wavelength} Å is not an X-ray wavelength (0.01 to 10 Å)")
    lines = find_reflections(
        crystal,
        wavelength=wavelength,
        two_theta_min=low,
        two_theta_max=high,
        anomalous=anomalous,
        thermal=thermal,
        form_factor=form_factor,
    )
    sine = wavelength * np.sqrt(lines.s_squared)
    theta = np.arcsin(sine)
    polarisation = math.cos(math.radians(monochromator_two_theta)) ** 2
    factor = lorentz_polarisation.py_func(sine, np.sqrt(1.0 - sine * sine), polarisation)  # compiled for numbers alone
    intensity = lines.strength * factor
    intensity *= 100.0 / intensity.max()
    keep = intensity >= min_intensity
    cell = crystal.lattice if cell is None else np.asarray(cell, dtype=np.float64)
    volume = abs(float(np.linalg.det(cell)))
    return Peaks(
        two_theta=np.degrees(2.0 * theta)[keep],
        d=0.5 / np.sqrt(lines.s_squared[keep]),
        hkl=_labels(cell, lines)[keep],
        multiplicity=lines.multiplicity[keep],
        f_squared=(lines.strength * volume**2 / lines.multiplicity)[keep],
        intensity=intensity[keep],
    )


def _too_many(crystal: Crystal, reflections: float, atoms: int) -> CrystalError:
    return CrystalError(
        f"crystal {crystal.crystal_id!r}: lattice needs about {reflections:.3g} reflections of {atoms} atoms; the "
        f"bounds are {MAX_REFLECTIONS} reflections and {MAX_WORK:.0e} terms: lower the 2θ or raise the wavelength"
    )


def _labels(cell: np.ndarray, lines: Reflections) -> np.ndarray:
    """One hkl for each line, in the given cell: of the strongest that with fewest minus signs, then large h, k, l."""
    # Miller indices follow the basis: those of the given cell are those of the reduced one times an integer matrix
    change = np.rint(cell @ inverse(lines.reduced_cell))
    hkl = (lines.member_hkl @ change.T).astype(np.int32)
    # of two Friedel mates that with fewer minus signs, else that whose first index is positive
    surplus = np.sign(hkl).sum(axis=1)
    leading = hkl[np.arange(len(hkl)), (hkl != 0).argmax(axis=1)]
    hkl[(surplus < 0) | ((surplus == 0) & (leading < 0))] *= -1
    line = np.repeat(np.arange(len(lines.strength)), np.diff(lines.start))
    strongest = np.maximum.reduceat(lines.member_strength, lines.start[:-1])[line]
    weak = lines.member_strength < 0.999 * strongest
    h, k, m = hkl.T
    order = np.lexsort((-m, -k, -h, (hkl < 0).sum(axis=1), weak, line))
    result: np.ndarray = hkl[order[lines.start[:-1]]]
    return result
