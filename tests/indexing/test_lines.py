"""Lines on the grid: positions, noise, background, and the copper doublet."""

import numpy as np
import pytest

from simxrd_hf.indexing import find_lines
from simxrd_hf.indexing.line_finding import bragg_profile
from simxrd_hf.models.resampling_simxrd import DEFAULT_GRID, grid_axis

AXIS = grid_axis(DEFAULT_GRID)


def pattern(centres, heights, sigma=0.05):
    centres, heights = np.asarray(centres)[:, None], np.asarray(heights)[:, None]
    return (heights * np.exp(-0.5 * ((AXIS - centres) / sigma) ** 2)).sum(axis=0)


def test_lines_are_found_between_grid_points():
    centres, heights = [20.013, 33.337, 50.0, 71.007], [100, 20, 50, 8]
    found = find_lines(1 + pattern(centres, heights, 0.06), DEFAULT_GRID)
    np.testing.assert_allclose(found.two_theta, centres, atol=0.004)
    # smoothing by 0.03 degrees takes 1 - 0.06 / sqrt(0.06² + 0.03²), about a tenth
    np.testing.assert_allclose(found.height, heights, rtol=0.12)
    np.testing.assert_allclose(found.width, np.sqrt(8 * np.log(2)) * np.hypot(0.06, 0.03), rtol=0.02)


def test_background_and_noise_give_few_lines():
    rng = np.random.default_rng(0)
    counts = rng.poisson(400 + 300 * np.exp(-((AXIS - 22) ** 2) / 60)).astype(float)
    # weak lines are worth more to the search than a few false ones cost: some noise passes, a strict limit stops it
    assert len(find_lines(counts, DEFAULT_GRID).two_theta) < 25
    assert len(find_lines(counts, DEFAULT_GRID, noise_factor=8).two_theta) == 0
    noisy = rng.poisson(400 + pattern([30.0, 45.0], [900, 400])).astype(float)
    seen = find_lines(noisy, DEFAULT_GRID, noise_factor=8)
    np.testing.assert_allclose(seen.two_theta, [30.0, 45.0], atol=0.02)
    every = find_lines(noisy, DEFAULT_GRID)
    np.testing.assert_allclose(every.two_theta[np.argsort(-every.height)[:2]], [30.0, 45.0], atol=0.02)
    strong = np.isin(every.two_theta, every.two_theta[np.argsort(-every.height)[:2]])
    assert every.significance[strong].min() > 20 and every.significance[~strong].max() < 8


def test_a_pattern_is_parted_into_background_lines_and_noise():
    rng = np.random.default_rng(0)
    counts = rng.poisson(400 + pattern([30.0, 45.0], [9000, 400])).astype(float)
    mask = (AXIS > 15) & (AXIS < 70)
    parted = bragg_profile(np.where(mask, counts, 0.0), DEFAULT_GRID, mask)
    np.testing.assert_array_equal(parted.measured, mask)
    # Gaussian smoothing over s points leaves 1 / (2 √π s) of the variance
    noise = np.sqrt(400 / (2 * np.sqrt(np.pi) * 1.5))
    plain = mask & (np.abs(AXIS - 30) > 2) & (np.abs(AXIS - 45) > 2)
    np.testing.assert_allclose(parted.noise[plain], noise, rtol=0.15)
    assert parted.noise[np.argmax(parted.smooth)] > 3 * noise
    assert parted.smooth[plain].std() == pytest.approx(noise, rel=0.15)
    assert parted.sharp.min() >= 0 and parted.sharp[plain].mean() < 5 * noise
    assert parted.sharp.max() == pytest.approx(9000 * 0.05 / np.hypot(0.05, 0.03), rel=0.05)
    assert bragg_profile(counts, DEFAULT_GRID, np.arange(len(AXIS)) < 4) is None


def test_a_constant_pattern_has_none():
    for level in (0.0, 5.0):
        assert len(find_lines(np.full(len(AXIS), level), DEFAULT_GRID).two_theta) == 0


def test_the_second_line_of_the_doublet_is_dropped_and_the_first_moved_to_their_mean():
    d = np.array([3.0, 1.9, 1.4, 1.25])
    first, second, mean = (
        2 * np.degrees(np.arcsin(wavelength / 2 / d)) for wavelength in (1.540593, 1.544427, DEFAULT_GRID["wavelength"])
    )
    y = pattern(first, [100, 60, 80, 40], 0.025) + pattern(second, [50, 30, 40, 20], 0.025)
    found = find_lines(y, DEFAULT_GRID)
    assert len(found.two_theta) == 4
    np.testing.assert_allclose(found.two_theta[1:], mean[1:], atol=0.01)
    # at low angles the two are one line, which lies between both
    assert first[0] - 0.01 < found.two_theta[0] < second[0]


def test_two_lines_that_are_no_doublet_stay():
    y = pattern([50.0, 50.13], [60, 100], 0.025)  # the higher angle is the stronger one
    assert len(find_lines(y, DEFAULT_GRID).two_theta) == 2


def test_what_was_not_measured_has_no_lines():
    rng = np.random.default_rng(3)
    y = rng.poisson(200 + pattern([25.0, 40.0, 60.0], [900, 700, 800])).astype(float)
    mask = (AXIS > 20) & (AXIS < 50) & ~((AXIS > 30) & (AXIS < 32))
    found = find_lines(np.where(mask, y, 0.0), DEFAULT_GRID, mask, noise_factor=8)
    np.testing.assert_allclose(found.two_theta, [25.0, 40.0], atol=0.02)
    assert len(find_lines(y, DEFAULT_GRID, np.zeros(len(AXIS), dtype=bool)).two_theta) == 0
