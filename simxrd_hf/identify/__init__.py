"""From a measured pattern to an answer: predictor, pipeline, explanation, the measured benchmark."""

from typing import Any

from simxrd_hf.lazy import load

# public name -> module that defines it
_NAMES = {
    "Correction": "correction",
    "Explanation": "explain",
    "MeasuredScores": "measured_scores",
    "Predictor": "predictor",
    "evaluate_measured": "measured_scores",
    "explain": "explain",
    "model_input": "model_inputs",
    "pipeline": "pipelines",
    "plot_before_after": "plots",
    "to_grid": "model_inputs",
    "variants": "augmentation",
}

__all__ = sorted(_NAMES)


def __getattr__(name: str) -> Any:
    return load(__name__, _NAMES, name)


def __dir__() -> list[str]:
    return __all__
