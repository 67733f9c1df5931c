"""From a measured pattern to an answer: predictor, pipeline, explanation, the measured benchmark."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
