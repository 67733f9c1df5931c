import hashlib

import numpy as np
import pyarrow as pa
import pytest
from data.small_crystals import crystal_table
from hypothesis import given, settings
from hypothesis import strategies as st

from simxrd_hf import BadInput
from simxrd_hf.data import splits


def _formulas(formulas: list[str]) -> pa.Table:
    return pa.table({"reduced_formula": formulas})


def test_hash_is_blake2b():
    person = hashlib.blake2b(b"salt", digest_size=16).digest()
    expected = [
        int.from_bytes(hashlib.blake2b(t.encode(), digest_size=8, person=person).digest(), "little") for t in "ab"
    ]
    assert splits.hash64("ab", "salt").tolist() == expected


def test_shares_are_about_70_10_20():
    split = splits.crystal_splits(_formulas([f"X{i}" for i in range(20_000)]))
    assert np.abs(np.bincount(split) / 20_000 - [0.7, 0.1, 0.2]).max() < 0.01


def test_row_order_cuts_as_published():
    # 119,569 crystals gave 83,698 / 11,956 / 23,915 (13 patterns each: 1,088,074 / 155,428 / 310,895).
    split = splits.crystal_splits(_formulas([""] * 119_569), "row_order")
    assert np.bincount(split).tolist() == [83_698, 11_956, 23_915]
    assert (np.diff(split) >= 0).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["NaCl", "MgO", "Fe2O3", "SiO2", "CaTiO3"]), min_size=1, max_size=30), st.randoms())
def test_a_formula_has_one_split_whatever_the_order(formulas, random):
    split = splits.crystal_splits(_formulas(formulas))
    shuffled = list(range(len(formulas)))
    random.shuffle(shuffled)
    again = splits.crystal_splits(_formulas([formulas[i] for i in shuffled]))
    assert again.tolist() == split[shuffled].tolist()
    assert len({(f, s) for f, s in zip(formulas, split.tolist(), strict=True)}) == len(set(formulas))


def test_prototype_split_keeps_isostructural_crystals_together():
    table = crystal_table(42)
    keys = splits.prototype_keys(table)
    assert len(set(keys)) == 7  # the seven kinds, whatever the elements
    split = splits.crystal_splits(table, "prototype")
    assert len(set(zip(keys, split.tolist(), strict=True))) == 7
    named = table.set_column(table.column_names.index("prototype"), "prototype", [[f"p{i}" for i in range(42)]])
    assert splits.prototype_keys(named) == [f"p{i}" for i in range(42)]


def test_conditions():
    assert splits.check_conditions(None) == tuple(range(33))
    assert splits.check_conditions([31, 2, 2]) == (2, 31)
    assert {k: len(v) for k, v in splits.CONDITION_SPLITS.items()} == {"train": 30, "validation": 1, "test": 2}
    for wrong in ([33], [-1], []):
        with pytest.raises(BadInput, match="0 to 32"):
            splits.check_conditions(wrong)
    with pytest.raises(BadInput, match="colour"):
        splits.crystal_splits(_formulas(["A"]), "colour")


def test_tiny_has_two_small_crystals_of_each_system():
    table = crystal_table(42)
    from simxrd_hf.symmetry import CRYSTAL_SYSTEM_OF

    chosen = splits.tiny_crystals(table, np.arange(42))
    systems = CRYSTAL_SYSTEM_OF[table["space_group"].to_numpy()[chosen] - 1]
    assert np.bincount(systems).tolist() == [2] * 7
