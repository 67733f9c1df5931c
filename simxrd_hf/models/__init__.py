"""Classifiers of powder patterns for transformers: the 21 benchmark networks, our own, and what they need.

Importing it makes the model types and the task known to transformers. `simxrd predict` alone puts that off, because
transformers takes longer to import than the prediction; then the first public name used makes them known.
"""

import importlib
import sys
from typing import Any

import lazy_loader

from simxrd_hf import startup

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def _register() -> None:
    importlib.import_module("simxrd_hf.models.registration")


def __getattr__(name: str) -> Any:
    if name in __all__:
        _register()
    return _load(name)


if "transformers" in sys.modules or not startup.transformers_later:
    _register()
