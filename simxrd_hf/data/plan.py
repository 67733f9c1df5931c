"""What a dataset consists of: its parameters, its files, and the place of every row in them. Nothing is simulated here.

All rows are cells of one grid, crystals by conditions, and every config is a choice of its files:

    patterns/<split of the crystal>/<split of the condition>-00003-of-00024.parquet

`in_library` takes `patterns/*/train-*` …, `out_of_library` takes `patterns/train/*` …, so no pattern is stored twice.
A file holds one block of crystals, all conditions of one split. Crystals are put in hash order, so a block is a fair
sample; a block consists of windows of at most 128 crystals, and the rows of a window are mixed (again by hash), so that
a reader that streams in order still sees many crystals and conditions in every batch. Files and order follow from the
parameters and the crystal table alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from simxrd_hf.crystals import CRYSTAL_SCHEMA, table_digest
from simxrd_hf.data import splits
from simxrd_hf.data.features import DEFAULT_LABELS, DTYPES, LABELS
from simxrd_hf.diffraction import PHYSICS_VERSION, PatternGrid, Preset, get_preset
from simxrd_hf.errors import BadInput

# Raise when files or rows of the same parameters change: the card shows it, readers may check it.
FORMAT_VERSION = "2.3"
ROWS_PER_SHARD = 15_360  # a train shard of 512 crystals, about 70 MB
_WINDOW = 128  # crystals mixed together
_CRYSTAL_COLUMNS = (
    "crystal_id",
    "formula",
    "reduced_formula",
    "lattice",
    "atomic_numbers",
    "frac_coords",
    "space_group",
)
_OPTIONAL_CRYSTAL_COLUMNS = ("occupancies", "b_iso", "prototype", "source")

# split of a config -> pattern of its files
GLOBS = {
    "in_library": {split: f"patterns/*/{split}-*.parquet" for split in splits.SPLITS},
    "out_of_library": {split: f"patterns/{split}/*.parquet" for split in splits.SPLITS},
    "tiny": {split: f"tiny/{split}-*.parquet" for split in splits.SPLITS},
}
HIDDEN_GLOB = "hidden/test-*.parquet"


@dataclass(frozen=True)
class Recipe:
    """The parameters of a dataset; with the crystal table they fix every byte of it.

    Attributes:
        preset: The physics.
        seed: Seed of every drawn parameter and noise.
        grid: Points of a pattern.
        conditions: Conditions to make, from 0 … 32.
        dtype: Storage type of the intensities.
        exact: Whether float32 intensities keep all digits; else see `rounding.rounded`.
        split_by: Rule of the out-of-library split.
        configs: Configs to offer.
        labels: Class columns.
        rows_per_shard: Upper bound of the rows in a train shard.
    """

    preset: Preset
    seed: int = 0
    grid: PatternGrid = field(default_factory=PatternGrid)
    conditions: tuple[int, ...] = splits.CONDITIONS
    dtype: str = "float32"
    exact: bool = False
    split_by: str = "formula"
    configs: tuple[str, ...] = ("in_library", "out_of_library")
    labels: tuple[str, ...] = DEFAULT_LABELS
    rows_per_shard: int = ROWS_PER_SHARD

    @classmethod
    def make(
        cls,
        preset: str | Preset = "simxrd-4m",
        *,
        seed: int = 0,
        grid: PatternGrid | None = None,
        conditions: Sequence[int] | None = None,
        dtype: str = "float32",
        exact: bool = False,
        split_by: str = "formula",
        configs: Sequence[str] = ("in_library", "out_of_library"),
        labels: Sequence[str] = DEFAULT_LABELS,
        rows_per_shard: int = ROWS_PER_SHARD,
    ) -> Recipe:
        """Checked parameters.

        Raises:
            BadInput: Names the parameter and what it may be.
        """
        configs = (configs,) if isinstance(configs, str) else tuple(configs)
        labels = (labels,) if isinstance(labels, str) else tuple(labels)
        for what, given, allowed in (
            ("config", configs, splits.CONFIGS),
            ("label", labels, LABELS),
            ("dtype", (dtype,), DTYPES),
            ("split_by", (split_by,), splits.SPLIT_BY),
        ):
            wrong = [g for g in given if g not in allowed]
            if wrong or not given:
                raise BadInput(f"unknown {what} {wrong or 'none'}; choose from {', '.join(allowed)}")
        if rows_per_shard < 1:
            raise BadInput(f"rows_per_shard must be positive, not {rows_per_shard}")
        return cls(
            preset=get_preset(preset) if not isinstance(preset, Preset) else preset,
            seed=int(seed),
            grid=grid or PatternGrid(),
            conditions=splits.check_conditions(conditions),
            dtype=dtype,
            exact=bool(exact),
            split_by=split_by,
            configs=tuple(c for c in splits.CONFIGS if c in configs),
            labels=tuple(name for name in LABELS if name in labels),
            rows_per_shard=int(rows_per_shard),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as written to `simxrd.json`."""
        return {
            "preset": self.preset.to_dict(),
            "seed": self.seed,
            "grid": self.grid.to_dict(),
            "conditions": list(self.conditions),
            "dtype": self.dtype,
            "exact": self.exact,
            "split_by": self.split_by,
            "configs": list(self.configs),
            "labels": list(self.labels),
            "rows_per_shard": self.rows_per_shard,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Recipe:
        """Inverse of `to_dict`.

        Raises:
            BadInput: A field is missing, unknown or of a wrong value.
        """
        values = dict(plain)
        try:
            preset, grid = Preset.from_dict(values.pop("preset")), PatternGrid.from_dict(values.pop("grid"))
            return cls.make(preset, grid=grid, **values)
        except (KeyError, TypeError) as error:
            raise BadInput(f"these are not the parameters of a dataset: {error}") from error

    def digest(self, crystals: pa.Table) -> str:
        """Digest of everything that fixes the rows: parameters, versions of physics and format, crystals; hex."""
        state = {
            "format": FORMAT_VERSION,
            "physics": PHYSICS_VERSION,
            "crystals": table_digest(crystals),
            **self.to_dict(),
        }
        return hashlib.blake2b(json.dumps(state, sort_keys=True).encode(), digest_size=16).hexdigest()


def check_crystals(crystals: pa.Table) -> pa.Table:
    """The columns of a crystal table that a dataset needs, in one chunk each.

    Raises:
        BadInput: A column is missing or of a wrong type, the table is empty, or two crystals have one id.
    """
    names = crystals.column_names
    missing = [c for c in _CRYSTAL_COLUMNS if c not in names]
    if missing:
        raise BadInput(
            f"the crystal table lacks the column(s) {', '.join(missing)}; make it with `simxrd crystals SOURCE -o FILE`"
        )
    if not crystals.num_rows:
        raise BadInput("the crystal table has no row")
    kept = crystals.select([c for c in (*_CRYSTAL_COLUMNS, *_OPTIONAL_CRYSTAL_COLUMNS) if c in names]).combine_chunks()
    for name in ("crystal_id", "formula", "reduced_formula", "space_group"):
        if kept[name].null_count:
            raise BadInput(f"column {name} of the crystal table has {kept[name].null_count} empty cells")
    for index, name in enumerate(kept.column_names):
        wanted = CRYSTAL_SCHEMA.field(name).type
        try:
            kept = kept.set_column(index, CRYSTAL_SCHEMA.field(name), kept[name].cast(wanted))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise BadInput(f"column {name} of the crystal table cannot be read as {wanted}: {error}") from error
    counts = pa.compute.value_counts(kept["crystal_id"]).flatten()
    twice = counts[0].filter(pa.compute.greater(counts[1], 1))
    if len(twice):
        raise BadInput(
            f"{len(twice)} crystal id(s) occur more than once, the first is {twice[0].as_py()!r}; "
            "ids name rows, so each must be unique: rename or drop the others"
        )
    return kept


def prepare_crystals(crystals: pa.Table, split_by: str) -> pa.Table:
    """Checked crystal table that has what the split needs: for "prototype" the structure type of every crystal.

    Raises:
        BadInput: See `check_crystals`.
    """
    table = check_crystals(crystals)
    if split_by == "prototype" and ("prototype" not in table.column_names or table["prototype"].null_count):
        from simxrd_hf.crystals import prototype_labels

        full = pa.table([table[f.name] if f.name in table.column_names else pa.nulls(table.num_rows, f.type)
                         for f in CRYSTAL_SCHEMA], schema=CRYSTAL_SCHEMA)  # fmt: skip
        symprec = (crystals.schema.metadata or {}).get(b"symprec")
        labels = prototype_labels(full.replace_schema_metadata({"symprec": symprec} if symprec else None))
        if "prototype" in table.column_names:
            table = table.drop_columns(["prototype"])
        table = table.append_column(CRYSTAL_SCHEMA.field("prototype"), labels)
    return table


@dataclass(frozen=True)
class Block:
    """Crystals whose patterns are written together, one file for each split of the conditions.

    Attributes:
        folder: Folder of the files, relative to the dataset.
        number: Number of the block in its folder.
        of: Number of blocks in that folder.
        windows: Rows of the crystal table, one array for each window.
    """

    folder: str
    number: int
    of: int
    windows: tuple[np.ndarray, ...]

    def path(self, split: str) -> str:
        """File of the patterns whose condition belongs to `split`."""
        return f"{self.folder}/{split}-{self.number:05d}-of-{self.of:05d}.parquet"

    @property
    def name(self) -> str:
        """Name of the block, unique in the dataset."""
        return f"{self.folder.replace('/', '-')}-{self.number:05d}"


@dataclass(frozen=True)
class Rows:
    """Rows of one window in the order they are stored: shape (rows,) each."""

    crystal: np.ndarray
    condition: np.ndarray


class Plan:
    """Files and rows of a dataset.

    Args:
        crystals: Checked crystal table.
        recipe: Parameters.
        hidden: Plan the unlabelled patterns of condition 33 instead of the labelled ones.
    """

    def __init__(self, crystals: pa.Table, recipe: Recipe, *, hidden: bool = False) -> None:
        self.crystals = crystals
        self.recipe = recipe
        self.hidden = hidden
        if hidden:
            self.conditions: dict[str, tuple[int, ...]] = {"test": (splits.HIDDEN_CONDITION,)}
        else:
            wanted = set(recipe.conditions)
            chosen = {s: tuple(c for c in cs if c in wanted) for s, cs in splits.CONDITION_SPLITS.items()}
            self.conditions = {s: cs for s, cs in chosen.items() if cs}
        self.salt = f"order|{recipe.seed}"
        self._key = splits.hash64(crystals["crystal_id"].to_pylist(), self.salt)

    @property
    def n_patterns_per_crystal(self) -> int:
        """Conditions made of each crystal."""
        return sum(map(len, self.conditions.values()))

    @cached_property
    def order(self) -> np.ndarray:
        """Rows of the crystal table in hash order."""
        return np.argsort(self._key, kind="stable")

    @cached_property
    def crystal_split(self) -> np.ndarray:
        """Out-of-library split of each crystal, index into `splits.SPLITS`."""
        return splits.crystal_splits(self.crystals, self.recipe.split_by)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """All blocks, by folder and number."""
        window = int(np.clip(self.crystals.num_rows // 16, 8, _WINDOW))
        per_crystal = max(map(len, self.conditions.values()))
        largest = max(self.recipe.rows_per_shard // per_crystal, 1)
        found: list[Block] = []

        def add(folder: str, rows: np.ndarray) -> None:
            # Readers share a dataset out by its files: at least four where there are crystals enough, and of more than
            # eight a number that 2, 4 and 8 processes divide.
            size = min(largest, max(window, -(-len(rows) // 4)))
            count = max(-(-len(rows) // size), 1)
            count = count if count <= 8 else -(-count // 8) * 8
            blocks = [b for b in np.array_split(rows, count) if len(b)]
            for number, block in enumerate(blocks):
                windows = tuple(np.array_split(block, -(-len(block) // window)))
                found.append(Block(folder, number, len(blocks), windows))

        if self.hidden:
            add("hidden", self.order)
            return tuple(found)
        if {"in_library", "out_of_library"} & set(self.recipe.configs):
            split = self.crystal_split[self.order]
            for index, name in enumerate(splits.SPLITS):
                add(f"patterns/{name}", self.order[split == index])
        if "tiny" in self.recipe.configs:
            add("tiny", splits.tiny_crystals(self.crystals, self.order))
        return tuple(found)

    def files(self, config: str, split: str) -> list[tuple[Block, str]]:
        """Block and condition split of every file of a config's split, in the order in which readers find them.

        Raises:
            BadInput: The plan has no such config or split.
        """
        if config not in self.recipe.configs:
            raise BadInput(f"this dataset has no config {config!r}; it has {', '.join(self.recipe.configs)}")
        if split not in splits.SPLITS:
            raise BadInput(f"there is no split {split!r}; choose from {', '.join(splits.SPLITS)}")
        chosen = []
        for block in self.blocks:
            for part in self.conditions:
                if (config, block.folder) == ("tiny", "tiny"):
                    takes = part == split
                elif block.folder == "tiny" or config == "tiny":
                    takes = False
                else:
                    takes = split == (part if config == "in_library" else block.folder.removeprefix("patterns/"))
                if takes:
                    chosen.append((block, part))
        return sorted(chosen, key=lambda item: item[0].path(item[1]))

    def rows(self, window: np.ndarray, part: str) -> Rows:
        """Rows of one window whose condition belongs to `part`, mixed by a hash of crystal and condition."""
        conditions = np.array(self.conditions[part], dtype=np.int64)
        crystal = np.repeat(window, len(conditions))
        condition = np.tile(conditions, len(window))
        order = np.argsort(_mix(self._key[crystal] ^ _mix(condition.astype(np.uint64))), kind="stable")
        return Rows(crystal[order], condition[order])


def _mix(values: np.ndarray) -> np.ndarray:
    """Finaliser of SplitMix64 (Steele, Lea & Flood 2014): spreads neighbouring integers over all 64 bits."""
    x = values + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
