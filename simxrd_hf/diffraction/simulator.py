"""A crystal, a preset, a seed and a condition make a pattern: the same one, bit for bit, whenever it is asked for."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.diffraction import background as bg
from simxrd_hf.diffraction import effects, profiles
from simxrd_hf.diffraction import lines as ln
from simxrd_hf.diffraction.crystal import Crystal, CrystalError
from simxrd_hf.diffraction.grid import PatternGrid
from simxrd_hf.diffraction.lattice import lattice_rotations
from simxrd_hf.diffraction.lines import Lines, Settings
from simxrd_hf.diffraction.parameters import INDEX, compile_distributions, draw_parameters
from simxrd_hf.diffraction.philox import crystal_key, draw4
from simxrd_hf.diffraction.presets import Preset, get_preset
from simxrd_hf.diffraction.reflections import find_reflections
from simxrd_hf.diffraction.rendering import render
from simxrd_hf.errors import BadInput

MERGE_DEG = 5e-4
"""Reflections closer than this are one line of a simulated pattern: a hundredth of the narrowest line or less."""
MAX_CONDITION = 32767


@dataclass(frozen=True, eq=False)
class PreparedCrystal:
    """A crystal with its lines found: what `Simulator.prepare` makes and `Simulator.simulate` takes again and again.

    It belongs to simulators of the same preset and grid, whatever their seed.
    """

    crystal_id: str
    lines: Lines

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
        self._settings = Settings(
            self.grid.two_theta_min,
            self.grid.step,
            first,
            second,
            cosine * cosine,
            float(self.preset.goniometer_radius_mm),
            self.preset.background_shape == "simxrd",
        )
        self._layout, self._tails = profiles.make_layout(self.grid.n_points)
        # lines that differ in width alone need no evaluation: they are read from a table
        self._voigt: np.ndarray | None = None
        if self.preset.profile == "voigt":
            self._voigt = np.empty((0, profiles.PLACES + 1, profiles.WINDOW), np.float32)
        widths = {"crystallite_size_nm", "microstrain_percent", "instrument_fwhm_deg", "gaussian_microstrain_percent"}
        if self.preset.profile == "voigt" and not widths & set(self.preset.parameter_names):
            self._voigt = profiles.voigt_table(effects.SIMXRD_GAUSS_PER_LORENTZ)
        plain = self.preset.background_shape == "simxrd" and not ln.MEASURED & set(self.preset.parameters)
        self._measured = None if plain else True
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
        if isinstance(conditions, range):
            numbers = np.arange(conditions.start, conditions.stop, conditions.step, dtype=np.int64)
        elif isinstance(conditions, np.ndarray) and conditions.dtype == np.int64:
            numbers = conditions
        else:
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
            render(
                lines,
                second,
                chosen is not None,
                self._settings,
                self._layout,
                self._tails,
                self._voigt,
                self._measured,
                drawn,
                numbers,
                rows,
                key0,
                key1,
                out,
            )
        columns = np.ascontiguousarray(drawn.T[self._columns])
        return Simulation(out, dict(zip(self.preset.parameter_names, columns, strict=True)), numbers)

    def line_positions(
        self, crystal: Crystal | PreparedCrystal, vectors: np.ndarray, condition: int
    ) -> NDArray[np.float64]:
        """Where lines lie in one pattern: its strained cell, zero shift, displacement and transparency are applied.

        Args:
            crystal: The crystal, or what `prepare` made of it.
            vectors: (n, 3) reciprocal vectors of the lines, Å⁻¹ (length 1/d), in the frame of the crystal's lattice.
            condition: The pattern.

        Returns:
            (n,) 2θ in degrees at `wavelength`; NaN for lines that the strain moves beyond 180°.
        """
        prepared = crystal if isinstance(crystal, PreparedCrystal) else self.prepare(crystal)
        key0, key1 = crystal_key(crystal.crystal_id, self.seed)
        number = _integer("condition", condition)
        p = draw_parameters(self._table, key0, key1, np.array([number], dtype=np.int64))[0]
        lengths = np.linalg.norm(vectors, axis=1)
        if p[ln.SCALE] != 0.0 or p[ln.SHAPE] != 0.0:
            back = ln.inverse_strain(p, prepared.lines, key0, key1, number)
            lengths = np.linalg.norm(vectors @ back.T, axis=1)
        sine = 0.5 * self.wavelength * lengths
        angle = np.arcsin(np.where(sine < 0.9999, sine, np.nan))
        radius = self._settings.radius_mm
        # as Python: compiled, they take numbers alone
        shift = effects.displacement_shift.py_func(p[ln.DISPLACEMENT], radius, np.cos(angle))
        shift += effects.transparency_shift.py_func(p[ln.DEPTH], radius, np.sin(angle), np.cos(angle))
        positions: NDArray[np.float64] = np.degrees(2.0 * angle + shift) + float(p[ln.ZERO])
        return positions

    def _by_impurity(
        self, key0: int, key1: int, conditions: np.ndarray, drawn: np.ndarray
    ) -> list[tuple[int | None, np.ndarray]]:
        """Rows grouped by the second phase they contain."""
        if not self.impurities:
            drawn[:, ln.IMPURITY] = 0.0
        if not drawn[:, ln.IMPURITY].any():
            return [(None, np.arange(len(conditions)))]
        groups: dict[int | None, list[int]] = {}
        for row, condition in enumerate(conditions):
            chosen = None
            if drawn[row, ln.IMPURITY] > 0.0:
                chosen = int(draw4(key0, key1, condition, bg.IMPURITY, bg.ZEROTH)[0] * len(self.impurities))
            groups.setdefault(chosen, []).append(row)
        return [(chosen, np.array(rows)) for chosen, rows in groups.items()]

    def _impurity(self, index: int) -> Lines:
        return self._lines(self.impurities[index])

    def _lines(self, crystal: Crystal) -> Lines:
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
        return ln.pack(crystal.lattice, found, rotations)


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
