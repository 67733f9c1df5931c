"""`simxrd simulate`: lines, files, plots, bad input."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from simxrd_hf.cli import main

NACL = """data_NaCl
_cell_length_a 5.6402
_cell_length_b 5.6402
_cell_length_c 5.6402
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Na1 Na 0 0 0
Cl1 Cl 0.5 0.5 0.5
"""


@pytest.fixture
def salt(tmp_path):
    path = tmp_path / "NaCl.cif"
    path.write_text(NACL)
    return path


def test_lines_are_printed(salt, capsys):
    assert main(["simulate", str(salt)]) == 0
    text = capsys.readouterr().out
    assert "NaCl" in text and "   2   0   0     6   31.72" in text


def test_files_and_plot(salt, tmp_path, capsys):
    xy, table, plot = tmp_path / "a.xy", tmp_path / "a.parquet", tmp_path / "a.png"
    assert main(["simulate", str(salt), "-o", str(xy), "--plot", str(plot), "--preset", "lab"]) == 0
    assert main(["simulate", str(salt), "-o", str(table), "--condition", "0-2,31", "--preset", "lab"]) == 0
    x, y = np.loadtxt(xy).T
    assert len(x) == 3501 and y.max() == pytest.approx(100)
    rows = pq.read_table(table)
    assert rows["condition"].to_pylist() == [0, 1, 2, 31]
    assert np.allclose(rows["intensity"][0].as_py(), y, atol=1e-4)
    assert "crystallite_size_nm" in rows.column_names and json.loads(rows.schema.metadata[b"preset"])["name"] == "lab"
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["NaCl.cif", "a.parquet", "a.png", "a.xy"]


def test_json_and_other_radiation(salt, capsys):
    assert main(["simulate", str(salt), "--json", "--anode", "Mo", "--range", "5", "50", "--preset", "lab"]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert result["peaks"]["two_theta"][1] == pytest.approx(14.45, abs=0.02)  # 200 of NaCl with Mo Kα1
    assert main(["simulate", str(salt), "--json", "--wavelength", "0.4", "--range", "2", "30", "--preset", "lab"]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert "kalpha2_ratio" not in result["parameters"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--condition", "x"], "--condition"),
        (["--condition", "99999"], "conditions"),
        (["--wavelength", "-1"], "wavelength"),
        (["--range", "80", "10"], "two_theta_min"),
        (["-o", "a.csv"], "a.csv"),
        (["--plot", "a.gif"], "a.gif"),
        (["--preset", "nonsense"], "nonsense"),
        (["-o", "a.xy", "--condition", "0-3"], "one pattern"),
    ],
)
def test_bad_input(salt, options, words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["simulate", str(salt), *options]) == 2
    assert words in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["NaCl.cif"]


def test_missing_file(capsys):
    assert main(["simulate", "nowhere.cif"]) == 2
    assert "nowhere.cif" in capsys.readouterr().err
