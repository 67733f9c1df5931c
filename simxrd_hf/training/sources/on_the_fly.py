"""Patterns simulated when they are asked for; nothing is stored."""

import functools
import hashlib
import json
import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from simxrd_hf.errors import BadInput
from simxrd_hf.training.config import TrainConfig
from simxrd_hf.training.isostructural import isostructural
from simxrd_hf.training.machine import worker_processes
from simxrd_hf.training.samplers import even_choice
from simxrd_hf.training.sources.base import Batch, unsound_row, what_is_wrong

# Fresh training patterns are conditions from here on, far from those of validation and test (the simulator takes
# conditions up to 32767; a crystal is seen again in the same condition after 31,000 draws at the earliest epoch-wise).
_FRESH_FROM, _FRESH_COUNT = 1000, 31_000
# An invented crystal is shown that many times: to find its lines is half the work of a pattern.
_DRAWS_OF_ONE = 3


class SimulatedSplit:
    """Patterns simulated when they are asked for; nothing is stored.

    Training rows are crystals: draw number k of a crystal is its k-th pattern. Validation and test rows are pairs of a
    crystal and a fixed condition (30; 31 and 32), the same every time.

    Args:
        crystals: Crystal table.
        rows: (n,) rows of the table.
        task: Which label.
        preset: Simulation preset, name or file.
        seed: Seed of the patterns.
        conditions: (n,) condition of each row, or None for training rows.
        cycle: Training rows: repeat that many conditions; None draws a new one every time.
        isostructural_share: Training rows: share of the draws that show an invented crystal of the same structure type.
        impurities: Crystals to draw second phases from, for presets that have them.
        digest: Identifies crystals and preset.
        lines_bytes: Memory in which this process may keep the lines of crystals it has simulated.
    """

    def __init__(
        self,
        crystals: Any,
        rows: NDArray[np.int64],
        task: str,
        preset: str,
        seed: int,
        *,
        conditions: NDArray[np.int64] | None = None,
        cycle: int | None = None,
        isostructural_share: float = 0.0,
        impurities: Sequence[Any] = (),
        digest: str = "",
        lines_bytes: int = 0,
    ) -> None:
        from simxrd_hf.data.features import label_index, label_names
        from simxrd_hf.diffraction import PatternGrid, Simulator, get_preset

        if not len(rows):
            raise BadInput("crystals: none are left in a split; give more crystals or another data_config")
        grid = PatternGrid()
        self._crystals = crystals
        self._rows, self._conditions, self._cycle = rows, conditions, cycle
        self._isostructural, self._seed = isostructural_share, seed
        self._simulator = Simulator(get_preset(preset), seed=seed, grid=grid, impurities=impurities)
        self._failed: set[tuple[int, int]] = set()
        # Half the work of a single pattern is to find the lines of its crystal.
        self._prepared: dict[int, tuple[int, Any]] = {}
        self._room = lines_bytes
        # Rows with a fixed condition are simulated once, where a gigabyte holds them (pages are taken as they fill).
        kept = conditions is not None and len(rows) * grid.n_points * 4 <= 2**30
        self._kept = np.empty((len(rows), grid.n_points), dtype=np.float32) if kept else None
        self._kept_row = np.full(len(rows), -1)
        self.labels = label_index(task, crystals["space_group"].to_numpy()[rows])
        self.label_names = label_names(task)
        self.groups = rows
        self.grid = grid.to_dict()
        self.n_points = grid.n_points
        self.digest = digest

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, pair: tuple[int, int]) -> Batch:
        """One row (torch asks for the method; batches use `__getitems__`)."""
        return {name: value[0] for name, value in self.__getitems__([pair]).items()}

    def __getitems__(self, pairs: Sequence[tuple[int, int]]) -> Batch:
        """Batch of (draw, row) pairs. A crystal that cannot be simulated is replaced by the row after it."""
        intensity = np.empty((len(pairs), self.n_points), dtype=np.float32)
        labels = np.empty(len(pairs), dtype=np.int64)
        for place, (draw, row) in enumerate(pairs):
            used = self._kept_row[row] if self._kept is not None else -1
            if used >= 0 and self._kept is not None:
                intensity[place] = self._kept[row]
            else:
                used = self._simulate(intensity[place : place + 1], draw, row)
                if self._kept is not None:
                    self._kept[row], self._kept_row[row] = intensity[place], used
            labels[place] = self.labels[used]
        bad = unsound_row(intensity)
        if bad is not None:
            draw, row = pairs[bad]
            name = self._crystals["crystal_id"][int(self._rows[row])]
            raise BadInput(f"crystal {name}, draw {draw}: {what_is_wrong(intensity[bad])}; leave this crystal out")
        return {"intensity": torch.from_numpy(intensity), "labels": torch.from_numpy(labels)}

    def _simulate(self, out: NDArray[np.float32], draw: int, row: int) -> int:
        for candidate in range(row, row + len(self)):
            candidate %= len(self)
            source = int(self._rows[candidate])
            which, generator = self._choose(source, draw)
            if (source, which) in self._failed:
                continue
            if self._conditions is not None:
                condition = int(self._conditions[candidate])
            else:
                condition = draw % self._cycle if self._cycle else _FRESH_FROM + draw % _FRESH_COUNT
            try:
                self._simulator.simulate(self._shown(source, which, generator), [condition], out=out)
            except BadInput as error:
                warnings.warn(f"left out: {error}", stacklevel=2)
                self._failed.add((source, which))
                continue
            return candidate
        raise BadInput("crystals: not one of them could be simulated")

    def _choose(self, source: int, draw: int) -> tuple[int, np.random.Generator | None]:
        """What a draw of a table row shows: 0 for its crystal, else the number of an invented one, and its draws."""
        if not self._isostructural:
            return 0, None
        number = 1 + draw // _DRAWS_OF_ONE
        key = np.array([self._seed, (source << 32) | number], dtype=np.uint64)
        generator = np.random.Generator(np.random.Philox(key=key))
        return (number if generator.random() < self._isostructural else 0), generator

    def _shown(self, source: int, which: int, generator: np.random.Generator | None) -> Any:
        """What `_choose` chose, prepared."""
        from simxrd_hf.crystals import crystal

        known = self._prepared.get(source)
        if known is not None and known[0] == which:
            return known[1]
        shown = crystal(self._crystals, source)
        if generator is not None and which:
            shown = isostructural(shown, generator)
        found = self._simulator.prepare(shown)
        more = found.nbytes - (known[1].nbytes if known is not None else 0)
        if more <= self._room:
            self._room -= more
            self._prepared[source] = (which, found)
        return found

    def identity(self) -> dict[str, Any]:
        """crystal_id and condition of every row."""
        ids = self._crystals["crystal_id"].take(self._rows)
        return {"crystal_id": ids} | ({} if self._conditions is None else {"condition": self._conditions})

    @classmethod
    def for_config(cls, config: TrainConfig, split: str, *, limit_rows: int | None = None) -> "SimulatedSplit":
        """The rows of one split as a config asks for them."""
        from simxrd_hf.data.splits import CONDITION_SPLITS, SPLITS, crystal_splits
        from simxrd_hf.diffraction import PHYSICS_VERSION, get_preset

        crystals, digest = crystal_table(str(config.source.crystals))
        preset = get_preset(config.source.preset)
        rows, held_out = even_choice(crystals.num_rows, config.source.limit_crystals), np.empty(0, dtype=np.int64)
        if config.source.data_config == "out_of_library":
            splits = crystal_splits(crystals, config.source.split_by)
            rows, held_out = rows[splits[rows] == SPLITS.index(split)], np.flatnonzero(splits != SPLITS.index("train"))
        rule = (config.source.data_config, config.source.split_by)
        settings = [digest, PHYSICS_VERSION, preset.digest, config.seed, *rule, len(rows)]
        common: dict[str, Any] = {
            "digest": hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16],
            "impurities": _impurities(crystals, config.source.impurity_pool),
        }
        if split == "train":
            withheld = crystals["reduced_formula"].take(held_out)
            for path in config.source.extra_crystals:
                crystals, rows, digest = _with_extra(crystals, rows, withheld, path)
                common["digest"] = hashlib.sha256(f"{common['digest']} {digest}".encode()).hexdigest()[:16]
            if config.source.max_atoms is not None:
                sizes = crystals["atomic_numbers"].combine_chunks().value_lengths().to_numpy()
                rows = rows[sizes[rows] <= config.source.max_atoms]
            cycle = (
                None
                if config.source.fresh_patterns
                else config.source.train_conditions or len(CONDITION_SPLITS["train"])
            )
            memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
            lines_bytes = memory // 4 // max(worker_processes(config), 1)
            common |= {"cycle": cycle, "isostructural_share": config.source.isostructural, "lines_bytes": lines_bytes}
            return cls(crystals, rows, config.network.task, config.source.preset, config.seed, **common)
        conditions = np.array(CONDITION_SPLITS[split])
        chosen = even_choice(len(rows) * len(conditions), limit_rows)
        return cls(
            crystals,
            rows[chosen // len(conditions)],
            config.network.task,
            config.source.preset,
            config.seed,
            conditions=conditions[chosen % len(conditions)],
            **common,
        )


def _impurities(crystals: Any, count: int) -> list[Any]:
    """`count` crystals with small cells (at most 20 atoms), drawn evenly: second phases that simulate quickly."""
    from simxrd_hf.crystals import crystal

    if not count:
        return []
    sizes = crystals["atomic_numbers"].combine_chunks().value_lengths().to_numpy()
    small = np.flatnonzero(sizes <= 20)
    return [crystal(crystals, int(small[i])) for i in even_choice(len(small), count)]


def _with_extra(crystals: Any, rows: NDArray[np.int64], withheld: Any, path: str) -> tuple[Any, NDArray[np.int64], str]:
    """Training crystals of a second source after those at `rows` of the first: table, rows and digest of the second.

    What has a formula `withheld` is left out: polymorphs, and the ordered model and the disordered crystal of one
    compound, stay on one side of the split. Crystals of the first source that are given again are drawn more often.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    extra, digest = crystal_table(path)
    foreign = pc.is_in(extra["reduced_formula"], value_set=withheld)
    added = np.flatnonzero(~foreign.to_numpy())
    table = pa.concat_tables([crystals, extra], promote_options="default")
    return table, np.concatenate([rows, crystals.num_rows + added]), digest


@functools.lru_cache(maxsize=4)
def crystal_table(path: str) -> tuple[Any, str]:
    """Crystal table of a source and the digest of its content."""
    from simxrd_hf.crystals import prototypes, read_crystals, table_digest

    if path == "prototypes":
        table = prototypes().table
    else:
        table = read_crystals(path).table
    return table, table_digest(table)[:16]
