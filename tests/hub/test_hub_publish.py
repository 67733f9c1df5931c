"""Publishing to a Hub: what is refused before anything is sent, what is sent, and what a second run does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hub_server import Fault
from huggingface_hub import HfApi

from simxrd_hf.data.plan import FORMAT_VERSION
from simxrd_hf.errors import BadInput
from simxrd_hf.hub import make_result, publish, write_eval_results, write_result
from simxrd_hf.hub.checks import card_metadata
from simxrd_hf.hub.tasks import eval_yaml
from simxrd_hf.hub.upload import MANIFEST, PublishFailed
from simxrd_hf.metrics import METRIC_FOLDERS


def sent(hub):
    """Requests that change something."""
    return [line for line in hub.log if line[0] not in {"GET", "HEAD"}]


SCORES = {"n": 10, "accuracy": 0.5, "macro_f1": 0.25, "ece": 0.1}


def result(**changes):
    where = {"dataset_id": "lab/data", "config": "in_library", "split": "test", "target": "crystal_system"}
    return make_result("tester/model", SCORES, **(where | changes))


def test_new_then_changed_then_the_same(hub, api, model_folder):
    first = publish("model", model_folder, "tester/life", api=api)
    assert first.created and first.committed and first.tag == "v1.0"
    repo = hub.repos["model", "tester/life"]
    assert repo.private and repo.tags["v1.0"] is repo.branches["main"]
    assert hub.text("model", "tester/life", "model.safetensors") == b"weights" * 100

    (model_folder / "model.safetensors").write_bytes(b"better" * 100)
    second = publish("model", model_folder, "tester/life", api=api)
    assert {c.path: c.action for c in second.changes} == {
        "CITATION.cff": "same",
        "README.md": "same",
        "config.json": "same",
        "model.safetensors": "change",
    }
    assert repo.tags["v1.0"] is repo.branches["main"] and repo.branches["main"].oid == second.commit

    hub.log.clear()
    third = publish("model", model_folder, "tester/life", api=api, public=True)
    assert not third.committed and not repo.private
    assert [line[0] for line in sent(hub)] == ["PUT"]  # the visibility alone


def test_the_card_gets_the_repository_name(hub, api, model_folder):
    (model_folder / "README.md").write_text('---\nlicense: mit\n---\npipeline(model="this/repository")\n')
    publish("model", model_folder, "tester/named", api=api)
    assert b'pipeline(model="tester/named")' in hub.text("model", "tester/named", "README.md")


def test_files_of_others_stay_and_old_shards_go(hub, api, model_folder):
    (model_folder / "model-00002-of-00002.safetensors").write_bytes(b"second half")
    publish("model", model_folder, "tester/shards", api=api)
    api.upload_file(path_or_fileobj=b"by hand", path_in_repo="NOTES.txt", repo_id="tester/shards")
    (model_folder / "model-00002-of-00002.safetensors").unlink()
    report = publish("model", model_folder, "tester/shards", api=api)
    assert [c.path for c in report.changes if c.action == "delete"] == ["model-00002-of-00002.safetensors"]
    assert set(hub.snapshot("model", "tester/shards")) == {
        ".gitattributes", "CITATION.cff", "NOTES.txt", "README.md", "config.json", "model.safetensors", MANIFEST,
    }  # fmt: skip


def by_action(report):
    found = {}
    for change in report.changes:
        found.setdefault(change.action, set()).add(change.path)
    return found


def test_only_what_an_upload_put_there_is_deleted(hub, api, model_folder):
    """The user's own Parquet, adapter and weights stay, though they bear names an upload of ours could have given."""
    theirs = ("my/measured.parquet", "adapters/lora.safetensors", "model-00009-of-00009.safetensors")
    api.create_repo("tester/mixed", private=True)
    for path in theirs:
        api.upload_file(path_or_fileobj=b"theirs", path_in_repo=path, repo_id="tester/mixed")
    (model_folder / "old.safetensors").write_bytes(b"ours")
    (model_folder / "changed.txt").write_text("ours")
    publish("model", model_folder, "tester/mixed", api=api)
    api.upload_file(path_or_fileobj=b"edited on the Hub", path_in_repo="changed.txt", repo_id="tester/mixed")
    for name in ("old.safetensors", "changed.txt"):
        (model_folder / name).unlink()
    told = []
    dry = publish("model", model_folder, "tester/mixed", api=api, dry_run=True)
    report = publish("model", model_folder, "tester/mixed", api=api, announce=told.append)
    assert by_action(report)["delete"] == {"old.safetensors"} and by_action(report)["keep"] == {"changed.txt"}
    assert by_action(dry) == by_action(report) and told == [list(report.changes)]
    assert {*theirs, "changed.txt"} <= set(hub.snapshot("model", "tester/mixed"))
    assert not publish("model", model_folder, "tester/mixed", api=api).committed


def test_a_readme_somebody_wrote_stays_and_ours_is_renewed(hub, api, tmp_path, monkeypatch):
    write_result(result(), tmp_path / "results")
    publish("results", tmp_path / "results", "tester/readme", api=api)
    module = sys.modules[publish.__module__]
    monkeypatch.setattr(module, "results_card", lambda repo_id: "---\nlicense: mit\n---\n# Newer\n")
    report = publish("results", tmp_path / "results", "tester/readme", api=api)
    assert by_action(report)["change"] == {"README.md"}
    own = b"---\nlicense: mit\n---\n# My own words\n"
    api.upload_file(path_or_fileobj=own, path_in_repo="README.md", repo_id="tester/readme", repo_type="dataset")
    report = publish("results", tmp_path / "results", "tester/readme", api=api)
    assert by_action(report)["keep"] == {"README.md"} and not report.committed
    assert hub.text("dataset", "tester/readme", "README.md") == own


def test_hidden_files_and_what_links_lead_to_are_not_sent(hub, api, model_folder, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("not for the Hub")
    (model_folder / ".env").write_text("HF_TOKEN=hf_x")
    (model_folder / ".ssh").mkdir()
    (model_folder / ".ssh" / "key").write_text("key")
    (model_folder / "within.safetensors").symlink_to("model.safetensors")
    write_eval_results([result()], model_folder)
    publish("model", model_folder, "tester/hidden", api=api, benchmark=True)
    assert set(hub.snapshot("model", "tester/hidden")) == {
        ".gitattributes", MANIFEST, "CITATION.cff", "README.md", "config.json", "model.safetensors",
        "within.safetensors", ".eval_results/simxrd.yaml",
    }  # fmt: skip
    hub.log.clear()
    (model_folder / "notes.txt").symlink_to(secret)
    with pytest.raises(BadInput, match=r"notes\.txt: a link that leads out of "):
        publish("model", model_folder, "tester/hidden", api=api)
    assert not hub.log


@pytest.mark.parametrize("content", [b"{", b"<html>", b"[]", b'{"files": 3}', b'{"files": {"NOTES.txt": 1}}'])
def test_a_manifest_that_cannot_be_read_deletes_nothing(hub, api, model_folder, content):
    name = f"tester/manifest-{len(content)}"
    publish("model", model_folder, name, api=api)
    for path, data in (("NOTES.txt", b"theirs"), (MANIFEST, content)):
        api.upload_file(path_or_fileobj=data, path_in_repo=path, repo_id=name)
    report = publish("model", model_folder, name, api=api)
    assert "delete" not in by_action(report) and "NOTES.txt" in hub.snapshot("model", name)


def test_dry_run_sends_nothing(hub, api, model_folder):
    report = publish("model", model_folder, "tester/dry", api=api, dry_run=True)
    assert report.created and {c.action for c in report.changes} == {"add"} and len(report.changes) == 4
    assert not sent(hub) and ("model", "tester/dry") not in hub.repos
    # And without a token and a network it still lists what would go.
    offline = publish("model", model_folder, "tester/dry", api=HfApi(endpoint=hub.url, token=False), dry_run=True)
    assert len(offline.changes) == 4


@pytest.mark.parametrize("phase", ["xet_token", "xet_xorb", "xet_shard"])
def test_what_hf_xet_says_of_its_storage_is_told(hub, xet, model_folder, phase, monkeypatch):
    """It raises Python's own ConnectionError for everything; the repository is as before and the message says so."""
    monkeypatch.setattr("simxrd_hf.hub.upload.time.sleep", lambda seconds: None)
    name, fault = f"tester/{phase.replace('_', '-')}", Fault(phase, "403", times=1000)
    hub.faults.append(fault)
    try:
        with pytest.raises(PublishFailed, match=r"(?s)sending large files failed: .*403 Forbidden.*again"):
            publish("model", model_folder, name, api=xet)
    finally:
        hub.faults.remove(fault)
    assert fault.hits and set(hub.snapshot("model", name)) == {".gitattributes"}
    assert publish("model", model_folder, name, api=xet).committed
    assert hub.text("model", name, "model.safetensors") == b"weights" * 100


@pytest.mark.parametrize(
    "token, repo_id, message",
    [
        (False, "tester/x", "no token"),
        ("hf_unknown", "tester/x", "does not know this token"),
        ("hf_test_read_token", "tester/x", "may only read"),
        ("hf_test_write_token", "other/x", "no write right in 'other'"),
        ("hf_test_write_token", "public-lab/x", "no write right in 'public-lab'"),
        ("hf_test_write_token", "no-namespace", "NAMESPACE/NAME"),
    ],
)
def test_no_right_no_upload(hub, api, model_folder, token, repo_id, message):
    with pytest.raises(BadInput, match=message) as caught:
        publish("model", model_folder, repo_id, api=HfApi(endpoint=hub.url, token=token))
    assert not sent(hub) and "hf_" not in str(caught.value)


def test_name_taken_by_another_type(hub, api, model_folder):
    api.create_repo("tester/taken", repo_type="dataset", private=True)
    hub.log.clear()
    with pytest.raises(BadInput, match="taken by a dataset"):
        publish("model", model_folder, "tester/taken", api=api)
    assert not sent(hub)


def spoil_labels(folder):
    config = json.loads((folder / "config.json").read_text())
    config["id2label"]["0"], config["id2label"]["1"] = config["id2label"]["1"], config["id2label"]["0"]
    (folder / "config.json").write_text(json.dumps(config))


def too_few_labels(folder):
    config = {"task": "space_group", "id2label": {"0": "P1", "1": "P-1"}}
    (folder / "config.json").write_text(json.dumps(config))


def bad_card(folder):
    (folder / "README.md").write_text("---\nlicense: mit\ntags: [xrd\n---\n# A model\n")


def bad_tags(folder):
    (folder / "README.md").write_text("---\ntags: xrd\n---\n")


def no_card(folder):
    (folder / "README.md").unlink()


def pickle(folder):
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")


def no_weights(folder):
    (folder / "model.safetensors").unlink()


def missing_code(folder):
    config = json.loads((folder / "config.json").read_text()) | {"auto_map": {"AutoModel": "modeling_x.Model"}}
    (folder / "config.json").write_text(json.dumps(config))


def edited_eval_results(folder):
    path = write_eval_results([result()], folder)
    rows = yaml.safe_load(path.read_text())
    rows[0]["value"] = 0.99
    path.write_text(yaml.safe_dump(rows))


def edited_record(folder):
    path = write_result(result(), folder / "results")
    path.write_text(path.read_text().replace('"accuracy": 0.5', '"accuracy": 0.9'))


@pytest.mark.parametrize(
    "spoil, message",
    [
        (spoil_labels, "label 0 is 'monoclinic', but the task crystal_system has 'triclinic'"),
        (too_few_labels, "2 labels, but the task space_group has 230"),
        (bad_card, r"README.md, line \d: the YAML head cannot be read"),
        (bad_tags, "`tags` must be a list"),
        (no_card, "card is missing"),
        (pickle, "pickled files are not published"),
        (no_weights, "no weights"),
        (missing_code, "modeling_x.Model, whose file is missing"),
        (edited_eval_results, "0.99 of in_library-crystal_system-accuracy was edited"),
        (edited_record, "edited after it was made"),
    ],
)
def test_bad_model_folders_are_refused(hub, api, model_folder, spoil, message):
    spoil(model_folder)
    with pytest.raises(BadInput, match=message):
        publish("model", model_folder, "tester/bad", api=api)
    assert not hub.log  # not even a question was asked


def test_untouched_results_are_taken(hub, api, model_folder):
    write_eval_results([result()], model_folder)
    write_result(result(), model_folder / "results")
    report = publish("model", model_folder, "tester/scored", api=api, benchmark=True)
    assert report.notes == (".eval_results/simxrd.yaml: sent in a commit of its own",)
    repo = hub.repos["model", "tester/scored"]
    assert repo.branches["main"].title == "Add .eval_results/simxrd.yaml" and repo.tags["v1.0"] is repo.branches["main"]
    again = publish("model", model_folder, "tester/scored", api=api, benchmark=True)
    assert not again.committed and again.notes == (".eval_results/simxrd.yaml: up to date",)
    rows = yaml.safe_load(hub.text("model", "tester/scored", ".eval_results/simxrd.yaml"))
    assert [row["value"] for row in rows] == [0.5, 0.25]


def test_results_dataset(hub, api, tmp_path):
    write_result(result(), tmp_path / "results")
    write_result(result(config="out_of_library"), tmp_path / "results")
    report = publish("results", tmp_path / "results", "tester/results", api=api)
    assert len(report.changes) == 3  # two records and the card
    (tmp_path / "results" / "zz.json").write_text('{"accuracy": 1.0}')
    with pytest.raises(BadInput, match=r"zz.json: .* is a required property"):
        publish("results", tmp_path / "results", "tester/results", api=api)


def test_metric_needs_its_own_name(hub, api, tmp_path):
    folder = METRIC_FOLDERS["xrd_calibration"]
    with pytest.raises(BadInput, match="tester/xrd_calibration"):
        publish("metric", folder, "tester/other-name", api=api)
    publish("metric", "xrd_calibration", "tester/xrd_calibration", api=api)
    assert hub.repos["space", "tester/xrd_calibration"].sdk == "static"  # free for everybody
    assert b"tester/xrd_calibration" in hub.text("space", "tester/xrd_calibration", "README.md")


def test_the_demo_needs_a_paid_plan(hub, api):
    """What the Hub asks of new Gradio Spaces is said before and after; nothing else is left behind."""
    planned = publish("space", "demo", "tester/demo", api=api, dry_run=True)
    assert any("paid plans only" in note for note in planned.notes)
    with pytest.raises(PublishFailed, match=r"402: .* paid plan; static ones are free"):
        publish("space", "demo", "tester/demo", api=api)
    assert ("space", "tester/demo") not in hub.repos

    paying = HfApi(endpoint=hub.url, token="hf_test_paying_token")
    report = publish("space", "demo", "tester/demo", api=paying)
    paths = {change.path for change in report.changes}
    assert {"app.py", "README.md", "requirements.txt", "simxrd_hf/symmetry/space_groups.csv"} <= paths
    assert not any(".pyc" in path or "__pycache__" in path for path in paths)


def test_the_leaderboard_is_free(hub, api):
    report = publish("space", "leaderboard", "tester/leaderboard", api=api)
    assert hub.repos["space", "tester/leaderboard"].sdk == "static"
    paths = {change.path for change in report.changes}
    assert {"index.html", "README.md"} <= paths and not any(path.endswith(".py") for path in paths)


def test_eval_yaml_cannot_hold_the_data_back(hub, api, dataset_folder):
    """Its framework is not on the Hub's list: the data go up, and the refusal of the file is told in words."""
    plain = publish("dataset", dataset_folder, "tester/plain", api=api)
    assert plain.notes == () and "eval.yaml" not in hub.snapshot("dataset", "tester/plain")
    planned = publish("dataset", dataset_folder, "tester/bench", api=api, dry_run=True, benchmark=True)
    assert "a commit of its own, which the Hub may refuse" in planned.notes[0]
    report = publish("dataset", dataset_folder, "tester/bench", api=api, benchmark=True)
    assert report.committed
    assert any(path.endswith(".parquet") for path in hub.snapshot("dataset", "tester/bench"))
    assert "eval.yaml: not taken, everything else is up: the Hub answered 400" in report.notes[0]
    assert "pull request to huggingface.js" in report.notes[0]
    assert "eval.yaml" not in hub.snapshot("dataset", "tester/bench")
    spec = yaml.safe_load(eval_yaml(["in_library"])) | {"evaluation_framework": "inspect-ai"}
    (dataset_folder / "eval.yaml").write_text(yaml.safe_dump(spec))  # one on the list is taken
    report = publish("dataset", dataset_folder, "tester/bench", api=api, benchmark=True)
    assert report.notes == ("eval.yaml: sent in a commit of its own",)
    assert (
        hub.repos["dataset", "tester/bench"].tags[f"v{FORMAT_VERSION}"]
        is hub.repos["dataset", "tester/bench"].branches["main"]
    )
    publish("dataset", dataset_folder, "tester/bench", api=api)
    assert "eval.yaml" in hub.snapshot("dataset", "tester/bench")  # no later run takes it away
    assert api.get_dataset_leaderboard("tester/bench") == []


def test_a_release_in_a_collection(hub, api, model_folder):
    report = publish("model", model_folder, "tester/collected", api=api, collection="SimXRD", public=True)
    slug = next(iter(hub.collections))
    assert slug in report.notes[0] and "Generate DOI" in report.notes[1]
    publish("model", model_folder, "tester/collected", api=api, collection="SimXRD")
    assert [item["id"] for item in hub.collections[slug]["items"]] == ["tester/collected"] and len(hub.collections) == 1
    assert b"arxiv.org/abs/2406.15469" in hub.text("model", "tester/collected", "CITATION.cff")
    with pytest.raises(BadInput, match="leave --benchmark out"):
        publish("model", model_folder, "tester/collected", api=api, benchmark=True)


def test_unknown_kind_and_folder(api, tmp_path):
    with pytest.raises(BadInput, match="not one of dataset, library, model"):
        publish("weights", tmp_path, "tester/x", api=api)
    with pytest.raises(BadInput, match="no such folder"):
        publish("model", tmp_path / "nothing", "tester/x", api=api)


def test_card_metadata_names_the_line():
    assert card_metadata("---\nlicense: mit\n---\ntext", "README.md") == {"license": "mit"}
    with pytest.raises(BadInput, match="no YAML head"):
        card_metadata("# only text", "README.md")
    with pytest.raises(BadInput, match=r"README\.md, line 4"):
        card_metadata("---\na: 1\nb: 2\n c: 3\n---\n", "README.md")


@pytest.mark.slow
def test_every_fault_in_every_phase(tmp_path):
    """See fault_matrix.py; the full matrix is run by benchmarks/hub.py."""
    script = Path(__file__).parent / "fault_matrix.py"
    done = subprocess.run(
        [sys.executable, script, "--quick"], capture_output=True, text=True, cwd=tmp_path, timeout=200
    )
    assert done.returncode == 0, done.stderr[-2000:]
    matrix = json.loads(done.stdout)
    broken = [case for case in matrix["cases"] if not case["survived"]]
    assert not broken, broken[:3]
    assert matrix["tried"] == matrix["survived"] > 100
    assert {case["phase"] for case in matrix["cases"]} >= {"create", "lfs_put", "commit", "tag"}
    # Faults that pass are lived through without a word; a refusal (rights, token, size) is not tried again.
    once = [c for c in matrix["cases"] if c["times"] == "once" and c["fault"] not in {"401", "403", "413"}]
    # A file in parts is not put together twice: an answer lost there ends the run, the next one sends what is missing.
    failed = {(case["phase"], case["fault"]) for case in once if case["ended"] != "complete"}
    assert failed <= {("lfs_complete", "lost")}
