"""Parquet files of the published form: how they are put in place, summed and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from simxrd_hf.data.shards import encode
from simxrd_hf.errors import BadInput
from simxrd_hf.files import write_whole


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
    content, rows = encode(schema, batches)
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
