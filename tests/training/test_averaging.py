"""The mean of two runs: its weights by hand, its folder that of a run."""

import json

import pytest
import torch
from training_helpers import GRID, write_dataset

from simxrd_hf.errors import BadInput
from simxrd_hf.training import TrainConfig, train
from simxrd_hf.training.averaging import average_runs
from simxrd_hf.training.evaluation import load_model


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    data = write_dataset(folder / "data", {"train": 60, "validation": 30}, shards=1)
    settings = {"task": "crystal_system", "data": str(data), "epochs": 1, "cpu": True, "eval_batch_size": 30}
    options = {"grid": GRID}
    for name, model, seed in (("first", "mlp", 0), ("second", "mlp", 1), ("other", "gru", 0)):
        config = TrainConfig.from_dict(
            {**settings, "model": model, "seed": seed, "model_options": options, "output": str(folder / name)}
        )
        train(config)
    return folder


def test_weights_lie_between(runs, tmp_path):
    found = average_runs(runs / "second", runs / "first", tmp_path / "mean", share=0.25)
    first, second, mean = (
        load_model(folder / "model").state_dict() for folder in (runs / "first", runs / "second", tmp_path / "mean")
    )
    for name, value in mean.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, 0.25 * first[name] + 0.75 * second[name])
    record = json.loads((tmp_path / "mean" / "run.json").read_text())
    assert record["about"]["averaged"] == {"share": 0.25, "with": "first"}
    assert 0 <= found["accuracy"] <= 1 and record["about"]["calibration"]["temperature"] == found["temperature"]
    assert load_model(tmp_path / "mean" / "model").config.temperature == pytest.approx(found["temperature"])


def test_what_cannot_be_averaged(runs, tmp_path):
    with pytest.raises(BadInput, match="of another architecture or size"):
        average_runs(runs / "second", runs / "other", tmp_path / "x")
    with pytest.raises(BadInput, match="no share"):
        average_runs(runs / "second", runs / "first", tmp_path / "x", share=1.5)
    assert not (tmp_path / "x").exists()
