"""The combination of network and cell search: what it learns, what it keeps, how it is stored."""

import json

import numpy as np
import pytest

from simxrd_hf.diffraction import Crystal, Simulator
from simxrd_hf.errors import BadInput
from simxrd_hf.indexing import LatticeEvidence, find_lines, fit_evidence, pattern_evidence, weigh_symbols
from simxrd_hf.indexing.evidence import N_FEATURES, features, log_softmax
from simxrd_hf.models.resampling_simxrd import DEFAULT_GRID
from simxrd_hf.symmetry import CRYSTAL_SYSTEM_OF, EXTINCTION_OF

SYMBOLS = int(EXTINCTION_OF.max()) + 1


def made_up(n=800, seed=0):
    """A network that knows nothing, and weights that point at the truth."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 230, n)
    log_p = log_softmax(rng.normal(0, 0.1, (n, 230)))
    evidence = np.concatenate([rng.normal(12, 3, (n, SYMBOLS)), np.full((n, 1), 20.0)], axis=1)
    evidence[:, EXTINCTION_OF[0]] = 0.0
    evidence[np.arange(n), EXTINCTION_OF[labels]] = np.where(CRYSTAL_SYSTEM_OF[labels] == 0, 0.0, 45.0)
    return log_p, evidence, labels


def zero(conformal=None):
    return LatticeEvidence(
        1.0, np.zeros((3, N_FEATURES)), np.zeros(3), np.zeros((7, 3)), np.zeros(7), np.zeros(7), conformal
    )


def test_without_weights_the_network_is_left_alone():
    log_p, evidence, _ = made_up(20)
    np.testing.assert_allclose(zero().combine(log_p, evidence), log_p, atol=1e-12)


def test_fit_learns_to_trust_the_lattice():
    made = fit_evidence(*made_up())
    log_p, evidence, labels = made_up(300, seed=1)
    combined = made.combine(log_p, evidence)
    np.testing.assert_allclose(np.exp(combined).sum(axis=1), 1.0)
    right = CRYSTAL_SYSTEM_OF[combined.argmax(axis=1)] == CRYSTAL_SYSTEM_OF[labels]
    before = CRYSTAL_SYSTEM_OF[log_p.argmax(axis=1)] == CRYSTAL_SYSTEM_OF[labels]
    assert right.mean() > 0.9 > 2 * before.mean()
    assert (EXTINCTION_OF[combined.argmax(axis=1)] == EXTINCTION_OF[labels]).mean() > 0.8


def test_features_by_hand():
    log_p = np.log(np.full((1, 230), 1 / 230))
    evidence = np.zeros((1, SYMBOLS + 1))
    cubic = np.unique(EXTINCTION_OF[CRYSTAL_SYSTEM_OF == 6])
    evidence[0, cubic[0]], evidence[0, cubic[1]], evidence[0, -1] = 40.0, 25.0, 30.0
    read, below = features(log_p, evidence)
    np.testing.assert_allclose(read[0, :6], [0, 0, 0, 0, 0, 4.0])
    assert read[0, 6] == 3.0
    np.testing.assert_allclose(read[0, 7:], np.log(np.bincount(CRYSTAL_SYSTEM_OF) / 230) / 3)
    assert (below[0, cubic[0] == EXTINCTION_OF] == 0).all()
    assert (below[0, cubic[1] == EXTINCTION_OF] == -15).all()
    assert (below[0, cubic[2] == EXTINCTION_OF] == -30).all()


def test_a_simulated_crystal_points_at_its_lattice():
    """Fluorite: the weights of a simulated pattern are those of its lines, and face-centred cubic ones lead."""
    a = 5.463
    fcc = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    fluorine = np.array([[x, y, z] for x in (0.25, 0.75) for y in (0.25, 0.75) for z in (0.25, 0.75)])
    crystal = Crystal("CaF2", np.eye(3) * a, np.array([20] * 4 + [9] * 8), np.concatenate([fcc, fluorine]))
    pattern = Simulator("lab").simulate(crystal, [0]).intensity[0]
    evidence = pattern_evidence(pattern, None, DEFAULT_GRID)
    lines = find_lines(pattern, DEFAULT_GRID)
    weights = weigh_symbols(lines.two_theta, lines.significance, wavelength=DEFAULT_GRID["wavelength"])
    np.testing.assert_array_equal(evidence[:-1], weights)
    assert evidence[-1] == len(lines.two_theta)
    # fluorite's 200 is nearly absent, so stricter face-centred symbols may do a little better than its own
    assert evidence[EXTINCTION_OF[224]] > evidence[:-1].max() - 4
    masked = pattern_evidence(pattern, np.arange(len(pattern)) < 2000, DEFAULT_GRID)
    assert masked[-1] < evidence[-1]


def test_round_trip(tmp_path):
    made = fit_evidence(*made_up(100), steps=20, about={"rows": 100})
    made.save(tmp_path)
    again = LatticeEvidence.load(tmp_path)
    log_p, evidence, _ = made_up(10, seed=2)
    np.testing.assert_allclose(again.combine(log_p, evidence), made.combine(log_p, evidence), atol=1e-3)
    assert again.about == {"rows": 100}
    assert LatticeEvidence.load(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c | {"version": 9}, "version 9"),
        (lambda c: {k: v for k, v in c.items() if k != "scale"}, "damaged"),
        (lambda c: c | {"system_bias": [0.0]}, "system_bias"),
        (lambda c: c | {"symbol_weight": [float("nan")] * 7}, "symbol_weight"),
        (lambda c: c | {"hidden_weight": "a"}, "damaged"),
    ],
)
def test_damaged_files_are_refused(tmp_path, change, message):
    path = zero().save(tmp_path)
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(BadInput, match=message):
        LatticeEvidence.load(tmp_path)
    path.write_text('{"version": 1, "scale"')
    with pytest.raises(BadInput, match="damaged"):
        LatticeEvidence.load(tmp_path)
