"""Unit cells from the lines of a pattern, and what they say about its symmetry."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
