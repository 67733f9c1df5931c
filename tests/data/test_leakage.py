import numpy as np
import pytest
from data.small_crystals import crystal_rows

from simxrd_hf import Crystal
from simxrd_hf.crystals.table import table_from_rows
from simxrd_hf.data import leakage_report
from simxrd_hf.data.leakage import fingerprint
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


def test_samples_are_bounded_and_stated():
    table = _table(*crystal_rows(40))
    split = np.array([TRAIN, TEST] * 20)
    report = leakage_report(table, split, n_test=5, n_train=7)
    assert report["patterns_tested"] == 5 and report["patterns_compared_with"] == 7


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
