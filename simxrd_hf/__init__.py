"""simxrd_hf: the Hugging Face home of SimXRD. Importing it is cheap; every name below loads its room on first use."""

from typing import Any

from simxrd_hf.lazy import load

__version__ = "0.1.0"

# public name -> module that defines it
_NAMES = {
    "BadInput": "errors",
    "Crystal": "diffraction",
    "PatternGrid": "diffraction",
    "Preset": "diffraction",
    "Simulator": "diffraction",
    "get_preset": "diffraction",
    "peaks": "diffraction",
    "simulate": "diffraction",
    "read_crystals": "crystals",
    "generate": "data",
    "pipeline": "identify",
}

__all__ = ["__version__", *sorted(_NAMES)]


def __getattr__(name: str) -> Any:
    return load(__name__, _NAMES, name)


def __dir__() -> list[str]:
    return __all__
