"""All reflections of a crystal in the limiting sphere: positions from the metric, structure factors from the atoms."""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from simxrd_hf.diffraction.crystal import Crystal, CrystalError
from simxrd_hf.diffraction.lattice import inverse, primitive_basis, primitive_translations, reduce_basis
from simxrd_hf.diffraction.scattering import DEFAULT_B_ISO, FormFactor, factor_table, waasmaier_kirfel
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
        multiplicity: Number of hkl on the line, Friedel mates counted (m,).
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
    kind, kinds = _kinds(crystal.atomic_numbers, b_iso, occupancy)
    cell, keep, frac = _primitive(crystal.lattice, crystal.frac_coords, kind)
    expected *= abs(np.linalg.det(cell)) / volume
    if expected > MAX_REFLECTIONS or expected * len(keep) > MAX_WORK:
        raise _too_many(crystal, expected, len(keep))

    order = np.argsort(kind[keep], kind="stable")
    keep = keep[order]
    frac = frac[order] @ crystal.lattice @ inverse(cell)
    kind_start = np.searchsorted(kind[keep], np.arange(len(kinds) + 1))
    numbers = crystal.atomic_numbers[kinds]
    hkl, s_squared, f_squared = _structure_factors(
        cell,
        frac,
        kind_start,
        real[numbers],
        imaginary[numbers],
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
    hkl, s_squared, f_squared = hkl[order], s_squared[order], f_squared[order]
    start, line_s, line_f, best = _merge(s_squared, f_squared, wavelength, math.radians(merge_deg))
    alive = line_f > cutoff * line_f.max()
    member_alive = np.repeat(alive, np.diff(start))
    counts = np.diff(start)[alive]
    q = hkl @ inverse(cell).T
    scale = 2.0 / abs(np.linalg.det(cell)) ** 2
    return Reflections(
        s_squared=line_s[alive],
        strength=scale * line_f[alive],
        multiplicity=(2 * counts).astype(np.int32),
        q=q[best[alive]],
        start=np.concatenate(([0], np.cumsum(counts))),
        member_hkl=hkl[member_alive],
        member_q=q[member_alive],
        member_strength=scale * f_squared[member_alive],
        reduced_cell=cell,
    )


@dataclass(frozen=True, eq=False)
class Peaks:
    """The lines of a powder pattern, sorted by 2θ.

    Attributes:
        two_theta: Degrees (m,).
        d: Lattice spacing, Å (m,).
        hkl: One reflection of the line (m, 3); other forms may share its d.
        multiplicity: Number of hkl that share the d, Friedel mates counted (m,).
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
    theta = np.arcsin(wavelength * np.sqrt(lines.s_squared))
    intensity = lines.strength * lorentz_polarisation(theta, monochromator_two_theta)
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


def lorentz_polarisation(theta: np.ndarray, monochromator_two_theta: float = 0.0) -> np.ndarray:
    """Lorentz-polarisation factor of a powder, (1 + C cos² 2θ) / ((1 + C) sin² θ cos θ), C = cos² 2θ_monochromator.

    International Tables C, 6.2; without a monochromator C = 1. The constant (1 + C) matters only between instruments.
    """
    c = math.cos(math.radians(monochromator_two_theta)) ** 2
    result: np.ndarray = (1.0 + c * np.cos(2.0 * theta) ** 2) / ((1.0 + c) * np.sin(theta) ** 2 * np.cos(theta))
    return result


def _too_many(crystal: Crystal, reflections: float, atoms: int) -> CrystalError:
    return CrystalError(
        f"crystal {crystal.crystal_id!r}: lattice needs about {reflections:.3g} reflections of {atoms} atoms; the "
        f"bounds are {MAX_REFLECTIONS} reflections and {MAX_WORK:.0e} terms: lower the 2θ or raise the wavelength"
    )


def _kinds(numbers: np.ndarray, b_iso: np.ndarray, occupancy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label of each atom by (element, B, occupancy), and one atom of each kind.

    The three are compared one by one: a sum of them would take atoms for alike whose differences cancel.
    """
    order = np.lexsort((occupancy, b_iso, numbers))
    changes = np.zeros(len(order), np.bool_)
    for values in (numbers, b_iso, occupancy):
        changes[1:] |= values[order[1:]] != values[order[:-1]]
    label = np.empty(len(order), np.int64)
    label[order] = np.cumsum(changes)
    changes[0] = True
    return label, order[changes]


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


@njit(cache=True, nogil=True)
def _primitive(lattice: np.ndarray, frac: np.ndarray, kind: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reduced primitive cell, the atoms it keeps, and their places: means over the atoms that lie on each other.

    The coordinates of a file are rounded, so images of an atom differ in the last digits; where atoms nearly cancel in
    a reflection, taking the first instead of the mean was seen to change |F|² by 2e-4 of itself.
    """
    translations = primitive_translations(lattice, frac, kind)
    n = len(frac)
    if len(translations) == 1 or n % len(translations) != 0:
        return reduce_basis(lattice), np.arange(n), frac.copy()
    basis = primitive_basis(translations)
    used = np.zeros(n, np.bool_)
    keep = np.empty(n // len(translations), np.int64)
    places = np.empty((n // len(translations), 3))
    count = 0
    for i in range(n):
        if used[i] or count == len(keep):
            continue
        off = np.zeros(3)
        images = 0
        for t in range(len(translations)):
            for j in range(n):
                if used[j] or kind[j] != kind[i]:
                    continue
                d = frac[j] - translations[t] - frac[i]
                d -= np.rint(d)
                if np.abs(d).sum() < 1e-4:
                    used[j] = True
                    off += d
                    images += 1
        keep[count] = i
        places[count] = frac[i] + off / images
        count += 1
    return reduce_basis(basis @ lattice), keep[:count], places[:count]


@njit(cache=True, nogil=True, error_model="numpy")
def _structure_factors(
    cell: np.ndarray,
    frac: np.ndarray,
    kind_start: np.ndarray,
    real: np.ndarray,
    imaginary: np.ndarray,
    b_iso: np.ndarray,
    occupancy: np.ndarray,
    step: np.ndarray,
    s_squared_min: float,
    s_squared_max: float,
    capacity: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """|F|² of every folded hkl in the shell, the mean of the two Friedel mates.

    F± = Σ (f0 + f' ± i f'') S with S = Σ occ exp(2πi h·r), so ⟨|F|²⟩ = |Σ (f0 + f') S|² + |Σ f'' S|².
    """
    n, n_kinds = len(frac), len(real)
    back = inverse(cell)
    metric = back.T @ back  # reciprocal metric
    q_max = 4.0 * s_squared_max
    q_min = 4.0 * s_squared_min
    # Schur complements give the exact range of k for a given h, and of l for a given h, k
    g33 = metric[2, 2]
    a11 = metric[0, 0] - metric[0, 2] ** 2 / g33
    a12 = metric[0, 1] - metric[0, 2] * metric[1, 2] / g33
    a22 = metric[1, 1] - metric[1, 2] ** 2 / g33
    b11 = a11 - a12 * a12 / a22
    h_max = int(np.sqrt(q_max / b11) + 1e-9)
    k_max = int(np.sqrt(q_max * np.dot(cell[1], cell[1])) + 1e-9)
    l_max = int(np.sqrt(q_max * np.dot(cell[2], cell[2])) + 1e-9)

    h_phase = np.empty((2, h_max + 1, n))
    k_phase = np.empty((2, 2 * k_max + 1, n))
    l_phase = np.empty((2, 2 * l_max + 1, n))
    _phases(frac[:, 0], 0, h_phase)
    _phases(frac[:, 1], k_max, k_phase)
    _phases(frac[:, 2], l_max, l_phase)

    hkl = np.empty((capacity, 3))
    s_squared = np.empty(capacity)
    f_squared = np.empty(capacity)
    count = 0
    cr, ci = np.empty(n), np.empty(n)
    for h in range(h_max + 1):
        room = q_max - b11 * h * h
        if room < 0.0:
            continue
        centre, reach = -a12 * h / a22, np.sqrt(room / a22)
        k_low = int(np.ceil(centre - reach - 1e-9))
        if h == 0 and k_low < 0:
            k_low = 0
        for k in range(max(k_low, -k_max), min(int(np.floor(centre + reach + 1e-9)), k_max) + 1):
            room = q_max - (a11 * h * h + 2.0 * a12 * h * k + a22 * k * k)
            if room < 0.0:
                continue
            centre_l, reach_l = -(metric[0, 2] * h + metric[1, 2] * k) / g33, np.sqrt(room / g33)
            l_low = int(np.ceil(centre_l - reach_l - 1e-9))
            if h == 0 and k == 0:
                l_low = 1
            ready = False
            for l in range(max(l_low, -l_max), min(int(np.floor(centre_l + reach_l + 1e-9)), l_max) + 1):  # noqa: E741
                q0 = h * back[0, 0] + k * back[0, 1] + l * back[0, 2]
                q1 = h * back[1, 0] + k * back[1, 1] + l * back[1, 2]
                q2 = h * back[2, 0] + k * back[2, 1] + l * back[2, 2]
                q = q0 * q0 + q1 * q1 + q2 * q2
                if q > q_max or q < q_min or count == capacity:
                    continue
                if not ready:
                    ready = True
                    for j in range(n):
                        cr[j] = (
                            h_phase[0, h, j] * k_phase[0, k + k_max, j] - h_phase[1, h, j] * k_phase[1, k + k_max, j]
                        )
                        ci[j] = (
                            h_phase[0, h, j] * k_phase[1, k + k_max, j] + h_phase[1, h, j] * k_phase[0, k + k_max, j]
                        )
                lr, li = l_phase[0, l + l_max], l_phase[1, l + l_max]
                s2 = 0.25 * q
                place = s2 / step
                at = int(place)
                part = place - at
                xr, xi, yr, yi = 0.0, 0.0, 0.0, 0.0
                for kind in range(n_kinds):
                    sr, si = 0.0, 0.0
                    for j in range(kind_start[kind], kind_start[kind + 1]):
                        sr += cr[j] * lr[j] - ci[j] * li[j]
                        si += cr[j] * li[j] + ci[j] * lr[j]
                    weight = occupancy[kind]
                    if b_iso[kind] != 0.0:
                        weight *= np.exp(-b_iso[kind] * s2)
                    f = real[kind, at] + part * (
                        real[kind, at + 1]
                        - real[kind, at]
                        + 0.5 * (part - 1.0) * (real[kind, at + 2] - 2.0 * real[kind, at + 1] + real[kind, at])
                    )
                    f *= weight
                    xr += f * sr
                    xi += f * si
                    if imaginary[kind] != 0.0:
                        f = weight * imaginary[kind]
                        yr += f * sr
                        yi += f * si
                hkl[count, 0], hkl[count, 1], hkl[count, 2] = h, k, l
                s_squared[count] = s2
                f_squared[count] = xr * xr + xi * xi + yr * yr + yi * yi
                count += 1
    return hkl[:count], s_squared[:count], f_squared[:count]


@njit(cache=True, nogil=True)
def _phases(x: np.ndarray, offset: int, out: np.ndarray) -> None:
    """exp(2πi m x) for m = -offset .. end by recurrence, restarted every 16 steps to hold full precision."""
    n = len(x)
    size = out.shape[1]
    for j in range(n):
        one_r, one_i = np.cos(2.0 * np.pi * x[j]), np.sin(2.0 * np.pi * x[j])
        r, i = 1.0, 0.0
        for m in range(size - offset):
            if m % 16 == 0 and m > 0:
                turn = m * x[j]
                turn = 2.0 * np.pi * (turn - np.rint(turn))
                r, i = np.cos(turn), np.sin(turn)
            out[0, offset + m, j] = r
            out[1, offset + m, j] = i
            if m <= offset:
                out[0, offset - m, j] = r
                out[1, offset - m, j] = -i
            r, i = r * one_r - i * one_i, r * one_i + i * one_r


@njit(cache=True, nogil=True)
def _merge(
    s_squared: np.ndarray, f_squared: np.ndarray, wavelength: float, tolerance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Join sorted reflections whose 2θ differ by at most `tolerance` (radians) from the first of their line."""
    n = len(s_squared)
    start = np.empty(n + 1, np.int64)
    line_s, line_f, best = np.empty(n), np.empty(n), np.empty(n, np.int64)
    m = 0
    i = 0
    while i < n:
        # d(2θ)/d(s²) = λ / (sqrt(s²) cos θ)
        cos = np.sqrt(max(1.0 - wavelength * wavelength * s_squared[i], 1e-12))
        limit = s_squared[i] + tolerance * np.sqrt(s_squared[i]) * cos / wavelength
        total, moment, strongest = 0.0, 0.0, i
        j = i
        while j < n and s_squared[j] <= limit:
            total += f_squared[j]
            moment += f_squared[j] * (s_squared[j] - s_squared[i])
            if f_squared[j] > f_squared[strongest] * (1.0 + 1e-9):
                strongest = j
            j += 1
        start[m] = i
        line_s[m] = s_squared[i] + (moment / total if total > 0.0 else 0.0)
        line_f[m] = total
        best[m] = strongest
        m += 1
        i = j
    start[m] = n
    return start[: m + 1], line_s[:m], line_f[:m], best[:m]
