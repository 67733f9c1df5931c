"""The demo on a dozen crystals: everything is made, a folder of somebody else's is never touched."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from simxrd_hf import cli
from simxrd_hf.crystals import prototypes


def test_demo_makes_everything_it_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = tmp_path / "few.parquet"
    pq.write_table(prototypes().table.take(list(range(0, 288, 24))), few)
    output = tmp_path / "demo"
    arguments = f"demo --crystals {few} --output {output} --model cnn5 --patterns 640 --num-proc 1 --json".split()
    assert cli.main(arguments) == 0
    shown = capsys.readouterr().out
    result = json.loads(shown.strip().splitlines()[-1])
    assert result["crystals"] == 12
    assert result["patterns"] == 12 * 33
    assert 0 <= result["accuracy"] <= 1
    assert {"majority_accuracy", "nearest_mean_macro_f1"} <= set(result)
    model = output / "model"
    for name in ("model.safetensors", "config.json", "preprocessor_config.json", "README.md"):
        assert (model / name).exists(), name
    for picture in (output / "patterns.png", output / "scores" / "confusion.png", model / "reliability.png"):
        assert picture.read_bytes()[:4] == b"\x89PNG"
    assert "the model says:" in shown

    # A second run refuses the folder, and takes it over only when told to.
    assert cli.main(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_demo_never_deletes_what_it_did_not_make(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert cli.main(["demo", "--output", str(tmp_path), "--overwrite"]) == 2
    assert "something else" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").exists()


def test_demo_names_crystals_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.cif"
    broken.write_text("data_x\nthis is no crystal\n")
    assert cli.main(["demo", "--output", str(tmp_path / "out"), "--crystals", str(broken)]) == 2
    assert "broken.cif" in capsys.readouterr().err
