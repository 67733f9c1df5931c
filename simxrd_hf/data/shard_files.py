"""Parquet files of the published form: how they are put in place, summed and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from simxrd_hf.errors import BadInput
from simxrd_hf.files import write_whole

# Measured on simulated patterns (benchmarks/storage.py): zstd 1 over split bytes is as small as zstd 3 in half the
# time; without splitting the bytes files grow by half. Pages of 2.5 to 4 MB, cut where the content says so, cost 0.3 %;
# Arrow's own bounds, 0.25 to 1 MB, cost 5 %. The hash of the content is computed beyond the lower bound alone, and the
# second level makes a cut likely soon after it. Batches of a quarter million values cost less than Arrow's thousand.
# Row groups of 60 to 480 rows read at one speed.
ROWS_PER_ROW_GROUP = 480
_CHUNKS = {"min_chunk_size": 5 << 19, "max_chunk_size": 4 << 20, "norm_level": 2}


def writer_options(schema: pa.Schema) -> dict[str, Any]:
    """How the columns of a schema are written, for `pyarrow.parquet.ParquetWriter`.

    Patterns as split bytes, without statistics (those of a row group exclude nothing); texts by dictionaries; an index
    of the pages; and pages cut by content, so that what two versions of a file share is stored and sent once.
    """
    patterns = [f.name for f in schema if pa.types.is_fixed_size_list(f.type)]
    return {
        "compression": "zstd",
        "compression_level": 1,
        "use_dictionary": [f.name for f in schema if pa.types.is_string(f.type)],
        "column_encoding": {f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in patterns},
        "write_statistics": [f.name for f in schema if f.name not in patterns],
        "write_page_index": True,
        "use_content_defined_chunking": _CHUNKS,
        "write_batch_size": 1 << 18,
    }


def write_shard(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> dict[str, int | str]:
    """Write one Parquet file, whole or not at all.

    The file is built in memory (a shard is tens of MB), hashed there, written beside its final name and renamed.

    Args:
        path: The file to make; its folder must exist.
        schema: Schema of all batches, from `features.storage_schema`.
        batches: The rows.

    Returns:
        `{"rows", "bytes", "sha256"}` of the file.

    Raises:
        OSError: The disk is full or the folder cannot be written; nothing is left behind under `path`.
    """
    sink = pa.BufferOutputStream()
    rows = 0
    with pq.ParquetWriter(sink, schema, **writer_options(schema)) as writer:
        for batch in batches:
            writer.write_batch(batch, row_group_size=ROWS_PER_ROW_GROUP)
            rows += batch.num_rows
    content = memoryview(sink.getvalue())
    write_whole(path, content, durable=False)  # its sum in the manifest tells whether it survived a power cut
    return {"rows": rows, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def record_of(path: Path) -> dict[str, int | str]:
    """Size and sum of a file, as `fault_of` compares them."""
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


def fault_of(path: Path, record: dict[str, int | str]) -> str | None:
    """What is wrong with a file against its record in the manifest, or None."""
    if not path.exists():
        return "missing"
    size = path.stat().st_size
    if size != record["bytes"]:
        return f"truncated or changed ({size} bytes, {record['bytes']} expected)"
    if sha256_of(path) != record["sha256"]:
        return "changed (its sha256 is not that of the manifest)"
    return None


def read_parquet(path: Path) -> pa.Table:
    """A Parquet file as a table; one that is not whole is refused by name."""
    try:
        return pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise BadInput(f"{path} is not a whole Parquet file: {error}") from error
