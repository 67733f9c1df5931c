"""Classifiers of powder patterns for transformers: the 21 benchmark networks, our own, and what they need.

Importing it makes the model types and the task known to transformers. `simxrd predict` alone puts that off, because
transformers takes longer to import than the prediction; then the first public name used makes them known.
"""

import importlib
import sys
from typing import Any

import simxrd_hf
from simxrd_hf.lazy import load

# public name -> module that defines it
_NAMES = {
    "SimXRDBaselineConfig": "configuration_simxrd_baseline",
    "SimXRDBaselineModel": "modeling_simxrd_baseline",
    "SimXRDBaselineForSequenceClassification": "modeling_simxrd_baseline",
    "SimXRDFormerConfig": "configuration_simxrd_former",
    "SimXRDFormerModel": "modeling_simxrd_former",
    "SimXRDFormerForSequenceClassification": "modeling_simxrd_former",
    "SIZES": "configuration_simxrd_former",
    "SimXRDFeatureExtractor": "feature_extraction_simxrd",
    "ARCHITECTURES": "networks_simxrd_baseline",
    "XRDClassificationPipeline": "pipeline_simxrd",
    "create_model": "factory",
    "export_model": "export",
    "export_onnx": "onnx",
}

__all__ = sorted(_NAMES)


def _register() -> None:
    importlib.import_module("simxrd_hf.models.registration")


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        _register()
    return load(__name__, _NAMES, name)


def __dir__() -> list[str]:
    return __all__


if "transformers" in sys.modules or not getattr(simxrd_hf, "_defer_registration", False):
    _register()
