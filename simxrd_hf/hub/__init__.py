"""The way to the Hugging Face Hub: cards, publishing, results of models, leaderboard and Spaces."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
