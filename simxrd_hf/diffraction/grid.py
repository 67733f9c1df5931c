"""The 2θ axis a pattern is sampled on, and the wavelength that ties it to d-spacings."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from simxrd_hf.errors import BadInput

MAX_POINTS = 200_000


@dataclass(frozen=True)
class PatternGrid:
    """An equidistant 2θ axis and its wavelength.

    Args:
        two_theta_min: First point, degrees.
        two_theta_max: Last point, degrees (reached when the step divides the range).
        step: Distance of the points, degrees.
        wavelength: Wavelength in Å; 1.54184 is the weighted mean of Cu Kα1 and Kα2.

    Raises:
        BadInput: A value that makes no sense as a diffractometer scan; the message names the field.
    """

    two_theta_min: float = 10.0
    two_theta_max: float = 80.0
    step: float = 0.02
    wavelength: float = 1.54184

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
                raise BadInput(f"pattern grid: {field.name} must be a number, not {value!r}")
            if not math.isfinite(value):
                raise BadInput(f"pattern grid: {field.name} is {value}; give a finite number")
            object.__setattr__(self, field.name, float(value))
        if not 0.0 < self.two_theta_min < self.two_theta_max < 180.0:
            raise BadInput(
                f"pattern grid: two_theta_min {self.two_theta_min} and two_theta_max {self.two_theta_max} "
                "must rise and lie between 0 and 180 degrees"
            )
        if not self.step > 0.0:
            raise BadInput(f"pattern grid: step is {self.step}; give a positive number of degrees")
        if not 0.01 <= self.wavelength <= 10.0:
            raise BadInput(f"pattern grid: wavelength {self.wavelength} Å is not an X-ray wavelength (0.01 to 10 Å)")
        if not 32 <= self.n_points <= MAX_POINTS:
            raise BadInput(
                f"pattern grid: step {self.step} gives {self.n_points} points; choose one that gives 32 to {MAX_POINTS}"
            )

    @property
    def n_points(self) -> int:
        """Number of points."""
        return int((self.two_theta_max - self.two_theta_min) / self.step + 1e-6) + 1

    @cached_property
    def two_theta(self) -> np.ndarray:
        """2θ of the points, degrees, float64 (n_points,), read-only."""
        return _frozen(self.two_theta_min + self.step * np.arange(self.n_points))

    @cached_property
    def d(self) -> np.ndarray:
        """Lattice spacing d = λ / (2 sin θ) of the points, Å, float64 (n_points,), read-only."""
        return _frozen(self.wavelength / (2.0 * np.sin(np.radians(self.two_theta) / 2.0)))

    @cached_property
    def q(self) -> np.ndarray:
        """Momentum transfer q = 2π / d of the points, 1/Å, float64 (n_points,), read-only."""
        return _frozen(2.0 * np.pi / self.d)

    def to_dict(self) -> dict[str, float]:
        """The four numbers as plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "PatternGrid":
        """Rebuild a grid from `to_dict`.

        Raises:
            BadInput: An unknown key or a value out of sense.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise BadInput(f"pattern grid: unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}")
        return cls(**data)


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
