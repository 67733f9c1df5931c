"""What cannot be a crystal or a grid is refused by name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simxrd_hf import BadInput
from simxrd_hf.diffraction import Crystal, CrystalError, PatternGrid

GOOD = {
    "crystal_id": "mp-1",
    "lattice": np.eye(3) * 4.0,
    "atomic_numbers": [11, 17],
    "frac_coords": [(0, 0, 0), (0.5, 0.5, 0.5)],
}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"lattice": np.eye(3) * np.nan}, "lattice"),
        ({"lattice": np.zeros((3, 3))}, "lattice"),
        ({"lattice": np.diag([4.0, 4.0, -4.0])}, "negative volume"),
        ({"lattice": [[4, 0, 0], [0, 4, 0], [4, 4, 0]]}, "zero volume"),
        ({"lattice": np.eye(2)}, "lattice"),
        ({"lattice": "abc"}, "lattice"),
        ({"lattice": np.eye(3) * 1e5}, "lattice"),
        ({"atomic_numbers": [0, 17]}, "atomic_numbers"),
        ({"atomic_numbers": [11, 99]}, "atomic_numbers"),
        ({"atomic_numbers": [11.0, 17.0]}, "atomic_numbers"),
        ({"atomic_numbers": []}, "atomic_numbers"),
        ({"frac_coords": [(0, 0, 0)]}, "frac_coords"),
        ({"frac_coords": [(0, 0, 0), (np.inf, 0, 0)]}, "frac_coords"),
        ({"frac_coords": [(0, 0, 0), (0, 0, 1.0001)]}, "coincide"),
        ({"occupancies": [1.2, 1.0]}, "occupancies"),
        ({"occupancies": [0.0, 1.0]}, "occupancies"),
        ({"occupancies": [1.0]}, "occupancies"),
        ({"b_iso": [-1.0, 1.0]}, "b_iso"),
        ({"b_iso": [1e6, 1.0]}, "b_iso"),
    ],
)
def test_bad_crystals(change, field):
    with pytest.raises(CrystalError, match=rf"mp-1.*{field}"):
        Crystal(**{**GOOD, **change})


def test_input_is_copied_and_typed():
    lattice = np.eye(3) * 4.0
    crystal = Crystal(**{**GOOD, "lattice": lattice.reshape(-1)})
    lattice[0, 0] = 9.0
    assert crystal.lattice.shape == (3, 3) and crystal.lattice[0, 0] == 4.0
    assert crystal.atomic_numbers.dtype == np.uint8
    assert crystal.volume == pytest.approx(64.0)


def test_published_grid():
    grid = PatternGrid()
    assert grid.n_points == 3501
    assert grid.two_theta[0] == 10.0 and grid.two_theta[-1] == pytest.approx(80.0)
    assert grid.d[[0, -1]] == pytest.approx([8.8453, 1.1993], abs=1e-4)
    assert grid.q == pytest.approx(2 * np.pi / grid.d)
    assert PatternGrid.from_dict(grid.to_dict()) == grid


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"two_theta_min": 90.0}, "two_theta_min"),
        ({"two_theta_max": 181.0}, "two_theta_max"),
        ({"two_theta_min": 0.0}, "two_theta_min"),
        ({"step": 0.0}, "step"),
        ({"step": -0.1}, "step"),
        ({"step": 1e-9}, "step"),
        ({"step": 60.0}, "step"),
        ({"wavelength": 0.0}, "wavelength"),
        ({"wavelength": 1e3}, "wavelength"),
        ({"wavelength": float("nan")}, "wavelength"),
        ({"wavelength": "Cu"}, "wavelength"),
        ({"colour": 1}, "colour"),
    ],
)
def test_bad_grids(change, field):
    with pytest.raises(BadInput, match=field):
        PatternGrid.from_dict(change)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 1000), st.integers(100, 6000), st.sampled_from([0.005, 0.01, 0.015, 0.02, 0.03, 0.07, 0.1]))
def test_one_rule_for_the_points_of_a_grid(start, steps, step):
    """The file that goes to the Hub with a model, which cannot import this package, counts them as PatternGrid does."""
    from simxrd_hf.models.resampling_simxrd import check_grid, grid_axis

    for extra in (0.0, 0.4, 0.6, 0.999):
        high = round(start * 0.05 + (steps + extra) * step, 6)
        if high >= 180:
            return
        grid = PatternGrid(round(start * 0.05, 6), high, step)
        assert check_grid(grid.to_dict()) == grid.n_points == steps + 1
        assert np.array_equal(grid_axis(grid.to_dict()), grid.two_theta)
        assert grid.two_theta[-1] <= high + 1e-6 * step
