"""Simulated rows: windows of crystals in, Arrow record batches in storage order out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
import pyarrow as pa

from simxrd_hf.crystals import crystal as crystal_of
from simxrd_hf.data.features import make_features, record_batch
from simxrd_hf.data.plan import Plan
from simxrd_hf.diffraction import Simulator
from simxrd_hf.errors import BadInput


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
        self.schema = make_features(recipe.preset, recipe.grid, recipe.dtype, labels=recipe.labels).arrow_schema
        self.simulator = Simulator(recipe.preset, seed=recipe.seed, grid=recipe.grid)
        crystals = plan.crystals
        self._ids = crystals["crystal_id"].combine_chunks()
        self._formulas = crystals["formula"].combine_chunks()
        self._space_groups = crystals["space_group"].to_numpy()

    def crystal(self, row: int, conditions: Iterable[int]) -> tuple[np.ndarray, Mapping[str, np.ndarray]]:
        """Patterns and drawn parameters of one crystal.

        Args:
            row: Row of the crystal table.
            conditions: Conditions to simulate.

        Returns:
            Intensities in the storage type, shape (conditions, points), and parameters of shape (conditions,).

        Raises:
            BadInput: The crystal cannot be simulated; names crystal and field.
        """
        group = int(self._space_groups[row])
        if not 1 <= group <= 230:
            raise BadInput(f"crystal {self._ids[row]}: space group {group} is not a number from 1 to 230")
        simulation = self.simulator.simulate(crystal_of(self.plan.crystals, row), conditions)
        if not np.isfinite(simulation.intensity).all():
            raise BadInput(f"crystal {self._ids[row]}: its simulated pattern is not finite")
        return simulation.intensity.astype(self.dtype), simulation.parameters

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
        conditions = [c for part in parts for c in self.plan.conditions[part]]
        column = {condition: index for index, condition in enumerate(conditions)}
        n = len(conditions)
        intensity = np.empty((len(window) * n, self.plan.recipe.grid.n_points), dtype=self.dtype)
        drawn = {name: np.zeros(len(window) * n, dtype=np.float32) for name in self.plan.recipe.preset.parameter_names}
        slot: dict[int, int] = {}
        rejected: list[tuple[int, str]] = []
        for row in map(int, window):
            if row in self.skip:
                continue
            here = slice(len(slot) * n, (len(slot) + 1) * n)
            try:
                intensity[here], parameters = self.crystal(row, conditions)
            except BadInput as error:
                rejected.append((row, str(error)))
                continue
            for name, values in drawn.items():
                values[here] = parameters[name]
            slot[row] = len(slot)
        batches = {}
        for part in parts:
            rows = self.plan.rows(np.array(list(slot), dtype=np.int64), part)
            source = np.array([slot[c] * n + column[k] for c, k in zip(rows.crystal, rows.condition, strict=True)], int)
            batches[part] = self._batch(
                rows.crystal, rows.condition, intensity[source], {k: v[source] for k, v in drawn.items()}
            )
        return batches, rejected

    def pick(self, crystal: np.ndarray, condition: np.ndarray) -> pa.RecordBatch:
        """Chosen rows in the order asked for; each crystal is prepared once.

        Args:
            crystal: Rows of the crystal table, shape (rows,).
            condition: Condition of each row, shape (rows,).

        Raises:
            BadInput: One of the crystals cannot be simulated.
        """
        intensity = np.empty((len(crystal), self.plan.recipe.grid.n_points), dtype=self.dtype)
        drawn = {name: np.zeros(len(crystal), dtype=np.float32) for name in self.plan.recipe.preset.parameter_names}
        for row in np.unique(crystal):
            here = np.flatnonzero(crystal == row)
            intensity[here], parameters = self.crystal(int(row), [int(c) for c in condition[here]])
            for name, values in drawn.items():
                values[here] = parameters[name]
        return self._batch(crystal, condition, intensity, drawn)

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
