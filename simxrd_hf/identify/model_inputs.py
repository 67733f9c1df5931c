"""A measured pattern as a model takes it: on the model's grid, or as the pipeline's mapping."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.diffraction import PatternGrid
from simxrd_hf.errors import BadInput
from simxrd_hf.models.conversion_simxrd import Converter
from simxrd_hf.patterns.pattern import Pattern


def to_grid(pattern: Pattern, grid: PatternGrid) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Put a pattern on a model's grid, through d so that any wavelength fits.

    The code is that of the models' own feature extractor.

    Args:
        pattern: The pattern; negative intensities count as 0.
        grid: The model's grid.

    Returns:
        Intensity, float32 (n_points,), scaled to maximum 100 and 0 where nothing was measured; mask, bool
        (n_points,), True where measured.

    Raises:
        BadInput: no wavelength, no common range, or nothing above zero in it.
    """
    try:
        values, mask, _ = Converter(grid.to_dict(), negative="clip")(**_arrays(pattern))
    except BadInput:
        raise
    except ValueError as error:
        raise BadInput(f"{pattern.path}: {error}") from None
    return values[0], mask[0]


def _arrays(pattern: Pattern) -> dict[str, Any]:
    return {
        "intensity": pattern.intensity,
        "two_theta": pattern.two_theta,
        "wavelength": pattern.require_wavelength(),
    }


def model_input(pattern: Pattern) -> dict[str, Any]:
    """What the "xrd-classification" pipeline takes: intensity, two_theta, wavelength; negative intensities count as 0.

    Raises:
        BadInput: the wavelength is not known.
    """
    return {**_arrays(pattern), "negative": "clip"}
