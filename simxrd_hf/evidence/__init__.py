"""What cells and known crystals say about a pattern, and how it corrects the answers of a network.

A network reads the whole pattern but not exact ratios of spacings, and it cannot look a crystal up. A cell search does
the first (`simxrd_hf.indexing`), search/match the second (`simxrd_hf.matching`); a small conditional logit, fitted on
simulated patterns of crystals that the network was not trained on, weighs the three. Its numbers lie beside a
checkpoint as `evidence.json`.
"""

from typing import Any

from simxrd_hf.lazy import load

# public name -> module that defines it
_NAMES = {
    "Combination": "combination",
    "PatternEvidence": "combination",
    "Findings": "findings",
    "examine": "findings",
    "group_features": "findings",
    "log_softmax": "findings",
    "fit_combination": "fit",
}

__all__ = sorted(_NAMES)


def __getattr__(name: str) -> Any:
    return load(__name__, _NAMES, name)


def __dir__() -> list[str]:
    return __all__
