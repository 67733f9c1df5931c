"""Loads benchmarks/neighbourhood, whose folder must not be on the path: its scripts bear the names of libraries."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

_FOLDER = Path(__file__).resolve().parents[1] / "benchmarks" / "neighbourhood"


def neighbourhood(name: str) -> ModuleType:
    """One of its modules."""
    if "neighbourhood" not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            "neighbourhood", _FOLDER / "__init__.py", submodule_search_locations=[str(_FOLDER)]
        )
        module = importlib.util.module_from_spec(spec)
        sys.modules["neighbourhood"] = module
        spec.loader.exec_module(module)
    return importlib.import_module(f"neighbourhood.{name}")
