"""Public names that load on first use (PEP 562), so that importing a package costs next to nothing."""

import importlib
import sys
from collections.abc import Mapping
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
