"""Crystal and condition in, powder pattern out: reflections, line profiles, backgrounds and noise (numpy and numba)."""

from typing import Any

from simxrd_hf.lazy import load

# public name -> module; loaded on first use, so that a grid or a preset does not cost an import of numba
_NAMES = {
    "PRESETS": "presets",
    "Crystal": "crystal",
    "CrystalError": "crystal",
    "PatternGrid": "grid",
    "Peaks": "reflections",
    "PreparedCrystal": "simulator",
    "Preset": "presets",
    "Simulation": "simulator",
    "Simulator": "simulator",
    "get_preset": "presets",
    "peaks": "reflections",
    "simulate": "simulator",
}

__all__ = sorted(_NAMES)


def __getattr__(name: str) -> Any:
    return load(__name__, _NAMES, name)
