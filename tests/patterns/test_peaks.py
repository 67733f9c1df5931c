"""Smoothing, opening and peaks are those of scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_filter1d, grey_opening
from scipy.signal import find_peaks as scipy_peaks

from simxrd_hf.patterns.peaks import find_peaks, opening, smoothed

# few levels make plateaus, of any length and anywhere; floats of all sizes make everything else
STEPS = arrays(np.float64, st.integers(1, 60), elements=st.integers(-2, 2).map(float))
CURVES = STEPS | arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e12, 1e12))


def curves(n):
    rng = np.random.default_rng(n)
    walk = np.cumsum(rng.normal(size=n))
    lines = 50 + 1e4 * np.exp(-0.5 * ((np.arange(n)[:, None] - rng.uniform(0, n, 30)) / 4) ** 2).sum(axis=1)
    return [rng.random(n), rng.integers(0, 3, n).astype(float), walk, rng.poisson(lines).astype(float), np.full(n, 3.0)]


def check_peaks(curve):
    place, facts = scipy_peaks(curve, prominence=0, width=0)
    found = find_peaks(curve)
    np.testing.assert_array_equal(found.place, place)
    np.testing.assert_array_equal(found.prominence, facts["prominences"])
    np.testing.assert_allclose(found.width, facts["widths"], rtol=0, atol=1e-12 * max(len(curve), 10))


@settings(max_examples=300, deadline=None)
@given(CURVES)
def test_peaks_of_any_curve(curve):
    check_peaks(curve)


@settings(max_examples=200, deadline=None)
@given(CURVES, st.integers(1, 130))
def test_opening_of_any_curve(curve, size):
    np.testing.assert_array_equal(opening(curve, size), grey_opening(curve, size=size))


@settings(max_examples=200, deadline=None)
@given(CURVES, st.floats(0.1, 40))
def test_smoothing_of_any_curve(curve, sigma):
    expected = gaussian_filter1d(curve, sigma, mode="nearest")
    np.testing.assert_allclose(smoothed(curve, sigma), expected, rtol=1e-13, atol=1e-13 * np.abs(curve).max())


@pytest.mark.parametrize("n", [3501, 20_000])
def test_patterns_of_usual_length(n):
    for curve in curves(n):
        smooth = smoothed(curve, 2.5)
        np.testing.assert_allclose(smooth, gaussian_filter1d(curve, 2.5, mode="nearest"), rtol=1e-13, atol=1e-12)
        for size in (100, 101):
            np.testing.assert_array_equal(opening(smooth, size), grey_opening(smooth, size=size))
        check_peaks(curve)
        check_peaks(smooth - opening(smooth, 101))


def test_nothing_to_find():
    for curve in ([1.0], [1.0, 2.0], [2.0, 2.0, 2.0], [1.0, 2.0, 2.0], [3.0, 1.0, 3.0]):
        assert [len(part) for part in find_peaks(np.array(curve))] == [0, 0, 0]
