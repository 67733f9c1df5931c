"""Fixtures every room shares: the optional development data, and settings that keep the tests offline and small."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# Every run tries the same examples, so that a commit passes or does not; `--hypothesis-profile explore` looks for more.
settings.register_profile("explore")
settings.register_profile("steady", derandomize=True)
settings.load_profile("steady")

# Nothing in the tests may reach a network; set before any Hugging Face library is imported.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "Agg")
# One thread each: the tests run in several processes, and torch's threads would wait for one another's turns.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the development data; `SIMXRD_DEV_DATA` names it, else it lies beside the checkout."""
    folder = Path(os.environ.get("SIMXRD_DEV_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "structures_dev.parquet").exists():
        pytest.skip("development data not present (set SIMXRD_DEV_DATA)")
    return folder


@pytest.fixture(autouse=True)
def _private_hf_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep builders and downloads of a test out of the user's cache."""
    cache = tmp_path_factory.getbasetemp() / "hf"
    monkeypatch.setenv("HF_DATASETS_CACHE", str(cache / "datasets"))


@pytest.fixture
def dummy_former() -> Path:
    return ROOT / "tests" / "models" / "dummy-simxrd-former"


@pytest.fixture
def dummy_baseline() -> Path:
    return ROOT / "tests" / "models" / "dummy-simxrd-baseline"


@pytest.fixture
def patterns():
    """Four patterns of a few Gaussian lines on a flat background, maximum 100, full grid; float32 tensor (4, 3501)."""
    import torch

    rng = np.random.default_rng(0)
    axis = 10 + 0.02 * np.arange(3501)
    rows = []
    for _ in range(4):
        centres, heights = rng.uniform(15, 75, 12), rng.uniform(5, 100, 12)
        row = 1 + (heights[:, None] * np.exp(-0.5 * ((axis - centres[:, None]) / 0.08) ** 2)).sum(axis=0)
        rows.append(100 * row / row.max())
    return torch.tensor(np.array(rows), dtype=torch.float32)
