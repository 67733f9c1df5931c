"""Micro-batches of one process for a run of steps, from any source, read ahead and moved to the device."""

import queue
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from simxrd_hf.training.config import TrainConfig
from simxrd_hf.training.machine import worker_processes
from simxrd_hf.training.samplers import SampleOrder, StepBatches, balanced_weights, micro_batch_size
from simxrd_hf.training.sources.base import Batch, Source
from simxrd_hf.training.sources.streamed import StreamedSplit


def sample_order(config: TrainConfig, source: Source) -> SampleOrder:
    """The order of training rows that a config asks for."""
    weights = None
    if config.batches.sampling == "class_balanced":
        weights = balanced_weights(source.labels, config.batches.balance_power)
    elif config.batches.sampling == "crystal_balanced":
        weights = balanced_weights(source.groups, 0.0)
    return SampleOrder(len(source), config.seed, weights)


def training_batches(
    config: TrainConfig, source: Any, rank: int, world: int, start: int, stop: int, device: torch.device
) -> Iterator[Batch]:
    """Micro-batches of one process for the steps start … stop - 1, moved to the device.

    Patterns travel in the type they are stored in and become float32 on the device.
    """
    size = micro_batch_size(config.batches.batch_size, config.batches.gradient_accumulation, world)
    on_gpu = device.type != "cpu"
    workers = worker_processes(config)
    batches: Iterator[Batch]
    if isinstance(source, StreamedSplit):
        per_step = size * config.batches.gradient_accumulation
        batches = source.batches(start * per_step, size, rank, world)
    else:
        sampler = StepBatches(
            sample_order(config, source),
            config.batches.batch_size,
            config.batches.gradient_accumulation,
            rank,
            world,
            start,
            stop,
        )
        batches = iter(
            DataLoader(
                source,
                batch_sampler=sampler,
                num_workers=workers,
                collate_fn=_unchanged,
                pin_memory=on_gpu,
                generator=torch.Generator(),  # else starting the loader would draw from the generator dropout uses
                prefetch_factor=4 if workers else None,
            )
        )
    # With worker processes the loader itself reads ahead; a stream gains from it on any device.
    if (on_gpu and not workers) or isinstance(source, StreamedSplit):
        batches = ahead(batches)
    for batch in batches:
        yield {
            "intensity": batch["intensity"].to(device, non_blocking=on_gpu).float(),
            "labels": batch["labels"].to(device, non_blocking=on_gpu),
        }


def _unchanged(batch: Any) -> Any:  # `__getitems__` has put the batch together already
    return batch


def ahead(items: Iterator[Batch], depth: int = 4) -> Iterator[Batch]:
    """The same items, prepared by a thread up to `depth` before they are asked for; its errors are raised here."""
    box: queue.Queue[Any] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(item: Any) -> None:
        while not stopped.is_set():
            try:
                box.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put((item, None))
                if stopped.is_set():
                    return
            put((None, StopIteration()))
        except BaseException as error:
            put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        while True:
            item, error = box.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        stopped.set()
