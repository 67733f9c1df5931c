"""How a command starts fast."""

import contextlib
import gc
from collections.abc import Iterator


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
