"""simxrd_hf: the Hugging Face home of SimXRD. Importing it is cheap; every name below loads its room on first use.

Importing it also makes the model types and the task "xrd-classification" known to transformers once that is loaded.
"""

import lazy_loader

from simxrd_hf.models.registration import watch

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]

watch()
