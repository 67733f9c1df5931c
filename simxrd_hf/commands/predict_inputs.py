"""The patterns of `simxrd predict`: where they are, how they are read, and answered by one process or several."""

import argparse
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from simxrd_hf import startup
from simxrd_hf.errors import BadInput
from simxrd_hf.printable import printable

MANY = 16
"""Patterns from which on it pays to start processes: each loads for one to two seconds."""
_AHEAD = 8  # patterns handed to each process before the first of them is answered

# Text files hold one pattern each; a Parquet file of a dataset holds one per row.
_PARQUET = (".parquet", ".pq")
# (what the model takes, findings about the measurement: "flags" and "warnings")
_Loaded = tuple[dict[str, Any], dict[str, Any]]
# (name, answer, what is wrong with it if there is none)
Answer = tuple[str, dict[str, Any], str | None]


@dataclass(frozen=True)
class Source:
    """One pattern, or several of one sample.

    Attributes:
        paths: Files of it.
        row: Or what a row of a Parquet file holds.
        refusal: Or why there is none.
    """

    paths: tuple[Path, ...] = ()
    row: dict[str, Any] | None = None
    refusal: str | None = None

    def load(self, args: argparse.Namespace, predictor: Any) -> _Loaded:
        """Read it."""
        if self.refusal is not None:
            raise BadInput(self.refusal)
        if self.row is not None:
            return self.row, {}
        return _joined(list(self.paths), args, predictor) if args.together else _one(self.paths[0], args, predictor)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def count(args: argparse.Namespace) -> int:
    """How many patterns there are, as far as can be told without reading them."""
    if args.together:
        return 1
    total = 0
    for path in map(Path, args.files):
        if path.suffix in _PARQUET:
            import pyarrow.parquet as pq

            rows = 1  # the refusal
            with contextlib.suppress(OSError, ValueError):
                rows = pq.read_metadata(path).num_rows
            total += rows if args.limit is None else min(rows, args.limit)
        else:
            total += 1
    return total


def open_predictor(args: argparse.Namespace, *, alone: bool = True) -> Any:
    """Load the checkpoint; say on standard error what of the evidence it leaves out.

    Args:
        args: Of the command.
        alone: No other process does the same: search cells in a child, and use all cores.
    """
    if alone:
        startup.one_thread_each(torch=False)
    # transformers takes longer to import than this command takes to answer; nothing below needs it.
    from simxrd_hf.evidence.combination import EVIDENCE
    from simxrd_hf.identify.libraries import PACKAGED, has_packaged
    from simxrd_hf.identify.model_folders import DEFAULT_MODEL

    model, weigh = args.model or DEFAULT_MODEL, None
    if alone and not args.no_indexing and (not Path(model).is_dir() or (Path(model) / EVIDENCE).exists()):
        from simxrd_hf.indexing.process import SearchProcess

        weigh = SearchProcess()  # before torch is imported
    if alone:
        _start_reader(args.files)
    with startup.all_stays():
        from simxrd_hf.identify.predictor import Predictor

        predictor = Predictor(
            model,
            indexing=not args.no_indexing,
            library=args.library or (PACKAGED if has_packaged() else None),
            elements=args.elements or args.composition,
            phases=args.phases,
            weigh=weigh,
        )
    if alone and args.library and predictor.correction.note:
        print(f"simxrd predict: {predictor.correction.note}", file=sys.stderr)
    return predictor


def in_turn(args: argparse.Namespace, given: Iterator[tuple[str, Source]], predictor: Any) -> Iterator[Answer]:
    """Answers in this process."""
    for name, source in given:
        yield name, *_answer(args, predictor, name, source)


def in_processes(args: argparse.Namespace, given: Iterator[tuple[str, Source]], processes: int) -> Iterator[Answer]:
    """Answers of several processes, in order; a bounded number of patterns is under way at a time.

    Raises:
        RuntimeError: A process has died.
    """
    # New interpreters, not forks: torch is loaded in them alone, and no lock is copied while a thread holds it.
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _begin, (args,))
    try:
        waiting: deque[tuple[str, Future[tuple[dict[str, Any], str | None]]]] = deque()
        note = pool.submit(_note)
        for name, source in islice(given, _AHEAD * processes):
            waiting.append((name, pool.submit(_answer_there, name, source)))
        if args.library and (found := note.result()):
            print(f"simxrd predict: {found}", file=sys.stderr)
        while waiting:
            name, future = waiting.popleft()
            yield name, *future.result()
            for following, source in islice(given, 1):
                waiting.append((following, pool.submit(_answer_there, following, source)))
    except BrokenProcessPool as error:
        raise RuntimeError("a process of the prediction was killed, perhaps for memory; try --num-proc 1") from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


_OPENED: list[tuple[argparse.Namespace, Any]] = []  # of a process that shares the work


def _begin(args: argparse.Namespace) -> None:
    """Load in a process that shares the work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to answer
    startup.one_thread_each()
    import torch

    torch.set_num_threads(1)
    try:
        _OPENED.append((args, open_predictor(args, alone=False)))
    except BadInput as error:
        _OPENED.append((args, error))


def _opened() -> tuple[argparse.Namespace, Any]:
    args, predictor = _OPENED[0]
    if isinstance(predictor, BadInput):
        raise predictor
    return args, predictor


def _note() -> str | None:
    note: str | None = _opened()[1].correction.note
    return note


def _answer_there(name: str, source: Source) -> tuple[dict[str, Any], str | None]:
    return _answer(*_opened(), name, source)


def _answer(args: argparse.Namespace, predictor: Any, name: str, source: Source) -> tuple[dict[str, Any], str | None]:
    """The answer, or what is wrong with the pattern."""
    try:
        item, notes = source.load(args, predictor)
        answer = predictor([item], top_k=args.top_k, negative=args.negative)[0]
        flags = list({flag["code"]: flag for flag in (*notes.get("flags", ()), *answer.get("flags", ()))}.values())
        answer |= notes | ({"flags": flags} if flags or notes else {})
        if args.plot and "phases" in answer:
            from simxrd_hf.identify.phases import plot_phases

            mixture = predictor.mixture(item, negative=args.negative)
            plot_phases(mixture, args.plot / f"{Path(name).name}.phases.png", title=Path(name).name)
        return answer, None
    except ValueError as error:
        return {}, _hint(f"{error}" if Path(name).name in str(error) else f"{name}: {error}")


def _start_reader(names: list[str]) -> None:
    """Let the process that reads foreign containers load its modules while this one loads torch."""
    from simxrd_hf.patterns import guard

    for name in names:
        path = Path(name)
        if path.suffix not in _PARQUET and path.is_file() and path.stat().st_size:
            with path.open("rb") as stream:
                guard.start(stream.read(4096))


def inputs(args: argparse.Namespace) -> Iterator[tuple[str, Source]]:
    """Name of every pattern, and where it is; of a file that cannot be read, why, to be said when its turn comes."""
    paths = [Path(name) for name in args.files]
    if args.plot:
        args.plot.mkdir(parents=True, exist_ok=True)
    if args.together:
        if any(path.suffix in _PARQUET for path in paths):
            raise BadInput("--together is for files of one pattern each, not for Parquet")
        for path in paths:
            if not path.is_file():
                raise BadInput(f"{path}: no such file")
        yield " + ".join(map(str, paths)), Source(tuple(paths))
        return
    for path in paths:
        if not path.is_file():
            yield str(path), Source(refusal=f"{path}: no such file")
        elif path.suffix in _PARQUET:
            try:
                for name, item in _rows(path, args):
                    yield name, Source(row=item)
            except BadInput as error:
                yield str(path), Source(refusal=str(error))
        else:
            yield str(path), Source((path,))


def _joined(paths: list[Path], args: argparse.Namespace, predictor: Any) -> _Loaded:
    """Several files of one sample."""
    parts = [_one(path, args, predictor, composition=False) for path in paths]
    item: dict[str, Any] = {"patterns": [one for part, _ in parts for one in part.get("patterns", [part])]}
    if args.composition is not None:
        item["composition"] = args.composition
    notes = {key: [note for _, found in parts for note in found[key]] for key in ("flags", "warnings")}
    return item, notes


def _one(path: Path, args: argparse.Namespace, predictor: Any, *, composition: bool = True) -> _Loaded:
    """Read, judge and preprocess one file."""
    from simxrd_hf.diffraction import PatternGrid
    from simxrd_hf.identify import model_input, plot_before_after, variants
    from simxrd_hf.patterns import assess, preprocess, read_pattern

    pattern = read_pattern(
        path, wavelength=args.wavelength, anode=args.anode, axis=args.axis, scan=args.scan, column=args.column
    )
    pattern.require_wavelength()
    grid = PatternGrid(**predictor.settings.full_grid)
    flags = assess(pattern, grid)
    ready = preprocess(pattern, args.steps)
    if args.plot:
        plot_before_after(pattern, ready, args.plot / f"{path.name}.png", grid=grid)
    parts = [model_input(one) | {"negative": args.negative} for one in (variants(ready) if args.augment else [ready])]
    item = {"patterns": parts} if args.augment else parts[0]
    if composition and args.composition is not None:
        item["composition"] = args.composition
    return item, {"flags": [vars(flag) for flag in flags], "warnings": list(pattern.warnings)}


def _rows(path: Path, args: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """Rows of a dataset's Parquet file, which lie on the model's grid."""
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: not readable as Parquet ({error})") from error
    names = [name for name in ("intensity", "crystal_id", "formula") if name in file.schema_arrow.names]
    if "intensity" not in names:
        raise BadInput(f"{path}: has no column intensity, only {', '.join(file.schema_arrow.names)}")
    done = 0
    batches = file.iter_batches(batch_size=256, columns=names)
    while True:
        try:
            batch = next(batches, None)
        except (OSError, ValueError) as error:
            raise BadInput(f"{path}: damaged after row {done} ({printable(str(error), 150)})") from error
        if batch is None:
            return
        for row in batch.to_pylist():
            if args.limit is not None and done >= args.limit:
                return
            item: dict[str, Any] = {"intensity": row["intensity"]}
            if args.composition is not None:
                item["composition"] = args.composition
            yield f"{path}[{done}]" + (f" {row['crystal_id']}" if "crystal_id" in row else ""), item
            done += 1


def _hint(message: str) -> str:
    """Python argument names in messages, as options of this command."""
    return message.replace('pass negative="clip"', "pass --negative clip").replace(
        "pass two_theta=, d= or q= with it", "give a file of two columns"
    )
