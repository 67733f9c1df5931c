"""Scores of symmetry classifiers: plain numpy functions, and the same code as self-contained `evaluate` modules."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
