"""The exporter: complete, whole or not at all."""

import json
import re

import pytest
import torch
import yaml
from model_helpers import SMALL_FORMER
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification

from simxrd_hf.errors import BadInput
from simxrd_hf.models import SimXRDFeatureExtractor, create_model, export_model


@pytest.fixture
def model():
    torch.manual_seed(0)
    return create_model("simxrd_former", **SMALL_FORMER)


def test_folder_is_complete(model, tmp_path):
    results = [{"dataset": {"id": "org/simxrd", "task_id": "t"}, "value": 0.5}]
    folder = export_model(model, SimXRDFeatureExtractor(), tmp_path / "a" / "model", results=results)
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    config = json.loads((folder / "config.json").read_text())
    classes = {*config["auto_map"].values(), config["custom_pipelines"]["xrd-classification"]["impl"]}
    for reference in classes:
        file, _, name = reference.partition(".")
        assert f"class {name}" in (folder / f"{file}.py").read_text()
    assert set(config["auto_map"]) == {
        "AutoConfig", "AutoModel", "AutoModelForSequenceClassification", "AutoFeatureExtractor",
    }  # fmt: skip
    assert {"model.safetensors", "preprocessor_config.json", "README.md", ".eval_results/simxrd.yaml"} <= names
    assert yaml.safe_load((folder / ".eval_results/simxrd.yaml").read_text()) == results
    # Remote code must be flat and must not need the package.
    for path in folder.glob("*.py"):
        text = path.read_text()
        assert not re.search(r"^\s*(from|import)\s+(simxrd_hf|\.\.)", text, re.MULTILINE), path.name
    assert not list(folder.parent.glob(".model*"))
    card = (folder / "README.md").read_text()
    metadata = yaml.safe_load(card.split("---")[1])
    assert metadata["library_name"] == "transformers"
    assert f"{sum(p.numel() for p in model.parameters()):,} parameters" in card
    assert "No scores are stated" in card
    assert AutoModelForSequenceClassification.from_pretrained(folder).config.model_type == "simxrd_former"


def test_card_text_is_taken_as_it_is(model, tmp_path):
    folder = export_model(model, None, tmp_path / "m", card_text="# card\n")
    assert (folder / "README.md").read_text() == "# card\n"
    assert not (folder / ".eval_results").exists()


def test_existing_folder_is_kept_unless_told(model, tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "old.txt").write_text("mine")
    with pytest.raises(BadInput, match="exists already"):
        export_model(model, None, folder)
    assert (folder / "old.txt").exists()
    export_model(model, None, folder, overwrite=True)
    assert not (folder / "old.txt").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]


def test_failure_leaves_nothing_behind(model, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    old = tmp_path / "m"
    old.mkdir()
    (old / "old.txt").write_text("mine")
    with pytest.raises(OSError, match="No space"):
        export_model(model, None, old, overwrite=True)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["m", "old.txt"]


def test_foreign_models_and_grids_are_refused(model, tmp_path):
    with pytest.raises(BadInput, match=r"the feature extractor writes .* 0.05° .*, the model reads .* 0.02°"):
        export_model(model, SimXRDFeatureExtractor({"step": 0.05}), tmp_path / "m")
    bert = BertForSequenceClassification(BertConfig(hidden_size=8, num_attention_heads=1, num_hidden_layers=1,
                                                    intermediate_size=8, vocab_size=8))  # fmt: skip
    with pytest.raises(BadInput, match="not a model of this package"):
        export_model(bert, None, tmp_path / "m")
    assert not list(tmp_path.iterdir())
