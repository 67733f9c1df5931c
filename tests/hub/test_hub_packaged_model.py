"""A checkpoint released anew: thresholds, record, card and weights of the folder that comes with the package."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from simxrd_hf.crystals import prototypes, sample
from simxrd_hf.errors import BadInput
from simxrd_hf.evidence import PatternEvidence
from simxrd_hf.hub.cards import model_card
from simxrd_hf.hub.packaged_model import FILES, illustrate, release
from simxrd_hf.identify.libraries import PACKAGED, open_library
from simxrd_hf.identify.measured_scores import halves
from simxrd_hf.identify.model_folders import DEFAULT_MODEL
from simxrd_hf.matching import build_library

ROOT = Path(__file__).resolve().parent.parent.parent
QUARTZ = ROOT / "simxrd_hf/hub/spaces/demo/examples/quartz_simulated.xy"


@pytest.fixture
def run(tmp_path):
    """The packaged checkpoint as a run whose evidence was fitted anew, and measured patterns, by name of the file."""
    folder = tmp_path / "run"
    shutil.copytree(DEFAULT_MODEL, folder / "model")
    x, y = np.loadtxt(QUARTZ, unpack=True)
    row = {"source": "A", "sample_name": "q", "space_group": 154, "wavelength_angstrom": 1.54184, "formula": "SiO2"}
    names = [name for name in map(str, range(20)) if not halves([name])[0]]  # of the half for choosing
    rows = [
        {**row, "two_theta": x.tolist(), "intensity": np.roll(y, k).tolist(), "sample_name": names[k]} for k in (0, 1)
    ]
    rows.append(rows[0] | {"sample_name": next(name for name in map(str, range(20)) if halves([name])[0])})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "measured.parquet")
    build_library(sample(prototypes(limit=60).table, 20))[0].save(folder / "lines.parquet")
    scores = {"n": 2, "rows": "source: A", "space_group_acc": 0.5, "ece": 0.125, "crystal_system_acc": 1.0}
    of_group = {"n": 2, "space_group_acc": 0.5, "ece": 0.125, "crystal_system_acc": 1.0}
    of_group |= {"space_group_top5_acc": 1.0, "extinction_symbol_acc": 0.5}
    scores |= {f"source: A/{key}": value for key, value in of_group.items()}
    for name in ("measured.json", "library.json"):
        (folder / name).write_text(json.dumps(scores))
    scores |= {f"source and half: A, reported/{key}": value for key, value in (of_group | {"n": 1}).items()}
    scores["source and half: A, reported/space_group_acc"] = 1.0
    (folder / "packaged.json").write_text(json.dumps(scores))
    shutil.copy(ROOT / "model_cards" / "simxrd-former-light.yaml", tmp_path / "record.yaml")
    return folder


@pytest.mark.slow
def test_a_release_holds_what_the_package_reads(run, tmp_path):
    before = yaml.safe_load((tmp_path / "record.yaml").read_text())
    thresholds = release(
        run, tmp_path / "record.yaml", tmp_path / "out", calibrate=tmp_path / "measured.parquet", same_network=True
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([*FILES, "evidence.json"])
    # nothing was fitted for a library of 20 crystals; the row of the reported half sets no threshold
    assert {name: found["n"] for name, found in thresholds.items()} == {"network": 2, "cells": 2, "packaged": 2}
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["conformal"] == thresholds["network"]
    evidence = PatternEvidence.load(tmp_path / "out")
    before_it = PatternEvidence.load(run / "model")
    packaged, full = (evidence.for_library(crystals).combination for crystals in (len(open_library(PACKAGED)), 160_000))
    assert (evidence.cells.conformal, packaged.conformal) == (thresholds["cells"], thresholds["packaged"])
    assert full.conformal == before_it.for_library(160_000).combination.conformal
    after = yaml.safe_load((tmp_path / "record.yaml").read_text())
    assert after["training"] == before["training"]
    new = [row for row in after["results"] if row["dataset_id"] == "A"]
    assert {row["config"]: row["accuracy"] for row in new} == {
        "measured": 0.5,
        "measured_with_library": 0.5,
        "measured_with_packaged_library": 1.0,  # of the reported half
    }
    assert "measured_with_library" in (tmp_path / "out" / "README.md").read_text()
    ours, theirs = (path / "model.safetensors" for path in (tmp_path / "out", DEFAULT_MODEL))
    assert abs(ours.stat().st_size - theirs.stat().st_size) < 2000  # float16 again


def test_reliability_on_the_card(tmp_path):
    """Drawn from what `simxrd evaluate` wrote; the card shows it and changes nowhere else."""
    record = ROOT / "model_cards" / "simxrd-former-light.yaml"
    predictions = {
        "label": [0, 1, 2, 3],
        "predicted": np.array([0, 1, 7, 3]),
        "probability": np.float32([0.9, 0.9, 0.9, 0.3]),
    }
    pq.write_table(pa.table(predictions), tmp_path / "predictions.parquet")
    illustrate(tmp_path, record, tmp_path / "predictions.parquet")
    figure = tmp_path / "reliability.png"
    assert figure.read_bytes().startswith(b"\x89PNG") and 5_000 < figure.stat().st_size < 60_000
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    content = yaml.safe_load(record.read_text(encoding="utf-8"))
    without = model_card(content, model_id=content["name"])
    added = [line for line in card.splitlines() if line not in without.splitlines()]
    assert added[0] == "![Reliability diagram](reliability.png)" and len(added) == 2
    with pytest.raises(BadInput, match="no predictions of `simxrd evaluate"):
        illustrate(tmp_path, record, tmp_path / "elsewhere.parquet")


def test_what_is_missing_is_named_before_anything_changes(run, tmp_path):
    (run / "library.json").unlink()
    record = (tmp_path / "record.yaml").read_bytes()
    arguments = {"calibrate": tmp_path / "measured.parquet", "same_network": True}
    with pytest.raises(BadInput, match=r"library\.json: no such file"):
        release(run, tmp_path / "record.yaml", tmp_path / "out", **arguments)
    (run / "model" / "evidence.json").unlink()
    with pytest.raises(BadInput, match="run `simxrd evidence` first"):
        release(run, tmp_path / "record.yaml", tmp_path / "out", **arguments)
    assert (tmp_path / "record.yaml").read_bytes() == record and not (tmp_path / "out").exists()
