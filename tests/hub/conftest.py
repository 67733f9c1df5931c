"""A Hub for the tests of this folder and of the commands that speak to one."""

import json

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
def model_folder(tmp_path):
    """What publishing looks at in a model folder."""
    folder = tmp_path / "model"
    folder.mkdir()
    config = {"task": "crystal_system", "id2label": dict(enumerate(CRYSTAL_SYSTEMS)), "config_version": 1}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "README.md").write_text("---\nlicense: mit\ntags: [xrd]\n---\n# A model\n")
    (folder / "model.safetensors").write_bytes(b"weights" * 100)
    return folder
