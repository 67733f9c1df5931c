"""Parquet files with a column of patterns: its pages are made here, everything else is Arrow's.

Arrow spends twice the time of compression on the levels of a list (two numbers for each point, all known beforehand)
and on the hash that cuts pages. Patterns are fixed-size lists without nulls: the levels of a page are a text that
follows from its number of rows, and pages are cut between rows. Rounded intensities are written as their codes, with
the values of all codes as the dictionary of a row group, which every reader of Parquet knows; others as split bytes.
Arrow writes the other columns to a file of their own; behind the patterns of each row group go its column chunks, and
its footer is taken over with all places moved. Layout and numbers: https://github.com/apache/parquet-format,
Encodings.md and parquet.thrift.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from simxrd_hf.compiler import njit
from simxrd_hf.data.rounding import BOOK, CODE_BITS, pack
from simxrd_hf.data.thrift import BINARY, I32, I64, LIST, STRUCT, Struct, decode, encode, varint

_MAGIC = b"PAR1"
_DATA_PAGE, _DICTIONARY_PAGE, _ZSTD = 0, 2, 6
_PLAIN, _RLE, _RLE_DICTIONARY, _BYTE_STREAM_SPLIT = 0, 3, 8, 9
# Fields of the structs of parquet.thrift that are moved or added to
_SCHEMA, _GROUPS, _KEY_VALUES, _ORDERS = 2, 4, 5, 7  # FileMetaData
_COLUMNS, _PLAIN_SIZE, _GROUP_PLACE, _SIZE = 1, 2, 5, 6  # RowGroup
_META, _OFFSETS, _OFFSETS_SIZE, _BOUNDS, _BOUNDS_SIZE = 3, 4, 5, 6, 7  # ColumnChunk
_COLUMN_SIZE, _DATA_PLACE, _DICTIONARY_PLACE = 7, 9, 11  # ColumnMetaData


class Cuts(NamedTuple):
    """Bytes of patterns in a page: `least`, then on to a row whose content says so (one in `one_in`), or `most`."""

    least: int
    most: int
    one_in: int


class _Page(NamedTuple):
    """Header and body, the size of both before compression, and the number of values."""

    header: bytes
    body: bytes
    plain_size: int
    values: int

    @property
    def size(self) -> int:
        return len(self.header) + len(self.body)


class _Chunk(NamedTuple):
    """Patterns of a row group: the values of their codes, if they have such, their pages, and the first row of each."""

    dictionary: _Page | None
    pages: list[_Page]
    first: list[int]
    encoding: int

    @property
    def all_pages(self) -> list[_Page]:
        return self.pages if self.dictionary is None else [self.dictionary, *self.pages]


@njit(cache=True, nogil=True)
def _split(bits: NDArray[Any], out: NDArray[np.uint8]) -> None:
    """Byte k of each of n whole numbers to row k of (width, n), in stretches that stay in the cache."""
    for begin in range(0, len(bits), 4096):
        part = bits[begin : begin + 4096]
        for k in range(len(out)):
            to, shift = out[k, begin : begin + 4096], np.uint32(8 * k)
            for i in range(len(part)):
                to[i] = np.uint8(np.uint32(part[i]) >> shift)


@njit(cache=True, nogil=True)
def _ends(bits: NDArray[Any], least: int, most: int, one_in: int) -> NDArray[np.int64]:
    """Where pages of (rows, points) end, by the content of their last rows: equal stretches come to equal pages."""
    ends = np.empty(len(bits), np.int64)
    count, begin = 0, 0
    for row in range(len(bits)):
        size = row + 1 - begin
        if size < least and row + 1 < len(bits):
            continue
        total = np.uint32(0)
        for value in bits[row]:
            total += np.uint32(value)
        mixed = (total * np.uint32(2654435761)) >> np.uint32(16)  # Knuth's factor: high bits depend on all below
        if size >= most or mixed % one_in == 0 or row + 1 == len(bits):
            ends[count] = begin = row + 1
            count += 1
    return ends[:count]


@lru_cache(maxsize=1024)
def _levels(rows: int, points: int) -> bytes:
    """Repetition and definition levels of a page: 0 at the first point of each row, else 1; everywhere 1."""
    rest = varint((points - 1) << 1) + b"\1" if points > 1 else b""
    repetition = (varint(1 << 1) + b"\0" + rest) * rows
    definition = varint(rows * points << 1) + b"\1"
    return b"".join(len(runs).to_bytes(4, "little") + runs for runs in (repetition, definition))


def _compressed(codec: pa.Codec, page: NDArray[np.uint8], header: Struct, values: int) -> _Page:
    body = codec.compress(page, asbytes=True)
    head = encode({**header, 2: (I32, page.nbytes), 3: (I32, len(body))})
    return _Page(head, body, len(head) + page.nbytes, values)


@lru_cache
def _dictionary() -> _Page:
    """The values of all codes, which every row group repeats: worth the best compression."""
    about = {1: (I32, len(BOOK)), 2: (I32, _PLAIN)}
    header: Struct = {1: (I32, _DICTIONARY_PAGE), 7: (STRUCT, about)}
    return _compressed(pa.Codec("zstd", compression_level=19), BOOK.view(np.uint8), header, len(BOOK))


class PatternFile:
    """A Parquet file in memory whose schema has one column of patterns.

    Args:
        schema: One column is a fixed-size list without nulls; the others are flat.
        rows_per_group: Rows of a row group; each batch begins a new one.
        level: Of zstd, for the patterns.
        cuts: Of the patterns' pages.
        options: For `pyarrow.parquet.ParquetWriter`, which writes the other columns.
    """

    def __init__(
        self, schema: pa.Schema, rows_per_group: int, level: int, cuts: Cuts, options: Mapping[str, Any]
    ) -> None:
        [self._place] = [i for i, field in enumerate(schema) if pa.types.is_fixed_size_list(field.type)]
        pattern = schema.field(self._place)
        if pattern.nullable or pattern.type.value_field.nullable:
            raise ValueError(f"column {pattern.name} may hold nulls")
        self._name, self._points = pattern.name, pattern.type.list_size
        self._width = pattern.type.value_type.bit_width // 8
        self._rows_per_group, self._cuts = rows_per_group, cuts
        self._codec = pa.Codec("zstd", compression_level=level)
        self._room = np.empty(0, np.uint8)
        self._dictionary = _dictionary() if pattern.type.value_type == pa.float32() else None
        self._chunks: list[_Chunk] = []
        with pq.ParquetWriter(empty := pa.BufferOutputStream(), schema, **options):
            pass
        self._whole = _footer(memoryview(empty.getvalue()))
        self._sink = pa.BufferOutputStream()
        self._others = pq.ParquetWriter(self._sink, schema.remove(self._place), **options)

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows."""
        values = batch[self._name].flatten().to_numpy(zero_copy_only=True)
        bits = values.view(f"u{self._width}").reshape(-1, self._points)
        for start in range(0, len(bits), self._rows_per_group):
            self._chunks.append(self._encode(bits[start : start + self._rows_per_group]))
        if len(bits):
            self._others.write_batch(batch.drop_columns([self._name]), row_group_size=self._rows_per_group)

    def _encode(self, bits: NDArray[Any]) -> _Chunk:
        row_bytes = self._points * self._width
        least, most = (max(size // row_bytes, 1) for size in (self._cuts.least, self._cuts.most))
        ends = _ends(bits, least, most, self._cuts.one_in).tolist()
        begins = [0, *ends[:-1]]
        parts = [bits[begin:end].reshape(-1) for begin, end in zip(begins, ends, strict=True)]
        return self._coded(parts, begins) or self._split(parts, begins)

    def _coded(self, parts: list[NDArray[Any]], begins: list[int]) -> _Chunk | None:
        """Pages of codes behind their dictionary, or None where a value has no code."""
        if self._dictionary is None:
            return None
        pages = []
        for part in parts:
            groups = -(-len(part) // 8)
            run = bytes([CODE_BITS]) + varint(groups << 1 | 1)  # one run, packed
            page, begin = self._page(len(part), len(run) + groups * CODE_BITS)
            page[begin : begin + len(run)] = np.frombuffer(run, np.uint8)
            if not pack(part.view(np.float32), page[begin + len(run) :]):
                return None
            pages.append(self._data_page(page, len(part), _RLE_DICTIONARY))
        return _Chunk(self._dictionary, pages, begins, _RLE_DICTIONARY)

    def _split(self, parts: list[NDArray[Any]], begins: list[int]) -> _Chunk:
        pages = []
        for part in parts:
            page, begin = self._page(len(part), part.nbytes)
            _split(part, page[begin:].reshape(self._width, len(part)))
            pages.append(self._data_page(page, len(part), _BYTE_STREAM_SPLIT))
        return _Chunk(None, pages, begins, _BYTE_STREAM_SPLIT)

    def _page(self, values: int, size: int) -> tuple[NDArray[np.uint8], int]:
        """Room for a page, which begins with its levels, and where its values of `size` bytes begin."""
        levels = _levels(values // self._points, self._points)
        size += len(levels)
        if len(self._room) < size:
            self._room = np.empty(size, np.uint8)
        self._room[: len(levels)] = np.frombuffer(levels, np.uint8)
        return self._room[:size], len(levels)

    def _data_page(self, page: NDArray[np.uint8], values: int, encoding: int) -> _Page:
        about = {1: (I32, values), 2: (I32, encoding), 3: (I32, _RLE), 4: (I32, _RLE)}
        return _compressed(self._codec, page, {1: (I32, _DATA_PAGE), 5: (STRUCT, about)}, values)

    def close(self) -> list[Any]:
        """The file, in pieces that follow each other."""
        self._others.close()
        others = memoryview(self._sink.getvalue()).cast("B")
        footer = _footer(others)
        for field in (_SCHEMA, _KEY_VALUES, _ORDERS):
            footer[field] = self._whole[field]
        pieces: list[Any] = [_MAGIC]
        at = len(_MAGIC)
        bounds: list[tuple[Struct, bytes]] = []
        offsets: list[tuple[Struct, bytes]] = []
        for group, chunk in zip(footer[_GROUPS][1][1], self._chunks, strict=True):
            columns = group[_COLUMNS][1][1]
            begin, end = _extent(columns)
            own, places = self._column(chunk, at)
            pieces += [part for page in chunk.all_pages for part in (page.header, page.body)]
            pieces.append(others[begin:end])
            total = sum(page.size for page in chunk.all_pages)
            move = at + total - begin
            for column in columns:
                for field in (_DATA_PLACE, _DICTIONARY_PLACE):
                    _add(column[_META][1], field, move)
                index = decode(others[column[_OFFSETS][1] :])
                for location in index[1][1][1]:
                    _add(location, 1, move)
                offsets.append((column, encode(index)))
                if _BOUNDS in column:
                    first = column[_BOUNDS][1]
                    bounds.append((column, bytes(others[first : first + column[_BOUNDS_SIZE][1]])))
            offsets.append((own, encode(places)))
            columns.insert(self._place, own)
            group[_GROUP_PLACE] = I64, at
            _add(group, _PLAIN_SIZE, sum(page.plain_size for page in chunk.all_pages))
            _add(group, _SIZE, total)
            at += total + end - begin
        for indexes, place, size in ((bounds, _BOUNDS, _BOUNDS_SIZE), (offsets, _OFFSETS, _OFFSETS_SIZE)):
            for column, content in indexes:
                column[place], column[size] = (I64, at), (I32, len(content))
                pieces.append(content)
                at += len(content)
        last = encode(footer)
        return [*pieces, last, len(last).to_bytes(4, "little"), _MAGIC]

    def _column(self, chunk: _Chunk, at: int) -> tuple[Struct, Struct]:
        """ColumnChunk of the patterns of a row group that lie at a place of the file, and its OffsetIndex."""
        names = self._whole[_SCHEMA][1][1][1 + self._place : 4 + self._place]
        kinds = [{1: (I32, _DATA_PAGE), 2: (I32, chunk.encoding), 3: (I32, len(chunk.pages))}]
        encodings = [_RLE, chunk.encoding]
        meta: Struct = {
            1: names[2][1],
            3: (LIST, (BINARY, [name[4][1] for name in names])),
            4: (I32, _ZSTD),
            5: (I64, sum(page.values for page in chunk.pages)),
            6: (I64, sum(page.plain_size for page in chunk.all_pages)),
            _COLUMN_SIZE: (I64, sum(page.size for page in chunk.all_pages)),
        }
        if chunk.dictionary is not None:
            meta[_DICTIONARY_PLACE] = I64, at
            at += chunk.dictionary.size
            kinds.insert(0, {1: (I32, _DICTIONARY_PAGE), 2: (I32, _PLAIN), 3: (I32, 1)})
            encodings.insert(0, _PLAIN)
        meta |= {_DATA_PLACE: (I64, at), 2: (LIST, (I32, encodings)), 13: (LIST, (STRUCT, kinds))}
        places = []
        for page, first in zip(chunk.pages, chunk.first, strict=True):
            places.append({1: (I64, at), 2: (I32, page.size), 3: (I64, first)})
            at += page.size
        return {2: (I64, 0), _META: (STRUCT, meta)}, {1: (LIST, (STRUCT, places))}


def _footer(content: memoryview) -> Struct:
    size = int.from_bytes(content[-8:-4], "little")
    return decode(content[len(content) - 8 - size :])


def _extent(columns: list[Struct]) -> tuple[int, int]:
    """Where the column chunks of a row group begin and end in their file."""
    metas = [column[_META][1] for column in columns]
    begins = [meta.get(_DICTIONARY_PLACE, meta[_DATA_PLACE])[1] for meta in metas]
    return min(begins), max(begin + meta[_COLUMN_SIZE][1] for begin, meta in zip(begins, metas, strict=True))


def _add(struct: Struct, field: int, number: int) -> None:
    if field in struct:
        kind, value = struct[field]
        struct[field] = kind, value + number
