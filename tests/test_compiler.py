"""Compiled code where it cannot be kept, or was kept badly."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULE = "from simxrd_hf.compiler import njit\n\n@njit(cache=True)\ndef double(x):\n    return 2 * x\n"
ASK = "import kernels; assert kernels.double(3) == 6; print(kernels.double._cache.cache_path)"


@pytest.fixture
def ask(tmp_path):
    """Runs the function in a process of its own; returns where its code is kept."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "kernels.py").write_text(MODULE)

    def run(**changes):
        environment = {k: v for k, v in os.environ.items() if k not in {"NUMBA_CACHE_DIR", "HOME", "XDG_CACHE_HOME"}}
        environment |= {"PYTHONPATH": f"{tmp_path / 'code'}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1", **changes}
        done = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-800:]
        run.said = done.stderr
        return done.stdout.strip()

    run.folder = tmp_path / "code"
    return run


def no_folders(path: Path) -> None:
    """A file where the cache's folder would have to be made: nobody, root included, can write there."""
    shutil.rmtree(path, ignore_errors=True)
    path.write_text("")


def test_beside_the_code_where_that_can_be_written(ask):
    assert ask() == str(ask.folder / "__pycache__")


def test_a_private_temporary_folder_without_package_and_home(ask, tmp_path):
    no_folders(ask.folder / "__pycache__")
    no_folders(tmp_path / "home")
    (tmp_path / "tmp").mkdir()
    places = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp")}
    kept = Path(ask(**places))
    assert kept.is_relative_to(tmp_path / "tmp") and list(kept.glob("*.nbc"))
    folder = next((tmp_path / "tmp").iterdir())
    assert not folder.stat().st_mode & 0o022
    folder.chmod(0o777)  # others could put code there
    assert ask(**places) == "None"


def test_what_was_cut_off_is_made_again(ask):
    kept = Path(ask())
    for pattern in ("*.nbi", "*.nbc"):
        for size in (0, 1, 40):
            for path in kept.glob(pattern):
                path.write_bytes(path.read_bytes()[:size])
            ask()
            ask()
    assert all(path.stat().st_size > 40 for path in kept.glob("*.nb[ci]"))


def test_one_line_says_that_it_compiles_and_why(ask):
    kept = ask()
    assert ask.said.count("\n") == 1 and "compiling for this processor" in ask.said and kept in ask.said
    ask()
    assert ask.said == ""  # it is there now


def test_several_processes_on_one_empty_cache(ask, tmp_path):
    environment = {**os.environ, "PYTHONPATH": f"{ask.folder}:{ROOT}", "NUMBA_CACHE_DIR": str(tmp_path / "shared")}
    started = [
        subprocess.Popen([sys.executable, "-c", ASK], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    assert [(one.communicate()[1].count(b"Traceback"), one.returncode) for one in started] == [(0, 0)] * 4


def test_what_kernels_call_is_made_once_and_python_can_call_it_too(ask):
    (ask.folder / "kernels.py").write_text(
        "from simxrd_hf.compiler import njit\n\n"
        "@njit(cache=True)\ndef half(x):\n    return x / 2\n\n"
        "@njit(cache=True)\ndef double(x):\n    return 4 * half(x)\n\n"
        "@njit(cache=True)\ndef both(x):\n    return half(x) + double(x)\n"
    )
    done = "import kernels as k; assert (k.both(2.0), k.double(3), k.half(5)) == (5.0, 6.0, 2.5); assert not k.half.{}"
    environment = {**os.environ, "PYTHONPATH": f"{ask.folder}:{ROOT}"}
    for count in ("stats.cache_hits", "stats.cache_misses"):  # compiled, then read
        subprocess.run([sys.executable, "-c", done.format(count)], env=environment, check=True)
    kept = {path.name.split("-")[0] for path in (ask.folder / "__pycache__").glob("*.nbi")}
    assert kept == {"kernels.both", "kernels.double", "kernels.half"}


FAULTS = """
import resource, sys
from simxrd_hf.compiler import _with_room

def leaf(a):
    return a

def loop(depth):
    if depth:
        return loop(depth - 1)
    for _ in range(400):
        leaf(1)

def faults(call, *args):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    call(*args)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

depths = range(150, 400)  # frames of some 100 bytes: the end of a piece of 16 kB lies among these, wherever it began
for call in (loop,), (_with_room, loop):
    print(max(faults(*call, depth) for depth in depths))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="page faults are counted as Linux does")
def test_frames_of_a_compilation_lie_in_one_piece():
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", FAULTS], env=environment, capture_output=True, check=True)
    without, with_room = map(int, done.stdout.split())
    assert with_room < 100
    if sys.version_info < (3, 13):  # later ones keep a piece
        assert without >= 400


def test_kernels_compile_with_room(monkeypatch):
    from simxrd_hf import compiler

    calls = []
    monkeypatch.setattr(compiler, "_with_room", lambda function, *args: calls.append(args) or function(*args))

    @compiler.njit
    def inner(x):
        return x + 1

    @compiler.njit
    def outer(x):
        return inner(x)

    assert outer(2) == 3
    assert len(calls) == 1  # what it calls is compiled on the way
