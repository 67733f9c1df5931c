"""One process at a time in a folder: who comes second is refused before it touches anything."""

import contextlib
from pathlib import Path

from filelock import FileLock, Timeout

from simxrd_hf.errors import BadInput

LOCK = ".simxrd.lock"
"""File of the lock, in the folder; empty, hidden, and left there, since deleting it would let two in."""


def take(folder: Path, doing: str) -> FileLock:
    """Keep other processes of this program out of a folder.

    Args:
        folder: The folder; it must exist.
        doing: What is done there, for messages: "generating", "training".

    Returns:
        The lock, held until `release` or the end of this process, however it ends.

    Raises:
        BadInput: Another process, or another run in this one, holds it.
        OSError: The folder cannot be written.
    """
    lock = FileLock(folder / LOCK)
    with contextlib.suppress(NotImplementedError):  # some network file systems have no locks
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise BadInput(
                f"{folder}: another process is {doing} here; wait for it, stop it, or choose another folder"
            ) from None
    return lock
