"""simxrd_hf: the Hugging Face home of SimXRD. Importing it is cheap; every name below loads its room on first use."""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
