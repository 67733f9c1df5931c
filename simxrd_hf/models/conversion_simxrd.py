"""Patterns as people have them → arrays on a model's grid; numpy alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .composition_simxrd import composition_vector
from .resampling_simxrd import (
    check_axis,
    check_grid,
    check_intensity,
    check_wavelength,
    coverage,
    describe_grid,
    grid_axis,
    resample,
    to_two_theta,
)

AXES = ("two_theta", "d", "q")
ASK = "pass wavelength= in Å (Cu Kα is 1.54184); it is never assumed"
# Columns of the datasets beside the intensity: a row of one is taken as it is.
_LABELS = ("space_group", "crystal_system", "bravais_lattice", "laue_class", "extinction_symbol")
_ROW = {"crystal_id", "formula", "condition", "row_id", *_LABELS}
_KEYS = {"intensity", *AXES, "wavelength", "composition", "patterns", "negative"}


@dataclass(frozen=True)
class Converter:
    """Puts patterns on a grid, scales them to maximum 100 and masks what was not measured.

    Args:
        grid: `two_theta_min`, `two_theta_max`, `step` (degrees), `wavelength` (Å).
        negative: "error" refuses negative intensities, "clip" sets them to 0.
        max_gap: Intervals between points wider than this (degrees 2θ) count as not measured.
        min_overlap: Least range a pattern must share with the grid (degrees 2θ).
    """

    grid: Mapping[str, float]
    negative: str = "error"
    max_gap: float = 0.5
    min_overlap: float = 5.0

    def __post_init__(self) -> None:
        check_grid(self.grid)
        _check_negative(self.negative)

    def __call__(
        self,
        intensity: Any,
        two_theta: Any = None,
        d: Any = None,
        q: Any = None,
        wavelength: float | Sequence[float] | None = None,
        negative: str | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Convert one pattern or a batch.

        Args:
            intensity: One pattern (n,), several on one axis (batch, n), or a sequence of patterns of any lengths.
            two_theta: Positions in degrees: one axis for all, or a sequence of one axis per pattern.
            d: Lattice spacings in Å instead.
            q: Momentum transfer 4π sin θ / λ in Å⁻¹ instead. Without any axis a pattern must lie on the grid.
            wavelength: Å, of a 2θ axis, which means nothing without; one for all or one per pattern.
            negative: Overrides the converter's setting for this call.

        Returns:
            Intensity (batch, n_points), mask (batch, n_points), and per pattern what it was given as: the axis, its
            range, the wavelength and the covered part of the grid.

        Raises:
            ValueError: Anything that makes a pattern unusable; the message says what was expected and what came, and
                for a batch which pattern it was.
        """
        negative = _check_negative(self.negative if negative is None else negative)
        given = {kind: axis for kind, axis in (("two_theta", two_theta), ("d", d), ("q", q)) if axis is not None}
        if len(given) > 1:
            raise ValueError(f"give one axis, got {' and '.join(given)}")
        kind, axis = next(iter(given.items()), (None, None))
        if wavelength is not None and kind in ("d", "q"):
            raise ValueError(f"an axis in {kind} does not depend on the wavelength: leave wavelength out")
        if wavelength is None and kind == "two_theta":
            raise ValueError(f"a 2θ axis needs its wavelength: {ASK}")
        patterns, shared = _as_patterns(intensity)
        names = [""] if len(patterns) == 1 else [f"pattern {index}: " for index in range(len(patterns))]
        axes = _per_pattern(axis, len(patterns), kind or "axis")
        wavelengths = _wavelengths(wavelength, len(patterns), self.grid["wavelength"])

        n_points = check_grid(self.grid)
        values = np.empty((len(patterns), n_points), dtype=np.float32)
        masks = np.empty((len(patterns), n_points), dtype=bool)
        info = []
        # Patterns that share one axis are resampled together; otherwise one by one.
        together = shared and (axis is None or axes[0] is axes[-1]) and len(set(wavelengths)) == 1
        groups = [range(len(patterns))] if together else [range(i, i + 1) for i in range(len(patterns))]
        for group in groups:
            first = group[0]
            rows = []
            for index in group:
                try:
                    rows.append(check_intensity(patterns[index], negative))
                except ValueError as error:
                    raise ValueError(f"{names[index]}{error}") from error
            try:
                source, resampled, mask = self._convert(np.stack(rows), kind, axes[first], wavelengths[first])
                scaled = _scale(resampled)
            except ValueError as error:
                raise ValueError(f"{names[first]}{error}") from error
            values[group.start : group.stop] = scaled
            masks[group.start : group.stop] = mask
            info += [coverage(kind, source, wavelengths[index], mask) for index in group]
        return values, masks, info

    def _convert(
        self, rows: NDArray[np.float64], kind: str | None, axis: Any, wavelength: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """(patterns, n) on one axis → that axis, (patterns, n_points), mask."""
        n_points = check_grid(self.grid)
        if kind is None:
            if rows.shape[1] != n_points:
                raise ValueError(
                    f"intensity has {rows.shape[1]} points; without an axis it must lie on the model's grid, "
                    f"{describe_grid(self.grid)}: pass two_theta=, d= or q= with it"
                )
            if wavelength == self.grid["wavelength"]:
                return grid_axis(self.grid), rows, np.ones(n_points, dtype=bool)
            kind, axis = "two_theta", grid_axis(self.grid)
        source = check_axis(kind, axis, rows.shape[1])
        positions = to_two_theta(kind, source, wavelength, self.grid["wavelength"])
        if positions[0] > positions[-1]:
            positions, rows = positions[::-1], rows[:, ::-1]
        reachable = positions < 180
        positions, rows = positions[reachable], rows[:, reachable]
        if len(positions) < 2:
            raise ValueError(f"no point of the pattern can be reached at {self.grid['wavelength']:g} Å")
        values, mask = resample(rows, positions, self.grid, max_gap=self.max_gap, min_overlap=self.min_overlap)
        return source, values, mask


def _check_negative(negative: str) -> str:
    if negative not in ("error", "clip"):
        raise ValueError(f'negative must be "error" or "clip", got {negative!r}')
    return negative


def _as_patterns(intensity: Any) -> tuple[list[Any], bool]:
    """Patterns as a list, and whether they have one common length."""
    if hasattr(intensity, "detach"):  # a torch tensor, from any device
        intensity = intensity.detach().double().cpu().numpy()
    if isinstance(intensity, np.ndarray):
        if intensity.ndim not in (1, 2) or intensity.size == 0:
            raise ValueError(f"intensity must have shape (n,) or (batch, n), got {intensity.shape}")
        return (list(intensity), True) if intensity.ndim == 2 else ([intensity], True)
    if not isinstance(intensity, list | tuple) or not intensity:
        raise ValueError(f"intensity must be an array or a list of arrays, got {type(intensity).__name__}")
    if np.ndim(intensity[0]) == 0:
        return [np.asarray(intensity)], True
    patterns = [np.asarray(pattern) for pattern in intensity]
    return patterns, len({pattern.shape for pattern in patterns}) == 1


def _per_pattern(axis: Any, count: int, kind: str) -> list[Any]:
    """One axis per pattern; the same object `count` times where one axis is common to all."""
    if axis is None:
        return [None] * count
    if hasattr(axis, "detach"):
        axis = axis.detach().cpu().numpy()
    if np.ndim(axis[0]) == 0:
        return [axis] * count
    if len(axis) != count:
        raise ValueError(f"{kind} has {len(axis)} axes for {count} patterns")
    return list(axis)


def _wavelengths(wavelength: float | Sequence[float] | None, count: int, default: float) -> list[float]:
    if wavelength is None:
        return [default] * count
    values = [float(value) for value in np.atleast_1d(np.asarray(wavelength, dtype=np.float64))]
    if len(values) not in (1, count):
        raise ValueError(f"wavelength has {len(values)} values for {count} patterns")
    return [check_wavelength(value) for value in values] * (count if len(values) == 1 else 1)


def _scale(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row to maximum 100."""
    largest = values.max(axis=1, keepdims=True)
    if not (largest > 0).all():
        raise ValueError("the pattern is 0 everywhere in the range the model reads")
    result: NDArray[np.float64] = values * (100.0 / largest)
    return result


def as_mapping(item: Any, reader: Callable[[str | Path], Mapping[str, Any]]) -> Mapping[str, Any]:
    """One input in any form as a mapping with "intensity" or "patterns"; paths go through `reader`."""
    if isinstance(item, str | Path):
        if not Path(item).is_file():
            raise ValueError(f"no such file: {item}")
        item = reader(item)
    elif not isinstance(item, Mapping):
        item = {"intensity": item}
    elif "intensity" in item and _ROW & set(item) and not {*AXES, "wavelength"} & set(item):
        item = {"intensity": item["intensity"]}  # a row of a dataset: on the grid; labels are not for the model's eyes
    if unknown := set(item) - _KEYS:
        raise ValueError(f"unknown key {', '.join(sorted(map(str, unknown)))}; known are {', '.join(sorted(_KEYS))}")
    if "intensity" not in item and "patterns" not in item:
        raise ValueError('a pattern needs "intensity"')
    mapping: Mapping[str, Any] = item
    return mapping


def prepare(
    item: Any,
    convert: Callable[..., tuple[NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]],
    reader: Callable[[str | Path], Mapping[str, Any]],
    *,
    wavelength: float | None = None,
    negative: str | None = None,
    use_composition: bool = False,
) -> dict[str, Any]:
    """One input of a classifier in any form → the arrays it reads.

    Args:
        item: An array on the grid, a path, a mapping with "intensity", an axis, "wavelength" and "composition", a row
            of a dataset on the grid, or a mapping with "patterns", several of these that belong to one sample.
        convert: A `Converter`.
        reader: Reads a path into a mapping.
        wavelength: Å, for 2θ axes that come without one.
        negative: Overrides the converter's setting.
        use_composition: Whether the model takes a composition.

    Returns:
        "intensity" and "mask" (patterns, n_points), "info", and "composition" (patterns, 118) where the model takes it.
    """
    sample = as_mapping(item, reader)
    parts = [as_mapping(part, reader) for part in sample["patterns"]] if "patterns" in sample else [sample]
    if not parts:
        raise ValueError('"patterns" is empty')
    rows, masks, info = [], [], []
    for part in parts:
        axes = {name: part[name] for name in AXES if part.get(name) is not None}
        own = part.get("wavelength")
        if own is None and not axes.keys() & {"d", "q"}:
            own = wavelength
            if own is None and "wavelength" in part and axes:  # a reader looked for it and found none
                raise ValueError(f"the file does not say the wavelength: {ASK}")
        intensity, mask, given = convert(
            np.asarray(part["intensity"], dtype=np.float64),
            **axes,
            wavelength=own,
            negative=part.get("negative", negative),
        )
        rows.append(intensity)
        masks.append(mask)
        info += given
    prepared: dict[str, Any] = {"intensity": np.concatenate(rows), "mask": np.concatenate(masks), "info": info}
    composition = sample.get("composition")
    if use_composition:
        vector = np.zeros(118, dtype=np.float32) if composition is None else composition_vector(composition)
        prepared["composition"] = np.tile(vector, (len(info), 1))
    elif composition is not None:
        raise ValueError("this model takes no composition; leave it out")
    return prepared
