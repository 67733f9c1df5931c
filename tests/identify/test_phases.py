"""Answers for mixtures: plain data, flags, text, figure, against patterns of one crystal and of two."""

import json
from dataclasses import replace

import numpy as np
import pytest
from matching.test_mixtures import NAMES, by_weight, measured

from simxrd_hf.crystals import crystal, prototypes
from simxrd_hf.diffraction import Crystal
from simxrd_hf.errors import BadInput
from simxrd_hf.evidence import Findings, examine
from simxrd_hf.identify.correction import Correction
from simxrd_hf.identify.libraries import has_packaged, open_library
from simxrd_hf.identify.phases import conventional_cell, mixture_flag, phases_answer, phases_text, plot_phases
from simxrd_hf.matching import MixtureSearch, build_library
from simxrd_hf.models.resampling_simxrd import DEFAULT_GRID


@pytest.fixture(scope="module")
def library():
    return build_library(prototypes().table)[0]


@pytest.fixture(scope="module")
def crystals() -> dict[str, Crystal]:
    table = prototypes().table
    rows = {name: row for row, name in enumerate(table["crystal_id"].to_pylist())}
    return {key: crystal(table, rows[name]) for key, name in NAMES.items()}


@pytest.fixture(scope="module")
def two(crystals, library):
    pattern = by_weight(crystals["rutile"], 0.6) + by_weight(crystals["quartz"], 0.4)
    pattern = measured(pattern, np.random.default_rng(5))
    return pattern, MixtureSearch(pattern, library, DEFAULT_GRID).mixture()


NO_CELLS = Findings(np.zeros(101), 0)


def test_answer_of_two(two, crystals):
    answer = phases_answer(two[1])
    json.dumps(answer)
    assert set(answer) == {"phases", "unexplained"} and answer["unexplained"] < 0.1
    first, second = answer["phases"]
    assert (first["formula"], first["space_group"]) == ("TiO2", 136)
    assert first["weight_fraction"] + second["weight_fraction"] == pytest.approx(1, abs=1e-3)
    lengths = np.sort(np.linalg.norm(crystals["rutile"].lattice, axis=1))
    assert np.allclose(sorted(first["cell"][:3]), lengths, rtol=5e-4) and first["cell"][3:] == [90, 90, 90]
    text = "\n".join(phases_text(answer))
    assert "TiO2 P4_2/mnm" in text and "unexplained" in text


def test_flags(two, crystals, library):
    """Two phases are flagged, one is not, and one that neither library nor cells explain is."""
    flag = mixture_flag(NO_CELLS, two[1])
    assert flag is not None and flag.code == "several_phases" and "TiO2" in flag.message and "SiO2" in flag.message
    for one in crystals.values():
        alone = measured(by_weight(one, 1.0), np.random.default_rng(6))
        assert mixture_flag(NO_CELLS, MixtureSearch(alone, library, DEFAULT_GRID).mixture()) is None
    rng = np.random.default_rng(7)
    axis = np.linspace(10, 80, 3501)
    at_random = sum(rng.uniform(5, 100) * np.exp(-0.5 * ((axis - x) / 0.06) ** 2) for x in rng.uniform(12, 78, 45))
    found = MixtureSearch(measured(at_random, rng), library, DEFAULT_GRID).mixture()
    nothing = mixture_flag(Findings(np.full(101, 3.0), 30), found)
    assert nothing is not None and nothing.code in ("not_explained", "several_phases")
    assert mixture_flag(Findings(np.full(101, 3.0), 30), None).code == "not_one_cell"
    assert mixture_flag(Findings(np.full(101, 60.0), 30), None) is None


def test_not_explained_needs_both_to_fail(two):
    """Either a cell or the library that explains the lines is enough, and of few lines no cell says anything."""
    poor = replace(two[1], unexplained=0.5, scores=[0.0, -10.0, -5.0])
    no_cell, some_cell = np.full(101, 15.0), np.full(101, 21.0)
    assert mixture_flag(Findings(no_cell, 30), poor).code == "not_explained"
    assert mixture_flag(Findings(some_cell, 30), poor) is None
    assert mixture_flag(Findings(no_cell, 30), replace(poor, unexplained=0.3)) is None
    assert mixture_flag(Findings(np.full(101, 3.5), 7), poor) is None


def test_very_few_lines_are_flagged(two):
    """One set of planes, as a textured film shows: whatever a cell or a crystal says of it."""
    axis = np.linspace(10, 80, 3501)
    orders = [2 * np.degrees(np.arcsin(1.54184 * n / (2 * 6.3))) for n in (1, 2, 3)]
    film = sum(h * np.exp(-0.5 * ((axis - x) / 0.06) ** 2) for h, x in zip((100, 40, 8), orders, strict=True))
    found = examine(measured(film, np.random.default_rng(3)), None, DEFAULT_GRID)
    assert found.clear == 3
    flag = mixture_flag(found, None)
    assert flag is not None and flag.code == "few_lines" and "only 3 lines" in flag.message
    assert mixture_flag(found, two[1]).code == "few_lines"
    powder = examine(two[0], None, DEFAULT_GRID)
    assert powder.clear > 8 and mixture_flag(powder, two[1]).code == "several_phases"


def test_correction_says_it(two, library, tmp_path):
    prepared = {"intensity": two[0][None], "mask": np.ones((1, 3501), bool)}
    _, more = Correction(tmp_path, library=library)(np.zeros((1, 230)), prepared, DEFAULT_GRID, 1.0)
    assert [one["formula"] for one in more["phases"]] == ["TiO2", "SiO2"] and more["flags"][0][
        "code"
    ] == "several_phases"
    _, more = Correction(tmp_path, library=library, phases=0)(np.zeros((1, 230)), prepared, DEFAULT_GRID, 1.0)
    assert "phases" not in more and "flags" not in more
    only = Correction(tmp_path, library=library, elements="Ti,O", phases=1)
    _, more = only(np.zeros((1, 230)), prepared, DEFAULT_GRID, 1.0)
    assert len(more["phases"]) == 1 and {one["formula"] for one in more["matches"]} <= {
        "TiO2",
        "Ti",
        "O",
        "TiO",
        "Ti3O5",
    }
    of_call = Correction(tmp_path, library=library)
    _, again = of_call(np.zeros((1, 230)), prepared, DEFAULT_GRID, 1.0, elements="Ti,O,!Si", phases=1)
    assert again == more and of_call.elements is None
    with pytest.raises(BadInput, match="1 to 4"):
        of_call(np.zeros((1, 230)), prepared, DEFAULT_GRID, 1.0, phases=5)
    with pytest.raises(BadInput, match="1 to 4"):
        Correction(tmp_path, library=library, phases=5)
    with pytest.raises(BadInput, match="none of the"):
        Correction(tmp_path, library=library, elements="Xe")


def test_figure(two, tmp_path):
    plot_phases(two[1], tmp_path / "phases.png", title="scan")
    assert (tmp_path / "phases.png").stat().st_size > 20_000


def test_conventional_cell():
    """Of face-centred, body-centred and rhombohedral primitive cells."""
    face = np.array([[0, 2, 2], [2, 0, 2], [2, 2, 0]], float)
    assert conventional_cell(face) == pytest.approx((4, 4, 4, 90, 90, 90))
    body = np.array([[-2, 2, 3], [2, -2, 3], [2, 2, -3]], float)
    assert conventional_cell(body) == pytest.approx((4, 4, 6, 90, 90, 90))


def test_libraries_by_name(library, tmp_path):
    assert open_library(None) is None and open_library("none") is None and open_library(library) is library
    path = library.save(tmp_path / "lines.parquet")
    assert len(open_library(path)) == len(open_library(str(path))) == len(library)
    with pytest.raises(BadInput, match="hf://datasets/OWNER/NAME"):
        open_library("hf://datasets/alone")
    if has_packaged():
        assert len(open_library("packaged")) > 10_000
