"""The generator against its published test vectors; noise against its distributions."""

import numpy as np
import pytest
from scipy import stats

from simxrd_hf.diffraction import background as bg
from simxrd_hf.diffraction.philox import crystal_key, draw4, fill_words, philox4x32

# Random123 known-answer file (kat_vectors, philox 4x32 10): Salmon et al., SC'11
VECTORS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), VECTORS)
def test_known_answers(counter, key, answer):
    words = philox4x32(*map(np.uint64, counter), *map(np.uint64, key))
    assert tuple(int(w) for w in words) == answer


@pytest.mark.parametrize("n", [32, 33, 34, 35, 3501])
def test_filled_words_are_the_single_draws(n):
    words = np.zeros(n, np.uint32)
    fill_words(words, 1, 2, 3, 4)
    m = (n + 3) // 4
    for i in (0, 1, m - 1, m, n - 1):
        assert (words[i] + 0.5) / 2**32 == draw4(1, 2, 3, 4, i % m)[i // m]


def test_keys_differ_by_crystal_and_seed():
    keys = {crystal_key(name, seed) for name in ("a", "b", "1a", "") for seed in (0, 1, -1, 11)}
    assert len(keys) == 16


def test_normal_numbers():
    work = bg.new_work(200_000)
    bg.fill_normal(200_000, 5, 6, 7, 8, work)
    z = work.normal[:200_000]
    assert stats.kstest(z, "norm").pvalue > 1e-3
    words = np.empty(len(z), np.uint32)
    fill_words(words, 5, 6, 7, 8)
    assert np.allclose(z, stats.norm.ppf((words + 0.5) / 2**32), atol=5e-6)


@pytest.mark.parametrize("mean", [0.05, 0.7, 3.0, 3.99, 4.01, 6.0, 12.0, 40.0, 1000.0])
def test_counting_noise_is_poisson(mean):
    n = 200_000
    y = np.full(n, 1.0, np.float32)
    bg.count(y, mean, 1, 2, 3, bg.new_work(n))
    assert y.mean() == pytest.approx(mean, abs=5 * np.sqrt(mean / n))
    assert y.var() == pytest.approx(mean, rel=0.02)
    assert stats.skew(y) == pytest.approx(mean**-0.5, abs=0.03)
    assert (y == np.rint(y)).all() and y.min() >= 0
    values = np.arange(int(mean + 6 * np.sqrt(mean)) + 2)  # the whole distribution
    assert np.abs((y[:, None] <= values).mean(0) - stats.poisson.cdf(values, mean)).max() < 4e-3


def test_counts_are_the_quantiles_of_their_uniform_numbers():
    """Of means in one pattern from 0 to 1000: within one of scipy's quantile, and nearly always equal."""
    n = 50_000
    means = np.geomspace(1e-3, 1000.0, n).astype(np.float32)
    y, work = means.copy(), bg.new_work(n)
    bg.count(y, 1000.0, 1, 2, 3, work)
    words = np.empty(n, np.uint32)
    fill_words(words, 1, 2, 3, bg.COUNTING)
    truth = stats.poisson.ppf((words + 0.5) / 2**32, means)
    assert np.abs(y - truth).max() <= 1
    assert (y != truth).mean() < 1e-3


def test_uniform_noise():
    y = np.zeros(100_000, np.float32)
    bg.add_uniform_noise(y, 2.0, 1, 2, 3, bg.new_work(len(y)))
    assert stats.kstest(y / 2, "uniform").pvalue > 1e-3


def test_simxrd_background_is_the_mirrored_polynomial():
    """Against numpy: a polynomial of degree 6 with normal coefficients over 10..80, flipped, 0 to `height`."""
    y = np.zeros(3501, np.float32)
    bg.add_simxrd_background(y, 10.0, 0.02, 7.0, 1, 2, 3)
    coefficients = []
    for i in range(2):
        u, v, w, x = draw4(1, 2, 3, bg.BACKGROUND, i)
        for a, b in ((u, v), (w, x)):
            r = np.sqrt(-2 * np.log(a))
            coefficients += [r * np.cos(2 * np.pi * b), r * np.sin(2 * np.pi * b)]
    shape = np.poly1d(coefficients[:7])(10 + 0.02 * np.arange(3501))[::-1]
    shape = 7 * (shape - shape.min()) / np.ptp(shape)
    assert np.abs(y - shape).max() < 1e-3


@pytest.mark.parametrize("condition", range(8))
def test_lab_backgrounds_are_smooth_and_bounded(condition):
    y = np.zeros(3501, np.float32)
    bg.add_chebyshev_background(y, 5.0, 1, 2, condition)
    assert y.min() >= 0 and y.max() == pytest.approx(5.0, rel=1e-5)
    assert np.abs(np.diff(y)).max() < 0.2
    y[:] = 0
    bg.add_amorphous(y, 10.0, 0.02, 1.5406, 3.0, 1, 2, condition)
    assert y.min() >= 0 and 2.9 < y.max() < 9.1
    y[:] = 0
    bg.add_air_scatter(y, 10.0, 0.02, 4.0)
    assert y[0] == pytest.approx(4.0) and y[-1] == pytest.approx(4.0 * 10 / 80, rel=1e-5)
