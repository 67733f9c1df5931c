"""What a transformers user expects of every model type."""

import json
import shutil

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from model_helpers import COARSE, SMALL_FORMER
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForSequenceClassification,
    Trainer,
    TrainingArguments,
)

from simxrd_hf.models import SimXRDBaselineConfig, SimXRDFeatureExtractor, SimXRDFormerConfig, create_model
from simxrd_hf.models.symmetry_simxrd import CRYSTAL_SYSTEMS, SPACE_GROUPS

# Small networks of each kind of layer: convolution with batch norm, recurrent, attention, our own.
SMALL = {
    "cnn5": ("crystal_system", {}),
    "cnn7": ("crystal_system", {}),
    "bilstm": ("crystal_system", {"grid": COARSE}),
    "transformer": ("crystal_system", {"grid": COARSE}),
    "patchtst": ("crystal_system", {}),
    "simxrd_former": ("space_group", SMALL_FORMER),
}


def make(name: str):
    torch.manual_seed(0)
    task, overrides = SMALL[name]
    model = create_model(name, task, **overrides).eval()
    return model, torch.rand(2, model.config.n_points, generator=torch.Generator().manual_seed(1)) * 100


@torch.no_grad()
@pytest.mark.parametrize("name", SMALL)
def test_saved_and_loaded_bit_for_bit(name, tmp_path):
    model, x = make(name)
    model.save_pretrained(tmp_path)
    names = {path.name for path in tmp_path.iterdir() if path.suffix != ".py"}
    assert names == {"config.json", "model.safetensors", "preprocessor_config.json"}
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(loaded) is type(model)
    assert torch.equal(loaded(x).logits, model(x).logits)
    embedding = AutoModel.from_pretrained(tmp_path)(x).pooler_output
    assert torch.equal(embedding, model.model(x).pooler_output)
    assert embedding.ndim == 2
    assert isinstance(model(x, return_dict=False), tuple)


@torch.no_grad()
@pytest.mark.parametrize("name", SMALL)
def test_hidden_states(name):
    model, x = make(name)
    assert model(x).hidden_states is None
    states = model(x, output_hidden_states=True).hidden_states
    assert len(states) > 1
    assert all(len(state) == 2 for state in states)
    model.config.output_hidden_states = True
    assert len(model(x).hidden_states) == len(states)


@torch.no_grad()
@pytest.mark.parametrize("name", ["cnn5", "simxrd_former"])
def test_bfloat16(name, tmp_path):
    model, x = make(name)
    model.save_pretrained(tmp_path)
    half = AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half(x).logits.float(), model(x).logits, atol=0.25, rtol=0.1)
    labels = torch.tensor([1, 2])
    with torch.enable_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(x, labels=labels).loss
    loss.backward()
    assert torch.isfinite(loss)


@pytest.mark.parametrize("name", ["cnn5", "simxrd_former"])
def test_head_swap(name, tmp_path, patterns):
    create_model(name, **SMALL[name][1]).save_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=5)
    swapped = AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=5, ignore_mismatched_sizes=True)
    output = swapped(patterns, labels=torch.tensor([0, 1, 2, 4]))
    assert output.logits.shape == (4, 5)
    assert torch.isfinite(output.loss)
    assert swapped.classifier.weight.std() > 0
    systems = AutoModelForSequenceClassification.from_pretrained(
        tmp_path, task="crystal_system", ignore_mismatched_sizes=True
    )
    assert tuple(systems.config.id2label.values()) == CRYSTAL_SYSTEMS
    assert systems(patterns).logits.shape == (4, 7)


def test_labels_have_names():
    for config in (SimXRDBaselineConfig(), SimXRDFormerConfig()):
        assert config.num_labels == 230
        assert tuple(config.id2label[i] for i in range(230)) == SPACE_GROUPS
        assert config.id2label[13] == "P2_1/c"
        assert config.label2id["Fm-3m"] == 224
    named = SimXRDBaselineConfig(id2label={0: "good", 1: "bad"})
    assert named.num_labels == 2
    assert named.label2id == {"good": 0, "bad": 1}
    assert SimXRDBaselineConfig(num_labels=3).id2label[2] == "LABEL_2"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"task": "point_group"}, "task must be one of space_group, crystal_system"),
        ({"config_version": 2}, "config_version is 2, this code reads version 1"),
        ({"grid": {"step": -1.0}}, "grid needs"),
        ({"grid": {"steps": 0.02}}, "grid must have exactly the keys"),
        ({"grid": {"wavelength": 154.0}}, "wavelength must be in Å"),
        ({"conformal": {"method": "lac"}}, "conformal lacks coverage, threshold"),
        ({"conformal": {"method": "x", "coverage": 0.9, "threshold": 0.5}}, "conformal method"),
    ],
)
def test_configurations_are_strict(overrides, message):
    for cls in (SimXRDBaselineConfig, SimXRDFormerConfig):
        with pytest.raises(StrictDataclassError, match=message):
            cls(**overrides)


def test_configuration_of_another_version_is_refused_on_loading(tmp_path, dummy_baseline):
    shutil.copytree(dummy_baseline, tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "config_version": 7}))
    with pytest.raises(StrictDataclassError, match="config_version is 7, this code reads version 1"):
        AutoConfig.from_pretrained(tmp_path / "m")


@torch.no_grad()
def test_committed_checkpoints_load_offline(dummy_former, dummy_baseline, patterns):
    for folder, labels in ((dummy_former, 230), (dummy_baseline, 7)):
        assert sum(path.stat().st_size for path in folder.iterdir()) < 150_000
        model = AutoModelForSequenceClassification.from_pretrained(folder)
        extractor = AutoFeatureExtractor.from_pretrained(folder)
        assert isinstance(extractor, SimXRDFeatureExtractor)
        assert AutoConfig.from_pretrained(folder).temperature > 1
        logits = model(**extractor(patterns.numpy(), return_tensors="pt")).logits
        assert logits.shape == (4, labels)
        assert AutoModel.from_pretrained(folder)(patterns).pooler_output.shape[0] == 4


@torch.no_grad()
@pytest.mark.parametrize("name", ["cnn5", "simxrd_former"])
def test_torch_export(name):
    model, x = make(name)
    program = torch.export.export(
        model, (x,), dynamic_shapes={"intensity": {0: torch.export.Dim("batch")}}, strict=False
    )
    many = torch.rand(5, 3501) * 100
    torch.testing.assert_close(program.module()(many).logits, model(many).logits, atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", ["cnn5", "simxrd_former"])
def test_onnx_gives_the_same_answers(name, tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    from simxrd_hf.models.onnx import export_onnx

    model, x = make(name)
    path = export_onnx(model, tmp_path / "model.onnx")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    facts = {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}
    assert facts["grid"] == model.config.full_grid and facts["temperature"] == model.config.temperature
    assert facts["labels"] == [model.config.id2label[index] for index in range(model.config.num_labels)]
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[:, 3000:] = False
    for rows in (1, 2):
        feed = {"intensity": x[:rows].numpy(), "mask": mask[:rows].numpy()}
        (logits,) = session.run(["logits"], feed)
        np.testing.assert_allclose(logits, model(x[:rows], mask[:rows]).logits.numpy(), atol=1e-4, rtol=1e-3)


class Rows(torch.utils.data.Dataset):
    def __init__(self, patterns):
        self.patterns = patterns

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return {"intensity": self.patterns[index % 4], "labels": index % 4}


@pytest.mark.parametrize("name", ["cnn5", "simxrd_former"])
def test_trainer_trains_evaluates_and_saves(name, tmp_path, patterns):
    torch.manual_seed(0)
    model = create_model(name, **SMALL[name][1])
    before = model.classifier.weight.detach().clone()
    args = TrainingArguments(
        tmp_path / "out", max_steps=3, per_device_train_batch_size=4, report_to=[], use_cpu=True, disable_tqdm=True,
        save_strategy="no", logging_steps=1, activation_checkpointing=name == "simxrd_former",
    )  # fmt: skip
    trainer = Trainer(
        model, args, train_dataset=Rows(patterns), eval_dataset=Rows(patterns),
        processing_class=SimXRDFeatureExtractor(),
        compute_metrics=lambda p: {"accuracy": float((p.predictions.argmax(-1) == p.label_ids).mean())},
    )  # fmt: skip
    trainer.train()
    assert not torch.equal(before, model.classifier.weight)
    scores = trainer.evaluate()
    assert 0 <= scores["eval_accuracy"] <= 1
    assert np.isfinite(scores["eval_loss"])
    trainer.save_model(tmp_path / "saved")
    assert (tmp_path / "saved" / "preprocessor_config.json").exists()
    AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")


@pytest.mark.slow
@torch.no_grad()
def test_torch_compile():
    model, _ = make("simxrd_former")
    compiled = torch.compile(model.model.body.layers[0], backend="aot_eager")
    states = torch.rand(2, 110, 16)
    cos, sin = model.model.body.rotary(states)
    torch.testing.assert_close(compiled(states, cos, sin, None), model.model.body.layers[0](states, cos, sin, None))
