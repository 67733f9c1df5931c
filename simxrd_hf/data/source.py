"""Where simulated rows come from when none are stored: crystals, parameters, and one simulator a process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simxrd_hf.crystals import table_digest
from simxrd_hf.data.features import make_features
from simxrd_hf.data.jobs import CRYSTALS, PARAMETERS
from simxrd_hf.data.plan import Plan, Recipe, check_crystals, prepare_crystals
from simxrd_hf.data.rows import RowSimulator
from simxrd_hf.data.shard_files import ROWS_PER_ROW_GROUP, read_parquet
from simxrd_hf.diffraction import PHYSICS_VERSION
from simxrd_hf.errors import BadInput
from simxrd_hf.files import write_whole


class Source(NamedTuple):
    """Crystals and parameters of rows to simulate.

    Attributes:
        crystals: Checked crystal table.
        recipe: Parameters.
        skip: Rows of the table that are known to be unusable.
    """

    crystals: pa.Table
    recipe: Recipe
    skip: frozenset[int]


def open_source(crystals: Any = None, **parameters: Any) -> Source:
    """Find out what to simulate.

    Args:
        crystals: A crystal table; a dataset that `generate` wrote (its crystals and parameters are taken); a source for
            `simxrd_hf.crystals.read_crystals`; the packaged AFLOW prototypes if absent.
        parameters: Arguments of `Recipe.make`.

    Raises:
        BadInput: Unknown parameters, unusable crystals, or parameters given that the dataset has fixed.
    """
    skip: frozenset[int] = frozenset()
    if isinstance(crystals, (str, Path)) and (Path(crystals) / PARAMETERS).exists():
        table = read_parquet(Path(crystals) / CRYSTALS)
        skip = _rejected(table)
        recipe = recipe_of(crystals)
        version = _physics_of(Path(crystals))
        if version != PHYSICS_VERSION:
            raise BadInput(
                f"{crystals} was made by version {version} of the physics and this program has {PHYSICS_VERSION}, so "
                f"its rows cannot be remade; read its Parquet files, or give its {CRYSTALS} to simulate them anew"
            )
        changed = [k for k in parameters if k != "configs" and recipe.to_dict()[k] != _plain(k, parameters[k])]
        if changed:
            raise BadInput(
                f"{crystals} is a finished dataset with its own {', '.join(changed)}; give its {CRYSTALS} instead to "
                "simulate its crystals in another way"
            )
        return Source(check_crystals(table), recipe, skip)
    if isinstance(crystals, pa.Table):
        table = crystals
    else:
        from simxrd_hf.crystals import prototypes, read_crystals

        table = (prototypes() if crystals is None else read_crystals(crystals)).table
    recipe = Recipe.make(**parameters)
    return Source(prepare_crystals(table, recipe.split_by), recipe, _rejected(table))


def _physics_of(folder: Path) -> int:
    """Version of the physics that made a dataset; datasets from before it was declared have the first."""
    import json

    return int(json.loads((folder / PARAMETERS).read_text()).get("physics_version", 1))


def _plain(name: str, value: Any) -> Any:
    return Recipe.make(**{name: value}).to_dict()[name]


def _rejected(table: pa.Table) -> frozenset[int]:
    if "rejected" not in table.column_names:
        return frozenset()
    return frozenset(np.flatnonzero(table["rejected"].is_valid().to_numpy()).tolist())


def recipe_of(folder: str | Path) -> Recipe:
    """Parameters of a dataset that `generate` wrote.

    Raises:
        BadInput: The folder holds none, or its parameters are damaged.
    """
    import json

    path = Path(folder) / PARAMETERS
    if not path.exists():
        raise BadInput(f"{folder} holds no dataset of `simxrd generate`: {PARAMETERS} is missing")
    try:
        state = json.loads(path.read_text())
    except ValueError as error:
        raise BadInput(f"{path} is damaged: {error}") from error
    return Recipe.from_dict({k: v for k, v in state.items() if k in Recipe.__dataclass_fields__})


def keep_crystals(source: Source, cache_dir: str | Path) -> Path:
    """Put a source's crystals into the cache, named by their content, for builders and their worker processes.

    Returns:
        The file.
    """
    folder = Path(cache_dir).expanduser() / "simxrd_crystals"
    path = folder / f"{table_digest(source.crystals)}{'-' + str(len(source.skip)) if source.skip else ''}.parquet"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        reasons = ["rejected" if row in source.skip else None for row in range(source.crystals.num_rows)]
        sink = pa.BufferOutputStream()
        pq.write_table(source.crystals.append_column("rejected", pa.array(reasons, pa.string())), sink)
        write_whole(path, memoryview(sink.getvalue()))
    return path


@lru_cache(maxsize=4)
def _simulator(crystals: str, recipe: str, pid: int) -> RowSimulator:
    import json

    table = pq.read_table(crystals)
    plan = Plan(check_crystals(table), Recipe.from_dict(json.loads(recipe)))
    return RowSimulator(plan, _rejected(table))


def features_of(recipe: Recipe) -> Any:
    """`datasets.Features` of a recipe."""
    return make_features(recipe.preset, recipe.grid, recipe.dtype, labels=recipe.labels)


def windows(source: Source, config: str, split: str) -> list[tuple[int, int, str]]:
    """Units in which a config's split is simulated, in storage order: (block, window in it, condition split)."""
    plan = Plan(source.crystals, source.recipe)
    number = {block.name: index for index, block in enumerate(plan.blocks)}
    return [
        (number[block.name], index, part)
        for block, part in plan.files(config, split)
        for index in range(len(block.windows))
    ]


def tables(crystals: str, recipe: str, units: list[tuple[int, int, str]]) -> Iterator[tuple[int, int, pa.Table]]:
    """Simulate units one by one.

    Args:
        crystals: File from `keep_crystals`.
        recipe: `Recipe.to_dict()` as JSON.
        units: From `windows`.

    Yields:
        Number of the unit, number of the piece in it, and a table of one row group.
    """
    simulator = _simulator(crystals, recipe, os.getpid())  # by process: a fork must not share buffers
    for number, (block, window, part) in enumerate(units):
        batches, _ = simulator.window(simulator.plan.blocks[block].windows[window], [part])
        table = pa.Table.from_batches([batches[part]])
        for piece, start in enumerate(range(0, table.num_rows, ROWS_PER_ROW_GROUP)):
            yield number, piece, table.slice(start, ROWS_PER_ROW_GROUP)


def split_recipe(parameters: Mapping[str, Any], config: str) -> dict[str, Any]:
    """Arguments of `Recipe.make` for a builder of one config."""
    return {**{k: v for k, v in parameters.items() if v is not None}, "configs": (config,)}
