"""The small dataset and module of `training_helpers` as fixtures."""

from pathlib import Path

import pytest
import torch
from training_helpers import Net, write_dataset


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with 403 / 67 / 55 rows: no round numbers, so that padding and remainders show."""
    return write_dataset(tmp_path_factory.mktemp("stored"), {"train": 403, "validation": 67, "test": 55})


@pytest.fixture
def net() -> Net:
    """Same weights every time."""
    torch.manual_seed(1)
    return Net()


@pytest.fixture(autouse=True)
def _one_thread():
    """Tiny matrices gain nothing from threads, and lose much where other tests run beside them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
