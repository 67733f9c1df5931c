"""Reflections against pymatgen; the cell search on lines of known crystals."""

import numpy as np
import pytest
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import Lattice, Structure

from simxrd_hf.models.indexing import find_lines, fit_cell, is_allowed, reciprocal_metric, reflections

CU = 1.54184
RANGE = {"wavelength": CU, "two_theta_min": 10.0, "two_theta_max": 80.0}


@pytest.mark.parametrize(
    ("number", "cell", "species", "coords"),
    [
        (225, (5.64, 5.64, 5.64, 90, 90, 90), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
        (14, (5.1, 6.2, 7.3, 90, 104, 90), ["Zr"], [[0.123, 0.234, 0.345]]),
        (62, (5.4, 7.6, 5.3, 90, 90, 90), ["Ca", "Ti"], [[0.04, 0.25, 0.99], [0.13, 0.07, 0.41]]),
        (167, (4.99, 4.99, 17.06, 90, 90, 120), ["Ca", "O"], [[0, 0, 0], [0.257, 0.06, 0.25]]),
        (152, (4.91, 4.91, 5.4, 90, 90, 120), ["Si", "O"], [[0.47, 0, 1 / 3], [0.41, 0.27, 0.12]]),
        (230, (12.0, 12.0, 12.0, 90, 90, 90), ["Al", "O"], [[0, 0, 0], [0.03, 0.05, 0.65]]),
    ],
)
def test_reflections_are_those_a_general_structure_shows(number, cell, species, coords):
    structure = Structure.from_spacegroup(number, Lattice.from_parameters(*cell), species, coords)
    pattern = XRDCalculator(CU).get_pattern(structure, scaled=False, two_theta_range=(10, 80))
    ours = reflections(cell, number, **RANGE).two_theta
    # Every line pymatgen finds is allowed, and nearly all allowed ones are found (some are too weak for its cut-off).
    assert np.abs(ours[:, None] - pattern.x[None]).min(axis=0).max() < 1e-4
    assert (np.abs(ours[:, None] - pattern.x[None]).min(axis=1) < 1e-3).mean() > 0.9


def test_conditions_by_hand():
    hkl = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 0, 0], [0, 0, 3], [0, 1, 0], [0, 2, 0], [1, 0, 1], [1, 0, 2]])
    conditions = {
        1: [True] * 9,
        229: [(h + k + l) % 2 == 0 for h, k, l in hkl],  # noqa: E741
        225: [h % 2 == k % 2 == l % 2 for h, k, l in hkl],  # noqa: E741
        14: [not (k == 0 and l % 2) and not (h == 0 and l == 0 and k % 2) for h, k, l in hkl],  # noqa: E741
    }
    for number, expected in conditions.items():
        np.testing.assert_array_equal(is_allowed(hkl, number), expected, err_msg=str(number))
    with pytest.raises(ValueError, match="1 to 230"):
        is_allowed(hkl, 231)


@pytest.mark.parametrize(
    ("number", "system", "cell"),
    [
        (227, "cubic", (5.431, 5.431, 5.431, 90, 90, 90)),
        (225, "cubic", (4.213, 4.213, 4.213, 90, 90, 90)),
        (136, "tetragonal", (4.594, 4.594, 2.959, 90, 90, 90)),
        (141, "tetragonal", (3.785, 3.785, 9.514, 90, 90, 90)),
        (152, "trigonal", (4.913, 4.913, 5.405, 90, 90, 120)),
        (167, "trigonal", (4.990, 4.990, 17.06, 90, 90, 120)),
        (194, "hexagonal", (9.2, 9.2, 7.3, 90, 90, 120)),
    ],
)
def test_known_cells_are_found(number, system, cell):
    rng = np.random.default_rng(number)
    allowed = reflections(cell, number, **RANGE).two_theta
    seen = allowed[rng.random(len(allowed)) < 0.9] if len(allowed) > 8 else allowed
    found = fit_cell(seen + rng.normal(0, 0.01, len(seen)), system, number, wavelength=CU)
    assert found is not None
    np.testing.assert_allclose(found.cell, cell, rtol=1e-3)
    assert found.matched >= 0.9 * found.lines
    assert found.merit > 8


def test_no_cell_where_none_fits():
    rng = np.random.default_rng(0)
    assert fit_cell(np.sort(rng.uniform(12, 78, 20)), "cubic", 221, wavelength=CU) is None
    assert fit_cell(np.sort(rng.uniform(12, 78, 20)), "tetragonal", 123, wavelength=CU) is None
    assert fit_cell(np.array([30.0, 40.0]), "cubic", 225, wavelength=CU) is None
    assert fit_cell(np.linspace(20, 70, 12), "monoclinic", 14, wavelength=CU) is None


def test_lines_are_found_between_grid_points():
    axis = 10 + 0.02 * np.arange(3501)
    centres = np.array([20.013, 33.337, 50.0, 71.007])
    y = 1 + (np.array([[100], [20], [50], [8]]) * np.exp(-0.5 * ((axis - centres[:, None]) / 0.06) ** 2)).sum(0)
    positions, heights = find_lines(axis, y)
    np.testing.assert_allclose(positions, centres, atol=0.004)
    np.testing.assert_allclose(heights, [100, 20, 50, 8], rtol=0.05)


def test_cells_that_are_none():
    for cell, message in (
        ((1, 2, 3), "six numbers"),
        ((1, 2, 3, 90, 90, float("nan")), "six numbers"),
        ((0, 2, 3, 90, 90, 90), "above 0"),
        ((4, 4, 4, 90, 90, 200), "angles between"),
        ((4, 4, 4, 30, 30, 100), "cannot meet"),
    ):
        with pytest.raises(ValueError, match=message):
            reciprocal_metric(cell)
    with pytest.raises(ValueError, match="too many reflections"):
        reflections((400, 400, 400, 90, 90, 90), 1, **RANGE)
