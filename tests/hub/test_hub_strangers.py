"""Result records of other people: what cannot be shown is skipped and counted, and hides nothing else."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from simxrd_hf.cli import main
from simxrd_hf.errors import BadInput
from simxrd_hf.hub import collect_results, make_result, write_result
from simxrd_hf.hub.results import digest, valid_records

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def sealed(**changes):
    """A record as somebody writes it who knows how the digest is made."""
    made = make_result(
        "lab/model",
        {"n": 10, "accuracy": 0.5},
        dataset_id="host/data",
        config="measured",
        split="test",
        target="space_group",
        date="2025-06-01T10:00:00Z",
    )
    record = {**made, **changes}
    return {**record, "digest": digest(record)}


HOSTILE = {
    "markup in the date": sealed(date='2025-01-01T<img src=x onerror="f()">'),
    "markup after the date": sealed(date="2025-01-01T10:00:00Z<b>x</b>"),
    "tomorrow's date": sealed(date=(NOW + timedelta(days=400)).strftime("%Y-%m-%dT%H:%M:%SZ")),
    "a month 13": sealed(date="2025-13-01T10:00:00Z"),
    "markup in the model": sealed(model_id="lab/<b>model</b>"),
    "a line break behind the model": sealed(model_id="lab/model\n"),
    "a terminal escape in the notes": sealed(notes="\x1b]0;title\x07"),
    "a reversed reading order": sealed(notes="\u202eerom"),
    "long notes": sealed(notes="x" * 100_000),
    "a long id": sealed(model_id="lab/" + "m" * 10_000),
    "not a number": sealed(ece=float("nan")),
    "infinity": sealed(nll=float("inf")),
    "an accuracy of 2": sealed(accuracy=2.0),
    "an accuracy in words": sealed(accuracy="best"),
    "too many patterns": sealed(n=10**30),
    "half a pattern": sealed(n=10.0),
    "a field too many": sealed(rank=1),
    "an edited value": {**sealed(), "accuracy": 0.9},
    "a list": [1, 2],
    "a word": "record",
    "nothing": None,
    "a revision that leaves its link": sealed(model_revision='x" onclick="f()'),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_bad_record_is_skipped_and_the_rest_is_shown(what, tmp_path):
    (tmp_path / "bad.json").write_text(json.dumps(HOSTILE[what]))
    good = sealed()
    (tmp_path / "good.json").write_text(json.dumps(good))
    records, skipped = valid_records(tmp_path, now=NOW)
    assert records == [good]
    assert [one.where for one in skipped] == ["bad.json"] and len(skipped[0].reason) <= 200
    assert skipped[0].reason.isprintable()


@pytest.mark.parametrize(
    "content", [b"{", b"[" * 200_000, b"\xff\xfe\x00", b'{"n": 1e999}', b"x" * (5 * 2**20), b'{"n": NaN}']
)
def test_files_that_are_no_records(content, tmp_path):
    (tmp_path / "bad.json").write_bytes(content)
    (tmp_path / "good.json").write_text(json.dumps(sealed()))
    records, skipped = valid_records(tmp_path, now=NOW)
    assert len(records) == len(skipped) == 1


def test_many_records_in_one_file_are_taken_one_by_one(tmp_path):
    lines = [json.dumps(sealed()), "{", json.dumps(sealed(config="hidden")), ""]
    (tmp_path / "all.json").write_text("\n".join(lines))
    records, skipped = valid_records(tmp_path / "all.json", now=NOW)
    assert [r["config"] for r in records] == ["measured", "hidden"]
    assert [s.where for s in skipped] == ["all.json, line 2"]


def test_a_repository_speaks_for_its_owner(tmp_path):
    (tmp_path / "r.json").write_text(json.dumps(sealed()))
    assert len(valid_records(tmp_path, repo_id="lab/results", now=NOW)[0]) == 1  # whose model it is
    assert len(valid_records(tmp_path, repo_id="host/results", now=NOW)[0]) == 1  # whose dataset it is
    records, skipped = valid_records(tmp_path, repo_id="stranger/results", now=NOW)
    assert not records and "of stranger" in skipped[0].reason


def test_the_command_counts_what_it_skips(tmp_path, capsys):
    write_result(sealed(), tmp_path)
    (tmp_path / "bad\x1b[2J.json").write_text(json.dumps(HOSTILE["markup in the date"]))
    assert main(["leaderboard", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert "lab/model" in out and "1 records skipped, 1 shown" in err and "\x1b" not in out + err
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "bad.json").write_text("{")
    with pytest.raises(BadInput, match=r"none of 1 records can be shown; bad\.json: not a result record"):
        collect_results([tmp_path / "only"])


def test_notes_of_ones_own_are_made_fit_before_they_are_sealed():
    record = make_result(
        "lab/model",
        {"n": 1, "accuracy": 1.0},
        dataset_id="d",
        config="measured",
        split="test",
        target="space_group",
        notes="first\nsecond\x1b[1m",
    )
    assert record["notes"] == "first second[1m"
