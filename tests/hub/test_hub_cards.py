"""Model cards: records checked by schema, text that the Hub takes, numbers where they belong, figures, the wheel."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard

from simxrd_hf.errors import BadInput
from simxrd_hf.hub import add_results, check_card, make_result, model_card, read_model_record, save_card_figures

ROOT = Path(__file__).resolve().parents[2]
RECORDS = sorted((ROOT / "model_cards").glob("*.yaml"))

RECORD = {
    "name": "cnn5",
    "title": "CNN5",
    "summary": "A small network for a test of the card.",
    "architecture": "cnn5",
    "task": "space_group",
    "parameters": 400_662,
    "license": "mit",
    "leakage": "None that is known of.",
    "limits": ["Only a test."],
    "authors": ["A. Tester"],
    "checkpoint": None,
}


def result(**scores):
    scores = {"n": 1234, "accuracy": 0.5, "macro_f1": 0.25, "top_5_accuracy": 0.75, "ece": 0.034} | scores
    scores = {"crystal_system_accuracy": 0.8} | scores
    where = {"dataset_id": "lab/data", "config": "in_library", "split": "test", "target": "space_group"}
    return make_result("lab/cnn5", scores, notes="one of two parts", **where)


def test_card_holds_the_numbers_for_people_and_machines():
    card = ModelCard(model_card(RECORD, model_id="lab/cnn5", results=[result()], confusion="confusion.png"))
    assert "| lab/data / in_library | test | 1,234 | 50.00 % | 25.00 % | 75.00 % | – | 80.00 % | 0.034 |" in card.text
    assert "\n\nin_library: one of two parts.\n\n" in card.text
    assert "![Confusion matrix](confusion.png)" in card.text and "Reliability" not in card.text
    index = {(r.metric_type, r.dataset_config): r.metric_value for r in card.data.eval_results}
    assert index == {
        ("accuracy", "in_library"): 0.5,
        ("macro_f1", "in_library"): 0.25,
        ("top_5_accuracy", "in_library"): 0.75,
        ("ece", "in_library"): 0.034,
    }
    assert card.data.pipeline_tag == "xrd-classification" and card.data.datasets == ["lab/data"]
    assert "\n\n\n" not in card.text


def test_card_without_scores_says_so():
    text = model_card(RECORD, model_id="lab/cnn5")
    assert "None yet" in text and "model-index" not in text and "have not been trained" in text
    check_card(text)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"task": "phase"}, "task: 'phase' is not one of"),
        ({"parameters": "many"}, "parameters: 'many' is not of type 'integer'"),
        ({"limits": []}, "limits"),
        ({"colour": "blue"}, "'colour' was unexpected"),
        ({"training": {"data": {}}}, "training.data: 'name' is a required property"),
    ],
)
def test_bad_records_name_the_field(change, message):
    with pytest.raises(BadInput, match=message):
        model_card(RECORD | change, model_id="lab/cnn5")


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_records_of_the_benchmark(path):
    record = read_model_record(path)
    assert record["name"] == path.stem
    assert record["authors"] and "checkpoint" in yaml.safe_load(path.read_text())
    if record["results"]:
        assert record["training"]["cost"]["hours"] is not None and record["training"]["data"]["patterns_seen"]
    check_card(model_card(record, model_id=f"lab/{path.stem}"))


def test_every_baseline_has_a_record_with_its_size():
    import torch

    from simxrd_hf.models import ARCHITECTURES, create_model

    assert {path.stem for path in RECORDS} >= {f"simxrd-{name}" for name in ARCHITECTURES}
    for path in RECORDS:
        record = read_model_record(path)
        if record["architecture"] in ARCHITECTURES:
            with torch.device("meta"):
                model = create_model(record["architecture"], record["task"])
            assert record["parameters"] == sum(p.numel() for p in model.parameters()), path.name


def test_results_are_added_to_a_record(tmp_path):
    path = tmp_path / "simxrd-cnn5.yaml"
    shutil.copy(ROOT / "model_cards" / "simxrd-cnn5.yaml", path)
    add_results(path, [result(accuracy=0.4)])
    record = add_results(path, [result()])
    mine = [row["accuracy"] for row in record["results"] if row["dataset_id"] == result()["dataset_id"]]
    assert mine == [0.5] and read_model_record(path)["results"]
    assert "50.00 %" in model_card(record, model_id="lab/cnn5")


def test_unreadable_records(tmp_path):
    with pytest.raises(BadInput, match="no such file"):
        read_model_record(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(BadInput, match="not YAML"):
        read_model_record(tmp_path / "bad.yaml")


@pytest.mark.parametrize("target, classes", [("space_group", 230), ("crystal_system", 7)])
def test_figures(tmp_path, target, classes):
    rng = np.random.default_rng(0)
    names = save_card_figures(
        tmp_path, rng.integers(0, classes, 50), rng.dirichlet(np.ones(classes), 50), target=target
    )
    for name in names:
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG") and (tmp_path / name).stat().st_size > 5000
    assert not list(tmp_path.glob(".*"))
