"""What cells and known crystals say about a pattern, and how it corrects the answers of a network.

A network reads the whole pattern but not exact ratios of spacings, and it cannot look a crystal up. A cell search does
the first (`simxrd_hf.indexing`), search/match the second (`simxrd_hf.matching`); a small conditional logit, fitted on
simulated patterns of crystals that the network was not trained on, weighs the three. Its numbers lie beside a
checkpoint as `evidence.json`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
