"""The cell search on lines of known crystals, and the packaged reflection conditions against the operations."""

import numpy as np
import pytest

from simxrd_hf.indexing import extinction_log_likelihoods, fit_cell, reciprocal_metric, reflections, tables
from simxrd_hf.symmetry import BRAVAIS_LATTICES, BRAVAIS_OF, CRYSTAL_SYSTEM_OF, CRYSTAL_SYSTEMS, EXTINCTION_OF

CU = 1.54184
RANGE = {"wavelength": CU, "two_theta_min": 10.0, "two_theta_max": 80.0}
CELLS = [
    (227, (5.431, 5.431, 5.431, 90, 90, 90)),  # silicon
    (225, (4.213, 4.213, 4.213, 90, 90, 90)),  # periclase
    (136, (4.594, 4.594, 2.959, 90, 90, 90)),  # rutile
    (141, (3.785, 3.785, 9.514, 90, 90, 90)),  # anatase
    (152, (4.913, 4.913, 5.405, 90, 90, 120)),  # quartz
    (167, (4.990, 4.990, 17.06, 90, 90, 120)),  # calcite
    (194, (9.2, 9.2, 7.3, 90, 90, 120)),
    (62, (4.756, 10.207, 5.980, 90, 90, 90)),  # forsterite
    (63, (4.18, 9.27, 13.4, 90, 90, 90)),
    (15, (9.746, 8.899, 5.251, 90, 105.63, 90)),  # diopside
    (14, (5.150, 5.212, 5.317, 90, 99.23, 90)),  # baddeleyite
    (2, (7.12, 7.85, 5.57, 89.99, 101.1, 105.98)),  # kyanite, published as 7.126, 7.852, 5.572
]


def lines_of(number, cell, seed=0, shift=0.0, seen=0.9):
    rng = np.random.default_rng(seed)
    allowed = reflections(cell, number, **RANGE).two_theta[:40]
    kept = allowed[rng.random(len(allowed)) < seen] if len(allowed) > 8 else allowed
    return kept + rng.normal(0, 0.01, len(kept)) + shift


def volume(cell):
    a, b, c = cell[:3]
    alpha, beta, gamma = np.cos(np.radians(cell[3:]))
    return a * b * c * np.sqrt(1 - alpha**2 - beta**2 - gamma**2 + 2 * alpha * beta * gamma)


@pytest.mark.parametrize(("number", "cell"), CELLS)
@pytest.mark.parametrize("shift", [0.0, 0.05])
def test_known_cells_are_found(number, cell, shift):
    found = fit_cell(lines_of(number, cell, shift=shift), number, wavelength=CU)
    assert found is not None
    # orthorhombic and monoclinic axes may come in another setting
    np.testing.assert_allclose(volume(found.cell), volume(cell), rtol=4e-3)
    np.testing.assert_allclose(found.shift, shift, atol=0.03)
    assert found.matched >= 0.9 * found.lines
    assert found.merit > 8
    # in the standard setting: the conditions of the group hold for its indices
    again = reflections(found.cell, number, **RANGE).two_theta + found.shift
    assert np.abs(again[:, None] - lines_of(number, cell, shift=shift)[None, :30]).min(axis=0).max() < 0.1
    if CRYSTAL_SYSTEMS[CRYSTAL_SYSTEM_OF[number - 1]] not in ("orthorhombic", "monoclinic", "triclinic"):
        np.testing.assert_allclose(found.cell, cell, rtol=2e-3)


def test_no_cell_where_none_fits():
    rng = np.random.default_rng(0)
    assert fit_cell(np.sort(rng.uniform(12, 78, 20)), 221, wavelength=CU) is None
    assert fit_cell(np.sort(rng.uniform(12, 78, 20)), 123, wavelength=CU) is None
    assert fit_cell(np.array([30.0]), 225, wavelength=CU) is None
    assert fit_cell(np.linspace(20, 70, 8), 2, wavelength=CU) is None  # too few


@pytest.mark.parametrize(("number", "cell"), CELLS)
def test_the_true_lattice_weighs_more_than_others(number, cell):
    weights = extinction_log_likelihoods(lines_of(number, cell, seed=number), wavelength=CU)
    lattice = BRAVAIS_OF[number - 1]
    best = {
        name: max(weights[EXTINCTION_OF[k == BRAVAIS_OF]].max(), 0)
        for k, name in enumerate(BRAVAIS_LATTICES)
        if name != "aP"
    }
    own = weights[EXTINCTION_OF[number - 1]]
    assert own > 15
    # lattices of as many or fewer free lengths that are no special case of it
    higher = {
        "aP": "mP mS oP oS oF tP tI hP hR cP cI cF",
        "mP": "oP oI oF tP tI hP hR cP cI cF",
        "mS": "oP oF tP tI hP hR cP cI cF",
    }.get(BRAVAIS_LATTICES[lattice], "hP hR" if BRAVAIS_LATTICES[lattice][0] in "oct" else "tP tI cP cI cF")
    for other in higher.split():
        # by a margin where there are lines enough to tell, never clearly behind
        assert best.get(other, 0.0) < own + 0.5, other


def test_random_lines_weigh_little():
    rng = np.random.default_rng(1)
    largest = [extinction_log_likelihoods(np.sort(rng.uniform(15, 65, 25)), wavelength=CU).max() for _ in range(5)]
    # something is found for any lines; see CELLS for what true cells weigh
    assert np.median(largest) < 27
    assert not extinction_log_likelihoods([25.0, 40.0], wavelength=CU).any()
    assert not extinction_log_likelihoods([], wavelength=CU).any()


def test_false_weak_lines_do_little_harm():
    """Six among the lines of rutile, insignificant ones, cost less than if they were taken for sure, on average."""
    number, cell = CELLS[2]
    true = lines_of(number, cell)
    lost = []
    for seed in range(5, 11):
        false = np.random.default_rng(seed).uniform(12, 50, 6)
        both = np.concatenate([true, false])
        significance = np.concatenate([np.full(len(true), 50.0), np.full(len(false), 4.5)])
        alone, trusted, alike = (
            extinction_log_likelihoods(lines, told, wavelength=CU)[EXTINCTION_OF[number - 1]]
            for lines, told in ((true, None), (both, significance), (both, None))
        )
        lost.append((alone - trusted, alone - alike))
    assert np.min(lost) > 0
    weak, strong = np.mean(lost, axis=0)
    assert weak < 0.9 * strong


def test_any_lines_give_finite_weights():
    """Crowds, single lines, repeated ones, insignificant ones: no case of the arithmetic is left open."""
    rng = np.random.default_rng(7)
    cases = [np.full(12, 30.0), np.linspace(10, 11, 30), np.array([79.9]), np.sort(rng.uniform(10, 170, 40))]
    cases += [np.sort(np.concatenate([rng.normal(40, 0.05, 15), [12.0, 78.0]])), np.array([10.0, 10.02, 150, 178, 179])]
    for lines in cases:
        for significance in (None, np.zeros(len(lines)), np.full(len(lines), 4.0)):
            assert np.isfinite(extinction_log_likelihoods(lines, significance, wavelength=CU)).all()
        for number in (2, 14, 62, 139, 167, 225):
            found = fit_cell(lines, number, wavelength=CU)
            assert found is None or np.isfinite(found.cell).all()


def test_packaged_conditions_are_those_of_the_operations():
    made = tables.build()
    with np.load(tables.FILE) as file:
        assert set(file) == set(made)
        for name, array in made.items():
            np.testing.assert_array_equal(file[name], array, err_msg=name)


def test_monoclinic_settings_describe_one_lattice():
    """Whatever axes are chosen in the plane, some set of terms gives the lines of the standard setting."""
    a, b, c, beta = 7.1, 8.3, 9.7, 101.3
    metric = reciprocal_metric((a, b, c, 90, beta, 90))
    standard = reflections((a, b, c, 90, beta, 90), 15, **RANGE)
    conditions = next(one for one in tables.reflection_conditions() if one.symbol == EXTINCTION_OF[14])
    assert len(conditions.settings) > 2
    for plane in ([[1, 0], [0, 1]], [[0, 1], [-1, 0]], [[1, 0], [1, 1]], [[1, 1], [0, 1]]):
        (p, q), (r, s) = plane
        change = np.array([[p, 0, q], [0, 1, 0], [r, 0, s]])
        other = change.T @ metric @ change
        parameters = np.array([other[0, 0], other[1, 1], other[2, 2], 2 * other[0, 2]])
        agree = []
        for setting in conditions.settings:
            spacing = np.unique(np.round(setting.terms @ parameters, 9))
            found = np.sort(1 / np.sqrt(spacing[spacing < 1 / 1.8**2]))
            expected = np.sort(standard.d[standard.d > 1.8])
            agree.append(
                len(found) >= len(expected) and np.abs(found[:, None] - expected[None]).min(axis=1).max() < 1e-4
            )
        assert sum(agree) == 1
