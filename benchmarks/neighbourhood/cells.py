"""A cell: one operation of one library on one thing of ours (or a user's), run, and what it showed in words."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import logging
import re
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

VERDICTS = {
    "works": "the check printed beside it passed",
    "with care": "the result is right, but not what one expects",
    "wrong": "a result that is not right, without an error",
    "refused": "an error, given in the library's words",
    "not installed": "the library is not on this machine",
}


class Care(Exception):
    """Raised by a cell whose result is right but surprising."""


class Wrong(Exception):
    """Raised by a cell whose result is not right although the library gave no error."""


@dataclass(frozen=True)
class Cell:
    """One operation of one library on one artefact.

    Args:
        artefact: What is handed over.
        library: Name of the distribution (its version is looked up), or several joined by "+".
        operation: What is done with it.
        run: Does it and returns the figures that show it worked, or raises.
        instead: What to do instead, where it does not work.
    """

    artefact: str
    library: str
    operation: str
    run: Callable[[], str]
    instead: str = ""


@dataclass(frozen=True)
class Result:
    """What a cell showed."""

    artefact: str
    library: str
    version: str
    operation: str
    verdict: str
    shown: str
    instead: str
    seconds: float

    def as_dict(self) -> dict[str, str | float]:
        """Plain data, for JSON."""
        return asdict(self)


def version_of(library: str) -> str:
    """Installed version of a distribution (of each, where several are joined by "+"); "" where there is none."""
    found = []
    for name in library.split("+"):
        try:
            found.append(importlib.metadata.version(name.strip()).split("+")[0])
        except importlib.metadata.PackageNotFoundError:
            return ""
    return ", ".join(found)


def plain(text: object, limit: int = 220) -> str:
    """One line of a message, without addresses of memory, temporary paths and escapes of a terminal."""
    line = re.sub(r"\x1b\[[0-9;]*m", "", " ".join(str(text).split()))
    line = re.sub(r"(/tmp|/var/folders)/[^\s'\",:;)]*/", "…/", line)
    line = re.sub(r" at 0x[0-9a-f]+", "", line)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def run(cell: Cell) -> Result:
    """Run one cell; what it prints and warns is kept from the terminal."""
    version = version_of(cell.library)
    start = time.perf_counter()
    if not version:
        verdict, shown = "not installed", ""
    else:
        sink = io.StringIO()
        logging.disable(logging.CRITICAL)
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
                warnings.simplefilter("ignore")
                verdict, shown = "works", cell.run()
        except Care as error:
            verdict, shown = "with care", str(error)
        except Wrong as error:
            verdict, shown = "wrong", str(error)
        except BaseException as error:  # a library may raise anything, a panic of compiled code too
            if isinstance(error, KeyboardInterrupt):
                raise
            verdict, shown = "refused", f"{type(error).__name__}: {error}"
        finally:
            logging.disable(logging.NOTSET)
    seconds = round(time.perf_counter() - start, 2)
    instead = "" if verdict == "works" else cell.instead
    return Result(cell.artefact, cell.library, version, cell.operation, verdict, plain(shown), instead, seconds)


def demand(condition: bool, otherwise: str) -> None:
    """Raise `Wrong` unless the condition holds."""
    if not condition:
        raise Wrong(otherwise)


def folder_of(scratch: Path, name: str) -> Path:
    """A fresh folder below the scratch folder."""
    folder = scratch / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
