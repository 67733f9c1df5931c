"""Result records, scoring of answers, the tasks of the benchmark and the leaderboard table."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

import simxrd_hf
from simxrd_hf.errors import BadInput
from simxrd_hf.hub import (
    BENCHMARK_TASKS,
    benchmark_scores,
    class_probabilities,
    collect_results,
    evaluate_pipeline,
    leaderboard_rows,
    make_result,
    read_results,
    score_hidden,
    score_model,
    write_eval_results,
    write_result,
)
from simxrd_hf.hub.leaderboard import text_table
from simxrd_hf.hub.results import PART, SCORE_COLUMNS, check_eval_results, check_result, eval_result_entries
from simxrd_hf.hub.tasks import eval_yaml
from simxrd_hf.symmetry import CRYSTAL_SYSTEMS, SPACE_GROUPS

ROOT = Path(__file__).resolve().parents[2]


def result(model="lab/model", accuracy=0.5, **changes):
    where = {"dataset_id": "lab/data", "config": "in_library", "split": "test", "target": "space_group"}
    scores = {"n": 10, "accuracy": accuracy, "macro_f1": accuracy / 2, "top_5_accuracy": 0.75, "ece": 0.1}
    return make_result(model, scores, **(where | changes))


def test_the_eval_yaml_in_the_repository_is_the_benchmark():
    text = (ROOT / "dataset_script" / "eval.yaml").read_text()
    assert text == eval_yaml()
    tasks = yaml.safe_load(text)["tasks"]
    assert len({task["id"] for task in tasks}) == len(tasks) == len(BENCHMARK_TASKS) == 15
    assert {"id": "out_of_library-space_group-macro_f1", "config": "out_of_library", "split": "test"} in tasks
    assert {t["config"] for t in yaml.safe_load(eval_yaml(["in_library", "tiny"]))["tasks"]} == {"in_library"}


def test_scores_of_tasks():
    got = benchmark_scores("in_library", "test", "space_group", {"accuracy": 0.5, "macro_f1": 0.2, "ece": 0.1})
    assert got == {"in_library-space_group-accuracy": 0.5, "in_library-space_group-macro_f1": 0.2}
    assert benchmark_scores("in_library", "validation", "space_group", {"accuracy": 0.5}) == {}


def test_records_survive_a_round_trip_and_show_an_edit(tmp_path):
    record = result()
    path = write_result(record, tmp_path)
    assert read_results(path) == read_results(tmp_path) == [record]
    assert set(SCORE_COLUMNS) <= set(record) and record["brier"] is None
    for field, value in [("accuracy", 0.51), ("n", 11), ("model_id", "lab/other"), ("notes", "better")]:
        with pytest.raises(BadInput, match="edited"):
            check_result({**record, field: value}, "file")
    with pytest.raises(BadInput, match=r"accuracy: 1\.5 is greater"):
        check_result({**record, "accuracy": 1.5}, "file")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(BadInput, match=r"broken\.json: not a result record"):
        read_results(tmp_path)
    with pytest.raises(BadInput, match="no result records"):
        read_results(write_result(record, tmp_path / "empty").unlink() or tmp_path / "empty")


def test_eval_results_are_what_the_hub_library_reads(tmp_path):
    path = write_eval_results([result(), result(config="measured")], tmp_path, source_url="https://example.org/r")
    entries = parse_eval_result_entries(yaml.safe_load(path.read_text()))
    assert {e.task_id: e.value for e in entries} == {
        "in_library-space_group-accuracy": 0.5,
        "in_library-space_group-macro_f1": 0.25,
        "in_library-space_group-top_5_accuracy": 0.75,
    }
    assert entries[0].dataset_id == "lab/data" and entries[0].source_url == "https://example.org/r"
    assert len(check_eval_results(path.read_text(), "file")) == 3
    with pytest.raises(BadInput, match="edited"):
        check_eval_results(path.read_text().replace("0.25", "0.9"), "file")
    with pytest.raises(BadInput, match="not a list"):
        check_eval_results("accuracy: 1", "file")
    assert write_eval_results([result(config="measured")], tmp_path / "x") is None


def test_probabilities_from_any_answer():
    ours = [
        {
            "space_group": [{"label": "Fm-3m", "score": 0.5, "number": 225}],
            "crystal_system": [{"label": "cubic", "score": 1.0}],
        }
    ]
    theirs = [[{"label": "Fm-3m", "score": 0.25}, {"label": "P1", "score": 0.25}]]
    assert class_probabilities(ours, "space_group")[0, 224] == 1.0
    assert class_probabilities(ours, "crystal_system")[0].tolist() == [0, 0, 0, 0, 0, 0, 1]
    assert class_probabilities(theirs, "space_group")[0, [0, 224]].tolist() == [0.5, 0.5]
    assert class_probabilities(theirs, "crystal_system")[0, [0, 6]].tolist() == [0.5, 0.5]
    with pytest.raises(BadInput, match="'LABEL_3', which is no label of the task space_group"):
        class_probabilities([[{"label": "LABEL_3", "score": 1.0}]], "space_group")
    with pytest.raises(BadInput, match="'cubic', which is no label"):
        class_probabilities([[{"label": "cubic", "score": 1.0}]], "space_group")
    with pytest.raises(BadInput, match="nothing on the task"):
        class_probabilities([{"phase": []}], "space_group")
    with pytest.raises(BadInput, match="no probabilities"):
        class_probabilities([[{"label": "P1", "score": float("nan")}]], "space_group")


def test_any_pipeline_can_be_scored():
    """A model of somebody else: it says cubic for patterns that begin high, else triclinic."""

    def pipe(patterns, top_k, batch_size):
        return [[{"label": "cubic" if p["intensity"][0] > 0 else "triclinic", "score": 0.9}] for p in patterns]

    rows = [{"intensity": [float(i % 2)] * 3501, "crystal_system": 6 * (i % 2) if i else 3} for i in range(5)]
    scores, labels, table = score_model(pipe, iter(rows), target="crystal_system", batch_size=2, progress=False)
    assert labels.tolist() == [3, 6, 0, 6, 0] and table.shape == (5, 7)
    assert scores["accuracy"] == 0.8 and scores["n"] == 5 and "ece" in scores
    with pytest.raises(BadInput, match="no rows"):
        score_model(pipe, [], target="crystal_system", progress=False)


def test_hidden_split():
    key = pa.table({"row_id": ["a", "b", "c"], "crystal_split": ["train", "test", "test"], "crystal_system": [0, 6, 6]})
    answers = pa.table({"row_id": ["c", "a", "b"], "crystal_system": [0, 0, 6]})
    got = score_hidden(answers, key, target="crystal_system")
    assert got["all"]["accuracy"] == pytest.approx(2 / 3) and got["out_of_library"]["accuracy"] == 0.5
    probabilities = pa.table({"row_id": ["a", "b", "c"], "probabilities": np.eye(7)[[0, 6, 6]].tolist()})
    assert score_hidden(probabilities, key, target="crystal_system")["all"]["brier"] == 0.0
    for bad, message in [
        (answers.slice(0, 2), "1 rows of the hidden split are missing"),
        (pa.concat_tables([answers, answers]), "appears twice"),
        (answers.drop_columns("row_id"), "row_id is missing"),
        (answers.rename_columns(["row_id", "guess"]), "need the column probabilities or crystal_system"),
    ]:
        with pytest.raises(BadInput, match=message):
            score_hidden(bad, key, target="crystal_system")


def test_leaderboard_ranks_within_configs(tmp_path):
    write_result(result("lab/a", 0.4), tmp_path)
    write_result(result("lab/b", 0.6), tmp_path)
    write_result(result("lab/a", 0.3, config="measured"), tmp_path)
    write_result(result("lab/b", 0.1, date="2020-01-01T00:00:00Z"), tmp_path / "old")
    records = collect_results([tmp_path / "old", tmp_path])
    rows = leaderboard_rows(records)
    assert [(r["config"], r["rank"], r["model_id"]) for r in rows] == [
        ("in_library", 1, "lab/b"), ("in_library", 2, "lab/a"), ("measured", 1, "lab/a"),
    ]  # fmt: skip
    assert [r["model_id"] for r in leaderboard_rows(records, config="in_library", sort_by="ece")] == ["lab/a", "lab/b"]
    assert "60.00" in text_table(rows, ["accuracy", "ece"]).splitlines()[2]
    with pytest.raises(BadInput, match="not a score"):
        leaderboard_rows(records, sort_by="beauty")
    with pytest.raises(BadInput, match="neither a file or folder"):
        collect_results(["nothing-here"])


def test_datasets_and_parts_are_ranked_apart():
    rows = [
        result("lab/a", 0.4),
        result("lab/b", 0.3, dataset_id="lab/other"),
        result("lab/c", 0.9, notes=f"{PART} 6 of 100 rows, drawn evenly"),
    ]
    ranked = [(row["rank"], row["model_id"]) for row in leaderboard_rows(rows)]
    assert ranked == [(1, "lab/a"), (None, "lab/c"), (1, "lab/b")]
    assert "lab/other" in text_table(leaderboard_rows(rows), ["accuracy"])
    entries = eval_result_entries(rows)
    assert [e.value for e in entries if e.task_id == "in_library-space_group-accuracy"] == [0.4, 0.3]


@pytest.mark.slow
def test_a_limit_draws_evenly_and_says_so(generated):
    """The first rows of both configs are the same: they would say nothing of a split."""
    from datasets import load_dataset

    model = str(ROOT / "tests" / "models" / "dummy-simxrd-former")
    rows = load_dataset(str(generated), "in_library", split="test")
    records = evaluate_pipeline(model, generated, limit=4, progress=False)
    assert {record["n"] for record in records} == {4} and len(rows) == 8
    assert all(record["notes"] == f"{PART} 4 of 8 rows, drawn evenly" for record in records)
    pipe = simxrd_hf.pipeline(model)
    scored, _, _ = score_model(pipe, [rows[i] for i in (0, 2, 4, 6)], target="space_group", progress=False)
    assert records[0]["nll"] == pytest.approx(scored["nll"], rel=1e-4)
    whole = evaluate_pipeline(model, generated, progress=False)
    assert {record["n"] for record in whole} == {8} and whole[0]["notes"] is None
    with pytest.raises(BadInput, match="limit must be 1 or more"):
        evaluate_pipeline(model, generated, limit=0, progress=False)


def test_labels_are_those_of_the_symmetry_room():
    schema = json.loads((ROOT / "simxrd_hf" / "hub" / "result.schema.json").read_text())
    assert set(SCORE_COLUMNS) < set(schema["properties"])
    assert {f"accuracy_in_{name}" for name in CRYSTAL_SYSTEMS} < set(SCORE_COLUMNS)
    assert len(SPACE_GROUPS) == 230
