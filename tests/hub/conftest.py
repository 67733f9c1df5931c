"""A Hub for the tests of this folder and of the commands that speak to one."""

import json
import shutil
from pathlib import Path

import pytest
from hub_server import HubServer
from huggingface_hub import HfApi

from simxrd_hf.symmetry import CRYSTAL_SYSTEMS


@pytest.fixture(scope="module")
def hub():
    """An empty Hub on loopback."""
    with HubServer() as server:
        yield server


@pytest.fixture
def api(hub, monkeypatch):
    """A client with a token that may write; the tests are offline otherwise, and this Hub is on loopback."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    hub.log.clear()
    return HfApi(endpoint=hub.url, token="hf_test_write_token")


@pytest.fixture
def xet(api, monkeypatch, tmp_path):
    """The same client sends and reads large files by Xet, as it does outside of tests."""
    pytest.importorskip("hf_xet")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    monkeypatch.setattr("huggingface_hub.utils._xet._GLOBAL_XET_HOLDER._session", None)
    monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "xet"))
    monkeypatch.setenv("HF_XET_XORB_COMPRESSION_POLICY", "none")
    return api


@pytest.fixture
def model_folder(tmp_path):
    """What publishing looks at in a model folder."""
    folder = tmp_path / "model"
    folder.mkdir()
    config = {"task": "crystal_system", "id2label": dict(enumerate(CRYSTAL_SYSTEMS)), "config_version": 1}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "README.md").write_text("---\nlicense: mit\ntags: [xrd]\n---\n# A model\n")
    (folder / "model.safetensors").write_bytes(b"weights" * 100)
    return folder


@pytest.fixture(scope="session")
def generated(tmp_path_factory):
    """A small dataset, of eight prototypes."""
    import simxrd_hf
    from simxrd_hf.crystals import prototypes

    table = prototypes().table
    small = [index for index, atoms in enumerate(table["atomic_numbers"].to_pylist()) if len(atoms) <= 4][:8]
    folder = tmp_path_factory.mktemp("generated") / "data"
    simxrd_hf.generate(table.take(small), folder, conditions=[0, 30, 31], configs=("in_library",), progress=False)
    return folder


@pytest.fixture
def dataset_folder(generated, tmp_path):
    """A copy of the small dataset, to be changed."""
    return Path(shutil.copytree(generated, tmp_path / "data"))
