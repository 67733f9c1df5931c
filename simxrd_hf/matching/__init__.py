"""Search/match: which crystals of a library make a pattern like the one measured, their cells strained to fit."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
