"""Generation through datatrove's pipeline executors (local, Slurm, Ray): many machines, the same bytes.

Needs the extra `scale`. Every machine must see the dataset's folder, and run the same version of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from datatrove.pipeline.base import PipelineStep

from simxrd_hf.data.jobs import Job

# (pipeline, number of tasks, folder for logs) -> executor
ExecutorFactory = Callable[[list[PipelineStep], int, str], Any]


class SimulateBlocks(PipelineStep):
    """Pipeline step that makes blocks of a generation; each task makes its share of the numbers.

    Args:
        folder: Dataset whose generation has begun.
        numbers: Blocks to make.
    """

    name = "Simulate SimXRD blocks"
    type = "GENERATOR"

    def __init__(self, folder: str, numbers: Sequence[int]) -> None:
        super().__init__()
        self.folder = folder
        self.numbers = tuple(numbers)

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Make the blocks of one task; documents, if any come, are passed on."""
        job = Job.open(Path(self.folder))
        for number in self.numbers[rank::world_size]:
            with self.track_time("block"):
                record = job.run(number)
            self.stat_update("rows", value=sum(file["rows"] for file in record["files"].values()), unit="block")
        yield from data or ()


def run_blocks(folder: Path, numbers: Sequence[int], engine: str | ExecutorFactory, workers: int) -> None:
    """Make blocks through an executor; those of a Slurm executor may still be at work when this returns.

    Args:
        folder: Dataset whose generation has begun.
        numbers: Blocks to make.
        engine: "datatrove" (this machine), "ray" (a Ray cluster, begun here if none runs), or a function of (pipeline,
            number of tasks, folder for logs) that makes an executor, such as datatrove's `SlurmPipelineExecutor`.
        workers: Tasks at a time.
    """
    folder = folder.resolve()
    steps: list[PipelineStep] = [SimulateBlocks(str(folder), numbers)]
    tasks = min(len(numbers), 4 * workers)
    logs = str(folder / ".partial" / "logs")
    # Which tasks are done is decided by the blocks' records, not by the executor's notes of an earlier run.
    if callable(engine):
        engine(steps, tasks, logs).run()
    elif engine == "datatrove":
        from datatrove.executor.local import LocalPipelineExecutor

        LocalPipelineExecutor(steps, tasks=tasks, workers=workers, logging_dir=logs, skip_completed=False).run()
    else:
        import ray
        from datatrove.executor.ray import RayPipelineExecutor

        begun = not ray.is_initialized()
        if begun:
            ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
        try:
            RayPipelineExecutor(
                steps, tasks=tasks, workers=workers, logging_dir=logs, skip_completed=False, mem_per_cpu_gb=1
            ).run()
        finally:
            if begun:
                ray.shutdown()
