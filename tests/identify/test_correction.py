"""How answers are corrected: by cells, by a library that is large enough, by the prior; and what is listed."""

from dataclasses import asdict

import numpy as np
import pytest
from data.small_crystals import crystal_table
from evidence.evidence_parts import CONFORMAL, combination, random_combination

from simxrd_hf.crystals import crystal
from simxrd_hf.diffraction import Simulator
from simxrd_hf.errors import BadInput
from simxrd_hf.evidence import LibraryEvidence, PatternEvidence, examine, log_softmax
from simxrd_hf.identify import Correction
from simxrd_hf.matching import MixtureSearch, build_library, by_profile
from simxrd_hf.models.resampling_simxrd import DEFAULT_GRID

TEMPERATURE = 1.7
PRIOR = np.where(np.arange(230) == 224, 3.0, -0.5)


@pytest.fixture(scope="module")
def library():
    return build_library(crystal_table(21))[0]


@pytest.fixture(scope="module")
def sample():
    """Two patterns of one sample, and logits of a network."""
    made = Simulator("lab").simulate(crystal(crystal_table(21), 6), [0, 1]).intensity
    logits = np.random.default_rng(0).normal(0, 2, (2, 230)).astype(np.float32)
    return logits, {"intensity": made, "mask": np.ones(made.shape, dtype=bool)}


@pytest.fixture
def folder(tmp_path):
    cells = random_combination(0, conformal=CONFORMAL)
    both = random_combination(1, conformal=CONFORMAL | {"threshold": 0.7})
    PatternEvidence(cells, (LibraryEvidence(20, both, -PRIOR),), PRIOR).save(tmp_path)
    return tmp_path


def answer(correction, sample):
    logits, prepared = sample
    return correction(logits, prepared, DEFAULT_GRID, TEMPERATURE)


def expected(made, sample, library=None):
    """Log-probabilities of the combination, pattern by pattern."""
    logits, prepared = sample
    log_p = log_softmax(logits / TEMPERATURE)
    found = [examine(y, None, DEFAULT_GRID, library) for y in prepared["intensity"]]
    rows = [
        made(log_p[i : i + 1], one.cells[None], np.array([one.lines]), one.similarity[None])[0]
        for i, one in enumerate(found)
    ]
    return np.array(rows)


def test_cells_correct_the_logits(folder, sample):
    correction = Correction(folder, prior=False)
    logits, more = answer(correction, sample)
    log_p = log_softmax(logits / TEMPERATURE)
    np.testing.assert_allclose(log_p, expected(PatternEvidence.load(folder).cells, sample), atol=1e-9)
    assert more == {} and correction.active and correction.conformal(None) == CONFORMAL


def test_zero_weights_change_nothing(tmp_path, sample):
    PatternEvidence(combination()).save(tmp_path)
    logits, _ = answer(Correction(tmp_path), sample)
    before = log_softmax(sample[0] / TEMPERATURE)
    np.testing.assert_allclose(log_softmax(logits / TEMPERATURE), before, atol=1e-9)


def test_the_prior_shifts_answers(folder, sample):
    with_prior, without = (answer(Correction(folder, prior=prior), sample)[0] for prior in (True, False))
    p = np.exp(log_softmax(without / TEMPERATURE)) * np.exp(PRIOR)
    np.testing.assert_allclose(np.exp(log_softmax(with_prior / TEMPERATURE)), p / p.sum(axis=1, keepdims=True))
    assert Correction(folder, indexing=False).prior is None


def test_the_prior_is_that_of_the_library(folder, library):
    np.testing.assert_allclose(Correction(folder).prior, PRIOR)
    np.testing.assert_allclose(Correction(folder, library=library).prior, -PRIOR)


def test_a_large_library_corrects_and_is_listed(folder, sample, library):
    correction = Correction(folder, library=library, prior=False)
    logits, more = answer(correction, sample)
    both = expected(PatternEvidence.load(folder).libraries[0].combination, sample, library)
    np.testing.assert_allclose(log_softmax(logits / TEMPERATURE), both, atol=1e-9)
    assert correction.conformal(None)["threshold"] == 0.7 and correction.note is None
    assert more["matches"][0]["crystal_id"] == crystal_table(21)["crystal_id"][6].as_py()


def test_a_small_library_is_listed_only(folder, sample):
    small, _ = build_library(crystal_table(19))  # of the 20 that are needed
    correction = Correction(folder, library=small)
    logits, more = answer(correction, sample)
    np.testing.assert_array_equal(logits, answer(Correction(folder), sample)[0])
    assert more["matches"][0]["crystal_id"] == crystal_table(19)["crystal_id"][6].as_py()
    assert correction.conformal(None) == CONFORMAL
    assert "19 crystals" in correction.note and "20 or more" in correction.note


def test_a_library_without_weights_for_it_is_listed_only(tmp_path, sample, library):
    PatternEvidence(random_combination(0)).save(tmp_path)
    logits, more = answer(Correction(tmp_path, library=library), sample)
    np.testing.assert_array_equal(logits, answer(Correction(tmp_path), sample)[0])
    assert more["matches"]


def test_without_indexing_or_evidence_logits_stay(folder, sample, library, tmp_path_factory):
    plain = tmp_path_factory.mktemp("plain")
    for correction in (Correction(folder, indexing=False, library=library), Correction(plain, library=library)):
        logits, more = answer(correction, sample)
        np.testing.assert_array_equal(logits, sample[0])
        assert more["matches"] and correction.active
        assert correction.conformal(CONFORMAL) is CONFORMAL and correction.conformal(None) is None
    assert "do not correct" in Correction(plain, library=library).note and Correction(plain).note is None
    assert not Correction(plain).active and not Correction(folder, indexing=False).active


def test_every_crystal_is_listed_once_by_its_best_pattern(folder, sample, library):
    listed = answer(Correction(folder, library=library, phases=0), sample)[1]["matches"]
    assert len({match["crystal_id"] for match in listed}) == len(listed) <= 10
    each = [examine(y, None, DEFAULT_GRID, library).matches.best for y in sample[1]["intensity"]]
    assert {m.crystal_id for m in each[0]} & {m.crystal_id for m in each[1]}
    best = {}
    for match in (match for one in each for match in one):
        if match.crystal_id not in best or match.standing > best[match.crystal_id].standing:
            best[match.crystal_id] = match
    best = sorted(best.values(), key=lambda match: -match.standing)[:10]
    assert listed == [asdict(match) for match in best]
    # where phases are searched for, each is fitted to the first pattern
    fitted = answer(Correction(folder, library=library), sample)[1]["matches"]
    search = MixtureSearch(sample[1]["intensity"][0], library, DEFAULT_GRID, sample[1]["mask"][0])
    search.mixture()
    assert fitted == [asdict(match) for match in by_profile(best, search)]


def test_a_mask_is_heeded_and_may_be_absent(folder, sample, library):
    logits, prepared = sample
    correction = Correction(folder, library=library)
    whole, _ = answer(correction, sample)
    bare, _ = correction(logits, {"intensity": prepared["intensity"]}, DEFAULT_GRID, TEMPERATURE)
    np.testing.assert_array_equal(bare, whole)
    half = prepared | {"mask": np.tile(np.arange(3501) < 2000, (2, 1))}
    assert not np.allclose(correction(logits, half, DEFAULT_GRID, TEMPERATURE)[0], whole)


def test_nothing_measured_leaves_no_match(folder, sample, library):
    prepared = {"intensity": np.zeros((2, 3501)), "mask": np.ones((2, 3501), dtype=bool)}
    logits, more = Correction(folder, library=library)(sample[0], prepared, DEFAULT_GRID, TEMPERATURE)
    assert more == {"matches": [], "phases": [], "unexplained": 1.0} and np.isfinite(logits).all()


def test_a_library_is_a_file_too(folder, sample, library, tmp_path):
    path = library.save(tmp_path / "lines.parquet")
    for given in (path, str(path)):
        listed = answer(Correction(folder, library=given), sample)[1]["matches"]
        direct = answer(Correction(folder, library=library), sample)[1]["matches"]
        # a file keeps amplitudes to 1 part in 255: matches as good as each other may change places
        far = {match["crystal_id"]: match["similarity"] for match in direct}
        assert all(abs(match["similarity"] - far[match["crystal_id"]]) < 2e-3 for match in listed[:3])
        assert listed[0]["crystal_id"] == direct[0]["crystal_id"]
    with pytest.raises(BadInput, match=r"none\.parquet: no such file"):
        Correction(folder, library=tmp_path / "none.parquet")
