"""Simulated rows: windows of crystals in, Arrow record batches in storage order out."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import pyarrow as pa

from simxrd_hf.crystals import crystal as crystal_of
from simxrd_hf.data.features import record_batch, row_schema
from simxrd_hf.data.plan import Plan
from simxrd_hf.data.rounding import round_rows
from simxrd_hf.diffraction import Simulator
from simxrd_hf.errors import BadInput


def _places_of(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Where each value stands in an array without repetitions that holds them all."""
    order = np.argsort(among)
    places: np.ndarray = order[np.searchsorted(among, values, sorter=order)]
    return places


class RowSimulator:
    """Simulates rows of a plan; one object for each process.

    Args:
        plan: Files and rows.
        skip: Rows of the crystal table that are known to be unusable.
        reuse: Whether the patterns of a window may lie where those of the one before lay, which saves the page faults;
            for a caller who has written the one before the next is made.
    """

    def __init__(self, plan: Plan, skip: Collection[int] = (), *, reuse: bool = False) -> None:
        recipe = plan.recipe
        self.plan = plan
        self.skip = frozenset(skip)
        self.dtype = np.dtype(recipe.dtype)
        self._exact = recipe.exact
        self._reuse = reuse
        self.schema = row_schema(recipe.preset, recipe.grid, recipe.dtype, recipe.labels)
        self.simulator = Simulator(recipe.preset, seed=recipe.seed, grid=recipe.grid)
        crystals = plan.crystals
        self._ids = crystals["crystal_id"].combine_chunks()
        self._formulas = crystals["formula"].combine_chunks()
        self._space_groups = crystals["space_group"].to_numpy()
        self._names = recipe.preset.parameter_names
        self._points = recipe.grid.n_points
        self._made = np.empty((0, self._points), dtype=np.float32)
        self._stored = np.empty((0, self._points), dtype=self.dtype)

    def _simulate(self, row: int, conditions: np.ndarray, places: np.ndarray, intensity: np.ndarray) -> np.ndarray:
        """Put patterns of a crystal of the table into their places of an array (rows, points).

        Returns:
            What was drawn for them, float32 (parameters, conditions).

        Raises:
            BadInput: The crystal cannot be simulated; names crystal and field.
        """
        group = int(self._space_groups[row])
        if not 1 <= group <= 230:
            raise BadInput(f"crystal {self._ids[row]}: space group {group} is not a number from 1 to 230")
        if len(self._made) < len(conditions):
            self._made = np.empty((len(conditions), self._points), dtype=np.float32)
        patterns = self._made[: len(conditions)]
        made = self.simulator.simulate(crystal_of(self.plan.crystals, row), conditions, out=patterns)
        if self._exact or self.dtype == np.float16:
            good = not patterns.size or bool(patterns.min() >= 0.0 and patterns.max() < np.inf)
            intensity[places] = patterns
        else:
            good = round_rows(patterns, places, intensity)
        if not good:
            raise BadInput(f"crystal {self._ids[row]}: its simulated pattern is not finite")
        return np.array([made.parameters[name] for name in self._names], dtype=np.float32)

    def window(
        self, window: np.ndarray, parts: Iterable[str]
    ) -> tuple[dict[str, pa.RecordBatch], list[tuple[int, str]]]:
        """All rows of one window.

        Args:
            window: Rows of the crystal table.
            parts: Condition splits to make.

        Returns:
            A record batch for each part, rows in storage order, and (row of the crystal table, reason) of the crystals
            that could not be simulated; those have no rows.
        """
        window = window[~np.isin(window, list(self.skip))]
        rows = {part: self.plan.rows(window, part) for part in parts}
        crystal = np.concatenate([chosen.crystal for chosen in rows.values()])
        condition = np.concatenate([chosen.condition for chosen in rows.values()])
        conditions = np.array([c for part in rows for c in self.plan.conditions[part]], dtype=np.int64)
        places = np.empty((len(window), len(conditions)), dtype=np.int64)
        slots, columns = _places_of(crystal, window), _places_of(condition, conditions)
        places[slots, columns] = np.arange(len(crystal))
        intensity = self._room(len(crystal))
        drawn = np.zeros((len(self._names), len(window), len(conditions)), dtype=np.float32)
        rejected: list[tuple[int, str]] = []
        for slot, row in enumerate(map(int, window)):
            try:
                drawn[:, slot] = self._simulate(row, conditions, places[slot], intensity)
            except BadInput as error:
                rejected.append((row, str(error)))
        parameters = drawn[:, slots, columns]
        bad = np.isin(crystal, [row for row, _ in rejected])
        batches = {}
        start = 0
        for part, chosen in rows.items():
            here: slice | np.ndarray = slice(start, start + len(chosen.crystal))
            start += len(chosen.crystal)
            if rejected:
                here = np.arange(len(crystal))[here][~bad[here]]
            batches[part] = self._batch(crystal[here], condition[here], intensity[here], parameters[:, here])
        return batches, rejected

    def _room(self, rows: int) -> np.ndarray:
        if not self._reuse:
            return np.empty((rows, self._points), dtype=self.dtype)
        if len(self._stored) < rows:
            self._stored = np.empty((rows, self._points), dtype=self.dtype)
        return self._stored[:rows]

    def pick(self, crystal: np.ndarray, condition: np.ndarray) -> pa.RecordBatch:
        """Chosen rows in the order asked for; each crystal is prepared once.

        Args:
            crystal: Rows of the crystal table, shape (rows,).
            condition: Condition of each row, shape (rows,).

        Raises:
            BadInput: One of the crystals cannot be simulated.
        """
        intensity = np.empty((len(crystal), self._points), dtype=self.dtype)
        drawn = np.zeros((len(self._names), len(crystal)), dtype=np.float32)
        for row in np.unique(crystal):
            here = np.flatnonzero(crystal == row)
            drawn[:, here] = self._simulate(int(row), condition[here], here, intensity)
        return self._batch(crystal, condition, intensity, drawn)

    def _batch(
        self, crystal: np.ndarray, condition: np.ndarray, intensity: np.ndarray, drawn: np.ndarray
    ) -> pa.RecordBatch:
        rows = pa.array(crystal.astype(np.int64))
        return record_batch(
            self.schema,
            intensity=intensity,
            space_group=self._space_groups[crystal],
            crystal_id=self._ids.take(rows),
            formula=self._formulas.take(rows),
            condition=condition,
            parameters=dict(zip(self._names, drawn, strict=True)),
        )
