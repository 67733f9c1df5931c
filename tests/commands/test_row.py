import json

import numpy as np
import pytest
from data.small_crystals import crystal_table
from datasets import load_dataset

from simxrd_hf.cli import main
from simxrd_hf.crystals import write_crystals
from simxrd_hf.data import generate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("row") / "d"
    return generate(crystal_table(14), path, configs=["tiny"], conditions=[0, 31], seed=3, progress=False).folder


def test_a_stored_row_again(folder, tmp_path, capsys):
    rows = load_dataset(str(folder), "tiny", split="test", cache_dir=str(tmp_path))
    stored = rows.with_format("numpy")[2]
    command = ["row", str(stored["crystal_id"]), "31", "--dataset", str(folder)]
    assert main([*command, "--json", "-o", str(tmp_path / "row.xy")]) == 0
    made = json.loads(capsys.readouterr().out)
    assert np.array_equal(np.array(made["intensity"], dtype=np.float32), stored["intensity"])
    assert made["space_group"] == rows.features["space_group"].int2str(int(stored["space_group"]))
    assert made["zero_shift_deg"] == float(stored["zero_shift_deg"])
    written = np.loadtxt(tmp_path / "row.xy")
    assert written.shape == (3501, 2) and np.allclose(written[:, 1], stored["intensity"], rtol=1e-5)
    assert main(command) == 0
    assert "highest point" in capsys.readouterr().out


def test_without_a_dataset(tmp_path, capsys):
    source = str(write_crystals(crystal_table(3), tmp_path / "c.parquet"))
    command = ["row", "made-001-mP", "5", "--crystals", source, "--json"]
    assert main([*command, "--seed", "1"]) == 0 and main([*command, "--seed", "2"]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["grain_size_nm"] != second["grain_size_nm"] and first["formula"] == second["formula"]


def test_refusals(folder, capsys):
    for arguments, message in (
        (["nobody", "0", "--dataset", str(folder)], "no crystal 'nobody'"),
        (["nobody", "-1", "--dataset", str(folder)], "not a number from 0"),
        (["nobody", "0", "--dataset", str(folder), "--seed", "1"], "has its own seed"),
        (["nobody", "0", "--dataset", str(folder.parent)], "no dataset"),
    ):
        assert main(["row", *arguments]) == 2
        assert message in capsys.readouterr().err
