"""Damages files of every format thousands of times and checks that each reader refuses or reads them, and nothing else.

A reader fails on a file when it raises anything but `BadInput`, needs more than 20 seconds, takes the process down, or
returns a pattern that breaks the invariants of `Pattern`. Exit code 1 when any file failed.
"""

import argparse
import contextlib
import json
import multiprocessing
import platform
import queue
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "patterns"))

from pattern_files import STORED, WRITERS, mutate, profile  # noqa: E402
from test_readers import check_invariants  # noqa: E402

from simxrd_hf.errors import BadInput  # noqa: E402
from simxrd_hf.patterns import read_pattern  # noqa: E402

SECONDS = 20  # more than the confined process is given, by the clock


def _too_slow(*_: object) -> None:
    raise TimeoutError(f"more than {SECONDS} s")


def campaign(kind: str, files: int, seed: int, folder: str, results: "multiprocessing.Queue[dict]") -> None:
    """Run one reader; the counts go into the queue."""
    name, write, *_ = WRITERS[kind]
    x, y = profile(seed=seed)
    original, stored = write(x, y), STORED[kind](y) if kind in STORED else y
    rng = random.Random(f"{kind} {seed}")
    path = Path(folder) / name
    signal.signal(signal.SIGALRM, _too_slow)
    count: Counter[str] = Counter()
    failures: list[str] = []
    slowest = 0.0
    for index in range(files):
        raw = mutate(original, rng)
        path.write_bytes(raw)
        begin = time.perf_counter()
        signal.alarm(SECONDS)
        try:
            pattern = read_pattern(path)
            check_invariants(pattern)
        except BadInput:
            count["refused"] += 1
        except BaseException:  # whatever it is, it is the finding
            failures.append(f"file {index}: {traceback.format_exc(limit=-2)}")
            keep = Path(tempfile.gettempdir()) / f"failed_{kind}_{index}_{name}"
            keep.write_bytes(raw)
        else:
            same = len(pattern) == len(x) and np.allclose(pattern.intensity, stored, rtol=1e-5)
            count["read, data unchanged" if same else "read, data changed"] += 1
            count["read with a warning"] += bool(pattern.warnings)
        finally:
            signal.alarm(0)
        slowest = max(slowest, time.perf_counter() - begin)
    results.put({"reader": kind, "files": files, "failures": failures, "slowest_s": round(slowest, 3), **count})


def in_process(kind: str, files: int, seed: int) -> dict:
    """Run a campaign in a process: a crash inside a C library must count as a failure, not end everything."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        results: multiprocessing.Queue = multiprocessing.Queue()
        worker = multiprocessing.Process(target=campaign, args=(kind, files, seed, folder, results))
        worker.start()
        row = None
        while row is None and (worker.is_alive() or not results.empty()):
            with contextlib.suppress(queue.Empty):
                row = results.get(timeout=0.2)
        worker.join()
    return row or {"reader": kind, "files": files, "failures": [f"the process ended with code {worker.exitcode}"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000, help="damaged files per reader")
    parser.add_argument("--quick", action="store_true", help="200 files per reader")
    parser.add_argument("--reader", action="append", choices=list(WRITERS), help="only this one (repeatable)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    files = 200 if args.quick else args.files
    rows = []
    print(f"{'reader':<18} {'files':>7} {'refused':>8} {'same':>7} {'changed':>8} {'failed':>7} {'slowest':>8}")
    for kind in args.reader or WRITERS:
        row = in_process(kind, files, args.seed)
        rows.append(row)
        print(
            f"{kind:<18} {row['files']:>7} {row.get('refused', 0):>8} {row.get('read, data unchanged', 0):>7} "
            f"{row.get('read, data changed', 0):>8} {len(row['failures']):>7} {row.get('slowest_s', 0):>7.2f}s",
            flush=True,
        )
        for failure in row["failures"][:5]:
            print("    " + failure.strip().replace("\n", "\n    "), flush=True)
    failed = sum(len(row["failures"]) for row in rows)
    total = sum(row["files"] for row in rows)
    print(f"{total:,} damaged files, {failed} failures")
    if args.json:
        summary = {
            "damaged_files": total,
            "failures": failed,
            "readers": len(rows),
            "slowest_s": max(row.get("slowest_s", 0) for row in rows),
            "date": datetime.now(UTC).date().isoformat(),
            "python": platform.python_version(),
            "numpy": np.__version__,
        }
        args.json.write_text(json.dumps(summary, indent=1) + "\n")
        args.json.with_suffix(".csv").write_text(
            "reader,files,refused,read_unchanged,read_changed,failures,slowest_s\n"
            + "".join(
                f"{r['reader']},{r['files']},{r.get('refused', 0)},{r.get('read, data unchanged', 0)},"
                f"{r.get('read, data changed', 0)},{len(r['failures'])},{r.get('slowest_s', 0)}\n"
                for r in rows
            )
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
