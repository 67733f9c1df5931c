import json

import pyarrow.parquet as pq
import pytest
from data.small_crystals import crystal_table

from simxrd_hf.cli import main
from simxrd_hf.crystals import write_crystals


@pytest.fixture
def source(tmp_path):
    return str(write_crystals(crystal_table(21), tmp_path / "crystals.parquet"))


def test_a_dataset_and_its_report(source, tmp_path, capsys):
    command = ["generate", source, "-o", str(tmp_path / "d"), "--config", "tiny", "--conditions", "0-2,30,31"]
    assert main([*command, "--json", "--project-rows", "1000000"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["rows"] == {"tiny": {"train": 42, "validation": 14, "test": 14}} and report["crystals"] == 14
    assert report["projected_gigabytes"] == pytest.approx(report["bytes_per_row"] / 1000)
    assert main(command) == 0  # again: nothing to do
    assert "nothing was left to do" in capsys.readouterr().out
    assert main([*command, "--seed", "1"]) == 2
    assert "other parameters" in capsys.readouterr().err
    assert main([*command, "--seed", "1", "--overwrite"]) == 0


def test_drawn_crystals(source, tmp_path, capsys):
    arguments = ["generate", source, "-o", str(tmp_path / "d"), "--draw", "5", "--conditions", "0,30", "--json"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["crystals"] == 5
    assert pq.read_table(tmp_path / "d" / "crystals.parquet").num_rows == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--conditions", "a-b"], "neither a number nor a range"),
        (["--conditions", "33"], "hidden test"),
        (["--config", "huge"], "unknown config"),
        (["--preset", "none"], "preset"),
        (["--label", "colour"], "unknown label"),
    ],
)
def test_bad_options(source, tmp_path, capsys, arguments, message):
    assert main(["generate", source, "-o", str(tmp_path / "d"), *arguments]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "d").exists()


def test_a_missing_source(tmp_path, capsys):
    assert main(["generate", str(tmp_path / "none.parquet"), "-o", str(tmp_path / "d")]) == 2
    assert "none.parquet" in capsys.readouterr().err


def test_help(capsys):
    assert main(["generate", "--help"]) == 0
    assert "example:" in capsys.readouterr().out
