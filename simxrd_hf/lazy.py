"""Public names that load on first use (PEP 562), so that importing a package costs next to nothing."""

import contextlib
import gc
import importlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any


def load(package: str, names: Mapping[str, str], name: str) -> Any:
    """What a package's `__getattr__` does: import the module that defines `name` and keep the value.

    Args:
        package: `__name__` of the package.
        names: Public name → module that defines it, relative to the package.
        name: The attribute asked for.

    Raises:
        AttributeError: The package has no such name.
    """
    if name not in names:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{package}.{names[name]}"), name)
    setattr(sys.modules[package], name, value)
    return value


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
