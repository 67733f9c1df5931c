"""The packaged prototypes and their lines, made once a session."""

import pyarrow as pa
import pytest

from simxrd_hf.crystals import prototypes
from simxrd_hf.matching import LineLibrary, build_library


@pytest.fixture(scope="session")
def table() -> pa.Table:
    return prototypes().table


@pytest.fixture(scope="session")
def library(table: pa.Table) -> LineLibrary:
    made, left_out = build_library(table)
    assert not left_out
    return made
