"""Patterns made of Gaussian lines at known spacings."""

import numpy as np

from simxrd_hf.diffraction import PatternGrid
from simxrd_hf.patterns import Pattern
from simxrd_hf.patterns.pattern import ANODES, mean_kalpha

GRID = PatternGrid()
SPACINGS = np.array([4.1, 3.3, 2.45, 2.1, 1.9, 1.63, 1.41, 1.30])
HEIGHTS = np.array([900.0, 2500.0, 400.0, 1200.0, 300.0, 700.0, 500.0, 350.0])


def lines(x, wavelength, heights=HEIGHTS, width=0.10):
    """Gaussian lines at the spacings above."""
    centres = 2 * np.degrees(np.arcsin(wavelength / (2 * SPACINGS)))
    return (heights * np.exp(-(((x[:, None] - centres) / width) ** 2))).sum(axis=1)


def doublet(x, anode="Cu", ratio=0.5):
    first, second = ANODES[anode]
    facts = {"kalpha1": first, "kalpha2": second, "kalpha_ratio": ratio}
    return Pattern(x, lines(x, first) + ratio * lines(x, second), mean_kalpha(first, second), "counts", facts)


X = np.arange(12, 78, 0.015)
