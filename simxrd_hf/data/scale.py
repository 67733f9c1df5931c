"""Generation through datatrove's pipeline executors (local, Slurm, Ray): many machines, the same bytes.

Needs the extra `scale`. Every machine must see the dataset's folder, and run the same version of this package.
docs/scale.md has the commands.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datatrove.pipeline.base import PipelineStep

from simxrd_hf.data.jobs import Job
from simxrd_hf.errors import BadInput

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


def run_blocks(
    folder: Path,
    numbers: Sequence[int],
    engine: str | ExecutorFactory,
    workers: int,
    options: Mapping[str, str] | None = None,
) -> None:
    """Make blocks through an executor; those of Slurm may still be at work when this returns.

    Args:
        folder: Dataset whose generation has begun.
        numbers: Blocks to make.
        engine: "datatrove" (this machine), "ray" (the cluster that RAY_ADDRESS names, else one begun here), "slurm", or
            a function of (pipeline, number of tasks, folder for logs) that makes an executor.
        workers: Tasks at a time.
        options: For "slurm": `partition` and `time` at least; `cpus_per_task`, `mem_per_cpu_gb`, `qos`, `env_command`
            and `venv_path` as datatrove's `SlurmPipelineExecutor` takes them; all others go to sbatch as they are.

    Raises:
        BadInput: Options that this engine does not take, or lacks.
    """
    options = dict(options or {})
    if options and engine != "slurm":
        raise BadInput(f"engine {engine!r} takes no options, not {', '.join(options)}")
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
    elif engine == "slurm":
        _submit(steps, tasks, logs, workers, options)
    else:
        import ray
        from datatrove.executor.ray import RayPipelineExecutor

        begun = not ray.is_initialized()
        address = os.environ.get("RAY_ADDRESS")
        if begun and address:  # a cluster says itself how many processors it has
            try:
                ray.init(log_to_driver=False)
            except ConnectionError as error:
                raise BadInput(
                    f"no Ray cluster answers at RAY_ADDRESS={address}: start it (`ray start --head`), and if it "
                    "asks for a token, set RAY_AUTH_MODE=token with its file ~/.ray/auth_token here too"
                ) from error
        elif begun:
            ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
        try:
            RayPipelineExecutor(
                steps, tasks=tasks, workers=workers, logging_dir=logs, skip_completed=False, mem_per_cpu_gb=1
            ).run()
        finally:
            if begun:
                ray.shutdown()


_OF_EXECUTOR = {"cpus_per_task": int, "mem_per_cpu_gb": int, "qos": str, "env_command": str, "venv_path": str}


def _submit(steps: list[PipelineStep], tasks: int, logs: str, workers: int, options: dict[str, str]) -> None:
    """Put the tasks into Slurm's queue as one array of jobs."""
    from datatrove.executor.slurm import SlurmPipelineExecutor

    lacking = [name for name in ("partition", "time") if name not in options]
    if lacking:
        raise BadInput(f"engine 'slurm' needs {' and '.join(lacking)}, e.g. --slurm partition=cpu --slurm time=1:00:00")
    # datatrove sources `venv_path` as it is: it means the activation script, not the environment's folder.
    activate = Path(sys.prefix) / "bin" / "activate"
    own: dict[str, Any] = {"venv_path": str(activate) if activate.exists() else None}
    for name, kind in _OF_EXECUTOR.items():
        if name in options:
            text = options.pop(name)
            try:
                own[name] = kind(text)
            except ValueError:
                raise BadInput(f"--slurm {name}={text}: a whole number is needed") from None
    SlurmPipelineExecutor(
        steps,
        tasks=tasks,
        workers=workers,
        partition=options.pop("partition"),
        time=options.pop("time"),
        job_name="simxrd",
        logging_dir=logs,
        slurm_logs_folder=f"{logs}/slurm",
        skip_completed=False,
        mail_type="NONE",
        sbatch_args=options,
        **own,
    ).run()
