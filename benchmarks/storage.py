"""How intensities can be stored: bytes of a row, time to write and read, tools that sum it, and what changes re-send.

The same rows in every way by Arrow's own writer, and as `simxrd_hf.data.shard_files` writes them (`as_generated`);
times are CPU seconds of one thread. A tool reads a way if it finds the mean of the first pattern. The second part makes
small datasets whose parameters differ in one thing and cuts their files by content into chunks of about 64 kB, as
Hugging Face's Xet storage does (gear hash, 8 to 128 kB): the share of new bytes is what a second publication would
send.

    python benchmarks/storage.py --structures STRUCTURES --json benchmarks/results/storage.json
"""

import argparse
import hashlib
import json
import platform
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numba import njit

from simxrd_hf.crystals import prototypes, read_crystals, sample
from simxrd_hf.data import generate
from simxrd_hf.data.rounding import rounded
from simxrd_hf.data.shard_files import ROWS_PER_ROW_GROUP, write_shard, writer_options
from simxrd_hf.diffraction import get_preset


def significant(values: np.ndarray, bits: int) -> np.ndarray:
    """float32 rounded to some binary digits, ties to even."""
    cut = 24 - bits
    u = values.view(np.uint32)
    odd = (u >> np.uint32(cut)) & np.uint32(1)
    return ((u + np.uint32((1 << (cut - 1)) - 1) + odd) & np.uint32((0xFFFFFFFF << cut) & 0xFFFFFFFF)).view(np.float32)


# Pages of Arrow, cut by content as ours are
CHUNKS = {"min_chunk_size": 5 << 19, "max_chunk_size": 4 << 20, "norm_level": 2}
ARROW: dict[str, Any] = {
    "column_encoding": {"intensity.list.element": "BYTE_STREAM_SPLIT"},
    "use_content_defined_chunking": CHUNKS,
    "write_batch_size": 1 << 18,
}
ARROW_CHUNKS = {"use_content_defined_chunking": True}
AS_GENERATED: dict[str, Any] = {}
PLAIN = {"column_encoding": {"intensity.list.element": "PLAIN"}}
WAYS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], dict[str, Any]]] = {
    "float32_exact": (lambda v: v, {}),
    "float16": (lambda v: v.astype(np.float16), {}),
    "float16_plain": (lambda v: v.astype(np.float16), PLAIN),
    "uint16_scaled": (lambda v: np.rint(v * 655.35).astype(np.uint16), {}),
    "float32_11_bits": (lambda v: significant(v, 11), {}),
    "float32_11_bits_plain": (lambda v: significant(v, 11), PLAIN),
    "float32_10_bits": (lambda v: significant(v, 10), {}),
    "float32_64ths": (lambda v: np.rint(v * np.float32(64)) / np.float32(64), {}),
    "as_generated": (rounded, AS_GENERATED),
    "rounded": (rounded, {}),
    "rounded_zstd_3": (rounded, {"compression_level": 3}),
    "rounded_one_chunking": (rounded, {"use_content_defined_chunking": False}),
    "rounded_arrow_chunks": (rounded, ARROW_CHUNKS),
}


def readers(path: Path) -> dict[str, Callable[[], float]]:
    """Mean of the first pattern, by tool."""

    def fastparquet() -> float:
        from fastparquet import ParquetFile

        return float(np.mean(ParquetFile(str(path)).to_pandas()["intensity.list.element"].iloc[0]))

    def duckdb() -> float:
        import duckdb

        return float(duckdb.sql(f"select list_sum(intensity) / len(intensity) from '{path}' limit 1").fetchall()[0][0])

    def polars() -> float:
        import polars

        return float(polars.read_parquet(path)["intensity"].arr.sum()[0]) / 3501

    def pandas() -> float:
        import pandas

        return float(np.sum(pandas.read_parquet(path)["intensity"].iloc[0]) / 3501)

    def datasets() -> float:
        from datasets import Dataset

        return float(np.sum(Dataset.from_parquet(str(path), cache_dir=str(path.parent))[0]["intensity"]) / 3501)

    def arrow() -> float:
        import pyarrow.compute as pc

        return float(pc.sum(pq.read_table(path)["intensity"][0].values).as_py() / 3501)

    return {f.__name__: f for f in (arrow, duckdb, polars, pandas, datasets, fastparquet)}


def measure_ways(table: pa.Table, folder: Path) -> dict[str, float | str]:
    """Size, times, error and tools of each way."""
    values = table["intensity"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
    place = table.schema.get_field_index("intensity")
    result: dict[str, float | str] = {"rows": len(table)}
    for name, (change, options) in WAYS.items():
        stored = change(values)
        flat = pa.array(stored.reshape(-1))
        kind = pa.list_(pa.field("item", flat.type, nullable=False), values.shape[1])
        column = pa.FixedSizeListArray.from_arrays(flat, type=kind)
        changed = table.set_column(place, pa.field("intensity", kind, nullable=False), column)
        path = folder / f"{name}.parquet"
        writing = {**writer_options(changed.schema), **ARROW, **options}
        writing["write_statistics"] = [n for n in changed.schema.names if n != "intensity"]

        def write(
            changed: pa.Table = changed, path: Path = path, options: Any = options, writing: Any = writing
        ) -> None:
            if options is AS_GENERATED:
                write_shard(path, changed.schema, changed.to_batches())
            else:
                pq.write_table(changed, path, row_group_size=ROWS_PER_ROW_GROUP, **writing)

        spent = {}
        for what, function in {
            "write": write,
            "read": lambda path=path: pq.read_table(path, use_threads=False),
        }.items():
            best = np.inf
            for _ in range(3):
                start = time.process_time()
                function()
                best = min(best, time.process_time() - start)
            spent[what] = best
        scale = 100 / 65535 if stored.dtype == np.uint16 else 1.0
        truth = float(values[0].astype(np.float64).mean())
        can = []
        for tool, read in readers(path).items():
            try:
                good = abs(read() * scale / truth - 1) < 1e-3
            except ImportError:
                can.append(f"{tool} not installed")
                continue
            except Exception:  # whatever a tool says to a file it cannot read
                good = False
            can.append(f"{tool} {'yes' if good else 'no'}")
        result |= {
            f"{name}_bytes_per_row": path.stat().st_size / len(table),
            f"{name}_write_us_per_row": 1e6 * spent["write"] / len(table),
            f"{name}_read_us_per_row": 1e6 * spent["read"] / len(table),
            f"{name}_largest_error": float(np.abs(stored.astype(np.float64) * scale - values).max()),
            f"{name}_tools": ", ".join(can),
        }
        print(f"{name:24}", *(f"{result[f'{name}_{k}']:10.5g}" for k in
              ("bytes_per_row", "write_us_per_row", "read_us_per_row", "largest_error")), result[f"{name}_tools"],
              flush=True)  # fmt: skip
    return result


_GEAR = np.random.default_rng(0).integers(0, 2**64, 256, dtype=np.uint64)


@njit
def _cuts(content, gear, mask, smallest, largest):
    """Ends of chunks: where the gear hash of the last 64 bytes has no bit of the mask."""
    ends = []
    start, h = 0, np.uint64(0)
    for i in range(len(content)):
        h = (h << np.uint64(1)) + gear[content[i]]
        size = i + 1 - start
        if size >= largest or (size >= smallest and (h & mask) == np.uint64(0)):
            ends.append(i + 1)
            start, h = i + 1, np.uint64(0)
    if start < len(content):
        ends.append(len(content))
    return ends


def chunks(folder: Path) -> dict[bytes, int]:
    """Size of each chunk of the Parquet files below a folder, by its sum."""
    found: dict[bytes, int] = {}
    for path in sorted(folder.rglob("*.parquet")):
        content = path.read_bytes()
        start = 0
        for end in _cuts(np.frombuffer(content, np.uint8), _GEAR, np.uint64(0xFFFF << 48), 8192, 131072):
            piece = content[start:end]
            found[hashlib.blake2b(piece, digest_size=16).digest()] = len(piece)
            start = end
    return found


def measure_changes(table: pa.Table, folder: Path) -> dict[str, float]:
    """Share of the bytes of a dataset that are new after one change."""
    preset = get_preset("simxrd-4m")
    wider = preset.replace(parameters={"zero_shift_deg": {"uniform": [-1.0, 1.0]}})
    draw = {"configs": ["in_library"], "progress": False, "num_proc": 1}
    versions: dict[str, tuple[pa.Table, dict[str, Any]]] = {
        "base": (table, {}),
        "same_again": (table, {}),
        "preset_zero_shift": (table, {"preset": wider}),
        "labels_added": (table, {"labels": ["space_group", "crystal_system", "bravais_lattice"]}),
        "seed": (table, {"seed": 1}),
        "one_percent_of_crystals_left_out": (table.slice(len(table) // 100), {}),
    }
    seen: dict[str, dict[bytes, int]] = {}
    for name, (crystals, options) in versions.items():
        generate(crystals, folder / name, **draw, **options)
        seen[name] = chunks(folder / name)
    known = set(seen["base"])
    result = {}
    for name, found in seen.items():
        total = sum(found.values())
        result[f"resent_{name}"] = sum(size for key, size in found.items() if key not in known) / total
        print(f"new bytes after {name:36} {result[f'resent_{name}']:8.2%} of {total / 1e6:.1f} MB", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less data")
    parser.add_argument("--structures", metavar="PATH", help="crystals; the packaged prototypes if absent")
    parser.add_argument("--preset", default="simxrd-4m")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as one flat object")
    args = parser.parse_args()
    pa.set_cpu_count(1)
    table = (read_crystals(args.structures) if args.structures else prototypes()).table
    result: dict[str, Any] = {
        "preset": args.preset,
        "machine": platform.processor() or platform.machine(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "versions": f"pyarrow {pa.__version__}",
    }
    with tempfile.TemporaryDirectory(prefix="simxrd_storage_") as scratch:
        folder = Path(scratch)
        generate(
            sample(table, 48 if args.quick else 184),
            folder / "exact",
            configs=["in_library"],
            conditions=range(30),
            preset=args.preset,
            exact=True,
            progress=False,
        )
        files = sorted((folder / "exact").rglob("train-*.parquet"))
        result |= measure_ways(pa.concat_tables([pq.read_table(f) for f in files]).combine_chunks(), folder)
        result |= measure_changes(sample(table, 64 if args.quick else 400), folder)
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
