"""Checkpoints: whole or absent, pruned, readable after damage."""

import resource
import signal

import pytest
import torch

from simxrd_hf.training.checkpoints import CheckpointError, CheckpointFolder


def _save(folder, kind, step, best=0, size=10):
    return folder.save(kind, step, {"step": step, "best_step": best}, {"w": torch.full((size,), float(step))})


@pytest.fixture
def small_files():
    """Every file beyond 20 kB fails to be written, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_round_trip_and_pruning(tmp_path):
    folder = CheckpointFolder(tmp_path / "c", keep=2)
    assert folder.load_newest() is None
    for step, best in [(5, 5), (10, 5), (15, 15), (20, 15), (25, 15)]:
        if step == best:
            _save(folder, "best", step)
        _save(folder, "step", step, best)
        folder.prune()
    assert folder.steps() == [20, 25]
    assert [p.name for p in sorted((tmp_path / "c").glob("best-*"))] == ["best-000000015"]
    state, tensors = folder.load_newest()
    assert state["step"] == 25 and (tensors["w"] == 25).all()


def test_best_weights_stay_until_no_checkpoint_needs_them(tmp_path):
    folder = CheckpointFolder(tmp_path, keep=2)
    _save(folder, "best", 5)
    _save(folder, "step", 5, best=5)
    _save(folder, "best", 10)
    folder.prune()  # killed before step-10 was written: going on from step 5 needs best-5
    assert folder.path("best", 5).exists() and folder.path("best", 10).exists()


def test_the_same_step_can_be_written_again(tmp_path):
    folder = CheckpointFolder(tmp_path)
    _save(folder, "step", 5)
    _save(folder, "step", 5)
    assert folder.steps() == [5]


def test_leftovers_of_a_kill_are_ignored(tmp_path):
    folder = CheckpointFolder(tmp_path)
    _save(folder, "step", 5)
    half = tmp_path / ".tmp-0123456789abcdef"
    half.mkdir()
    (half / "tensors.pt").write_bytes(b"half")
    assert folder.steps() == [5] and folder.load_newest()[0]["step"] == 5
    assert _save(folder, "step", 9).name == "step-000000009" and not half.exists()


def test_damaged_checkpoint_falls_back(tmp_path):
    folder = CheckpointFolder(tmp_path)
    _save(folder, "step", 5)
    path = _save(folder, "step", 10)
    (path / "tensors.pt").write_bytes((path / "tensors.pt").read_bytes()[:300])
    with pytest.warns(UserWarning, match="cannot be read"):
        assert folder.load_newest()[0]["step"] == 5
    (folder.path("step", 5) / "state.json").write_text("{")
    with pytest.warns(UserWarning), pytest.raises(CheckpointError, match="delete this folder"):
        folder.load_newest()


def test_no_space_keeps_the_last_good_one(tmp_path, small_files):
    folder = CheckpointFolder(tmp_path)
    _save(folder, "step", 5)
    with pytest.raises(CheckpointError, match=r"could not be written .*last good checkpoint is .*step-000000005"):
        _save(folder, "step", 10, size=100_000)
    assert folder.steps() == [5] and folder.load_newest()[0]["step"] == 5
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000005"]


def test_foreign_pickles_are_not_run(tmp_path):
    folder = CheckpointFolder(tmp_path)
    path = _save(folder, "step", 5)
    torch.save({"w": test_round_trip_and_pruning}, path / "tensors.pt")
    with pytest.warns(UserWarning), pytest.raises(CheckpointError):
        folder.load_newest()
