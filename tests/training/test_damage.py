"""Runs whose folder was damaged, cut short or taken: they go on from what is whole, or name the one file at fault."""

import json
import random
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from run_training import settings
from training_helpers import Net, write_dataset

from simxrd_hf.errors import BadInput
from simxrd_hf.exclusive import LOCK, take
from simxrd_hf.training import TrainConfig, train
from simxrd_hf.training.checkpoints import CheckpointError, CheckpointFolder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "d", {"train": 96, "validation": 32})


def run(data, output, model=None, **changes):
    torch.manual_seed(1)
    options = settings(str(data), str(output)) | {"epochs": 2, "checkpoint_every": 2} | changes
    return train(TrainConfig(**options), model=model or Net())


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A finished run, and its weights."""
    output = tmp_path_factory.mktemp("run") / "r"
    run(data, output)
    return output


@pytest.fixture
def ended(whole, tmp_path):
    """A copy of it, stopped before it was summed up."""
    output = tmp_path / "r"
    shutil.copytree(whole, output)
    record = json.loads((output / "run.json").read_text())
    kept = ("config_digest", "data_digest", "settings")
    (output / "run.json").write_text(json.dumps({name: record[name] for name in kept}))
    shutil.rmtree(output / "model")
    return output


def test_every_flipped_bit_of_a_checkpoint_is_noticed(tmp_path):
    folder = CheckpointFolder(tmp_path)
    path = folder.save("step", 5, {"step": 5, "best_step": 0, "seconds": 1.25}, {"w": torch.arange(50.0)})
    state, tensors = folder.load("step", 5)
    rng = random.Random(0)
    passed = 0
    for name in ("state.json", "tensors.pt") * 100:
        content = bytearray((path / name).read_bytes())
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        before = (path / name).read_bytes()
        (path / name).write_bytes(content)
        try:
            found = folder.load("step", 5)
        except CheckpointError as error:
            assert "delete this folder" in str(error)
        else:  # white space within state.json
            passed += 1
            assert found[0] == state and torch.equal(found[1]["w"], tensors["w"])
        (path / name).write_bytes(before)
    assert passed < 20


@pytest.mark.parametrize("content", ["[]", "{}", "null", '{"step": 4}', "{"])
def test_a_state_of_another_shape_is_passed_over(ended, data, whole, content):
    newest = max((ended / "checkpoints").glob("step-*"))
    (newest / "state.json").write_text(content)
    with pytest.warns(UserWarning, match="trying the one before"):
        run(data, ended)
    same = [(folder / "model" / "model.safetensors").read_bytes() for folder in (ended, whole)]
    assert same[0] == same[1]


def test_a_damaged_best_checkpoint_does_not_end_the_run(ended, data):
    for path in (ended / "checkpoints").glob("best-*"):
        content = bytearray((path / "tensors.pt").read_bytes())
        content[len(content) // 2] ^= 1
        (path / "tensors.pt").write_bytes(content)
    with pytest.warns(UserWarning, match=r"best-.*damaged"):
        result = run(data, ended)
    assert result.best_step == result.steps and (ended / "model" / "model.safetensors").exists()


def test_a_lost_or_damaged_record_is_made_again(ended, data, whole):
    for spoil in (lambda path: path.unlink(), lambda path: path.write_text("{"), lambda path: path.write_text("[1]")):
        spoil(ended / "run.json")
        with pytest.warns(UserWarning, match=r"run\.json: .* going on by the newest checkpoint"):
            run(data, ended)
    assert (ended / "model" / "model.safetensors").read_bytes() == (whole / "model" / "model.safetensors").read_bytes()
    shutil.rmtree(ended / "checkpoints")
    (ended / "run.json").write_text("{")
    with pytest.raises(BadInput, match=r"run\.json: damaged .*delete this file"):
        run(data, ended)


def test_a_model_that_was_lost_is_exported_again(whole, data, tmp_path):
    shutil.copytree(whole, tmp_path / "r")
    shutil.rmtree(tmp_path / "r" / "model")
    run(data, tmp_path / "r")
    name = Path("model") / "model.safetensors"
    assert (tmp_path / "r" / name).read_bytes() == (whole / name).read_bytes()


def test_what_a_kill_in_the_first_second_leaves_is_taken(data, tmp_path):
    (tmp_path / "r").mkdir()
    for name in ("config.yaml", ".tmp-0123456789abcdef.json", LOCK):
        (tmp_path / "r" / name).write_text("")
    assert run(data, tmp_path / "r").steps == 6
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    with pytest.raises(BadInput, match="not empty"):
        run(data, tmp_path / "other")


def test_a_second_training_is_refused_before_it_touches_anything(ended, data):
    before = {path: path.stat().st_mtime_ns for path in ended.rglob("*")}
    lock = take(ended, "training")
    for overwrite in (False, True):
        with pytest.raises(BadInput, match="another process is training here"):
            train(TrainConfig(**settings(str(data), str(ended))), model=Net(), overwrite=overwrite)
    lock.release()
    after = {path: path.stat().st_mtime_ns for path in ended.rglob("*") if path.name != LOCK}
    assert after == {path: time for path, time in before.items() if path.name != LOCK}


def test_the_lock_goes_with_its_process(tmp_path):
    code = (
        "import sys, os; from pathlib import Path; from simxrd_hf.exclusive import take;"
        "take(Path(sys.argv[1]), 'training'); print(flush=True); os.kill(os.getpid(), 9)"
    )
    held = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, check=False)
    assert held.returncode == -9
    take(tmp_path, "training").release()


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("value", "said"), [(np.nan, "NaN at 1 of 101"), (np.inf, "infinity at 1"), (-3.0, "negative values at 1")]
)
def test_a_row_that_cannot_be_a_pattern_is_named(tmp_path, value, said, streaming):
    folder = write_dataset(tmp_path / "d", {"train": 96, "validation": 32})
    path = sorted((folder / "in_library").glob("train-*"))[1]
    table = pq.read_table(path)
    patterns = table["intensity"].combine_chunks().flatten().to_numpy().reshape(len(table), -1).copy()
    patterns[20, 7] = value
    column = pa.FixedSizeListArray.from_arrays(pa.array(patterns.reshape(-1)), patterns.shape[1])
    field = table.schema.get_field_index("intensity")
    pq.write_table(table.set_column(field, table.schema.field("intensity"), column), path, row_group_size=16)
    where = table.slice(20, 1).to_pylist()[0]
    with pytest.raises(BadInput) as caught:
        run(folder, tmp_path / "r", streaming=streaming)
    expected = (
        f"{path}: row 20 (crystal {where['crystal_id']}, condition {where['condition']}): the pattern holds {said}"
    )
    assert str(caught.value).startswith(expected)


def test_minus_zero_is_no_fault(data):
    from simxrd_hf.training.sources.base import unsound_row

    for kind in (np.float16, np.float32):
        rows = np.array([[0.0, -0.0, 65504.0]], kind)
        assert unsound_row(rows) is None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert unsound_row(np.array([[1.0], [np.nan]], kind)) == 1
