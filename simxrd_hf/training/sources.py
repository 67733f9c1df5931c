"""Where batches come from: stored patterns (memory-mapped or streamed) and patterns simulated while training."""

import functools
import hashlib
import json
import os
import queue
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from simxrd_hf.errors import BadInput
from simxrd_hf.training.config import NUM_LABELS, TrainConfig
from simxrd_hf.training.isostructural import isostructural
from simxrd_hf.training.samplers import SampleOrder, StepBatches, balanced_weights, even_choice, micro_batch_size

Batch = dict[str, Tensor]


class Source(Protocol):
    """Rows with labels that can be fetched in any order.

    `labels` (n,) int64 and `groups` (n,) crystal numbers lie in memory, patterns are fetched. `grid` is the 2θ grid as
    plain data, `digest` identifies the data, `identity(rows)` gives the columns that name rows in a predictions table.
    """

    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    grid: dict[str, float]
    digest: str

    def __len__(self) -> int: ...

    def __getitems__(self, pairs: Sequence[tuple[int, int]]) -> Batch:
        """Batch of the (draw, row) pairs: `intensity` (B, n_points) float16 or float32, `labels` (B,) int64."""
        ...

    def identity(self) -> dict[str, Any]:
        """Columns (n,) that name the rows: crystal_id, condition and so on."""
        ...


def data_digest(folder: Path) -> str:
    """16 hex digits that identify a stored dataset: of its manifest, or of file names and sizes where there is none."""
    manifest = folder / "manifest.json"
    if manifest.exists():
        content = manifest.read_bytes()
    else:
        files = sorted(path for path in folder.rglob("*.parquet"))
        content = "\n".join(f"{path.relative_to(folder)} {path.stat().st_size}" for path in files).encode()
    return hashlib.sha256(content).hexdigest()[:16]


def stored_files(folder: str | Path, config_name: str, split: str) -> list[Path]:
    """The Parquet shards of one split, as the `configs:` block of the folder's README names them.

    Raises:
        BadInput: The folder, config or split is not there.
    """
    from huggingface_hub import DatasetCard

    folder = Path(folder)
    if not folder.is_dir():
        raise BadInput(f"{folder}: there is no such dataset folder; write one with `simxrd generate`")
    card = folder / "README.md"
    configs = (DatasetCard.load(card).data.to_dict().get("configs") if card.exists() else None) or []
    globs = {(c["config_name"], f["split"]): f["path"] for c in configs for f in c["data_files"]}
    if (config_name, split) not in globs:
        there = ", ".join("/".join(key) for key in globs)
        raise BadInput(f"{folder}: its README.md names no {config_name}/{split} (there are: {there or 'none'})")
    patterns = globs[config_name, split]
    files = sorted(
        {path for one in ([patterns] if isinstance(patterns, str) else patterns) for path in folder.glob(one)}
    )
    if not files:
        raise BadInput(f"{folder}: no file fits {patterns}; generate or download the dataset again")
    return files


def stored_grid(folder: str | Path) -> dict[str, float] | None:
    """The 2θ grid a dataset folder was written with, from its simxrd.json; None where it has none."""
    path = Path(folder) / "simxrd.json"
    if not path.exists():
        return None
    return json.loads(path.read_text()).get("grid")


class StoredSplit:
    """One split of a dataset folder, through the Hugging Face Arrow cache: memory-mapped, shared by all processes.

    Args:
        folder: As `simxrd generate` writes it.
        config_name: "in_library", "out_of_library" or "tiny".
        split: "train", "validation" or "test".
        task: Which label.
        limit_rows: Use that many rows, drawn evenly.
        limit_crystals: Use the rows of that many crystals, drawn evenly.
        conditions: Use only the first that many conditions.

    Raises:
        BadInput: Folder, split or columns missing, or label names that are not the task's.
    """

    def __init__(
        self,
        folder: str | Path,
        config_name: str,
        split: str,
        task: str,
        *,
        limit_rows: int | None = None,
        limit_crystals: int | None = None,
        conditions: int | None = None,
    ) -> None:
        import datasets
        import pyarrow.compute as pc

        files = stored_files(folder, config_name, split)
        table = datasets.load_dataset(
            "parquet", data_files={split: [str(path) for path in files]}, split=split, verification_mode="no_checks"
        ).with_format("arrow")
        missing = {"intensity", task, "crystal_id", "condition"} - set(table.column_names)
        if missing:
            raise BadInput(f"{folder}: {config_name}/{split} has no column {', '.join(sorted(missing))}")
        self.label_names: list[str] | None = getattr(table.features[task], "names", None)
        if len(self.label_names or ()) not in (0, NUM_LABELS[task]):
            raise BadInput(
                f"{folder}: column {task} has {len(self.label_names or ())} classes, the task has {NUM_LABELS[task]}"
            )
        self.grid = stored_grid(folder) or {}
        self.digest = data_digest(Path(folder))
        self.n_points = int(table.features["intensity"].length)
        arrow = table.data
        labels = arrow.column(task).to_numpy()
        if len(labels) and (labels.min() < 0 or labels.max() >= NUM_LABELS[task]):
            raise BadInput(f"{folder}: {config_name}/{split} has {task} labels outside 0 … {NUM_LABELS[task] - 1}")
        groups = pc.dictionary_encode(arrow.column("crystal_id").combine_chunks()).indices.to_numpy()

        rows = np.arange(len(labels))
        if conditions is not None:
            rows = rows[np.isin(arrow.column("condition").to_numpy(), np.arange(conditions))]
        if limit_crystals is not None:
            rows = rows[np.isin(groups[rows], even_choice(int(groups.max()) + 1, limit_crystals))]
        rows = rows[even_choice(len(rows), limit_rows)]
        if not len(rows):
            raise BadInput(f"{folder}: {config_name}/{split} has no rows left after the limits set")
        self._rows = rows
        self.labels = labels[rows].astype(np.int64)
        self.groups = groups[rows].astype(np.int64)

        # Views of the memory map, one per record batch: a batch is gathered by numpy straight from the pages.
        self._table = table
        self._chunks = [_as_matrix(chunk, self.n_points) for chunk in arrow.column("intensity").chunks]
        self._starts = np.cumsum([0, *(len(chunk) for chunk in self._chunks)])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, pair: tuple[int, int]) -> Batch:
        """One row (torch asks for the method; batches use `__getitems__`)."""
        return {name: value[0] for name, value in self.__getitems__([pair]).items()}

    def __getitems__(self, pairs: Sequence[tuple[int, int]]) -> Batch:
        """Batch of rows; the draw makes no difference to stored rows."""
        rows = np.fromiter((row for _, row in pairs), dtype=np.int64, count=len(pairs))
        stored = self._rows[rows]
        chunk_of = np.searchsorted(self._starts, stored, side="right") - 1
        intensity = np.empty((len(rows), self.n_points), dtype=self._chunks[0].dtype)
        for place, (chunk, row) in enumerate(zip(chunk_of, stored, strict=True)):
            intensity[place] = self._chunks[chunk][row - self._starts[chunk]]
        return {"intensity": torch.from_numpy(intensity), "labels": torch.from_numpy(self.labels[rows])}

    def identity(self) -> dict[str, Any]:
        """crystal_id and condition of every row."""
        return {name: self._table.data.column(name).take(self._rows) for name in ("crystal_id", "condition")}


def _as_matrix(chunk: Any, n_points: int) -> NDArray:
    """(rows, n_points) view of a fixed-size list array."""
    return chunk.flatten().to_numpy(zero_copy_only=False).reshape(-1, n_points)


class StreamedSplit:
    """Training rows of a dataset folder read shard by shard, for sets larger than memory and page cache.

    The unit is a Parquet row group. An epoch permutes all row groups of all shards by (seed, epoch), deals them to the
    processes in turn, and shuffles rows inside blocks of `block` groups. The sequence of a process is a pure function
    of (seed, process, number of processes), and positions are found from the file footers, so that going on from a step
    reads nothing that was used before.

    Args:
        folder: As `simxrd generate` writes it.
        config_name: Split scheme.
        split: Split name.
        task: Which label.
        seed: Key of the order.
        block: Row groups shuffled together.
    """

    def __init__(self, folder: str | Path, config_name: str, split: str, task: str, seed: int, block: int = 8) -> None:
        import pyarrow.parquet as pq

        self.files = stored_files(folder, config_name, split)
        self.task, self.seed, self.block = task, seed, block
        self.grid = stored_grid(folder) or {}
        self.digest = data_digest(Path(folder))
        footers = [pq.ParquetFile(path).metadata for path in self.files]
        self.units = [
            (number, group, footer.row_group(group).num_rows)
            for number, footer in enumerate(footers)
            for group in range(footer.num_row_groups)
        ]
        self.n_points = int(pq.read_schema(self.files[0]).field("intensity").type.list_size)
        self.labels = np.concatenate(
            [pq.read_table(path, columns=[task]).column(task).to_numpy() for path in self.files]
        ).astype(np.int64)

    def __len__(self) -> int:
        return sum(rows for _, _, rows in self.units)

    def _blocks(self, epoch: int, rank: int, world: int) -> list[list[tuple[int, int, int]]]:
        key = np.array([self.seed, epoch], dtype=np.uint64)
        order = np.random.Generator(np.random.Philox(key=key)).permutation(len(self.units))
        mine = [self.units[unit] for unit in order[rank::world]]
        return [mine[i : i + self.block] for i in range(0, len(mine), self.block)]

    def batches(self, start: int, batch_size: int, rank: int, world: int) -> Iterator[Batch]:
        """Endless batches of one process, from its row number `start` on.

        Raises:
            BadInput: More processes than row groups.
        """
        if world > len(self.units):
            raise BadInput(
                f"streaming: {len(self.units)} row groups cannot be shared by {world} processes; write smaller shards"
            )
        held: list[NDArray] = []
        held_labels: list[NDArray] = []
        for intensity, labels in self._rows_from(start, rank, world):
            held.append(intensity)
            held_labels.append(labels)
            if sum(map(len, held_labels)) < batch_size:
                continue
            patterns, wanted = np.concatenate(held), np.concatenate(held_labels)
            whole = len(wanted) // batch_size * batch_size
            for i in range(0, whole, batch_size):
                yield {
                    "intensity": torch.from_numpy(patterns[i : i + batch_size]),
                    "labels": torch.from_numpy(wanted[i : i + batch_size]),
                }
            held, held_labels = [patterns[whole:]], [wanted[whole:]]

    def _rows_from(self, start: int, rank: int, world: int) -> Iterator[tuple[NDArray, NDArray]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        epoch, skip = 0, start
        while True:
            for number, block in enumerate(self._blocks(epoch, rank, world)):
                rows = sum(unit[2] for unit in block)
                if skip >= rows:
                    skip -= rows
                    continue
                table = pa.concat_tables(
                    pq.ParquetFile(self.files[file]).read_row_group(group, columns=["intensity", self.task])
                    for file, group, _ in block
                ).combine_chunks()
                key = np.array([self.seed, (epoch << 40) | (rank << 24) | number], dtype=np.uint64)
                order = np.random.Generator(np.random.Philox(key=key)).permutation(rows)[skip:]
                skip = 0
                intensity = _as_matrix(table.column("intensity").chunk(0), self.n_points)
                labels = table.column(self.task).to_numpy().astype(np.int64)
                yield intensity[order], labels[order]
            epoch += 1


class SimulatedSplit:
    """Patterns simulated when they are asked for; nothing is stored.

    Training rows are crystals: draw number k of a crystal is its k-th pattern. Validation and test rows are pairs of a
    crystal and a fixed condition (30; 31 and 32), the same every time.

    Args:
        crystals: Crystal table.
        rows: (n,) rows of the table.
        task: Which label.
        preset: Simulation preset, name or file.
        seed: Seed of the patterns.
        conditions: (n,) condition of each row, or None for training rows.
        cycle: Training rows: repeat that many conditions; None draws a new one every time.
        isostructural_share: Training rows: share of the draws that show an invented crystal of the same structure type.
        impurities: Crystals to draw second phases from, for presets that have them.
        digest: Identifies crystals and preset.
        lines_bytes: Memory in which this process may keep the lines of crystals it has simulated.
    """

    def __init__(
        self,
        crystals: Any,
        rows: NDArray[np.int64],
        task: str,
        preset: str,
        seed: int,
        *,
        conditions: NDArray[np.int64] | None = None,
        cycle: int | None = None,
        isostructural_share: float = 0.0,
        impurities: Sequence[Any] = (),
        digest: str = "",
        lines_bytes: int = 0,
    ) -> None:
        from simxrd_hf.data.features import label_index, label_names
        from simxrd_hf.diffraction import PatternGrid, Simulator, get_preset

        if not len(rows):
            raise BadInput("crystals: none are left in a split; give more crystals or another data_config")
        grid = PatternGrid()
        self._crystals = crystals
        self._rows, self._conditions, self._cycle = rows, conditions, cycle
        self._isostructural, self._seed = isostructural_share, seed
        self._simulator = Simulator(get_preset(preset), seed=seed, grid=grid, impurities=impurities)
        self._failed: set[tuple[int, int]] = set()
        # Half the work of a single pattern is to find the lines of its crystal.
        self._prepared: dict[int, tuple[int, Any]] = {}
        self._room = lines_bytes
        # Rows with a fixed condition are simulated once, where a gigabyte holds them (pages are taken as they fill).
        kept = conditions is not None and len(rows) * grid.n_points * 4 <= 2**30
        self._kept = np.empty((len(rows), grid.n_points), dtype=np.float32) if kept else None
        self._kept_row = np.full(len(rows), -1)
        self.labels = label_index(task, crystals["space_group"].to_numpy()[rows])
        self.label_names = label_names(task)
        self.groups = rows
        self.grid = grid.to_dict()
        self.n_points = grid.n_points
        self.digest = digest

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, pair: tuple[int, int]) -> Batch:
        """One row (torch asks for the method; batches use `__getitems__`)."""
        return {name: value[0] for name, value in self.__getitems__([pair]).items()}

    def __getitems__(self, pairs: Sequence[tuple[int, int]]) -> Batch:
        """Batch of (draw, row) pairs. A crystal that cannot be simulated is replaced by the row after it."""
        intensity = np.empty((len(pairs), self.n_points), dtype=np.float32)
        labels = np.empty(len(pairs), dtype=np.int64)
        for place, (draw, row) in enumerate(pairs):
            used = self._kept_row[row] if self._kept is not None else -1
            if used >= 0 and self._kept is not None:
                intensity[place] = self._kept[row]
            else:
                used = self._simulate(intensity[place : place + 1], draw, row)
                if self._kept is not None:
                    self._kept[row], self._kept_row[row] = intensity[place], used
            labels[place] = self.labels[used]
        return {"intensity": torch.from_numpy(intensity), "labels": torch.from_numpy(labels)}

    def _simulate(self, out: NDArray[np.float32], draw: int, row: int) -> int:
        for candidate in range(row, row + len(self)):
            candidate %= len(self)
            source = int(self._rows[candidate])
            which, generator = self._choose(source, draw)
            if (source, which) in self._failed:
                continue
            if self._conditions is not None:
                condition = int(self._conditions[candidate])
            else:
                condition = draw % self._cycle if self._cycle else _FRESH_FROM + draw % _FRESH_COUNT
            try:
                self._simulator.simulate(self._shown(source, which, generator), [condition], out=out)
            except BadInput as error:
                warnings.warn(f"left out: {error}", stacklevel=2)
                self._failed.add((source, which))
                continue
            return candidate
        raise BadInput("crystals: not one of them could be simulated")

    def _choose(self, source: int, draw: int) -> tuple[int, np.random.Generator | None]:
        """What a draw of a table row shows: 0 for its crystal, else the number of an invented one, and its draws."""
        if not self._isostructural:
            return 0, None
        number = 1 + draw // _DRAWS_OF_ONE
        key = np.array([self._seed, (source << 32) | number], dtype=np.uint64)
        generator = np.random.Generator(np.random.Philox(key=key))
        return (number if generator.random() < self._isostructural else 0), generator

    def _shown(self, source: int, which: int, generator: np.random.Generator | None) -> Any:
        """What `_choose` chose, prepared."""
        from simxrd_hf.crystals import crystal

        known = self._prepared.get(source)
        if known is not None and known[0] == which:
            return known[1]
        shown = crystal(self._crystals, source)
        if generator is not None and which:
            shown = isostructural(shown, generator)
        found = self._simulator.prepare(shown)
        more = found.nbytes - (known[1].nbytes if known is not None else 0)
        if more <= self._room:
            self._room -= more
            self._prepared[source] = (which, found)
        return found

    def identity(self) -> dict[str, Any]:
        """crystal_id and condition of every row."""
        ids = self._crystals["crystal_id"].take(self._rows)
        return {"crystal_id": ids} | ({} if self._conditions is None else {"condition": self._conditions})

    @classmethod
    def for_config(cls, config: TrainConfig, split: str, *, limit_rows: int | None = None) -> "SimulatedSplit":
        """The rows of one split as a config asks for them."""
        from simxrd_hf.data.splits import CONDITION_SPLITS, SPLITS, crystal_splits
        from simxrd_hf.diffraction import get_preset

        crystals, digest = _crystal_table(str(config.crystals))
        preset = get_preset(config.preset)
        rows, held_out = even_choice(crystals.num_rows, config.limit_crystals), np.empty(0, dtype=np.int64)
        if config.data_config == "out_of_library":
            splits = crystal_splits(crystals, config.split_by)
            rows, held_out = rows[splits[rows] == SPLITS.index(split)], np.flatnonzero(splits != SPLITS.index("train"))
        settings = [digest, preset.digest, config.seed, config.data_config, config.split_by, len(rows)]
        common: dict[str, Any] = {
            "digest": hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16],
            "impurities": _impurities(crystals, config.impurity_pool),
        }
        if split == "train":
            withheld = crystals["reduced_formula"].take(held_out)
            for path in config.extra_crystals:
                crystals, rows, digest = _with_extra(crystals, rows, withheld, path)
                common["digest"] = hashlib.sha256(f"{common['digest']} {digest}".encode()).hexdigest()[:16]
            if config.max_atoms is not None:
                sizes = crystals["atomic_numbers"].combine_chunks().value_lengths().to_numpy()
                rows = rows[sizes[rows] <= config.max_atoms]
            cycle = None if config.fresh_patterns else config.train_conditions or len(CONDITION_SPLITS["train"])
            memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
            lines_bytes = memory // 4 // max(config.num_workers, 1)
            common |= {"cycle": cycle, "isostructural_share": config.isostructural, "lines_bytes": lines_bytes}
            return cls(crystals, rows, config.task, config.preset, config.seed, **common)
        conditions = np.array(CONDITION_SPLITS[split])
        chosen = even_choice(len(rows) * len(conditions), limit_rows)
        return cls(
            crystals,
            rows[chosen // len(conditions)],
            config.task,
            config.preset,
            config.seed,
            conditions=conditions[chosen % len(conditions)],
            **common,
        )


# Fresh training patterns are conditions from here on, far from those of validation and test (the simulator takes
# conditions up to 32767; a crystal is seen again in the same condition after 31,000 draws at the earliest epoch-wise).
_FRESH_FROM, _FRESH_COUNT = 1000, 31_000
# An invented crystal is shown that many times: to find its lines is half the work of a pattern.
_DRAWS_OF_ONE = 3


def _impurities(crystals: Any, count: int) -> list[Any]:
    """`count` crystals with small cells (at most 20 atoms), drawn evenly: second phases that simulate quickly."""
    from simxrd_hf.crystals import crystal

    if not count:
        return []
    sizes = crystals["atomic_numbers"].combine_chunks().value_lengths().to_numpy()
    small = np.flatnonzero(sizes <= 20)
    return [crystal(crystals, int(small[i])) for i in even_choice(len(small), count)]


def _with_extra(crystals: Any, rows: NDArray[np.int64], withheld: Any, path: str) -> tuple[Any, NDArray[np.int64], str]:
    """Training crystals of a second source after those at `rows` of the first: table, rows and digest of the second.

    What has a formula `withheld` is left out: polymorphs, and the ordered model and the disordered crystal of one
    compound, stay on one side of the split. Crystals of the first source that are given again are drawn more often.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    extra, digest = _crystal_table(path)
    foreign = pc.is_in(extra["reduced_formula"], value_set=withheld)
    added = np.flatnonzero(~foreign.to_numpy())
    table = pa.concat_tables([crystals, extra], promote_options="default")
    return table, np.concatenate([rows, crystals.num_rows + added]), digest


@functools.lru_cache(maxsize=4)
def _crystal_table(path: str) -> tuple[Any, str]:
    """Crystal table of a source and the digest of its content."""
    from simxrd_hf.crystals import prototypes, read_crystals

    if path == "prototypes":
        table = prototypes().table
    else:
        table = read_crystals(path).table
    digest = hashlib.sha256()
    for name in ("crystal_id", "space_group"):
        digest.update("\n".join(map(str, table[name].to_pylist())).encode())
    return table, digest.hexdigest()[:16]


def class_counts(source: Any, num_labels: int) -> NDArray[np.int64]:
    """(num_labels,) training rows of each class."""
    return np.bincount(source.labels, minlength=num_labels)


def sample_order(config: TrainConfig, source: Source) -> SampleOrder:
    """The order of training rows that a config asks for."""
    weights = None
    if config.sampling == "class_balanced":
        weights = balanced_weights(source.labels, config.balance_power)
    elif config.sampling == "crystal_balanced":
        weights = balanced_weights(source.groups, 0.0)
    return SampleOrder(len(source), config.seed, weights)


def training_batches(
    config: TrainConfig, source: Any, rank: int, world: int, start: int, stop: int, device: torch.device
) -> Iterator[Batch]:
    """Micro-batches of one process for the steps start … stop - 1, moved to the device.

    Patterns travel in the type they are stored in and become float32 on the device.
    """
    size = micro_batch_size(config.batch_size, config.gradient_accumulation, world)
    on_gpu = device.type != "cpu"
    batches: Iterator[Batch]
    if isinstance(source, StreamedSplit):
        per_step = size * config.gradient_accumulation
        batches = source.batches(start * per_step, size, rank, world)
    else:
        sampler = StepBatches(
            sample_order(config, source), config.batch_size, config.gradient_accumulation, rank, world, start, stop
        )
        batches = iter(
            DataLoader(
                source,
                batch_sampler=sampler,
                num_workers=config.num_workers,
                collate_fn=_unchanged,
                pin_memory=on_gpu,
                generator=torch.Generator(),  # else starting the loader would draw from the generator dropout uses
                prefetch_factor=4 if config.num_workers else None,
            )
        )
    # With worker processes the loader itself reads ahead; a stream gains from it on any device.
    if (on_gpu and not config.num_workers) or isinstance(source, StreamedSplit):
        batches = ahead(batches)
    for batch in batches:
        yield {
            "intensity": batch["intensity"].to(device, non_blocking=on_gpu).float(),
            "labels": batch["labels"].to(device, non_blocking=on_gpu),
        }


def _unchanged(batch: Batch) -> Batch:
    return batch


def ahead(items: Iterator[Batch], depth: int = 4) -> Iterator[Batch]:
    """The same items, prepared by a thread up to `depth` before they are asked for; its errors are raised here."""
    box: queue.Queue[Any] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(item: Any) -> None:
        while not stopped.is_set():
            try:
                box.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put((item, None))
                if stopped.is_set():
                    return
            put((None, StopIteration()))
        except BaseException as error:
            put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        while True:
            item, error = box.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        stopped.set()


def check_match(model_config: Any, source: Any, where: str) -> None:
    """Refuse data that the model cannot mean: another grid, other labels, another number of points.

    Args:
        model_config: Config of the model; only fields it has are compared.
        source: The data.
        where: Named in the message.

    Raises:
        BadInput: They differ.
    """
    grid = dict(getattr(model_config, "full_grid", None) or getattr(model_config, "grid", None) or {})
    if grid and source.grid:
        for name, value in grid.items():
            found = source.grid.get(name, value)
            if abs(float(found) - float(value)) > 1e-9:
                raise BadInput(
                    f"{where}: patterns have {name} = {found}, the model was made for {value}; "
                    "generate patterns on the model's grid, or train a model on this one"
                )
    if grid:
        points = round((grid["two_theta_max"] - grid["two_theta_min"]) / grid["step"]) + 1
        if points != source.n_points:
            raise BadInput(f"{where}: patterns have {source.n_points} points, the model takes {points}")
    names = getattr(source, "label_names", None)
    known = getattr(model_config, "id2label", None)
    if names and known:
        expected = [known[i] for i in range(len(known))]
        if len(expected) != len(names):
            raise BadInput(f"{where}: labels have {len(names)} classes, the model knows {len(expected)}")
        differing = [(i, a, b) for i, (a, b) in enumerate(zip(names, expected, strict=True)) if a != b]
        if differing:
            index, there, here = differing[0]
            raise BadInput(f"{where}: label {index} is {there!r} in the data and {here!r} in the model")


def open_training(config: TrainConfig) -> Any:
    """The training rows a config asks for."""
    if config.crystals is not None:
        return SimulatedSplit.for_config(config, "train")
    assert config.data is not None
    if config.streaming:
        return StreamedSplit(config.data, config.data_config, "train", config.task, config.seed)
    return StoredSplit(
        config.data,
        config.data_config,
        "train",
        config.task,
        limit_crystals=config.limit_crystals,
        conditions=config.train_conditions,
    )


def open_split(config: TrainConfig, split: str, *, limit_rows: int | None = None) -> Any:
    """The rows of a split that a config scores on, in fixed order."""
    if split not in ("train", "validation", "test"):
        raise BadInput(f"split: must be train, validation or test, not {split!r}")
    if config.crystals is not None:
        if split == "train":
            raise BadInput("split: patterns simulated on the fly are scored on validation or test")
        return SimulatedSplit.for_config(config, split, limit_rows=limit_rows)
    assert config.data is not None
    return StoredSplit(config.data, config.data_config, split, config.task, limit_rows=limit_rows)


def training_class_counts(config: TrainConfig) -> NDArray[np.int64]:
    """(num_labels,) rows of each class in the training split, without reading patterns."""
    if config.crystals is not None:
        return class_counts(open_training(config), config.num_labels)
    rows = StreamedSplit(config.data, config.data_config, "train", config.task, config.seed)  # type: ignore[arg-type]
    return class_counts(rows, config.num_labels)
