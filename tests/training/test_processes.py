"""Real processes: killed with SIGKILL and started again, two of them over gloo, one of two dying."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from run_training import settings
from safetensors.torch import load_file
from test_loop import curve, final, same
from training_helpers import Net

from simxrd_hf.training import TrainConfig, train
from simxrd_hf.training.sources import StoredSplit

HERE = Path(__file__).parent
ENV = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def launch(processes, *arguments):
    """One training in `processes` processes of its own; its exit code and output."""
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command += [str(HERE / "run_training.py"), *map(str, arguments)]
    done = subprocess.run(command, env=ENV, capture_output=True, text=True, timeout=200)
    return done.returncode, done.stdout + done.stderr


def test_kill_9_and_go_on(dataset, tmp_path):
    def run(name):
        torch.manual_seed(1)
        train(TrainConfig(**settings(str(dataset), str(tmp_path / name))), model=Net())

    run("whole")
    code, _ = launch(1, dataset, tmp_path / "killed", "kill_step=18")
    assert code == -9
    assert [p.name for p in sorted((tmp_path / "killed" / "checkpoints").glob("step-*"))][-1] == "step-000000015"
    run("killed")
    assert curve(tmp_path / "whole") == curve(tmp_path / "killed")
    assert same(final(tmp_path / "whole"), final(tmp_path / "killed"))


@pytest.mark.slow
def test_two_processes_one_dies_and_go_on(dataset, tmp_path):
    parts = "gradient_accumulation=2"
    whole, killed, sharded = tmp_path / "whole", tmp_path / "killed", tmp_path / "sharded"
    code, text = launch(2, dataset, killed, parts, "kill_step=35", "kill_rank=1")
    assert code != 0 and not (killed / "model").exists(), text
    fsdp = ["fsdp=true", "ema_decay=null", "epochs=1", "max_grad_norm=1.0"]
    code, text = launch(2, dataset, whole, parts, "--", dataset, killed, parts, "--", dataset, sharded, *fsdp)
    assert code == 0 and "going on from step 15" in text, text
    assert curve(whole) == curve(killed)
    assert same(final(whole), final(killed))

    # Validation has 67 rows: both processes hold all of them in order, equal to a single process's.
    source = StoredSplit(dataset, "in_library", "validation", "crystal_system")
    patterns = source.__getitems__([(0, row) for row in range(67)])["intensity"].float()
    for folder in (whole, sharded):
        found = [np.load(folder / f"logits-{rank}-of-2.npy") for rank in (0, 1)]
        assert found[0].shape == (67, 7) and np.array_equal(*found)
        model = Net().eval()
        model.load_state_dict(load_file(folder / "model" / "model.safetensors"))
        with torch.inference_mode():
            assert np.allclose(model(patterns).numpy(), found[0], atol=1e-4)

    # FSDP keeps a part of each weight in each process; the checkpoint holds them whole.
    moments = final(sharded)["optimizer"]["state"]["body.0.weight"]["exp_avg"]
    assert type(moments) is torch.Tensor and moments.shape == (24, 101)
