"""Measures the Hub room: every fault in every phase of a publish, and streaming from a Hub against streaming from disk.

Both run against the Hub server of the tests, on loopback, with the real client libraries; the server has a process of
its own for the streaming part. Nothing here says how fast a network is.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HUB = ROOT / "tests" / "hub"
REPO = "tester/stream"


def faults(quick: bool) -> dict:
    """The matrix of faults x phases; see tests/hub/fault_matrix.py."""
    command = [sys.executable, HUB / "fault_matrix.py", *(["--quick"] if quick else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def matrix_text(cases: list[dict]) -> str:
    """Phases by rows, faults by columns: how many of the tried cases survived."""
    kinds = list(dict.fromkeys(case["fault"] for case in cases))
    tried = Counter((case["phase"], case["fault"]) for case in cases)
    good = Counter((case["phase"], case["fault"]) for case in cases if case["survived"])
    lines = [f"{'phase':<12}" + "".join(f"{kind:>8}" for kind in kinds)]
    for phase in dict.fromkeys(case["phase"] for case in cases):
        cells = (f"{good[phase, kind]}/{tried[phase, kind]}" for kind in kinds)
        lines.append(f"{phase:<12}" + "".join(f"{cell:>8}" for cell in cells))
    return "\n".join(lines)


def rows_per_second(source: str) -> tuple[float, int]:
    """Patterns a streaming reader gets as float32 arrays, in batches of 64, in one pass over the training split."""
    from datasets import load_dataset

    stream = load_dataset(source, "in_library", split="train", streaming=True).select_columns(["intensity"])
    begun = time.perf_counter()
    rows = sum(len(batch["intensity"]) for batch in stream.with_format("numpy").iter(64))
    return rows / (time.perf_counter() - begun), rows


def streaming(folder: Path, structures: str | None, crystals: int, rounds: int) -> dict:
    """Publish a dataset to a Hub in another process, then read it from there and from disk in turn, `rounds` times.

    The best pass of each counts: other work on the machine can only slow a pass down.
    """
    import huggingface_hub  # noqa: F401 - reads HF_ENDPOINT, so only now

    from simxrd_hf import generate, read_crystals
    from simxrd_hf.crystals import prototypes
    from simxrd_hf.hub import publish

    table = read_crystals(structures, limit=crystals).table if structures else prototypes().table
    small = [row for row, atoms in enumerate(table["atomic_numbers"].to_pylist()) if len(atoms) <= 20]
    data = folder / "data"
    generate(table.take(small[:crystals]), data, configs=("in_library",), progress=False)
    began = time.perf_counter()
    report = publish("dataset", data, REPO)
    published = time.perf_counter() - began
    rates: dict[str, list[float]] = {"disk": [], "hub": []}
    for _ in range(rounds):
        for name, source in (("disk", str(data)), ("hub", REPO)):
            rate, rows = rows_per_second(source)
            rates[name].append(rate)
    size = sum(change.size for change in report.changes)
    return {
        "stream_rows": rows,
        "stream_rows_per_s": max(rates["hub"]),
        "disk_rows_per_s": max(rates["disk"]),
        "stream_over_disk": max(rates["hub"]) / max(rates["disk"]),
        "publish_mb_per_s": size / 1e6 / published,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 50 s: half of the matrix, fewer patterns")
    parser.add_argument("--structures", help="any source of crystals (default: the packaged prototypes)")
    parser.add_argument("--json", type=Path, help="write the numbers")
    args = parser.parse_args()

    matrix = faults(args.quick)
    print(matrix_text(matrix["cases"]))
    for case in matrix["cases"]:
        if not case["survived"]:
            print(f"not survived: {json.dumps(case)}", file=sys.stderr)
    out: dict = {"faults_tried": matrix["tried"], "faults_survived": matrix["survived"]}
    server = subprocess.Popen(
        [sys.executable, HUB / "hub_server.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin is not None and server.stdout is not None
    try:
        with tempfile.TemporaryDirectory() as scratch:
            os.environ |= {
                "HF_ENDPOINT": server.stdout.readline().strip(),
                "HF_TOKEN": "hf_test_write_token",
                "HF_HOME": str(Path(scratch) / "home"),
                "HF_HUB_OFFLINE": "0",
                "HF_HUB_DISABLE_XET": "1",
                "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            }
            rounds, crystals = (8, 250) if args.quick else (6, 1500)
            out |= streaming(Path(scratch), args.structures, crystals, rounds)
    finally:
        server.stdin.close()
        server.wait(10)
    import datasets
    import huggingface_hub

    out |= {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "huggingface_hub": huggingface_hub.__version__,
        "datasets": datasets.__version__,
    }
    for key, value in out.items():
        print(f"{key:<20} {value:.3f}" if isinstance(value, float) else f"{key:<20} {value}")
    if args.json:
        args.json.write_text(json.dumps(out, indent=1) + "\n")
    return 0 if out["faults_tried"] == out["faults_survived"] else 1


if __name__ == "__main__":
    sys.exit(main())
