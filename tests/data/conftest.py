"""A small dataset that the tests of this room share, made once a session."""

import os
from pathlib import Path

import pyarrow as pa
import pytest
from data.small_crystals import crystal_table

from simxrd_hf.data import GenerateReport, generate

CONDITIONS = (0, 1, 2, 3, 30, 31, 32)


@pytest.fixture(scope="session", autouse=True)
def _quiet_datasets() -> None:
    import datasets

    datasets.disable_progress_bars()


@pytest.fixture(scope="session")
def crystals() -> pa.Table:
    return crystal_table()


@pytest.fixture(scope="session")
def made(crystals: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> GenerateReport:
    folder = tmp_path_factory.mktemp("made") / "dataset"
    configs = ("in_library", "out_of_library", "tiny")
    return generate(crystals, folder, configs=configs, conditions=CONDITIONS, rows_per_shard=40, progress=False)


@pytest.fixture(scope="session")
def dataset(made: GenerateReport) -> Path:
    return made.folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Cache folder for `load_dataset`: the library reads its environment variable once, when it is imported."""
    return os.fspath(tmp_path_factory.mktemp("hf_cache"))
