"""Repeats the campaign of faults: damaged and hostile files, flipped bits, other people's results, a Hub that fails.

Every case must end whole (the right answer), unchanged, or refused in one line; anything else fails. Prints the matrix
of cases and outcomes, and what hostile inputs of each format cost. `make fault` writes both to docs/reliability.md.

    python benchmarks/fault.py [--quick] [--json FILE] [--markdown FILE]
"""

import argparse
import gzip
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
for folder in ("", "patterns", "crystals", "hub", "training"):
    sys.path.insert(0, str(ROOT / "tests" / folder))

from simxrd_hf.errors import BadInput  # noqa: E402

SMALL_SECONDS, SMALL_MIB = 5.0, 300
LARGE_SECONDS, LARGE_MIB = 20.0, 1024

Case = tuple[str, str, Callable[[], str]]
"""Group, name, and what runs it: returns "whole" or "unchanged", raises BadInput where refused."""


def damaged_patterns(each: int, scratch: Path) -> Iterator[Case]:
    """Files of every format with bytes flipped, cut, doubled or left out."""
    from pattern_files import WRITERS, mutate, profile
    from test_readers import check_invariants

    from simxrd_hf.patterns import read_pattern

    for kind, (name, write, *_) in WRITERS.items():
        original = write(*profile())
        rng = random.Random(f"fault {kind}")
        for index in range(each):

            def run(raw: bytes = mutate(original, rng), name: str = name) -> str:
                (scratch / name).write_bytes(raw)
                check_invariants(read_pattern(scratch / name))
                return "whole"

            yield "damaged measured files", f"{kind} {index}", run


def hostile_files(scratch: Path) -> Iterator[Case]:
    """Small files that ask for much, and files that name other files."""
    import test_hostile_cifs
    import test_strangers

    from simxrd_hf.crystals import read_crystals
    from simxrd_hf.patterns import read_pattern

    def within(read: Callable[[Path], Any], path: Path, raw: bytes) -> str:
        path.write_bytes(raw)
        began = time.process_time()
        read(path)
        if time.process_time() - began > SMALL_SECONDS:
            raise RuntimeError("too slow")
        return "whole"

    for what, (name, make) in test_strangers.BOMBS.items():
        yield "hostile files", what, lambda name=name, make=make: within(read_pattern, scratch / name, make())
    for what, (name, make) in test_hostile_cifs.BOMBS.items():
        yield "hostile files", what, lambda name=name, make=make: within(read_crystals, scratch / name, make())
    secret = scratch / "secret.h5"

    def leads_out(kind: Callable[[Path], Any]) -> str:
        secret.write_bytes(test_strangers.nexus(lambda group: group.create_dataset("counts", data=test_strangers.Y)))
        within(read_pattern, scratch / "out.nxs", test_strangers.nexus(kind(secret)))
        raise RuntimeError("data of another file were read")

    for kind in ("external_storage", "external_link", "soft_link_over_an_external_one", "virtual"):
        yield "hostile files", f"HDF5: {kind}", lambda kind=kind: leads_out(getattr(test_strangers, kind))


def flipped_bits(each: int, scratch: Path) -> Iterator[Case]:
    """One bit of a file changed: what is read is what was written, or it is refused."""
    import torch
    from data.small_crystals import crystal_table

    from simxrd_hf.crystals import read_crystals, write_crystals
    from simxrd_hf.evidence import PatternEvidence
    from simxrd_hf.identify.model_folders import DEFAULT_MODEL, check_weights
    from simxrd_hf.matching import build_library, read_library
    from simxrd_hf.training.checkpoints import CheckpointFolder

    table = write_crystals(read_crystals("prototypes", limit=40).table, scratch / "c.parquet")
    library = build_library(crystal_table())[0].save(scratch / "l.parquet")
    model = scratch / "model"
    shutil.copytree(DEFAULT_MODEL, model)
    checkpoints = CheckpointFolder(scratch / "checkpoints")
    state = {"step": 5, "best_step": 0, "seconds": 1.25}
    saved = checkpoints.save("step", 5, state, {"w": torch.arange(500.0)})
    fields = ("crystal_id", "formula", "space_group", "cells", "hkl", "amplitude", "strength")

    def of_library() -> list[Any]:
        got = read_library(library)
        return [getattr(got, name).tolist() for name in fields]

    def of_evidence() -> Any:
        got = PatternEvidence.load(model)
        libraries = [(one.least_crystals, one.combination.to_dict(), one.prior.tolist()) for one in got.libraries]
        return (got.cells.to_dict(), libraries, got.prior.tolist())

    def of_checkpoint() -> Any:
        state, tensors = checkpoints.load("step", 5)
        return state, tensors["w"].tolist()

    weights = model / "model.safetensors"
    reads: list[tuple[str, Path, Callable[[], Any]]] = [
        ("crystal table", table, lambda: read_crystals(table).table.to_pylist()),
        ("line library", library, of_library),
        ("evidence", model / "evidence.json", of_evidence),
        ("weights", weights, lambda: [path.read_bytes() for path in check_weights(model)]),
        ("checkpoint, tensors", saved / "tensors.pt", of_checkpoint),
        ("checkpoint, state", saved / "state.json", of_checkpoint),
    ]
    for what, path, read in reads:
        whole, content, rng = read(), path.read_bytes(), random.Random(what)
        for index in range(each):
            place, bit = rng.randrange(len(content)), 1 << rng.randrange(8)

            def run(path: Path = path, read: Any = read, whole: Any = whole, at: int = place, bit: int = bit) -> str:
                content = path.read_bytes()
                path.write_bytes(content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :])
                try:
                    if read() != whole:
                        raise RuntimeError("read as if sound, but changed")
                finally:
                    path.write_bytes(content)
                return "unchanged"

            yield "flipped bits", f"{what} {index}", run


def strange_results(scratch: Path) -> Iterator[Case]:
    """Result records of other people: bad ones are skipped, the good one beside them is shown."""
    from test_hub_strangers import HOSTILE, NOW, sealed

    from simxrd_hf.hub.results import valid_records

    def run(what: str) -> str:
        folder = scratch / "results"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "bad.json").write_text(json.dumps(HOSTILE[what]))
        (folder / "good.json").write_text(json.dumps(sealed()))
        records, skipped = valid_records(folder, now=NOW)
        if len(records) != 1 or len(skipped) != 1 or not skipped[0].reason.isprintable():
            raise RuntimeError(f"{len(records)} shown, {len(skipped)} skipped")
        return "whole"

    for what in HOSTILE:
        yield "other people's results", what, lambda what=what: run(what)


def generation(scratch: Path, quick: bool) -> Iterator[Case]:
    """Finished datasets with a file flipped or gone, and generations killed at any moment."""
    from data.small_crystals import crystal_table

    from simxrd_hf.data.generation import generate, verify
    from simxrd_hf.exclusive import take

    crystals = crystal_table(12)
    options: dict[str, Any] = {"configs": ("in_library",), "conditions": [0, 30, 31], "progress": False}
    made = scratch / "made"
    generate(crystals, made, **options)
    names = sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())
    names = [name for name in names if name.endswith((".parquet", "manifest.json", "simxrd.json", "README.md"))]

    def mended(name: str, harm: str) -> str:
        copy = scratch / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(made, copy)
        content = (copy / name).read_bytes()
        if harm == "removed":
            (copy / name).unlink()
        else:
            middle = len(content) // 2
            (copy / name).write_bytes(content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :])
        generate(crystals, copy, **options)
        if verify(copy) or ((copy / name).read_bytes() != content and name != "README.md"):
            raise RuntimeError("not mended")
        return "whole"

    for name in names:
        for harm in ("removed", "flipped"):
            yield "generation", f"{name} {harm}", lambda name=name, harm=harm: mended(name, harm)

    def busy() -> str:
        lock = take(made, "generating")
        try:
            generate(crystals, made, overwrite=True, **{**options, "seed": 5})
        finally:
            lock.release()
        raise RuntimeError("two generations in one folder")

    yield "generation", "a second one in a busy folder", busy

    def killed(after: float) -> str:
        target = scratch / "killed"
        shutil.rmtree(target, ignore_errors=True)
        code = (
            "import sys; from data.small_crystals import crystal_table; from simxrd_hf.data.generation import generate;"
            f"generate(crystal_table(12), sys.argv[1], **{options!r})"
        )
        environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
        child = subprocess.Popen([sys.executable, "-c", code, str(target)], env=environment, stderr=subprocess.DEVNULL)
        time.sleep(after)
        child.kill()
        child.wait()
        generate(crystals, target, **options)
        if verify(target) or (target / "manifest.json").read_bytes() != (made / "manifest.json").read_bytes():
            raise RuntimeError("other bytes than without the kill")
        return "whole"

    for index in range(2 if quick else 12):
        yield "generation", f"killed after {1 + 0.4 * index:.1f} s", lambda after=1 + 0.4 * index: killed(after)


def rows_that_are_no_patterns(scratch: Path) -> Iterator[Case]:
    """NaN, infinity and negative values in a stored row, at every place it may stand."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from training_helpers import write_dataset

    from simxrd_hf.training.sources import StoredSplit

    def run(value: float, row: int) -> str:
        folder = scratch / "rows"
        shutil.rmtree(folder, ignore_errors=True)
        write_dataset(folder, {"train": 48})
        path = sorted((folder / "in_library").glob("train-*"))[row // 16]
        table = pq.read_table(path)
        patterns = table["intensity"].combine_chunks().flatten().to_numpy().reshape(len(table), -1).copy()
        patterns[row % 16, 3] = value
        column = pa.FixedSizeListArray.from_arrays(pa.array(patterns.reshape(-1)), patterns.shape[1])
        place = table.schema.get_field_index("intensity")
        pq.write_table(table.set_column(place, table.schema.field(place), column), path)
        split = StoredSplit(folder, "in_library", "train", "crystal_system")
        try:
            split.__getitems__([(0, one) for one in range(48)])
        except BadInput as error:
            if f"{path}: row {row % 16} " not in str(error):
                raise RuntimeError(f"another row was blamed: {error}") from error
            raise
        raise RuntimeError("trained on")

    for value in (float("nan"), float("inf"), -1.0):
        for row in (0, 7, 16, 47):
            yield "rows that are no patterns", f"{value} in row {row}", lambda v=value, r=row: run(v, r)


def publishing(quick: bool) -> tuple[int, list[str]]:
    """Cases and failures of tests/hub/fault_matrix.py: every fault in every phase of a publish."""
    script = ROOT / "tests" / "hub" / "fault_matrix.py"
    command = [sys.executable, str(script), *(["--quick"] if quick else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500, check=True)
    matrix = json.loads(done.stdout)
    failed = [
        f"{c['phase']} {c['fault']} {c['times']}, {c['repository']} repository: {c['ended']}, {c['state']}"
        for c in matrix["cases"]
        if not c["survived"]
    ]
    return matrix["tried"], failed


def costs() -> list[dict[str, Any]]:
    """Time and memory that hostile inputs of each format take, each in a process of its own with all its children."""
    import test_hostile_cifs
    import test_strangers

    def zipped(name: str, content: bytes) -> bytes:
        import io

        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr(name, content)
        return buffer.getvalue()

    noise = np.random.default_rng(0).integers(0, 9999, 11_000_000)
    digits = b"\n".join(b"%d %d" % (i, v) for i, v in enumerate(noise[:4_500_000]))
    large = {
        "text": ("a.xy", lambda: digits),
        ".xrdml (XML)": ("a.xrdml", lambda: b"<a>" + b"<b c='1'/>" * 6_000_000 + b"</a>"),
        ".rasx (ZIP)": ("a.rasx", lambda: zipped("Data0/Profile0.txt", digits)),
        "powder CIF": ("a.cif", lambda: b"data_a\nloop_\n_pd_meas_counts_total\n" + b"1234567\n" * 7_500_000),
        "HDF5": ("a.nxs", lambda: test_strangers.nexus(test_strangers.large_chunk) + bytes(60 * 2**20)),
        "CIF of a crystal": ("a.cif", lambda: test_hostile_cifs.atoms(1_500_000).encode()),
        ".cif.gz": ("b.cif.gz", lambda: gzip.compress(noise.astype("u2").tobytes(), 1)),
    }
    small = {
        "text": test_strangers.BOMBS["short lines"],
        ".xrdml (XML)": test_strangers.BOMBS["elements without end in XML"],
        ".brml (ZIP)": test_strangers.BOMBS["one member of .brml named 4000 times"],
        ".rasx (ZIP)": test_strangers.BOMBS["rows below the bound in .rasx"],
        "powder CIF": test_strangers.BOMBS["a loop in CIF"],
        "HDF5": test_strangers.BOMBS["a chunk that unpacks to 400 MB"],
        "CIF of a crystal": test_hostile_cifs.BOMBS["many sites"],
        ".cif.gz": test_hostile_cifs.BOMBS["a gigabyte of blanks"],
    }
    rows = []
    code = (
        "import sys, resource, time; from simxrd_hf.errors import BadInput\n"
        "from simxrd_hf.crystals import read_crystals; from simxrd_hf.patterns import read_pattern\n"
        "from simxrd_hf.patterns import guard, reading; from simxrd_hf.crystals import confined_cif as crystals\n"
        "read = read_crystals if sys.argv[2] == 'crystals' else read_pattern\n"
        "before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()\n"
        "try: read(sys.argv[1])\n"
        "except BadInput as error: print(str(error)[:200])\n"
        "for one in (guard._READER, guard._HDF5_READER, crystals._READER): one.close()\n"
        "own, theirs = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))\n"
        "print(time.process_time() - began + theirs.ru_utime + theirs.ru_stime,"
        " (own.ru_maxrss - before + theirs.ru_maxrss) / 1024)\n"
    )
    with tempfile.TemporaryDirectory() as scratch:
        for size, cases in (("< 1 MB", small), ("< 64 MB", large)):
            for kind, (name, make) in cases.items():
                path = Path(scratch) / name
                path.write_bytes(make())
                room = "crystals" if "cif" in name and "powder" not in kind else "patterns"
                done = subprocess.run(
                    [sys.executable, "-c", code, str(path), room], capture_output=True, text=True, timeout=600
                )
                *_, last = ["", *done.stdout.strip().splitlines()] if done.returncode == 0 else ["", "nan nan"]
                seconds, mib = map(float, last.split())
                limits = (SMALL_SECONDS, SMALL_MIB) if size == "< 1 MB" else (LARGE_SECONDS, LARGE_MIB)
                rows.append(
                    {
                        "format": kind,
                        "size": size,
                        "bytes": path.stat().st_size,
                        "seconds": round(seconds, 1),
                        "mib": round(mib),
                        "within": seconds <= limits[0] and mib <= limits[1],
                    }
                )
                path.unlink()
    return rows


def run_cases(cases: Iterator[Case]) -> tuple[dict[str, Counter[str]], list[str]]:
    """Outcomes by group, and the cases that failed."""
    outcomes: dict[str, Counter[str]] = {}
    failed = []
    for group, name, run in cases:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                outcome = run()
            except BadInput as error:
                outcome = "refused" if "\n" not in str(error) else "failed"
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                outcome = "failed"
                failed.append(f"{group}, {name}: {type(error).__name__}: {str(error)[:160]}")
        outcomes.setdefault(group, Counter())[outcome] += 1
    return outcomes, failed


def whole_campaign(quick: bool) -> tuple[dict[str, Counter[str]], list[str]]:
    """Outcomes by group, and the cases that failed, of everything but publishing."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)

        def cases() -> Iterator[Case]:
            yield from damaged_patterns(1 if quick else 12, scratch)
            yield from hostile_files(scratch)
            yield from flipped_bits(5 if quick else 70, scratch)
            yield from strange_results(scratch)
            yield from rows_that_are_no_patterns(scratch)
            yield from generation(scratch, quick)

        return run_cases(cases())


def markdown(summary: dict[str, Any]) -> str:
    """The page docs/reliability.md."""
    lines = [
        "# Reliability",
        "",
        "What happens to files, folders and repositories when something goes wrong. `make fault` repeats the campaign",
        "and writes this page; a case fails unless it ends whole (the right answer), unchanged or refused in one line.",
        "",
        f"{summary['cases']:,} cases, {summary['survived']:,} survived ({summary['share']:.2%}); "
        f"{summary['date']}, Python {summary['python']}, {summary['machine']}.",
        "",
        "| group | cases | whole | unchanged | refused | failed |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for group, row in summary["matrix"].items():
        total = sum(row.values())
        lines.append(
            f"| {group} | {total} | {row.get('whole', 0)} | {row.get('unchanged', 0)} | {row.get('refused', 0)} | "
            f"{row.get('failed', 0)} |"
        )
    lines += [
        "",
        "Of damaged measured files, whole means read with all that a pattern must keep (finite, rising 2θ, bounds): a",
        "digit changed within a number cannot be told from another measurement.",
    ]
    lines += ["", "Cases that failed: " + ("none." if not summary["failed"] else ""), ""]
    lines += [f"- {one}" for one in summary["failed"]] + [""] * bool(summary["failed"])
    lines += [
        "## What hostile input costs",
        "",
        f"Goal: below 1 MB at most {SMALL_SECONDS:.0f} s and {SMALL_MIB} MB, below 64 MB at most {LARGE_SECONDS:.0f} s "
        "and 1 GB; computing time and memory of the reading process and its child together, the child's modules "
        "included.",
        "",
        "| format | input | seconds | MiB | within |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for row in summary["costs"]:
        lines.append(
            f"| {row['format']} | {row['bytes'] / 2**20:.2f} MiB | {row['seconds']} | {row['mib']} | "
            f"{'yes' if row['within'] else 'NO'} |"
        )
    lines += [
        "",
        "## How",
        "",
        "- Containers, XML, HDF5, CIF and whatever is large are read in one child process (`simxrd_hf.confined`):",
        "  empty environment, no file it can open (CIFs: for reading only), time and memory bounded by the size of",
        "  the input. Windows has no such limits: only the time is bounded there; macOS does not bound the memory.",
        "- Crystal tables, line libraries, evidence, exported weights, checkpoints and datasets carry checksums,",
        "  verified on reading (`simxrd_hf.sums`, `manifest.json`). Those of other programs carry none and are taken.",
        "- One process at a time works in the folder of a dataset or a training (`.simxrd.lock`).",
        "- `simxrd publish` deletes only what the repository's `.simxrd/published.json` lists and nobody has changed.",
        "- A `Predictor`, a `pipeline` and a `SearchProcess` may be shared by threads.",
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    """Run all, print the matrix, write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the cases, without large inputs")
    parser.add_argument("--publishing", action="store_true", help="that part alone; the rest is as --json has it")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    if args.publishing:
        before = json.loads(args.json.read_text())
        matrix = {group: Counter(row) for group, row in before["matrix"].items()}
        failed = [one for one in before["failed"] if not one.startswith("publishing, ")]
        costly = before["costs"]
    else:
        matrix, failed = whole_campaign(args.quick)
        costly = [] if args.quick else costs()
    tried, broken = publishing(args.quick)
    matrix["publishing, a fault in every phase"] = Counter(whole=tried - len(broken), failed=len(broken))
    failed += [f"publishing, {one}" for one in broken]
    total = sum(sum(row.values()) for row in matrix.values())
    summary: dict[str, Any] = {
        "cases": total,
        "survived": total - sum(row["failed"] for row in matrix.values()),
        "matrix": {group: dict(row) for group, row in matrix.items()},
        "failed": failed,
        "costs": costly,
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
    }
    summary["share"] = summary["survived"] / total
    print(markdown(summary))
    if args.json:
        args.json.write_text(json.dumps(summary, indent=1) + "\n")
    if args.markdown:
        args.markdown.write_text(markdown(summary))
    return 0 if summary["share"] >= 0.99 and all(row["within"] for row in summary["costs"]) else 1


if __name__ == "__main__":
    sys.exit(main())
