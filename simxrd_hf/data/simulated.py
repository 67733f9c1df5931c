"""Rows simulated when they are asked for, equal bit for bit to the stored ones: as a stream, and with random access."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from simxrd_hf.data.features import label_index
from simxrd_hf.data.plan import Plan
from simxrd_hf.data.rows import RowSimulator
from simxrd_hf.data.source import Source, features_of, open_source
from simxrd_hf.data.splits import CONFIGS
from simxrd_hf.errors import BadInput

if TYPE_CHECKING:
    from datasets import Features, IterableDataset


def on_the_fly(
    crystals: Any = None, config: str = "in_library", split: str = "train", **parameters: Any
) -> IterableDataset:
    """A stream of simulated rows, in the order in which `generate` would store them.

    It is a `datasets.IterableDataset`: it can be shuffled, resumed by `state_dict()`, and shared out with
    `datasets.distributed.split_dataset_by_node` and among the workers of a `DataLoader`; `num_shards` is the number of
    groups of at most 128 crystals it is shared out by. A state of a stream that is not shuffled, or shuffled with
    `buffer_size=1`, resumes exactly; rows waiting in a larger shuffle buffer are lost with it.

    Args:
        crystals: Crystal table, dataset folder that `generate` wrote, source of `read_crystals`; the packaged AFLOW
            prototypes if absent.
        config: "in_library", "out_of_library" or "tiny".
        split: "train", "validation" or "test".
        parameters: See `simxrd_hf.data.Recipe.make`: preset, seed, conditions, split_by, labels, dtype, exact.

    Raises:
        BadInput: Unknown config, split or parameter, or unusable crystals.
    """
    from simxrd_hf.data.builder import simxrd_builder

    builder = simxrd_builder(config, crystals=crystals, **parameters)
    try:
        return builder.as_streaming_dataset(split)
    except ValueError as error:
        raise BadInput(f"config {config!r} has no split {split!r} with these parameters") from error


class SimXRDOnTheFly:
    """Simulated rows with random access; feeds a torch `DataLoader` as it is.

    Row i is row i of the stored dataset (if no crystal is unusable; one that proves so is named when asked for).

    Args:
        crystals: See `on_the_fly`.
        config: "in_library", "out_of_library" or "tiny".
        split: "train", "validation" or "test".
        parameters: See `simxrd_hf.data.Recipe.make`.

    Raises:
        BadInput: Unknown config, split or parameter, or unusable crystals.
    """

    def __init__(
        self, crystals: Any = None, config: str = "in_library", split: str = "train", **parameters: Any
    ) -> None:
        if config not in CONFIGS:
            raise BadInput(f"there is no config {config!r}; choose from {', '.join(CONFIGS)}")
        self._prepare(open_source(crystals, **{**parameters, "configs": (config,)}), config, split)

    @classmethod
    def of(cls, source: Source, config: str | None = None, split: str = "train") -> SimXRDOnTheFly:
        """The same for a source that is already open; its first config if none is named."""
        made = cls.__new__(cls)
        made._prepare(source, config or source.recipe.configs[0], split)
        return made

    def _prepare(self, source: Source, config: str, split: str) -> None:
        plan = Plan(source.crystals, source.recipe)
        self.features: Features = features_of(source.recipe)
        rows = [plan.rows(window, part) for block, part in plan.files(config, split) for window in block.windows]
        crystal = np.concatenate([r.crystal for r in rows]) if rows else np.zeros(0, np.int64)
        condition = np.concatenate([r.condition for r in rows]) if rows else np.zeros(0, np.int64)
        kept = ~np.isin(crystal, list(source.skip))
        self.crystal, self.condition = crystal[kept].astype(np.int32), condition[kept].astype(np.int16)
        self._simulator = RowSimulator(plan, source.skip)
        self._position = {name: row for row, name in enumerate(plan.crystals["crystal_id"].to_pylist())}
        self._groups = plan.crystals["space_group"].to_numpy()

    def __len__(self) -> int:
        return len(self.crystal)

    def batch(self, indices: Sequence[int] | np.ndarray) -> dict[str, Any]:
        """Columns of chosen rows.

        Args:
            indices: Shape (rows,), each from -len to len - 1.

        Returns:
            `intensity` float32 (rows, points), of the stored values; labels int64 (rows,); `condition` int16;
            parameters float32; `crystal_id` and `formula` lists of str.

        Raises:
            IndexError: A row beyond the end.
            BadInput: A crystal that cannot be simulated.
        """
        chosen = np.asarray(indices, dtype=np.int64)
        return self._columns(self.crystal[chosen].astype(np.int64), self.condition[chosen].astype(np.int64))

    def row(self, crystal_id: str, condition: int) -> dict[str, Any]:
        """One row by name, whatever its split; also conditions the dataset does not hold.

        Raises:
            BadInput: There is no such crystal, or it cannot be simulated.
        """
        if crystal_id not in self._position:
            raise BadInput(f"there is no crystal {crystal_id!r} among these {len(self._position)}")
        columns = self._columns(np.array([self._position[crystal_id]]), np.array([condition]))
        return {name: values[0] for name, values in columns.items()}

    def _columns(self, crystal: np.ndarray, condition: np.ndarray) -> dict[str, Any]:
        made = self._simulator.pick(crystal, condition)
        columns: dict[str, Any] = {}
        for name in made.schema.names:
            column = made[name]
            if name == "intensity":
                flat = column.flatten().to_numpy(zero_copy_only=False)
                columns[name] = flat.reshape(len(crystal), -1).astype(np.float32)
            elif name in self._simulator.plan.recipe.labels:
                columns[name] = label_index(name, self._groups[crystal])
            else:
                text = name in ("crystal_id", "formula")
                columns[name] = column.to_pylist() if text else column.to_numpy(zero_copy_only=False)
        return columns

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        columns = self.batch(indices)
        return [{name: values[k] for name, values in columns.items()} for k in range(len(indices))]
