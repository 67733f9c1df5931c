"""One generation as a folder of independent blocks: begun, made in any order by any process, finished once.

While it runs, everything lies in `<dataset>/.partial/` (readers ignore hidden folders, so nothing unfinished can be
taken for a dataset): the parameters, the crystals, finished files, and for each finished block a record with the
sha256 of its files. A record is written after its files, each file is renamed into place whole, and the bytes of a
block depend on parameters and crystals alone. So a run may stop at any moment, a later one checks the records and makes
what is missing, and two runs that make one block write the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simxrd_hf.crystals import table_digest
from simxrd_hf.data import splits
from simxrd_hf.data.features import storage_schema
from simxrd_hf.data.plan import FORMAT_VERSION, Block, Plan, Recipe, prepare_crystals
from simxrd_hf.data.rows import RowSimulator
from simxrd_hf.data.shard_files import Shard, fault_of, write_table
from simxrd_hf.diffraction import PHYSICS_VERSION
from simxrd_hf.errors import BadInput
from simxrd_hf.exclusive import LOCK
from simxrd_hf.files import write_whole

PARTIAL = ".partial"
PARAMETERS = "simxrd.json"
_STATE = "job.json"  # the parameters while in progress, with paths of this machine
MANIFEST = "manifest.json"
CARD = "README.md"
CRYSTALS = "crystals.parquet"
REJECTED = "rejected.parquet"
REJECTED_SCHEMA = pa.schema([("source", pa.string()), ("crystal_id", pa.string()), ("reason", pa.string())])
KEY_TABLE = "key.parquet"
_KEY = "key.json"


@dataclass(frozen=True)
class Task:
    """One unit of work: a block of labelled rows, or of the hidden test."""

    block: Block
    hidden: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """Condition splits this block may have files of."""
        return ("test",) if self.hidden else splits.SPLITS


class Job:
    """A generation in progress. Make one with `Job.begin` or, in another process, `Job.open`.

    Args:
        folder: The dataset's folder; work lies in its `.partial`.
        crystals: Checked crystal table.
        recipe: Parameters.
        key_folder: Where the key of the hidden test goes, if one is made.
        secret: Seed of the hidden test.
    """

    def __init__(
        self, folder: Path, crystals: pa.Table, recipe: Recipe, key_folder: Path | None, secret: int | None
    ) -> None:
        self.folder = folder
        self.work = folder / PARTIAL
        self.crystals = crystals
        self.recipe = recipe
        self.key_folder = key_folder
        self.plan = Plan(crystals, recipe)
        tasks = [Task(block) for block in self.plan.blocks]
        self.hidden_plan: Plan | None = None
        if key_folder is not None:
            if secret is None:
                raise BadInput(f"{key_folder / _KEY} is missing; without its seed the hidden test cannot be continued")
            self.hidden_plan = Plan(crystals, replace(recipe, seed=secret), hidden=True)
            tasks += [Task(block, hidden=True) for block in self.hidden_plan.blocks]
        self.tasks = tuple(tasks)
        self.card_record: dict[str, Any] = {}  # of the card in place, when it was written
        self._simulators: dict[bool, RowSimulator] = {}

    # -- beginning ------------------------------------------------------------------------------------------------

    @classmethod
    def begin(
        cls,
        folder: Path,
        crystals: pa.Table,
        recipe: Recipe,
        *,
        key_folder: Path | None = None,
        secret: int | None = None,
        overwrite: bool = False,
    ) -> Job:
        """Begin a generation, or go on with the same one.

        Args:
            folder: The dataset's folder: absent, empty, or of this same generation.
            crystals: Crystal table.
            recipe: Parameters.
            key_folder: Where the key of a hidden test goes; no hidden test is made if absent.
            secret: Seed of the hidden test; drawn from the operating system if absent.
            overwrite: Replace a dataset of other parameters.

        Raises:
            BadInput: The folder holds something else, or the crystal table is not one.
        """
        crystals = prepare_crystals(crystals, recipe.split_by)
        digest = digest_of(recipe, crystals, key_folder is not None)
        found = _digest_in(folder)
        if folder.exists() and any(path.name != LOCK for path in folder.iterdir()):
            if found is None:
                raise BadInput(
                    f"{folder} is not empty and holds no dataset of `simxrd generate`; choose another folder"
                )
            if found != digest:
                if not overwrite:
                    raise BadInput(
                        f"{folder} holds a dataset of other parameters, crystals or version of the physics; choose "
                        "another folder, or ask to overwrite it"
                    )
                for path in folder.iterdir():  # the lock stays, or another process could take the folder meanwhile
                    if path.is_dir() and not path.is_symlink():
                        shutil.rmtree(path)
                    elif path.name != LOCK:
                        path.unlink()
                found = None
        (folder / PARTIAL / "blocks").mkdir(parents=True, exist_ok=True)
        if key_folder is not None:
            key_folder.mkdir(parents=True, exist_ok=True)
            secret = _hidden_seed(key_folder, digest, secret)
        job = cls(folder, crystals, recipe, key_folder, secret)
        if not (job.work / _STATE).exists():
            write_table(crystals, job.work / CRYSTALS)
            state = {
                "digest": digest,
                "key_folder": str(key_folder.resolve()) if key_folder else None,
                "recipe": recipe.to_dict(),
            }
            # Last, so that a folder with parameters has its crystals.
            write_whole(job.work / _STATE, json.dumps(state) + "\n")
        job._reopen()
        return job

    @classmethod
    def open(cls, folder: Path) -> Job:
        """Open a generation that another process has begun.

        Raises:
            BadInput: There is none in this folder.
        """
        path = folder / PARTIAL / _STATE
        if not path.exists():
            raise BadInput(f"no generation is in progress in {folder}")
        state = json.loads(path.read_text())
        key_folder = Path(state["key_folder"]) if state["key_folder"] else None
        secret = json.loads((key_folder / _KEY).read_text())["seed"] if key_folder else None
        crystals = pq.read_table(folder / PARTIAL / CRYSTALS).combine_chunks()
        return cls(folder, crystals, Recipe.from_dict(state["recipe"]), key_folder, secret)

    def _reopen(self) -> None:
        """Turn a finished dataset back into a generation in progress; its good files are kept."""
        manifest = self.folder / MANIFEST
        if not manifest.exists():
            return
        # Damaged, it vouches for nothing: the blocks are made again.
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            content = json.loads(manifest.read_text(encoding="utf-8"))
            if content.get("sha256", sum_of_manifest(content)) != sum_of_manifest(content):
                raise ValueError("it does not have the sum it names")
            self.card_record = content.get("beside", {}).get(CARD, {})
            for name, record in content["blocks"].items():
                write_whole(self.work / "blocks" / f"{name}.json", json.dumps(record))
        manifest.unlink()

    # -- making ---------------------------------------------------------------------------------------------------

    def record(self, task: Task) -> dict[str, Any] | None:
        """Record of a finished block, or None."""
        path = self.work / "blocks" / f"{task.block.name}.json"
        try:
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            for file in record["files"].values():
                int(file["rows"]), int(file["bytes"]), str(file["sha256"])
            [(crystal, reason) for crystal, reason in record["rejected"]]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError):  # half-written, or damaged: the block is made again
            return None
        return record

    def locate(self, path: str) -> Path:
        """A file of the dataset, where it lies now: in `.partial`, or in place if an earlier run had moved it."""
        placed = self.folder / path
        return placed if placed.exists() else self.work / path

    def missing(self) -> list[int]:
        """Numbers of the tasks still to do; finished files are checked against their sums."""
        todo = []
        for number, task in enumerate(self.tasks):
            record = self.record(task)
            if (
                record is None
                or any(fault_of(self.locate(path), r) for path, r in record["files"].items())
                or (task.hidden and not self._has_key(task))
            ):
                todo.append(number)
        return todo

    def _has_key(self, task: Task) -> bool:
        assert self.key_folder is not None
        part = self.key_folder / "parts" / f"{task.block.name}.parquet"
        return part.exists() or (self.key_folder / KEY_TABLE).exists()

    def run(self, number: int) -> dict[str, Any]:
        """Make one block.

        Args:
            number: Number of the task in `tasks`.

        Returns:
            Its record: `files` (rows, bytes, sha256 by path) and `rejected` (crystal id, reason).

        Raises:
            OSError: The disk is full, or the folder cannot be written.
        """
        task = self.tasks[number]
        plan = self.hidden_plan if task.hidden else self.plan
        assert plan is not None
        if task.hidden not in self._simulators:
            self._simulators[task.hidden] = RowSimulator(plan, reuse=True)
        simulator = self._simulators[task.hidden]
        schema = storage_schema(_hidden_features(self.recipe)) if task.hidden else simulator.schema
        shards = {part: Shard(schema) for part in plan.conditions}
        rejected: list[tuple[int, str]] = []
        keys = []
        for window in task.block.windows:
            made, bad = simulator.window(window, plan.conditions)
            rejected += bad
            for part, batch in made.items():
                if task.hidden:
                    batch, key = self._hide(batch, schema)
                    keys.append(key)
                shards[part].write(batch)
        if task.hidden:
            assert self.key_folder is not None
            parts = self.key_folder / "parts"
            parts.mkdir(exist_ok=True)
            write_table(pa.Table.from_batches(keys), parts / f"{task.block.name}.parquet")
        files = {}
        for part, shard in shards.items():
            path = task.block.path(part)
            target = self.locate(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            files[path] = shard.put(target)
        ids = self.crystals["crystal_id"]
        record = {"files": files, "rejected": [[ids[row].as_py(), reason] for row, reason in rejected]}
        write_whole(self.work / "blocks" / f"{task.block.name}.json", json.dumps(record))
        return record

    @cached_property
    def _split_of(self) -> dict[str, int]:
        return dict(zip(self.crystals["crystal_id"].to_pylist(), self.plan.crystal_split.tolist(), strict=True))

    def _hide(self, batch: pa.RecordBatch, public: pa.Schema) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """Split rows into what competitors see (opaque id, pattern) and the key (id, all other columns)."""
        assert self.hidden_plan is not None
        names = [n for n in batch.schema.names if n != "intensity"]
        salted = splits.hash64(batch["crystal_id"].to_pylist(), f"row|{self.hidden_plan.salt}")
        row_id = pa.array([f"{value:016x}" for value in salted])
        crystal_split = pa.array([splits.SPLITS[self._split_of[c]] for c in batch["crystal_id"].to_pylist()])
        key = pa.RecordBatch.from_arrays(
            [row_id, crystal_split, *(batch[n] for n in names)], names=["row_id", "crystal_split", *names]
        )
        return pa.RecordBatch.from_arrays([row_id, batch["intensity"]], schema=public), key

    # -- finishing ------------------------------------------------------------------------------------------------

    def records(self) -> dict[str, dict[str, Any]]:
        """Records of all blocks by name.

        Raises:
            BadInput: A block is missing.
        """
        found = {}
        for task in self.tasks:
            record = self.record(task)
            if record is None:
                raise BadInput(f"{self.folder}: block {task.block.name} has not been made; run the same command again")
            found[task.block.name] = record
        return found

    def parameters(self) -> dict[str, Any]:
        """Content of `simxrd.json`."""
        return {
            "format_version": FORMAT_VERSION,
            "physics_version": PHYSICS_VERSION,
            "program": _program(),
            "digest": digest_of(self.recipe, self.crystals, self.key_folder is not None),
            "crystals_digest": table_digest(self.crystals),
            "hidden_test": self.key_folder is not None,
            **self.recipe.to_dict(),
        }

    def join_key(self) -> None:
        """Put the parts of the hidden test's key together into `key.parquet`."""
        if self.key_folder is None:
            return
        parts = sorted((self.key_folder / "parts").glob("*.parquet"))
        if parts:
            write_table(pa.concat_tables([pq.read_table(p) for p in parts]), self.key_folder / KEY_TABLE)
            shutil.rmtree(self.key_folder / "parts")

    def place(self, first: str, last: str) -> None:
        """Move the finished dataset out of `.partial`: folders by one rename each, `first` first, `last` last."""
        for name in ("blocks", "logs"):
            shutil.rmtree(self.work / name, ignore_errors=True)
        names = [p.name for p in self.work.iterdir() if p.name not in {first, last, _STATE}]
        for name in [first, *sorted(names), last]:
            source, target = self.work / name, self.folder / name
            if not source.exists():
                continue
            if source.is_dir() and target.is_dir():  # an earlier run had moved it; what was made again replaces it
                for file in [f for f in source.rglob("*") if f.is_file()]:
                    file.replace(target / file.relative_to(source))
            else:
                source.replace(target)
        shutil.rmtree(self.work)


def _hidden_features(recipe: Recipe) -> Any:
    from datasets import Features, List, Value

    return Features({"row_id": Value("string"), "intensity": List(Value(recipe.dtype), recipe.grid.n_points)})


def _program() -> str:
    import simxrd_hf

    return f"simxrd_hf {simxrd_hf.__version__}"


def digest_of(recipe: Recipe, crystals: pa.Table, hidden: bool) -> str:
    """Digest of a generation: its rows, and whether a hidden test belongs to it."""
    digest = recipe.digest(crystals)
    return hashlib.blake2b(f"{digest}|hidden".encode(), digest_size=16).hexdigest() if hidden else digest


def sum_of_manifest(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of a manifest without the sum it names."""
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _digest_in(folder: Path) -> str | None:
    damaged = None
    for path in (folder / PARTIAL / _STATE, folder / PARAMETERS, folder / MANIFEST):
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["digest"])
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (ValueError, KeyError, TypeError) as error:
            damaged = damaged or f"{path} is damaged ({error}); delete this file, or choose another folder"
    if damaged:
        raise BadInput(damaged)
    # A run killed before its parameters were written leaves this and nothing else.
    if (folder / PARTIAL).exists() and {p.name for p in folder.iterdir()} <= {PARTIAL, LOCK}:
        shutil.rmtree(folder / PARTIAL)
    return None


def _hidden_seed(key_folder: Path, digest: str, secret: int | None) -> int:
    path = key_folder / _KEY
    if path.exists():
        content = json.loads(path.read_text())
        if content["digest"] != digest:
            raise BadInput(f"{path} is the key of another dataset; choose another key folder")
        return int(content["seed"])
    if any(key_folder.iterdir()):
        raise BadInput(f"{key_folder} is not empty; choose another key folder")
    if secret is None:
        secret = int(np.random.SeedSequence().generate_state(1, np.uint64)[0] >> np.uint64(1))
    write_whole(path, json.dumps({"digest": digest, "seed": secret}) + "\n")
    return secret
