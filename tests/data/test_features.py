import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simxrd_hf import BadInput, get_preset
from simxrd_hf.data import make_features
from simxrd_hf.data.features import (
    LABELS,
    intensity_array,
    label_index,
    label_names,
    row_schema,
    storage_schema,
    unit_of,
)
from simxrd_hf.data.rounding import BOOK, pack, round_rows, rounded
from simxrd_hf.diffraction import PatternGrid


def test_columns_and_types():
    features = make_features(get_preset("simxrd-4m"))
    assert list(features)[:6] == ["intensity", "space_group", "crystal_system", "crystal_id", "formula", "condition"]
    assert tuple(features)[6:] == get_preset("simxrd-4m").parameter_names
    assert features["intensity"].length == 3501 and features["intensity"].feature.dtype == "float32"
    assert features["space_group"].num_classes == 230 and features["crystal_system"].names[-1] == "cubic"
    assert features.arrow_schema.field("intensity").type == pa.list_(pa.field("item", pa.float32()), 3501)


def test_another_grid_and_other_labels():
    features = make_features(get_preset("lab"), PatternGrid(5, 90, 0.01), "float16", labels=LABELS)
    assert features["intensity"].length == 8501 and features["intensity"].feature.dtype == "float16"
    assert {"bravais_lattice", "laue_class", "extinction_symbol"} <= set(features)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("labels", [LABELS[:2], LABELS])
@pytest.mark.parametrize("preset", ["simxrd-4m", "lab"])
def test_the_schema_workers_use_is_that_of_the_datasets_library(preset, labels, dtype):
    preset, grid = get_preset(preset), PatternGrid(5, 90, 0.01)
    theirs = storage_schema(make_features(preset, grid, dtype, labels=labels))
    assert row_schema(preset, grid, dtype, labels).equals(theirs, check_metadata=True)


def test_labels_follow_from_the_space_group():
    from pymatgen.symmetry.groups import SpaceGroup

    for number in (1, 2, 15, 62, 87, 148, 167, 194, 205, 227, 230):
        system = label_names("crystal_system")[int(label_index("crystal_system", np.array([number]))[0])]
        assert system == SpaceGroup.from_int_number(number, hexagonal=False).crystal_system
    assert label_index("space_group", np.array([1, 230])).tolist() == [0, 229]


@pytest.mark.parametrize(("arguments", "message"), [({"dtype": "int8"}, "int8"), ({"labels": ()}, "at least one")])
def test_refusals(arguments, message):
    with pytest.raises(BadInput, match=message):
        make_features(get_preset("simxrd-4m"), **arguments)
    with pytest.raises(BadInput, match="colour"):
        label_names("colour")


def test_intensities_are_not_copied():
    values = np.random.default_rng(0).random((5, 7)).astype(np.float16)
    column = intensity_array(values)
    assert column.flatten().buffers()[1].address == values.ctypes.data
    assert np.array_equal(np.array(column.to_pylist(), dtype=np.float16), values)


def test_units():
    assert [unit_of(c) for c in ("grain_size_nm", "zero_shift_deg", "b_overall_angstrom2")] == [
        "nm",
        "degree (2θ)",
        "Å²",
    ]
    assert unit_of("march_r") == "1" and unit_of("crystal_id") == "-"


@settings(max_examples=300, deadline=None)
@given(st.floats(0, 200, width=32))
def test_stored_values_are_the_nearest_steps(value):
    [step] = [1 / n for low, n in ((64, 16), (32, 32), (1, 64), (0.5, 128), (0.25, 256), (0, 512)) if value >= low][:1]
    stored = float(rounded(np.array([value], np.float32))[0])
    assert (stored / step).is_integer() and abs(stored - value) <= step / 2
    assert float(rounded(np.array([stored], np.float32))[0]) == stored


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 115, width=32), max_size=30))
def test_codes_lead_back_to_the_stored_values(values):
    stored = rounded(np.array(values, np.float32))
    packed = np.full(-(-len(values) // 8) * 12, 255, np.uint8)
    assert pack(stored, packed)
    bits = np.unpackbits(packed, bitorder="little").reshape(-1, 12)
    assert np.array_equal(BOOK[bits @ (1 << np.arange(12))][: len(values)], stored)
    assert not bits[len(values) :].any()


@pytest.mark.parametrize("place", [0, 4095, 4096, 8190])  # ends of stretches, and the incomplete last eight
@pytest.mark.parametrize("odd", [-0.0, -1.0, 0.001, 31.99, 33 + 1 / 64, 116.0, 3e38, np.inf, np.nan])
def test_values_without_a_code_are_told(odd, place):
    values = rounded(np.random.default_rng(0).uniform(0, 100, 8191).astype(np.float32))
    packed = np.empty(-(-len(values) // 8) * 12, np.uint8)
    assert pack(values, packed)
    values[place] = odd
    assert not pack(values, packed)


def test_rounding_any_shape_keeps_order_zero_and_the_highest_point():
    values = np.sort(np.random.default_rng(0).uniform(0, 100, 10_000).astype(np.float32)) ** 2 / 100
    values[0], values[-1] = 0.0, 100.0
    stored = rounded(values.reshape(100, 100))
    assert stored.shape == (100, 100) and stored.dtype == np.float32
    assert (np.diff(stored.ravel()) >= 0).all() and stored[0, 0] == 0.0 and stored[-1, -1] == 100.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -1e-3])
def test_rows_that_are_no_pattern_are_told(bad):
    values = np.random.default_rng(0).uniform(0, 100, (3, 50)).astype(np.float32)
    values[1, 7] = -0.0
    out = np.zeros((4, 50), np.float32)
    assert round_rows(values, np.array([3, 0, 1]), out)
    assert np.array_equal(out[[3, 0, 1]], rounded(values)) and not out[2].any()
    values[2, 49] = bad
    assert not round_rows(values, np.array([3, 0, 1]), out)
