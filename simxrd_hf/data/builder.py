"""Entries to the dataset builder: by function, and (opt-in) under the name "simxrd" of `load_dataset`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import ArrowBasedBuilder

BUILDER_MODULE = "simxrd_hf.data.repository.build_simxrd"
REPOSITORY = Path(__file__).parent / "repository"


def simxrd_builder(
    config: str = "tiny", *, cache_dir: str | Path | None = None, **parameters: Any
) -> ArrowBasedBuilder:
    """A `datasets` builder that simulates its rows.

    Args:
        config: "in_library", "out_of_library" or "tiny".
        cache_dir: Cache of `datasets`.
        parameters: Fields of `SimXRDConfig`: crystals, preset, seed, conditions, split_by, labels, dtype,
            exact.

    Returns:
        The builder: `download_and_prepare(num_proc=…)` and `as_dataset(split)` to store rows in the cache,
        `as_streaming_dataset(split)` to simulate them while they are read.

    Raises:
        BadInput: Unknown config or parameter, or unusable crystals.
    """
    from importlib import import_module

    from simxrd_hf.errors import BadInput

    module = import_module(BUILDER_MODULE)
    unknown = sorted(set(parameters) - set(module.SimXRDConfig.__dataclass_fields__))
    if unknown:
        raise BadInput(f"the builder has no parameter {', '.join(unknown)}")
    builder: ArrowBasedBuilder = module.SimXRD(
        cache_dir=str(cache_dir) if cache_dir else None, config_name=config, **parameters
    )
    return builder


def register() -> None:
    """Make `datasets.load_dataset("simxrd", config, data_files=CRYSTALS, …)` use the builder in this process.

    `CRYSTALS` is the file of a crystal table. This enters the table of packaged builders of `datasets`, which is not
    public: prefer `simxrd_builder`.
    """
    from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES

    _PACKAGED_DATASETS_MODULES["simxrd"] = (BUILDER_MODULE, "0")
