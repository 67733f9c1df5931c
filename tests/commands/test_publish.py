"""`simxrd publish` and `simxrd evaluate --submit` as a user types them, in processes of their own, against the Hub."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import Fault, HubServer, Repo

from simxrd_hf.symmetry import CRYSTAL_SYSTEMS


@pytest.fixture(scope="module")
def hub():
    with HubServer() as server:
        yield server


@pytest.fixture
def simxrd(hub, tmp_path):
    """Runs the command in a clean environment; checks that the token is never shown."""

    def run(*args, token="hf_test_write_token"):
        clean = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        program = "import sys; from simxrd_hf.cli import main; sys.exit(main(sys.argv[1:]))"
        done = subprocess.run(
            [sys.executable, "-c", program, *map(str, args)],
            env=clean | hub.environment(tmp_path / "home", token), capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert "hf_test" not in done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def model_folder(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    config = {"task": "crystal_system", "id2label": dict(enumerate(CRYSTAL_SYSTEMS))}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
    (folder / "model.safetensors").write_bytes(b"weights" * 100)
    return folder


@pytest.mark.slow
def test_dry_run_publish_and_failure(hub, simxrd, model_folder):
    dry = simxrd("publish", "model", model_folder, "tester/cli", "--dry-run")
    assert dry.returncode == 0 and "nothing was sent" in dry.stdout and "model.safetensors" in dry.stdout
    assert not hub.repos

    hub.faults.append(Fault("commit", "403", times=1))
    failed = simxrd("publish", "model", model_folder, "tester/cli")
    assert failed.returncode == 1
    assert "failed while sending the files" in failed.stderr and "Run the same command again" in failed.stderr

    done = simxrd("publish", "model", model_folder, "tester/cli", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0 and report["committed"] and report["tag"] == "v1.0"
    assert report["commit"] == hub.repos["model", "tester/cli"].branches["main"].oid


def test_bad_input_is_exit_code_2(simxrd, model_folder):
    no_token = simxrd("publish", "model", model_folder, "tester/x", token=None)
    assert (no_token.returncode, no_token.stdout) == (2, "")
    assert no_token.stderr.strip().startswith("simxrd publish: no token: run `hf auth login`")


@pytest.mark.slow
def test_submit_any_model(hub, simxrd, tmp_path):
    """A model of somebody else, scored through its pipeline on a dataset here, ends as a pull request."""
    from simxrd_hf import generate
    from simxrd_hf.crystals import prototypes

    table = prototypes().table
    small = table.take([i for i, a in enumerate(table["atomic_numbers"].to_pylist()) if len(a) <= 2][:12])
    generate(small, tmp_path / "data", configs=("in_library",), conditions=[0, 30, 31], progress=False)
    model = Path(__file__).parents[1] / "models" / "dummy-simxrd-baseline"
    foreign = Repo("model", "other/net", False, None, "2026-01-01T00:00:00.000Z")
    hub.repos["model", foreign.id] = foreign
    from hub_server import Blob, git_oid

    files = {}
    for path in model.iterdir():
        content = path.read_bytes()
        hub.regular[git_oid(content)] = content
        files[path.name] = Blob(git_oid(content), len(content))
    hub.commit(foreign, "main", "initial commit", "", files, "other", None)

    args = ["evaluate", "other/net", tmp_path / "data", "--data-config", "in_library"]
    args += ["--dataset-id", "lab/data", "--records", tmp_path / "records"]
    refused = simxrd(*args, "--limit", 6, "--submit")
    assert refused.returncode == 2 and "no result to submit" in refused.stderr and not foreign.pulls
    done = simxrd(*args, "--submit")
    assert done.returncode == 0, done.stderr
    assert "pull request" in done.stderr and len(foreign.pulls) == 1
    assert b"lab/data" in hub.text("model", "other/net", ".eval_results/simxrd.yaml", "refs/pr/1")
    records = [json.loads(path.read_text()) for path in (tmp_path / "records").glob("*.json")]
    assert {r["model_revision"] for r in records} == {foreign.branches["main"].oid}
    assert {r["n"] for r in records} == {12} and all(r["notes"] is None for r in records)

    board = simxrd("leaderboard", tmp_path / "records", "--target", records[0]["target"], "--json")
    assert json.loads(board.stdout)[0]["model_id"] == "other/net"
