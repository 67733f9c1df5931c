"""The loop: what it learns, where it stops, how it refuses, and that an interrupted run equals an uninterrupted one."""

import json
import math
import resource
import signal

import numpy as np
import pytest
import torch
from run_training import settings
from training_helpers import GRID, Net, write_dataset

from simxrd_hf.errors import BadInput
from simxrd_hf.training import TrainConfig, train
from simxrd_hf.training.checkpoints import CheckpointError, CheckpointFolder
from simxrd_hf.training.history import read_history
from simxrd_hf.training.loop import TrainingDiverged

CURVE = ["step", "train_loss", "grad_norm", "learning_rate", "validation_loss", "validation_accuracy"]


def curve(folder):
    """Rows of the history without the times."""
    return [{name: row.get(name) for name in CURVE} for row in read_history(folder / "history.csv")]


def final(folder):
    """Tensors of the newest checkpoint."""
    return CheckpointFolder(folder / "checkpoints").load_newest()[1]


def same(a, b):
    """Two nested checkpoints are equal, bit for bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):  # torch reads the tuple of betas back as a list
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def test_learns_and_leaves_everything(dataset, tmp_path, net):
    config = TrainConfig(**settings(str(dataset), str(tmp_path / "run")) | {"epochs": 12})
    result = train(config, model=net)
    assert result.stopped == "budget" and result.steps == math.ceil(12 * 403 / 32)
    assert result.validation["accuracy"] > 0.9 and result.validation["n"] == 67
    names = {path.name for path in (tmp_path / "run").iterdir() if not path.name.startswith(".")}
    assert names == {"checkpoints", "config.yaml", "history.csv", "learning_curve.png", "model", "run.json"}
    assert (result.model_dir / "model.safetensors").exists()
    assert TrainConfig.from_yaml(tmp_path / "run" / "config.yaml") == config
    rows = read_history(tmp_path / "run" / "history.csv")
    assert rows[-1]["step"] == result.steps and rows[-1]["validation_loss"] < rows[0]["train_loss"]
    # Started again, a finished run gives its result and does nothing.
    again = train(config, model=Net())
    assert again == result


def test_no_denormals_while_training_and_the_caller_keeps_his(dataset, tmp_path):
    class Watch(Net):
        def forward(self, intensity):
            out = super().forward(intensity)
            seen["forward"] = (torch.full((8,), 1e-40) * 0.5).abs().max().item()
            if out.requires_grad:
                out.register_hook(lambda grad: seen.update(backward=(torch.full((8,), 1e-40) * 0.5).max().item()))
            return out

    seen: dict[str, float] = {}
    options = settings(str(dataset), str(tmp_path)) | {"epochs": 1}
    train(TrainConfig(**options), model=Watch())
    assert seen == {"forward": 0.0, "backward": 0.0}
    assert (torch.full((8,), 1e-40) * 0.5).max().item() > 0


def test_gradient_accumulation_changes_nothing(dataset, tmp_path):
    class Plain(Net):
        def __init__(self):
            super().__init__()
            self.body = torch.nn.Sequential(torch.nn.Linear(101, 24), torch.nn.ReLU())

    weights = []
    for parts in (1, 4):
        torch.manual_seed(1)
        run = tmp_path / str(parts)
        options = {"gradient_accumulation": parts, "epochs": 1, "max_grad_norm": 0.5}
        train(TrainConfig(**settings(str(dataset), str(run)) | options), model=Plain())
        weights.append(final(run)["model"])
    for name in weights[0]:
        assert torch.allclose(weights[0][name], weights[1][name], atol=2e-5)


def test_other_settings_or_data_in_the_folder(dataset, tmp_path, net):
    options = settings(str(dataset), str(tmp_path / "run")) | {"epochs": 1}
    train(TrainConfig(**options), model=net)
    with pytest.raises(BadInput, match=r"another config \(learning_rate: 0.003 there, 0.5 here\)"):
        train(TrainConfig(**options | {"learning_rate": 0.5}), model=Net())
    other = write_dataset(tmp_path / "other", {"train": 50, "validation": 10}, seed=2)
    before = json.loads((tmp_path / "run" / "run.json").read_text())
    before["config_digest"] = TrainConfig(**options | {"data": str(other)}).digest
    (tmp_path / "run" / "run.json").write_text(json.dumps(before))
    with pytest.raises(BadInput, match="other data"):
        train(TrainConfig(**options | {"data": str(other)}), model=Net())
    (tmp_path / "run" / "test").mkdir()
    (tmp_path / "run" / "test" / "report.json").write_text("{}")  # where `simxrd evaluate` was told to put its scores
    result = train(TrainConfig(**options | {"data": str(other)}), model=Net(), overwrite=True)
    assert (tmp_path / "run" / "test" / "report.json").exists()
    assert result.about["train_rows"] == 50
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(BadInput, match="not empty"):
        train(TrainConfig(**options | {"output": str(tmp_path / "mine")}), model=Net())


def test_early_stopping_and_best_weights(dataset, tmp_path, net):
    options = {"epochs": 100, "patience": 2, "learning_rate": 0.2, "schedule": "constant", "ema_decay": None}
    result = train(TrainConfig(**settings(str(dataset), str(tmp_path)) | options), model=net)
    losses = {r["step"]: r["validation_loss"] for r in read_history(tmp_path / "history.csv") if "validation_loss" in r}
    assert result.stopped == "patience" and result.steps < 1200
    assert result.best_step == min(losses, key=losses.get) and len([s for s in losses if s > result.best_step]) == 2
    best = CheckpointFolder(tmp_path / "checkpoints").load("best", result.best_step)[1]["model"]
    assert same(best, dict(net.state_dict()))  # the module handed back, and exported, has the best weights


def test_loss_not_finite(dataset, tmp_path):
    class Bursts(Net):
        steps = 0

        def forward(self, intensity):
            self.steps += self.training
            return super().forward(intensity) * (math.inf if self.steps > 8 else 1)

    with pytest.raises(TrainingDiverged, match=r"not finite in steps 9 to 10; the last good checkpoint is of step 5"):
        train(TrainConfig(**settings(str(dataset), str(tmp_path / "run")) | {"log_every": 2}), model=Bursts())
    assert CheckpointFolder(tmp_path / "run" / "checkpoints").load_newest()[0]["step"] == 5


def test_no_space_for_the_checkpoint(dataset, tmp_path):
    config = TrainConfig(**settings(str(dataset), str(tmp_path / "run")))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, before[1]))
    try:
        with pytest.raises(CheckpointError, match=r"could not be written .*run the same command again"):
            train(config, model=Net())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert train(config, model=Net()).stopped == "budget"  # space freed: the same command works


def test_data_that_do_not_fit_the_model(dataset, tmp_path):
    net = Net()
    options = settings(str(dataset), str(tmp_path / "run"))
    net.config = type("C", (), {"grid": GRID | {"wavelength": 0.7107}, "id2label": None})()
    with pytest.raises(BadInput, match=r"patterns have wavelength = 1.54184, the model was made for 0.7107"):
        train(TrainConfig(**options), model=net)
    net.config = type("C", (), {"grid": GRID | {"two_theta_max": 13.0}})()
    with pytest.raises(BadInput, match="two_theta_max"):
        train(TrainConfig(**options | {"output": str(tmp_path / "b")}), model=net)
    names = dict(enumerate(["cubic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "triclinic"]))
    net.config = type("C", (), {"grid": GRID, "id2label": names})()
    with pytest.raises(BadInput, match=r"label 0 is 'triclinic' in the data and 'cubic' in the model"):
        train(TrainConfig(**options | {"output": str(tmp_path / "c")}), model=net)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"data": "nowhere"}, "no such dataset folder"),
        ({"data_config": "out_of_library"}, r"names no out_of_library/train \(there are: in_library/train"),
        ({"trackers": ["comet_ml"]}, "comet_ml not installed"),
        ({"mixed_precision": "fp16"}, "fp16 needs a GPU"),
        ({"epochs": None, "max_minutes": 1.0}, "set schedule_by_time or schedule: constant"),
    ],
)
def test_unusable_settings(dataset, tmp_path, options, says):
    with pytest.raises(BadInput, match=says):
        train(TrainConfig(**settings(str(dataset), str(tmp_path / "run")) | options), model=Net())


def test_time_limit_and_going_on(dataset, tmp_path):
    options = settings(str(dataset), str(tmp_path)) | {"epochs": None, "schedule": "constant", "log_every": 50}
    first = train(TrainConfig(**options | {"max_minutes": 0.005}), model=Net())
    assert first.stopped == "time" and first.minutes >= 0.005 and first.best_step > 0
    again = train(TrainConfig(**options | {"max_minutes": first.minutes + 0.01}), model=Net())
    assert again.stopped == "time" and again.steps > first.steps
    rows = [row["step"] for row in read_history(tmp_path / "history.csv")]
    assert rows == sorted(set(rows))


@pytest.mark.parametrize("options", [{}, {"sampling": "class_balanced"}, {"streaming": True, "ema_decay": None}])
def test_resume_after_every_kind_of_order(dataset, tmp_path, options):
    """Stopped by an error at step 23 and started again, in one process (the kill test uses another)."""

    class Stops(Net):
        calls = 0

        def forward(self, intensity):
            self.calls += self.training
            if self.calls == 23:
                raise KeyboardInterrupt
            return super().forward(intensity)

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    torch.manual_seed(1)
    train(TrainConfig(**settings(str(dataset), str(whole)) | options), model=Net())
    config = TrainConfig(**settings(str(dataset), str(broken)) | options)
    torch.manual_seed(1)
    with pytest.raises(KeyboardInterrupt):
        train(config, model=Stops())
    train(config, model=Net())
    assert curve(whole) == curve(broken) and same(final(whole), final(broken))


def test_profile_trackers_bf16(dataset, tmp_path):
    pytest.importorskip("tensorboard")
    options = {"profile": True, "trackers": ["tensorboard"], "mixed_precision": "bf16", "epochs": 1, "num_workers": 1}
    train(TrainConfig(**settings(str(dataset), str(tmp_path / "run")) | options), model=Net())
    assert "Self CPU" in (tmp_path / "run" / "profile" / "operators.txt").read_text()
    assert list((tmp_path / "run").rglob("events.out.tfevents*"))


def test_worker_processes_change_nothing(dataset, tmp_path):
    for workers in (0, 2):
        torch.manual_seed(1)
        options = {"num_workers": workers, "epochs": 1}
        train(TrainConfig(**settings(str(dataset), str(tmp_path / str(workers))) | options), model=Net())
    assert same(final(tmp_path / "0"), final(tmp_path / "2"))
    assert np.isfinite([r["train_loss"] for r in read_history(tmp_path / "0" / "history.csv")]).all()
