"""`simxrd crystals` as a user meets it: files it writes, what it prints, exit codes."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from simxrd_hf.cli import main

SALT = """\
data_salt
_cell_length_a 5.64
_cell_length_b 5.64
_cell_length_c 5.64
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_symmetry_equiv_pos_as_xyz
'x,y,z'
'x,y+1/2,z+1/2'
'x+1/2,y,z+1/2'
'x+1/2,y+1/2,z'
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Na 0 0 0 1
Cl 0.5 0.5 0.5 OCCUPANCY
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good CIFs that are one crystal, one with unknown occupancy, one cut short."""
    (tmp_path / "cifs").mkdir()
    good = SALT.replace("OCCUPANCY", "1")
    for name, text in {
        "good": good,
        "again": good,
        "unknown": SALT.replace("OCCUPANCY", "?"),
        "cut": good[:-8],
    }.items():
        (tmp_path / "cifs" / f"{name}.cif").write_text(text)
    return tmp_path / "cifs"


def test_table_and_list_of_rejected_are_written(folder, tmp_path, capsys):
    output = tmp_path / "crystals.parquet"
    assert main(["crystals", str(folder), "-o", str(output)]) == 0
    table = pq.read_table(output)
    assert table["crystal_id"].to_pylist() == ["again"] and table["space_group"].to_pylist() == [225]
    rejected = pq.read_table(tmp_path / "rejected.parquet").to_pylist()
    assert {entry["crystal_id"] for entry in rejected} == {"good", "unknown", "cut"}
    text = capsys.readouterr().out
    assert "1 crystals" in text and "set aside: 3" in text and "unknown occupancy" in text
    assert str(output) in text and str(tmp_path / "rejected.parquet") in text


def test_json_summary(folder, tmp_path, capsys):
    arguments = ["crystals", str(folder), "-o", str(tmp_path / "c.parquet"), "--json", "--no-deduplicate"]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["crystals"] == 2 and found["rejected"] == 2 and found["crystal_systems"]["cubic"] == 2
    assert sum(found["rejected_reasons"].values()) == 2


def test_stale_list_of_rejected_is_replaced(folder, tmp_path):
    output = tmp_path / "crystals.parquet"
    assert main(["crystals", str(folder), "-o", str(output)]) == 0
    assert main(["crystals", str(folder / "good.cif"), "-o", str(output)]) == 0
    assert len(pq.read_table(tmp_path / "rejected.parquet")) == 0


def test_prototypes_sample_and_labels(tmp_path, capsys):
    output = tmp_path / "p.parquet"
    arguments = ["crystals", "prototypes", "-o", str(output), "--sample", "9", "--seed", "4", "--prototype-labels"]
    assert main(arguments) == 0
    table = pq.read_table(output)
    assert len(table) == 9
    for row in table.to_pylist():
        assert row["prototype"].split("_")[2] == str(row["space_group"])
    assert "9 crystals drawn from 288" in capsys.readouterr().out


def test_ids_keep_what_they_match_whole(tmp_path, capsys):
    output = tmp_path / "cubic.parquet"
    assert main(["crystals", "prototypes", "--ids", "A_c[FIP].*_(2[0-3][0-9])_.*", "-o", str(output)]) == 0
    names = pq.read_table(output)["crystal_id"].to_pylist()
    assert names and all(name.startswith("A_c") for name in names)
    for wrong, says in (("A", "matches none of 288 ids"), ("(", "no regular expression")):
        assert main(["crystals", "prototypes", "--ids", wrong]) == 2
        assert says in capsys.readouterr().err


def test_disordered_crystals_of_the_prototypes(tmp_path, capsys):
    """Cu3Au loses its order to Fm-3m, CuPt, ordered along [111], too."""
    assert main(["crystals", "prototypes", "--disordered", "-o", str(tmp_path / "mixed.parquet"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    table = pq.read_table(tmp_path / "mixed.parquet")
    assert found["crystals"] == len(table) >= 20
    groups = dict(zip(table["formula"].to_pylist(), table["space_group"].to_pylist(), strict=True))
    assert groups["Cu3Au"] == groups["CuPt"] == 225 and groups["FeCuS2"] == 216


def test_nothing_disordered_says_so(tmp_path, capsys):
    (tmp_path / "salt.cif").write_text(SALT.replace("OCCUPANCY", "1"))
    assert main(["crystals", str(tmp_path / "salt.cif"), "--disordered"]) == 2
    assert "no ordered model of a disordered crystal among 1 crystals" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "says"),
    [("unknown.cif", "unknown occupancy"), ("cut.cif", "broken CIF"), ("missing.cif", "no such file")],
)
def test_bad_input_names_the_file_and_exits_with_2(folder, capsys, name, says):
    assert main(["crystals", str(folder / name)]) == 2
    error = capsys.readouterr().err
    assert name in error and says in error and "Traceback" not in error and ";" in error


def test_output_folder_must_exist(folder, tmp_path, capsys):
    assert main(["crystals", str(folder), "-o", str(tmp_path / "no" / "c.parquet")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_full_disk(folder, capsys):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    assert main(["crystals", str(folder), "-o", "/dev/full/c.parquet"]) == 2
    assert "/dev/full" in capsys.readouterr().err


def test_help_has_an_example(capsys):
    assert main(["crystals", "--help"]) == 0
    assert "example:\n  simxrd crystals" in capsys.readouterr().out
