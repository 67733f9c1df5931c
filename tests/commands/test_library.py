"""`simxrd library` as a user meets it: the file it writes, what it prints, exit codes."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from data.small_crystals import crystal_rows, crystal_table

from simxrd_hf.cli import main
from simxrd_hf.crystals.table import table_from_rows
from simxrd_hf.data.splits import crystal_splits
from simxrd_hf.matching import read_library


@pytest.fixture
def crystals(tmp_path) -> Path:
    """Eight crystals, one of them no crystal at all, one with no reflection in the range."""
    rows = crystal_rows(8)
    rows[2]["lattice"] = [0.3, 0, 0, 0, 0.3, 0, 0, 0, 0.3]
    rows[4] |= {"atomic_numbers": [11], "frac_coords": [0, 0, 0], "lattice": [0.7, 0, 0, 0, 0.7, 0, 0, 0, 0.7]}
    pq.write_table(table_from_rows(rows), tmp_path / "crystals.parquet")
    return tmp_path / "crystals.parquet"


def test_the_packaged_prototypes(tmp_path, capsys):
    output = tmp_path / "lines.parquet"
    assert main(["library", "prototypes", "-o", str(output)]) == 0
    assert len(read_library(output)) == 288
    text = capsys.readouterr().out
    assert text == f"wrote {output}: lines of 288 crystals ({output.stat().st_size / 1e6:.2f} MB)\n"
    assert [path.name for path in tmp_path.iterdir()] == ["lines.parquet"]


def test_disordered_crystals_beside_their_models(tmp_path, capsys):
    """Two sources make one library, in which a disordered crystal is found as what it is."""
    mixed = tmp_path / "disordered.parquet"
    assert main(["crystals", "prototypes", "--disordered", "-o", str(mixed)]) == 0
    assert main(["library", "prototypes", str(mixed), "-o", str(tmp_path / "both.parquet")]) == 0
    capsys.readouterr()
    library = read_library(tmp_path / "both.parquet")
    groups = dict(zip(library.crystal_id, library.space_group, strict=True))
    assert len(library) == 288 + pq.read_metadata(mixed).num_rows
    (copper_gold,) = [name for name in groups if name.startswith("AB3_cP4_221_a_c") and name.endswith("~disordered")]
    assert groups[copper_gold] == 225 and groups[copper_gold.removesuffix("~disordered")] == 221


def test_json_summary(crystals, tmp_path, capsys):
    output = tmp_path / "lines.parquet"
    assert main(["library", str(crystals), "-o", str(output), "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert captured.err == ""
    assert found["output"] == str(output) and found["bytes"] == output.stat().st_size
    assert found["crystals"] == len(read_library(output)) == 6
    left_out = found["left_out"]
    assert left_out.keys() == {"made-002-oP", "made-004-hR"}
    assert "cell axes" in left_out["made-002-oP"] and "no reflection" in left_out["made-004-hR"]


def test_crystals_left_out_are_shown(crystals, tmp_path, capsys):
    output = tmp_path / "lines.parquet"
    output.write_bytes(b"what lay there before")
    assert main(["library", str(crystals), "-o", str(output)]) == 0
    text = capsys.readouterr().out
    assert "lines of 6 crystals" in text and "left out: 2" in text
    assert "made-002-oP: " in text and "made-004-hR: " in text
    assert len(read_library(output)) == 6


@pytest.mark.parametrize("split_by", ["formula", "row_order"])
def test_training_crystals_alone(tmp_path, split_by):
    table = crystal_table(42)
    pq.write_table(table, tmp_path / "crystals.parquet")
    output = tmp_path / "lines.parquet"
    arguments = [str(tmp_path / "crystals.parquet"), "-o", str(output), "--split-by", split_by]
    assert main(["library", *arguments]) == 0
    splits = crystal_splits(table, split_by)
    names = {name for name, split in zip(table["crystal_id"].to_pylist(), splits, strict=True) if split == 0}
    assert set(read_library(output).crystal_id) == names and 0 < len(names) < 42


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.parquet", "-o", "l.parquet"], "nowhere.parquet: no such file"),
        (["{crystals}", "-o", "no/l.parquet"], "no: no such folder"),
        (["{crystals}", "-o", "."], ".: is a folder; name the file to write"),
        (["{crystals}", "-o", "l.parquet", "--max-atoms", "0"], "none of 7 crystals could be used"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(crystals, tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    given = [argument.format(crystals=crystals) for argument in arguments]
    assert main(["library", *given, "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.strip().splitlines()) == 1
    assert message in captured.err and "Traceback" not in captured.err
    assert not (tmp_path / "l.parquet").exists()


def test_wrong_options_exit_with_2(crystals, capsys):
    assert main(["library", str(crystals)]) == 2
    assert "-o/--output" in capsys.readouterr().err
    assert main(["library", str(crystals), "-o", "l.parquet", "--split-by", "colour"]) == 2
    assert "invalid choice: 'colour'" in capsys.readouterr().err


def test_help_has_an_example(capsys):
    assert main(["library", "--help"]) == 0
    assert "example:\n  simxrd library" in capsys.readouterr().out
