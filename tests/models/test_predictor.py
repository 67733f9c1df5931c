"""The predictor that does without transformers gives the pipeline's answers."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from model_helpers import COARSE, SMALL_FORMER

import simxrd_hf
from simxrd_hf.errors import BadInput
from simxrd_hf.indexing import LatticeEvidence
from simxrd_hf.indexing.evidence import N_FEATURES
from simxrd_hf.models import Predictor, create_model, export_model


@pytest.mark.parametrize(
    ("name", "task", "variant", "overrides"),
    [
        ("simxrd_former", "space_group", "corrected", SMALL_FORMER),
        ("simxrd_former", "crystal_system", "corrected", {**SMALL_FORMER, "rope_axis": "index", "temperature": 3.0}),
        ("cnn5", "space_group", "corrected", {"intensity_scaling": "sqrt"}),
        ("cnn4", "crystal_system", "as_published", {}),
        ("transformer", "crystal_system", "corrected", {"grid": COARSE}),
        ("birnn", "crystal_system", "as_published", {"grid": COARSE}),
    ],
)
def test_same_answers_as_the_pipeline(name, task, variant, overrides, tmp_path):
    torch.manual_seed(0)
    model = create_model(name, task, variant=variant, **overrides).eval()
    if name != "simxrd_former":
        model.save_pretrained(tmp_path / "m")  # without feature extractor: the model's grid is used
    else:
        export_model(model, None, tmp_path / "m")
    axis = np.arange(12, 70, 0.03)
    item = {"two_theta": axis, "intensity": 1 + 50 * np.sin(axis) ** 20, "wavelength": 1.5}
    light, full = Predictor(tmp_path / "m")([item])[0], simxrd_hf.pipeline(tmp_path / "m")(item)
    assert light.keys() == full.keys()
    assert light["input"] == full["input"]
    for kind in light.keys() - {"input"}:
        assert [e["label"] for e in light[kind]] == [e["label"] for e in full[kind]]
        np.testing.assert_allclose([e["score"] for e in light[kind]], [e["score"] for e in full[kind]], rtol=1e-4)


def test_a_cell_search_corrects_both_alike_and_can_be_left_out(tmp_path):
    torch.manual_seed(0)
    export_model(create_model("simxrd_former", "space_group", **SMALL_FORMER).eval(), None, tmp_path / "m")
    axis = np.arange(10, 80, 0.02)
    lines = (27.4, 31.7, 45.5, 53.9, 56.5, 66.3, 75.4)  # rock salt
    item = {"two_theta": axis, "intensity": sum(100 * np.exp(-(((axis - x) / 0.07) ** 2)) for x in lines)}
    alone = Predictor(tmp_path / "m")([item])[0]
    rng = np.random.default_rng(0)
    conformal = {"method": "lac", "coverage": 0.9, "threshold": 0.5, "n": 10}
    LatticeEvidence(
        scale=1.0,
        hidden_weight=rng.normal(size=(4, N_FEATURES)),
        hidden_bias=np.zeros(4),
        system_weight=rng.normal(size=(7, 4)),
        system_bias=np.zeros(7),
        symbol_weight=np.full(7, 0.2),
        conformal=conformal,
    ).save(tmp_path / "m")
    light, full = Predictor(tmp_path / "m")([item])[0], simxrd_hf.pipeline(tmp_path / "m")(item)
    for kind in ("space_group", "crystal_system"):
        assert [e["label"] for e in light[kind]] == [e["label"] for e in full[kind]]
        np.testing.assert_allclose([e["score"] for e in light[kind]], [e["score"] for e in full[kind]], rtol=1e-3)
    assert light["prediction_set"] == full["prediction_set"] and light["prediction_set"]["coverage"] == 0.9
    assert light["crystal_system"] != alone["crystal_system"]
    assert Predictor(tmp_path / "m", indexing=False)([item])[0] == alone
    left = simxrd_hf.pipeline(tmp_path / "m", indexing=False)(item)
    assert [e["label"] for e in left["space_group"]] == [e["label"] for e in alone["space_group"]]


def test_composition_and_conformal(dummy_former, patterns):
    item = {"intensity": patterns[0].numpy(), "composition": "NaCl"}
    light, full = Predictor(dummy_former)([item], top_k=3)[0], simxrd_hf.pipeline(dummy_former)(item, top_k=3)
    assert light["prediction_set"] == full["prediction_set"]
    assert light["space_group"][0]["score"] == pytest.approx(full["space_group"][0]["score"], rel=1e-5)


def test_does_not_import_transformers(dummy_former, tmp_path):
    code = (
        "import sys, simxrd_hf, numpy; simxrd_hf._defer_registration = True\n"
        "from simxrd_hf.models.predictor import Predictor\n"
        f"Predictor({str(dummy_former)!r})([numpy.ones(3501)])\n"
        "assert 'transformers' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_unusable_checkpoints_say_why(dummy_former, tmp_path):
    def changed(**entries):
        folder = tmp_path / "m"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(dummy_former, folder)
        config = {**json.loads((folder / "config.json").read_text()), **entries}
        (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not ...}))
        return folder

    for entries, message in (
        ({"config_version": 3}, "config_version is 3, this code reads version 1"),
        ({"model_type": "bert"}, "model_type is 'bert'; this command reads simxrd_baseline and simxrd_former"),
        ({"hidden_size": 32}, "config.json and weights do not make a model"),
        ({"widths": ...}, "config.json and weights do not make a model: 'widths'"),
    ):
        with pytest.raises(BadInput, match=message):
            Predictor(changed(**entries))
    folder = changed()
    raw = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(raw[:-1000])
    with pytest.raises(BadInput, match=f"expected {len(raw)} bytes by its header, got {len(raw) - 1000} bytes"):
        Predictor(folder)
    (folder / "preprocessor_config.json").write_text("[]")
    (folder / "model.safetensors").write_bytes(raw)
    with pytest.raises(BadInput, match="expected a JSON object, got list"):
        Predictor(folder)
    with pytest.raises(BadInput, match="no such checkpoint folder"):
        Predictor(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="neither a folder nor a model repository"):
        Predictor("someone/nothing")
