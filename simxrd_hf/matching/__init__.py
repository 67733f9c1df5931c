"""Search/match: which crystals of a library make a pattern like the one measured, their cells strained to fit."""

from typing import Any

from simxrd_hf.lazy import load

# public name -> module that defines it
_NAMES = {
    "LineLibrary": "library",
    "build_library": "library",
    "read_library": "library",
    "LibrarySearch": "search",
    "Match": "search",
    "Matches": "search",
    "find_matches": "search",
}

__all__ = sorted(_NAMES)


def __getattr__(name: str) -> Any:
    return load(__name__, _NAMES, name)


def __dir__() -> list[str]:
    return __all__
