"""Simulated rows: windows of crystals in, Arrow record batches in storage order out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from simxrd_hf.crystals import crystal as crystal_of
from simxrd_hf.data.features import record_batch, row_schema
from simxrd_hf.data.plan import Plan, Rows
from simxrd_hf.data.rounding import round_rows
from simxrd_hf.diffraction import Simulation, Simulator
from simxrd_hf.errors import BadInput

_Store = tuple[np.ndarray, dict[str, np.ndarray]]  # intensities, drawn parameters


def _places(window: np.ndarray, conditions: Sequence[int], rows: Rows) -> np.ndarray:
    """Place in storage order of each crystal's rows, int64 (crystals, conditions)."""
    slot = {int(row): index for index, row in enumerate(window)}
    column = {condition: index for index, condition in enumerate(conditions)}
    places = np.empty((len(window), len(conditions)), dtype=np.int64)
    for place, (crystal, condition) in enumerate(zip(rows.crystal.tolist(), rows.condition.tolist(), strict=True)):
        places[slot[crystal], column[condition]] = place
    return places


class RowSimulator:
    """Simulates rows of a plan; one object for each process.

    Args:
        plan: Files and rows.
        skip: Rows of the crystal table that are known to be unusable.
    """

    def __init__(self, plan: Plan, skip: Collection[int] = ()) -> None:
        recipe = plan.recipe
        self.plan = plan
        self.skip = frozenset(skip)
        self.dtype = np.dtype(recipe.dtype)
        self._exact = recipe.exact
        self.schema = row_schema(recipe.preset, recipe.grid, recipe.dtype, recipe.labels)
        self.simulator = Simulator(recipe.preset, seed=recipe.seed, grid=recipe.grid)
        crystals = plan.crystals
        self._ids = crystals["crystal_id"].combine_chunks()
        self._formulas = crystals["formula"].combine_chunks()
        self._space_groups = crystals["space_group"].to_numpy()

    def simulate(self, row: int, conditions: Sequence[int]) -> Simulation:
        """Patterns of one crystal of the table.

        Raises:
            BadInput: The crystal cannot be simulated; names crystal and field.
        """
        group = int(self._space_groups[row])
        if not 1 <= group <= 230:
            raise BadInput(f"crystal {self._ids[row]}: space group {group} is not a number from 1 to 230")
        return self.simulator.simulate(crystal_of(self.plan.crystals, row), conditions)

    def _empty(self, rows: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        recipe = self.plan.recipe
        drawn = {name: np.zeros(rows, dtype=np.float32) for name in recipe.preset.parameter_names}
        return np.empty((rows, recipe.grid.n_points), dtype=self.dtype), drawn

    def _store(self, row: int, made: Simulation, chosen: slice, places: np.ndarray, into: _Store) -> None:
        """Put chosen patterns of a simulation into their places."""
        intensity, drawn = into
        patterns = made.intensity[chosen]
        if self._exact or self.dtype == np.float16:
            good = not patterns.size or bool(patterns.min() >= 0.0 and patterns.max() < np.inf)
            intensity[places] = patterns
        else:
            good = round_rows(patterns, places, intensity)
        if not good:
            raise BadInput(f"crystal {self._ids[row]}: its simulated pattern is not finite")
        for name, values in drawn.items():
            values[places] = made.parameters[name][chosen]

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
        parts = list(parts)
        window = window[~np.isin(window, list(self.skip))]
        conditions = [c for part in parts for c in self.plan.conditions[part]]
        rows = {part: self.plan.rows(window, part) for part in parts}
        stores = {part: self._empty(len(rows[part].crystal)) for part in parts}
        places = {part: _places(window, self.plan.conditions[part], rows[part]) for part in parts}
        rejected: list[tuple[int, str]] = []
        for slot, row in enumerate(map(int, window)):
            try:
                made = self.simulate(row, conditions)
                start = 0
                for part in parts:
                    stop = start + len(self.plan.conditions[part])
                    self._store(row, made, slice(start, stop), places[part][slot], stores[part])
                    start = stop
            except BadInput as error:
                rejected.append((row, str(error)))
        batches = {}
        for part in parts:
            crystal, condition, (intensity, drawn) = rows[part].crystal, rows[part].condition, stores[part]
            if rejected:
                kept = ~np.isin(crystal, [row for row, _ in rejected])
                crystal, condition, intensity = crystal[kept], condition[kept], intensity[kept]
                drawn = {name: values[kept] for name, values in drawn.items()}
            batches[part] = self._batch(crystal, condition, intensity, drawn)
        return batches, rejected

    def pick(self, crystal: np.ndarray, condition: np.ndarray) -> pa.RecordBatch:
        """Chosen rows in the order asked for; each crystal is prepared once.

        Args:
            crystal: Rows of the crystal table, shape (rows,).
            condition: Condition of each row, shape (rows,).

        Raises:
            BadInput: One of the crystals cannot be simulated.
        """
        store = self._empty(len(crystal))
        for row in np.unique(crystal):
            here = np.flatnonzero(crystal == row)
            made = self.simulate(int(row), condition[here].tolist())
            self._store(int(row), made, slice(None), here, store)
        return self._batch(crystal, condition, *store)

    def _batch(
        self, crystal: np.ndarray, condition: np.ndarray, intensity: np.ndarray, drawn: Mapping[str, np.ndarray]
    ) -> pa.RecordBatch:
        rows = pa.array(crystal.astype(np.int64))
        return record_batch(
            self.schema,
            intensity=intensity,
            space_group=self._space_groups[crystal],
            crystal_id=self._ids.take(rows),
            formula=self._formulas.take(rows),
            condition=condition,
            parameters=drawn,
        )
