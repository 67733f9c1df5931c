"""Files and folders that appear whole or not at all, whatever happens while they are written."""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from simxrd_hf.errors import BadInput

TEMPORARY = ".tmp-"
"""How the names of unfinished files and folders begin; what a killed process left behind is known by it."""


def _temporary(target: Path) -> Path:
    # The ending stays: pictures and .npz files are written by it.
    return target.with_name(f"{TEMPORARY}{secrets.token_hex(8)}{target.suffix}")


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # some network file systems cannot fsync a folder
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(handle)


def _sync_names(folder: Path) -> None:
    if os.name != "nt":  # Windows opens no folders
        sync(folder)


@contextlib.contextmanager
def replacing(path: str | Path, *, durable: bool = False) -> Iterator[Path]:
    """Write a file under another name beside it; it takes its place when the block ends without an error.

    A link is followed. What is no regular file (a pipe, `/dev/stdout`) is written to directly.

    Args:
        path: The file; its folder must exist.
        durable: Return only when a power cut can no longer undo it.

    Yields:
        The path to write to, with the suffix of `path`; no file is there yet.

    Raises:
        BadInput: The folder does not exist, or `path` is a folder.
        OSError: It could not be written; the file is as it was, and nothing else is left behind.
    """
    path = Path(path)
    if path.is_dir():
        raise BadInput(f"{path} is a folder; give the name of a file")
    if path.exists() and not path.is_file():
        yield path
        return
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise BadInput(f"{target.parent}: no such folder; create it or choose another output path")
    temporary = _temporary(target)
    try:
        yield temporary
        if durable:
            sync(temporary)
        temporary.replace(target)
        if durable:
            _sync_names(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: str | Path, content: bytes | memoryview | str, *, durable: bool = True) -> None:
    """Write a file that is all of `content` or what it was before; see `replacing`.

    Args:
        path: The file; its folder must exist.
        content: What to write; text becomes UTF-8.
        durable: Return only when a power cut can no longer undo it.
    """
    with replacing(path, durable=durable) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def replacing_folder(folder: str | Path, *, durable: bool = False) -> Iterator[Path]:
    """Fill a folder under another name beside it; it takes its place when the block ends without an error.

    Args:
        folder: The folder; those above it are made. An old one stays until the new one is whole, then goes.
        durable: Return only when a power cut can no longer undo it.

    Yields:
        The new folder, empty.

    Raises:
        BadInput: `folder` is a file.
        OSError: It could not be written; the old folder is as it was, and nothing else is left behind.
    """
    target = Path(os.path.realpath(folder))
    if target.exists() and not target.is_dir():
        raise BadInput(f"{target} is a file; give the name of a folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    work, old = _temporary(target), _temporary(target)
    work.mkdir()
    try:
        yield work
        if durable:
            for path in [*work.rglob("*"), work]:
                (_sync_names if path.is_dir() else sync)(path)
        if target.exists():
            target.rename(old)  # a rename cannot replace a folder that holds something
        try:
            work.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
        if durable:
            _sync_names(target.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def remove_unfinished(folder: Path) -> None:
    """Delete what killed processes left in a folder and below it; for a folder that no other process writes to."""
    for path in list(folder.rglob(f"{TEMPORARY}*")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
