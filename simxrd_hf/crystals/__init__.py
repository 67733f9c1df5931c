"""Any source of crystal structures -> one Arrow table of crystals. Importing is cheap; names load on first use."""

from typing import Any

from simxrd_hf.lazy import load

# public name -> module that defines it
_NAMES = {
    "CRYSTAL_SCHEMA": "table",
    "CrystalTable": "table",
    "crystal": "table",
    "disordered_crystals": "disorder",
    "sample": "table",
    "summary": "table",
    "write_crystals": "table",
    "prototype_labels": "labels",
    "prototypes": "read",
    "read_crystals": "read",
}

__all__ = sorted(_NAMES)


def __getattr__(name: str) -> Any:
    return load(__name__, _NAMES, name)


def __dir__() -> list[str]:
    return __all__
