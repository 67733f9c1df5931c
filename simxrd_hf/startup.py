"""How a command starts fast."""

import contextlib
import gc
import os
from collections.abc import Iterator


def one_thread_each(*, torch: bool = True) -> None:
    """Let the libraries of this process start no threads; before numpy and torch are loaded.

    What numpy multiplies here is small: threads of OpenBLAS wait for the next product by asking again and again,
    which keeps processors busy that other processes need.

    Args:
        torch: Those of torch neither: for a process that is one of several.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS") if torch else ("OPENBLAS_NUM_THREADS",)
    os.environ.update(dict.fromkeys(names, "1"))


@contextlib.contextmanager
def all_stays() -> Iterator[None]:
    """For a command that loads its libraries: the garbage collector looks at nothing made here, now or later.

    Large libraries make hundreds of thousands of objects that live as long as the process; going through them for
    garbage, again and again while they load and whenever more is made, takes a tenth of a cold start.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
