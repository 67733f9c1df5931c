import numpy as np
import pyarrow as pa
import pytest

from simxrd_hf import BadInput, get_preset
from simxrd_hf.data import make_features
from simxrd_hf.data.features import LABELS, intensity_array, label_index, label_names, unit_of
from simxrd_hf.diffraction import PatternGrid


def test_columns_and_types():
    features = make_features(get_preset("simxrd-4m"))
    assert list(features)[:6] == ["intensity", "space_group", "crystal_system", "crystal_id", "formula", "condition"]
    assert tuple(features)[6:] == get_preset("simxrd-4m").parameter_names
    assert features["intensity"].length == 3501 and features["intensity"].feature.dtype == "float16"
    assert features["space_group"].num_classes == 230 and features["crystal_system"].names[-1] == "cubic"
    assert features.arrow_schema.field("intensity").type == pa.list_(pa.field("item", pa.float16()), 3501)


def test_another_grid_and_other_labels():
    features = make_features(get_preset("lab"), PatternGrid(5, 90, 0.01), "float32", labels=LABELS)
    assert features["intensity"].length == 8501 and features["intensity"].feature.dtype == "float32"
    assert {"bravais_lattice", "laue_class", "extinction_symbol"} <= set(features)


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
