"""The host's command: scores of answers, and one line for a table that is none."""

import json

import pyarrow as pa
import pyarrow.parquet as pq

from simxrd_hf import cli


def test_scores_of_answers(tmp_path, capsys):
    key = {"row_id": ["a", "b", "c"], "crystal_split": ["train", "test", "test"], "crystal_system": [0, 6, 6]}
    answers = {"row_id": ["c", "a", "b"], "crystal_system": [0, 0, 6]}
    for name, table in (("key", key), ("answers", answers)):
        pq.write_table(pa.table(table), tmp_path / f"{name}.parquet")
    command = ["score-hidden", str(tmp_path / "answers.parquet"), str(tmp_path / "key.parquet")]
    assert cli.main([*command, "--target", "crystal_system"]) == 0
    assert "3 rows   accuracy 66.7%" in capsys.readouterr().out
    assert cli.main([*command, "--target", "crystal_system", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["out_of_library"]["accuracy"] == 0.5
    assert cli.main(command) == 2 and "space_group" in capsys.readouterr().err
