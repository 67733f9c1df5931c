"""The packaged low indices: complete, of their lattices, and enough to find cells of every lattice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simxrd_hf.indexing import extinction_log_likelihoods, is_allowed, reflections
from simxrd_hf.indexing import search_kernels as kernels
from simxrd_hf.indexing.guesses import LOWEST, guesses
from simxrd_hf.indexing.tables import CENTRINGS, FREE, reflection_conditions
from simxrd_hf.symmetry import BRAVAIS_LATTICES, EXTINCTION_OF
from tools.guesses import covering, index_terms, lowest_indices

CU = 1.54184
# groups without conditions but those of the lattice
PLAIN = {"aP": 1, "mP": 3, "mS": 5, "oP": 16, "oS": 21, "oI": 23, "oF": 22, "tP": 75, "tI": 79, "hP": 143, "hR": 146}
PLAIN |= {"cP": 195, "cI": 197, "cF": 196}


def test_every_lattice_and_setting_is_there():
    found = guesses()
    assert set(found) == set(BRAVAIS_LATTICES) == set(CENTRINGS) == set(PLAIN)
    for lattice, some in found.items():
        assert tuple(guess.centring for guess in some) == CENTRINGS[lattice]
        for guess in some:
            f = len(FREE[guess.kind])
            assert guess.inverses.shape[1:] == (f, f) and np.isfinite(guess.inverses).all()
            # they are inverses of whole numbers
            terms = np.linalg.inv(guess.inverses)
            np.testing.assert_allclose(terms, np.rint(terms), atol=1e-6)
            assert len(np.unique(np.rint(terms), axis=0)) == len(terms) > 15
            assert LOWEST[guess.kind] >= f


@settings(deadline=None)  # the first compiles
@given(st.tuples(*[st.integers(-6, 6)] * 3))
def test_centrings_are_those_of_the_groups(hkl):
    def allowed(number, *indices):
        return bool(is_allowed(np.array([indices]), number)[0])

    h, k, l = hkl  # noqa: E741
    for centring, number in ((kernels.P, 16), (kernels.C, 21), (kernels.I, 23), (kernels.F, 22)):
        assert kernels.centred(h, k, l, centring) == (hkl == (0, 0, 0) or allowed(number, h, k, l))
    assert kernels.centred(h, k, l, kernels.A) == allowed(21, k, l, h)
    assert kernels.centred(h, k, l, kernels.B) == allowed(21, h, l, k)
    assert kernels.centred(h, k, l, kernels.R) == (allowed(146, h, k, l) or allowed(146, k, h, l))


def test_settings_of_the_symbols_know_their_centring():
    """The centring of a setting is that of all its terms, the cell's axes being in the order before."""
    for conditions in reflection_conditions():
        assert {setting.centring for setting in conditions.settings} <= set(CENTRINGS[conditions.lattice])
        if len(FREE[conditions.kind]) < 3:
            continue  # their terms are sums of squares
        for setting in conditions.settings:
            indices = np.zeros((len(setting.terms), 3), dtype=int)
            indices[:, setting.order[:3]] = np.sqrt(setting.terms[:, :3]).astype(int)
            assert all(kernels.centred(*map(int, row), setting.centring) for row in indices[:200])


def test_covering_takes_the_most_useful_first():
    a, b, c = ((1,),), ((2,),), ((3,),)
    crystals = [{a}, {a, b}, {a, b}, {b, c}]
    assert covering(crystals, 1) in ([a, b], [b, a])
    assert set(covering(crystals, 2)) == {a, b, c}
    assert covering([set()], 3) == []


def test_lowest_indices_by_hand():
    """A tetragonal cell, a = 4 Å, c = 6 Å: (001), (100), then (101) too weak to be seen, then (110)."""
    cell = np.diag([4.0, 4.0, 6.0])
    hkl = np.array([[1, 1, 0], [0, 0, 1], [1, 0, 1], [1, 0, 0]])
    found = lowest_indices("tP", cell, hkl @ np.linalg.inv(cell).T, np.array([1.0, 0.3, 0.05, 0.5]))
    assert found.tolist() == [[0, 0, 1], [1, 0, 0], [1, 1, 0]]
    assert index_terms(kernels.TETRAGONAL, found).tolist() == [[0, 1], [1, 0], [2, 0]]
    # in orthorhombic lattices the longest reciprocal axis comes first
    cell = np.diag([7.0, 4.0, 5.0])
    vectors = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]]) @ np.linalg.inv(cell).T
    assert lowest_indices("oP", cell, vectors, np.ones(3)).tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    assert lowest_indices("oP", cell, vectors + 0.05, np.ones(3)) is None


@pytest.mark.parametrize("lattice", ["aP", "mS", "oS", "oF", "tI", "hR"])
def test_cells_are_found_of_lines_with_errors(lattice):
    """Random cells of a lattice, lines off by 0.015°, one in seven unseen: most are found as good as the true one."""
    rng = np.random.default_rng(3)
    number = PLAIN[lattice]
    symbol = EXTINCTION_OF[number - 1]
    heavy = 0
    for _ in range(8):
        a, b, c = rng.uniform(5, 11, 3)
        cell = {
            "a": (a, b, c, *rng.uniform(75, 89, 3)),
            "m": (a, b, c, 90, rng.uniform(92, 118), 90),
            "o": (a, b, c, 90, 90, 90),
            "t": (a, a, c, 90, 90, 90),
            "h": (a, a, 1.8 * c, 90, 90, 120),
        }[lattice[0]]
        lines = reflections(cell, number, wavelength=CU, two_theta_min=8, two_theta_max=90).two_theta[:36]
        lines = lines[rng.random(len(lines)) > 1 / 7] + rng.normal(0, 0.015, 1) + 0
        weights = extinction_log_likelihoods(lines + rng.normal(0, 0.015, len(lines)), wavelength=CU)
        heavy += weights[symbol] > 0.8 * weights.max() and weights[symbol] > 25
    assert heavy >= 5
