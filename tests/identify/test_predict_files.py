"""`simxrd predict` on instrument files: wavelengths asked for, findings shown, many files, pictures, CSV."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pattern_files import WRITERS, profile, xrdml

from simxrd_hf.cli import main
from simxrd_hf.identify import pipeline

MODEL = str(Path(__file__).parent.parent / "models" / "dummy-simxrd-former")
ALONE = ["--model", MODEL, "--library", "none"]  # the lines of these files are of no crystal, as a library would say


@pytest.fixture
def files(tmp_path):
    x, y = profile(1500, 10, 0.04)
    for kind in ("xy", "xrdml", "raw4"):
        (tmp_path / WRITERS[kind][0]).write_bytes(WRITERS[kind][1](x, y))
    (tmp_path / "noise.xrdml").write_bytes(xrdml(x, np.random.default_rng(0).poisson(50, len(x))))
    return tmp_path


def test_the_wavelength_is_asked_for(files, capsys):
    assert main(["predict", str(files / "a.xy"), "--model", MODEL]) == 2
    assert "--anode" in capsys.readouterr().err
    assert main(["predict", str(files / "a.xy"), *ALONE, "--anode", "Cu", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["input"]["wavelength"] == pytest.approx(1.54187, abs=1e-5)
    assert answer["flags"] == []
    with pytest.raises(ValueError, match="wavelength"):
        pipeline(MODEL)(str(files / "a.xy"))
    assert pipeline(MODEL)(str(files / "a.xy"), wavelength=1.5418)["input"]["wavelength"] == 1.5418


def test_findings_are_shown(files, capsys):
    assert main(["predict", str(files / "noise.xrdml"), "--model", MODEL]) == 0
    assert "! no Bragg line stands out of the noise" in capsys.readouterr().out


def test_many_files_at_once(files, capsys):
    names = [str(files / name) for name in ("a.xrdml", "a.xy", "a.raw", "noise.xrdml")]
    plots = files / "plots"
    assert main(["predict", *names, *ALONE, "--csv", "--plot", str(plots), "--steps", "spikes"]) == 2
    out, err = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [Path(row["file"]).name for row in rows] == ["a.xrdml", "a.raw", "noise.xrdml"]
    assert "a.xy" in err
    assert rows[0]["space_group"] == rows[1]["space_group"]
    assert rows[2]["flags"] == "noise_only"
    assert sorted(path.name for path in plots.iterdir()) == ["a.raw.png", "a.xrdml.png", "noise.xrdml.png"]


def test_files_of_one_sample(files, capsys):
    names = [str(files / "a.xy"), str(files / "a.raw")]
    assert main(["predict", *names, "--together", "--anode", "Cu", "--model", MODEL, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["input"]) == 2


def test_column_and_scan_are_options(files, capsys):
    x, y = profile(1500, 10, 0.04)
    noise = np.random.default_rng(0).poisson(50, 1500)
    rows = "".join(f"{a:.4f},{b:.1f},{c:.1f}\n" for a, b, c in zip(x, y, noise, strict=True))
    (files / "two.csv").write_text("2theta,first,second\n" + rows)
    asked = ["predict", str(files / "two.csv"), *ALONE, "--anode", "Cu", "--json"]
    assert main(asked) == 0
    answer = json.loads(capsys.readouterr().out)
    assert any("'first' (2), 'second' (3)" in note and "--column" in note for note in answer["warnings"])
    assert answer["flags"] == []
    assert main([*asked, "--column", "second"]) == 0
    assert [flag["code"] for flag in json.loads(capsys.readouterr().out)["flags"]] == ["noise_only"]
    assert main([*asked, "--scan", "1"]) == 2
    assert "there is no scan 1" in capsys.readouterr().err
