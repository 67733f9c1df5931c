"""A generated dataset, its Croissant description and the metrics, through the libraries that load them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from .cells import Care, Cell, Wrong, demand, folder_of

CRYSTALS = 20


class Folder:
    """A dataset as `simxrd generate` writes it, of 20 packaged prototypes."""

    def __init__(self, scratch: Path):
        self.scratch = scratch
        self.path = scratch / "dataset"

    @cached_property
    def made(self) -> Path:
        from simxrd_hf.crystals import prototypes, sample
        from simxrd_hf.data import generate

        generate(sample(prototypes().table, CRYSTALS), self.path, progress=False)
        return self.path

    @cached_property
    def files(self) -> list[Path]:
        """Parquet files of the config in_library."""
        found = sorted(self.made.rglob("*.parquet"))
        return [path for path in found if "crystals" not in path.name]

    @cached_property
    def train_total(self) -> float:
        """Sum over all stored numbers of the train files, float64."""
        column = self.train["intensity"].combine_chunks()
        return float(column.flatten().to_numpy(zero_copy_only=False).astype(np.float64).sum())

    @property
    def glob(self) -> str:
        """All files as one pattern."""
        return str(self.made / "**" / "train*.parquet")

    @cached_property
    def train(self) -> Any:
        """Rows of the train files, by pyarrow."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        return pa.concat_tables(pq.read_table(p) for p in sorted(self.made.rglob("train*.parquet")))


def _near(found: float, right: float, what: str) -> None:
    demand(bool(np.isfinite(found)) and abs(found / right - 1) < 1e-3, f"{what} {found:.6g}, right {right:.6g}")


def load_splits(it: Folder) -> str:
    import datasets

    splits = datasets.load_dataset(str(it.made), "in_library")
    demand({k: len(v) for k, v in splits.items()} == {"train": 600, "validation": 20, "test": 40}, f"{splits}")
    feature = splits["train"].features["space_group"]
    demand(feature.num_classes == 230, f"{feature}")
    return "600, 20 and 40 rows; space_group a ClassLabel of 230"


def load_filters(it: Folder) -> str:
    import datasets

    group = int(it.train["space_group"][0].as_py())
    rows = datasets.load_dataset(
        str(it.made), "in_library", split="train", filters=[("space_group", "==", group)], columns=["space_group"]
    )
    right = it.train["space_group"].to_pylist().count(group)
    demand(len(rows) == right, f"{len(rows)} rows, right {right}")
    return f"{right} rows of one group, one column"


def stream_loader(it: Folder) -> str:
    import datasets
    from torch.utils.data import DataLoader

    rows = datasets.load_dataset(str(it.made), "in_library", split="train", streaming=True).with_format("torch")
    seen: list[tuple[str, int]] = []
    kind = ""
    for batch in DataLoader(rows, batch_size=32, num_workers=2):
        seen += list(zip(batch["crystal_id"], batch["condition"].tolist(), strict=True))
        kind = str(batch["intensity"].dtype)
    demand(len(seen) == len(set(seen)) == 600, f"{len(seen)} rows, {len(set(seen))} different, right 600")
    return f"600 rows once each through 2 workers, {kind}"


def stream_jax(it: Folder) -> str:
    import datasets

    rows = datasets.load_dataset(str(it.made), "in_library", split="train", streaming=True).with_format("jax")
    first = next(iter(rows.batch(16)))
    values = first["intensity"]
    demand(values.shape == (16, 3501), f"shape {values.shape}")
    return f"batches of {values.shape}, {values.dtype}"


def map_scaled(it: Folder) -> str:
    import datasets

    rows = datasets.load_dataset(str(it.made), "in_library", split="train").select(range(8))
    scaled = rows.map(lambda row: {"intensity": (np.asarray(row["intensity"]) * 1000).tolist()})
    values = np.asarray(scaled[:]["intensity"], float)
    right = np.asarray(rows[:]["intensity"], float) * 1000
    demand(bool(np.isfinite(values).all()), "map(x * 1000) gives inf: the column keeps its type")
    _near(values.sum(), right.sum(), "sum after map(x * 1000)")
    return "map(x * 1000) keeps finite numbers"


def to_pandas(it: Folder) -> str:
    import datasets

    rows = datasets.load_dataset(str(it.made), "in_library", split="test").to_pandas()
    values = np.stack(rows["intensity"].to_list())
    right = np.asarray(values, np.float64).sum()
    _near(float(values.sum()), right, f"sum ({values.dtype})")
    return f"{values.dtype}, sum right"


def pandas_arrow(it: Folder) -> str:
    import pandas as pd

    frame = pd.read_parquet(it.files[0], dtype_backend="pyarrow")
    values = frame["intensity"].list.flatten()
    total = float(values.astype("float64").sum())
    right = float(np.stack(pd.read_parquet(it.files[0])["intensity"].to_list()).astype(np.float64).sum())
    _near(total, right, "sum")
    return f"{frame['intensity'].dtype}; list.flatten, cast, sum right"


def duckdb_all(it: Folder) -> str:
    import duckdb

    found = duckdb.sql(f"select * from '{it.files[0]}' limit 5").fetchall()
    demand(len(found) == 5, f"{len(found)} rows")
    total = duckdb.sql(f"select sum(list_sum(intensity)) from read_parquet('{it.glob}')").fetchall()[0][0]
    right = it.train_total
    _near(float(total), right, "sum of list_sum")
    return "select *, and sum(list_sum(intensity)) over all train files right"


def duckdb_labels(it: Folder) -> str:
    import duckdb

    found = duckdb.sql(f"select count(*), count(distinct space_group) from read_parquet('{it.glob}')").fetchall()[0]
    right = (len(it.train), len(set(it.train["space_group"].to_pylist())))
    demand(found == right, f"{found}, right {right}")
    return f"{found[0]} rows, {found[1]} groups over a glob of files"


def polars_lazy(it: Folder) -> str:
    import polars as pl

    counted = pl.scan_parquet(it.glob).group_by("crystal_system").len().collect()
    demand(counted["len"].sum() == len(it.train), f"{counted['len'].sum()} rows")
    mean = pl.scan_parquet(it.glob).select(pl.col("intensity").arr.mean().mean()).collect().item()
    right = it.train_total / (3501 * len(it.train))
    _near(float(mean), right, "mean of arr.mean")
    return f"{len(it.train)} rows grouped lazily; arr.mean right"


def fastparquet_labels(it: Folder) -> str:
    import fastparquet

    path = sorted(it.made.rglob("train*.parquet"))[0]
    frame = fastparquet.ParquetFile(str(path)).to_pandas(columns=["space_group", "crystal_id"])
    demand(len(frame) > 0 and isinstance(frame["crystal_id"].iloc[0], str), f"{frame.head(1)}")
    return f"label columns alone, {len(frame)} rows"


def arrow_dataset(it: Folder) -> str:
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    files = sorted(str(p) for p in it.made.rglob("train*.parquet"))
    group = int(it.train["space_group"][0].as_py())
    found = ds.dataset(files).scanner(filter=pc.field("space_group") == group, columns=["intensity"]).count_rows()
    right = it.train["space_group"].to_pylist().count(group)
    demand(found == right, f"{found} rows, right {right}")
    return f"scanner with a filter: {found} rows"


def pruning(it: Folder) -> str:
    import pyarrow.parquet as pq

    path = sorted(it.made.rglob("train*.parquet"))[0]
    data = pq.read_metadata(path)
    index = data.schema.names.index("space_group") if "space_group" in data.schema.names else 1
    group = data.row_group(0)
    column = next(group.column(i) for i in range(group.num_columns) if group.column(i).path_in_schema == "space_group")
    facts = f"{data.num_row_groups} row groups, statistics {'yes' if column.is_stats_set else 'no'}"
    facts += f", page index {'yes' if column.has_offset_index else 'no'}"
    if not column.is_stats_set:
        raise Care(f"{facts}: rows are mixed, so a filter on a label reads everything (column {index})")
    return facts


def ray_data(it: Folder) -> str:
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, ignore_reinit_error=True)
    try:
        rows = ray.data.read_parquet(sorted(str(p) for p in it.made.rglob("train*.parquet")))
        demand(rows.count() == len(it.train), f"{rows.count()} rows")

        def sums(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            values = np.stack(list(batch["intensity"])).astype(np.float64)
            return {"sum": values.sum(1), "kind": np.array([str(batch["intensity"].dtype)] * len(values))}

        found = rows.map_batches(sums, batch_format="numpy").take_all()
        right = it.train_total
        _near(sum(r["sum"] for r in found), right, "sum")
        return f"{len(found)} rows, numpy batches of {found[0]['kind']}, sum right"
    finally:
        ray.shutdown()


def datatrove_plain(it: Folder) -> str:
    from datatrove.pipeline.readers import ParquetReader

    reader = ParquetReader(str(it.files[0].parent), glob_pattern=it.files[0].name, doc_progress=False)
    documents = list(reader.run())
    if not documents:
        raise Care("no row comes through: rows without a text are dropped; an adapter gives them one")
    return f"{len(documents)} documents"


def chunking(it: Folder) -> str:
    """Bytes of a file that stay the same when one parameter column changes, with content-defined chunks."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from .parquet import patterns

    values = patterns(960)
    column = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
    sizes = np.linspace(1, 50, len(values)).astype(np.float32)
    shares = {}
    for name, options in (("with", {"use_content_defined_chunking": True}), ("without", {})):
        chunks = []
        for shift in (0.0, 0.001):
            rows = pa.table({"intensity": column, "size_nm": pa.array(sizes + np.float32(shift))})
            rows = rows if shift == 0 else pa.concat_tables([rows.slice(0, 7), rows.slice(11)])
            path = it.scratch / "chunked.parquet"
            pq.write_table(rows, path, compression="zstd", row_group_size=480, use_dictionary=False, **options)
            chunks.append(_blocks(path.read_bytes()))
        both = sum(size for digest, size in chunks[1].items() if digest in chunks[0])
        shares[name] = both / sum(chunks[1].values())
    demand(shares["with"] > shares["without"] + 0.2, f"with {shares['with']:.0%}, without {shares['without']:.0%}")
    told = f"{shares['with']:.0%} of the bytes again, {shares['without']:.0%} without"
    return f"four rows removed, one column changed: {told}"


def _blocks(content: bytes, mask: int = (1 << 16) - 1) -> dict[bytes, int]:
    """Content-defined blocks of about 64 kB, as a store that deduplicates cuts them: digest -> size."""
    import hashlib

    values = np.frombuffer(content, np.uint8).astype(np.uint64)
    gear = np.random.default_rng(0).integers(0, 2**63, 256, dtype=np.uint64)[values]
    rolled = np.zeros_like(gear)
    for age in range(32):  # a Gear hash of the last 32 bytes
        rolled[age:] += gear[: len(gear) - age] << np.uint64(age)
    ends = [*np.flatnonzero(rolled >> np.uint64(12) & np.uint64(mask) == 0).tolist(), len(content)]
    found: dict[bytes, int] = {}
    start = 0
    for end in ends:
        if end - start >= 8192 or end == len(content):
            block = content[start:end]
            found[hashlib.sha256(block).digest()] = len(block)
            start = end
    return found


# -- Croissant and metrics ---------------------------------------------------------------------------------------------


def croissant_valid(it: Folder) -> str:
    import mlcroissant

    found = mlcroissant.Dataset(str(it.made / "croissant.json"))
    issues = found.metadata.ctx.issues
    demand(not issues.errors, f"{list(issues.errors)[:1]}")
    words = f"{len(found.metadata.record_sets)} record sets, {len(issues.warnings)} warnings"
    if issues.warnings:
        raise Care(f"{words}: {sorted(issues.warnings)[0]}")
    return words


def croissant_records(it: Folder) -> str:
    import mlcroissant

    found = mlcroissant.Dataset(str(it.made / "croissant.json"))
    first = found.metadata.record_sets[0]
    names = [r.id for r in found.metadata.record_sets if any("intensity" in (f.id or "") for f in r.fields)]
    chosen = names[0] if names else first.id
    row = next(iter(found.records(chosen)))
    key = next(k for k in row if "intensity" in k)
    values = np.asarray(row[key], float)
    demand(values.size == 3501, f"{key} of shape {values.shape}")
    return f"records of {chosen}: {key} of {values.size} numbers, {type(row[key]).__name__}"


def croissant_plain(it: Folder) -> str:
    content = json.loads((it.made / "croissant.json").read_text())
    demand(content["@type"] in ("sc:Dataset", "Dataset"), f"@type {content['@type']}")
    return f"JSON-LD, conforms to {content['conformsTo']}"


def _metric(name: str) -> Path:
    import simxrd_hf.metrics

    return Path(simxrd_hf.metrics.__file__).parent / name


def _scores(guess: np.ndarray) -> list[list[float]]:
    """Scores of the 230 groups whose highest is the guess."""
    scores = np.full((len(guess), 230), 1e-4)
    scores[np.arange(len(guess)), guess] = 1
    return (scores / scores.sum(1, keepdims=True)).tolist()


def metric_load(it: Folder, name: str) -> str:
    import evaluate

    metric = evaluate.load(str(_metric(name)))
    truth = np.random.default_rng(0).integers(0, 230, 50)
    found = metric.compute(predictions=_scores(truth), references=truth.tolist())
    return f"{len(found)} scores, {', '.join(f'{k} {v:.3g}' for k, v in list(found.items())[:2])}"


def metric_combine(it: Folder) -> str:
    import evaluate

    both = evaluate.combine([str(_metric("symmetry_classification")), str(_metric("xrd_calibration"))])
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(230), 50)
    found = both.compute(predictions=scores.tolist(), references=rng.integers(0, 230, 50).tolist())
    return f"{len(found)} scores of both"


def metric_sklearn(it: Folder) -> str:
    import evaluate
    from sklearn.metrics import accuracy_score, f1_score

    rng = np.random.default_rng(1)
    truth, guess = rng.integers(0, 230, 500), rng.integers(0, 230, 500)
    guess[:250] = truth[:250]
    metric = evaluate.load(str(_metric("symmetry_classification")))
    found = metric.compute(predictions=_scores(guess), references=truth.tolist())
    macro = f1_score(truth, guess, average="macro", labels=range(230), zero_division=0)
    right = {"accuracy": accuracy_score(truth, guess), "macro_f1": macro}
    for key, value in right.items():
        if key in found:
            demand(abs(found[key] - value) < 1e-9, f"{key} {found[key]}, sklearn {value}")
    return (
        f"accuracy {found['accuracy']:.4f}"
        + (", macro_f1 over 230 labels" if "macro_f1" in found else "")
        + " equal to scikit-learn's"
    )


def cells(scratch: Path) -> list[Cell]:
    """The dataset, its Croissant, the metrics."""
    it = Folder(folder_of(scratch, "made"))
    data: list[tuple[str, str, Callable[[Folder], str], str]] = [
        ("datasets", "load_dataset(folder, config)", load_splits, ""),
        ("datasets", "filters and columns", load_filters, "`verification_mode='no_checks'`: sizes are on the card"),
        ("datasets+torch", "streaming, DataLoader of 2 workers", stream_loader, ""),
        ("datasets+jax", "streaming, jax batches", stream_jax, ""),
        ("datasets", "map(x * 1000)", map_scaled, "cast_column to float32 first"),
        ("datasets+pandas", "to_pandas, stack, sum", to_pandas, "`.sum(dtype=numpy.float64)`"),
        ("pandas", "dtype_backend='pyarrow'", pandas_arrow, ""),
        ("duckdb", "select *, list_sum (Data Studio)", duckdb_all, "labels alone, or float32"),
        ("duckdb", "labels over a glob of files", duckdb_labels, ""),
        ("polars", "scan_parquet over a glob", polars_lazy, "`.cast(pl.Array(pl.Float32, 3501))`"),
        ("fastparquet", "label columns alone", fastparquet_labels, ""),
        ("pyarrow", "dataset scanner with a filter", arrow_dataset, ""),
        ("pyarrow", "what a filter can leave unread", pruning, "sort by the label, or filter after loading"),
        ("pyarrow", "content-defined chunking after a change", chunking, ""),
        ("ray", "Ray Data read_parquet, map_batches", ray_data, ""),
        ("datatrove", "ParquetReader without an adapter", datatrove_plain, "an adapter (see the storages above)"),
    ]
    found = [Cell("generated dataset", lib, op, partial(check, it), instead) for lib, op, check, instead in data]
    found += [
        Cell("Croissant", "mlcroissant", "validate", partial(croissant_valid, it)),
        Cell("Croissant", "mlcroissant", "records", partial(croissant_records, it)),
        Cell("Croissant", "pyarrow", "plain JSON-LD", partial(croissant_plain, it)),
        Cell(
            "metric folders",
            "evaluate",
            "load symmetry_classification",
            partial(metric_load, it, "symmetry_classification"),
        ),
        Cell("metric folders", "evaluate", "load xrd_calibration", partial(metric_load, it, "xrd_calibration")),
        Cell("metric folders", "evaluate", "combine both", partial(metric_combine, it), "compute each alone"),
        Cell("metric folders", "evaluate+scikit-learn", "same numbers", partial(metric_sklearn, it)),
    ]
    return found


__all__ = ["Wrong", "cells"]
