"""Classifiers of powder patterns for transformers: the 21 benchmark networks, our own, and what they need.

`import simxrd_hf` alone makes model types and the task "xrd-classification" known to transformers; see `registration`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
