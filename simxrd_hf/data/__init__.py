"""Crystals and conditions as Hugging Face datasets: splits, Parquet, streaming, rows on the fly, the authors' files."""

import importlib
from typing import Any

# public name -> module that defines it; loaded on first use
_NAMES = {
    "CONFIGS": "splits",
    "GenerateReport": "generation",
    "GenerationError": "workers",
    "ImportReport": "original",
    "Recipe": "plan",
    "SimXRDOnTheFly": "simulated",
    "TensorRows": "batches",
    "generate": "generation",
    "import_original": "original",
    "leakage_report": "leakage",
    "make_features": "features",
    "on_the_fly": "simulated",
    "register": "builder",
    "shuffled_batches": "batches",
    "simxrd_builder": "builder",
    "torch_batch": "batches",
    "verify": "generation",
}

__all__ = sorted(_NAMES)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        value = getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
