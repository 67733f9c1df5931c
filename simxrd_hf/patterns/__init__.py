"""From the file a diffractometer writes to arrays one can trust: readers, preprocessing, checks."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
