"""From the file a diffractometer writes to arrays one can trust: readers, preprocessing, checks."""

from typing import Any

from simxrd_hf.lazy import load

# public name -> module that defines it; loaded on first use, so that importing the package stays cheap
_NAMES = {
    "ANODES": "pattern",
    "AXES": "pattern",
    "BACKGROUNDS": "preprocessing",
    "FORMATS": "reading",
    "STEPS": "preprocessing",
    "Flag": "quality",
    "Pattern": "pattern",
    "assess": "quality",
    "background": "preprocessing",
    "find_lines": "quality",
    "preprocess": "preprocessing",
    "read_pattern": "reading",
    "remove_spikes": "preprocessing",
    "strip_kalpha2": "preprocessing",
    "subtract_background": "preprocessing",
}

__all__ = sorted(_NAMES)


def __getattr__(name: str) -> Any:
    return load(__name__, _NAMES, name)


def __dir__() -> list[str]:
    return __all__
