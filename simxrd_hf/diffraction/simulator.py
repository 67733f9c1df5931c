"""A crystal, a preset, a seed and a condition make a pattern: the same one, bit for bit, whenever it is asked for."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from simxrd_hf.diffraction import background as bg
from simxrd_hf.diffraction import effects, profiles
from simxrd_hf.diffraction.crystal import Crystal, CrystalError
from simxrd_hf.diffraction.grid import PatternGrid
from simxrd_hf.diffraction.lattice import inverse, lattice_rotations
from simxrd_hf.diffraction.parameters import INDEX, compile_distributions, draw_parameters
from simxrd_hf.diffraction.philox import crystal_key, draw4, normal_pair
from simxrd_hf.diffraction.presets import Preset, get_preset
from simxrd_hf.diffraction.reflections import Reflections, find_reflections
from simxrd_hf.errors import BadInput

MERGE_DEG = 5e-4
"""Reflections closer than this are one line of a simulated pattern: a hundredth of the narrowest line or less."""
MAX_CONDITION = 32767

# The places of the parameters, as constants the compiled code can see.
(
    _GRAIN, _ORIENTATION, _DISPLACEMENT_U, _SIZE, _STRAIN, _FWHM, _U, _V, _AXIAL_S, _AXIAL_H, _KALPHA2, _ZERO,
    _DISPLACEMENT, _DEPTH, _MARCH_R, _MARCH_AXIS, _SCALE, _SHAPE, _B, _BACKGROUND, _AIR, _AMORPHOUS, _UNIFORM,
    _COUNTS, _DETECTOR, _IMPURITY, _REMOVED, _GRAINS, _GAUSS_STRAIN,
) = range(len(INDEX))  # fmt: skip

# Rows of the table of lines: 2θ of Kα1 and Kα2 and FWHM of both parts in degrees, area, sin θ of Kα1
_PLACE, _PLACE2, _AREA, _GAUSS, _LORENTZ, _SINE = range(6)

# Gauss-Legendre nodes and weights of every order up to 32
_MAX_NODES = 32
_NODES = np.zeros((_MAX_NODES + 1, _MAX_NODES, 2))
for _n in range(1, _MAX_NODES + 1):
    _NODES[_n, :_n] = np.array(np.polynomial.legendre.leggauss(_n)).T


class _Lines(NamedTuple):
    """A crystal as the compiled code takes it; see `Reflections`."""

    s_squared: np.ndarray
    strength: np.ndarray
    q: np.ndarray
    start: np.ndarray
    member_q: np.ndarray
    member_strength: np.ndarray
    rotations: np.ndarray
    axes: np.ndarray  # Cartesian unit vectors of MARCH_AXES


class _Settings(NamedTuple):
    """Preset and grid as numbers for the compiled code."""

    two_theta_min: float
    step: float
    wavelength: float
    wavelength2: float
    polarisation: float
    radius_mm: float
    true_voigt: bool
    simxrd_background: bool


class _Work(NamedTuple):
    """Room for the numbers of one line."""

    coefficients: np.ndarray
    tail: np.ndarray
    shifts: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True, eq=False)
class PreparedCrystal:
    """A crystal with its lines found: what `Simulator.prepare` makes and `Simulator.simulate` takes again and again.

    It belongs to simulators of the same preset and grid, whatever their seed.
    """

    crystal_id: str
    lines: _Lines

    @property
    def nbytes(self) -> int:
        """Memory of its arrays."""
        return sum(array.nbytes for array in self.lines)


@dataclass(frozen=True, eq=False)
class Simulation:
    """Patterns of one crystal.

    Attributes:
        intensity: float32 (n, n_points), each row with maximum 100.
        parameters: Drawn values by column name, float32 (n,).
        conditions: Which condition each row is (n,).
    """

    intensity: np.ndarray
    parameters: dict[str, np.ndarray]
    conditions: np.ndarray


class Simulator:
    """Simulates patterns of one preset, seed and grid; holds no state that a pattern depends on.

    A row depends on the crystal, the preset, the seed, the condition, the grid and the impurity pool alone, so that
    any worker can make any row. It can be pickled and forked.

    Args:
        preset: Name, file or object.
        seed: Any integer.
        grid: The 2θ axis; the published one (10 to 80°, step 0.02°, 1.54184 Å) if absent.
        impurities: Second phases; a preset that draws `impurity_fraction` chooses one for a pattern by the counter of
            the pattern. Without them the fraction is drawn but set to 0.
    """

    def __init__(
        self,
        preset: str | Path | Preset = "simxrd-4m",
        *,
        seed: int = 0,
        grid: PatternGrid | None = None,
        impurities: Sequence[Crystal] = (),
    ) -> None:
        self.preset = get_preset(preset)
        self.seed = _integer("seed", seed)
        self.grid = PatternGrid() if grid is None else grid
        self.impurities = tuple(impurities)
        self._table = compile_distributions(self.preset.parameters)
        self._columns = [INDEX[name] for name in self.preset.parameter_names]
        first, second = self.preset.kalpha or (self.grid.wavelength, self.grid.wavelength)
        cosine = math.cos(math.radians(self.preset.monochromator_two_theta_deg))
        self._settings = _Settings(
            self.grid.two_theta_min,
            self.grid.step,
            first,
            second,
            cosine * cosine,
            float(self.preset.goniometer_radius_mm),
            self.preset.profile == "voigt",
            self.preset.background_shape == "simxrd",
        )
        self._impurity_lines = lru_cache(maxsize=1024)(self._impurity)

    @property
    def wavelength(self) -> float:
        """Wavelength of the lines, Å: Kα1 where the preset has a doublet, else that of the grid."""
        return self._settings.wavelength

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.preset, self.seed, self.grid, self.impurities)

    def prepare(self, crystal: Crystal) -> PreparedCrystal:
        """Find the lines of a crystal once, for many calls of `simulate` with few conditions each.

        Raises:
            CrystalError: The crystal has no reflection on the grid, or too many.
        """
        return PreparedCrystal(crystal.crystal_id, self._lines(crystal))

    def simulate(
        self,
        crystal: Crystal | PreparedCrystal,
        conditions: Iterable[int] = range(33),
        *,
        out: np.ndarray | None = None,
    ) -> Simulation:
        """Simulate some conditions of a crystal.

        Args:
            crystal: The crystal, or what `prepare` made of it: the patterns are the same.
            conditions: Which conditions, 0 to 32767.
            out: Where to write, float32 (n, n_points), C-contiguous; a new array if absent.

        Raises:
            CrystalError: The crystal has no reflection on the grid, or too many.
            BadInput: A condition or `out` that cannot be.
        """
        numbers = np.array([_integer("condition", c) for c in conditions], dtype=np.int64)
        if numbers.size and not (numbers.min() >= 0 and numbers.max() <= MAX_CONDITION):
            raise BadInput(f"conditions must lie between 0 and {MAX_CONDITION}, not {numbers.min()} to {numbers.max()}")
        shape = (len(numbers), self.grid.n_points)
        if out is None:
            out = np.empty(shape, np.float32)
        elif out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous:
            raise BadInput(f"out must be a C-contiguous float32 array of shape {shape}, not {out.dtype} {out.shape}")
        lines = (crystal if isinstance(crystal, PreparedCrystal) else self.prepare(crystal)).lines
        key0, key1 = crystal_key(crystal.crystal_id, self.seed)
        drawn = draw_parameters(self._table, key0, key1, numbers)
        for chosen, rows in self._by_impurity(key0, key1, numbers, drawn):
            second = lines if chosen is None else self._impurity_lines(chosen)
            _render(lines, second, chosen is not None, self._settings, drawn, numbers, rows, key0, key1, out)
        parameters = {
            name: drawn[:, i].copy() for name, i in zip(self.preset.parameter_names, self._columns, strict=True)
        }
        return Simulation(out, parameters, numbers)

    def _by_impurity(
        self, key0: int, key1: int, conditions: np.ndarray, drawn: np.ndarray
    ) -> list[tuple[int | None, np.ndarray]]:
        """Rows grouped by the second phase they contain."""
        if not self.impurities:
            drawn[:, _IMPURITY] = 0.0
        if not drawn[:, _IMPURITY].any():
            return [(None, np.arange(len(conditions)))]
        groups: dict[int | None, list[int]] = {}
        for row, condition in enumerate(conditions):
            chosen = None
            if drawn[row, _IMPURITY] > 0.0:
                chosen = int(draw4(key0, key1, condition, bg.IMPURITY, 0)[0] * len(self.impurities))
            groups.setdefault(chosen, []).append(row)
        return [(chosen, np.array(rows)) for chosen, rows in groups.items()]

    def _impurity(self, index: int) -> _Lines:
        return self._lines(self.impurities[index])

    def _lines(self, crystal: Crystal) -> _Lines:
        preset, grid = self.preset, self.grid
        found = find_reflections(
            crystal,
            wavelength=self._settings.wavelength,
            two_theta_min=max(grid.two_theta_min - preset.margin_deg, 0.25 * grid.two_theta_min),
            two_theta_max=min(grid.two_theta_max + preset.margin_deg, 179.0),
            anomalous=preset.anomalous,
            thermal=preset.thermal,
            merge_deg=MERGE_DEG,
            cutoff=1e-7,
        )
        sines = self._settings.wavelength * np.sqrt(found.s_squared)
        low, high = (math.sin(math.radians(x) / 2.0) for x in (grid.two_theta_min, grid.two_theta_max))
        if not ((sines >= low) & (sines <= high)).any():
            raise CrystalError(
                f"crystal {crystal.crystal_id!r}: lattice has no reflection between {grid.two_theta_min:g} and "
                f"{grid.two_theta_max:g} degrees at {grid.wavelength:g} Å; choose another grid or leave the crystal out"
            )
        strained = {"cell_scale_percent", "cell_shape_percent"} & set(preset.parameters)
        rotations = lattice_rotations(found.reduced_cell) if strained else np.eye(3)[None]
        return _pack(crystal, found, rotations)


def simulate(
    crystal: Crystal,
    preset: str | Path | Preset = "simxrd-4m",
    *,
    seed: int = 0,
    conditions: Iterable[int] = range(33),
    grid: PatternGrid | None = None,
) -> Simulation:
    """Simulate some conditions of one crystal; see `Simulator`, which is faster for many crystals."""
    return Simulator(preset, seed=seed, grid=grid).simulate(crystal, conditions)


def _rebuild(preset: Preset, seed: int, grid: PatternGrid, impurities: Sequence[Crystal]) -> Simulator:
    return Simulator(preset, seed=seed, grid=grid, impurities=impurities)


def _integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise BadInput(f"{name} must be an integer, not {value!r}")
    return int(value)


def _pack(crystal: Crystal, found: Reflections, rotations: np.ndarray) -> _Lines:
    axes = effects.MARCH_AXES @ inverse(crystal.lattice).T
    axes /= np.sqrt((axes * axes).sum(axis=1, keepdims=True))
    return _Lines(
        found.s_squared,
        found.strength,
        found.q,
        found.start,
        found.member_q,
        found.member_strength,
        rotations,
        axes,
    )


@njit(cache=True, nogil=True)
def _strain(p: np.ndarray, rotations: np.ndarray, key0: int, key1: int, condition: int, out: np.ndarray) -> None:
    """Inverse of 1 + ε: isotropic scale plus a traceless random tensor, averaged over the rotations of the lattice."""
    u0, u1, u2, _ = draw4(key0, key1, condition, bg.STRAIN, 0)
    v0, v1, v2, _ = draw4(key0, key1, condition, bg.STRAIN, 1)
    random = np.empty((3, 3))
    random[0, 0], random[1, 1], random[2, 2] = 2.0 * u0 - 1.0, 2.0 * u1 - 1.0, 2.0 * u2 - 1.0
    random[0, 1] = random[1, 0] = v0 - 0.5
    random[0, 2] = random[2, 0] = v1 - 0.5
    random[1, 2] = random[2, 1] = v2 - 0.5
    mean = np.zeros((3, 3))
    for r in range(len(rotations)):
        rotation = rotations[r]
        for i in range(3):
            for j in range(3):
                for k in range(3):
                    for m in range(3):
                        mean[i, j] += rotation[i, k] * random[k, m] * rotation[j, m]
    trace = (mean[0, 0] + mean[1, 1] + mean[2, 2]) / 3.0
    for i in range(3):
        for j in range(3):
            change = 0.01 * p[_SHAPE] * (mean[i, j] - (trace if i == j else 0.0)) / len(rotations)
            mean[i, j] = change + (1.0 + 0.01 * p[_SCALE] if i == j else 0.0)
    out[:] = inverse(mean)


@njit(cache=True, nogil=True)
def _lines_of(
    lines: _Lines,
    settings: _Settings,
    p: np.ndarray,
    key0: int,
    key1: int,
    condition: int,
    second_phase: bool,
    out: np.ndarray,
) -> int:
    """Table of the lines of one pattern, a column for each.

    Returns the number of lines (those the strain moves beyond 2θ = 180° are gone).
    """
    to_deg = 180.0 / math.pi
    strained = p[_SCALE] != 0.0 or p[_SHAPE] != 0.0
    back = np.empty((3, 3))
    if strained:
        _strain(p, lines.rotations, key0, key1, condition, back)
    textured = p[_MARCH_R] != 1.0 and not second_phase
    oriented = p[_ORIENTATION] > 0.0 and not second_phase
    axis = lines.axes[min(int(p[_MARCH_AXIS]), len(lines.axes) - 1)]
    b = p[_B] + 8.0 * math.pi**2 / 3.0 * p[_DISPLACEMENT_U] ** 2
    count = 0
    for i in range(len(lines.s_squared)):
        s_squared = lines.s_squared[i]
        if strained:
            q0, q1, q2 = lines.q[i]
            r0 = back[0, 0] * q0 + back[0, 1] * q1 + back[0, 2] * q2
            r1 = back[1, 0] * q0 + back[1, 1] * q1 + back[1, 2] * q2
            r2 = back[2, 0] * q0 + back[2, 1] * q1 + back[2, 2] * q2
            s_squared *= (r0 * r0 + r1 * r1 + r2 * r2) / (q0 * q0 + q1 * q1 + q2 * q2)
        s = math.sqrt(s_squared)
        sin = settings.wavelength * s
        if sin >= 0.9999:
            continue
        cos = math.sqrt(1.0 - sin * sin)
        tan = sin / cos
        area = lines.strength[i]
        if textured:
            area = 0.0
            for m in range(lines.start[i], lines.start[i + 1]):
                q0, q1, q2 = lines.member_q[m]
                cosine = (q0 * axis[0] + q1 * axis[1] + q2 * axis[2]) / math.sqrt(q0 * q0 + q1 * q1 + q2 * q2)
                area += lines.member_strength[m] * effects.march_dollase(p[_MARCH_R], cosine)
        area *= effects.lorentz_polarisation(sin, cos, settings.polarisation)
        if b != 0.0:
            area *= effects.debye_waller(b, s_squared)
        if oriented:
            u, v, _, _ = draw4(key0, key1, condition, bg.ORIENTATION, i)
            factor = 1.0 + 0.2 * normal_pair(u, v)[0]
            area *= min(max(factor, 1.0 - p[_ORIENTATION]), 1.0 + p[_ORIENTATION])
        if p[_GRAINS] > 0.0 and not second_phase:
            u, v, _, _ = draw4(key0, key1, condition, bg.GRAINS, i)
            area *= math.exp(p[_GRAINS] * normal_pair(u, v)[0] - 0.5 * p[_GRAINS] ** 2)
        gauss = effects.caglioti_width(p[_FWHM], p[_U], p[_V], tan) if p[_FWHM] > 0.0 else 0.0
        if p[_GAUSS_STRAIN] > 0.0:
            width = effects.strain_width(0.01 * p[_GAUSS_STRAIN], tan) * to_deg
            gauss = math.sqrt(gauss * gauss + width * width)
        lorentz = 0.0
        if p[_STRAIN] > 0.0:
            lorentz += effects.strain_width(0.01 * p[_STRAIN], tan) * to_deg
        if p[_SIZE] < math.inf:
            lorentz += effects.scherrer_width(p[_SIZE], settings.wavelength, cos) * to_deg
        if p[_GRAIN] < math.inf:
            width = effects.simxrd_width(p[_GRAIN], settings.wavelength, cos)
            lorentz += width
            width *= effects.SIMXRD_GAUSS_PER_LORENTZ
            gauss = math.sqrt(gauss * gauss + width * width)
        shift = float(p[_ZERO])
        if p[_DISPLACEMENT] != 0.0:
            shift += effects.displacement_shift(p[_DISPLACEMENT], settings.radius_mm, cos) * to_deg
        if p[_DEPTH] != 0.0:
            shift += effects.transparency_shift(p[_DEPTH], settings.radius_mm, sin, cos) * to_deg
        out[_PLACE, count] = 2.0 * math.asin(sin) * to_deg + shift
        out[_PLACE2, count] = 2.0 * math.asin(min(settings.wavelength2 * s, 1.0)) * to_deg + shift
        out[_AREA, count] = area
        out[_GAUSS, count] = gauss
        out[_LORENTZ, count] = lorentz
        out[_SINE, count] = sin
        count += 1
    return count


@njit(cache=True, nogil=True)
def _threshold(areas: np.ndarray) -> float:
    """Area below which lines can be left out: together they stay below 2e-4 of the strongest."""
    top: float = areas.max()
    for part in (1e-4, 2e-5, 4e-6, 8e-7):
        total = 0.0
        for i in range(len(areas)):
            if areas[i] < part * top:
                total += areas[i]
        if total < 2e-4 * top:
            return part * top
    return 0.0


@njit(cache=True, nogil=True)
def _add_line(
    fine: np.ndarray, coarse: np.ndarray, line: np.ndarray, settings: _Settings, p: np.ndarray, work: _Work
) -> None:
    """Add one reflection with its Kα2 and axial divergence; all its parts share one width."""
    step = settings.step
    # a line narrower than the step cannot be sampled: the Gaussian part is kept at half a step
    gauss = max(line[_GAUSS] / step, 0.5)
    lorentz = line[_LORENTZ] / step
    if settings.true_voigt:
        gauss = max(gauss, 0.05 * lorentz)
        sigma, gamma = gauss / 2.3548200450309493, 0.5 * lorentz
        fwhm, eta = 0.5346 * lorentz + math.sqrt(0.2166 * lorentz * lorentz + gauss * gauss), 0.0
        reach = max(profiles.REACH, 6.5 * sigma, 1.5 * lorentz)
        profiles.voigt_coefficients(gamma / (sigma * math.sqrt(2.0)), work.coefficients)
        profiles.tail_shape(1.0, gamma, sigma, reach, work.tail)
    else:
        sigma = 0.0
        fwhm, eta = profiles.thompson_cox_hastings(gauss, lorentz)
        reach = max(profiles.REACH, 2.0 * fwhm)
        profiles.tail_shape(eta, 0.5 * fwhm, 0.0, reach, work.tail)
    nodes = 1
    work.shifts[0], work.weights[0] = 0.0, 1.0
    sin = line[_SINE]
    cos_2theta = 1.0 - 2.0 * sin * sin
    sin_2theta = 2.0 * sin * math.sqrt(1.0 - sin * sin)
    if p[_AXIAL_S] > 0.0 and p[_AXIAL_H] > 0.0:
        nodes = effects.axial_nodes(
            sin_2theta, cos_2theta, p[_AXIAL_S], p[_AXIAL_H], fwhm * step, _NODES, work.shifts, work.weights
        )
    first = (line[_PLACE] - settings.two_theta_min) / step
    total, moment, square = 0.0, 0.0, 0.0
    for wave in range(2 if p[_KALPHA2] > 0.0 else 1):
        share = line[_AREA] / (1.0 + p[_KALPHA2])
        place, stretch = first, 1.0 / step
        if wave == 1:
            share *= p[_KALPHA2]
            place = (line[_PLACE2] - settings.two_theta_min) / step
            # the same heights at the other wavelength: the shift goes with cot 2θ
            sin *= settings.wavelength2 / settings.wavelength
            if sin >= 1.0:
                continue
            if abs(cos_2theta) > 1e-3:
                other = (1.0 - 2.0 * sin * sin) / (2.0 * sin * math.sqrt(1.0 - sin * sin))
                stretch *= other * sin_2theta / cos_2theta
        for i in range(nodes):
            position = place + work.shifts[i] * stretch
            weight = share * work.weights[i]
            if settings.true_voigt:
                profiles.add_near_voigt(fine, position, weight, sigma, work.coefficients, work.tail, reach)
            else:
                profiles.add_near_pseudo_voigt(fine, position, weight, fwhm, eta, work.tail, reach)
            total += weight
            moment += weight * (position - first)
            square += weight * (position - first) ** 2
    # the smooth parts of one reflection are joined at their centre, or at two places of the same spread
    centre = first + moment / total
    spread = math.sqrt(max(square / total - (moment / total) ** 2, 0.0))
    if spread < 0.05 * reach:
        profiles.add_tail(coarse, centre, total, work.tail)
    else:
        profiles.add_tail(coarse, centre - spread, 0.5 * total, work.tail)
        profiles.add_tail(coarse, centre + spread, 0.5 * total, work.tail)


@njit(cache=True, nogil=True)
def _render(
    lines: _Lines,
    second: _Lines,
    impure: bool,
    settings: _Settings,
    drawn: np.ndarray,
    conditions: np.ndarray,
    rows: np.ndarray,
    key0: int,
    key1: int,
    out: np.ndarray,
) -> None:
    """Compute the patterns of some rows."""
    table = np.empty((6, len(lines.s_squared) + (len(second.s_squared) if impure else 0)))
    fine = np.empty(profiles.fine_size(out.shape[1]), np.float32)
    coarse = np.empty(profiles.coarse_size(out.shape[1]), np.float32)
    work = _Work(np.empty((2, 8), np.float32), np.empty(9, np.float32), np.empty(64), np.empty(64))
    line = np.empty(6)
    for row in rows:
        p = drawn[row]
        condition = conditions[row]
        fine[:] = 0.0
        coarse[:] = 0.0
        count = _lines_of(lines, settings, p, key0, key1, condition, False, table)
        if impure:
            more = _lines_of(second, settings, p, key0, key1, condition, True, table[:, count:])
            if more > 0:
                top = table[_AREA, :count].max() / table[_AREA, count : count + more].max()
                table[_AREA, count : count + more] *= p[_IMPURITY] * top
            count += more
        threshold = _threshold(table[_AREA, :count])
        scale = 1.0 / table[_AREA, :count].max()
        for i in range(count):
            if table[_AREA, i] >= threshold:
                line[:] = table[:, i]
                line[_AREA] *= scale
                _add_line(fine, coarse, line, settings, p, work)
        profiles.sum_grids(fine, coarse, out[row])
        _finish(out[row], settings, p, key0, key1, condition)


@njit(cache=True, nogil=True)
def _finish(y: np.ndarray, settings: _Settings, p: np.ndarray, key0: int, key1: int, condition: int) -> None:
    """Background, noise, and the scale: the highest point is 100."""
    top = bg.lowest_highest(y)[1]
    lines = y.copy() if p[_REMOVED] > 0.0 else y
    if p[_BACKGROUND] > 0.0:
        height = p[_BACKGROUND] * top
        if settings.simxrd_background:
            bg.add_simxrd_background(y, settings.two_theta_min, settings.step, height, key0, key1, condition)
        else:
            bg.add_chebyshev_background(y, height, key0, key1, condition)
    if p[_AIR] > 0.0:
        bg.add_air_scatter(y, settings.two_theta_min, settings.step, p[_AIR] * top)
    if p[_AMORPHOUS] > 0.0:
        bg.add_amorphous(
            y, settings.two_theta_min, settings.step, settings.wavelength, p[_AMORPHOUS] * top, key0, key1, condition
        )
    if p[_UNIFORM] > 0.0:
        bg.add_uniform_noise(y, p[_UNIFORM] * top, key0, key1, condition)
    scale = np.float32(1.0)
    if p[_REMOVED] > 0.0:
        for i in range(len(y)):
            lines[i] = np.float32(p[_REMOVED]) * (y[i] - lines[i])
    if p[_COUNTS] < math.inf:
        scale = np.float32(p[_COUNTS] / bg.lowest_highest(y)[1])
        bg.count(y, p[_COUNTS], key0, key1, condition)
    if p[_DETECTOR] > 0.0:
        bg.add_detector_noise(y, 0.01 * p[_DETECTOR], key0, key1, condition)
    if p[_REMOVED] > 0.0:
        for i in range(len(y)):
            y[i] -= scale * lines[i]
    top = bg.lowest_highest(y)[1]
    factor = np.float32(100.0) / top
    for i in range(len(y)):
        y[i] = min(max(y[i] * factor, np.float32(0.0)), np.float32(100.0))
