"""What lies around the patterns: card, pictures, Croissant, and the queries the card shows."""

import importlib.util
import json
import os
import re
import shutil

import numpy as np
import pytest
import yaml
from huggingface_hub import DatasetCard

from simxrd_hf.data.features import make_features
from simxrd_hf.data.splits import CONDITION_SPLITS
from simxrd_hf.diffraction import get_preset


@pytest.fixture(scope="module")
def card(dataset):
    return DatasetCard.load(dataset / "README.md")


def test_configs_name_files_that_exist(card, dataset, made):
    configs = {c["config_name"]: c for c in card.data.to_dict()["configs"]}
    assert set(configs) == {"in_library", "out_of_library", "tiny"} and configs["in_library"]["default"]
    for name, config in configs.items():
        for files in config["data_files"]:
            assert list(dataset.glob(files["path"])), (name, files)
        assert {f["split"] for f in config["data_files"]} == {s for s, n in made.rows[name].items() if n}
    assert "simxrd-format-2.3" in card.data.tags and card.data.license == "other"
    head = card.data.to_dict()
    assert head["license_name"] and head["license_link"].endswith("#licence-and-attribution")
    assert not any("description" in config for config in configs.values())


def test_a_missing_file_is_noticed(dataset, made, tmp_path):
    """By the rows the card states for each split: `load_dataset` used to give what was left without a word."""
    from datasets import load_dataset
    from datasets.exceptions import NonMatchingSplitsSizesError

    copy = shutil.copytree(dataset, tmp_path / "d")
    whole = load_dataset(str(copy), "out_of_library", cache_dir=str(tmp_path / "cache"))
    assert {name: split.num_rows for name, split in whole.items()} == {
        name: rows for name, rows in made.rows["out_of_library"].items() if rows
    }
    next(iter((copy / "patterns" / "train").glob("*.parquet"))).unlink()
    with pytest.raises(NonMatchingSplitsSizesError):
        load_dataset(str(copy), "out_of_library", cache_dir=str(tmp_path / "cache2"))


def test_some_rows_and_columns_as_the_card_says(card, dataset, tmp_path):
    """`datasets` counts the rows a filter kept against those the card states; once it does not, the card says less."""
    from datasets import load_dataset
    from datasets.exceptions import NonMatchingSplitsSizesError

    where = {"path": str(dataset), "name": "in_library", "split": "train", "cache_dir": str(tmp_path)}
    rows = load_dataset(**where)
    label = rows[0]["space_group"]
    wanted = rows["space_group"][:].count(label)
    filters = [("space_group", "==", label)]
    assert 0 < wanted < len(rows)
    with pytest.raises(NonMatchingSplitsSizesError):
        load_dataset(**where, filters=filters)
    assert len(load_dataset(**where, filters=filters, verification_mode="no_checks")) == wanted
    assert sum(1 for _ in load_dataset(**where, filters=filters, streaming=True)) == wanted
    assert load_dataset(**where, columns=["space_group"]).column_names == ["space_group"]
    for said in ('columns=["space_group"]', "streaming=True", 'verification_mode="no_checks"', "filters=["):
        assert said in card.text


def test_one_split_alone_as_the_card_says(card, dataset, made, tmp_path):
    """Asked for a split of a config, `datasets` copies all of them: 55 GB of the whole set; asked for files, those."""
    from datasets import load_dataset

    command = re.search(r"One split alone: `(load_dataset\(.+\))`", card.text).group(1)
    split = re.search(r'split="(\w+)"', command).group(1)
    files = json.loads(re.search(r"data_files=(\{.+\}),", command).group(1))
    alone = load_dataset(str(dataset), data_files=files, split=split, cache_dir=str(tmp_path / "a"))
    assert alone.num_rows == made.rows["in_library"][split] and alone.features["space_group"].names[0] == "P1"
    load_dataset(str(dataset), "in_library", split=split, cache_dir=str(tmp_path / "b"))
    copied = [{path.stem.split("-")[1] for path in (tmp_path / name).rglob("*.arrow")} for name in "ab"]
    assert copied == [{split}, set(made.rows["in_library"])]


def test_every_column_is_explained(card):
    table = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \| [^|]+ \|$", card.text, flags=re.M))
    for name in make_features(get_preset("simxrd-4m")):
        assert name in table
    assert table["grain_size_nm"] == "nm" and table["zero_shift_deg"].startswith("degree")


def test_numbers_of_the_card(card, made):
    assert f"{made.total_rows:,} patterns" in card.text and "42 crystals" in card.text
    for config, splits in made.rows.items():
        for split, n in splits.items():
            assert (f"| `{config}` | {split} | {n:,} |" in card.text) == (n > 0)
    assert str(len(CONDITION_SPLITS["train"])) in card.text
    assert "made for tests | 42" in card.text and "bibtex" in card.text and "{{" not in card.text


def test_pictures(dataset):
    from PIL import Image

    for name in ("labels.png", "samples.png"):
        picture = np.asarray(Image.open(dataset / "plots" / name).convert("L"))
        assert picture.shape[1] > 600 and picture.std() > 3 and (picture < 128).mean() > 0.002


def test_a_card_with_every_option(crystals, tmp_path):
    from simxrd_hf.data import generate

    folder = generate(
        crystals.slice(0, 14),
        tmp_path / "d",
        configs=["tiny"],
        preset="lab",
        dtype="float32",
        labels=["crystal_system", "extinction_symbol"],
        conditions=[0, 30],
        hidden_test=True,
        title="Mine: and 'quoted'",
        licence="cc-by-4.0",
        progress=False,
    ).folder
    head = yaml.safe_load((folder / "README.md").read_text().split("---")[1])
    assert head["pretty_name"] == "Mine: and 'quoted'" and head["license"] == "cc-by-4.0"
    assert [c["config_name"] for c in head["configs"]] == ["tiny", "hidden"]
    assert [f["split"] for f in head["configs"][0]["data_files"]] == ["train", "validation"]


@pytest.mark.skipif(importlib.util.find_spec("mlcroissant") is None, reason="mlcroissant is not installed")
def test_croissant_is_valid_and_reads_the_parquet_files(dataset, made, caplog):
    import mlcroissant

    read = mlcroissant.Dataset(dataset / "croissant.json")
    assert "@context" not in caplog.text  # it names keys in which a context differs from the prescribed one
    assert not read.metadata.ctx.issues.errors, read.metadata.ctx.issues.report()
    names = {r.name for r in read.metadata.record_sets}
    assert {"space_group-names", "crystal_system-names"} <= names
    assert [row["crystal_system-names/name"] for row in read.records("crystal_system-names")][-1] in (b"cubic", "cubic")
    assert read.metadata.url == "https://huggingface.co/datasets/ORGANISATION/NAME"
    assert names - {"space_group-names", "crystal_system-names"} == {
        f"{c}-{s}" for c, splits in made.rows.items() for s, n in splits.items() if n
    }
    records = list(read.records("tiny-test"))
    assert len(records) == made.rows["tiny"]["test"]
    first = records[0]
    assert len(first["tiny-test/intensity"]) == 3501 and isinstance(first["tiny-test/space_group"], (int, np.integer))


@pytest.mark.parametrize("library", ["duckdb", "polars"])
def test_queries_of_the_card_run(card, dataset, made, monkeypatch, library):
    module = pytest.importorskip(library)
    monkeypatch.chdir(dataset)
    (code,) = re.findall(rf"```python\nimport {library}.*?\n\n(.*?)\n```", card.text, flags=re.S)
    result = {}
    # The statement as a reader of the card would paste it.
    exec(f"result['it'] = {code}", {"duckdb": module, "pl": module, "result": result})  # noqa: S102
    if library == "duckdb":
        counts = dict(result["it"].fetchall())
        assert sum(counts.values()) == sum(made.rows["out_of_library"].values()) and len(counts) == 7
    else:
        assert result["it"].columns == ["crystal_id", "intensity"]
    assert os.fspath(dataset)


def test_duckdb_reads_float32_patterns(crystals, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    from simxrd_hf.data import generate

    arguments = {"configs": ["tiny"], "conditions": [0, 30], "dtype": "float32", "progress": False}
    folder = generate(crystals, tmp_path / "d", **arguments).folder
    found = duckdb.sql(f"SELECT list_max(intensity) FROM '{folder}/tiny/*.parquet'").fetchall()
    assert len(found) == 28 and all(abs(value - 100) < 1e-4 for (value,) in found)


def test_manifest_lists_every_file(dataset):
    manifest = json.loads((dataset / "manifest.json").read_text())
    listed = {path for record in manifest["blocks"].values() for path in record["files"]}
    assert listed == {
        p.relative_to(dataset).as_posix() for top in ("patterns", "tiny") for p in (dataset / top).rglob("*.parquet")
    }
