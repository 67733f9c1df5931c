"""Checksums that travel inside files: put in when they are written, checked when they are read.

Disks, memory and transfers flip bits, and most formats read a flipped number as a number. Parquet files carry a sum of
each column in the schema metadata, safetensors one in their header, JSON files one among their keys. A file without a
sum is not refused: other programs write none.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KEY = "sha256"
_PARQUET_KEY = b"simxrd_sha256"
MAX_HEADER_BYTES = 8 * 2**20
"""Longest header of a safetensors file that is parsed; that of a model of 10,000 tensors takes one."""


def json_sum(content: Mapping[str, Any]) -> str:
    """SHA-256 of plain data without its own sum, however it is written down."""
    rest = {key: value for key, value in content.items() if key != KEY}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def with_json_sum(content: Mapping[str, Any]) -> dict[str, Any]:
    """Plain data with its sum."""
    return {**content, KEY: json_sum(content)}


def json_is_sound(content: Mapping[str, Any]) -> bool:
    """Whether plain data has the sum it names, if it names one."""
    return KEY not in content or content[KEY] == json_sum(content)


def _feed(engine: Any, array: Any) -> None:
    """Add the type and the values of an Arrow array to a sum, whatever buffers, offsets and chunks hold them."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    nested = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    # a list's own type names its elements, and a file's reader names them otherwise
    engine.update(f"{'list' if nested else kind}|{len(array)}|".encode())
    engine.update(np.packbits(array.is_valid().to_numpy(zero_copy_only=False)).tobytes())
    if nested:
        engine.update(
            pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False).astype("<i8").tobytes()
        )
        _feed(engine, array.flatten())  # which leaves out what is null
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        lengths, characters = _characters(array.drop_null())  # which leaves out what stands behind a null
        engine.update(lengths.astype("<i8").tobytes())
        engine.update(characters)
    elif pa.types.is_null(kind):
        pass
    elif pa.types.is_primitive(kind):
        engine.update(np.ascontiguousarray(array.drop_null().to_numpy(zero_copy_only=False)).tobytes())
    else:
        engine.update(repr(array.to_pylist()).encode())


def _characters(array: Any) -> tuple[Any, memoryview]:
    """Lengths of the strings of an array without nulls, and their bytes, one after the other, where they lie."""
    import numpy as np
    import pyarrow as pa

    if not len(array):  # may have no buffers
        return np.zeros(0, np.int64), memoryview(b"")
    _, offsets, characters = array.buffers()
    ends = np.frombuffer(offsets, np.int64 if pa.types.is_large_string(array.type) else np.int32)
    ends = ends[array.offset : array.offset + len(array) + 1]
    return np.diff(ends), memoryview(characters or b"")[ends[0] : ends[-1]]


def _column_sum(column: Any) -> str:
    import pyarrow as pa

    engine = hashlib.sha256()
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # empty, or too large for one array
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    _feed(engine, column)
    return engine.hexdigest()


def _metadata_sum(metadata: Mapping[bytes, bytes]) -> str:
    rest = {key.hex(): value.hex() for key, value in metadata.items() if key != _PARQUET_KEY}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def with_table_sums(table: Any) -> Any:
    """An Arrow table that names, in its schema metadata, the sum of each column and of the other metadata."""
    metadata = dict(table.schema.metadata or {})
    sums = {"columns": {name: _column_sum(table[name]) for name in table.column_names}, "": _metadata_sum(metadata)}
    return table.replace_schema_metadata({**metadata, _PARQUET_KEY: json.dumps(sums).encode()})


def table_fault(table: Any, *, rows: int | None = None) -> str | None:
    """What is wrong with a table that was read, by the sums it names; None where nothing is, or none are named.

    Args:
        table: All of the file's rows, and any of its columns.
        rows: Rows the file says it has; with fewer in the table only the metadata are checked.
    """
    metadata = table.schema.metadata or {}
    if _PARQUET_KEY not in metadata:
        return None
    try:
        sums = json.loads(metadata[_PARQUET_KEY])
        if sums[""] != _metadata_sum(metadata):
            return "its metadata do not have the sum they name"
        if rows is not None and rows != table.num_rows:
            return None
        for name in table.column_names:
            if sums["columns"][name] != _column_sum(table[name]):
                return f"column {name} does not have the sum the file names"
    except (ValueError, KeyError, TypeError):
        return "its sums cannot be read"
    return None


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """Header of a safetensors file, and where its data begin.

    Raises:
        ValueError: It has no whole header, or one beyond all measure.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > size - 8:
            raise ValueError("it is cut off: its header is not whole")
        if length > MAX_HEADER_BYTES:
            raise ValueError(f"its header claims {length:,} bytes; those of models take less than {MAX_HEADER_BYTES:,}")
        try:
            header = json.loads(stream.read(length))
        except (ValueError, RecursionError):
            raise ValueError("its header is damaged") from None
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__", {}), dict):
        raise ValueError("its header is damaged")
    return header, 8 + length


def _weights_sum(path: Path, header: Mapping[str, Any], begin: int) -> str:
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    engine = hashlib.sha256(json.dumps(tensors, sort_keys=True).encode())
    with path.open("rb") as stream:
        stream.seek(begin)
        while block := stream.read(1 << 20):
            engine.update(block)
    return engine.hexdigest()


def add_weights_sum(path: Path) -> None:
    """Put the sum of a safetensors file into its header; for a file that nobody reads yet."""
    header, begin = _header(path)
    metadata = {**header.get("__metadata__", {}), KEY: _weights_sum(path, header, begin)}
    text = json.dumps({"__metadata__": metadata, **{k: v for k, v in header.items() if k != "__metadata__"}}).encode()
    text += b" " * (-len(text) % 8)
    content = path.read_bytes()[begin:]
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)


def weights_fault(path: Path) -> str | None:
    """What is wrong with a safetensors file, or None: header, length, and the sum, where it names one."""
    try:
        header, begin = _header(path)
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        expected, size = begin + max(ends, default=0), path.stat().st_size
        if size != expected:
            return f"it is cut off or damaged: {expected} bytes expected by its header, it has {size}"
        named = header.get("__metadata__", {}).get(KEY)
        if named is not None and named != _weights_sum(path, header, begin):
            return "it does not have the sum it names"
    except ValueError as error:
        return str(error)
    except (KeyError, TypeError, IndexError, AttributeError):
        return "its header is damaged"
    return None
