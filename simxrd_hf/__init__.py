"""simxrd_hf: the Hugging Face home of SimXRD. Importing it is cheap; every name below loads its room on first use."""

import importlib
from typing import Any

__version__ = "0.1.0"

# public name -> module that defines it
_NAMES = {
    "BadInput": "simxrd_hf.errors",
    "Crystal": "simxrd_hf.diffraction",
    "PatternGrid": "simxrd_hf.diffraction",
    "Preset": "simxrd_hf.diffraction",
    "Simulator": "simxrd_hf.diffraction",
    "get_preset": "simxrd_hf.diffraction",
    "peaks": "simxrd_hf.diffraction",
    "simulate": "simxrd_hf.diffraction",
    "read_crystals": "simxrd_hf.crystals",
    "generate": "simxrd_hf.data",
    "pipeline": "simxrd_hf.models",
}

__all__ = ["__version__", *sorted(_NAMES)]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        value = getattr(importlib.import_module(_NAMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'simxrd_hf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
