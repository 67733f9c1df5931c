import datetime
import decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simxrd_hf.data.thrift import I32, LIST, STRUCT, decode, encode, varint


def test_footers_of_arrow_come_back_byte_for_byte():
    """Every kind of column that Arrow describes, 40 row groups (a long list), negative numbers, empty structs."""
    table = pa.table({
        "text": ["a", None, "ü" * 300] * 40, "number": pa.array([-5, 7, None] * 40, pa.int8()),
        "yes": [True, False, None] * 40,
        "half": pa.array([0.5, 1.5, None] * 40, pa.float16()), "when": [datetime.datetime(2026, 1, 1)] * 120,
        "list": [[1.0], [], None] * 40, "map": pa.array([[("k", 1)]] * 120, pa.map_(pa.string(), pa.int64())),
        "money": [decimal.Decimal("1.25")] * 120, "struct": [{"a": {"b": 1}}] * 120,
    })  # fmt: skip
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=3, write_page_index=True, sorting_columns=[pq.SortingColumn(0, True)])
    content = memoryview(sink.getvalue()).cast("B")
    size = int.from_bytes(content[-8:-4], "little")
    footer = content[len(content) - 8 - size : len(content) - 8]
    found = decode(footer)
    assert encode(found) == bytes(footer)
    assert found[3][1] == 120 and len(found[4][1][1]) == 40
    assert [column[3][1][3][1][1][0] for column in found[4][1][1][0][1][1][1]][:2] == [b"text", b"number"]


def test_numbers_as_the_protocol_writes_them():
    assert varint(0) == b"\0" and varint(127) == b"\x7f" and varint(300) == b"\xac\x02"  # of its specification
    assert encode({1: (I32, -1)}) == b"\x15\x01\0" and decode(memoryview(b"\x15\x01\0")) == {1: (I32, -1)}
    assert encode({20: (I32, 1)}) == b"\x05\x28\x02\0" and decode(memoryview(b"\x05\x28\x02\0")) == {20: (I32, 1)}
    assert encode({3: (LIST, (STRUCT, [{}, {}]))}) == b"\x39\x2c\0\0\0"


def test_what_it_does_not_know_is_refused():
    with pytest.raises(ValueError, match="kind 11"):
        decode(memoryview(b"\x1b\0\0"))
