"""Crystal and condition in, powder pattern out: reflections, line profiles, backgrounds and noise (numpy and numba)."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simxrd_hf.diffraction.crystal import Crystal, CrystalError
    from simxrd_hf.diffraction.grid import PatternGrid
    from simxrd_hf.diffraction.presets import PRESETS, Preset, get_preset
    from simxrd_hf.diffraction.reflections import Peaks, peaks
    from simxrd_hf.diffraction.simulator import Simulation, Simulator, simulate

# public name -> module; loaded on first use, so that a grid or a preset does not cost an import of numba
_NAMES = {
    "PRESETS": "presets",
    "Crystal": "crystal",
    "CrystalError": "crystal",
    "PatternGrid": "grid",
    "Peaks": "reflections",
    "Preset": "presets",
    "Simulation": "simulator",
    "Simulator": "simulator",
    "get_preset": "presets",
    "peaks": "reflections",
    "simulate": "simulator",
}

__all__ = [
    "PRESETS",
    "Crystal",
    "CrystalError",
    "PatternGrid",
    "Peaks",
    "Preset",
    "Simulation",
    "Simulator",
    "get_preset",
    "peaks",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        value = getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
