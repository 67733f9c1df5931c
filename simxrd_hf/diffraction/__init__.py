"""Crystal and condition in, powder pattern out: reflections, line profiles, backgrounds and noise (numpy and numba)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
