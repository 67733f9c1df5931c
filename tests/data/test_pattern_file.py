"""Files of `PatternFile` against what every reader makes of them, and against files that Arrow writes alone."""

import io
import itertools

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from simxrd_hf.data.pattern_file import Cuts, PatternFile
from simxrd_hf.data.rounding import BOOK, rounded
from simxrd_hf.data.thrift import decode, varint

POINTS, GROUP = 101, 60
BATCHES = (130, 1, 60, 7)
CUTS = Cuts(least=4 * POINTS * 8, most=4 * POINTS * 20, one_in=4)
_ARROW = {"float32": pa.float32(), "float16": pa.float16()}
OPTIONS = {"compression": "zstd", "use_dictionary": ["name"], "write_statistics": True, "write_page_index": True}


def _schema(dtype: str = "float32", *, nullable: bool = False) -> pa.Schema:
    pattern = pa.list_(pa.field("element", _ARROW[dtype], nullable=nullable), POINTS)
    fields = [
        pa.field("name", pa.string()),
        pa.field("pattern", pattern, nullable=nullable),
        pa.field("number", pa.int16()),
        pa.field("flag", pa.bool_()),
    ]
    return pa.schema(fields, {"made": "here"})


def _batch(schema: pa.Schema, values: np.ndarray, start: int = 0) -> pa.RecordBatch:
    n = len(values)
    flat = pa.array(values.reshape(-1))
    number = np.arange(start, start + n)
    columns = [
        pa.array([None if i % 5 == 0 else f"name {i % 7}" for i in number], pa.string()),
        pa.FixedSizeListArray.from_arrays(flat, type=schema.field("pattern").type),
        pa.array(number.astype(np.int16)),
        pa.array([None if i % 3 == 0 else bool(i % 2) for i in number], pa.bool_()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _values(rows: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    """Numbers of all kinds, among them -0, infinities, the smallest, and NaN with a payload."""
    rng = np.random.default_rng(seed)
    values = (rng.random((rows, POINTS)) * 100).astype(dtype)
    values[0, :4] = -0.0, np.inf, -np.inf, np.finfo(dtype).smallest_subnormal
    values.view(f"u{values.itemsize}")[0, 4] = 0x7FC12345 if dtype == "float32" else 0x7E45
    return values


def _write(schema: pa.Schema, batches: list[pa.RecordBatch], cuts: Cuts = CUTS) -> bytes:
    file = PatternFile(schema, GROUP, 1, cuts, OPTIONS)
    for batch in batches:
        file.write(batch)
    return b"".join(file.close())


def _rounded(rows: int) -> np.ndarray:
    """Numbers that have codes, the ends of their ranges among them; an odd number of points lies in a row."""
    values = rounded(np.random.default_rng(1).exponential(9, (rows, POINTS)).clip(0, 115).astype(np.float32))
    values[0, :8] = 0, 1 / 512, 1 / 4, 1 / 2, 1, 32, 64, 116 - 1 / 16
    return values


@pytest.fixture(scope="module", params=["float32", "float16", "codes", "codes and others"])
def made(request, tmp_path_factory):
    dtype = "float16" if request.param == "float16" else "float32"
    schema = _schema(dtype)
    values = _rounded(sum(BATCHES)) if "codes" in request.param else _values(sum(BATCHES), dtype)
    if "others" in request.param:
        values[70, 3] = 116  # in the second row group of several
    starts = np.cumsum([0, *BATCHES])
    batches = [_batch(schema, values[a:b], a) for a, b in itertools.pairwise(starts)]
    path = tmp_path_factory.mktemp("patterns") / "x.parquet"
    path.write_bytes(_write(schema, batches))
    return path, values, pa.Table.from_batches(batches)


def _bits(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return flat.view(f"u{flat.itemsize}").reshape(-1, POINTS)


def _same_bits(found: np.ndarray, values: np.ndarray) -> bool:
    """NaN compare by their bits, too."""
    return np.array_equal(np.ascontiguousarray(found).view(f"u{values.itemsize}"), values.view(f"u{values.itemsize}"))


def test_arrow_reads_all_of_it_bit_for_bit(made):
    path, values, table = made
    for read in (
        pq.read_table(path),
        pq.read_table(path, memory_map=True, use_threads=False, pre_buffer=False),
        pa.Table.from_batches(pq.ParquetFile(path, buffer_size=1000).iter_batches(17)),
        pa.dataset.dataset(path).to_table(batch_size=13),
    ):
        assert read.schema.equals(table.schema, check_metadata=True)
        assert _same_bits(_bits(read["pattern"]), values)
        assert read.drop_columns(["pattern"]).equals(table.drop_columns(["pattern"]))
    found = pa.dataset.dataset(path).to_table(filter=pa.compute.field("number") >= 150)
    assert found["number"].to_pylist() == list(range(150, len(values)))
    assert _same_bits(_bits(found["pattern"]), values[150:])


def test_other_tools_read_it_bit_for_bit(made):
    path, values, table = made
    import pandas

    frame = pandas.read_parquet(path)
    assert _same_bits(np.stack(frame["pattern"].to_list()), values) and list(frame["number"]) == list(
        range(len(values))
    )
    if values.dtype == np.float16:
        return  # DuckDB decodes no split half floats, whoever writes them
    polars = pytest.importorskip("polars")
    for frame in (polars.read_parquet(path), polars.scan_parquet(path).collect()):
        assert _same_bits(frame["pattern"].to_numpy(), values)
        assert (
            frame["name"].to_list() == table["name"].to_pylist()
            and frame["flag"].to_list() == table["flag"].to_pylist()
        )
    late = polars.scan_parquet(path).filter(polars.col("number") > 100).collect()
    assert _same_bits(late["pattern"].to_numpy(), values[101:])
    duckdb = pytest.importorskip("duckdb")
    found = duckdb.sql(f"select * from '{path}'").to_arrow_table()
    assert _same_bits(_bits_of_lists(found["pattern"]), values)
    assert (
        found["name"].to_pylist() == table["name"].to_pylist()
        and found["flag"].to_pylist() == table["flag"].to_pylist()
    )
    late = duckdb.sql(f"select pattern from '{path}' where number between 70 and 75 order by number").to_arrow_table()
    assert _same_bits(_bits_of_lists(late["pattern"]), values[70:76])


def _bits_of_lists(column: pa.ChunkedArray) -> np.ndarray:
    flat = np.concatenate([chunk.flatten().to_numpy() for chunk in column.chunks])
    return flat.reshape(-1, POINTS)


def test_datasets_reads_it_whole_and_as_a_stream(made, tmp_path):
    path, values, _ = made
    import datasets

    whole = datasets.load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(tmp_path))
    assert _same_bits(_bits_of_lists(whole.data["pattern"]), values)
    stream = datasets.load_dataset("parquet", data_files=str(path), split="train", streaming=True)
    rows = list(stream.with_format("arrow").iter(batch_size=11))
    assert _same_bits(np.concatenate([_bits_of_lists(part["pattern"]) for part in rows]), values)


def _has_codes(values: np.ndarray) -> bool:
    """By the definition, in double precision."""
    v = values.astype(np.float64)
    steps = np.select([v < 1 / 4, v < 1 / 2, v < 1, v < 32, v < 64], [512, 256, 128, 64, 32], 16)
    with np.errstate(invalid="ignore"):
        coded = (v >= 0) & (v < 116) & (v * steps == np.rint(v * steps))
    return values.dtype == np.float32 and bool(coded.all())


def test_the_footer_is_what_arrow_writes(made):
    path, values, table = made
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, table.schema, **OPTIONS) as writer:
        for batch in table.to_batches():
            writer.write_batch(batch, row_group_size=GROUP)
    own, other = pq.read_metadata(path), pq.read_metadata(sink)
    assert own.schema.equals(other.schema) and own.metadata == other.metadata
    assert own.num_row_groups == other.num_row_groups and own.num_rows == other.num_rows
    end = 4
    for number in range(own.num_row_groups):
        mine, theirs = own.row_group(number), other.row_group(number)
        assert mine.num_rows == theirs.num_rows
        sizes = [mine.column(i).total_uncompressed_size for i in range(mine.num_columns)]
        assert mine.total_byte_size == sum(sizes)
        places = []
        for i in range(mine.num_columns):
            a, b = mine.column(i), theirs.column(i)
            assert (a.path_in_schema, a.physical_type, a.num_values, a.has_offset_index) == (
                b.path_in_schema, b.physical_type, b.num_values, b.has_offset_index)  # fmt: skip
            begin = a.dictionary_page_offset or a.data_page_offset
            places.append((begin, begin + a.total_compressed_size))
            if a.path_in_schema == "pattern.list.element":
                first = sum(own.row_group(n).num_rows for n in range(number))
                assert not a.is_stats_set and a.has_dictionary_page == _has_codes(values[first : first + mine.num_rows])
                coded = ("PLAIN", "RLE", "RLE_DICTIONARY")
                assert a.encodings == (coded if a.has_dictionary_page else ("RLE", "BYTE_STREAM_SPLIT"))
            else:
                assert a.statistics == b.statistics and a.has_column_index and a.encodings == b.encodings
                assert a.total_compressed_size == b.total_compressed_size
        for begin, stop in sorted(places):  # chunks follow each other without a hole
            assert begin == end
            end = stop


def _pages(content: bytes) -> list[tuple[int, bytes]]:
    """Values and compressed bytes of every page of the patterns, found by the index of pages."""
    size = int.from_bytes(content[-8:-4], "little")
    found = []
    for group in decode(memoryview(content)[-8 - size :])[4][1][1]:
        column = group[1][1][1][1]
        for location in decode(memoryview(content)[column[4][1] :])[1][1][1]:
            place, whole = location[1][1], location[2][1]
            header = decode(memoryview(content)[place:])
            body = content[place + whole - header[3][1] : place + whole]
            found.append((header[5][1][1][1], header[2][1], location[3][1], body))
    return found


def test_pages_hold_what_their_index_says(made):
    path, values, table = made
    starts = np.cumsum([0, *(len(batch) for batch in table.to_batches())])
    groups = [min(g + GROUP, b) - g for a, b in itertools.pairwise(starts) for g in range(a, b, GROUP)]
    group, begin, row = -1, 0, 0
    for count, plain, first, body in _pages(path.read_bytes()):
        if first == 0:
            group += 1
            begin = sum(groups[:group])
        content = np.frombuffer(pa.Codec("zstd").decompress(body, plain), np.uint8)
        if _has_codes(values[begin : begin + groups[group]]):
            # Parquet's bit-packed run, with the plainest reader of it there is
            packed = -(-count // 8) * 12
            bits = np.unpackbits(content[-packed:], bitorder="little").reshape(-1, 12)[:count]
            codes = bits @ (1 << np.arange(12))
            head = bytes([12]) + varint(packed // 12 << 1 | 1)
            assert bytes(content[:-packed][-len(head) :]) == head
            rows = BOOK[codes].reshape(-1, POINTS)
        else:
            split = content[len(content) - count * values.itemsize :].reshape(values.itemsize, count)
            rows = np.ascontiguousarray(split.T).view(values.dtype).reshape(-1, POINTS)
        assert begin + first == row and _same_bits(rows, values[row : row + len(rows)])
        row += len(rows)
    assert row == len(values)


def test_equal_stretches_become_equal_pages():
    values = _values(600)
    schema = _schema()
    cuts = Cuts(least=4 * POINTS * 4, most=4 * POINTS * 12, one_in=3)
    before = _pages(_write(schema, [_batch(schema, values)], cuts))
    after = _pages(_write(schema, [_batch(schema, np.delete(values, 3, axis=0))], cuts))
    rows = {body: count // POINTS for count, _, _, body in before}
    shared = sum(rows.get(body, 0) for *_, body in after)
    assert shared > 300  # pages at the ends of row groups are cut elsewhere, and those behind the row that is gone
    assert all(1 <= count // POINTS <= 12 for count, *_ in before + after)


def test_bytes_do_not_depend_on_the_batches():
    values, schema = _values(3 * GROUP), _schema()
    whole = _batch(schema, values)
    assert _write(schema, [whole]) == _write(schema, [whole.slice(0, GROUP), whole.slice(GROUP)])


def test_a_file_without_rows_and_lists_of_one():
    schema = _schema()
    for batches in ([], [_batch(schema, _values(1)[:0])]):
        assert pq.read_table(io.BytesIO(_write(schema, batches))).equals(schema.empty_table())
    field = pa.field("pattern", pa.list_(pa.field("element", pa.float32(), nullable=False), 1), nullable=False)
    one = pa.RecordBatch.from_arrays(
        [
            pa.FixedSizeListArray.from_arrays(pa.array(np.arange(9, dtype=np.float32)), type=field.type),
            pa.array(range(9)),
        ],
        schema=pa.schema([field, pa.field("number", pa.int64())]),
    )
    assert pq.read_table(io.BytesIO(_write(one.schema, [one]))).equals(pa.Table.from_batches([one]))


def test_patterns_that_may_be_null_are_refused():
    with pytest.raises(ValueError, match="pattern may hold nulls"):
        PatternFile(_schema(nullable=True), GROUP, 1, CUTS, OPTIONS)
