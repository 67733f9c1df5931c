"""Compares our readers with geddes and xylib, on files of every format written here and on files of your own.

geddes (PyPI) is imported; xylib is run as its program `xyconv` where it is installed (Debian: libxy-bin). A reader is
"right" when angles and intensities are those written (or, for your own files, those we read).
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "patterns"))

from pattern_files import WRITERS, profile  # noqa: E402

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
    if done.returncode or not rows:
        raise ValueError((done.stderr or "no data").strip().splitlines()[0])
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
    parser.add_argument("--files", type=Path, nargs="*", default=[], help="also these files")
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
            verdicts = {reader: judge(read, path, truth)[0] for reader, read in readers.items()}
            for reader, verdict in verdicts.items():
                right[reader] += verdict == "right"
            print(f"{kind:<22}" + "".join(f"{v[:32]:<34}" for v in verdicts.values()))
    print(f"{'right, of ' + str(len(WRITERS)):<22}" + "".join(f"{n:<34}" for n in right.values()))
    for path in args.files:
        verdict, found = judge(ours, path, None)
        others = [judge(read, path, found)[0] for name, read in readers.items() if name != "ours"]
        print(f"{path.name[:20]:<22}" + "".join(f"{v[:32]:<34}" for v in [verdict, *others]))


if __name__ == "__main__":
    main()
