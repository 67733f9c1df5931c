"""The command line as a user meets it: help, unknown commands, exit codes, one-line errors, import cost."""

import errno
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from simxrd_hf import cli
from simxrd_hf.errors import BadInput

ROOT = Path(__file__).parents[1]


def test_every_listed_command_has_a_module_help_and_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for name in cli.COMMANDS:
        assert cli.main([name, "--help"]) == 0, name
        shown = capsys.readouterr().out
        assert f"usage: simxrd {name}" in shown
        assert f"example:\n  simxrd {name}" in shown
        options, example = shown.split("example:\n")
        for line in re.findall(rf"simxrd\)? {name} [^#\n]*", example):
            assert all(option in options for option in re.findall(r"--[a-z-]+", line)), line
        assert all((ROOT / path).exists() for path in re.findall(r"benchmarks/\S+", example)), example


def test_no_arguments_shows_usage_and_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "simxrd COMMAND" in capsys.readouterr().out


def test_unknown_command_and_unknown_option_are_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["frobnicate"]) == 2
    assert "no command 'frobnicate'" in capsys.readouterr().err
    assert cli.main(["simulate", "--no-such-option"]) == 2


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (BadInput("a.cif: no atoms; write the atom sites"), 2, "a.cif: no atoms"),
        (OSError(errno.ENOSPC, "No space left on device", "out/x.parquet"), 2, "free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "/out"), 2, "check the permissions"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "gone.cif"), 2, "gone.cif"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_errors_become_one_line_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    words: str,
) -> None:
    def run(args: object) -> int:
        raise error

    command = SimpleNamespace(__doc__="Fail.", EXAMPLE="simxrd demo", add_arguments=lambda parser: None, run=run)
    monkeypatch.setattr(importlib, "import_module", lambda name: command)
    assert cli.main(["demo"]) == code
    shown = capsys.readouterr().err
    assert words in shown
    assert shown.count("\n") == 1


def test_an_unexpected_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(args: object) -> int:
        raise ZeroDivisionError

    command = SimpleNamespace(__doc__="Fail.", EXAMPLE="simxrd demo", add_arguments=lambda parser: None, run=run)
    monkeypatch.setattr(importlib, "import_module", lambda name: command)
    with pytest.raises(ZeroDivisionError):
        cli.main(["demo"])


def test_import_is_lazy() -> None:
    """`import simxrd_hf` loads none of the heavy libraries; this, unlike a stopwatch, holds on a loaded machine."""
    code = (
        "import sys, simxrd_hf; "
        "print(sorted({m.split('.')[0] for m in sys.modules} & "
        "{'torch','transformers','datasets','numba','pymatgen','numpy','pandas','accelerate','evaluate'}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert run.stdout.strip() == "[]"


def test_every_public_name_resolves() -> None:
    import simxrd_hf

    for name in simxrd_hf.__all__:
        assert getattr(simxrd_hf, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = simxrd_hf.nonsense


def test_bars_do_not_flood_a_log() -> None:
    """Twelve steps of a tenth of a second: the bar begins and ends, and says nothing between."""
    code = """
import time
from simxrd_hf import cli

def work():
    from tqdm import tqdm
    for _ in tqdm(range(12)):
        time.sleep(0.1)
    return 0

cli.main = work
cli.entry_point()
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    bars = [line for line in re.split(r"[\r\n]", run.stderr) if line]
    assert len(bars) == 2 and " 0/12 " in bars[0] and " 12/12 " in bars[1]
