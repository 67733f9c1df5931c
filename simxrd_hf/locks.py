"""A lock file, so that processes of one machine that work on one folder do not get in each other's way."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold a lock while the block runs; it is let go when the process ends, however it ends.

    Args:
        path: File of the lock, made if it is not there; its folder must be.
        wait: Wait for it, rather than go on without.

    Yields:
        Whether it is held. True on Windows, which has no such locks: two processes may do the same work there.
    """
    try:
        import fcntl
    except ImportError:
        yield True
        return
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
