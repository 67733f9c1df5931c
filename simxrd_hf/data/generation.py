"""Crystals in, a published-form dataset out: `generate()`, and the check of a folder against its manifest."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from simxrd_hf.data import splits
from simxrd_hf.data.features import DEFAULT_LABELS
from simxrd_hf.data.jobs import (
    CARD,
    CRYSTALS,
    MANIFEST,
    PARAMETERS,
    PARTIAL,
    REJECTED,
    REJECTED_SCHEMA,
    Job,
    sum_of_manifest,
)
from simxrd_hf.data.plan import FORMAT_VERSION, ROWS_PER_SHARD, Recipe, prepare_crystals
from simxrd_hf.data.shard_files import fault_of, record_of, write_table
from simxrd_hf.data.workers import GenerationError
from simxrd_hf.data.workers import records as worker_records
from simxrd_hf.errors import BadInput
from simxrd_hf.exclusive import LOCK, take
from simxrd_hf.files import remove_unfinished, write_whole

if TYPE_CHECKING:
    from simxrd_hf.crystals import CrystalTable
    from simxrd_hf.diffraction import PatternGrid, Preset


STRAY = "not in the manifest"
ENGINES = ("processes", "datatrove", "ray", "slurm")


@dataclass(frozen=True)
class GenerateReport:
    """What `generate` made.

    Attributes:
        folder: The dataset.
        rows: Rows by config and split.
        total_rows: Rows stored (the configs share them).
        bytes: Size of the Parquet files.
        crystals: Crystals with rows.
        rejected: Crystals set aside, listed in `rejected.parquet`.
        new_rows: Rows made by this run; the others were there already.
        seconds: Wall time of this run.
        seconds_simulating: The part of it in which rows were simulated and written.
    """

    folder: Path
    rows: dict[str, dict[str, int]]
    total_rows: int
    bytes: int
    crystals: int
    rejected: int
    new_rows: int
    seconds: float
    seconds_simulating: float

    @property
    def bytes_per_row(self) -> float:
        """Mean stored size of a row."""
        return self.bytes / max(self.total_rows, 1)

    @property
    def rows_per_second(self) -> float:
        """Rate of this run while it simulated; 0 if there was nothing left to make."""
        return self.new_rows / self.seconds_simulating if self.new_rows else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        extra = {"bytes_per_row": self.bytes_per_row, "rows_per_second": self.rows_per_second}
        return {**asdict(self), "folder": str(self.folder), **extra}


def generate(
    crystals: pa.Table | CrystalTable | str | Path,
    output_dir: str | Path,
    *,
    configs: Sequence[str] = ("in_library", "out_of_library"),
    preset: str | Preset = "simxrd-4m",
    seed: int = 0,
    grid: PatternGrid | None = None,
    split_by: str = "formula",
    conditions: Sequence[int] | None = None,
    labels: Sequence[str] = DEFAULT_LABELS,
    dtype: str = "float32",
    exact: bool = False,
    rows_per_shard: int = ROWS_PER_SHARD,
    hidden_test: bool = False,
    key_dir: str | Path | None = None,
    title: str = "SimXRD",
    licence: str = "other",
    num_proc: int = 1,
    engine: str | Callable[..., Any] = "processes",
    engine_options: Mapping[str, str] | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> GenerateReport:
    """Simulate a dataset and write it in the published form.

    The folder can be read with `datasets.load_dataset(folder, "in_library")`, map-style or streaming, and uploaded as
    it is. A stopped run goes on when called again with the same arguments; a finished one is checked and left alone.

    Args:
        crystals: Crystal table, or a source that `simxrd_hf.crystals.read_crystals` reads.
        output_dir: Folder to make; absent, empty, or of the same generation.
        configs: Configs to offer, from "in_library", "out_of_library", "tiny".
        preset: Name, file or object of the physics.
        seed: Seed of the drawn parameters and of the noise.
        grid: Points of a pattern; 10 … 80° in steps of 0.02° if absent.
        split_by: Out-of-library rule: "formula", "prototype" or "row_order".
        conditions: Conditions from 0 … 32 to make; all if absent. 0 … 29 are to train on, 30 validates, 31, 32 test.
        labels: Class columns.
        dtype: Storage type of the intensities, "float32" or "float16".
        exact: Keep all digits of float32 intensities (2.3 times the size); else each has one of 4,096 values, see
            `rounding.rounded`.
        rows_per_shard: Upper bound of the rows in a train shard.
        hidden_test: Also make condition 33 of each crystal as config `hidden`, without labels and in a secret order
            under a secret seed; the key goes to `key_dir`.
        key_dir: Folder of that key, `<output_dir>-key` if absent; never publish it.
        title: Name of the dataset on its card.
        licence: Licence identifier of the card (as the Hub spells it), which must fit the crystals' source.
        num_proc: Processes.
        engine: "processes" of this machine; or, through datatrove (extra `scale`), "datatrove", "ray", "slurm", or a
            function of (pipeline, number of tasks, folder for logs) that makes an executor. One that only submits, as
            Slurm's does, leaves blocks unmade: call again with the same arguments when its jobs have ended.
        engine_options: Of "slurm"; see `simxrd_hf.data.scale.run_blocks`.
        overwrite: Replace a dataset of other parameters in `output_dir`.
        progress: Show a bar with rate and remaining time.

    Returns:
        Counts, sizes and times.

    Raises:
        BadInput: Unknown parameter, unusable crystal table, output folder of something else, or no usable crystal.
        GenerationError: A worker process died; finished shards are kept, call again to go on.
        OSError: The disk is full or a folder cannot be written; finished shards are kept.
    """
    from simxrd_hf.data.card import describe

    started = time.perf_counter()
    if not callable(engine) and engine not in ENGINES:
        raise BadInput(f"there is no engine {engine!r}; choose from {', '.join(ENGINES)}")
    folder = Path(output_dir)
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is a file; give a folder to write the dataset to")
    recipe = Recipe.make(
        preset,
        seed=seed,
        grid=grid,
        conditions=conditions,
        dtype=dtype,
        exact=exact,
        split_by=split_by,
        configs=configs,
        labels=labels,
        rows_per_shard=rows_per_shard,
    )
    table, refused = _read(crystals, progress)
    table = prepare_crystals(table, split_by)
    key_folder = None
    if hidden_test:
        key_folder = Path(key_dir) if key_dir is not None else folder.with_name(f"{folder.name}-key")
        if key_folder.resolve().is_relative_to(folder.resolve()):
            raise BadInput(f"the key folder {key_folder} lies inside the dataset and would be published with it")
    card = {"title": title, "licence": licence}
    made_here = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    left_by_others = (folder / LOCK).exists()
    try:
        lock = take(folder, "generating")
    except OSError:  # what is finished can be looked at where nothing can be written
        done = _finished(folder, recipe, table, hidden_test, card)
        if done is None:
            raise
        return _report(folder, done, new_rows=0, seconds=time.perf_counter() - started, simulating=0.0)
    job: Job | None = None
    try:
        done = _finished(folder, recipe, table, hidden_test, card)
        if done is not None:
            return _report(folder, done, new_rows=0, seconds=time.perf_counter() - started, simulating=0.0)
        job = Job.begin(folder, table, recipe, key_folder=key_folder, overwrite=overwrite)
        remove_unfinished(folder)  # of a run that was killed; with the lock held no other writes here
        begun = time.perf_counter()
        new_rows = _make(job, num_proc, progress, engine, engine_options)
        simulating = time.perf_counter() - begun
        manifest = finish(job, refused, lambda: describe(job, num_proc=num_proc, **card), card)
    except BadInput:
        if job is None and not left_by_others:  # the folder is as it was
            (folder / LOCK).unlink(missing_ok=True)
            if made_here:
                folder.rmdir()
        raise
    finally:
        lock.release()
    return _report(folder, manifest, new_rows=new_rows, seconds=time.perf_counter() - started, simulating=simulating)


def _read(crystals: pa.Table | CrystalTable | str | Path, progress: bool) -> tuple[pa.Table, pa.Table]:
    """Crystal table and what its reader refused."""
    if isinstance(crystals, pa.Table):
        return crystals, REJECTED_SCHEMA.empty_table()
    if isinstance(crystals, (str, Path)):
        from simxrd_hf.crystals import read_crystals

        crystals = read_crystals(crystals, progress=progress)
    if not crystals.table.num_rows:
        raise BadInput("no crystal could be used" + _reasons(crystals.rejected))
    return crystals.table, crystals.rejected.select(REJECTED_SCHEMA.names).cast(REJECTED_SCHEMA)


def _reasons(rejected: pa.Table) -> str:
    common = Counter(rejected["reason"].to_pylist()).most_common(3)
    return "".join(f"; {reason} ({n}×)" for reason, n in common)


def _make(
    job: Job, num_proc: int, progress: bool, engine: str | Callable[..., Any], options: Mapping[str, str] | None
) -> int:
    """Make all blocks that are missing; returns the number of rows made."""
    from tqdm.auto import tqdm

    def size(number: int) -> int:
        task = job.tasks[number]
        per_crystal = 1 if task.hidden else job.plan.n_patterns_per_crystal
        return sum(map(len, task.block.windows)) * per_crystal

    todo = job.missing()
    if todo and engine != "processes":
        return _make_elsewhere(job, todo, num_proc, engine, options)
    total = sum(map(size, range(len(job.tasks))))
    made = 0
    with tqdm(
        total=total,
        initial=total - sum(map(size, todo)),
        unit=" rows",
        desc="simulating",
        disable=not progress,
        smoothing=0.05,
    ) as bar:
        for number, record in worker_records(job, todo, max(num_proc, 1)):
            made += sum(file["rows"] for file in record["files"].values())
            bar.update(size(number))
    return made


def _make_elsewhere(
    job: Job, todo: Sequence[int], workers: int, engine: str | Callable[..., Any], options: Mapping[str, str] | None
) -> int:
    try:
        from simxrd_hf.data.scale import run_blocks
    except ImportError as error:
        raise BadInput(f"engine {engine!r} needs datatrove: pip install 'simxrd_hf[scale]'") from error
    run_blocks(job.folder, todo, engine, workers, options)
    left = job.missing()
    if left:
        raise GenerationError(
            f"{len(left)} of {len(todo)} blocks are not made yet (logs in {job.work / 'logs'}): run the same command "
            "again when the executor's jobs have ended; finished blocks are kept"
        )
    made = (job.record(job.tasks[number]) for number in todo)
    return sum(file["rows"] for record in made if record for file in record["files"].values())


def finish(
    job: Job, refused: pa.Table | None = None, describe: Any = None, card: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Put a generation whose blocks are all made into its final form.

    Args:
        job: The generation.
        refused: Crystals refused before it began, schema `REJECTED_SCHEMA`.
        describe: Called without arguments to write the card into the job's `.partial`; the default card if absent.
        card: What the card was asked to say (title, licence), kept in the manifest.

    Returns:
        The manifest.

    Raises:
        BadInput: A block has not been made, or no crystal could be used.
    """
    if describe is None:
        from simxrd_hf.data.card import describe as default

        def describe() -> None:
            default(job)

    records = job.records()
    rejected = {crystal: reason for record in records.values() for crystal, reason in record["rejected"]}
    ids = job.crystals["crystal_id"].to_pylist()
    if not any(file["rows"] for record in records.values() for file in record["files"].values()):
        raise BadInput(f"no crystal could be simulated; the first reason: {next(iter(rejected.values()))}")
    source = job.crystals["source"].to_pylist() if "source" in job.crystals.column_names else [None] * len(ids)
    bad = [(s, i, rejected[i]) for s, i in zip(source, ids, strict=True) if i in rejected]
    table = pa.table([pa.array([b[k] for b in bad], pa.string()) for k in range(3)], schema=REJECTED_SCHEMA)
    if refused is not None:
        table = pa.concat_tables([refused, table])
    write_table(table, job.work / REJECTED)
    out_of_library = pa.array([splits.SPLITS[s] for s in job.plan.crystal_split])
    crystals = job.crystals.append_column("split", out_of_library)
    crystals = crystals.append_column("rejected", pa.array([rejected.get(i) for i in ids], pa.string()))
    write_table(crystals, job.work / CRYSTALS)
    files = {path: file for record in records.values() for path, file in record["files"].items()}
    rows: dict[str, dict[str, int]] = {}
    for config in job.recipe.configs:
        rows[config] = {
            split: sum(files[block.path(part)]["rows"] for block, part in job.plan.files(config, split))
            for split in splits.SPLITS
        }
    if job.hidden_plan is not None:
        rows["hidden"] = {"test": sum(files[b.path("test")]["rows"] for b in job.hidden_plan.blocks)}
    used = {int(row) for task in job.tasks for window in task.block.windows for row in window}
    manifest = {
        "digest": job.parameters()["digest"],
        "rows": rows,
        "total_rows": sum(file["rows"] for file in files.values()),
        "bytes": sum(file["bytes"] for file in files.values()),
        "crystals": len(used) - len(rejected),
        "rejected": table.num_rows,
        "blocks": records,
    }
    write_whole(job.work / PARAMETERS, json.dumps(job.parameters(), indent=1) + "\n")
    write_whole(job.work / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    job.join_key()
    describe()
    manifest |= {
        "format_version": FORMAT_VERSION,
        "card": dict(card or {}),
        "beside": {name: record_of(job.work / name) for name in (CRYSTALS, REJECTED, PARAMETERS, CARD)},
    }
    manifest["sha256"] = sum_of_manifest(manifest)
    write_whole(job.work / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    _keep_edited_card(job, manifest)
    job.place(first="README.md", last=MANIFEST)
    return manifest


def _keep_edited_card(job: Job, manifest: dict[str, Any]) -> None:
    """Leave a card alone that somebody wrote on since this program wrote it; its sum was in the manifest before."""
    before, placed = job.card_record, job.folder / CARD
    if before and placed.exists() and fault_of(placed, before):
        (job.work / CARD).unlink()


def _finished(
    folder: Path, recipe: Recipe, crystals: pa.Table, hidden: bool, card: Mapping[str, str]
) -> dict[str, Any] | None:
    """Manifest of a finished dataset of these very parameters whose files are all sound, else None.

    Raises:
        BadInput: A file lies among the shards that is none of them, and would be read with them.
    """
    from simxrd_hf.data.jobs import digest_of

    if not (folder / MANIFEST).exists() or (folder / PARTIAL).exists():
        return None
    try:
        manifest = _json(folder / MANIFEST)
    except BadInput:
        return None
    if manifest.get("digest") != digest_of(recipe, crystals, hidden):
        return None
    faults = verify(folder)
    strays = [path for path, fault in faults.items() if fault == STRAY]
    if strays:
        raise BadInput(f"{folder / strays[0]} is none of this dataset's files; move it elsewhere, or delete it")
    return manifest if not faults and manifest.get("card") == dict(card) else None


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no mapping")
    except ValueError as error:
        raise BadInput(f"{path} is damaged: {error}") from error
    return content


def verify(folder: str | Path) -> dict[str, str]:
    """Check a dataset against its manifest.

    Args:
        folder: A dataset that `generate` wrote.

    Returns:
        What is wrong, by file; empty if nothing is. A repeated `generate` with the same arguments mends it.

    Raises:
        BadInput: The folder has no manifest, so it is not a finished dataset.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).exists():
        hint = "its generation has not finished" if (folder / PARTIAL).exists() else "it holds no dataset"
        raise BadInput(f"{folder} has no {MANIFEST}: {hint}")
    manifest = _json(folder / MANIFEST)
    if "sha256" in manifest and manifest["sha256"] != sum_of_manifest(manifest):
        return {MANIFEST: "changed (it does not have the sum it names)"}
    try:
        listed = {path: file for record in manifest["blocks"].values() for path, file in record["files"].items()}
        faults = {path: fault for path, file in listed.items() if (fault := fault_of(folder / path, file))}
        beside = manifest.get("beside", {})
        for name in (CRYSTALS, REJECTED, PARAMETERS, CARD):
            if name not in beside:
                faults[name] = "has no sum in the manifest, which an older program wrote"
            elif name == CARD:  # may be written on
                faults |= {} if (folder / CARD).exists() else {CARD: "missing"}
            elif fault := fault_of(folder / name, beside[name]):
                faults[name] = fault
    except (KeyError, TypeError, AttributeError) as error:
        return {MANIFEST: f"of another form than this program writes ({type(error).__name__}: {error})"}
    for top in ("patterns", "tiny", "hidden"):
        for path in (folder / top).rglob("*.parquet"):
            name = path.relative_to(folder).as_posix()
            if name not in listed:
                faults[name] = STRAY
    if manifest.get("format_version", FORMAT_VERSION) != FORMAT_VERSION:
        faults[MANIFEST] = f"of format {manifest['format_version']}, this program writes {FORMAT_VERSION}"
    return faults


def _report(
    folder: Path, manifest: dict[str, Any], *, new_rows: int, seconds: float, simulating: float
) -> GenerateReport:
    return GenerateReport(
        folder=folder,
        rows=manifest["rows"],
        total_rows=manifest["total_rows"],
        bytes=manifest["bytes"],
        crystals=manifest["crystals"],
        rejected=manifest["rejected"],
        new_rows=new_rows,
        seconds=seconds,
        seconds_simulating=simulating,
    )
