"""The predictor that does without transformers gives the pipeline's answers."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from data.small_crystals import crystal_table
from evidence.evidence_parts import CONFORMAL, random_combination
from model_helpers import COARSE, SMALL_FORMER

import simxrd_hf
from simxrd_hf.crystals import crystal
from simxrd_hf.diffraction import Simulator
from simxrd_hf.errors import BadInput
from simxrd_hf.evidence import LibraryEvidence, PatternEvidence
from simxrd_hf.identify import Predictor
from simxrd_hf.matching import build_library
from simxrd_hf.models import create_model, export_model


@pytest.mark.parametrize(
    ("name", "task", "variant", "overrides"),
    [
        ("simxrd_former", "space_group", "corrected", SMALL_FORMER),
        ("simxrd_former", "crystal_system", "corrected", {**SMALL_FORMER, "rope_axis": "index", "temperature": 3.0}),
        ("cnn5", "space_group", "corrected", {"intensity_scaling": "sqrt"}),
        ("cnn4", "crystal_system", "as_published", {}),
        ("transformer", "crystal_system", "corrected", {"grid": COARSE}),
        ("birnn", "crystal_system", "as_published", {"grid": COARSE}),
    ],
)
def test_same_answers_as_the_pipeline(name, task, variant, overrides, tmp_path):
    torch.manual_seed(0)
    model = create_model(name, task, variant=variant, **overrides).eval()
    if name != "simxrd_former":
        model.save_pretrained(tmp_path / "m")  # without feature extractor: the model's grid is used
    else:
        export_model(model, None, tmp_path / "m")
    axis = np.arange(12, 70, 0.03)
    item = {"two_theta": axis, "intensity": 1 + 50 * np.sin(axis) ** 20, "wavelength": 1.5}
    light, full = Predictor(tmp_path / "m")([item])[0], simxrd_hf.pipeline(tmp_path / "m")(item)
    assert light.keys() == full.keys()
    assert light["input"] == full["input"]
    for kind in light.keys() - {"input"}:
        assert [e["label"] for e in light[kind]] == [e["label"] for e in full[kind]]
        np.testing.assert_allclose([e["score"] for e in light[kind]], [e["score"] for e in full[kind]], rtol=1e-4)


def test_a_cell_search_corrects_both_alike_and_can_be_left_out(tmp_path):
    torch.manual_seed(0)
    export_model(create_model("simxrd_former", "space_group", **SMALL_FORMER).eval(), None, tmp_path / "m")
    axis = np.arange(10, 80, 0.02)
    lines = (27.4, 31.7, 45.5, 53.9, 56.5, 66.3, 75.4)  # rock salt
    item = {"two_theta": axis, "intensity": sum(100 * np.exp(-(((axis - x) / 0.07) ** 2)) for x in lines)}
    item["wavelength"] = 1.54184
    alone = Predictor(tmp_path / "m")([item])[0]
    PatternEvidence(random_combination(conformal=CONFORMAL)).save(tmp_path / "m")
    light, full = Predictor(tmp_path / "m")([item])[0], simxrd_hf.pipeline(tmp_path / "m")(item)
    for kind in ("space_group", "crystal_system"):
        assert [e["label"] for e in light[kind]] == [e["label"] for e in full[kind]]
        np.testing.assert_allclose([e["score"] for e in light[kind]], [e["score"] for e in full[kind]], rtol=1e-3)
    assert light["prediction_set"] == full["prediction_set"] and light["prediction_set"]["coverage"] == 0.9
    assert light["crystal_system"] != alone["crystal_system"]
    assert Predictor(tmp_path / "m", indexing=False)([item])[0] == alone
    left = simxrd_hf.pipeline(tmp_path / "m", indexing=False)(item)
    assert [e["label"] for e in left["space_group"]] == [e["label"] for e in alone["space_group"]]


@pytest.fixture(scope="module")
def with_library(tmp_path_factory):
    """A checkpoint with evidence, a library as large as that wants, and a smaller one."""
    folder = tmp_path_factory.mktemp("evidence") / "m"
    torch.manual_seed(0)
    export_model(create_model("simxrd_former", "space_group", **SMALL_FORMER).eval(), None, folder)
    prior = np.random.default_rng(3).normal(0, 1, 230)
    cells = random_combination(0, conformal=CONFORMAL)
    PatternEvidence(cells, (LibraryEvidence(21, random_combination(1, conformal=CONFORMAL), prior),), prior).save(
        folder
    )
    return folder, build_library(crystal_table(21))[0], build_library(crystal_table(20))[0]


def scores(answer, kind="space_group"):
    return {entry["label"]: entry["score"] for entry in answer[kind]}


def test_a_library_corrects_and_lists_in_both_alike(with_library, tmp_path):
    folder, library, _ = with_library
    made = Simulator("lab").simulate(crystal(crystal_table(21), 5), range(3)).intensity
    items = [made[0], {"patterns": [made[1], made[2]]}, np.full(3501, 7.0)]
    path = library.save(tmp_path / "lines.parquet")
    light = Predictor(folder, library=path)(items, top_k=None)
    full = simxrd_hf.pipeline(folder, library=path)(items, top_k=None)
    for one, other in zip(light, full, strict=True):
        assert one.keys() == other.keys() and "matches" in one
        for kind in ("space_group", "extinction_symbol", "crystal_system"):
            first, second = scores(one, kind), scores(other, kind)
            assert first.keys() == second.keys()
            np.testing.assert_allclose([second[name] for name in first], list(first.values()), rtol=1e-3, atol=1e-7)
        assert one["matches"] == other["matches"]
        assert one["prediction_set"]["labels"] == other["prediction_set"]["labels"]
    name = crystal_table(21)["crystal_id"][5].as_py()
    assert light[0]["matches"][0]["crystal_id"] == light[1]["matches"][0]["crystal_id"] == name
    listed = [match["crystal_id"] for match in light[1]["matches"]]
    assert len(set(listed)) == len(listed) <= 10 and light[2]["matches"] == []
    json.dumps(light)  # plain data


def test_elements_and_phases_of_one_call(with_library):
    """Present, absent and possible elements, for the pipeline and the predictor alike."""
    folder, library, _ = with_library
    item = Simulator("lab").simulate(crystal(crystal_table(21), 5), [0]).intensity[0]
    pipe, light = simxrd_hf.pipeline(folder, library=library), Predictor(folder, library=library)
    free = pipe(item)
    there = library.elements[list(library.crystal_id).index(free["matches"][0]["crystal_id"])]
    given = ",".join(sorted(there)) + ",Xe?"
    limited = pipe(item, elements=given, phases=1)
    inside = {row for row, one in enumerate(library.elements) if one <= there | {"Xe"}}
    ids = {library.crystal_id[row] for row in inside}
    assert {match["crystal_id"] for match in limited["matches"]} <= ids and len(ids) < len(library)
    assert len(limited["phases"]) == 1 and limited["phases"][0]["crystal_id"] in ids
    assert limited == pipe(item, elements=given, phases=1) and pipe(item) == free  # nothing is left of a call
    opened = simxrd_hf.pipeline(folder, library=library, elements=given, phases=1)
    assert opened(item) == limited
    without = pipe(item, elements=f"!{min(there)}")["matches"]
    rows = [list(library.crystal_id).index(match["crystal_id"]) for match in without]
    assert rows and all(min(there) not in library.elements[row] for row in rows)
    assert light([item], elements=given, phases=1)[0]["matches"] == limited["matches"]
    with pytest.raises(ValueError, match="Qq"):
        pipe(item, elements="Qq")
    with pytest.raises(ValueError, match="open the pipeline with a library"):
        simxrd_hf.pipeline(folder)(item, elements="Ti")
    with pytest.raises(ValueError, match="opens with a library"):
        simxrd_hf.pipeline(folder, indexing=False)(item, phases=1)


def test_what_of_the_evidence_is_used_hangs_on_library_and_arguments(with_library):
    folder, library, small = with_library
    item = Simulator("lab").simulate(crystal(crystal_table(21), 5), [0]).intensity[0]

    def ask(**arguments):
        return Predictor(folder, **arguments)([item], top_k=None)[0]

    network, cells, both = ask(indexing=False), ask(), ask(library=library)
    assert scores(network) != scores(cells) != scores(both) != scores(network)
    listed = ask(library=small)
    assert scores(listed) == scores(cells) and listed["matches"] and "matches" not in cells
    listed = ask(library=library, indexing=False)
    assert scores(listed) == scores(network) and listed["matches"] == both["matches"]
    prior = PatternEvidence.load(folder).prior
    without = ask(library=library, prior=False)
    names = [Predictor(folder).settings.id2label[group] for group in range(230)]
    shifted = np.array([scores(without)[name] for name in names]) * np.exp(prior)
    expected = dict(zip(names, shifted / shifted.sum(), strict=True))
    np.testing.assert_allclose([scores(both)[name] for name in expected], list(expected.values()), rtol=1e-4)


def test_libraries_that_cannot_be_used(with_library, tmp_path):
    folder, library, _ = with_library
    for opens in (Predictor, simxrd_hf.pipeline):
        with pytest.raises(BadInput, match=r"none\.parquet: no such file; make a library"):
            opens(folder, library=tmp_path / "none.parquet")
    with pytest.raises(BadInput, match="library: goes with a checkpoint folder"):
        simxrd_hf.pipeline(create_model("simxrd_former", **SMALL_FORMER), library=library)
    (tmp_path / "m").mkdir()
    shutil.copytree(folder, tmp_path / "m", dirs_exist_ok=True)
    (tmp_path / "m" / "evidence.json").write_text("{")
    for opens in (Predictor, simxrd_hf.pipeline):
        with pytest.raises(BadInput, match=r"evidence\.json: damaged"):
            opens(tmp_path / "m")
    assert Predictor(tmp_path / "m", indexing=False)([np.ones(3501)])


def test_a_library_serves_models_of_other_classes(tmp_path, with_library):
    """It is listed beside crystal systems too; their scores are the network's."""
    torch.manual_seed(0)
    export_model(create_model("simxrd_former", "crystal_system", **SMALL_FORMER).eval(), None, tmp_path / "m")
    item = Simulator("lab").simulate(crystal(crystal_table(21), 5), [0]).intensity[0]
    listed = Predictor(tmp_path / "m", library=with_library[1])([item])[0]
    assert listed.pop("matches")[0]["crystal_id"] == crystal_table(21)["crystal_id"][5].as_py()
    phases = {name: listed.pop(name) for name in ("phases", "unexplained")}
    assert phases["phases"][0]["crystal_id"] == crystal_table(21)["crystal_id"][5].as_py()
    assert 0 <= phases["unexplained"] <= 1
    assert listed == Predictor(tmp_path / "m")([item])[0]


def test_composition_and_conformal(dummy_former, patterns):
    item = {"intensity": patterns[0].numpy(), "composition": "NaCl"}
    light, full = Predictor(dummy_former)([item], top_k=3)[0], simxrd_hf.pipeline(dummy_former)(item, top_k=3)
    assert light["prediction_set"] == full["prediction_set"]
    assert light["space_group"][0]["score"] == pytest.approx(full["space_group"][0]["score"], rel=1e-5)


def test_does_not_import_transformers(dummy_former, tmp_path):
    code = (
        "import sys, numpy\n"
        "from simxrd_hf.identify.predictor import Predictor\n"
        f"Predictor({str(dummy_former)!r})([numpy.ones(3501)])\n"
        "assert 'transformers' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_unusable_checkpoints_say_why(dummy_former, tmp_path):
    def changed(**entries):
        folder = tmp_path / "m"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(dummy_former, folder)
        config = {**json.loads((folder / "config.json").read_text()), **entries}
        (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not ...}))
        return folder

    for entries, message in (
        ({"config_version": 3}, "config_version is 3, this code reads version 1"),
        ({"model_type": "bert"}, "model_type is 'bert'; this command reads simxrd_baseline and simxrd_former"),
        ({"hidden_size": 32}, "config.json and weights do not make a model"),
        ({"widths": ...}, "config.json and weights do not make a model: 'widths'"),
    ):
        with pytest.raises(BadInput, match=message):
            Predictor(changed(**entries))
    folder = changed()
    raw = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(raw[:-1000])
    with pytest.raises(BadInput, match=f"{len(raw)} bytes expected by its header, it has {len(raw) - 1000}"):
        Predictor(folder)
    (folder / "preprocessor_config.json").write_text("[]")
    (folder / "model.safetensors").write_bytes(raw)
    with pytest.raises(BadInput, match="expected a JSON object, got list"):
        Predictor(folder)
    with pytest.raises(BadInput, match="no such checkpoint folder"):
        Predictor(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="neither a folder nor a model repository"):
        Predictor("someone/nothing")
