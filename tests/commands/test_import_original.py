import json

from simxrd_hf.cli import main


def test_published_rows(shared_data, tmp_path, capsys):
    source = str(shared_data / "original" / "binxrd.db")
    assert main(["import-original", source, "-o", str(tmp_path / "d"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == {"train": 9}
    assert main(["import-original", source, "-o", str(tmp_path / "d")]) == 2
    assert "overwrite" in capsys.readouterr().err
    assert main(["import-original", source, "-o", str(tmp_path / "d"), "--overwrite"]) == 0
    assert "9 rows" in capsys.readouterr().out


def test_no_such_file(tmp_path, capsys):
    assert main(["import-original", str(tmp_path / "x.db"), "-o", str(tmp_path / "d")]) == 2
    assert "no such file" in capsys.readouterr().err
