"""What the datasets cost: size, reading at random and shuffled, generating, importing; beside the original loader.

All rates are rows per CPU second of one thread (the machine may be shared), except the end-to-end rate of generation.
Ratios compare rates of the same rows in the same run, measured in turns; the best turn of each counts, since other work
on the machine can only slow a turn down.

    python benchmarks/datasets.py --quick --json datasets.json
"""

import argparse
import datetime
import importlib
import json
import multiprocessing
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# A script named like the library: without this folder on the path, `import datasets` finds the library, here and in
# every other script of this folder, which would otherwise be given this file.
sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != Path(__file__).resolve().parent]
if __name__ == "datasets":
    del sys.modules["datasets"]
    importlib.import_module("datasets")

BATCH = 64
SHUFFLE_BUFFER = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less data, under 50 s on two cores")
    parser.add_argument("--structures", type=Path, help="crystal table; the packaged AFLOW prototypes if absent")
    parser.add_argument("--crystals", type=int, help="how many of them (quick: 1000, else 3000)")
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    folder = Path(tempfile.mkdtemp(prefix="simxrd_benchmark_"))
    os.environ["HF_DATASETS_CACHE"] = str(folder / "cache")
    try:
        result = measure(folder, args.structures, args.crystals or (1000 if args.quick else 3000), quick=args.quick)
    finally:
        shutil.rmtree(folder)
    for key, value in result.items():
        print(f"{key:<40}{value if isinstance(value, str) else f'{value:,.4g}'}")
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


def measure(folder: Path, structures: Path | None, n_crystals: int, *, quick: bool) -> dict[str, Any]:
    import datasets
    import pyarrow
    import torch

    from simxrd_hf.crystals import prototypes, read_crystals, sample, write_crystals
    from simxrd_hf.data import TensorRows, generate
    from simxrd_hf.data.batches import PATTERN_COLUMNS

    torch.set_num_threads(1)
    pyarrow.set_cpu_count(1)
    pyarrow.set_io_thread_count(1)
    datasets.disable_progress_bars()
    table = (read_crystals(structures) if structures else prototypes()).table
    table = enlarged(sample(table, n_crystals), n_crystals)
    write_crystals(table, folder / "crystals.parquet")

    report = generate(table, folder / "dataset", num_proc=2, progress=False)
    rates = generation_rates(folder, rounds=2 if quick else 4)
    data = datasets.load_dataset(str(folder / "dataset"), "in_library", split="train")
    n_original = 384 if quick else 1024
    database = write_original(data, folder / "train_1" / "binxrd.db", n_original)
    # Both sides read the columns the original loader reads.
    data = data.select_columns(list(PATTERN_COLUMNS))
    rows = TensorRows(data)
    stream = datasets.load_dataset(
        str(folder / "dataset"), "in_library", split="train", streaming=True, columns=list(PATTERN_COLUMNS)
    )
    turns = in_turns(
        {
            "original_loader": lambda: original_batches(database, n_original, 64 if quick else 256),
            "random_batch": lambda: random_batches(rows, 200 if quick else 1000),
            "random_batch_torch_format": lambda: random_torch_batches(data, 100 if quick else 1000),
            "stream_shuffled": lambda: shuffled_stream(stream, 20_000 if quick else 60_000),
            "stream_shuffled_torch_format": lambda: shuffled_torch_stream(stream, 6_000 if quick else 20_000),
            "import_original": lambda: import_rows(database, folder / "imported"),
        },
        rounds=2 if quick else 5,
    )
    original = turns["original_loader"]
    return {
        "bytes_per_row_f16": report.bytes_per_row,
        "ratio_random_batch": turns["random_batch"] / original,
        "ratio_random_batch_torch_format": turns["random_batch_torch_format"] / original,
        "ratio_stream_shuffled": turns["stream_shuffled"] / original,
        "ratio_stream_shuffled_torch_format": turns["stream_shuffled_torch_format"] / original,
        "generate_over_simulate": rates["generate"] / rates["simulate"],
        "import_original_ratio": turns["import_original"] / original,
        **{f"{name}_rows_per_s": rate for name, rate in turns.items()},
        "simulate_rows_per_s_2_processes": rates["simulate"],
        "generate_rows_per_s_2_processes": rates["generate"],
        "generate_rows_per_s_with_start": report.rows_per_second,
        "crystals": report.crystals,
        "rows": report.total_rows,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": datetime.date.today().isoformat(),
        "versions": f"datasets {datasets.__version__}, pyarrow {pyarrow.__version__}, torch {torch.__version__}, "
        f"python {platform.python_version()}",
    }


def enlarged(table: Any, n: int) -> Any:
    """At least n crystals, so that files have their usual size: copies under new names with cells 1 % larger each."""
    import pyarrow as pa

    tables = [table]
    while sum(map(len, tables)) < n:
        k = len(tables)
        lattice = pa.compute.multiply(table["lattice"].combine_chunks().flatten(), 1 + 0.01 * k)
        copy = table.set_column(
            table.column_names.index("lattice"),
            table.schema.field("lattice"),
            pa.FixedSizeListArray.from_arrays(lattice, 9),
        )
        names = pa.array([f"{name}-{k}" for name in table["crystal_id"].to_pylist()])
        tables.append(copy.set_column(table.column_names.index("crystal_id"), "crystal_id", names))
    return pa.concat_tables(tables).slice(0, n).combine_chunks()


def in_turns(tasks: dict[str, Callable[[], int]], rounds: int) -> dict[str, float]:
    """Best rate of each task, rows per CPU second; each returns the rows it has handled. One round warms up."""
    best = dict.fromkeys(tasks, 0.0)
    for round_ in range(rounds + 1):
        for name, task in tasks.items():
            started = time.process_time()
            rows = task()
            if round_:
                best[name] = max(best[name], rows / (time.process_time() - started))
    return best


# -- the original loader ----------------------------------------------------------------------------------------------


def write_original(data: Any, path: Path, n: int) -> Path:
    """Rows of ours as the SimXRD authors store theirs: an ASE database, every value a text."""
    import ase.db
    import numpy as np
    from ase import Atoms

    from simxrd_hf.data.original import SYSTEM_OF_CODE
    from simxrd_hf.diffraction import PatternGrid

    code = {system: code for code, system in SYSTEM_OF_CODE.items()}
    grid = PatternGrid()
    d = str(grid.d.tolist())
    path.parent.mkdir()
    noise = np.random.default_rng(0)  # full double precision, as the authors' numbers have
    with ase.db.connect(path) as database:
        for row in data.select(range(n)).with_format("numpy"):
            intensity = row["intensity"].astype(np.float64) * (1 + 1e-6 * noise.random(grid.n_points))
            database.write(
                Atoms("NaCl"),
                latt_dis=d,
                intensity=str(intensity.tolist()),
                tager=str([int(row["space_group"]) + 1, code[int(row["crystal_system"])], "P"]),
                chem_form="ClNa",
                simulation_param="[5.5, [0.1, 0.2], 0.3, 0.0]",
            )
    return path


def original_batches(database: Path, available: int, n: int) -> int:
    """The steps of XRDBench's `ASEDataset` and torch's collation, in random order.

    `eval` of text from a file is what that loader does and what makes it slow; it stands here to be measured on rows
    this script has written itself, and nowhere else in the project.
    """
    import ase.db
    import numpy as np
    import torch
    from torch.utils.data import default_collate

    connection = ase.db.connect(database)
    order = np.random.default_rng(0).integers(available, size=n)
    for start in range(0, n, BATCH):
        batch = []
        for index in order[start : start + BATCH]:
            row = connection.get(int(index) + 1)
            lattice = eval(row.latt_dis)  # noqa: S307
            intensity = eval(row.intensity)  # noqa: S307
            group = eval(row.tager)[0]  # noqa: S307
            system = eval(row.tager)[1]  # noqa: S307
            batch.append(
                {
                    "latt_dis": torch.tensor(lattice, dtype=torch.float32),
                    "intensity": torch.tensor(intensity, dtype=torch.float32),
                    "spg": torch.tensor(group, dtype=torch.int64),
                    "crysystem": torch.tensor(system, dtype=torch.int64),
                }
            )
        default_collate(batch)
    return n


# -- ours -------------------------------------------------------------------------------------------------------------


def random_batches(rows: Any, batches: int) -> int:
    """Batches of 64 random rows as torch tensors, from the memory-mapped dataset."""
    import numpy as np

    order = np.random.default_rng(0).integers(len(rows), size=(batches, BATCH))
    for indices in order:
        assert len(rows.__getitems__(indices)["intensity"]) == BATCH
    return batches * BATCH


def random_torch_batches(data: Any, batches: int) -> int:
    """The same with the torch format of `datasets`."""
    import numpy as np

    formatted = data.with_format("torch")
    for indices in np.random.default_rng(0).integers(len(data), size=(batches, BATCH)):
        assert len(formatted[indices]["intensity"]) == BATCH
    return batches * BATCH


def shuffled_stream(stream: Any, rows: int) -> int:
    """Shuffled batches of 64 as torch tensors from the Parquet files."""
    from simxrd_hf.data import shuffled_batches

    seen = 0
    for batch in shuffled_batches(stream, BATCH, buffer_size=SHUFFLE_BUFFER):
        seen += len(batch["intensity"])
        if seen >= rows:
            break
    return seen


def shuffled_torch_stream(stream: Any, rows: int) -> int:
    """The same with the torch format of `datasets`."""
    seen = 0
    for batch in stream.with_format("torch").shuffle(seed=0, buffer_size=SHUFFLE_BUFFER).iter(BATCH):
        seen += len(batch["intensity"])
        if seen >= rows:
            break
    return seen


def import_rows(database: Path, output: Path) -> int:
    """All rows of the authors' database to Parquet."""
    from simxrd_hf.data import import_original

    shutil.rmtree(output, ignore_errors=True)
    return sum(import_original(database, output, progress=False).rows.values())


def generation_rates(folder: Path, rounds: int) -> dict[str, float]:
    """Rows per second of two processes that simulate only, and that generate: the same blocks, after a warm-up."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        best = {"simulate": 0.0, "generate": 0.0}
        for _ in range(rounds):
            for name in best:
                done = pool.map(_blocks, [(str(folder), name, rank) for rank in range(2)], chunksize=1)
                best[name] = max(best[name], sum(rows / seconds for rows, seconds in done))
    return best


def _blocks(task: tuple[str, str, int]) -> tuple[int, float]:
    """Rows and CPU seconds of every second block, simulated only or generated."""
    import pyarrow.parquet as pq

    from simxrd_hf.crystals import crystal
    from simxrd_hf.data.jobs import Job
    from simxrd_hf.data.source import recipe_of
    from simxrd_hf.diffraction import Simulator

    folder, what, rank = Path(task[0]), task[1], task[2]
    crystals, recipe = pq.read_table(folder / "crystals.parquet"), recipe_of(folder / "dataset")
    work = folder / f"work-{rank}"
    shutil.rmtree(work, ignore_errors=True)
    job = Job.begin(work, crystals, recipe)
    simulator = Simulator(recipe.preset, seed=recipe.seed, grid=recipe.grid)
    simulator.simulate(crystal(crystals, 0), range(33))
    job.run(0)
    rows = 0
    started = time.process_time()
    for number in range(rank, len(job.tasks), 2):
        if what == "generate":
            rows += sum(int(file["rows"]) for file in job.run(number)["files"].values())
            continue
        for window in job.tasks[number].block.windows:
            for row in window:
                rows += len(simulator.simulate(crystal(job.crystals, int(row)), recipe.conditions).intensity)
    return rows, time.process_time() - started


if __name__ == "__main__":
    main()
