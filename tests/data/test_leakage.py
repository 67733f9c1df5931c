import numpy as np
import pyarrow as pa
import pytest
from data.small_crystals import crystal_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from simxrd_hf import Crystal
from simxrd_hf.crystals.table import table_from_rows
from simxrd_hf.data import leakage, leakage_report
from simxrd_hf.data.leakage import fingerprint, fingerprints
from simxrd_hf.diffraction import PatternGrid

TRAIN, TEST = 0, 2


def _table(*rows):
    return table_from_rows([{**row, "crystal_id": f"c{i}"} for i, row in enumerate(rows)])


def test_counts_by_hand():
    a, b, c, d = crystal_rows(4)  # four structure types, four formulas
    same_formula = {**b, "reduced_formula": a["reduced_formula"]}
    isostructural = {**a, "reduced_formula": "Other", "lattice": [1.3 * x for x in a["lattice"]]}
    twin = {**a, "reduced_formula": "Twin"}  # the very same pattern under another name
    table = _table(a, same_formula, isostructural, twin, c, d)
    split = np.array([TRAIN, TEST, TEST, TEST, TEST, TRAIN])
    report = leakage_report(table, split)
    assert (report["train_crystals"], report["test_crystals"]) == (2, 4)
    assert report["same_formula"] == 1 / 4 and report["same_prototype"] == 2 / 4
    assert report["patterns_tested"] == 4 and report["near_duplicate"] == 1 / 4


def test_every_crystal_is_compared_and_several_processes_find_the_same():
    table = _table(*crystal_rows(40))
    split = np.array([TRAIN, TEST] * 20)
    report = leakage_report(table, split)
    assert report["patterns_tested"] == 20 and report["patterns_compared_with"] == 20
    made = fingerprints(table)
    assert report == leakage_report(table, split, patterns=made)
    many = fingerprints(pa.concat_tables([table] * 101), num_proc=2)  # more crystals than a few tasks
    np.testing.assert_array_equal(many, np.tile(made, (101, 1)))


def test_a_crystal_without_lines_is_left_out():
    row = crystal_rows(2)
    tiny = {**row[0], "lattice": [0.03 * x for x in row[0]["lattice"]]}  # all its spacings are below half a wavelength
    report = leakage_report(_table(tiny, *row, row[0]), np.array([TRAIN, TRAIN, TEST, TEST]))
    assert (report["patterns_tested"], report["patterns_compared_with"]) == (2, 1)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=5, deadline=None)
def test_the_index_finds_the_twins_that_comparing_all_finds(seed):
    pytest.importorskip("usearch")
    random = np.random.default_rng(seed)
    # Sparse and positive like patterns; a fifth of the tested are near twins of one compared with.
    compared = np.where(random.random((1500, 300)) < 0.06, random.random((1500, 300)), 0).astype(np.float32)
    compared[:, 0] += 1e-3
    compared /= np.linalg.norm(compared, axis=1, keepdims=True)
    tested = np.where(random.random((200, 300)) < 0.06, random.random((200, 300)), 0).astype(np.float32)
    tested[:40] = compared[random.integers(0, 1500, 40)] + 0.003 * random.random((40, 300))
    tested[:, 0] += 1e-3
    tested /= np.linalg.norm(tested, axis=1, keepdims=True)
    exact, how = leakage.nearest(tested, compared)
    assert how == "all 1,500 compared"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leakage, "_PAIRS_COMPARED_EXACTLY", 0)
        indexed, how = leakage.nearest(tested, compared)
    assert "usearch" in how
    assert (indexed <= exact + 1e-6).all()
    twins = exact >= leakage.NEAR_DUPLICATE
    assert twins.sum() == 40
    assert (indexed[twins] >= leakage.NEAR_DUPLICATE).mean() >= 0.95


def test_empty_sides():
    table = _table(*crystal_rows(3))
    report = leakage_report(table, np.array([TRAIN] * 3))
    assert report["same_formula"] is None and report["near_duplicate"] is None


def test_fingerprint_is_the_pattern_of_a_known_crystal():
    cesium_chloride = Crystal("x", np.eye(3) * 4.12, [55, 17], [[0, 0, 0], [0.5, 0.5, 0.5]])
    vector = fingerprint(cesium_chloride, PatternGrid())
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    highest = 10 + 0.1 * int(vector.argmax())
    assert highest == pytest.approx(2 * np.degrees(np.arcsin(1.54184 * np.sqrt(2) / 4.12 / 2)), abs=0.06)  # (110)
