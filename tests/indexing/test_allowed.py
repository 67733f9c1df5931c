"""Reflections and their conditions against pymatgen and by hand."""

import numpy as np
import pytest
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import Lattice, Structure

from simxrd_hf.indexing import is_allowed, reciprocal_metric, reflections

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
