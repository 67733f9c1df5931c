from .crystals import read_crystals as read_crystals
from .data import generate as generate
from .diffraction import Crystal as Crystal
from .diffraction import PatternGrid as PatternGrid
from .diffraction import Preset as Preset
from .diffraction import Simulator as Simulator
from .diffraction import get_preset as get_preset
from .diffraction import peaks as peaks
from .diffraction import simulate as simulate
from .errors import BadInput as BadInput
from .identify import pipeline as pipeline

__version__: str
