"""A checkpoint written for others says what it said before."""

import numpy as np
import onnxruntime
import pytest
import torch

from simxrd_hf import cli
from simxrd_hf.models import create_model, export_model
from simxrd_hf.training.evaluation import load_model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    return export_model(create_model("cnn5", "crystal_system"), None, tmp_path_factory.mktemp("model") / "cnn5")


def test_onnx_and_folder(checkpoint, tmp_path, capsys):
    assert cli.main(["export", str(checkpoint), "-o", str(tmp_path / "m.onnx")]) == 0
    pattern = np.random.default_rng(0).random((2, 3501), dtype=np.float32) * 100
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    (logits,) = session.run(None, {"intensity": pattern, "mask": np.ones((2, 3501), dtype=bool)})
    with torch.no_grad():
        expected = load_model(checkpoint)(torch.from_numpy(pattern)).logits.numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert cli.main(["export", str(checkpoint), "-o", str(tmp_path / "folder"), "--half"]) == 0
    assert (tmp_path / "folder" / "model.safetensors").stat().st_size < 0.6 * (
        checkpoint / "model.safetensors"
    ).stat().st_size
    assert "model.safetensors" in capsys.readouterr().out


def test_bad_input(checkpoint, tmp_path, capsys):
    assert cli.main(["export", str(checkpoint), "-o", str(tmp_path / "m.onnx"), "--half"]) == 2
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    assert cli.main(["export", str(checkpoint), "-o", str(tmp_path / "full")]) == 2
    assert "--overwrite" in capsys.readouterr().err and (tmp_path / "full" / "mine").exists()
