"""Small models for the tests of the models room."""

import pytest
import torch
from model_helpers import SMALL_FORMER
from transformers.utils import logging

from simxrd_hf.models import create_model

torch.set_num_threads(1)
logging.disable_progress_bar()


@pytest.fixture
def small_former():
    torch.manual_seed(0)
    return create_model("simxrd_former", **SMALL_FORMER).eval()
