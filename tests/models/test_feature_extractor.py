"""Any axis and wavelength onto the model's grid, and every way a pattern can be unusable."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simxrd_hf.models import SimXRDFeatureExtractor

GRID = 10 + 0.02 * np.arange(3501)
CU, CO = 1.54184, 1.79026


@pytest.fixture(scope="module")
def extract():
    return SimXRDFeatureExtractor()


def lines(axis_d: np.ndarray) -> np.ndarray:
    """A pattern given as a function of d, so that it can be written on any axis."""
    inverse = 1 / axis_d
    centres = np.array([0.2, 0.31, 0.4, 0.47, 0.6, 0.71])
    return 1 + (
        np.array([[60], [100], [30], [80], [20], [50]]) * np.exp(-0.5 * ((inverse - centres[:, None]) / 0.002) ** 2)
    ).sum(0)


def bragg_d(two_theta: np.ndarray, wavelength: float) -> np.ndarray:
    return wavelength / (2 * np.sin(np.radians(two_theta) / 2))


def test_pattern_on_the_grid_passes_unchanged(extract):
    y = lines(bragg_d(GRID, CU))
    out = extract(y)
    assert out["intensity"].dtype == np.float32
    assert out["mask"].all()
    np.testing.assert_allclose(out["intensity"][0], 100 * y / y.max(), rtol=1e-6)
    same = extract(y, two_theta=GRID, wavelength=CU)
    np.testing.assert_allclose(same["intensity"], out["intensity"], rtol=1e-6)


@pytest.mark.parametrize("kind", ["co", "d", "d descending", "q", "coarse", "fine", "uneven"])
def test_axes_and_wavelengths_lead_to_the_same_pattern(extract, kind):
    truth = lines(bragg_d(GRID, CU))
    truth = 100 * truth / truth.max()
    if kind == "co":
        axis = np.arange(5, 120, 0.01)
        out = extract(lines(bragg_d(axis, CO)), two_theta=axis, wavelength=CO)
    elif kind.startswith("d"):
        axis = np.linspace(1.0, 12.0, 60000)
        axis = axis[::-1] if "descending" in kind else axis
        out = extract(lines(axis), d=axis)
    elif kind == "q":
        axis = np.arange(0.5, 6, 0.0005)
        out = extract(lines(2 * np.pi / axis), q=axis)
    else:
        step = {"coarse": 0.03, "fine": 0.002, "uneven": 0.01}[kind]
        axis = np.arange(8, 85, step)
        if kind == "uneven":
            axis = axis + 0.004 * np.sin(np.arange(len(axis)))
        out = extract(lines(bragg_d(axis, CU)), two_theta=axis, wavelength=CU)
    assert out["mask"].all()
    np.testing.assert_allclose(out["intensity"][0], truth, atol=1.2)  # of 100; interpolation at the steepest points


def test_fine_steps_are_averaged_not_skipped(extract):
    """White noise in steps of 0.002° has a tenth of the points kept by skipping; averaging lowers its spread."""
    rng = np.random.default_rng(0)
    axis = np.arange(9, 81, 0.002)
    y = 100 + rng.normal(0, 10, len(axis))
    out = extract(y, two_theta=axis, wavelength=CU)["intensity"][0]
    assert out.std() / out.mean() == pytest.approx(0.1 / np.sqrt(10), rel=0.1)


def test_what_was_not_measured_is_masked(extract):
    axis = np.concatenate([np.arange(20, 40, 0.02), np.arange(45, 60, 0.02)])
    out = extract(np.ones(len(axis)), two_theta=axis, wavelength=CU)
    mask, y = out["mask"][0], out["intensity"][0]
    measured = ((GRID > 19.99) & (GRID < 39.99)) | ((GRID > 44.99) & (GRID < 59.99))
    assert (mask == measured).mean() > 0.999
    assert (y[~mask] == 0).all()
    assert (y[mask] == 100).all()


def test_states_what_it_was_given(extract):
    axis = np.arange(20, 100, 0.02)
    info = extract(np.ones(len(axis)), two_theta=axis, wavelength=CO, return_info=True)["info"][0]
    assert info["axis"] == "two_theta"
    assert (info["min"], info["wavelength"], info["points"]) == (20, CO, len(axis))
    assert info["max"] == pytest.approx(99.98)
    assert info["covered"] == pytest.approx(0.89, abs=0.02)
    assert extract(np.ones(500), d=np.linspace(1, 9, 500), return_info=True)["info"][0]["wavelength"] is None


def test_batches_equal_single_patterns(extract):
    rng = np.random.default_rng(1)
    axis = np.arange(15, 70, 0.02)
    rows = rng.uniform(1, 9, (3, len(axis)))
    together = extract(rows, two_theta=axis, wavelength=CO)
    assert together["intensity"].shape == (3, 3501)
    for row, out in zip(rows, together["intensity"], strict=True):
        np.testing.assert_array_equal(extract(row, two_theta=axis, wavelength=CO)["intensity"][0], out)
    ragged = extract([rows[0], rows[1][:2000]], two_theta=[axis, axis[:2000]], wavelength=[CO, CU], return_tensors="pt")
    assert ragged["intensity"].dtype == torch.float32
    assert ragged["mask"].dtype == torch.bool
    assert ragged["mask"].float().mean(1).diff().item() < 0
    np.testing.assert_array_equal(
        extract(torch.tensor(rows), two_theta=axis, wavelength=CO)["intensity"], together["intensity"]
    )


def test_saved_and_loaded(tmp_path):
    made = SimXRDFeatureExtractor(
        grid={"two_theta_min": 5.0, "step": 0.05, "wavelength": 0.7107}, negative="clip", max_gap=1.0
    )
    made.save_pretrained(tmp_path)
    loaded = SimXRDFeatureExtractor.from_pretrained(tmp_path)
    assert loaded.to_dict() == made.to_dict()
    assert loaded(np.ones(1501))["intensity"].shape == (1, 1501)


BASE = np.ones(3501)


def with_value(value: float, index: int = 17) -> np.ndarray:
    changed = BASE.copy()
    changed[index] = value
    return changed


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"intensity": with_value(np.nan)}, r"intensity\[17\] is nan"),
        ({"intensity": with_value(np.inf)}, r"intensity\[17\] is inf"),
        (
            {"intensity": with_value(-2.5)},
            r'intensity\[17\] is -2.5: 1 of 3501 points are negative; pass negative="clip"',
        ),
        ({"intensity": 0 * BASE}, "0 everywhere"),
        ({"intensity": BASE[:-1]}, r"3500 points; without an axis it must lie on the model's grid, 2θ 10 … 80°.*3501"),
        ({"intensity": BASE, "two_theta": GRID[:-1]}, r"two_theta has shape \(3500,\), intensity has 3501"),
        ({"intensity": BASE, "two_theta": GRID[::-1]}, r"two_theta must be sorted.*two_theta\[1\] = 79.98 comes after"),
        ({"intensity": BASE, "two_theta": with_value(99.0)}, "must be sorted"),
        ({"intensity": BASE, "q": with_value(np.nan)}, r"q\[17\] is not a number"),
        ({"intensity": BASE, "two_theta": GRID + 120}, "degrees below 180"),
        ({"intensity": BASE, "two_theta": GRID - 20}, "must be above 0"),
        (
            {"intensity": np.ones(50), "two_theta": np.linspace(20, 23, 50)},
            r"shares 3.00° with the model's.*at least 5°",
        ),
        ({"intensity": np.ones(50), "two_theta": np.linspace(90, 99, 50)}, "shares 0.00°"),
        ({"intensity": [1.0], "two_theta": [20.0]}, "1 point; a pattern needs a range"),
        (
            {"intensity": BASE, "two_theta": GRID, "wavelength": 154.06},
            "wavelength must be in Å, between 0.05 and 5.0.*154.06",
        ),
        ({"intensity": BASE, "two_theta": GRID, "wavelength": -1.0}, "wavelength must be in Å"),
        ({"intensity": BASE, "two_theta": GRID, "wavelength": float("nan")}, "wavelength must be in Å"),
        ({"intensity": BASE, "two_theta": GRID, "d": GRID}, "give one axis, got two_theta and d"),
        ({"intensity": BASE, "d": np.linspace(1, 9, 3501), "wavelength": CU}, "leave wavelength out"),
        ({"intensity": np.ones((2, 3, 4))}, r"shape \(n,\) or \(batch, n\), got \(2, 3, 4\)"),
        ({"intensity": np.array([])}, "got"),
        ({"intensity": "scan.xy"}, "an array or a list"),
        ({"intensity": np.stack([BASE, with_value(-1)])}, r"pattern 1: intensity\[17\]"),
        ({"intensity": BASE, "negative": "keep"}, 'must be "error" or "clip"'),
        ({"intensity": BASE, "return_tensors": "tf"}, "return_tensors"),
        ({"intensity": [BASE, BASE], "two_theta": [GRID]}, "1 axes for 2 patterns"),
    ],
)
def test_unusable_patterns_say_why(extract, call, message):
    with pytest.raises(ValueError, match=message):
        extract(**({"wavelength": CU} if "two_theta" in call and "d" not in call else {}) | call)


def test_negative_can_be_clipped(extract):
    out = extract(with_value(-2.5), negative="clip")["intensity"][0]
    assert out[17] == 0
    assert out[16] == 100


@settings(max_examples=40, deadline=None)
@given(
    start=st.floats(1, 40), span=st.floats(6, 90), step=st.floats(0.003, 0.1), wavelength=st.floats(0.5, 2.3),
    scale=st.floats(1e-6, 1e9),
)  # fmt: skip
def test_any_usable_pattern_gives_finite_values_up_to_100(start, span, step, wavelength, scale):
    axis = np.arange(start, start + span, step)
    y = scale * (1 + np.sin(axis) ** 2)
    try:
        out = SimXRDFeatureExtractor()(y, two_theta=axis, wavelength=wavelength)
    except ValueError as error:
        assert "shares" in str(error) or "no point of the pattern can be reached" in str(error)  # the only reasons left
        return
    values, mask = out["intensity"][0], out["mask"][0]
    assert np.isfinite(values).all()
    assert values.max() == pytest.approx(100)
    assert values[mask].min() > 30
    assert not values[~mask].any()
