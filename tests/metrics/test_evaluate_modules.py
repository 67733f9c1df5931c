"""The `evaluate` modules as a user loads them: in a process of its own, where simxrd_hf cannot be imported."""

import json
import os
import subprocess
import sys

import pytest

from simxrd_hf.metrics import METRIC_FOLDERS

SCRIPT = """
import json, sys
import evaluate

folders = json.loads(sys.argv[1])
try:
    import simxrd_hf
except ImportError:
    out = {"alone": True}
labels = evaluate.load(folders["symmetry_classification"], "labels", cache_dir=sys.argv[2])
labels.add_batch(predictions=[224, 61], references=[224, 13])
labels.add(prediction=1, reference=0)
out["labels"] = labels.compute()
scores = evaluate.load(folders["symmetry_classification"], cache_dir=sys.argv[2])
table = [[0.1] * 4 + [0.4, 0.1, 0.1], [0.9] + [0.0] * 5 + [0.1]]
out["scores"] = scores.compute(predictions=table, references=[4, 6], task="crystal_system", top_k=[2])
calibration = evaluate.load(folders["xrd_calibration"], cache_dir=sys.argv[2])
out["calibration"] = calibration.compute(predictions=[[0.8, 0.2], [0.4, 0.6]], references=[0, 1],
                                          conformal_threshold=0.5)
both = evaluate.combine([scores, calibration])
out["both"] = both.compute(predictions=table, references=[4, 6], task="crystal_system", conformal_threshold=0.5)

# Two processes of a distributed run write to one folder; the first gathers, the second returns nothing.
parts = [
    evaluate.load(
        folders["symmetry_classification"], "labels", num_process=2, process_id=rank, experiment_id="two",
        cache_dir=sys.argv[2],
    )
    for rank in (0, 1)
]
import threading
results = [None, None]
def work(rank, predictions, references):
    parts[rank].add_batch(predictions=predictions, references=references)
    results[rank] = parts[rank].compute()
threads = [
    threading.Thread(target=work, args=(1, [5, 6, 7], [5, 6, 0])),
    threading.Thread(target=work, args=(0, [1, 2], [1, 9])),
]
[t.start() for t in threads]; [t.join() for t in threads]
out["distributed"] = results

# And as classes of the package.
del sys.modules["simxrd_hf"]
from simxrd_hf.metrics import SymmetryClassification, XrdCalibration
out["class"] = SymmetryClassification(config_name="labels").compute(predictions=[3], references=[3])
out["class_calibration"] = XrdCalibration().compute(predictions=[[1.0, 0.0]], references=[0])
try:
    SymmetryClassification(config_name="other")
except ValueError as error:
    out["refused"] = str(error)
print(json.dumps(out))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    home = tmp_path_factory.mktemp("metrics")
    env = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    env |= {"HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": "1"}
    folders = json.dumps({name: str(path) for name, path in METRIC_FOLDERS.items()})
    # An editable install puts simxrd_hf on the path; hide it, as on a machine that has only `evaluate`.
    blocker = "import sys; sys.modules['simxrd_hf'] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", blocker + SCRIPT, folders, str(home / "cache")],
        env=env, cwd=home, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_stand_alone_by_path(loaded):
    assert loaded["alone"]
    assert loaded["labels"]["accuracy"] == pytest.approx(1 / 3)
    assert loaded["labels"]["crystal_system_accuracy"] == pytest.approx(2 / 3)
    assert loaded["both"]["symmetry_classification_accuracy"] == 0.5 and loaded["both"]["ece"] >= 0
    assert loaded["scores"]["accuracy"] == 0.5 and loaded["scores"]["top_2_accuracy"] == 1.0
    assert loaded["calibration"]["ece"] == pytest.approx(0.3, abs=1e-6)
    assert loaded["calibration"]["conformal_coverage"] == 1.0


def test_distributed(loaded):
    first, second = loaded["distributed"]
    assert second is None
    assert first["n"] == 5 and first["accuracy"] == pytest.approx(3 / 5)


def test_as_classes(loaded):
    assert loaded["class"]["accuracy"] == 1.0
    assert loaded["class_calibration"]["nll"] == 0.0
    assert "config_name" in loaded["refused"]
