"""The Parquet writer, read back by readers that are not ours."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simxrd_hf.data.features import intensity_array
from simxrd_hf.data.shards import _footer, encode
from simxrd_hf.data.thrift import read_struct, write_struct


def _table(rows: int, points: int, dtype, seed: int = 0) -> pa.Table:
    random = np.random.default_rng(seed)
    columns = {
        "name": pa.array([f"n{i % 3}" if i % 5 else None for i in range(rows)], pa.string()),
        "intensity": intensity_array(random.uniform(0, 100, (rows, points)).astype(dtype)),
        "number": pa.array(random.integers(0, 9, rows), pa.int64()),
        "flag": pa.array([i % 2 == 0 for i in range(rows)], pa.bool_()),
        "value": pa.array(random.random(rows), pa.float32()),
    }
    fields = [pa.field(n, c.type, nullable=n != "intensity") for n, c in columns.items()]
    return pa.table(columns, schema=pa.schema(fields, metadata={"some": "thing"}))


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 1100),
    points=st.integers(1, 40),
    dtype=st.sampled_from([np.float16, np.float32]),
    chunk=st.integers(1, 700),
)
def test_arrow_and_polars_read_what_was_written(rows, points, dtype, chunk):
    table = _table(rows, points, dtype)
    content, written = encode(table.schema, table.to_batches(max_chunksize=chunk))
    assert written == rows
    back = pq.read_table(io.BytesIO(content))
    assert back.equals(table) and back.schema.metadata == table.schema.metadata
    polars = pytest.importorskip("polars")
    frame = polars.read_parquet(io.BytesIO(content))
    assert np.array_equal(frame["intensity"].to_numpy(), np.stack(table["intensity"].to_numpy(zero_copy_only=False)))
    assert frame["name"].to_list() == table["name"].to_pylist()


def test_metadata_is_consistent():
    table = _table(1000, 50, np.float16)
    content, _ = encode(table.schema, table.to_batches())
    metadata = pq.ParquetFile(io.BytesIO(content)).metadata
    assert metadata.num_rows == 1000 and [metadata.row_group(g).num_rows for g in range(3)] == [480, 480, 40]
    position = 4
    for g in range(3):
        group = metadata.row_group(g)
        columns = [group.column(c) for c in range(group.num_columns)]
        assert group.total_byte_size == sum(c.total_uncompressed_size for c in columns)
        ours = columns[1]
        assert ours.path_in_schema == "intensity.list.element" and ours.num_values == group.num_rows * 50
        assert ours.data_page_offset == position
        position += sum(c.total_compressed_size for c in columns)  # the columns fill the file without a gap
    assert content[position - 1 : position] and content[-4:] == b"PAR1"


def test_single_columns_and_rows_can_be_read():
    table = _table(600, 30, np.float16)
    file = pq.ParquetFile(io.BytesIO(encode(table.schema, table.to_batches())[0]))
    assert file.read(columns=["number"])["number"].equals(table["number"])
    assert (
        file.read_row_group(1, columns=["intensity"])["intensity"]
        .combine_chunks()
        .equals(table["intensity"].slice(480).combine_chunks())
    )
    batches = list(file.iter_batches(batch_size=7))
    assert pa.Table.from_batches(batches).equals(table)


def test_no_rows():
    table = _table(3, 5, np.float16)
    content, rows = encode(table.schema, [])
    assert rows == 0 and pq.read_table(io.BytesIO(content)).num_rows == 0


def test_footers_survive_being_taken_apart():
    table = _table(700, 10, np.float32)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=100)  # with statistics, dictionaries, doubles, long lists
    content = sink.getvalue()
    footer = _footer(content)
    size = int.from_bytes(memoryview(content)[-8:-4], "little")
    assert write_struct(footer) == bytes(memoryview(content)[-8 - size : -8])
    assert read_struct(write_struct(footer))[0] == footer
