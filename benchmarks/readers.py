"""Compares our readers with geddes and xylib, on files of every format written here and on files of your own.

geddes (PyPI) is imported; xylib is run as its program `xyconv` where it is installed (Debian: libxy-bin). A reader is
"right" when angles and intensities are those written (or, for your own files, those we read).
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "patterns"))

from pattern_files import STORED, WRITERS, profile  # noqa: E402

from simxrd_hf.errors import BadInput  # noqa: E402
from simxrd_hf.patterns import read_pattern  # noqa: E402

Columns = tuple[np.ndarray, np.ndarray]


def ours(path: Path) -> Columns:
    pattern = read_pattern(path)
    return pattern.two_theta, pattern.intensity


def with_geddes(path: Path) -> Columns:
    import geddes

    found = geddes.read(str(path))
    return np.asarray(found.x), np.asarray(found.y)


def with_xylib(path: Path) -> Columns:
    done = subprocess.run(["xyconv", str(path), "-"], capture_output=True, text=True, timeout=60, errors="replace")
    rows = [line.split()[:2] for line in done.stdout.splitlines() if line.strip() and not line.startswith("#")]
    if done.returncode or not rows or min(map(len, rows)) < 2:
        raise ValueError((done.stderr.strip() or "no data").splitlines()[0])
    table = np.array(rows, dtype=float)
    return table[:, 0], table[:, 1]


def judge(read: Callable[[Path], Columns], path: Path, truth: Columns | None) -> tuple[str, Columns | None]:
    """Verdict on one file."""
    begin = time.perf_counter()
    try:
        found = read(path)
    except (BadInput, ValueError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        return f"refused: {str(error)[:60]}", None
    elapsed = time.perf_counter() - begin
    if truth is None:
        return f"{len(found[0])} points, {elapsed:.2f} s", found
    if len(found[0]) != len(truth[0]):
        return f"differs: {len(found[0])} points", found
    right = np.allclose(found[0], truth[0], atol=1e-4) and np.allclose(found[1], truth[1], rtol=1e-5, atol=1e-4)
    return "right" if right else "differs", found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=Path, nargs="*", default=[], help="also these files, or all files of folders")
    parser.add_argument("--json", type=Path, help="write what was made of each of them")
    parser.add_argument("--against", type=Path, help="such a file of another build: list what is read otherwise")
    args = parser.parse_args()
    readers: dict[str, Callable[[Path], Columns]] = {"ours": ours, "geddes": with_geddes}
    if shutil.which("xyconv"):
        readers["xylib"] = with_xylib
    print(f"{'format':<22}" + "".join(f"{name:<34}" for name in readers))
    truth = profile()
    right = dict.fromkeys(readers, 0)
    with tempfile.TemporaryDirectory() as folder:
        for kind, (name, write, *_) in WRITERS.items():
            path = Path(folder) / name
            path.write_bytes(write(*truth))
            stored = truth[0], STORED[kind](truth[1]) if kind in STORED else truth[1]
            verdicts = {reader: judge(read, path, stored)[0] for reader, read in readers.items()}
            for reader, verdict in verdicts.items():
                right[reader] += verdict == "right"
            print(f"{kind:<22}" + "".join(f"{v[:32]:<34}" for v in verdicts.values()))
    print(f"{'right, of ' + str(len(WRITERS)):<22}" + "".join(f"{n:<34}" for n in right.values()))
    rows = real_files(args.files, readers)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=0) + "\n")
    if args.against:
        report_changes(json.loads(args.against.read_text()), rows)


def real_files(paths: list[Path], readers: dict[str, Callable[[Path], Columns]]) -> dict[str, dict[str, Any]]:
    """What we make of each file, and which other reader makes the same; a table of formats is printed."""
    files = [
        file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path]) if file.is_file()
    ]
    rows: dict[str, dict[str, Any]] = {}
    count: dict[str, Counter[str]] = {}
    for path in files:
        try:
            pattern = read_pattern(path)
        except BadInput as error:
            rows[str(path)] = {"refused": str(error)}
            continue
        ours = pattern.two_theta, pattern.intensity
        kind = pattern.metadata["format"]
        verdicts = {name: judge(read, path, ours)[0] for name, read in readers.items() if name != "ours"}
        same = [name for name, verdict in verdicts.items() if verdict == "right"]
        read = [name for name, verdict in verdicts.items() if not verdict.startswith("refused")]
        how = "same" if same else ("other" if read else "no other reader")
        count.setdefault(kind, Counter())[how] += 1
        digest = hashlib.sha256(np.round(np.stack(ours), 6).tobytes()).hexdigest()[:16]
        rows[str(path)] = {
            "format": kind,
            "points": len(pattern),
            "wavelength": pattern.wavelength,
            "digest": digest,
            "same_as": same,
        }
        if how == "other":
            print(f"{path.name[:40]:<42} differs from {', '.join(read)}; {len(pattern)} points; {pattern.warnings[:1]}")
    if files:
        print(f"{'format':<10} {'read':>6} {'same':>6} {'other':>6} {'alone':>6}")
        for kind, made in sorted(count.items()):
            print(f"{kind:<10} {made.total():>6} {made['same']:>6} {made['other']:>6} {made['no other reader']:>6}")
        refused = sum("refused" in row for row in rows.values())
        print(f"{len(files)} files, {len(files) - refused} read, {refused} refused")
    return rows


def report_changes(before: dict[str, dict[str, Any]], now: dict[str, dict[str, Any]]) -> None:
    """Files that another build (its --json) read otherwise."""
    for path, row in now.items():
        old = before.get(path)
        keys = ("refused", "points", "wavelength", "digest")
        if old is not None and any(old.get(key) != row.get(key) for key in keys):
            print(f"changed: {path}: {old} -> {row}")


if __name__ == "__main__":
    main()
