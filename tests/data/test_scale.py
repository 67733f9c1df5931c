"""Generation through datatrove's executors gives the same bytes as in this process."""

import json
import logging

import pytest
from data.test_generation import SMALL

from simxrd_hf import BadInput
from simxrd_hf.data import GenerationError, generate

pytest.importorskip("datatrove")


@pytest.fixture(autouse=True)
def _quiet():
    from loguru import logger

    logger.remove()
    logging.getLogger("datatrove").setLevel(logging.ERROR)


def _manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def test_local_executor(made, crystals, tmp_path):
    report = generate(crystals, tmp_path / "d", **SMALL, engine="datatrove", num_proc=2, progress=False)
    assert report.new_rows == made.new_rows and _manifest(report.folder) == _manifest(made.folder)


@pytest.mark.slow
def test_ray(made, crystals, tmp_path):
    pytest.importorskip("ray")
    report = generate(crystals, tmp_path / "d", **SMALL, engine="ray", num_proc=2, progress=False)
    assert report.new_rows == made.new_rows and _manifest(report.folder) == _manifest(made.folder)


def test_an_executor_that_only_submits(made, crystals, tmp_path):
    """As Slurm's does: the first call leaves work in the queue, the second finds it done."""
    from datatrove.executor.local import LocalPipelineExecutor

    queue = []

    class Submitted:
        def __init__(self, steps, tasks, logs):
            self.executor = LocalPipelineExecutor(steps, tasks=tasks, workers=1, logging_dir=logs)

        def run(self):
            queue.append(self.executor)

    with pytest.raises(GenerationError, match=r"blocks are not made yet .* run the same command again"):
        generate(crystals, tmp_path / "d", **SMALL, engine=Submitted, progress=False)
    queue[0].run()
    report = generate(crystals, tmp_path / "d", **SMALL, engine=Submitted, progress=False)
    assert len(queue) == 1 and report.new_rows == 0 and _manifest(report.folder) == _manifest(made.folder)


def test_unknown_engine(crystals, tmp_path):
    with pytest.raises(BadInput, match="no engine 'spark'"):
        generate(crystals, tmp_path / "d", engine="spark", progress=False)
