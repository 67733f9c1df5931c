"""How intensities can be stored: bytes of a row, time to write and read, tools that sum it, and what changes re-send.

The same rows in every way by Arrow's own writer, and as `simxrd_hf.data.shard_files` writes them (`as_generated`);
times are CPU seconds of one thread. A tool reads a way if it finds the mean of the first pattern. The second part makes
small datasets whose parameters differ in one thing and cuts their files by content into chunks of about 64 kB, as
Hugging Face's Xet storage does (gear hash, 8 to 128 kB): the share of new bytes is what a second publication would
send.

    python benchmarks/storage.py --structures STRUCTURES --json benchmarks/results/storage.json
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simxrd_hf.crystals import prototypes, read_crystals, sample
from simxrd_hf.data import generate
from simxrd_hf.data.rounding import rounded
from simxrd_hf.data.shard_files import ROWS_PER_ROW_GROUP, write_shard, writer_options
from simxrd_hf.diffraction import get_preset

ROOT = Path(__file__).resolve().parent.parent


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

        return float(np.mean(ParquetFile(str(path)).to_pandas()["intensity"].iloc[0]))

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


def exact_rows(table: pa.Table, crystals: int, preset: str, folder: Path) -> pa.Table:
    """Rows of some crystals with all digits."""
    generate(
        sample(table, crystals),
        folder / "exact",
        configs=["in_library"],
        conditions=range(30),
        preset=preset,
        exact=True,
        progress=False,
    )
    files = sorted((folder / "exact").rglob("train-*.parquet"))
    return pa.concat_tables([pq.read_table(f) for f in files]).combine_chunks()


def measure_changes(table: pa.Table, folder: Path) -> dict[str, float | str]:
    """Bytes that hf_xet sends of a dataset when it is published again after one change, each to a Hub of its own.

    The Hub of the tests takes chunks as they are, so bytes are those before the compression hf_xet does elsewhere.
    """
    from hub_server import HubServer
    from huggingface_hub import HfApi
    from huggingface_hub.utils import _xet

    preset = get_preset("simxrd-4m")
    wider = preset.replace(parameters={"zero_shift_deg": {"uniform": [-1.0, 1.0]}})
    draw = {"configs": ["in_library"], "progress": False, "num_proc": 1}
    kept = table.slice(10)
    base: tuple[pa.Table, dict[str, Any]] = (kept, {})
    changes: dict[str, tuple[pa.Table, dict[str, Any]]] = {
        "same_again": base,
        "title": base,
        "preset_zero_shift": (kept, {"preset": wider}),
        "labels_added": (kept, {"labels": ["space_group", "crystal_system", "bravais_lattice"]}),
        "seed": (kept, {"seed": 1}),
        "ten_crystals_added": (table, {}),
        "one_percent_of_crystals_left_out": (kept.slice(len(kept) // 100), {}),
    }
    generate(base[0], folder / "base", **draw)
    result: dict[str, float | str] = {"hf_xet": version("hf_xet")}
    for name, (crystals, options) in changes.items():
        if name == "title":
            shutil.copytree(folder / "base", folder / name)
            card = folder / name / "README.md"
            card.write_text(
                card.read_text(encoding="utf-8").replace("\n# ", "\n# Another title: ", 1), encoding="utf-8"
            )
        else:
            generate(crystals, folder / name, **draw, **options)
        # a client's own: it would not send what it sent to the Hub before
        os.environ["HF_XET_CACHE"] = str(folder / f"xet_{name}")
        _xet._GLOBAL_XET_HOLDER._session = None
        with HubServer() as hub:
            api = HfApi(endpoint=hub.url, token="hf_test_write_token")
            api.create_repo("tester/data", repo_type="dataset")
            sent = []
            for version_name in ("base", name):
                known = set(hub.xorbs)
                api.upload_folder(repo_id="tester/data", folder_path=folder / version_name, repo_type="dataset")
                sent.append(sum(len(hub.xorbs[xorb].body) for xorb in set(hub.xorbs) - known))
        total = sum(path.stat().st_size for path in (folder / name).rglob("*.parquet"))
        result |= {f"resent_{name}": sent[1] / total, f"resent_{name}_bytes": sent[1], f"resent_{name}_of": total}
        print(f"hf_xet sends after {name:36} {sent[1]:>12,} bytes of {total:,}", flush=True)
        shutil.rmtree(folder / name)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less data")
    parser.add_argument("--structures", metavar="PATH", help="crystals; the packaged prototypes if absent")
    parser.add_argument("--preset", default="simxrd-4m")
    parser.add_argument("--only", choices=("ways", "changes"), help="one of the two parts")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as one flat object")
    args = parser.parse_args()
    pa.set_cpu_count(1)
    sys.path.insert(0, str(ROOT / "tests" / "hub"))
    os.environ |= {"HF_XET_XORB_COMPRESSION_POLICY": "none", "HF_HUB_DISABLE_XET": "0", "HF_HUB_OFFLINE": "0"}
    table = (read_crystals(args.structures) if args.structures else prototypes()).table
    result: dict[str, Any] = {
        "preset": args.preset,
        "machine": platform.processor() or platform.machine(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "versions": f"pyarrow {pa.__version__}",
    }
    with tempfile.TemporaryDirectory(prefix="simxrd_storage_") as scratch:
        folder = Path(scratch)
        if args.only != "changes":
            result |= measure_ways(exact_rows(table, 48 if args.quick else 184, args.preset, folder), folder)
        if args.only != "ways":
            result |= measure_changes(sample(table, 64 if args.quick else 400), folder)
    if args.json is not None:
        known = json.loads(args.json.read_text()) if args.only and args.json.exists() else {}
        args.json.write_text(json.dumps(known | result, indent=1) + "\n")


if __name__ == "__main__":
    main()
