"""Crystals and conditions as Hugging Face datasets: splits, Parquet, streaming, rows on the fly, the authors' files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
