"""Generation through datatrove's executors gives the same bytes as in this process."""

import json
import logging
import os
import sys
from pathlib import Path

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


def test_slurm_gets_an_array_of_jobs(crystals, tmp_path, monkeypatch):
    """What sbatch is given: the partition, the time, other options as they are, an activation script that exists."""
    (tmp_path / "bin").mkdir()
    queue = tmp_path / "bin" / "sbatch"
    queue.write_text(
        f'#!/bin/sh\nfor last; do :; done\ncp "$last" {tmp_path}/$(date +%N).slurm\necho Submitted batch job 7\n'
    )
    queue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    options = {"partition": "cpu", "time": "1:00:00", "account": "mine", "mem_per_cpu_gb": "3"}
    with pytest.raises(GenerationError, match=r"run the same command again when the executor's jobs have ended"):
        generate(crystals, tmp_path / "d", **SMALL, engine="slurm", engine_options=options, num_proc=2, progress=False)
    text = next(t for t in (p.read_text() for p in tmp_path.glob("*.slurm")) if "launch_pickled_pipeline" in t)
    for line in ("--partition=cpu", "--time=1:00:00", "--account=mine", "--mem-per-cpu=3G", "--array=0-"):
        assert f"#SBATCH {line}" in text
    sourced = [line.split()[1] for line in text.splitlines() if line.startswith("source ")]
    assert all(Path(path).is_file() for path in sourced) and sourced == [f"{sys.prefix}/bin/activate"][: len(sourced)]


@pytest.mark.parametrize(
    ("engine", "options", "says"),
    [
        ("slurm", {}, "needs partition and time"),
        ("slurm", {"partition": "cpu", "time": "1:00", "mem_per_cpu_gb": "some"}, "whole number"),
        ("datatrove", {"partition": "cpu"}, "takes no options"),
    ],
)
def test_options_of_an_engine(crystals, tmp_path, engine, options, says):
    with pytest.raises(BadInput, match=says):
        generate(crystals, tmp_path / "d", **SMALL, engine=engine, engine_options=options, progress=False)


def test_no_cluster_where_one_is_named(crystals, tmp_path, monkeypatch):
    pytest.importorskip("ray")

    def refused(**_):
        raise ConnectionError

    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    monkeypatch.setattr("ray.init", refused)
    with pytest.raises(BadInput, match=r"RAY_ADDRESS=127\.0\.0\.1:9.*RAY_AUTH_MODE"):
        generate(crystals, tmp_path / "d", **SMALL, engine="ray", progress=False)
