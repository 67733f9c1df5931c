"""Smoothing, opening and peaks of a curve in numpy alone: scipy.signal loads longer than a prediction takes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

BROAD_DEG = 2.0
"""What is broader is no Bragg line but background."""
WIDEST_DEG = 1.2
"""Full width at half height that no line above an opening of `BROAD_DEG` exceeds; the crest of a hump does."""


class Peaks(NamedTuple):
    """Local maxima of a curve, ascending.

    Attributes:
        place: (n,) index; of a flat top the middle one, the lower of two.
        prominence: (n,) rise above the higher of the two deepest points that lie, one on each side, before higher
            ground or the end.
        width: (n,) in points, at half the prominence.
    """

    place: NDArray[np.int64]
    prominence: FloatArray
    width: FloatArray


def smoothed(curve: FloatArray, sigma: float) -> FloatArray:
    """Convolution with a Gaussian cut at 4 σ; both ends go on as they are.

    Args:
        curve: (n,) not empty.
        sigma: In points.
    """
    reach = int(4 * sigma + 0.5)
    weight = np.exp(-0.5 / sigma**2 * np.arange(-reach, reach + 1) ** 2)
    weight /= weight.sum()
    padded = np.pad(curve, reach, mode="edge")
    n = len(curve)
    total: FloatArray = weight[reach] * padded[reach : reach + n]
    # pairs at equal distance: what is symmetric stays so to the last bit, and a flat top remains one
    for k in range(reach):
        total += weight[k] * (padded[k : k + n] + padded[2 * reach - k : 2 * reach - k + n])
    return total


def averaged(sigma: float) -> float:
    """How many independent points the smoothed one is worth: the variance of white noise falls by this factor."""
    result: float = max(1.0, 2 * np.sqrt(np.pi) * sigma)
    return result


def opening(curve: FloatArray, size: int) -> FloatArray:
    """Morphological opening: the highest curve below this one without anything narrower than `size` points.

    The ends are mirrored.

    Args:
        curve: (n,) not empty.
        size: In points.
    """
    before, after = size // 2, (size - 1) // 2
    eroded = -_highest_of(np.pad(-curve, (before, after), mode="symmetric"), size)
    return _highest_of(np.pad(eroded, (after, before), mode="symmetric"), size)


def _highest_of(values: FloatArray, size: int) -> FloatArray:
    """Maximum of every `size` neighbours, (n − size + 1,), from windows that double."""
    span = 1
    while 2 * span <= size:
        values = np.maximum(values[:-span], values[span:])
        span *= 2
    return np.maximum(values[: len(values) - (size - span)], values[size - span :])


def find_peaks(curve: FloatArray) -> Peaks:
    """All local maxima; the ends are none.

    Args:
        curve: (n,) not empty, finite.
    """
    starts = np.flatnonzero(np.append(True, curve[1:] != curve[:-1]))  # of stretches of equal values
    rises = np.diff(curve[starts]) > 0
    tops = np.flatnonzero(rises[:-1] & ~rises[1:]) + 1
    place = (starts[tops] + starts[tops + 1] - 1) // 2
    opposite = len(curve) - 1 - place
    left, right = _Walk(curve), _Walk(curve[::-1])
    prominence = curve[place] - np.maximum(left.lowest(place), right.lowest(opposite))
    level = curve[place] - 0.5 * prominence
    return Peaks(place, prominence, left.distance(place, level) + right.distance(opposite, level))


class _Walk:
    """Walks down a curve's indices from many places at once.

    The steps halve from half the curve to one point. Tables of the highest and the lowest value among the points of a
    step, by the place it starts from, tell whether it can be taken.
    """

    def __init__(self, curve: FloatArray) -> None:
        self.curve = high = low = np.append(np.inf, curve)  # nothing walks past the infinite point
        self.steps = [(1, high, low)]
        span = 1
        while 2 * span < len(self.curve):
            high = np.append(np.full(span, np.inf), np.maximum(high[span:], high[:-span]))
            low = np.append(low[:span], np.minimum(low[span:], low[:-span]))
            span *= 2
            self.steps.insert(0, (span, high, low))

    def lowest(self, place: NDArray[np.int64]) -> FloatArray:
        """Lowest value before higher ground, (n,)."""
        at = place + 1
        height = self.curve[at]
        found = height
        for span, high, low in self.steps:
            free = high[at] <= height
            found = np.where(free, np.minimum(found, low[at]), found)
            at = at - span * free
        return found

    def distance(self, place: NDArray[np.int64], level: FloatArray) -> FloatArray:
        """How far it is to where the straight pieces of the curve cross a level that it does reach, (n,)."""
        at = place + 1
        for span, _, low in self.steps:
            at = at - span * (low[at] > level)
        below, above = self.curve[at], self.curve[at + 1]
        part = np.divide(level - below, above - below, out=np.zeros(len(at)), where=below < level)
        result: FloatArray = place + 1 - at - part
        return result
