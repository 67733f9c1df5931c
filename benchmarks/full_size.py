"""Guesses about a dataset of full size, and what became of them: readers, memory, pruning, caches.

Each function is one guess: its first line says it, its answer is whether it was right and the figure that shows it.
The guesses were written before the first run and stay as they were. Each runs in a process of its own, with the files
out of the page cache; "read" is what the process asked the system for, memory its highest resident size.

    python benchmarks/full_size.py DATASET --json benchmarks/results/full_size.json
    python benchmarks/full_size.py DATASET --only duckdb_counts
"""

import argparse
import importlib.util
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

Outcome = tuple[bool, str]
MIB = 2**20
LONGEST_S = 240


class Set:
    """A generated dataset on disk, with what one process has read and held so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = sorted(folder.glob("patterns/*/*.parquet"))
        self.part = sorted(folder.glob("patterns/validation/train-*.parquet"))
        self.one = str(self.part[0])
        self.begun = time.perf_counter()
        self.read_before = self._read()

    @staticmethod
    def _read() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    def forget(self) -> None:
        """Put the files out of the page cache, as far as the system lets anybody."""
        for path in self.files:
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        self.begun, self.read_before = time.perf_counter(), self._read()

    @property
    def seconds(self) -> float:
        """Since the files were forgotten."""
        return time.perf_counter() - self.begun

    @property
    def read_mib(self) -> float:
        """Asked of the system since then."""
        return (self._read() - self.read_before) / MIB

    @property
    def held_mib(self) -> float:
        """Most memory this process ever held."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    def facts(self) -> str:
        """Time, bytes and memory in words."""
        return f"{self.seconds:.1f} s, read {self.read_mib:,.0f} MiB, held {self.held_mib:,.0f} MiB"


def size_mib(paths: list[Path]) -> float:
    """Of files together."""
    return sum(path.stat().st_size for path in paths) / MIB


def arrow_counts(data: Set) -> Outcome:
    """Arrow counts the rows of all files from their footers: below 100 MiB read, below 500 MiB held."""
    import pyarrow.dataset as ds

    rows = ds.dataset([str(p) for p in data.files]).count_rows()
    return data.read_mib < 100 and data.held_mib < 500, f"{rows:,} rows, {data.facts()}"


def duckdb_counts(data: Set) -> Outcome:
    """DuckDB counts the rows of each space group in below 5 s, reading below 200 MiB of all files."""
    import duckdb

    query = f"select space_group, count(*) from '{data.folder}/patterns/*/*.parquet' group by space_group"
    groups = len(duckdb.sql(query).fetchall())
    return data.seconds < 5 and data.read_mib < 200, f"{groups} groups, {data.facts()}"


def polars_counts(data: Set) -> Outcome:
    """Polars does the same in below 5 s."""
    import polars as pl

    groups = pl.scan_parquet(f"{data.folder}/patterns/*/*.parquet").group_by("space_group").len().collect().height
    return data.seconds < 5, f"{groups} groups, {data.facts()}"


def _one_crystal(data: Set) -> str:
    import pyarrow.parquet as pq

    return str(pq.ParquetFile(data.part[0]).read_row_group(7, columns=["crystal_id"])["crystal_id"][3].as_py())


def duckdb_one_crystal(data: Set) -> Outcome:
    """DuckDB looks one crystal up in a part of the set and reads the intensities of the groups it lies in only."""
    import duckdb

    name = _one_crystal(data)
    data.forget()
    files = [str(p) for p in data.part]
    rows = duckdb.execute("select intensity from read_parquet(?) where crystal_id = ?", [files, name]).fetchall()
    whole = size_mib(data.part)
    return data.read_mib < whole / 10, f"{len(rows)} rows of {whole:,.0f} MiB, {data.facts()}"


def polars_one_crystal(data: Set) -> Outcome:
    """Polars decodes all intensities for that: it takes over five times as long as DuckDB, and holds below 2 GiB."""
    import duckdb
    import polars as pl

    name = _one_crystal(data)
    files = [str(p) for p in data.part]
    data.forget()
    duckdb.execute("select intensity from read_parquet(?) where crystal_id = ?", [files, name]).fetchall()
    other = data.seconds
    data.forget()
    rows = pl.scan_parquet(files).filter(pl.col("crystal_id") == name).select("intensity").collect().height
    right = data.seconds > 5 * other and data.held_mib < 2048
    return right, f"{rows} rows, {data.facts()}; DuckDB {other:.1f} s"


def arrow_one_crystal(data: Set) -> Outcome:
    """Arrow reads all intensities for that: a filter spares row groups by statistics, which names do not narrow."""
    import pyarrow.dataset as ds

    name = _one_crystal(data)
    data.forget()
    table = ds.dataset([str(p) for p in data.part]).to_table(
        columns=["intensity"], filter=ds.field("crystal_id") == name
    )
    whole = size_mib(data.part)
    return data.read_mib > 0.9 * whole, f"{len(table)} rows of {whole:,.0f} MiB, {data.facts()}"


def duckdb_one_condition(data: Set) -> Outcome:
    """Rows of one condition lie in every group, so DuckDB reads all intensities for them."""
    import duckdb

    files = [str(p) for p in data.part[:8]]
    query = "select count(*), sum(list_max(intensity)) from read_parquet(?) where condition = 3"
    rows, _ = duckdb.execute(query, [files]).fetchall()[0]
    whole = size_mib(data.part[:8])
    return data.read_mib > 0.9 * whole, f"{rows} rows of {whole:,.0f} MiB, {data.facts()}"


def duckdb_random_rows(data: Set) -> Outcome:
    """DuckDB draws ten patterns by ORDER BY random() LIMIT 10 and reads below a tenth of the intensities."""
    import duckdb

    files = [str(p) for p in data.part]
    rows = duckdb.execute("select intensity from read_parquet(?) order by random() limit 10", [files]).fetchall()
    whole = size_mib(data.part)
    return data.read_mib < whole / 10, f"{len(rows)} rows of {whole:,.0f} MiB, {data.facts()}"


def arrow_reads_ahead(data: Set) -> Outcome:
    """A pyarrow scan whose reader is slow holds over 1.5 GiB by default; without read-ahead below 500 MiB."""
    import pyarrow.dataset as ds

    held = []
    for options in ({"batch_readahead": 0, "fragment_readahead": 0}, {}):
        scanner = ds.dataset([str(p) for p in data.part[:12]]).scanner(columns=["intensity"], **options)
        for number, _ in enumerate(scanner.to_batches()):
            time.sleep(0.02)
            if number > 60:
                break
        held.append(data.held_mib)
    return held[0] < 500 and held[1] > 1536, f"held {held[0]:,.0f} MiB without, {held[1]:,.0f} MiB with read-ahead"


def arrow_maps_memory(data: Set) -> Outcome:
    """memory_map=True spares less than a tenth of the memory to read one compressed file whole."""
    code = "import sys, resource, pyarrow.parquet as pq; pq.read_table(sys.argv[1], memory_map=sys.argv[2] == 'yes');"
    code += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    plain, mapped = (
        float(subprocess.run([sys.executable, "-c", code, data.one, way], capture_output=True, check=True).stdout)
        for way in ("no", "yes")
    )
    return mapped > 0.9 * plain, f"held {plain:,.0f} MiB without, {mapped:,.0f} MiB with"


def page_cache(data: Set) -> Outcome:
    """Reading one file again, now in the page cache, is less than a third faster: unpacking takes the time."""
    import pyarrow.parquet as pq

    first = data.seconds
    times = []
    for _ in range(2):
        before = data.seconds
        pq.read_table(data.one, use_threads=False)
        times.append(data.seconds - before)
    return times[1] > times[0] / 1.33, f"{times[0]:.2f} s, then {times[1]:.2f} s (imports {first:.1f} s)"


def _matrix_mib(data: Set) -> float:
    import pyarrow.parquet as pq

    return pq.read_metadata(data.one).num_rows * 3501 * 4 / MIB


def pandas_one_file(data: Set) -> Outcome:
    """With pandas one file is read with less than three times the memory of its intensities as float32."""
    import pandas as pd

    before, matrix = data.held_mib, _matrix_mib(data)
    pd.read_parquet(data.one)
    return data.held_mib - before < 3 * matrix, f"{data.held_mib - before:,.0f} MiB for {matrix:,.0f} MiB"


def polars_one_file(data: Set) -> Outcome:
    """Polars reads one file with less than three times the memory of its intensities as float32."""
    import polars as pl

    before, matrix = data.held_mib, _matrix_mib(data)
    pl.read_parquet(data.one)
    return data.held_mib - before < 3 * matrix, f"{data.held_mib - before:,.0f} MiB for {matrix:,.0f} MiB"


def duckdb_numpy(data: Set) -> Outcome:
    """DuckDB gives intensities to numpy as arrays of float32, one a row, with less than four times their memory."""
    import duckdb

    before, matrix = data.held_mib, _matrix_mib(data)
    column = duckdb.sql(f"select intensity from '{data.one}'").fetchnumpy()["intensity"]
    row = column[0]
    right = isinstance(row, np.ndarray) and row.dtype == np.float32 and data.held_mib - before < 4 * matrix
    return (
        right,
        f"{type(row).__name__} {getattr(row, 'dtype', '')}, {data.held_mib - before:,.0f} MiB for {matrix:,.0f}",
    )


def float_sums(data: Set) -> Outcome:
    """Sums of a pattern by DuckDB are exact, by Polars and pyarrow within 1e-5: none adds one by one in float32."""
    import duckdb
    import polars as pl
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(data.one, columns=["intensity"]).slice(0, 2000)
    values = table["intensity"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
    right = values.astype(np.float64).sum(axis=1)
    rows = duckdb.sql(f"select list_sum(intensity) from '{data.one}' limit 2000").fetchall()
    found = {
        "DuckDB": np.array([row[0] for row in rows]),
        "Polars": pl.read_parquet(data.one, n_rows=2000)["intensity"].arr.sum().to_numpy(),
        "pyarrow": np.array([pc.sum(row.values).as_py() for row in table["intensity"]]),
    }
    worst = {name: float(np.abs(sums / right - 1).max()) for name, sums in found.items()}
    text = ", ".join(f"{name} {error:.1e}" for name, error in worst.items())
    return worst["DuckDB"] < 1e-12 and max(worst.values()) < 1e-5, f"largest relative error: {text}"


def polars_streams(data: Set) -> Outcome:
    """Polars' streaming engine takes the mean pattern of each crystal system over a part and holds below 1.5 GiB."""
    import polars as pl

    part = pl.scan_parquet([str(p) for p in data.part[:8]])
    mean = part.group_by("crystal_system").agg(pl.col("intensity").arr.mean().mean()).collect(engine="streaming")
    return data.held_mib < 1536, f"{mean.height} systems, {data.facts()}"


def _stream(data: Set, **options: object) -> int:
    from datasets import load_dataset

    data.forget()  # importing datasets reads as much as the labels are
    files = [str(p) for p in data.part[:4]]
    rows = load_dataset("parquet", data_files=files, split="train", streaming=True, **options)
    return sum(1 for _ in rows)


def datasets_columns(data: Set) -> Outcome:
    """Streaming by datasets, one label column of four files takes below a twentieth of their bytes."""
    rows = _stream(data, columns=["space_group"])
    whole = size_mib(data.part[:4])
    return data.read_mib < whole / 20, f"{rows:,} rows of {whole:,.0f} MiB, {data.facts()}"


def datasets_filters(data: Set) -> Outcome:
    """Streaming by datasets, the rows of one condition take all bytes of the files, and below 1 GiB of memory."""
    rows = _stream(data, filters=[("condition", "==", 3)])
    whole = size_mib(data.part[:4])
    return data.read_mib > 0.9 * whole and data.held_mib < 1024, f"{rows:,} rows of {whole:,.0f} MiB, {data.facts()}"


def hub_columns(data: Set) -> Outcome:
    """Over HTTP datasets sends for one label column of a file most of the file: 5 MiB are read ahead in each group."""
    sent, size = _from_hub(data, 'load_dataset("tester/set", split="train", streaming=True, columns=["space_group"])')
    return sent > size / 2, f"{sent / MIB:.1f} of {size / MIB:.1f} MiB"


def hub_first_rows(data: Set) -> Outcome:
    """The first ten rows of a file over HTTP take below 10 MiB: its footer and one row group."""
    sent, size = _from_hub(data, 'load_dataset("tester/set", split="train", streaming=True).take(10)')
    return sent < 10 * MIB, f"{sent / MIB:.1f} of {size / MIB:.1f} MiB"


def hub_arrow_columns(data: Set) -> Outcome:
    """Arrow over HfFileSystem takes below 2 MiB for the same column, since it asks for ranges ahead of time."""
    code = 'pq.read_table("datasets/tester/set/train.parquet", columns=["space_group"], filesystem=HfFileSystem())[0]'
    sent, size = _from_hub(data, code)
    return sent < 2 * MIB, f"{sent / MIB:.1f} of {size / MIB:.1f} MiB"


def _from_hub(data: Set, expression: str) -> tuple[int, int]:
    """Bytes a Hub on loopback sends of one file of the set while a new process goes through what the expression is."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "hub"))
    import hub_server

    sent = 0

    class Counting(hub_server._Handler):
        def _bytes(self, content: bytes, headers: dict[str, str]) -> None:
            nonlocal sent
            match = self.headers.get("Range", "").removeprefix("bytes=").split("-")
            if self.command == "GET" and "/store/" in self.path:
                last = min(int(match[1]), len(content) - 1) if len(match) == 2 and match[1] else len(content) - 1
                sent += last + 1 - (int(match[0]) if match[0] else 0)
            super()._bytes(content, headers)

    hub_server._Handler = Counting
    code = "import sys; import pyarrow.parquet as pq; from datasets import load_dataset\n"
    code += "from huggingface_hub import HfFileSystem\n"
    code += f"for row in {expression}: pass"
    up = "import sys; from huggingface_hub import HfApi; api = HfApi();"
    up += "api.create_repo('tester/set', repo_type='dataset');"
    up += "api.upload_file(path_or_fileobj=sys.argv[1], path_in_repo='train.parquet', repo_id='tester/set',"
    up += "repo_type='dataset')"
    with hub_server.HubServer() as hub, tempfile.TemporaryDirectory() as home:
        env = os.environ | hub.environment(Path(home))
        subprocess.run([sys.executable, "-c", up, data.one], env=env, check=True, capture_output=True)
        sent = 0
        subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True)
    return sent, Path(data.one).stat().st_size


def hub_arrow_columns_uncached(data: Set) -> Outcome:
    """Opened with cache_type="none" it takes below 1 MiB (guessed after the one before had failed)."""
    code = 'pq.read_table(HfFileSystem().open("datasets/tester/set/train.parquet", cache_type="none"), '
    code += 'columns=["space_group"])[0]'
    sent, size = _from_hub(data, code)
    return sent < MIB, f"{sent / MIB:.1f} of {size / MIB:.1f} MiB"


def ray_store(data: Set) -> Outcome:
    """Ray Data goes through twelve files with an object store of 1 GiB, spills nothing, and gives every row once."""
    import ray

    ray.init(num_cpus=1, object_store_memory=2**30, include_dashboard=False, logging_level="ERROR")
    files = [str(p) for p in data.part[:12]]
    rows = 0
    for batch in ray.data.read_parquet(files, columns=["intensity"]).iter_batches(batch_size=256, batch_format="numpy"):
        rows += len(batch["intensity"])
    from ray._private.internal_api import memory_summary

    spilled = [line for line in memory_summary(stats_only=True).splitlines() if "pill" in line]
    import pyarrow.dataset as ds

    right = not spilled and rows == ds.dataset(files).count_rows()
    return right, f"{rows:,} rows, {rows / data.seconds:,.0f} rows/s, spilled: {'; '.join(spilled) or 'nothing'}"


GUESSES: tuple[Callable[[Set], Outcome], ...] = (
    arrow_counts, duckdb_counts, polars_counts, duckdb_one_crystal, polars_one_crystal, arrow_one_crystal,
    duckdb_one_condition, duckdb_random_rows, arrow_reads_ahead, arrow_maps_memory, page_cache, pandas_one_file,
    polars_one_file, duckdb_numpy, float_sums, polars_streams, datasets_columns, datasets_filters, hub_columns,
    hub_first_rows, hub_arrow_columns, hub_arrow_columns_uncached, ray_store,
)  # fmt: skip


def run(name: str, folder: Path) -> dict[str, object]:
    """One guess in a process of its own."""
    command = [sys.executable, __file__, str(folder), "--here", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        return {"right": False, "seen": f"not done after {LONGEST_S} s"}
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}"
        return {"right": None, "seen": reason[:300]}
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--only", action="append", metavar="NAME", help="this guess; repeat for several")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all outcomes here")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    args = parser.parse_args()
    by_name = {guess.__name__: guess for guess in GUESSES}
    if args.here:
        data = Set(args.dataset)
        data.forget()
        right, seen = by_name[args.here](data)
        print(json.dumps({"right": bool(right), "seen": seen}))
        return
    rows = []
    for name in args.only or by_name:
        text = (by_name[name].__doc__ or "").strip()
        row = {"name": name, "guess": text, **run(name, args.dataset)}
        rows.append(row)
        verdict = {True: "right", False: "WRONG", None: "not run"}[row["right"]]  # type: ignore[index]
        print(f"{verdict:8} {name}: {text}\n         {row['seen']}", flush=True)
    print(f"{sum(row['right'] is True for row in rows)} of {len(rows)} right")
    if args.json:
        packages = ("pyarrow", "duckdb", "polars", "pandas", "datasets", "huggingface_hub", "ray")
        made = {name: version(name) for name in packages if importlib.util.find_spec(name)}
        machine = f"{platform.machine()}, {os.cpu_count()} cores"
        facts = {"machine": machine, "date": datetime.now(UTC).strftime("%Y-%m-%d"), "versions": made}
        args.json.write_text(json.dumps({**facts, "guesses": rows}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
