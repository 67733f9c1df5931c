"""What is found out about a pattern, and the features made of it, by hand and against spglib."""

import numpy as np
import pytest
import spglib
from data.small_crystals import crystal_table

from simxrd_hf.crystals import crystal
from simxrd_hf.diffraction import Crystal, Simulator
from simxrd_hf.errors import BadInput
from simxrd_hf.evidence import Findings, examine, group_features, log_softmax
from simxrd_hf.evidence.findings import N_FEATURES, N_SYMBOLS, POINT_GROUP_ORDER
from simxrd_hf.indexing import extinction_log_likelihoods, find_lines
from simxrd_hf.matching import build_library, find_matches
from simxrd_hf.models.resampling_simxrd import DEFAULT_GRID
from simxrd_hf.symmetry import CRYSTAL_SYSTEM_OF, EXTINCTION_OF


@pytest.fixture(scope="module")
def library():
    return build_library(crystal_table(21))[0]


@pytest.fixture(scope="module")
def fluorite():
    fcc = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    fluorine = np.array([[x, y, z] for x in (0.25, 0.75) for y in (0.25, 0.75) for z in (0.25, 0.75)])
    made = Crystal("CaF2", np.eye(3) * 5.463, np.array([20] * 4 + [9] * 8), np.concatenate([fcc, fluorine]))
    return Simulator("lab").simulate(made, [0]).intensity[0]


def test_point_group_orders_are_those_of_spglib():
    orders = {}
    for hall in range(1, 531):
        rotations = spglib.get_symmetry_from_database(hall)["rotations"]
        orders[spglib.get_spacegroup_type(hall).number] = len(np.unique(rotations, axis=0))
    assert POINT_GROUP_ORDER.tolist() == [orders[number] for number in range(1, 231)]


def test_a_simulated_crystal_points_at_its_lattice(fluorite):
    """Fluorite: the weights of a simulated pattern are those of its lines, and face-centred cubic ones lead."""
    found = examine(fluorite, None, DEFAULT_GRID)
    lines = find_lines(fluorite, DEFAULT_GRID)
    weights = extinction_log_likelihoods(lines.two_theta, lines.significance, wavelength=DEFAULT_GRID["wavelength"])
    np.testing.assert_array_equal(found.cells, weights)
    assert found.cells.shape == (N_SYMBOLS,) and found.lines == len(lines.two_theta) > 4
    # fluorite's 200 is nearly absent, so stricter face-centred symbols may do a little better than its own
    assert found.cells[EXTINCTION_OF[224]] > found.cells.max() - 4
    masked = examine(fluorite, np.arange(len(fluorite)) < 2000, DEFAULT_GRID)
    assert 0 < masked.lines < found.lines
    assert found.matches is None and found.similarity.shape == (6, 230) and not found.similarity.any()


def test_lines_are_counted_up_to_those_the_search_used():
    axis = np.arange(3501)
    pattern = sum(np.exp(-0.5 * ((axis - 100 - 55 * k) / 4) ** 2) for k in range(60))
    assert len(find_lines(pattern, DEFAULT_GRID).two_theta) == 60
    assert examine(pattern, None, DEFAULT_GRID).lines == 30


def test_a_library_is_asked_beside_or_alone(library):
    made = crystal(crystal_table(21), 6)
    pattern = Simulator("lab").simulate(made, [0]).intensity[0]
    both = examine(pattern, None, DEFAULT_GRID, library)
    alone = examine(pattern, None, DEFAULT_GRID, library, cells=False)
    direct = find_matches(pattern, library, DEFAULT_GRID)
    assert both.cells.any() and both.lines > 0
    assert not alone.cells.any() and alone.lines == 0
    for found in (both, alone):
        assert found.matches.best == direct.best and found.matches.best[0].crystal_id == made.crystal_id
        np.testing.assert_array_equal(
            found.similarity, [direct.similarity, direct.near, direct.votes, *direct.measured]
        )
    without = examine(pattern, None, DEFAULT_GRID, library, without_formula="CsNa")
    assert without.matches.best == direct.best  # there is no such formula
    formula = direct.best[0].formula
    without = examine(pattern, None, DEFAULT_GRID, library, without_formula=formula)
    assert formula not in {match.formula for match in without.matches.best}
    with pytest.raises(BadInput, match="library: made for"):
        examine(pattern, None, DEFAULT_GRID | {"wavelength": 0.71}, library, cells=False)


def test_log_softmax():
    values = np.array([[0.0, 1.0, 1000.0], [-5.0, -5.0, -5.0]])
    found = log_softmax(values)
    np.testing.assert_allclose(found, [[-1000, -999, 0], np.log([1 / 3] * 3)], atol=1e-12)
    np.testing.assert_allclose(log_softmax(values + 7), found, atol=1e-9)


# column of `group_features`
LOG_P, SYSTEM, WITHIN, BELOW, BEST, OTHER, TRICLINIC, LINES = range(8)
SIMILAR, UNDER, UNDER_SYSTEM, HIGHER, MOST, FARTHER, NEAR, UNDER_NEAR, FARTHER_NEAR = range(8, 17)
VOTES, SHARE = 17, 18
SIMILAR_MEASURED = 19  # and the next ten: the same of measured crystals
ORDER, FIRST_SYSTEM = 30, 31


def test_features_by_hand():
    """One pattern: network, cells and library each say something simple."""
    log_p = np.full(230, np.log(0.2 / 229))
    log_p[224] = np.log(0.8)
    cells = np.zeros(N_SYMBOLS)
    cubic = np.unique(EXTINCTION_OF[CRYSTAL_SYSTEM_OF == 6])
    hexagonal = np.unique(EXTINCTION_OF[CRYSTAL_SYSTEM_OF == 5])
    cells[cubic[:3]] = 40.0, 25.0, 2.0
    cells[hexagonal[0]] = 12.0
    cells[EXTINCTION_OF[0]] = 30.0
    similarity = np.zeros((6, 230))
    similarity[0, 224], similarity[0, 215], similarity[0, 61] = 0.9, 0.8, 0.5  # m-3m, -43m and mmm
    similarity[1, 224], similarity[1, 61] = 0.7, 0.5
    similarity[2, 224], similarity[2, 215] = 1.5, 0.5
    x = group_features(log_p[None], cells[None], np.array([30]), similarity[None])
    assert x.shape == (1, 230, N_FEATURES) and x.dtype == np.float32 and N_FEATURES == FIRST_SYSTEM + 7
    x = x[0].astype(float)

    def close(found, expected):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    system_p = 0.8 + 35 * 0.2 / 229  # of 36 cubic groups
    close(x[224, [LOG_P, SYSTEM, WITHIN]], [np.log(0.8) / 5, np.log(system_p) / 3, np.log(0.8 / system_p) / 4])
    close(x[0, [LOG_P, SYSTEM, WITHIN]], [np.log(0.2 / 229) / 5, np.log(2 * 0.2 / 229) / 3, np.log(1 / 2) / 4])

    of = EXTINCTION_OF
    close(x[of == cubic[0], BELOW], 0)
    close(x[of == cubic[1], BELOW], -1.5)
    close(x[of == cubic[2], BELOW], -3)  # no further than 30
    close(x[of == hexagonal[1], BELOW], -1.2)
    close(x[:2, BELOW], 0)
    systems = CRYSTAL_SYSTEM_OF
    close(x[:, BEST], np.select([systems == 6, systems == 5, systems == 0], [2.0, 0.6, 1.5], 0.0))
    close(x[:, OTHER], np.where(systems == 6, 0.6, 2.0))
    close(x[:, TRICLINIC], 1.5)
    close(x[:, LINES], 2.0)

    close(x[:, SIMILAR], similarity[0])
    close(x[:, MOST], 0.9)
    close(x[[224, 215, 61, 0], UNDER], [0, 0.5, 1.5, 1.5])
    close(x[[224, 215, 61, 46, 0, 1], UNDER_SYSTEM], [0, 0.5, 0, 1.5, 0, 0])
    # what a group of a larger point group does: nothing is above m-3m, m-3m is above the others
    close(x[[224, 215, 61, 0], HIGHER], [-1.5, 0.5, 1.5, 1.5])
    close(x[:, NEAR], similarity[1])
    close(x[[224, 215, 61], UNDER_NEAR], [0, 1.5, 1.0])
    close(x[[224, 215, 61, 0], FARTHER], np.log([1, 0.22 / 0.12, 0.52 / 0.12, 1.02 / 0.12]))
    close(x[[224, 215, 61], FARTHER_NEAR], np.log([1, 1.02 / 0.32, 0.52 / 0.32]))
    close(x[[224, 215, 0], VOTES], np.log([1.501, 0.501, 0.001]) / 3)
    close(x[[224, 215, 0], SHARE], np.log([0.751, 0.251, 0.001]) / 3)
    swapped = group_features(log_p[None], cells[None], np.array([30]), similarity[None, [3, 4, 5, 0, 1, 2]])[0]
    np.testing.assert_array_equal(swapped[:, SIMILAR_MEASURED:ORDER], x[:, SIMILAR : SHARE + 1].astype(np.float32))
    np.testing.assert_array_equal(x[:, SIMILAR_MEASURED:ORDER], swapped[:, SIMILAR : SHARE + 1])
    close(x[[0, 1, 224], ORDER], np.log([1, 2, 48]) / 4)
    close(x[:, FIRST_SYSTEM:], np.eye(7)[systems])


def test_extreme_answers_of_the_network_stay_finite():
    log_p = log_softmax(np.where(np.arange(230) == 3, 0.0, -5000.0))
    x = group_features(log_p[None], np.full((1, N_SYMBOLS), -1e6), np.array([0]), np.ones((1, 6, 230)))
    assert np.isfinite(x).all() and np.abs(x).max() <= 4
    assert x[0, 0, LOG_P] == -3 and x[0, 3, LOG_P] == 0


def test_rows_do_not_touch_each_other():
    rng = np.random.default_rng(0)
    read = (log_softmax(rng.normal(size=(3, 230))), rng.normal(0, 20, (3, N_SYMBOLS)), np.array([3, 9, 30]))
    similarity = rng.uniform(size=(3, 6, 230))
    whole = group_features(*read, similarity)
    for row in range(3):
        one = slice(row, row + 1)
        np.testing.assert_array_equal(group_features(*(a[one] for a in read), similarity[one])[0], whole[row])


def test_findings_without_a_library_know_no_crystal():
    assert not Findings(np.zeros(N_SYMBOLS), 3).similarity.any()
