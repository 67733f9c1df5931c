"""Small models and patterns for the tests of the models room."""

from pathlib import Path

import numpy as np
import pytest
import torch
from model_helpers import SMALL_FORMER
from transformers.utils import logging

from simxrd_hf.models import create_model

HERE = Path(__file__).parent

torch.set_num_threads(1)
logging.disable_progress_bar()


@pytest.fixture
def dummy_former() -> Path:
    return HERE / "dummy-simxrd-former"


@pytest.fixture
def dummy_baseline() -> Path:
    return HERE / "dummy-simxrd-baseline"


@pytest.fixture
def patterns() -> torch.Tensor:
    """Four patterns of a few Gaussian lines on a flat background, maximum 100, full grid."""
    rng = np.random.default_rng(0)
    axis = 10 + 0.02 * np.arange(3501)
    rows = []
    for _ in range(4):
        centres, heights = rng.uniform(15, 75, 12), rng.uniform(5, 100, 12)
        row = 1 + (heights[:, None] * np.exp(-0.5 * ((axis - centres[:, None]) / 0.08) ** 2)).sum(axis=0)
        rows.append(100 * row / row.max())
    return torch.tensor(np.array(rows), dtype=torch.float32)


@pytest.fixture
def small_former():
    torch.manual_seed(0)
    return create_model("simxrd_former", **SMALL_FORMER).eval()
