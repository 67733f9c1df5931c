"""Parquet files of the published form: how they are put in place, summed and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from simxrd_hf.data.pattern_file import Cuts, PatternFile
from simxrd_hf.errors import BadInput
from simxrd_hf.files import replacing, write_whole

# Measured on simulated patterns (benchmarks/storage.py): zstd 3 over the codes of rounded intensities is as small as
# zstd 1 over split bytes, and takes less time; plain bytes take half as much again. Pages of 2.5 to 4 MB, cut where the
# content says so, cost 0.3 %. Row groups of 60 to 480 rows read at one speed.
ROWS_PER_ROW_GROUP = 480
LEVEL = 3
CUTS = Cuts(least=5 << 19, most=4 << 20, one_in=16)


def writer_options(schema: pa.Schema) -> dict[str, Any]:
    """How Arrow writes the columns of a schema beside the patterns, for `pyarrow.parquet.ParquetWriter`.

    Texts by dictionaries; statistics and an index of the pages.
    """
    return {
        "compression": "zstd",
        "compression_level": LEVEL,
        "use_dictionary": [f.name for f in schema if pa.types.is_string(f.type)],
        "write_statistics": True,
        "write_page_index": True,
    }


class Shard:
    """One Parquet file in the making, in memory (tens of MB), put in place whole or not at all.

    Patterns are written as codes or split bytes, without statistics (those of a row group exclude nothing), in pages
    cut by content, so that what two versions of a file share is stored and sent once.

    Args:
        schema: Schema of all batches, from `features.storage_schema`.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._file = PatternFile(schema, ROWS_PER_ROW_GROUP, LEVEL, CUTS, writer_options(schema))
        self._rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows."""
        self._file.write(batch)
        self._rows += batch.num_rows

    def put(self, path: Path) -> dict[str, int | str]:
        """Write the file beside its final name and rename it.

        Args:
            path: The file to make; its folder must exist.

        Returns:
            `{"rows", "bytes", "sha256"}` of the file.

        Raises:
            OSError: The disk is full or the folder cannot be written; nothing is left behind under `path`.
        """
        digest, size = hashlib.sha256(), 0
        # not durable: its sum in the manifest tells whether it survived a power cut
        with replacing(path) as temporary, temporary.open("wb") as stream:
            for piece in self._file.close():
                digest.update(piece)
                stream.write(piece)
                size += len(piece)
        return {"rows": self._rows, "bytes": size, "sha256": digest.hexdigest()}


def write_shard(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> dict[str, int | str]:
    """All batches as one `Shard`, put in place."""
    shard = Shard(schema)
    for batch in batches:
        shard.write(batch)
    return shard.put(path)


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table that holds no patterns, whole or not at all, to last."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_whole(path, memoryview(sink.getvalue()))


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
