"""Flipped bits: what is read is what was written, or it is refused by name."""

import hashlib
import json
import random
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data.small_crystals import crystal_table
from evidence.evidence_parts import random_combination

from simxrd_hf.crystals import read_crystals, write_crystals
from simxrd_hf.errors import BadInput
from simxrd_hf.evidence import PatternEvidence
from simxrd_hf.identify.model_folders import DEFAULT_MODEL, check_weights, read_config
from simxrd_hf.matching import build_library, read_library
from simxrd_hf.sums import table_fault, weights_fault, with_table_sums


def flips(path, number, seed=0):
    """The file with one bit flipped after the other; it is whole again at the end."""
    content = path.read_bytes()
    rng = random.Random(seed)
    for _ in range(number):
        changed = bytearray(content)
        changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        yield
    path.write_bytes(content)


def as_read(read, same):
    """True where reading gives what was written, False where it is refused in one line."""
    try:
        found = read()
    except BadInput as error:
        assert "\n" not in str(error)
        return False
    assert same(found)
    return True


def test_flipped_crystal_tables(tmp_path):
    path = write_crystals(read_crystals("prototypes", limit=40).table, tmp_path / "c.parquet")
    whole = read_crystals(path).table
    sound = [as_read(lambda: read_crystals(path), lambda got: got.table.equals(whole)) for _ in flips(path, 150)]
    assert sum(sound) < 40  # bits that mean nothing, within the footer
    first = read_crystals(path, limit=5).table
    for _ in flips(path, 60):
        as_read(lambda: read_crystals(path, limit=5), lambda got: got.table.equals(first))


def test_flipped_libraries(tmp_path):
    path = build_library(crystal_table())[0].save(tmp_path / "l.parquet")
    whole = read_library(path)
    names = ("crystal_id", "formula", "space_group", "cells", "hkl", "amplitude", "strength")

    def same(got):
        return all(np.array_equal(getattr(got, n), getattr(whole, n)) for n in names)

    sound = [as_read(lambda: read_library(path), same) for _ in flips(path, 150)]
    assert sum(sound) < 40


def test_flipped_evidence(tmp_path):
    evidence = PatternEvidence(random_combination(np.random.default_rng(0)), prior=np.zeros(230))
    path = evidence.save(tmp_path)
    whole = PatternEvidence.load(tmp_path)

    def same(got):
        return json.dumps(got.cells.to_dict()) == json.dumps(whole.cells.to_dict()) and not got.prior.any()

    for _ in flips(path, 150):
        as_read(lambda: PatternEvidence.load(tmp_path), same)


def test_flipped_weights(tmp_path):
    path = tmp_path / "model.safetensors"
    shutil.copy(DEFAULT_MODEL / path.name, path)
    whole = path.read_bytes()
    for _ in flips(path, 30):
        assert as_read(lambda: check_weights(tmp_path), lambda _: path.read_bytes() == whole) is False
    # the header too, where most flips of so large a file do not fall
    for place in range(8, 2000, 40):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        fault = weights_fault(path)
        assert fault is not None or b"sha256" not in path.read_bytes()[:5000]


def test_the_packaged_checkpoint_is_sound():
    assert [weights_fault(path) for path in check_weights(DEFAULT_MODEL)] == [None]
    assert '"sha256"' in (DEFAULT_MODEL / "evidence.json").read_text()
    assert PatternEvidence.load(DEFAULT_MODEL) is not None


@pytest.mark.parametrize(
    "head",
    [b"", b"\0" * 4, b"\xff" * 8, (2**40).to_bytes(8, "little"), (10).to_bytes(8, "little") + b"[1,2,3]   "]
    + [len(text).to_bytes(8, "little") + text for text in (b"null", b'{"a":1}', b'{"a":{}}', b"[" * 100_000)],
)
def test_headers_that_no_writer_makes(head, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(head)
    with pytest.raises(BadInput, match=r"model\.safetensors: "):
        check_weights(tmp_path)


@pytest.mark.parametrize("listed", [[], {}, {"a": 1}, {"a": "../secret.safetensors"}, "x"])
def test_lists_of_weights_that_name_something_else(listed, tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": listed}))
    with pytest.raises(BadInput, match="no list of weight files"):
        check_weights(tmp_path)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"temperature": 0}', '{"temperature": NaN}', '{"temperature": "1"}']
)
def test_configs_that_would_divide_by_nothing(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(BadInput, match=r"config\.json"):
        read_config(tmp_path)


@pytest.mark.parametrize("content", ["[]", "3", "{}", "[" * 100_000, '{"version": 5, "cells": []}'])
def test_evidence_of_another_shape(content, tmp_path):
    (tmp_path / "evidence.json").write_text(content)
    with pytest.raises(BadInput, match=r"evidence\.json"):
        PatternEvidence.load(tmp_path)


def test_a_library_with_too_few_cells_is_refused_before_compiled_code_takes_them_by_index(tmp_path):
    path = build_library(crystal_table())[0].save(tmp_path / "l.parquet")
    table = pq.read_table(path)
    place = table.column_names.index("reduced_cell")
    cells = table["reduced_cell"].to_pylist()
    for changed in ([None, *cells[1:]], [[0.0] * 9, *cells[1:]], [[float("nan")] * 9, *cells[1:]]):
        column = pa.array(changed, pa.list_(pa.float32(), 9))
        other = table.set_column(place, table.schema.field(place), column)
        about = {k: v for k, v in table.schema.metadata.items() if k == b"simxrd_line_library"}
        pq.write_table(with_table_sums(other.replace_schema_metadata(about)), path)
        with pytest.raises(BadInput, match=r"l\.parquet: damaged"):
            read_library(path)


def _sum_of_strings(values, kind):
    """By the definition: type and count, which are there, their lengths, their bytes."""
    there = [one.encode() for one in values if one is not None]
    engine = hashlib.sha256(f"{kind}|{len(values)}|".encode())
    engine.update(np.packbits(np.array([one is not None for one in values], bool)).tobytes())
    engine.update(np.array([len(one) for one in there], "<i8").tobytes() + b"".join(there))
    return engine.hexdigest()


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
@pytest.mark.parametrize(
    "values", [["α-Al2O3", None, "", "SiO2"], [], [None, None], ["NaCl"] * 9], ids=["mixed", "empty", "nulls", "alike"]
)
def test_sums_of_strings_wherever_they_lie(values, kind):
    longer = pa.array(["before", *values, "behind"], kind)
    for array in (
        pa.array(values, kind),
        longer.slice(1, len(values)),
        pa.chunked_array([longer.slice(1, len(values))]),
    ):
        sums = json.loads(with_table_sums(pa.table({"text": array})).schema.metadata[b"simxrd_sha256"])
        assert sums["columns"]["text"] == _sum_of_strings(values, kind)


def test_sums_depend_on_content_not_on_chunks():
    table = pa.table(
        {
            "text": ["a", None, "bc"],
            "list": pa.array([[1.0], None, [2.0, 3.0]], pa.list_(pa.float64())),
            "fixed": pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int8(), 2)),
            "flag": [True, None, False],
            "word": pa.array(["x", "y", "x"]).dictionary_encode(),
            "nothing": pa.nulls(3),
        }
    )
    sealed = with_table_sums(table)
    parts = pa.concat_tables([sealed.slice(0, 1), sealed.slice(1, 0), sealed.slice(1)])
    assert table_fault(sealed) is table_fault(parts) is table_fault(sealed.select(["list"])) is None
    assert table_fault(table) is None  # other programs write no sums
    changed = sealed.set_column(0, "text", pa.array(["a", "bc", None]))
    assert "column text" in table_fault(changed)
    assert table_fault(sealed.slice(0, 2), rows=3) is None and "column" in table_fault(sealed.slice(0, 2))
