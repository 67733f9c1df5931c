"""The log of a run is read back as numbers, whatever a kill left of its last line."""

import pytest

from simxrd_hf.training.history import COLUMNS, read_history

HEADER = ",".join(COLUMNS)
FIRST = "10,640,0.5,0.001,2.5,1.25,900.0,0.1,2.0,0.3,0.2,0.05"
SECOND = "20,1280,1.0,0.002,2.25,1.5,901.0,0.25,,,,"


def test_no_file_no_rows(tmp_path):
    assert read_history(tmp_path / "history.csv") == []


@pytest.mark.parametrize("cut", range(len(SECOND) + 1))
def test_a_line_cut_off_is_left_out(tmp_path, cut):
    path = tmp_path / "history.csv"
    path.write_text(f"{HEADER}\n{FIRST}\n{SECOND}\n"[: len(HEADER) + len(FIRST) + 2 + cut])
    (row,) = read_history(path)
    assert row == dict(zip(COLUMNS, map(float, FIRST.split(",")), strict=True))
    assert isinstance(row["step"], int) and isinstance(row["patterns"], int)


def test_a_line_without_validation_has_no_scores(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text(f"{HEADER}\n{SECOND}\n")
    (row,) = read_history(path)
    assert row == dict(zip(COLUMNS[:8], map(float, SECOND.split(",")[:8]), strict=True))
