"""Unit cells from the lines of a pattern, and what they say about its symmetry."""

from typing import Any

from simxrd_hf.lazy import load

# public name -> module that defines it
_NAMES = {
    "FittedCell": "cells",
    "fit_cell": "cells",
    "weigh_symbols": "cells",
    "Lines": "lines",
    "find_lines": "lines",
    "Reflections": "allowed",
    "is_allowed": "allowed",
    "SearchProcess": "process",
    "reciprocal_metric": "allowed",
    "reflections": "allowed",
}

__all__ = sorted(_NAMES)


def __getattr__(name: str) -> Any:
    return load(__name__, _NAMES, name)


def __dir__() -> list[str]:
    return __all__
