"""The real client libraries against the Hub, in processes of their own: host, stranger, and the `hf` command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import HubServer, Repo

from simxrd_hf.data.plan import FORMAT_VERSION

pytestmark = pytest.mark.slow
JOURNEY = Path(__file__).parent / "journey.py"


def environment(hub, home):
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return clean | hub.environment(home)


@pytest.fixture(scope="module")
def journey(tmp_path_factory):
    """Both halves of the journey, and the Hub they leave behind."""
    folder = tmp_path_factory.mktemp("journey")
    with HubServer() as hub:
        hub.frameworks.add("simxrd_hf")  # once it is on the Hub's list; test_hub_publish tells of the time before
        foreign = Repo("model", "other/foreign-model", False, None, "2026-01-01T00:00:00.000Z")
        hub.repos["model", foreign.id] = foreign
        hub.commit(foreign, "main", "initial commit", "", {}, "other", None)
        out = {}
        for step in ("publish", "read"):
            done = subprocess.run(
                [sys.executable, JOURNEY, step, folder],
                env=environment(hub, folder / f"home-{step}"), cwd=folder, capture_output=True, text=True, timeout=280,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr[-3000:]
            out[step] = json.loads(done.stdout.splitlines()[-1])
            assert "hf_test_write_token" not in done.stdout + done.stderr
        yield hub, folder, out


def test_dataset_streams_and_loads(journey):
    _, _, out = journey
    assert out["publish"]["dataset"]["created"] and not out["publish"]["dataset"]["again_committed"]
    assert out["publish"]["dataset"]["tag"] == f"v{FORMAT_VERSION}"
    assert set(out["read"]["configs"]) == {"in_library", "out_of_library", "hidden"}
    assert out["read"]["map"] == {"n": 48, "labels": 230}
    assert out["read"]["stream_n"] == 48 and out["read"]["stream_equal"]


def test_model_runs_for_strangers(journey):
    _, _, out = journey
    assert out["read"]["model"] == {"labels": 230, "224": "Fm-3m"}
    assert isinstance(out["read"]["pipeline"], str)
    assert out["read"]["pushed"] == [out["read"]["pipeline"]] * 2
    assert out["read"]["snippet"] == 3  # the card's snippet ran and gave its three answers
    assert set(out["read"]["model_index"]) >= {"accuracy", "macro_f1", "ece"}


def test_metric_loads_from_its_space(journey):
    _, _, out = journey
    assert out["read"]["metric"] == 1.0


def test_submissions_reach_the_leaderboard(journey):
    hub, _, out = journey
    submitted = out["publish"]["submit"]
    assert not submitted["own_pr"] and not submitted["own_sent"]
    assert submitted["foreign_pr"] and submitted["foreign_url"].endswith("/other/foreign-model/discussions/1")
    assert submitted["foreign_again"] == [False, submitted["foreign_url"]]
    assert out["read"]["leaderboard"] == [["other/foreign-model", 1], ["tester/simxrd-cnn5", 0]]
    assert out["read"]["merged"] == [["other/foreign-model", 0], ["tester/simxrd-cnn5", 0]]
    assert "in_library-space_group-macro_f1" in out["read"]["eval_results"]
    assert out["read"]["results_rows"] == 1
    assert len(hub.repos["model", "other/foreign-model"].pulls) == 1


def test_hidden_split_is_scored_by_the_key(journey):
    _, _, out = journey
    assert out["publish"]["hidden"] == {"columns": ["row_id", "intensity"], "perfect": 1.0, "n": 24}


def test_the_hf_command_reads_it_all(journey):
    hub, folder, _ = journey
    env = environment(hub, folder / "home-cli")
    program = [sys.executable, "-m", "huggingface_hub.cli.hf"]  # what `hf` runs, also where only the package is shared

    def hf(*args):
        done = subprocess.run([*program, *args], env=env, cwd=folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "tester" in hf("auth", "whoami")
    where = hf("download", "tester/simxrd-cnn5", "config.json", "--quiet").strip().splitlines()[-1]
    assert json.loads(Path(where).read_text())["architecture"] == "cnn5"
    hf("download", "tester/simxrd-mini", "--repo-type", "dataset", "--local-dir", str(folder / "copy"))
    for path in (folder / "data").rglob("*.parquet"):
        assert (folder / "copy" / path.relative_to(folder / "data")).read_bytes() == path.read_bytes()
    assert "simxrd-mini" in hf("datasets", "info", "tester/simxrd-mini")
    assert "tester/simxrd-cnn5" in hf("datasets", "leaderboard", "tester/simxrd-mini")
