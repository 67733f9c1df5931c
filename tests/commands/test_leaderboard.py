"""`simxrd leaderboard`: the table of result records."""

import json

import pytest

from simxrd_hf.cli import main
from simxrd_hf.hub import make_result, write_result


@pytest.fixture
def records(tmp_path):
    for name, accuracy in (("lab/low", 0.25), ("lab/high", 0.75)):
        scores = {"n": 20, "accuracy": accuracy, "macro_f1": 1 - accuracy, "ece": 0.125}
        where = {"dataset_id": "lab/data", "config": "out_of_library", "split": "test", "target": "space_group"}
        write_result(make_result(name, scores, **where), tmp_path)
    return tmp_path


def test_table(records, capsys):
    assert main(["leaderboard", str(records)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split()[:6] == ["1", "lab/high", "lab/data", "out_of_library", "20", "75.00"]
    assert lines[2].split()[-1] == "0.1250" and len(lines) == 4


def test_sorted_json(records, capsys):
    assert main(["leaderboard", str(records), "--sort", "macro_f1", "--json"]) == 0
    assert [row["model_id"] for row in json.loads(capsys.readouterr().out)] == ["lab/low", "lab/high"]


def test_nothing_of_the_target(records, capsys):
    assert main(["leaderboard", str(records), "--target", "crystal_system"]) == 0
    assert "no results" in capsys.readouterr().out


def test_bad_input(records, tmp_path, capsys):
    assert main(["leaderboard", str(tmp_path / "none")]) == 2
    assert main(["leaderboard", str(records), "--sort", "beauty"]) == 2
    path = next(records.glob("*.json"))
    path.write_text(path.read_text().replace("0.25", "0.99"))
    capsys.readouterr()
    assert main(["leaderboard", str(records)]) == 0
    said = capsys.readouterr()
    assert "edited after it was made" in said.err and "1 records skipped, 1 shown" in said.err
    assert ("lab/high" in said.out) != ("lab/low" in said.out)
