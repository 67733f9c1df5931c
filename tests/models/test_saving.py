"""Every way of saving leaves a folder that people without the package open by its path alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from model_helpers import SMALL_FORMER
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

import simxrd_hf
from simxrd_hf.models import SimXRDFeatureExtractor, SimXRDFormerForSequenceClassification, create_model, export_model

HERE = Path(__file__).parent
AXIS = np.arange(5, 90, 0.02)
ITEM = {
    "two_theta": AXIS,
    "intensity": 1 + 99 * np.exp(-0.5 * ((AXIS - 40) / 0.1) ** 2),
    "wavelength": 1.5406,
}


def stranger(folder, *arguments):
    """Run strangers.py where neither the package nor anything cached is to be found; returns what it prints."""
    env = {**os.environ, "HF_MODULES_CACHE": str(folder / "modules"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    env.pop("PYTHONPATH", None)
    command = [sys.executable, str(HERE / "strangers.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_every_way_of_saving(tmp_path):
    """From an exported folder tuned without the package, from `create_model`, and from the package's own class."""
    torch.manual_seed(0)
    made = create_model("simxrd_former", temperature=2.0, **SMALL_FORMER)
    made.config.conformal = {"method": "lac", "coverage": 0.9, "threshold": 0.98}
    exported = export_model(made, None, tmp_path / "exported")
    stranger(tmp_path, "tune", exported, tmp_path / "tuned")
    folders = [exported, *(tmp_path / "tuned" / name for name in ("save_model", "model", "pipe"))]

    made.save_pretrained(tmp_path / "create_model")
    swapped = SimXRDFormerForSequenceClassification.from_pretrained(
        exported, task="crystal_system", ignore_mismatched_sizes=True
    )
    trainer = Trainer(
        swapped,
        TrainingArguments(tmp_path / "t", use_cpu=True, report_to=[]),
        processing_class=SimXRDFeatureExtractor(),
    )
    trainer.save_model(tmp_path / "package")
    simxrd_hf.pipeline(exported).save_pretrained(tmp_path / "package_pipe")
    create_model("cnn5", "crystal_system").save_pretrained(tmp_path / "cnn5")
    folders += [tmp_path / name for name in ("create_model", "package", "package_pipe", "cnn5")]
    for folder in folders:
        text = (folder / "config.json").read_text() + (folder / "preprocessor_config.json").read_text()
        assert "--" not in text, "the folder would load code from another one"

    answers = json.loads(stranger(tmp_path, "load", *folders).splitlines()[-1])
    for folder in folders:
        got = answers[str(folder)]
        expected = simxrd_hf.pipeline(folder)(ITEM, top_k=None)
        first = next(name for name in ("space_group", "crystal_system", "classes") if name in expected)
        expected = {entry["label"]: entry["score"] for entry in expected[first]}
        assert got == pytest.approx(expected, rel=1e-4, abs=1e-7), folder
    tuned = [answers[str(folder)] for folder in folders[1:4]]
    assert tuned[0] == tuned[1] == tuned[2] and set(tuned[0]) == {"LABEL_0", "LABEL_1", "LABEL_2"}
    assert answers[str(exported)] == pytest.approx(answers[str(tmp_path / "create_model")])

    wavelengths = answers["wavelengths"]
    assert wavelengths["named"] == 0.7093
    assert "does not say the wavelength: pass wavelength=" in wavelengths["silent"]
    assert "pass wavelength=" in wavelengths["mapping"]


def test_saving_into_a_folder_of_another_grid_replaces_its_extractor(tmp_path):
    create_model("cnn5", grid={"step": 0.05}).save_pretrained(tmp_path)
    assert SimXRDFeatureExtractor.from_pretrained(tmp_path).grid["step"] == 0.05
    create_model("cnn5").save_pretrained(tmp_path)
    assert SimXRDFeatureExtractor.from_pretrained(tmp_path).grid["step"] == 0.02
    SimXRDFeatureExtractor(negative="clip").save_pretrained(tmp_path)
    create_model("cnn5").save_pretrained(tmp_path)
    assert SimXRDFeatureExtractor.from_pretrained(tmp_path).negative == "clip"  # a setting of the user's own stays


def test_classes_of_the_users_own_stay_named(tmp_path, monkeypatch):
    """A subclass registered for an Auto class is what the folder loads, beside the code it stands on."""
    (tmp_path / "modeling_mine.py").write_text(
        "from simxrd_hf.models import SimXRDFormerForSequenceClassification\n\n\n"
        "class Mine(SimXRDFormerForSequenceClassification):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from modeling_mine import Mine

    Mine.register_for_auto_class("AutoModelForSequenceClassification")
    Mine(create_model("simxrd_former", **SMALL_FORMER).config).save_pretrained(tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert config["auto_map"]["AutoModelForSequenceClassification"] == "modeling_mine.Mine"
    assert config["auto_map"]["AutoModel"] == "modeling_simxrd_former.SimXRDFormerModel"


def test_stored_as_halves_loads_as_float32(tmp_path):
    torch.manual_seed(0)
    model = create_model("simxrd_former", **SMALL_FORMER)
    whole = export_model(model, None, tmp_path / "whole")
    half = export_model(model, None, tmp_path / "half", half=True)
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (whole, half)]
    assert sizes[1] < 0.6 * sizes[0]
    assert model.dtype == torch.float32
    loaded = AutoModelForSequenceClassification.from_pretrained(half)
    assert loaded.dtype == torch.float32
    torch.testing.assert_close(loaded.classifier.weight, model.classifier.weight, rtol=1e-3, atol=1e-5)


REGISTERED = """
import sys
{imports}
answer = pipeline("xrd-classification", model=sys.argv[1])
assert type(answer).__module__ == "simxrd_hf.models.pipeline_simxrd", type(answer).__module__
assert type(pipeline(model=sys.argv[1])) is type(answer)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "imports",
    [
        "import simxrd_hf; assert 'transformers' not in sys.modules\nfrom transformers import pipeline",
        "from transformers import pipeline\nimport simxrd_hf",
        "from simxrd_hf.models.pipeline_simxrd import XRDClassificationPipeline\nfrom transformers import pipeline",
    ],
)
def test_importing_the_package_is_enough(imports, tmp_path):
    """Whatever comes first, the task of an exported folder is answered without running code from the folder."""
    folder = export_model(create_model("simxrd_former", **SMALL_FORMER), None, tmp_path / "m")
    code = REGISTERED.format(imports=imports)
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_import_costs_next_to_nothing():
    code = "import time; t = time.perf_counter(); import simxrd_hf; print(time.perf_counter() - t)"
    best = min(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    )
    assert best < 0.3
