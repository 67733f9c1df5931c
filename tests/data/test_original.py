"""The authors' files: a published database, files written by independent encoders, and files that are none."""

import importlib.util
import json
import sqlite3
import struct

import ase.db
import numpy as np
import pyarrow.parquet as pq
import pytest
from ase import Atoms
from datasets import load_dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from simxrd_hf import BadInput
from simxrd_hf.data import import_original
from simxrd_hf.data.number_text import parse_numbers
from simxrd_hf.data.original import SYSTEM_OF_CODE
from simxrd_hf.diffraction import PatternGrid
from simxrd_hf.symmetry import CRYSTAL_SYSTEM_OF

GRID = PatternGrid()
CODE_OF_SYSTEM = {system: code for code, system in SYSTEM_OF_CODE.items()}


def _d(offset: float = 0.004) -> list[float]:
    return (GRID.wavelength / 2 / np.sin(np.radians((GRID.two_theta + offset) / 2))).tolist()


def _fields(group: int = 225, **changes) -> dict:
    """Key-value pairs of a row as the authors write them: every value a text."""
    intensity = np.round(np.random.default_rng(group).uniform(0, 100, 3501), 9).tolist()
    fields = {
        "latt_dis": str(_d()),
        "intensity": str(intensity),
        "tager": str([group, CODE_OF_SYSTEM[int(CRYSTAL_SYSTEM_OF[group - 1])], "F"]),
        "chem_form": "ClNa",
        "simulation_param": "[5.5, [0.1, 0.2], 0.3, -0.4]",
    }
    return {k: v for k, v in {**fields, **changes}.items() if v is not None}


def _write_db(path, rows: list[dict]) -> None:
    with ase.db.connect(path) as database:
        for fields in rows:
            database.write(Atoms("NaCl"), **fields)


def _import(source, folder, cache, **options):
    report = import_original(source, folder, progress=False, **options)
    return report, load_dataset(str(folder), "original", cache_dir=cache)


def test_the_published_rows(shared_data, tmp_path, cache):
    report, loaded = _import(shared_data / "original" / "binxrd.db", tmp_path / "d", cache, exact=True)
    truth = pq.read_table(shared_data / "simxrd_sample_dev.parquet").to_pylist()
    rows = loaded["train"].with_format("numpy")
    assert report.rows == {"train": 9} and report.rejected == 0
    for row, true in zip(rows, truth, strict=True):
        assert np.array_equal(row["intensity"], np.array(true["intensity"], dtype=np.float32))
        assert row["space_group"] == true["space_group"] - 1 and row["formula"] == true["chem_form"]
        assert row["crystal_system"] == true["crystal_system"] - 1  # that table counts 1 triclinic … 7 cubic
        assert row["bravais_centring"] == true["bravais_centring"] and row["condition"] == -1
        size, (first, second), displacement, zero = json.loads(true["simulation_param"])
        assert row["grain_size_nm"] == np.float32(size) and row["zero_shift_deg"] == np.float32(zero)
        assert row["orientation_spread"] == np.float32(first) and row["orientation_spread_2"] == np.float32(second)
        assert row["thermal_displacement_angstrom"] == np.float32(displacement)
        # The authors' grid begins at 10° plus the zero shift modulo the step.
        remainder = (row["grid_offset_deg"] - zero + 0.01) % 0.02 - 0.01
        assert abs(remainder) < 1e-4
        assert row["wrong_positions"] == (true["crystal_system"] in (1, 5))
    assert len(set(rows["crystal_id"])) == 9


def test_codes_are_those_of_the_published_rows(shared_data):
    for row in pq.read_table(shared_data / "simxrd_sample_dev.parquet").to_pylist():
        assert SYSTEM_OF_CODE[row["simxrd_crystal_system_code"]] == row["crystal_system"] - 1
    assert sorted(SYSTEM_OF_CODE) == [1, 2, 3, 4, 5, 6, 7] and sorted(SYSTEM_OF_CODE.values()) == list(range(7))


def test_foreign_rows_are_refused_by_name_and_the_rest_goes_on(tmp_path, cache):
    bad = {
        "foreign label format: the field 'Label' instead of 'tager', of unknown meaning": _fields(tager=None, Label=7),
        "the label field 'tager' is missing": _fields(tager=None),
        "foreign label format: 'tager' is not [space group, crystal system code, 'centring']": _fields(tager="[225]"),
        "foreign label format: the crystal-system code does not belong to the space group": _fields(
            tager="[225, 5, 'F']"
        ),
        "the space group is not a number from 1 to 230": _fields(tager="[0, 7, 'P']"),
        "the crystal-system code is not a number from 1 to 7": _fields(tager="[225, 8, 'P']"),
        "the field 'intensity' has 3 points instead of 3501": _fields(intensity="[1, 2, 3]"),
        "the field 'intensity' is missing": _fields(intensity=None),
        "the field 'intensity' is not a list of at most 3501 plain numbers": _fields(intensity="[1, ..., 2]"),
        "the field 'latt_dis' is not the grid 10 … 80° in steps of 0.02°": _fields(latt_dis=str(_d(2.0))),
        "the field 'chem_form' is not a formula": _fields(chem_form="__import__('os')"),
        "the field 'simulation_param' is not [size, [a, b], displacement, zero shift]": _fields(simulation_param="[1]"),
        "the intensities are not finite and positive": _fields(intensity=str([0.0] * 3501)),
    }
    _write_db(tmp_path / "val_binxrd.db", [*bad.values(), _fields(2), _fields(160)])
    report, loaded = _import(tmp_path / "val_binxrd.db", tmp_path / "d", cache)
    assert report.reasons == dict.fromkeys(bad, 1) and report.rows == {"validation": 2}
    rejected = pq.read_table(tmp_path / "d" / "rejected.parquet")
    assert rejected["reason"].to_pylist() == list(bad) and rejected["row"].to_pylist() == list(range(1, 14))
    kept = loaded["validation"].with_format("numpy")
    assert np.asarray(kept["space_group"]).tolist() == [1, 159] and np.asarray(kept["wrong_positions"]).tolist() == [
        True,
        True,
    ]
    assert np.allclose(kept["grid_offset_deg"][:], 0.004, atol=1e-6)


def test_no_text_is_executed(tmp_path):
    target = tmp_path / "touched"
    evil = f"__import__('pathlib').Path({str(target)!r}).touch()"
    _write_db(tmp_path / "x.db", [_fields(tager=evil), _fields(intensity=evil), _fields(simulation_param=evil)])
    with pytest.raises(BadInput, match="no row of"):
        import_original(tmp_path / "x.db", tmp_path / "d", progress=False)
    assert not target.exists() and not (tmp_path / "d" / "README.md").exists()


def test_several_files_and_shards(tmp_path, cache, monkeypatch):
    monkeypatch.setattr("simxrd_hf.data.original._ROWS_PER_SHARD", 4)
    monkeypatch.setattr("simxrd_hf.data.original.ROWS_PER_ROW_GROUP", 2)
    for name, groups in (("train_1", [1, 2, 3, 4, 5]), ("train_2", [6, 7]), ("test", [8])):
        (tmp_path / name).mkdir()
        _write_db(tmp_path / name / "binxrd.db", [_fields(g) for g in groups])
    sources = [tmp_path / n / "binxrd.db" for n in ("train_1", "train_2", "test")]
    report, loaded = _import(sources, tmp_path / "d", cache)
    assert report.rows == {"train": 7, "test": 1}
    assert [g + 1 for g in loaded["train"]["space_group"]] == [1, 2, 3, 4, 5, 6, 7]
    assert loaded["train"]["crystal_id"][0] == "train_1/binxrd#1"
    assert len(list((tmp_path / "d" / "data").glob("train-*.parquet"))) == 3
    with pytest.raises(BadInput, match="not empty"):
        import_original(sources, tmp_path / "d", progress=False)
    assert import_original(sources[2], tmp_path / "d", overwrite=True, progress=False).rows == {"test": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "not one of ASE"), (b"hello" * 100, "neither an SQLite database nor a TFRecord"), (None, "no such file")],
)
def test_files_that_are_none(tmp_path, content, message):
    path = tmp_path / "x.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput, match=message):
        import_original(path, tmp_path / "d", progress=False)


def test_other_databases(tmp_path):
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("CREATE TABLE t (a)")
    with pytest.raises(BadInput, match="not one of ASE"):
        import_original(tmp_path / "x.db", tmp_path / "d", progress=False)


def test_a_database_that_breaks_off(tmp_path):
    _write_db(tmp_path / "x.db", [_fields(g) for g in range(1, 11)])
    content = (tmp_path / "x.db").read_bytes()
    (tmp_path / "x.db").write_bytes(content[: len(content) // 2])
    with pytest.raises(BadInput, match=r"x\.db.*(breaks off|malformed|neither)"):
        import_original(tmp_path / "x.db", tmp_path / "d", progress=False)
    assert not (tmp_path / "d" / "README.md").exists()


# -- numbers ----------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300), max_size=20))
def test_numbers_as_json_writes_them(values):
    out = np.empty(20)
    text = ("xx" + json.dumps(values) + "yy").encode()
    count, end = parse_numbers(text, 2, out)
    assert count == len(values) and text[end:] == b"yy"
    assert np.allclose(out[:count], values, rtol=1e-13, atol=1e-300)


@pytest.mark.parametrize(
    "text", [b"[1,]", b"[1 2]", b"[nan]", b"[1", b"[.]", b"[", b"", b"1]", b"[1,2,3]", b"[--1]", b"[1e]"]
)
def test_texts_that_are_no_numbers(text):
    assert parse_numbers(text, 0, np.empty(2))[0] == -1


# -- TFRecord ---------------------------------------------------------------------------------------------------------


def _example_class():
    """`tf.train.Example` through Google's protobuf, from its published definition."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="example_for_test.proto", package="t", syntax="proto3")
    kind = descriptor_pb2.FieldDescriptorProto

    def message(name, *fields):
        made = file.message_type.add(name=name)
        for number, (field, type_, label, type_name) in enumerate(fields, start=1):
            made.field.add(name=field, number=number, type=type_, label=label, type_name=type_name)
        return made

    message("BytesList", ("value", kind.TYPE_BYTES, kind.LABEL_REPEATED, None))
    message("FloatList", ("value", kind.TYPE_FLOAT, kind.LABEL_REPEATED, None))
    message("Int64List", ("value", kind.TYPE_INT64, kind.LABEL_REPEATED, None))
    one = kind.LABEL_OPTIONAL
    message(
        "Feature",
        ("bytes_list", kind.TYPE_MESSAGE, one, ".t.BytesList"),
        ("float_list", kind.TYPE_MESSAGE, one, ".t.FloatList"),
        ("int64_list", kind.TYPE_MESSAGE, one, ".t.Int64List"),
    )
    features = message("Features", ("feature", kind.TYPE_MESSAGE, kind.LABEL_REPEATED, ".t.Features.FeatureEntry"))
    entry = features.nested_type.add(name="FeatureEntry", options=descriptor_pb2.MessageOptions(map_entry=True))
    entry.field.add(name="key", number=1, type=kind.TYPE_STRING, label=one)
    entry.field.add(name="value", number=2, type=kind.TYPE_MESSAGE, label=one, type_name=".t.Feature")
    message("Example", ("features", kind.TYPE_MESSAGE, one, ".t.Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Example"))


def _tensor(array: np.ndarray, dtype: int, *, as_values: bool = False) -> bytes:
    from tensorboard.compat.proto.tensor_pb2 import TensorProto

    proto = TensorProto(dtype=dtype)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if dtype == 7:
        proto.string_val.extend(array.tolist())
    elif as_values:
        (proto.int_val if dtype == 3 else proto.float_val).extend(array.ravel().tolist())
    else:
        proto.tensor_content = array.tobytes()
    return proto.SerializeToString()


def _write_tfrecord(path, examples: list[dict[str, bytes]]) -> None:
    """With TensorBoard's own writer of the framing."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    example_class = _example_class()
    with path.open("wb") as stream:
        writer = RecordWriter(stream)
        for features in examples:
            example = example_class()
            for key, value in features.items():
                feature = example.features.feature[key]
                if isinstance(value, bytes):
                    feature.bytes_list.value.append(value)
                elif value.dtype.kind == "f":
                    feature.float_list.value.extend(value.tolist())
                else:
                    feature.int64_list.value.extend(value.tolist())
            writer.write(example.SerializeToString())
        writer.flush()


@pytest.fixture
def review_file(tmp_path):
    """A file as the authors' `parse.py` reads it: every feature a serialised tensor."""
    if importlib.util.find_spec("tensorboard") is None:
        pytest.skip("tensorboard, the independent encoder, is not installed")
    intensity = np.random.default_rng(0).uniform(0, 100, (4, 3501)).astype("<f4")
    elements = np.array([b"Na", b"Cl", b"Na", b"Cl"], dtype=object)
    examples = [
        {
            "intensity_list": _tensor(intensity[0], 1),
            "latt_dis_list": _tensor(np.array(_d(), "<f4"), 1),
            "spg_list": _tensor(np.array(225, "<i4"), 3),
            "crysystem_list": _tensor(np.array([1], "<i4"), 3, as_values=True),
            "element_list": _tensor(elements, 7),
        },
        {  # plain lists instead of tensors
            "intensity_list": intensity[1],
            "spg_list": np.array([2]),
            "crysystem_list": np.array([7]),
        },
        {"intensity_list": _tensor(intensity[2], 1), "Label": np.array([3])},
        {
            "intensity_list": _tensor(intensity[3], 1),
            "spg_list": _tensor(np.array(62, "<i4"), 3),
            "crysystem_list": _tensor(np.array(3, "<i4"), 3),
        },
    ]
    path = tmp_path / "train.tfrecord"
    _write_tfrecord(path, examples)
    return path, intensity


def test_review_files(review_file, tmp_path, cache):
    path, intensity = review_file
    report, loaded = _import(path, tmp_path / "d", cache, exact=True)
    assert report.rows == {"train": 2} and sorted(report.reasons) == [
        "foreign label format: the crystal-system code does not belong to the space group",
        "foreign label format: the feature 'Label' instead of 'spg_list'",
    ]
    rows = loaded["train"].with_format("numpy")
    assert np.array_equal(rows["intensity"][:], intensity[:2])
    assert np.asarray(rows["space_group"]).tolist() == [224, 1] and np.asarray(rows["crystal_system"]).tolist() == [
        6,
        0,
    ]
    assert list(rows["formula"]) == ["Cl2Na2", ""]
    assert abs(rows[0]["grid_offset_deg"] - 0.004) < 1e-3 and np.isnan(rows[1]["grid_offset_deg"])
    assert np.isnan(rows["grain_size_nm"][:]).all()


@pytest.mark.parametrize(
    ("at", "message"), [(8, "neither an SQLite"), (40, "content has a wrong checksum"), (-1, "checksum")]
)
def test_damaged_review_files(review_file, tmp_path, at, message):
    path, _ = review_file
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadInput, match=message):
        import_original(path, tmp_path / "d", progress=False)


def test_truncated_review_file(review_file, tmp_path):
    path, _ = review_file
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    for cut in (len(content) - 5, 12 + length + 4 + 3):
        path.write_bytes(content[:cut])
        with pytest.raises(BadInput, match=r"record \d: the file ends within the record"):
            import_original(path, tmp_path / "d", progress=False)
