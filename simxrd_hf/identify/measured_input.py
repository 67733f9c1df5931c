"""The one way from a measured file to an input of a classifier."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_measured(
    path: str | Path,
    *,
    wavelength: float | None = None,
    anode: str | None = None,
    axis: str | None = None,
    scan: int | None = None,
    column: str | int | None = None,
) -> Mapping[str, Any]:
    """Read any file `simxrd_hf.patterns` knows.

    Args:
        path: The file.
        wavelength: Å; wins over the file's.
        anode: Tube anode instead of a wavelength.
        axis: What the first column is, where the file does not say.
        scan: The scan of a file that holds several, counted from 0.
        column: The column of intensities in a table, by name or number (from 1).

    Returns:
        "two_theta" (degrees), "intensity", "wavelength" (Å, None where nobody named it), and "negative": "clip", since
        the intensities of a file may have lost their background.

    Raises:
        BadInput: The file is missing, damaged, or no powder pattern.
    """
    from simxrd_hf.patterns import read_pattern

    pattern = read_pattern(path, wavelength=wavelength, anode=anode, axis=axis, scan=scan, column=column)
    return {
        "two_theta": pattern.two_theta,
        "intensity": pattern.intensity,
        "wavelength": pattern.wavelength,
        "negative": "clip",
    }
