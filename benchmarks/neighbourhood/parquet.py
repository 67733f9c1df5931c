"""Patterns in Parquet: each storage that was considered, through each tool that reads Parquet."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .cells import Care, Cell, demand, folder_of

ROWS = 480
SCALE = 65535 / 100  # of the whole numbers; the highest point of a pattern is 100


def rounded(values: np.ndarray, bits: int = 11) -> np.ndarray:
    """float32 rounded to nearest at a number of significant bits (a half has 11); the rest of the mantissa is zero."""
    drop = 24 - bits
    pattern = values.astype(np.float32).view(np.uint32)
    half = np.uint32((1 << (drop - 1)) - 1) + ((pattern >> np.uint32(drop)) & np.uint32(1))
    return ((pattern + half) >> np.uint32(drop) << np.uint32(drop)).view(np.float32)


def steps(values: np.ndarray) -> np.ndarray:
    """The numbers as `simxrd generate` stores them."""
    from simxrd_hf.data.rounding import rounded as stored

    return stored(values)


AS_GENERATED: dict[str, Any] = {}
# name -> (numbers as they are stored, options of the writer, what a stored number is multiplied by)
STORAGES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], dict[str, Any], float]] = {
    "float32 of 4,096 values, by codes (as generated)": (steps, AS_GENERATED, 1.0),
    "float32 of 4,096 values, byte stream split": (steps, {"use_byte_stream_split": True}, 1.0),
    "float16, byte stream split": (lambda x: x.astype(np.float16), {"use_byte_stream_split": True}, 1.0),
    "float16, plain": (lambda x: x.astype(np.float16), {}, 1.0),
    "float32 of 11 bits, byte stream split": (rounded, {"use_byte_stream_split": True}, 1.0),
    "float32 of 11 bits, plain": (rounded, {}, 1.0),
    "uint16 of 0…100": (lambda x: np.rint(x * SCALE).astype(np.uint16), {}, 1 / SCALE),
    "float32, byte stream split": (lambda x: x, {"use_byte_stream_split": True}, 1.0),
}


def patterns(rows: int = ROWS) -> np.ndarray:
    """Simulated patterns of the packaged prototypes, preset `simxrd-4m`, float32 (rows, 3501)."""
    from simxrd_hf.crystals import crystal, prototypes
    from simxrd_hf.diffraction import Simulator

    simulator = Simulator(preset="simxrd-4m", seed=0)
    table = prototypes().table
    each = 4
    made = [simulator.simulate(crystal(table, i), list(range(each))).intensity for i in range(-(-rows // each))]
    return np.concatenate(made)[:rows]


def write(path: Path, values: np.ndarray, storage: str) -> None:
    """A file as `datasets` would publish it, its patterns in one of the storages."""
    convert, options, _ = STORAGES[storage]
    stored = convert(values)
    flat = pa.array(stored.reshape(-1))
    kind = pa.list_(pa.field("element", flat.type, nullable=False), stored.shape[1])
    column = pa.FixedSizeListArray.from_arrays(flat, type=kind)
    labels = pa.array(np.arange(len(stored), dtype=np.int64) % 230)
    fields = [pa.field("intensity", kind, nullable=False), pa.field("space_group", labels.type)]
    table = pa.table([column, labels], schema=pa.schema(fields))
    if options is AS_GENERATED:
        from simxrd_hf.data.shard_files import write_shard

        write_shard(path, table.schema, table.to_batches())
        return
    options = dict(options)
    if options.pop("use_byte_stream_split", False):
        options["use_byte_stream_split"] = ["intensity.list.element"]
    pq.write_table(
        table, path, compression="zstd", compression_level=1, row_group_size=ROWS, use_dictionary=False, **options
    )


class File:
    """One stored file and the truth about it."""

    def __init__(self, scratch: Path, values: np.ndarray, storage: str):
        self.path = folder_of(scratch, "storages") / f"{list(STORAGES).index(storage)}.parquet"
        write(self.path, values, storage)
        self.factor = STORAGES[storage][2]
        self.values = values
        self.total = float(values.sum(dtype=np.float64))

    def judge(self, total: float, as_type: str) -> str:
        """Words for a sum over all points, against the truth."""
        total = float(total) * self.factor
        demand(np.isfinite(total), f"sum over all points: {total} ({as_type}), right {self.total:.6g}")
        error = abs(total / self.total - 1)
        demand(error < 1e-3, f"sum over all points: {total:.6g} ({as_type}), right {self.total:.6g}")
        return f"{as_type}; sum over all points right to {error:.0e}"


def size(file: File) -> str:
    column = pq.read_metadata(file.path).row_group(0).column(0)
    return f"{column.total_compressed_size / ROWS:.0f} bytes a pattern"


def arrow_read(file: File) -> str:
    column = pq.read_table(file.path)["intensity"].combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False).reshape(ROWS, -1).astype(np.float64) * file.factor
    worst = float(np.abs(flat - file.values).max())
    demand(worst < 0.04, f"off by {worst}")
    return f"{column.type.value_type}; largest error {worst:.1e} of 100"


def arrow_sum(file: File) -> str:
    import pyarrow.compute as pc

    flat = pc.list_flatten(pq.read_table(file.path)["intensity"])
    return file.judge(pc.sum(flat).as_py(), str(flat.type))


def pandas_sum(file: File) -> str:
    import pandas as pd

    rows = np.stack(pd.read_parquet(file.path)["intensity"].to_list())
    return file.judge(rows.sum(), str(rows.dtype))


def pandas_norm(file: File) -> str:
    import pandas as pd

    rows = np.stack(pd.read_parquet(file.path)["intensity"].to_list())
    norms = np.linalg.norm(rows, axis=1).astype(np.float64) * file.factor
    right = np.linalg.norm(file.values.astype(np.float64), axis=1)
    worst = float(np.nanmax(np.abs(norms / right - 1))) if np.isfinite(norms).all() else np.inf
    demand(worst < 1e-3, f"np.linalg.norm of a row is {norms[0]:.4g}, right {right[0]:.4g}")
    return f"np.linalg.norm of every row right to {worst:.0e}"


def polars_sum(file: File) -> str:
    import polars as pl

    frame = pl.read_parquet(file.path)
    return file.judge(frame["intensity"].explode().sum(), str(frame["intensity"].dtype))


def polars_lazy(file: File) -> str:
    import polars as pl

    lazy = pl.scan_parquet(file.path)
    per_row = lazy.select(pl.col("intensity").arr.sum()).collect()["intensity"]
    return file.judge(float(np.sum(per_row.to_numpy().astype(np.float64))), f"arr.sum of rows, {per_row.dtype}")


def duckdb_sum(file: File) -> str:
    import duckdb

    kind = duckdb.sql(f"select typeof(intensity) from '{file.path}' limit 1").fetchall()[0][0]
    total = duckdb.sql(f"select sum(x) from (select unnest(intensity) x from '{file.path}')").fetchall()[0][0]
    return file.judge(total, kind)


def fastparquet_sum(file: File) -> str:
    import fastparquet

    rows = fastparquet.ParquetFile(str(file.path)).to_pandas()["intensity"]
    first = rows.iloc[0]
    demand(len(first) == file.values.shape[1], f"a row has {len(first)} values of {type(first[0]).__name__}")
    kind = np.asarray(first).dtype
    demand(kind.kind in "fiu", f"values of type {type(first[0]).__name__}: {first[0]!r}")
    return file.judge(float(np.sum([np.sum(np.asarray(row), dtype=np.float64) for row in rows])), str(kind))


def datafusion_sum(file: File) -> str:
    import datafusion

    context = datafusion.SessionContext()
    context.register_parquet("t", str(file.path))
    found = context.sql("select sum(x) as s from (select unnest(intensity) as x from t)").to_pydict()["s"][0]
    return file.judge(found, "by unnest")


def daft_sum(file: File) -> str:
    import daft

    frame = daft.read_parquet(str(file.path))
    kind = str(frame.schema()["intensity"].dtype)
    total = frame.explode("intensity").sum("intensity").to_pydict()["intensity"][0]
    return file.judge(total, kind)


def chdb_sum(file: File) -> str:
    import chdb

    kind = str(chdb.query(f"select toTypeName(intensity) from file('{file.path}', Parquet) limit 1", "TSV")).strip()
    total = str(chdb.query(f"select sum(x) from file('{file.path}', Parquet) array join intensity as x", "TSV"))
    return file.judge(float(total), kind)


def lance_sum(file: File) -> str:
    import lance

    target = file.path.with_suffix(".lance")
    lance.write_dataset(pq.read_table(file.path), str(target), mode="overwrite")
    column = lance.dataset(str(target)).to_table()["intensity"].combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return file.judge(float(flat.sum(dtype=np.float64)), f"written and read again, {column.type.value_type}")


def datasets_format(file: File, form: str) -> str:
    import datasets

    datasets.disable_progress_bars()
    rows = datasets.load_dataset(
        "parquet", data_files=str(file.path), split="train", cache_dir=str(file.path.parent / "cache")
    ).with_format(form)
    column = rows[:]["intensity"]
    if form == "polars":
        return file.judge(column.explode().sum(), str(column.dtype))
    first = column[0] if isinstance(column, list) else column
    kind = str(getattr(first, "dtype", type(first)))
    return file.judge(float(np.asarray(column.sum() if hasattr(column, "sum") else np.sum(column))), kind)


def datatrove_rows(file: File) -> str:
    from datatrove.pipeline.readers import ParquetReader

    def adapter(self: Any, data: dict[str, Any], path: str, id_in_file: int) -> dict[str, Any]:
        return {"text": str(id_in_file), "id": str(id_in_file), "metadata": data}

    reader = ParquetReader(str(file.path.parent), glob_pattern=file.path.name, adapter=adapter, doc_progress=False)
    total = sum(float(np.sum(np.asarray(doc.metadata["intensity"], dtype=np.float64))) for doc in reader.run())
    return file.judge(total, "with an adapter that gives each row a text")


def grain_rows(file: File) -> str:
    import grain

    total = 0.0
    kind = ""
    for row in grain.experimental.ParquetIterDataset(str(file.path)):
        values = np.asarray(row["intensity"])
        kind = str(values.dtype)
        total += float(values.sum(dtype=np.float64))
    return file.judge(total, kind)


_TOOLS: list[tuple[str, str, Callable[[File], str]]] = [
    ("pyarrow", "bytes", size),
    ("pyarrow", "read", arrow_read),
    ("pyarrow", "pyarrow.compute.sum", arrow_sum),
    ("pandas", "read, stack, sum", pandas_sum),
    ("pandas", "read, norm of rows", pandas_norm),
    ("polars", "read_parquet, explode, sum", polars_sum),
    ("polars", "scan_parquet, arr.sum", polars_lazy),
    ("duckdb", "unnest, sum (the Data Studio's engine)", duckdb_sum),
    ("fastparquet", "read, sum", fastparquet_sum),
    ("datafusion", "unnest, sum", datafusion_sum),
    ("daft", "explode, sum", daft_sum),
    ("chdb", "array join, sum (ClickHouse)", chdb_sum),
    ("pylance", "Parquet to Lance and back", lance_sum),
    ("datasets", "numpy format, sum", partial(datasets_format, form="numpy")),
    ("datasets", "torch format, sum", partial(datasets_format, form="torch")),
    ("datasets+jax", "jax format, sum", partial(datasets_format, form="jax")),
    ("datasets+polars", "polars format, sum", partial(datasets_format, form="polars")),
    ("datatrove", "ParquetReader", datatrove_rows),
    ("grain", "ParquetIterDataset", grain_rows),
]

_INSTEAD = {
    "read_parquet, explode, sum": "`.cast(pl.Float32)` before the sum",
    "scan_parquet, arr.sum": "`.cast(pl.Array(pl.Float32, 3501))` first",
    "polars format, sum": "`.cast(pl.Float32)` before the sum",
    "explode, sum": "cast to float32 first",
    "unnest, sum (the Data Studio's engine)": "float32, or plain float16",
    "read, sum": "pyarrow",
    "jax format, sum": "sum in float32",
    "pyarrow.compute.sum": "cast to float32 first",
    "read, stack, sum": "`.sum(dtype=numpy.float64)`, or cast the column first",
    "read, norm of rows": "`.astype(numpy.float32)` first",
}


def cells(scratch: Path) -> list[Cell]:
    """Every storage through every tool."""
    values = patterns()
    files = {name: File(scratch, values, name) for name in STORAGES}
    return [
        Cell(f"patterns as {name}", library, operation, partial(check, files[name]), _INSTEAD.get(operation, ""))
        for name in STORAGES
        for library, operation, check in _TOOLS
    ]


__all__ = ["Care", "cells"]
