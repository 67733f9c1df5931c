"""The `simxrd` command line: finds the command's module, reports bad input in one line, sets the exit code."""

import argparse
import errno
import gc
import importlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from simxrd_hf.errors import BadInput, DoubtfulInput
from simxrd_hf.printable import printable_lines

# Name of the command (its module in `simxrd_hf.commands`, dashes as underscores) and its line in `simxrd --help`.
# Kept as text so that help and error messages need not import torch.
COMMANDS = {
    "demo": "the whole path in minutes: crystals, patterns, dataset, training, scores, prediction",
    "crystals": "read crystal structures from any source into one table",
    "simulate": "simulate powder patterns of crystals, print peaks, plot",
    "generate": "write a dataset of simulated patterns as Parquet",
    "row": "remake one row of a dataset alone",
    "import-original": "convert the SimXRD authors' own files",
    "train": "train a classifier through Accelerate",
    "evaluate": "score a checkpoint on a dataset",
    "library": "calculate the lines of crystals, for predict to compare patterns with",
    "evidence": "fit how cell search and a library correct a model's answers",
    "predict": "identify measured patterns",
    "refine": "refine the crystals in a measured pattern by a Rietveld fit",
    "serve": "show the demo page of a model in the browser",
    "export": "write a checkpoint for other runtimes: ONNX, or a folder for the Hub",
    "benchmark": "train and score a matrix of models, one results table",
    "publish": "put datasets, models, metrics and results on the Hub",
    "leaderboard": "collect results and show the leaderboard",
    "score-hidden": "score answers to a hidden test with its key",
}

# Packages that an extra brings, and which.
EXTRAS = {
    "accelerate": "train",
    "evaluate": "hub",
    "gradio": "spaces",
    "jsonschema": "hub",
    "plotly": "spaces",
    "rietx": "refine",
    "sklearn": "demo",
}


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        ["usage: simxrd COMMAND [options]    (simxrd COMMAND --help for its options and an example)", "", *lines]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments after the program name; `sys.argv[1:]` if absent.

    Returns:
        0 when it worked, 1 when it failed, 2 when the input was bad, 130 when interrupted.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in {"-h", "--help"}:
        print(_usage())
        return 0 if args else 2
    if args[0] == "--version":
        import simxrd_hf

        print(f"simxrd_hf {simxrd_hf.__version__}")
        return 0
    name = args[0]
    if name not in COMMANDS:
        print(f"simxrd: there is no command {name!r}\n\n{_usage()}", file=sys.stderr)
        return 2
    try:
        return _run(name, args[1:])
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        print(
            f"simxrd {name}: needs the package {package}: pip install 'simxrd_hf[{EXTRAS[package]}]'", file=sys.stderr
        )
        return 2


@contextmanager
def _doubts_in_one_line(name: str) -> Iterator[None]:
    """Show doubts about input as errors are shown; other warnings as Python does."""
    show = warnings.showwarning

    def one_line(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, DoubtfulInput):
            print(f"simxrd {name}: {printable_lines(str(message))}", file=sys.stderr)
        else:
            show(message, category, *where, **more)

    with warnings.catch_warnings():
        warnings.showwarning = one_line
        yield


def _run(name: str, arguments: list[str]) -> int:
    command = importlib.import_module(f"simxrd_hf.commands.{name.replace('-', '_')}")
    parser = argparse.ArgumentParser(
        prog=f"simxrd {name}",
        description=(command.__doc__ or "").strip().splitlines()[0],
        epilog=f"example:\n  {command.EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    try:
        options = parser.parse_args(arguments)
        with _doubts_in_one_line(name):
            return int(command.run(options))
    except SystemExit as stop:  # argparse: 0 after --help, 2 after a wrong option
        return int(stop.code or 0)
    except BadInput as error:
        print(f"simxrd {name}: {printable_lines(str(error))}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno == errno.EPIPE:  # the reader of our output has gone: nothing is wrong with the work
            return 0
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.ENOENT, errno.EISDIR}:
            raise
        where = f" ({error.filename})" if error.filename else ""
        remedy = {
            errno.ENOSPC: "free some space or choose another output folder, then run the same command again",
            errno.EDQUOT: "the quota is used up: choose another output folder, then run the same command again",
            errno.ENOENT: "check the path",
            errno.EISDIR: "a file is needed here, not a folder",
        }.get(error.errno, "check the permissions or choose another folder")
        print(f"simxrd {name}: {error.strerror}{where}; {remedy}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"simxrd {name}: interrupted", file=sys.stderr)
        return 130


def entry_point() -> None:
    """Console script."""
    if not sys.stderr.isatty():  # a log, of a batch job for instance: bars write a line now and then
        for name in ("TQDM_MININTERVAL", "TQDM_MAXINTERVAL"):
            os.environ.setdefault(name, "30")
    code = main()
    gc.freeze()  # else the interpreter searches all modules for garbage before it ends: 0.3 s once torch is loaded
    sys.exit(code)
