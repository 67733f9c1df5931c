"""Scores into a model's repository: own ones by commit, others' by pull request, and what is refused."""

import pytest
import yaml
from hub_server import Fault, Repo
from huggingface_hub import HfApi

from simxrd_hf.errors import BadInput
from simxrd_hf.hub import make_result, submit_results
from simxrd_hf.hub.results import PART

FILE = ".eval_results/simxrd.yaml"


def result(model, accuracy=0.5, **changes):
    where = {"dataset_id": "lab/data", "config": "in_library", "split": "test", "target": "crystal_system"}
    return make_result(model, {"n": 10, "accuracy": accuracy}, **(where | changes))


def model(hub, repo_id):
    repo = Repo("model", repo_id, False, None, "2026-01-01T00:00:00.000Z")
    hub.repos["model", repo_id] = repo
    hub.commit(repo, "main", "initial commit", "", {}, repo_id.split("/")[0], None)
    return repo


def values(hub, repo_id, revision="main"):
    rows = yaml.safe_load(hub.text("model", repo_id, FILE, revision))
    return {row["dataset"]["task_id"]: row["value"] for row in rows}


def test_own_model(hub, api):
    model(hub, "tester/own")
    first = submit_results("tester/own", [result("tester/own")], api=api)
    assert first.sent and not first.pull_request and "/commit/" in first.url
    again = submit_results("tester/own", [result("tester/own", 0.6, config="out_of_library")], api=api)
    assert again.sent
    assert values(hub, "tester/own") == {
        "in_library-crystal_system-accuracy": 0.5,
        "out_of_library-crystal_system-accuracy": 0.6,
    }


def test_organisation_counts_as_own(hub, api):
    model(hub, "lab/theirs")
    assert not submit_results("lab/theirs", [result("lab/theirs")], api=api).pull_request


def test_foreign_model_gets_one_pull_request(hub, api):
    repo = model(hub, "other/theirs")
    first = submit_results("other/theirs", [result("other/theirs", date="2026-01-01T00:00:00Z")], api=api)
    second = submit_results("other/theirs", [result("other/theirs", 0.7)], api=api)
    assert first.pull_request and first.url == second.url and len(repo.pulls) == 1
    assert FILE not in repo.branches["main"].files
    assert values(hub, "other/theirs", "refs/pr/1") == {"in_library-crystal_system-accuracy": 0.7}


def test_a_lost_answer_makes_no_second_pull_request(hub, api):
    repo = model(hub, "other/lost")
    hub.faults.append(Fault("commit", "lost", repo="other/lost"))
    done = submit_results("other/lost", [result("other/lost")], api=api)
    assert len(repo.pulls) == 1 and done.url.endswith("/discussions/1")


def test_refusals(hub, api):
    model(hub, "tester/refused")
    good = result("tester/refused")
    cases = [
        ([good], HfApi(endpoint=hub.url, token=False), "no token"),
        ([good], HfApi(endpoint=hub.url, token="hf_test_read_token"), "may only read"),
        ([result("tester/another")], api, "the records are of tester/another"),
        ([{**good, "accuracy": 0.99}], api, "edited"),
        ([result("tester/refused", config="mine")], api, "no record is of a config"),
        ([result("tester/refused", notes=f"{PART} 6 of 12 rows, drawn evenly")], api, "no result of the benchmark"),
        ([result("tester/refused", dataset_id="local")], api, "name the dataset on the Hub"),
    ]
    for records, client, message in cases:
        with pytest.raises(BadInput, match=message):
            submit_results("tester/refused", records, api=client)
    with pytest.raises(BadInput, match="no such model"):
        submit_results("tester/none", [result("tester/none")], api=api)
    assert FILE not in hub.repos["model", "tester/refused"].branches["main"].files
