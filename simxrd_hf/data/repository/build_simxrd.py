"""Builder of the SimXRD datasets: simulates the rows that the Parquet files of this repository hold.

`datasets` runs no code of a dataset repository; this file documents how the rows are made and works wherever
`simxrd_hf` is installed: `simxrd_hf.data.simxrd_builder("tiny").as_streaming_dataset("train")`.

It stays thin for a reason: instantiating a builder replaces names such as `open` and `pathlib.Path` in its module, so
no work is done here and no Arrow module is imported at the top.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import datasets

from simxrd_hf.data.splits import CONFIGS, SPLITS
from simxrd_hf.errors import BadInput


@dataclass
class SimXRDConfig(datasets.BuilderConfig):
    """Parameters of a SimXRD dataset.

    Attributes:
        crystals: Crystal table (file or Arrow table), dataset folder, or any source of `read_crystals`; the packaged
            AFLOW prototypes if absent.
        preset: Physics: name or file.
        seed: Seed of the drawn parameters and of the noise.
        conditions: Conditions from 0 … 32; all if absent.
        split_by: Out-of-library rule: "formula", "prototype" or "row_order".
        labels: Class columns.
        dtype: Storage type of the intensities.
        exact: Whether float32 intensities keep all digits.
    """

    crystals: Any = None
    preset: Any = None
    seed: int | None = None
    conditions: Any = None
    split_by: str | None = None
    labels: Any = None
    dtype: str | None = None
    exact: bool | None = None


class SimXRD(datasets.ArrowBasedBuilder):
    """Configs `in_library`, `out_of_library` and `tiny`; parameters as in `SimXRDConfig`."""

    BUILDER_CONFIG_CLASS = SimXRDConfig
    BUILDER_CONFIGS = [SimXRDConfig(name=name, version=datasets.Version("1.0.0")) for name in CONFIGS]  # noqa: RUF012
    DEFAULT_CONFIG_NAME = "tiny"

    def __init__(self, cache_dir: str | None = None, config_name: str | None = None, **kwargs: Any) -> None:
        from simxrd_hf.data import source

        config_name = config_name or self.DEFAULT_CONFIG_NAME
        if config_name not in CONFIGS:
            raise BadInput(f"there is no config {config_name!r}; choose from {', '.join(CONFIGS)}")
        files = kwargs.pop("data_files", None)  # from load_dataset("simxrd", …): the crystal table
        if files and "crystals" not in kwargs:
            found = [
                str(file) for listed in (files.values() if isinstance(files, dict) else [files]) for file in listed
            ]
            if len(found) != 1:
                raise BadInput(f"give one crystal source as data_files, not {len(found)} files")
            kwargs["crystals"] = found[0]
        names = [n for n in SimXRDConfig.__dataclass_fields__ if n not in datasets.BuilderConfig.__dataclass_fields__]
        chosen = {name: kwargs.pop(name) for name in names if name in kwargs}
        opened = source.open_source(chosen.pop("crystals", None), **source.split_recipe(chosen, config_name))
        self._units = {split: source.windows(opened, config_name, split) for split in SPLITS}
        self._crystals = str(source.keep_crystals(opened, cache_dir or datasets.config.HF_DATASETS_CACHE))
        self._recipe = json.dumps(opened.recipe.to_dict())
        self._features = source.features_of(opened.recipe)
        # The cache is keyed by everything that decides the rows, so that nothing stale can come out of it.
        kwargs["hash"] = opened.recipe.digest(opened.crystals)
        super().__init__(cache_dir=cache_dir, config_name=config_name, **kwargs)

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=self._features)

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        fixed = {"crystals": self._crystals, "recipe": self._recipe}
        return [
            datasets.SplitGenerator(name=split, gen_kwargs={**fixed, "units": units})
            for split, units in self._units.items()
            if units
        ]

    def _generate_tables(self, crystals: str, recipe: str, units: list[Any]) -> Iterator[tuple[Any, Any]]:
        from datasets.builder import Key

        from simxrd_hf.data.source import tables

        for unit, piece, table in tables(crystals, recipe, units):
            yield Key(unit, piece), table
