"""Makes the whole SimXRD-4M once and says what it took: generation killed and resumed, checks, reading, publishing.

    python benchmarks/four_million.py generate verify rows leakage read query --structures STRUCTURES --folder FOLDER \
        --json benchmarks/results/four_million.json

119,569 crystals drawn evenly from STRUCTURES, 34 conditions each (33 labelled and the hidden test). Every stage can be
run alone, in this order, and adds its figures to the JSON file; `--crystals` makes a smaller set by the same code.

generate   `simxrd generate`, killed with SIGKILL at three random moments and started again each time
verify     every checksum; rows of every split against the arithmetic of the paper
rows       1,000 rows drawn at random, remade alone and compared bit for bit; 20 of them by `simxrd row`
engines    the same through datatrove's local executor and through Ray: bytes and rates
leakage    test crystals of each split rule with a twin in train: by formula, structure type and pattern
read       map-style, streaming, shuffled streaming of an epoch by one and two processes with a stop in the middle
query      DuckDB and polars group-bys, mlcroissant
publish    to a Hub on this machine: a cut connection, a 429 and a killed client, then what a changed preset sends again
train      former_light from the stored set and, as many patterns, on the fly; scores in and out of library
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

CRYSTALS = 119_569
ROW = ("intensity", "crystal_id", "condition")
PER_CRYSTAL = {"train": 30, "validation": 1, "test": 2}
TRAIN_SOURCES = ["stored", "on_the_fly"]
SIMXRD = [sys.executable, "-m", "simxrd_hf"]
ROOT = Path(__file__).resolve().parent.parent


class Watch:
    """Samples a process and its children twice a second: peak memory of each, CPU seconds by phase.

    Args:
        process: The parent.
        phase: Called at each sample; name of what is going on.
    """

    def __init__(self, process: "subprocess.Popen[str]", phase: Callable[[], str]) -> None:
        self.peak_mib: dict[str, float] = {}
        self.peak_total_mib = 0.0
        self.cpu: dict[str, float] = {}
        self.wall: dict[str, float] = {}
        self._process, self._phase = process, phase
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        import psutil

        seen: dict[int, float] = {}
        last = time.perf_counter()
        try:
            parent = psutil.Process(self._process.pid)
            while self._process.poll() is None:
                name, total = self._phase(), 0.0
                for number, one in enumerate([parent, *parent.children(recursive=True)]):
                    with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                        mib = one.memory_info().rss / 2**20
                        total += mib
                        label = "parent" if number == 0 else "worker"
                        self.peak_mib[label] = max(self.peak_mib.get(label, 0), mib)
                        times = one.cpu_times()
                        used = times.user + times.system
                        self.cpu[name] = self.cpu.get(name, 0) + used - seen.get(one.pid, 0.0)
                        seen[one.pid] = used
                self.peak_total_mib = max(self.peak_total_mib, total)
                now = time.perf_counter()
                self.wall[name] = self.wall.get(name, 0) + now - last
                last = now
                time.sleep(0.5)
        except psutil.NoSuchProcess:
            pass

    def join(self) -> None:
        """Wait for the last sample."""
        self._thread.join(5)


def blocks_done(folder: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return sum(1 for _ in (folder / ".partial" / "blocks").glob("*.json"))
    return 0


def generate(args: argparse.Namespace) -> dict[str, Any]:
    command = [*SIMXRD, "generate", str(args.structures), "--draw", str(args.crystals), "-o", str(args.folder)]
    command += ["--hidden-test", "--num-proc", str(args.num_proc), "--json"]
    rng = random.Random(args.seed)
    moments = sorted(rng.uniform(0.1, 0.9) for _ in range(args.kills))
    total = expected_blocks(args)
    wall: dict[str, float] = {}
    cpu: dict[str, float] = {}
    peak = {"parent": 0.0, "worker": 0.0, "together": 0.0}
    kills, begun, report = [], time.perf_counter(), None

    def phase() -> str:
        if not (args.folder / ".partial" / "job.json").exists() and not (args.folder / "manifest.json").exists():
            return "reading"
        return "simulating" if blocks_done(args.folder) < total else "finishing"

    while report is None:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        watch = Watch(process, phase)
        while process.poll() is None:
            time.sleep(0.2)
            if moments and blocks_done(args.folder) >= moments[0] * total:
                process.send_signal(signal.SIGKILL)
                kills.append(round(blocks_done(args.folder) / total, 3))
                moments.pop(0)
                break
        output = process.communicate()[0]
        watch.join()
        for mine, its in ((wall, watch.wall), (cpu, watch.cpu)):
            for name, seconds in its.items():
                mine[name] = mine.get(name, 0) + seconds
        for name, mib in {**watch.peak_mib, "together": watch.peak_total_mib}.items():
            peak[name] = max(peak[name], mib)
        if process.returncode == 0:
            report = json.loads(output)
        elif process.returncode != -signal.SIGKILL:
            raise SystemExit(f"generate ended with {process.returncode}")
        elif (args.folder / "manifest.json").exists() or (args.folder / "README.md").exists():
            raise SystemExit("a killed generation left what a reader takes for a dataset")
    seconds = time.perf_counter() - begun
    files = [path for path in args.folder.rglob("*") if path.is_file()]
    return {
        "rows": report["total_rows"],
        "crystals": report["crystals"],
        "rejected": report["rejected"],
        "minutes": seconds / 60,
        "cpu_minutes": sum(cpu.values()) / 60,
        **{f"{name}_minutes": value / 60 for name, value in wall.items()},
        **{f"{name}_cpu_minutes": value / 60 for name, value in cpu.items()},
        "rows_per_second": report["total_rows"] / seconds,
        "gigabytes": sum(path.stat().st_size for path in files) / 1e9,
        "bytes_per_row": report["bytes_per_row"],
        "files": len(files),
        "kills": kills,
        "peak_memory_mib": peak,
        "generate_command": " ".join(["simxrd", *command[3:]]),
    }


def expected_blocks(args: argparse.Namespace) -> int:
    """How many blocks the generation has, from the same plan."""
    from dataclasses import replace

    from simxrd_hf.crystals import read_crystals, sample
    from simxrd_hf.data.plan import Plan, Recipe, prepare_crystals

    table = prepare_crystals(sample(read_crystals(args.structures).table, args.crystals, seed=0), "formula")
    recipe = Recipe.make("simxrd-4m")
    return len(Plan(table, recipe).blocks) + len(Plan(table, replace(recipe, seed=1), hidden=True).blocks)


def verify(args: argparse.Namespace) -> dict[str, Any]:
    from simxrd_hf.data import verify as check

    begun = time.perf_counter()
    faults = check(args.folder)
    seconds = time.perf_counter() - begun
    manifest = json.loads((args.folder / "manifest.json").read_text())
    found = manifest["rows"]["in_library"] | {"hidden": manifest["rows"]["hidden"]["test"]}
    expected = {split: n * args.crystals for split, n in PER_CRYSTAL.items()} | {"hidden": args.crystals}
    if faults or found != expected:
        raise SystemExit(f"faults {faults}; rows {found}, expected {expected}")
    outside = manifest["rows"]["out_of_library"]
    return {"verify_seconds": seconds, "faults": 0, "rows_by_split": found, "rows_out_of_library": outside}


def rows(args: argparse.Namespace) -> dict[str, Any]:
    import numpy as np
    import pyarrow.parquet as pq

    from simxrd_hf.data import SimXRDOnTheFly
    from simxrd_hf.data.source import open_source

    rng = random.Random(args.seed)
    files = sorted((args.folder / "patterns").rglob("*.parquet"))
    alone = SimXRDOnTheFly.of(open_source(args.folder))
    equal = by_command = 0
    begun = time.perf_counter()
    for number in range(args.rows):
        stored = pq.ParquetFile(rng.choice(files))
        group = stored.read_row_group(rng.randrange(stored.num_row_groups), columns=list(ROW))
        row = group.slice(rng.randrange(len(group)), 1)
        name, condition = row["crystal_id"][0].as_py(), row["condition"][0].as_py()
        bits = row["intensity"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        made = np.asarray(alone.row(name, condition)["intensity"])
        # Readers get float32 whatever the storage: equal values in the wider type, and equal bits in the stored one.
        equal += np.array_equal(made, bits) and made.astype(bits.dtype).tobytes() == bits.tobytes()
        if number % 50 == 0:
            command = [*SIMXRD, "row", name, str(condition), "--dataset", str(args.folder), "--json"]
            said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            by_command += np.asarray(said["intensity"], dtype=bits.dtype).tobytes() == bits.tobytes()
    asked = len(range(0, args.rows, 50))
    if equal != args.rows or by_command != asked:
        raise SystemExit(f"{equal} of {args.rows} rows equal, {by_command} of {asked} by the command")
    return {"remade_rows_equal": equal, "remade_by_command": by_command, "remade_seconds": time.perf_counter() - begun}


def engines(args: argparse.Namespace) -> dict[str, Any]:
    """Each engine makes the set anew; so do the package's own workers, unless `generate` has just timed them."""
    from simxrd_hf.data import generate as make

    sums = checksums(args.folder)
    out: dict[str, Any] = {}
    target = args.folder.with_name(f"{args.folder.name}-engine")
    table = args.folder / "crystals.parquet"
    names = ["processes", "datatrove", "ray"]
    known = json.loads(args.json.read_text()) if args.json and args.json.exists() else {}
    if args.engine_crystals < args.crystals:  # fewer of them: then the reference is made anew as well
        sums = {}
    elif known.get("simulating_minutes") and not known.get("kills"):
        out["processes_rows_per_second"] = known["rows"] / known["simulating_minutes"] / 60
        names.remove("processes")
    for engine in names:
        shutil.rmtree(target, ignore_errors=True)
        source = drawn(table, args.engine_crystals)
        report = make(source, target, num_proc=args.num_proc, engine=engine, progress=False)
        mine = checksums(target)
        sums = sums or mine
        same = all(sums[name] == value for name, value in mine.items())
        out |= {f"{engine}_rows_per_second": report.rows_per_second, f"{engine}_equal_bytes": same}
        print(engine, out, file=sys.stderr)
    shutil.rmtree(target, ignore_errors=True)
    for engine in ("datatrove", "ray"):
        out[f"{engine}_over_processes"] = out[f"{engine}_rows_per_second"] / out["processes_rows_per_second"]
    return out | {"engine_crystals": args.engine_crystals}


def drawn(path: Path, n: int) -> Any:
    from simxrd_hf.crystals import sample
    from simxrd_hf.data.shard_files import read_parquet

    table = read_parquet(path)
    table = table.select([name for name in table.column_names if name not in {"split", "rejected"}])
    return sample(table, n) if n < table.num_rows else table


def checksums(folder: Path) -> dict[str, str]:
    blocks = json.loads((folder / "manifest.json").read_text())["blocks"]
    return {name: file["sha256"] for record in blocks.values() for name, file in record["files"].items()}


def leakage(args: argparse.Namespace) -> dict[str, Any]:
    from simxrd_hf.data import leakage_report
    from simxrd_hf.data.leakage import fingerprints
    from simxrd_hf.data.shard_files import read_parquet
    from simxrd_hf.data.splits import SPLIT_BY, crystal_splits

    table = read_parquet(args.folder / "crystals.parquet")
    begun = time.perf_counter()
    patterns = fingerprints(table, num_proc=args.num_proc)
    out: dict[str, Any] = {"fingerprint_seconds": time.perf_counter() - begun}
    for rule in SPLIT_BY:
        begun = time.perf_counter()
        report = leakage_report(table, crystal_splits(table, rule), patterns=patterns)
        seconds = time.perf_counter() - begun
        twins = {
            name.removeprefix("same_"): round((report[name] or 0) * report["test_crystals"])
            for name in ("same_formula", "same_prototype")
        } | {"pattern": round((report["near_duplicate"] or 0) * report["patterns_tested"])}
        out[f"leakage_{rule}"] = {**report, "twins": twins, "seconds": seconds}
    return out | {"leakage_memory_mib": peak_mib()}


def read(args: argparse.Namespace) -> dict[str, Any]:
    out: dict[str, Any] = {}
    with scratch_cache(args):
        out |= in_process("map_style(args)", args)
        out |= in_process("streamed(args)", args)
        out |= shuffled(args)
    return out


@contextlib.contextmanager
def scratch_cache(args: argparse.Namespace) -> Iterator[None]:
    """Arrow copies of the data go beside the dataset and away again."""
    cache = args.folder.with_name(f"{args.folder.name}-cache-{os.getpid()}")
    os.environ |= {"HF_DATASETS_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    try:
        yield
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def child(call: str, args: argparse.Namespace) -> list[str]:
    """Command of a process of its own that calls a function of this file; its last line of output is the result."""
    plain = json.dumps({name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()})
    code = f"""
import argparse, json, os, sys
import datasets  # before this folder, which has a file of that name, is on the path
from pathlib import Path
sys.path.insert(0, {str(ROOT / "benchmarks")!r})
import four_million
args = argparse.Namespace(**json.loads({plain!r}))
args.folder = Path(args.folder)
print(json.dumps(four_million.{call}), flush=True)
os._exit(0)  # a process that left a stream half read was once seen waiting for Arrow's threads for ever
"""
    return [sys.executable, "-c", code]


def in_process(call: str, args: argparse.Namespace) -> dict[str, Any]:
    """Result of a function of this file in a process of its own, so that its peak memory is its own."""
    done = subprocess.run(child(call, args), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def peak_mib() -> float:
    """Peak resident memory of this process; `ru_maxrss` would be no less than that of the process that began it."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) / 1024


def map_style(args: argparse.Namespace) -> dict[str, Any]:
    """The test split, two patterns of every crystal: Arrow copy, first row, random batches, cache cold and warm."""
    import numpy as np
    from datasets import load_dataset

    from simxrd_hf.data import TensorRows
    from simxrd_hf.data.plan import GLOBS

    begun = time.perf_counter()
    # by its files: asked for one split of the folder, datasets would copy all of them, 55 GB
    files = str(args.folder / GLOBS["in_library"]["test"])
    data = load_dataset("parquet", data_files={"test": files}, split="test")
    made = time.perf_counter() - begun
    data[0]
    first = time.perf_counter() - begun
    rows, rng = TensorRows(data), np.random.default_rng(0)
    drop_page_cache([Path(file["filename"]) for file in data.cache_files])
    rates = {}
    for state in ("cold", "warm"):
        begun, n = time.perf_counter(), 300
        for _ in range(n):
            rows.__getitems__(rng.integers(0, len(rows), 64))
        rates[f"random_batch_{state}_rows_per_second"] = n * 64 / (time.perf_counter() - begun)
    return {
        "map_rows": len(data),
        "map_arrow_copy_seconds": made,
        "map_first_row_seconds": first,
        "map_peak_memory_mib": peak_mib(),
        **rates,
    }


def drop_page_cache(paths: list[Path]) -> None:
    """Ask the system to forget these files' pages, without rights of root."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def streamed(args: argparse.Namespace) -> dict[str, Any]:
    from datasets import load_dataset

    begun = time.perf_counter()
    stream = load_dataset(str(args.folder), "in_library", split="train", streaming=True).select_columns(["intensity"])
    stream = stream.with_format("arrow")
    first = None
    rows = 0
    tables = stream.iter(512)
    for table in tables:
        first = first or time.perf_counter() - begun
        rows += len(table)
        if rows >= args.stream_rows:
            break
    tables.close()
    seconds = time.perf_counter() - begun
    return {
        "stream_first_row_seconds": first,
        "stream_rows_read": rows,
        "stream_rows_per_second": rows / seconds,
        "stream_peak_memory_mib": peak_mib(),
    }


def shuffled(args: argparse.Namespace) -> dict[str, Any]:
    """One epoch in random order; two processes share it; each stops in the middle and goes on from its state."""
    out: dict[str, Any] = {}
    for processes in (1, 2):
        begun = time.perf_counter()
        running = [
            subprocess.Popen(child(f"epoch_part(args, {rank}, {processes})", args), stdout=subprocess.PIPE, text=True)
            for rank in range(processes)
        ]
        parts = [json.loads(process.communicate()[0].strip().splitlines()[-1]) for process in running]
        seconds = time.perf_counter() - begun
        rows = sum(part["rows"] for part in parts)
        unique = len(set().union(*(set(part["checks"]) for part in parts)))
        out |= {
            f"shuffled_epoch_rows_{processes}": rows,
            f"shuffled_epoch_distinct_row_groups_{processes}": unique,
            f"shuffled_epoch_rows_per_second_{processes}": rows / seconds,
            f"shuffled_epoch_peak_memory_mib_{processes}": max(part["peak_mib"] for part in parts),
        }
    return out


def epoch_part(args: argparse.Namespace, rank: int, world: int) -> dict[str, Any]:
    """One process of an epoch: files and row groups in random order, a state taken and loaded in the middle."""
    from datasets import load_dataset
    from datasets.distributed import split_dataset_by_node

    def opened() -> Any:
        stream = load_dataset(str(args.folder), "in_library", split="train", streaming=True)
        stream = stream.select_columns(["intensity", "crystal_id", "condition"]).with_format("arrow")
        return split_dataset_by_node(stream.shuffle(seed=1, buffer_size=1, max_buffer_input_shards=1), rank, world)

    stream, rows, checks, state = opened(), 0, [], None
    half = args.crystals * PER_CRYSTAL["train"] // world // 2
    iterator = iter(stream.iter(512))
    for table in iterator:
        rows += len(table)
        checks.append(f"{table['crystal_id'][0]}-{table['condition'][0]}")
        if rows >= half and state is None:
            state = stream.state_dict()
            break
    del iterator
    stream = opened()
    if state is not None:
        stream.load_state_dict(state)
    for table in stream.iter(512):
        rows += len(table)
        checks.append(f"{table['crystal_id'][0]}-{table['condition'][0]}")
    return {"rows": rows, "checks": checks, "peak_mib": peak_mib()}


def query(args: argparse.Namespace) -> dict[str, Any]:
    import duckdb
    import polars

    files = str(args.folder / "patterns" / "*" / "*.parquet")
    out: dict[str, Any] = {}
    begun = time.perf_counter()
    counted = duckdb.sql(f"select space_group, count(*), avg(grain_size_nm) from '{files}' group by 1").fetchall()
    out["duckdb_group_by_seconds"] = time.perf_counter() - begun
    begun = time.perf_counter()
    frame = polars.scan_parquet(files).group_by("space_group").agg(polars.len(), polars.col("grain_size_nm").mean())
    out["polars_group_by_seconds"] = (grouped := frame.collect()) is not None and time.perf_counter() - begun
    total = args.crystals * sum(PER_CRYSTAL.values())
    if not sum(n for _, n, _ in counted) == grouped["len"].sum() == total:
        raise SystemExit("DuckDB and polars disagree about the number of rows")
    begun = time.perf_counter()
    one = sorted((args.folder / "patterns" / "test").glob("*.parquet"))[0]
    summed = duckdb.sql(f"select avg(list_sum(intensity)) from '{one}'").fetchall()
    out["duckdb_sum_of_intensities_seconds"] = time.perf_counter() - begun
    out["duckdb_mean_summed_intensity"] = float(summed[0][0])
    from mlcroissant import Dataset

    begun = time.perf_counter()
    facts = Dataset(jsonld=str(args.folder / "croissant.json"))
    out["croissant_record_sets"] = len(facts.metadata.record_sets)
    out["croissant_seconds"] = time.perf_counter() - begun
    out["largest_group_percent"] = 100 * max(n for _, n, _ in counted) / total
    out["groups"] = len(counted)
    return out


class FilesOnDisk:
    """What the test Hub keeps in memory, in a folder: 20 GB of shards would not fit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.sent = 0

    def __contains__(self, name: object) -> bool:
        return (self.folder / str(name)).exists()

    def __getitem__(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            raise KeyError(name) from None

    def __setitem__(self, name: str, content: bytes) -> None:
        self.sent += len(content)
        (self.folder / f"{name}.part").write_bytes(content)
        (self.folder / f"{name}.part").replace(self.folder / name)


def publish(args: argparse.Namespace) -> dict[str, Any]:
    """The whole folder to a Hub on the loopback address; then a small set before and after one parameter changed."""
    sys.path.insert(0, str(ROOT / "tests" / "hub"))
    from hub_server import Fault, HubServer

    scratch = args.folder.with_name(f"{args.folder.name}-hub")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        with HubServer() as hub:
            hub.store = FilesOnDisk(scratch / "store")
            environment = {**os.environ, **hub.environment(scratch / "home")}

            def send(folder: Path, name: str, stop_at: int | None = None) -> tuple[float, float, str]:
                """Seconds and peak memory of one `simxrd publish`; killed once so many bytes have arrived."""
                command = [*SIMXRD, "publish", "dataset", str(folder), f"tester/{name}", "--json"]
                begun = time.perf_counter()
                process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
                watch = Watch(process, lambda: "publishing")
                while process.poll() is None and stop_at is not None and hub.store.sent < stop_at:
                    time.sleep(0.05)
                if stop_at is not None:
                    process.send_signal(signal.SIGKILL)
                output = process.communicate()[0]
                watch.join()
                if stop_at is None and process.returncode:
                    raise SystemExit(f"publish ended with {process.returncode}: {output[-500:]}")
                return time.perf_counter() - begun, watch.peak_total_mib, output

            total = json.loads((args.folder / "manifest.json").read_text())["bytes"]
            hub.faults += [Fault("lfs_put", "cut", times=2), Fault("lfs_put", "429", times=2)]
            first = send(args.folder, "whole", stop_at=total // 2)
            arrived = hub.store.sent
            unfinished = hub.snapshot("dataset", "tester/whole") or {}
            second = send(args.folder, "whole")
            stored = hub.snapshot("dataset", "tester/whole") or {}
            wrong = [name for name, sha in checksums(args.folder).items() if stored.get(name) != sha]
            if wrong or any(name.endswith(".parquet") for name in unfinished):
                raise SystemExit(f"after the kill: {list(unfinished)[:5]}; wrong in the end: {wrong[:5]}")
            out = {
                "publish_gigabytes": total / 1e9,
                "publish_minutes": (first[0] + second[0]) / 60,
                "publish_megabytes_per_second": total / 1e6 / (first[0] + second[0]),
                "publish_peak_memory_mib": max(first[1], second[1]),
                "publish_share_sent_before_the_kill": arrived / total,
                "publish_sent_over_size": hub.store.sent / total,
                "publish_faults_met": sum(fault.hits for fault in hub.faults),
            }
            return out | sent_again(args, scratch, hub, send)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def sent_again(args: argparse.Namespace, scratch: Path, hub: Any, send: Callable[..., Any]) -> dict[str, Any]:
    """Bytes that go again when nothing, the card's title, or one parameter of the preset has changed."""
    from dataclasses import replace

    from simxrd_hf.data import generate as make
    from simxrd_hf.diffraction import get_preset

    preset = get_preset("simxrd-4m")
    name, drawn_from = list(preset.parameters.items())[-1]
    other = replace(preset, parameters={k: v for k, v in preset.parameters.items() if k != name})
    table = drawn(args.folder / "crystals.parquet", min(1200, args.crystals))
    out: dict[str, Any] = {"changed_parameter": name, "changed_from": dict(drawn_from)}
    for label, changes in (
        ("first", {}),
        ("unchanged", {}),
        ("title", {"title": "Another title"}),
        ("preset", {"preset": other}),
    ):
        report = make(table, scratch / "small", num_proc=args.num_proc, overwrite=True, progress=False, **changes)
        before = hub.store.sent
        send(scratch / "small", "small")
        out[f"republish_{label}_sent_over_size"] = (hub.store.sent - before) / report.bytes
    return out


def train(args: argparse.Namespace) -> dict[str, Any]:
    """As many patterns from the stored set as simulated on the fly; goes on where it was stopped."""
    out: dict[str, Any] = {}
    with scratch_cache(args):
        for config in args.train_configs:
            for source in args.train_sources:
                name = f"train_{args.train_patterns}_{config}_{source}"
                run = args.folder.with_name(f"{args.folder.name}-{name}")
                data = ["--data", str(args.folder), "--streaming"]
                if source == "on_the_fly":
                    data = ["--crystals", str(args.folder / "crystals.parquet"), "--preset", "simxrd-4m"]
                settings = {
                    "data-config": config,
                    "model": "simxrd_former",
                    "size": "light",
                    "task": "space_group",
                    "loss": "model",
                    "patterns": args.train_patterns,
                    "mixed-precision": "bf16",
                    "validation-rows": 2000,
                    "checkpoint-every": 1000,
                    "keep-checkpoints": 1,
                    "output": run,
                }
                command = [*SIMXRD, "train", *data, "--cpu", "--no-progress", "--json"]
                command += [text for name, value in settings.items() for text in (f"--{name}", str(value))]
                said = printed(command)
                report = run / "test"
                command = [
                    *SIMXRD,
                    "evaluate",
                    str(run / "model"),
                    str(args.folder),
                    "--data-config",
                    config,
                    "--split",
                    "test",
                ]
                scores = printed([*command, "--limit", "20000", "--output", str(report), "--json"])["scores"]
                out[name] = {"training": said, "test": scores}
                print(name, said.get("patterns_per_s"), scores.get("accuracy"), file=sys.stderr)
    return out


def printed(command: list[str]) -> Any:
    """The JSON object at the end of what a command prints."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    text = f"\n{done.stdout}"
    return json.loads(text[text.rindex("\n{") :])


STAGES: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "generate": generate,
    "verify": verify,
    "rows": rows,
    "engines": engines,
    "leakage": leakage,
    "read": read,
    "query": query,
    "publish": publish,
    "train": train,
}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("stages", nargs="+", choices=[*STAGES])
    made.add_argument("--structures", type=Path, help="crystal table with at least as many crystals")
    made.add_argument("--folder", type=Path, required=True, help="the dataset")
    made.add_argument("--crystals", type=int, default=CRYSTALS)
    made.add_argument("--num-proc", type=int, default=2)
    made.add_argument("--kills", type=int, default=3)
    made.add_argument("--rows", type=int, default=1000, help="rows to remake")
    made.add_argument("--engine-crystals", type=int, default=CRYSTALS, help="crystals of the stage `engines`")
    made.add_argument("--stream-rows", type=int, default=500_000, help="rows of the stage `read` that are streamed")
    made.add_argument("--train-patterns", type=int, default=3_587_070, help="of each run of the stage `train`")
    made.add_argument("--train-configs", nargs="+", default=["in_library", "out_of_library"], metavar="CONFIG")
    made.add_argument("--train-sources", nargs="+", default=TRAIN_SOURCES, choices=TRAIN_SOURCES)
    made.add_argument("--seed", type=int, default=0, help="of the moments of the kills and of the rows")
    made.add_argument("--json", type=Path, help="file to which the figures are added")
    return made


def main() -> int:
    args = parser().parse_args()
    found: dict[str, Any] = {}
    if args.json and args.json.exists():
        found = json.loads(args.json.read_text())
    for stage in args.stages:
        begun = time.perf_counter()
        found |= STAGES[stage](args)
        found[f"stage_{stage}_minutes"] = (time.perf_counter() - begun) / 60
        from simxrd_hf.training.machine import machine

        found |= {"machine": machine(), "date": datetime.now(UTC).strftime("%Y-%m-%d")}
        found.setdefault("commands", {})[stage] = " ".join(["python", "benchmarks/four_million.py", stage])
        if args.json:
            args.json.write_text(json.dumps(found, indent=1) + "\n")
        print(stage, json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != ROOT / "benchmarks"]
    sys.exit(main())
