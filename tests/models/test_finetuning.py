"""The standard recipes of fine-tuning, on real patterns and the packaged checkpoint: they must learn, not only run."""

import numpy as np
import pytest
import torch
from model_helpers import SMALL_FORMER
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

from simxrd_hf.crystals import crystal, prototypes
from simxrd_hf.diffraction import Simulator
from simxrd_hf.identify.model_folders import DEFAULT_MODEL
from simxrd_hf.models import SimXRDFormerConfig, create_model
from simxrd_hf.models.symmetry_simxrd import CRYSTAL_SYSTEM_OF, CRYSTAL_SYSTEMS


@pytest.fixture(scope="module")
def rows():
    """Patterns of 56 packaged prototypes, eight of each crystal system, four conditions each."""
    table = prototypes().table
    numbers = np.array(table["space_group"].to_pylist())
    small = np.array([len(atoms) <= 20 for atoms in table["atomic_numbers"].to_pylist()])
    simulator, found = Simulator("lab"), []
    for system in range(7):
        chosen = np.flatnonzero(small & (CRYSTAL_SYSTEM_OF[numbers - 1] == system))[:8]
        for index in chosen:
            for pattern in simulator.simulate(crystal(table, int(index)), range(4)).intensity:
                found.append({"intensity": torch.from_numpy(pattern.copy()), "labels": system})
    return found


def tune(model, rows, folder, steps=40, **settings):
    """The recipe: defaults of the Trainer but for the number of steps; losses of the first and last quarter."""
    torch.manual_seed(0)
    args = TrainingArguments(
        folder, max_steps=steps, per_device_train_batch_size=16, learning_rate=1e-3, report_to=[], use_cpu=True,
        disable_tqdm=True, save_strategy="no", logging_steps=max(1, steps // 4), seed=0, **settings,
    )  # fmt: skip
    trainer = Trainer(model, args, train_dataset=rows)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return losses[0], losses[-1]


def accuracy(model, rows):
    model.eval()
    with torch.inference_mode():
        logits = model(torch.stack([row["intensity"] for row in rows])).logits
    return float((logits.argmax(-1) == torch.tensor([row["labels"] for row in rows])).float().mean())


@pytest.mark.slow
def test_head_swap_of_the_packaged_checkpoint_learns(rows, tmp_path):
    model = AutoModelForSequenceClassification.from_pretrained(
        DEFAULT_MODEL, task="crystal_system", ignore_mismatched_sizes=True
    )
    assert model.dtype == torch.float32
    assert (model.config.temperature, model.config.conformal) == (1.0, None)
    assert accuracy(model, rows) < 0.4
    first, last = tune(model, rows, tmp_path)
    assert np.isfinite(last) and last < first < 10
    assert accuracy(model, rows) > 0.7
    trained = model.state_dict()
    model.save_pretrained(tmp_path / "saved")
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
    assert all(torch.equal(value, trained[name]) for name, value in loaded.state_dict().items())


@pytest.mark.slow
def test_lora_learns_and_merges(rows, tmp_path):
    peft = pytest.importorskip("peft")
    base = AutoModelForSequenceClassification.from_pretrained(
        DEFAULT_MODEL, task="crystal_system", ignore_mismatched_sizes=True
    )
    config = peft.LoraConfig(r=4, target_modules=["embed", "mix", "out"], modules_to_save=["classifier"])
    model = peft.get_peft_model(base, config)
    trained, whole = model.get_nb_trainable_parameters()
    assert trained < 0.1 * whole
    first, last = tune(model, rows, tmp_path)
    assert last < first
    model.save_pretrained(tmp_path / "adapter")
    torch.manual_seed(0)
    base = AutoModelForSequenceClassification.from_pretrained(
        DEFAULT_MODEL, task="crystal_system", ignore_mismatched_sizes=True
    )
    loaded = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    sample = torch.stack([row["intensity"] for row in rows[:8]])
    with torch.inference_mode():
        expected = model.eval()(sample).logits
        torch.testing.assert_close(loaded(sample).logits, expected, rtol=1e-4, atol=1e-4)
        merged = loaded.merge_and_unload()
        merged.save_pretrained(tmp_path / "merged")
        again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged").eval()
        torch.testing.assert_close(again(sample).logits, expected, rtol=1e-3, atol=1e-3)
    assert (tmp_path / "merged" / "pipeline_simxrd.py").is_file()


@pytest.mark.parametrize("size", ["tiny", "light", "small", "base"])
def test_activation_checkpointing_changes_no_gradient(size):
    """Of every size: the flag says it is supported."""
    torch.manual_seed(0)
    model = create_model("simxrd_former", size=size, grid={"step": 0.2}).train()
    intensity, labels = torch.rand(2, 351) * 100, torch.tensor([3, 200])
    gradients = []
    for checkpointing in (False, True):
        model.zero_grad()
        if checkpointing:
            model.activation_checkpointing_enable()
            assert any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
        torch.manual_seed(1)
        model(intensity, labels=labels).loss.backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, plain, rtol=1e-4, atol=1e-6)


def test_several_labels_at_once():
    torch.manual_seed(0)
    labels = dict(enumerate(["quartz", "calcite", "halite"]))
    model = create_model(
        "simxrd_former", id2label=labels, problem_type="multi_label_classification", **SMALL_FORMER
    ).train()
    intensity = torch.rand(4, 3501) * 100
    target = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]]).float()
    output = model(intensity, labels=target)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(output.logits, target)
    torch.testing.assert_close(output.loss, expected)
    many = model.eval()(intensity[None]).logits  # four patterns of one sample
    torch.testing.assert_close(many[0], model(intensity).logits.mean(0), rtol=1e-4, atol=1e-5)

    import simxrd_hf

    answer = simxrd_hf.pipeline(model)(intensity[0].numpy())
    scores = {entry["label"]: entry["score"] for entry in answer["classes"]}
    logits = model(intensity[:1]).logits[0].sigmoid().tolist()
    assert scores == pytest.approx(dict(zip(labels.values(), logits, strict=True)), rel=1e-4)


def test_regression():
    torch.manual_seed(0)
    model = create_model("simxrd_former", num_labels=1, problem_type="regression", **SMALL_FORMER)
    intensity, target = torch.rand(4, 3501) * 100, torch.tensor([1.0, 2.0, 3.0, 4.0])
    output = model(intensity, labels=target)
    torch.testing.assert_close(output.loss, ((output.logits[:, 0] - target) ** 2).mean())
    output.loss.backward()

    import simxrd_hf

    answer = simxrd_hf.pipeline(model.eval())(intensity[0].numpy())
    assert answer["values"][0]["value"] == pytest.approx(model(intensity[:1]).logits.item(), rel=1e-4)


def test_the_tree_takes_one_label_only():
    model = create_model("simxrd_former", **SMALL_FORMER)
    with pytest.raises(ValueError, match="problem_type"):
        model(torch.rand(2, 3501), labels=torch.rand(2, 230))
    several = create_model("simxrd_former", problem_type="multi_label_classification", **SMALL_FORMER)
    assert several.tree is None and several(torch.rand(2, 3501), labels=torch.ones(2, 230)).loss > 0


CALIBRATED = {"temperature": 2.5, "conformal": {"method": "lac", "coverage": 0.9, "threshold": 0.98}}


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({}, True),
        ({"num_labels": 230}, True),
        ({"num_labels": 5}, False),
        ({"id2label": {0: "a", 1: "b"}}, False),
        ({"num_labels": 2, "id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}}, False),
        ({"task": "crystal_system"}, False),
        ({"task": "space_group"}, True),
    ],
)
def test_new_labels_take_the_calibration_away(change, kept, tmp_path):
    config = SimXRDFormerConfig(**CALIBRATED)
    config.save_pretrained(tmp_path)
    loaded = SimXRDFormerConfig.from_pretrained(tmp_path, **change)
    expected = CALIBRATED if kept else {"temperature": 1.0, "conformal": None}
    assert {name: getattr(loaded, name) for name in CALIBRATED} == expected
    given = SimXRDFormerConfig.from_pretrained(tmp_path, **(change | {"temperature": 3.0}))
    assert given.temperature == 3.0  # stated for the new labels
    if "task" not in change:
        made = SimXRDFormerConfig(**{**config.to_dict(), **change})
        if list(change) == ["num_labels"]:
            assert {name: getattr(made, name) for name in CALIBRATED} == expected


def test_new_labels_by_assignment_too():
    for name, value in (("num_labels", 4), ("id2label", {0: "a"})):
        config = SimXRDFormerConfig(**CALIBRATED)
        setattr(config, name, value)
        assert (config.temperature, config.conformal) == (1.0, None)
    config = SimXRDFormerConfig(**CALIBRATED)
    config.id2label = dict(config.id2label)
    assert config.temperature == 2.5


@pytest.mark.slow
def test_compiled_model_trains_alike():
    torch.manual_seed(0)
    model = create_model("simxrd_former", **SMALL_FORMER).train()
    intensity, labels = torch.rand(4, 3501) * 100, torch.tensor([0, 10, 100, 229])
    plain = model(intensity, labels=labels).loss
    plain.backward()
    expected = model.classifier.weight.grad.clone()
    model.zero_grad()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    loss = compiled(intensity, labels=labels).loss
    loss.backward()
    torch.testing.assert_close(loss, plain)
    torch.testing.assert_close(model.classifier.weight.grad, expected, rtol=1e-4, atol=1e-6)


def test_crystal_systems_are_named():
    model = create_model("simxrd_former", "crystal_system", **SMALL_FORMER)
    assert tuple(model.config.id2label.values()) == CRYSTAL_SYSTEMS
