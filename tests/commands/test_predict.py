"""simxrd predict: files in, ranked answers out, exit codes, speed of import."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from simxrd_hf.cli import main

torch.set_num_threads(1)
MODEL = str(Path(__file__).parent.parent / "models" / "dummy-simxrd-former")
STRICT = ["--anode", "Cu", "--negative", "error"]
AXIS = np.arange(12, 85, 0.02)


@pytest.fixture
def scan(tmp_path) -> Path:
    path = tmp_path / "scan.xy"
    np.savetxt(path, np.c_[AXIS, 5 + 100 * np.exp(-0.5 * ((AXIS - 31) / 0.1) ** 2)])
    return path


def test_people_and_programs_can_read_it(scan, capsys):
    assert main(["predict", str(scan), "--model", MODEL, "--wavelength", "1.5406", "--top-k", "2"]) == 0
    text = capsys.readouterr().out
    assert "12 … 84.98° 2θ at 1.5406 Å, 97% of the model's range" in text
    assert "with 90% coverage:" in text
    assert main(["predict", str(scan), "--model", MODEL, "--wavelength", "1.5406", "--top-k", "2", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["file"] == str(scan)
    assert [len(answer[k]) for k in ("space_group", "extinction_symbol", "crystal_system")] == [2, 2, 7]
    assert f"{answer['space_group'][0]['score']:7.2%}  {answer['space_group'][0]['label']}" in text


def test_wavelength_is_never_assumed(scan, capsys):
    assert main(["predict", str(scan), "--model", MODEL]) == 2
    assert "the file does not say the wavelength" in capsys.readouterr().err
    assert main(["predict", str(scan), "--model", MODEL, "--anode", "Co"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "at 1.79" in captured.out


def test_the_cell_search_can_be_left_out(tmp_path, capsys):
    lines = (27.37, 31.70, 45.45, 53.87, 56.47, 66.22, 75.29)  # rock salt
    y = sum(100 * np.exp(-0.5 * ((AXIS - at) / 0.06) ** 2) for at in lines)
    np.savetxt(tmp_path / "salt.xy", np.c_[AXIS, 5 + y])
    common = ["predict", str(tmp_path / "salt.xy"), "--wavelength", "1.54184", "--json"]
    assert main(common) == 0  # the packaged model
    corrected = json.loads(capsys.readouterr().out)
    assert main([*common, "--no-indexing"]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert corrected["crystal_system"][0]["label"] == "cubic"
    assert corrected["crystal_system"] != alone["crystal_system"]
    assert corrected.keys() == alone.keys()


@pytest.fixture(scope="module")
def salts(tmp_path_factory):
    """A library of two salts, and what a pattern of one of them looks like."""
    from simxrd_hf.crystals import crystal, prototypes
    from simxrd_hf.diffraction import PatternGrid, simulate
    from simxrd_hf.matching import build_library

    folder = tmp_path_factory.mktemp("salts")
    table = prototypes().table
    rows = [table["formula"].to_pylist().index(formula) for formula in ("NaCl", "CaF2", "Mg")]
    build_library(table.take(rows))[0].save(folder / "lines.parquet")
    made = simulate(crystal(table, rows[0]), "lab", conditions=[3]).intensity[0]
    np.savetxt(folder / "salt.xy", np.c_[PatternGrid().two_theta, made])
    return folder


def test_matches_of_a_library_are_listed(salts, capsys):
    common = ["predict", str(salts / "salt.xy"), "--anode", "Cu", "--model", MODEL]
    library = ["--library", str(salts / "lines.parquet")]
    assert main([*common, *library, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    first = answer["matches"][0]
    assert (first["formula"], first["space_group"]) == ("NaCl", 225) and first["similarity"] > 0.8
    assert set(first) == {"crystal_id", "formula", "space_group", "similarity", "volume_change", "shift", "residual"}
    assert main([*common, *library]) == 0
    _, table = capsys.readouterr().out.split("  crystals of the library, the likeliest first, and their similarity\n")
    line = table.splitlines()[0]
    assert line.split()[:4] == [f"{first['similarity']:.2f}", "NaCl", "Fm-3m", "(225)"]
    assert line.endswith(f"{first['crystal_id']}, cell volume {first['volume_change']:+.1%}")
    # this model does not say how a library corrects it, and without the search none of the others does
    none = ["--library", "none"]
    for more in (none, ["--no-indexing", *none], ["--no-indexing", *library]):
        assert main([*common, *more, "--json"]) == 0
        other = json.loads(capsys.readouterr().out)
        assert other["space_group"] == answer["space_group"]
        assert ("matches" in other) == ("phases" in other) == ("none" not in more)


def test_matches_without_indexing_leave_the_packaged_model_alone(salts, capsys):
    common = ["predict", str(salts / "salt.xy"), "--anode", "Cu", "--json", "--no-indexing"]
    assert main([*common, "--library", "none"]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert main([*common, "--library", str(salts / "lines.parquet")]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed.pop("matches")[0]["formula"] == "NaCl"
    assert [one["formula"] for one in listed.pop("phases")] == ["NaCl"] and listed.pop("unexplained") < 0.5
    assert listed == alone


def test_no_match_is_said_so(salts, tmp_path, capsys):
    flat = tmp_path / "flat.xy"
    np.savetxt(flat, np.c_[AXIS, np.full(len(AXIS), 10.0)])
    arguments = ["predict", str(flat), "--anode", "Cu", "--model", MODEL, "--library", str(salts / "lines.parquet")]
    assert main(arguments) == 0
    assert capsys.readouterr().out.endswith("their similarity\n    none is near\n")


def test_files_of_one_sample_list_each_crystal_once(salts, capsys):
    files = [str(salts / "salt.xy")] * 2
    arguments = [*files, "--together", "--anode", "Cu", "--model", MODEL, "--library", str(salts / "lines.parquet")]
    assert main(["predict", *arguments, "--json"]) == 0
    listed = [match["crystal_id"] for match in json.loads(capsys.readouterr().out)["matches"]]
    assert len(listed) == len(set(listed)) <= 3 and listed


def test_several_files_and_one_sample(scan, tmp_path, capsys):
    other = shutil.copy(scan, tmp_path / "other.xy")
    common = ["--model", MODEL, "--wavelength", "1.54184", "--json"]
    assert main(["predict", str(scan), str(other), *common]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["space_group"] == second["space_group"]
    assert main(["predict", str(scan), str(other), "--together", "--composition", "NaCl", *common]) == 0
    assert len(json.loads(capsys.readouterr().out)["input"]) == 2


def test_rows_of_a_dataset(tmp_path, capsys):
    rows = np.random.default_rng(0).uniform(1, 100, (3, 3501)).astype(np.float16)
    table = pa.table({"intensity": [row.tolist() for row in rows], "crystal_id": ["a", "b", "c"]})
    pq.write_table(table, tmp_path / "rows.parquet")
    assert main(["predict", str(tmp_path / "rows.parquet"), "--model", MODEL, "--json", "--limit", "2"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["file"].rsplit(" ", 1)[1] for answer in answers] == ["a", "b"]


def test_figure(scan, tmp_path, capsys):
    figure = tmp_path / "why.png"
    arguments = ["predict", str(scan), "--model", MODEL, "--wavelength", "1.5406", "--explain", str(figure)]
    assert main([*arguments, "--cell", "5", "6", "7", "90", "95", "90"]) == 0
    assert figure.read_bytes()[:4] == b"\x89PNG"
    assert "for the cell given" in capsys.readouterr().err


def test_cell_of_a_structure_file(tmp_path):
    from ase import Atoms
    from ase.io import write

    from simxrd_hf.commands.predict import read_cell

    write(tmp_path / "a.cif", Atoms("Na", cell=[4, 5, 6, 90, 100, 90], pbc=True))
    assert read_cell([str(tmp_path / "a.cif")]) == pytest.approx((4, 5, 6, 90, 100, 90))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{scan}", "--anode", "Cu", "--augment", "--explain", "x.png"], "leave --augment out"),
        (["nowhere.xy", "--model", MODEL], "nowhere.xy: no such file"),
        (["{scan}", "--model", "./nowhere"], "no such checkpoint folder"),
        (["{scan}", "--model", MODEL, "--wavelength", "154"], "154"),
        (
            ["{negative}", "--model", MODEL, "--anode", "Cu", "--negative", "error"],
            "points are negative; pass --negative clip",
        ),
        (["{short}", "--model", MODEL, "--anode", "Cu"], "at least 5° are needed"),
        (["{scan}", "--model", MODEL, "--top-k", "0"], "--top-k must be at least 1"),
        (["{scan}", "--model", MODEL, "--cell", "5"], "--cell 5: no such file"),
        (["{scan}", "--model", MODEL, "--cell", "5", "5", "--explain", "x.png"], "six numbers"),
        (["{scan}", "--model", MODEL, "--explain", "nowhere/x.png"], "its folder does not exist"),
        (["{scan}", "{scan}", "--model", MODEL, "--anode", "Cu", "--explain", "x.png"], "--explain draws one pattern"),
        (["{scan}", "--model", MODEL, "--anode", "Cu", "--composition", "Qq"], "no element 'Qq'"),
        (["{table}", "--model", MODEL], "has no column intensity, only x"),
        (["{scan}", "--model", MODEL, "--library", "none.parquet"], "none.parquet: no such file; make a library"),
        (["{scan}", "--model", MODEL, "--library", "{table}"], "table.parquet: no library of lines"),
        (["{scan}", "--model", MODEL, "--library", "{scan}"], "scan.xy: not a Parquet file"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, scan, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIMXRD_MODEL", raising=False)
    np.savetxt("negative.xy", np.c_[AXIS, np.sin(AXIS)])
    np.savetxt("short.xy", np.c_[AXIS, 1 + np.cos(AXIS)][:100])
    pq.write_table(pa.table({"x": [1]}), "table.parquet")
    names = {"scan": scan, "negative": "negative.xy", "short": "short.xy", "table": "table.parquet"}
    assert main(["predict", *[argument.format(**names) for argument in arguments]]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1
    assert "Traceback" not in error


def test_packaged_model_knows_common_structures(tmp_path, capsys, monkeypatch):
    """No model is named, nothing is downloaded: laboratory patterns of textbook structures get the right system."""
    from simxrd_hf.crystals import crystal, prototypes
    from simxrd_hf.diffraction import PatternGrid, simulate

    monkeypatch.delenv("SIMXRD_MODEL", raising=False)
    table = prototypes().table
    formulas = table["formula"].to_pylist()
    truth = {}
    for formula, system in {
        "NaCl": "cubic", "CaF2": "cubic", "ZnS": "cubic", "TiO2": "tetragonal", "Al2O3": "trigonal", "Mg": "hexagonal",
    }.items():  # fmt: skip
        row = formulas.index(formula)
        path = tmp_path / f"{formula}.xy"
        made = simulate(crystal(table, row), "lab", conditions=[3]).intensity[0]
        np.savetxt(path, np.c_[PatternGrid().two_theta, made])
        truth[str(path)] = system
    assert main(["predict", *truth, "--anode", "Cu", "--augment", "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    right = [answer["crystal_system"][0]["label"] == truth[answer["file"]] for answer in answers]
    assert len(right) == 6
    assert sum(right) >= 4
    for answer in answers:
        assert sum(entry["score"] for entry in answer["crystal_system"]) == pytest.approx(1)


def test_one_bad_file_does_not_stop_the_others(scan, tmp_path, capsys):
    bad = tmp_path / "bad.xy"
    np.savetxt(bad, np.c_[AXIS, -np.ones(len(AXIS))])
    assert main(["predict", str(bad), str(scan), "--model", MODEL, *STRICT, "--json"]) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["file"] == str(scan)
    assert "bad.xy" in captured.err


def test_model_from_the_environment(scan, monkeypatch, capsys):
    monkeypatch.setenv("SIMXRD_MODEL", MODEL)
    assert main(["predict", str(scan), "--anode", "Cu"]) == 0
    assert "crystal system" in capsys.readouterr().out


@pytest.mark.parametrize(("library", "needed"), [("none", []), ("packaged", ["pandas", "pyarrow"])])
def test_loads_only_what_it_needs(scan, library, needed):
    """Each of these libraries takes longer to load than the answer takes; a library of lines is a Parquet file."""
    code = (
        "import atexit, sys\n"
        "from simxrd_hf.cli import entry_point\n"
        "slow = 'transformers', 'datasets', 'pandas', 'pyarrow', 'sklearn', 'matplotlib', 'pymatgen', 'sympy',"
        " 'scipy.signal', 'scipy.ndimage', 'scipy.stats', 'torch._dynamo'\n"
        "atexit.register(lambda: print([name for name in slow if name in sys.modules]))\n"
        f"sys.argv[1:] = ['predict', {str(scan)!r}, '--anode', 'Cu', '--json', '--library', {library!r}]\n"
        "entry_point()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer, loaded = done.stdout.splitlines()
    assert json.loads(answer)["space_group"]
    assert loaded == str(needed)


def test_one_file_at_fault_does_not_stop_the_rest(scan, tmp_path, capsys):
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    files = [str(tmp_path / "nowhere.xy"), str(scan), str(tmp_path / "bad.parquet"), str(scan)]
    assert main(["predict", *files, "--model", MODEL, "--anode", "Cu", "--json"]) == 2
    out, err = capsys.readouterr()
    assert [json.loads(line)["file"] for line in out.splitlines()] == [str(scan), str(scan)]
    assert "nowhere.xy: no such file" in err and "bad.parquet: not readable as Parquet" in err


def test_the_first_row_of_many_is_answered_before_the_last_is_read(tmp_path, monkeypatch, capsys):
    from simxrd_hf.commands import predict_inputs

    asked = []

    def rows(path, args):
        for index in range(1_000_000):
            asked.append(index)
            yield f"{path}[{index}]", {"intensity": [float("nan")] * 3501} if index else {"intensity": PATTERN}
            if index == 4:
                raise KeyboardInterrupt

    PATTERN = (5 + 100 * np.exp(-0.5 * (((10 + 0.02 * np.arange(3501)) - 31) / 0.1) ** 2)).tolist()
    (tmp_path / "many.parquet").write_bytes(b"")
    monkeypatch.setattr(predict_inputs, "_rows", rows)
    assert main(["predict", str(tmp_path / "many.parquet"), "--model", MODEL, "--json"]) == 130
    assert len(asked) == 5 and "[0]" in capsys.readouterr().out


def test_several_processes_answer_as_one_does(scan, tmp_path, capsys):
    bad = tmp_path / "bad.xy"
    bad.write_text("no numbers here\n")
    files = [str(shutil.copy(scan, tmp_path / f"{n}.xy")) for n in range(3)]
    files.insert(1, str(bad))
    command = ["predict", *files, "--model", MODEL, "--wavelength", "1.5406", "--json"]
    found = {}
    for processes in ("1", "2"):
        assert main([*command, "--num-proc", processes]) == 2
        found[processes] = capsys.readouterr()
    assert found["2"].out == found["1"].out and len(found["1"].out.splitlines()) == 3
    assert "bad.xy: no table of numbers" in found["2"].err and found["2"].err == found["1"].err
    assert main(["predict", *files, "--model", str(tmp_path / "none"), "--num-proc", "2"]) == 2
    assert "none" in capsys.readouterr().err
    assert main(["predict", *files, "--num-proc", "0"]) == 2
    assert "--num-proc must be at least 1" in capsys.readouterr().err


def test_rows_of_a_table_by_several_processes(tmp_path, capsys):
    rows = pa.table({"intensity": [np.random.default_rng(n).random(3501).tolist() for n in range(5)]})
    pq.write_table(rows, tmp_path / "rows.parquet")
    command = ["predict", str(tmp_path / "rows.parquet"), "--model", MODEL, "--csv", "--limit", "4"]
    assert main([*command, "--num-proc", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and [line.split(",")[0][-3:] for line in lines[1:]] == ["[0]", "[1]", "[2]", "[3]"]
    assert main(command) == 0 and capsys.readouterr().out.splitlines() == lines
