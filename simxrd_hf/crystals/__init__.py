"""Any source of crystal structures -> one Arrow table of crystals. Importing is cheap; names load on first use."""

import importlib
from typing import Any

# public name -> module that defines it
_NAMES = {
    "CRYSTAL_SCHEMA": "simxrd_hf.crystals.table",
    "CrystalTable": "simxrd_hf.crystals.table",
    "crystal": "simxrd_hf.crystals.table",
    "sample": "simxrd_hf.crystals.table",
    "summary": "simxrd_hf.crystals.table",
    "write_crystals": "simxrd_hf.crystals.table",
    "prototype_labels": "simxrd_hf.crystals.labels",
    "prototypes": "simxrd_hf.crystals.read",
    "read_crystals": "simxrd_hf.crystals.read",
}

__all__ = [
    "CRYSTAL_SCHEMA",
    "CrystalTable",
    "crystal",
    "prototype_labels",
    "prototypes",
    "read_crystals",
    "sample",
    "summary",
    "write_crystals",
]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        value = getattr(importlib.import_module(_NAMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'simxrd_hf.crystals' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
