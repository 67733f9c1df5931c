"""The task "xrd-classification": forms of input, consistent answers, calibration, and life without the package."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from model_helpers import SMALL_FORMER
from transformers import pipeline as transformers_pipeline

import simxrd_hf
from simxrd_hf.errors import BadInput
from simxrd_hf.models import XRDClassificationPipeline, create_model, export_model
from simxrd_hf.models.answers_simxrd import answer, prediction_set
from simxrd_hf.models.composition_simxrd import composition_vector, parse_formula
from simxrd_hf.models.reading_simxrd import read_pattern
from simxrd_hf.models.symmetry_simxrd import (
    CRYSTAL_SYSTEM_OF,
    CRYSTAL_SYSTEMS,
    EXTINCTION_OF,
    EXTINCTION_SYMBOLS,
    SPACE_GROUPS,
)

AXIS = np.arange(5, 90, 0.02)


@pytest.fixture(scope="module")
def pipe():
    return simxrd_hf.pipeline(Path(__file__).parent / "dummy-simxrd-former")


@pytest.fixture
def row(patterns):
    return patterns[0].numpy()


def test_transformers_finds_the_task_by_name(dummy_former, row):
    model = create_model("simxrd_former", **SMALL_FORMER)
    made = transformers_pipeline("xrd-classification", model=str(dummy_former))
    assert isinstance(made, XRDClassificationPipeline)
    assert made(row, top_k=1)["space_group"][0]["score"] > 0
    assert simxrd_hf.pipeline(model)(row)["crystal_system"][0]["label"] in CRYSTAL_SYSTEMS


def test_answers_agree_with_each_other(pipe, row):
    result = pipe(row, top_k=None)
    groups = {entry["label"]: entry["score"] for entry in result["space_group"]}
    assert len(groups) == 230
    assert sum(groups.values()) == pytest.approx(1)
    assert [entry["number"] for entry in result["space_group"]] == [
        SPACE_GROUPS.index(e["label"]) + 1 for e in result["space_group"]
    ]
    by_number = np.array([groups[name] for name in SPACE_GROUPS])
    for name, labels, index in (
        ("crystal_system", CRYSTAL_SYSTEMS, CRYSTAL_SYSTEM_OF),
        ("extinction_symbol", EXTINCTION_SYMBOLS, EXTINCTION_OF),
    ):
        for entry in result[name]:
            members = index == labels.index(entry["label"])
            assert entry["score"] == pytest.approx(by_number[members].sum())
        scores = [entry["score"] for entry in result[name]]
        assert scores == sorted(scores, reverse=True)
    assert len(pipe(row)["space_group"]) == 5
    assert len(pipe(row, top_k=2)["extinction_symbol"]) == 2
    assert len(pipe(row, top_k=2)["crystal_system"]) == 7


def test_temperature_and_prediction_set_of_the_config(pipe, row):
    model, config = pipe.model, pipe.model.config
    assert config.temperature == 2.0
    logits = model(torch.tensor(row)[None]).logits[0].detach().double()
    expected = torch.softmax(logits / 2.0, -1).numpy()
    result = pipe(row, top_k=None)
    got = np.zeros(230)
    for entry in result["space_group"]:
        got[entry["number"] - 1] = entry["score"]
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    chosen = result["prediction_set"]
    assert chosen["coverage"] == 0.9
    inside = {name for name, p in zip(SPACE_GROUPS, expected, strict=True) if 1 - p <= 0.98}
    assert set(chosen["labels"]) == inside or (not inside and len(chosen["labels"]) == 1)


def test_prediction_sets_follow_the_metrics_room():
    from simxrd_hf.metrics import conformal_sets

    rng = np.random.default_rng(0)
    table = rng.dirichlet(np.full(20, 0.3), 50)
    for method in ("lac", "aps"):
        for threshold in (0.3, 0.8, 0.95, 1.0):
            members = conformal_sets(table, threshold, method)
            for probabilities, expected in zip(table, members, strict=True):
                chosen = prediction_set(probabilities, {"method": method, "threshold": threshold})
                assert set(chosen) == set(np.flatnonzero(expected))
        limits = rng.uniform(0.5, 1, 20)  # one of each class
        for probabilities, expected in zip(table, conformal_sets(table, limits, method), strict=True):
            chosen = prediction_set(probabilities, {"method": method, "threshold": 0.0, "thresholds": limits.tolist()})
            assert set(chosen) == set(np.flatnonzero(expected)) and chosen[0] == probabilities.argmax()
            assert (np.diff(probabilities[chosen]) <= 0).all()


def test_thresholds_of_classes_must_be_as_many_as_the_classes():
    from simxrd_hf.models import SimXRDFormerConfig

    sets = {"method": "lac", "coverage": 0.9, "threshold": 0.9}
    assert SimXRDFormerConfig(conformal=sets | {"thresholds": [0.5] * 230}).conformal["thresholds"][229] == 0.5
    with pytest.raises(Exception, match="one of each of the 230"):
        SimXRDFormerConfig(conformal=sets | {"thresholds": [0.5] * 7})


def same(one: dict, other: dict) -> bool:
    """The same ranking with the same scores, but for rounding in batches of another size."""
    a, b = one["space_group"], other["space_group"]
    return [e["label"] for e in a] == [e["label"] for e in b] and np.allclose(
        [e["score"] for e in a], [e["score"] for e in b], rtol=1e-5
    )


def test_forms_of_input(pipe, row, tmp_path):
    expected = pipe(row)
    assert pipe(row.tolist()) == expected
    assert pipe(torch.tensor(row))["space_group"] == expected["space_group"]
    assert pipe({"intensity": row})["space_group"] == expected["space_group"]
    two = pipe(np.stack([row, row]))
    assert len(two) == 2
    assert same(two[1], expected)
    assert len(pipe([row, {"intensity": row}, row.tolist()], batch_size=2)) == 3
    stream = pipe(pattern for pattern in (row, row))
    assert same(next(stream), expected)
    path = tmp_path / "scan.xy"
    np.savetxt(path, np.c_[10 + 0.02 * np.arange(3501), row])
    read = pipe(str(path), wavelength=1.54184)
    assert read["space_group"][0]["label"] == expected["space_group"][0]["label"]
    assert read["input"]["wavelength"] == 1.54184
    assert same(pipe([path], wavelength=1.54184)[0], read)


def test_wavelength_matters_and_is_stated(pipe):
    y = 1 + 99 * np.exp(-0.5 * ((AXIS - 40) / 0.1) ** 2)
    cu, co = (pipe({"two_theta": AXIS, "intensity": y, "wavelength": w}) for w in (1.5406, 1.79026))
    assert cu["input"]["wavelength"] == 1.5406
    assert co["space_group"] != cu["space_group"]


def test_patterns_of_one_sample_and_composition(pipe, patterns):
    a, b = (pattern.numpy() for pattern in patterns[:2])
    both = pipe({"patterns": [a, {"intensity": b}]}, top_k=None)
    assert isinstance(both["input"], list)
    logits = pipe.model(patterns[None, :2]).logits[0].detach()
    # the model averages log-probabilities at temperature 1, the pipeline after the temperature: the same, scaled
    expected = torch.softmax(logits.double() / 2, -1)
    assert both["space_group"][0]["score"] == pytest.approx(expected.max().item(), rel=1e-3)
    plain, with_formula = pipe(a), pipe({"intensity": a, "composition": "SrTiO3"})
    assert plain["space_group"] != with_formula["space_group"]
    with pytest.raises(ValueError, match="no element 'Xx'"):
        pipe({"intensity": a, "composition": "XxO"})


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"two_theta": AXIS}, 'needs "intensity"'),
        ({"intensity": [1.0], "angle": 3}, "unknown key angle"),
        ("nowhere.xy", "no such file"),
        ({"patterns": []}, "empty"),
        (np.full(3501, -1.0), "negative"),
    ],
)
def test_unusable_inputs_say_why(pipe, item, message):
    with pytest.raises(ValueError, match=message):
        pipe(item)


def test_bad_input_of_a_batch_is_named(pipe, row):
    with pytest.raises(ValueError, match=r"input 1: intensity has 3500 points"):
        pipe([row, row[:-1]])
    with pytest.raises(ValueError, match="unknown argument topk"):
        pipe(row, topk=3)


def test_published_networks_answer_with_their_own_probabilities(patterns):
    model = create_model("cnn4", variant="as_published").eval()
    result = simxrd_hf.pipeline(model)(patterns[0].numpy(), top_k=None)
    own = model(patterns[:1]).logits[0].detach()
    assert result["space_group"][0]["score"] == pytest.approx(own.max().item(), rel=1e-4)


def test_other_labels():
    result = answer(np.array([0.2, 0.8]), ["amorphous", "crystalline"])
    assert result == {"classes": [{"label": "crystalline", "score": 0.8}, {"label": "amorphous", "score": 0.2}]}


def test_missing_and_damaged_checkpoints(tmp_path, dummy_former):
    with pytest.raises(BadInput, match="no such checkpoint folder"):
        simxrd_hf.pipeline(tmp_path / "nowhere")
    import shutil

    cut = shutil.copytree(dummy_former, tmp_path / "cut")
    whole = (cut / "model.safetensors").read_bytes()
    for kept in (len(whole) // 2, 100, 4):
        (cut / "model.safetensors").write_bytes(whole[:kept])
        with pytest.raises(BadInput, match="it is cut off"):
            simxrd_hf.pipeline(cut)
    config = json.loads((cut / "config.json").read_text())
    (cut / "config.json").write_text(json.dumps({**config, "config_version": 9}))
    (cut / "model.safetensors").write_bytes(whole)
    with pytest.raises(BadInput, match="config_version is 9, this code reads version 1"):
        simxrd_hf.pipeline(cut)
    (cut / "model.safetensors").unlink()
    with pytest.raises(BadInput, match=r"holds no model\.safetensors"):
        simxrd_hf.pipeline(cut)
    (cut / "config.json").write_text("{")
    with pytest.raises(BadInput, match="not readable as JSON"):
        simxrd_hf.pipeline(cut)


WITHOUT_PACKAGE = """
import json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "simxrd_hf":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
try:
    import simxrd_hf
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("simxrd_hf can be imported")
import numpy as np
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForSequenceClassification, pipeline

answers = []
for folder in sys.argv[2:]:
    row = np.load(sys.argv[1])
    pipe = pipeline("xrd-classification", model=folder, trust_remote_code=True)
    answers.append(pipe(row)["crystal_system"])
    assert pipeline(model=folder, trust_remote_code=True)(row)["crystal_system"] == answers[-1]
    extractor = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=True)
    model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
    base = AutoModel.from_pretrained(folder, trust_remote_code=True)
    inputs = extractor(row, return_tensors="pt")
    assert base(**inputs).pooler_output.shape[0] == model(**inputs).logits.shape[0] == 1
assert "simxrd_hf" not in sys.modules
print(json.dumps(answers))
"""


@pytest.mark.slow
def test_exported_folders_work_where_the_package_is_not_installed(tmp_path, row):
    torch.manual_seed(0)
    models = [create_model("simxrd_former", **SMALL_FORMER), create_model("cnn5", "crystal_system")]
    folders = [export_model(m, None, tmp_path / f"model{i}") for i, m in enumerate(models)]
    np.save(tmp_path / "row.npy", row)
    env = {**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    env.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PACKAGE, str(tmp_path / "row.npy"), *map(str, folders)],
        capture_output=True, text=True, cwd=tmp_path, env=env, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.strip().splitlines()[-1])
    for folder, got in zip(folders, answers, strict=True):
        expected = simxrd_hf.pipeline(folder)(row)["crystal_system"]
        assert [entry["label"] for entry in got] == [entry["label"] for entry in expected]
        np.testing.assert_allclose([e["score"] for e in got], [e["score"] for e in expected], rtol=1e-4)


def test_formulas():
    assert parse_formula("Ca5(PO4)3F") == {"Ca": 5, "P": 3, "O": 12, "F": 1}
    assert parse_formula("Na0.5Cl[OH]2") == {"Na": 0.5, "Cl": 1, "O": 2, "H": 2}
    vector = composition_vector("NaCl")
    assert vector[10] == vector[16] == 0.5
    assert composition_vector({"Fe": 2, "O": 3})[25] == pytest.approx(0.4)
    from pymatgen.core import Composition

    for formula in ("Ca5(PO4)3F", "K2Mg2(SO4)3", "La0.7Sr0.3MnO3", "H2O"):
        expected = Composition(formula).fractional_composition
        vector = composition_vector(formula)
        assert {e.Z: pytest.approx(f, rel=1e-5) for e, f in expected.items()} == {
            int(z) + 1: float(vector[z]) for z in np.flatnonzero(vector)
        }
    for bad in ("", "naCl", "Na)2", "(Na", "2Na", "Na-Cl", "Qq"):
        with pytest.raises(ValueError, match=r"formula|composition"):
            composition_vector(bad)


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("# 2theta I\n10.0 1\n10.1 2\n10.2 3\n", "two_theta"),
        ("two_theta,intensity\n10,1\n10.1,2\n10.2,3\n", "two_theta"),
        ("d;I\n10.0;1;0.1\n10.1;2;0.1\n10.2;3;0.1\n", "d"),
        ("! comment\n! q\tI\n\n10.0\t1\n10.1\t2\n# between\n10.2\t3\n", "q"),
    ],
)
def test_text_files_of_the_travelling_reader(tmp_path, text, axis):
    (tmp_path / "a.txt").write_text(text)
    got = read_pattern(tmp_path / "a.txt")
    np.testing.assert_array_equal(got[axis], [10.0, 10.1, 10.2])
    np.testing.assert_array_equal(got["intensity"], [1, 2, 3])


@pytest.mark.parametrize(
    ("text", "message"), [("", "no columns"), ("1 2\n3 4\nx y\n", "line 3"), ("1 2\n3\n", "1 columns")]
)
def test_text_files_that_are_none(tmp_path, text, message):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_pattern(tmp_path / "a.txt")


@pytest.mark.parametrize(
    "head",
    [
        "# wavelength 0.7093 A",
        "! Wavelength: 1.5406",
        "# lambda = 0.07107 nm",
        "# K-Alpha1 [Å] = 1.5406, K-Alpha2 [Å] = 1.54443",
        "; wavelength1 = 1.78896\n; wavelength2 = 1.79285",
        "# Anode: Mo",
        "Cu Ka1 radiation",
        "# Cu Kα",
        "# target Co",
        "# WL1 1.93604",
        "# measured on a Tuesday",
        "# wavelength: unknown",
        "# sample 1.5406 of quartz",
    ],
)
def test_the_travelling_reader_reads_wavelengths_as_the_package_does(head, tmp_path):
    """What a header says of the radiation, by the reader of instrument files, which has tests of its own."""
    from simxrd_hf.patterns import read_pattern as read_with_package

    path = tmp_path / "scan.xy"
    path.write_text(head + "\n" + "\n".join(f"{10 + 0.02 * i:.2f} {100 + i % 7}" for i in range(200)))
    own, package = read_pattern(path)["wavelength"], read_with_package(path).wavelength
    assert own == (None if package is None else pytest.approx(package, abs=1e-9))


def test_a_row_of_a_dataset_is_an_input(pipe, row):
    columns = {"space_group": 224, "crystal_id": "mp-1", "formula": "NaCl", "condition": 3, "zero_shift_deg": 0.01}
    assert pipe({"intensity": row, **columns})["space_group"] == pipe(row)["space_group"]
    assert pipe({"intensity": row, "row_id": "a"})["space_group"] == pipe(row)["space_group"]
    with pytest.raises(ValueError, match="unknown key formula"):  # a measurement with a misnamed composition
        pipe({"intensity": row, "two_theta": 10 + 0.02 * np.arange(3501), "formula": "NaCl"})


@pytest.mark.parametrize("top_k", [0, -1, 2.5, "3"])
def test_numbers_of_answers_that_are_none(pipe, row, top_k):
    with pytest.raises(ValueError, match="top_k must be a number of answers from 1 on"):
        pipe(row, top_k=top_k)


def test_an_angle_without_a_wavelength_is_asked_about(pipe, row):
    axis = 10 + 0.02 * np.arange(3501)
    with pytest.raises(ValueError, match="a 2θ axis needs its wavelength: pass wavelength="):
        pipe({"two_theta": axis, "intensity": row})
    with pytest.raises(ValueError, match="a 2θ axis needs its wavelength"):
        pipe.feature_extractor(row, two_theta=axis)
    assert pipe({"two_theta": axis, "intensity": row}, wavelength=1.54184)["input"]["wavelength"] == 1.54184
