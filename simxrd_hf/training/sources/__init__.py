"""Where batches come from: stored patterns (memory-mapped or streamed) and patterns simulated while training."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.errors import BadInput
from simxrd_hf.training.config import TrainConfig
from simxrd_hf.training.sources.base import Batch, Source, check_match, class_counts
from simxrd_hf.training.sources.loading import ahead, training_batches
from simxrd_hf.training.sources.on_the_fly import SimulatedSplit, crystal_table
from simxrd_hf.training.sources.stored import StoredSplit, stored_files
from simxrd_hf.training.sources.streamed import StreamedSplit

__all__ = [
    "Batch",
    "SimulatedSplit",
    "Source",
    "StoredSplit",
    "StreamedSplit",
    "ahead",
    "check_match",
    "class_counts",
    "crystal_table",
    "open_split",
    "open_training",
    "stored_files",
    "training_batches",
    "training_class_counts",
]


def open_training(config: TrainConfig) -> Any:
    """The training rows a config asks for."""
    if config.source.crystals is not None:
        return SimulatedSplit.for_config(config, "train")
    assert config.source.data is not None
    if config.source.streaming:
        return StreamedSplit(
            config.source.data,
            config.source.data_config,
            "train",
            config.network.task,
            config.seed,
            config.source.shuffle_rows,
        )
    return StoredSplit(
        config.source.data,
        config.source.data_config,
        "train",
        config.network.task,
        limit_crystals=config.source.limit_crystals,
        conditions=config.source.train_conditions,
    )


def open_split(config: TrainConfig, split: str, *, limit_rows: int | None = None) -> Any:
    """The rows of a split that a config scores on, in fixed order."""
    if split not in ("train", "validation", "test"):
        raise BadInput(f"split: must be train, validation or test, not {split!r}")
    if config.source.crystals is not None:
        if split == "train":
            raise BadInput("split: patterns simulated on the fly are scored on validation or test")
        return SimulatedSplit.for_config(config, split, limit_rows=limit_rows)
    assert config.source.data is not None
    return StoredSplit(config.source.data, config.source.data_config, split, config.network.task, limit_rows=limit_rows)


def training_class_counts(config: TrainConfig) -> NDArray[np.int64]:
    """(num_labels,) rows of each class in the training split, without reading patterns."""
    if config.source.crystals is not None:
        return class_counts(open_training(config), config.num_labels)
    rows = StreamedSplit(config.source.data, config.source.data_config, "train", config.network.task, config.seed)  # type: ignore[arg-type]
    return class_counts(rows, config.num_labels)
