"""Preprocessing steps against patterns whose truth is known, and the flags against patterns with nothing in them."""

import numpy as np
import pytest
from made_patterns import GRID, SPACINGS, X, doublet, lines

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns import (
    Pattern,
    assess,
    background,
    find_lines,
    preprocess,
    remove_spikes,
    strip_kalpha2,
    subtract_background,
)
from simxrd_hf.patterns.pattern import ANODES


def test_kalpha2_is_stripped():
    pattern = doublet(X)
    stripped = strip_kalpha2(pattern)
    truth = lines(X, ANODES["Cu"][0])
    assert np.abs(pattern.intensity - truth).max() > 400
    assert np.abs(stripped.intensity - truth).max() < 8
    assert stripped.wavelength == ANODES["Cu"][0]
    assert "kalpha2" not in stripped.metadata
    with pytest.raises(BadInput, match="Kα"):
        strip_kalpha2(stripped)
    by_anode = pattern.replace(metadata={"anode": "Cu"})
    np.testing.assert_allclose(strip_kalpha2(by_anode).intensity, stripped.intensity)


def test_kalpha2_stripping_on_steps_wider_than_the_doublet():
    x = np.arange(12, 78, 0.1)
    stripped = strip_kalpha2(doublet(x)).intensity
    assert np.isfinite(stripped).all()
    assert stripped.min() > -150
    assert stripped.sum() == pytest.approx(lines(x, ANODES["Cu"][0]).sum(), rel=0.02)


def test_background_is_found():
    rng = np.random.default_rng(1)
    smooth = 300 * np.exp(-X / 30) + 80 * np.exp(-(((X - 25) / 9) ** 2)) + 50
    pattern = Pattern(X, rng.poisson(lines(X, 1.5418) + smooth).astype(float), 1.5418, "counts")
    pytest.importorskip("pybaselines")
    for method, share in (("fabc", 0.04), ("arpls", 0.04), ("snip", 0.15)):
        estimate = background(pattern, method=method)
        assert np.sqrt(np.mean((estimate - smooth) ** 2)) < share * np.sqrt(np.mean(smooth**2)), method
        rest = subtract_background(pattern, method=method).intensity
        np.testing.assert_allclose(rest, np.maximum(pattern.intensity - estimate, 0))
    with pytest.raises(BadInput, match="snip"):
        subtract_background(pattern, method="guess")


def test_spikes_go_and_lines_stay():
    rng = np.random.default_rng(2)
    y = rng.poisson(lines(X, 1.5418, width=0.06) + 60).astype(float)
    spoilt = y.copy()
    places = [300, 1500, 2600]
    spoilt[places] += [400, 5000, 900]
    mended = remove_spikes(Pattern(X, spoilt, 1.5418, "counts"))
    assert mended.metadata["spikes_removed"] == 3
    changed = np.flatnonzero(mended.intensity != spoilt)
    np.testing.assert_array_equal(changed, places)
    clean = Pattern(X, y, 1.5418, "counts")
    assert remove_spikes(clean) is clean


def test_steps_by_name():
    pattern = doublet(X)
    done = preprocess(pattern, ["spikes", "kalpha2"])
    assert done.metadata["steps"] == ["spikes", "kalpha2"]
    assert preprocess(pattern) is pattern
    single = pattern.replace(metadata={})
    np.testing.assert_array_equal(preprocess(single, ["kalpha2"]).intensity, single.intensity)
    with pytest.raises(BadInput, match="smooth"):
        preprocess(pattern, ["smooth"])


def codes(y, wavelength=1.5418, x=X, unit="counts"):
    return [flag.code for flag in assess(Pattern(x, np.asarray(y, dtype=float), wavelength, unit), GRID)]


def test_nothing_to_say_against_a_good_pattern():
    rng = np.random.default_rng(3)
    for scale in (0.2, 1, 30):
        y = rng.poisson(scale * (lines(X, 1.5418) + 50 + 200 * np.exp(-X / 20)))
        assert codes(y) == []
        found = find_lines(Pattern(X, y.astype(float), 1.5418))
        centres = 2 * np.degrees(np.arcsin(1.5418 / (2 * SPACINGS)))
        assert np.abs(found[:, None] - centres).min(axis=1).max() < 0.05


def test_flags():
    rng = np.random.default_rng(4)
    good = rng.poisson(lines(X, 1.5418) + 50)
    assert codes(np.full(len(X), 7.0)) == ["constant"]
    assert codes(-1.0 - rng.random(len(X))) == ["negative"]
    assert codes(np.minimum(good, 250)) == ["saturated"]
    assert codes(good, wavelength=None) == ["wavelength_unknown"]
    assert codes(good[:200], x=X[:200])[0] in {"outside_range", "noise_only"}
    assert "short_range" in codes(good[:2000], x=X[:2000])
    assert codes(good[::10], x=X[::10]) == ["coarse_step"]


def test_flags_of_empty_patterns():
    """Noise and glass of many heights: nearly all are refused, none of them for the wrong reason."""
    rng = np.random.default_rng(5)
    x = np.arange(10, 80, 0.02)
    refused = 0
    for _ in range(60):
        height = 10 ** rng.uniform(0.5, 4)
        assert codes(rng.poisson(np.full(len(x), height)), x=x) == ["noise_only"]
        centre, width = rng.uniform(18, 40), rng.uniform(3, 6)
        glass = height * (0.2 + np.exp(-0.5 * ((x - centre) / width) ** 2))
        found = codes(rng.poisson(glass), x=x)
        assert set(found) <= {"amorphous", "noise_only", "few_lines"}
        refused += bool(set(found) & {"amorphous", "noise_only"})
    assert refused >= 55


def test_no_measured_pattern_is_refused_for_its_content(shared_data):
    import pyarrow.parquet as pq

    table = pq.read_table(shared_data / "experimental_dev.parquet").slice(0, 589)
    refused = []
    for row in table.take(list(range(0, len(table), 6))).to_pylist():
        pattern = Pattern(np.array(row["two_theta"]), np.array(row["intensity"]), row["wavelength_angstrom"])
        flags = assess(pattern, GRID)
        refused += [flag.code for flag in flags if flag.severity == "refuse"]
    assert set(refused) <= {"outside_range"}
