"""The combination of network, cells and library: what it computes, what it learns, how it is stored."""

import json

import numpy as np
import pytest
from evidence.evidence_parts import CONFORMAL, combination, random_combination

from simxrd_hf.errors import BadInput
from simxrd_hf.evidence import LibraryEvidence, PatternEvidence, fit_combination, group_features, log_softmax
from simxrd_hf.evidence.findings import N_SYMBOLS
from simxrd_hf.symmetry import CRYSTAL_SYSTEM_OF, EXTINCTION_OF


def made_up(n=600, seed=0, *, cells=False, library=False):
    """A network that knows nothing; cells and library that point at the truth, or say the same of all."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 230, n)
    log_p = log_softmax(rng.normal(0, 0.1, (n, 230)))
    weights = rng.normal(12, 3, (n, N_SYMBOLS))
    weights[:, EXTINCTION_OF[0]] = 0.0
    if cells:
        weights[np.arange(n), EXTINCTION_OF[labels]] = np.where(CRYSTAL_SYSTEM_OF[labels] == 0, 0.0, 45.0)
    similarity = rng.uniform(0.3, 0.6, (n, 6, 230)) if library else np.zeros((n, 6, 230))
    if library:
        similarity[np.arange(n), :, labels] = rng.uniform(0.8, 1.0, (n, 1))
    return log_p, weights, np.full(n, 20), similarity, labels


def right(made, read, labels, of=None):
    answer = made(*read).argmax(axis=1)
    return (answer == labels).mean() if of is None else (of[answer] == of[labels]).mean()


def test_without_weights_the_network_is_left_alone():
    *read, _ = made_up(20, cells=True, library=True)
    np.testing.assert_allclose(combination()(*read), read[0], atol=1e-12)
    np.testing.assert_allclose(combination(scale=0.5)(*read), log_softmax(read[0] / 2), atol=1e-12)


def test_it_is_a_conditional_logit_of_the_features():
    *read, _ = made_up(7, cells=True, library=True)
    made = random_combination(hidden=5)
    x = group_features(*read).astype(np.float64)
    expected = np.empty((7, 230))
    for row in range(7):
        for group in range(230):
            first = np.tanh(made.first_weight @ x[row, group] + made.first_bias)
            second = np.tanh(made.second_weight @ first + made.second_bias)
            begins = made.scale * read[0][row, group] + made.offset[group]
            expected[row, group] = begins + made.linear @ x[row, group] + made.last @ second
    expected -= np.log(np.exp(expected).sum(axis=1, keepdims=True))
    found = made(*read)
    np.testing.assert_allclose(found, expected, atol=1e-10)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1.0)
    np.testing.assert_array_equal(made(*(part[2:3] for part in read))[0], found[2])


def test_fit_learns_to_trust_the_cells():
    *read, labels = made_up(cells=True)
    made = fit_combination(*read, labels, hidden=8, epochs=15)
    *read, labels = made_up(300, seed=1, cells=True)
    assert right(made, read, labels, CRYSTAL_SYSTEM_OF) > 0.9
    assert (CRYSTAL_SYSTEM_OF[read[0].argmax(axis=1)] == CRYSTAL_SYSTEM_OF[labels]).mean() < 0.4
    assert right(made, read, labels, EXTINCTION_OF) > 0.8


def test_fit_learns_to_trust_the_library():
    *read, labels = made_up(library=True)
    made = fit_combination(*read, labels, hidden=8, epochs=15)
    *read, labels = made_up(300, seed=1, library=True)
    assert right(made, read, labels) > 0.95 > 10 * (read[0].argmax(axis=1) == labels).mean()


def test_fit_distrusts_what_says_nothing():
    """Half of the similarities point elsewhere at random: the network that is right stays right."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 230, 600)
    log_p = log_softmax(6.0 * np.eye(230)[labels] + rng.normal(0, 1, (600, 230)))
    _, weights, lines, similarity, _ = made_up(seed=3, library=True)  # of other labels
    made = fit_combination(log_p, weights, lines, similarity, labels, hidden=8, epochs=15)
    before = (log_p.argmax(axis=1) == labels).mean()
    assert right(made, (log_p, weights, lines, similarity), labels) >= before - 0.01 > 0.8


def test_fit_is_deterministic_and_leaves_the_generator_alone():
    import torch

    *read, labels = made_up(60, cells=True)
    torch.manual_seed(5)
    first = fit_combination(*read, labels, hidden=4, epochs=2, about={"rows": 60})
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert drawn == torch.rand(1)
    again = fit_combination(*read, labels, hidden=4, epochs=2)
    other = fit_combination(*read, labels, hidden=4, epochs=2, seed=1)
    np.testing.assert_array_equal(first(*read), again(*read))
    assert not np.allclose(first(*read), other(*read))
    assert first.about == {"rows": 60} and first.conformal is None
    assert first.first_weight.shape == (6 * 4, len(first.linear))


def test_members_are_averaged():
    *read, labels = made_up(60, cells=True, library=True)
    one, two = (
        fit_combination(*read, labels, hidden=4, epochs=3, members=1, blind=blind, seed=3 + blind) for blind in (0, 1)
    )
    both = fit_combination(*read, labels, hidden=4, epochs=3, members=2, blind=1, seed=3)
    np.testing.assert_allclose(both(*read), log_softmax((one(*read) + two(*read)) / 2), atol=1e-9)


@pytest.mark.parametrize("blind", [0, 1])
def test_a_row_that_counts_twice_is_as_good_as_two(blind):
    """All rows in every step, so that their order does not matter; five steps."""
    *read, labels = made_up(40, cells=True, library=True)
    times = np.where(np.arange(40) < 15, 3, 1)
    how = {"hidden": 4, "epochs": 5, "batch_size": 100, "members": 1, "blind": blind}
    weighted = fit_combination(*read, labels, times, **how)
    repeated = fit_combination(*(np.repeat(part, times, axis=0) for part in read), np.repeat(labels, times), **how)
    plain = fit_combination(*read, labels, **how)
    np.testing.assert_allclose(weighted(*read), repeated(*read), atol=1e-3)
    assert np.abs(weighted(*read) - plain(*read)).max() > 0.01


def test_blind_members_do_not_hear_the_network():
    """Not of a right one either; they know how often a group is."""
    *read, labels = made_up(400, cells=True)
    labels[:200] = 61
    made = fit_combination(*read, labels, hidden=4, epochs=3, members=2, blind=2)
    other = (log_softmax(5.0 * np.eye(230)[labels]), *read[1:])
    np.testing.assert_array_equal(made(*read), made(*other))
    assert made.scale == 0 and made.offset.argmax() == 61
    np.testing.assert_allclose(np.exp(made.offset).sum(), 1.0)
    assert np.exp(made.offset[61]) == pytest.approx(201 / 630, abs=0.02)


def test_round_trip(tmp_path):
    prior, other = np.linspace(-3, 2, 230), np.linspace(1, -1, 230)
    small = LibraryEvidence(20, random_combination(2, conformal=CONFORMAL), other)
    large = LibraryEvidence(5000, random_combination(1, about={"rows": 9}))
    made = PatternEvidence(random_combination(0, conformal=CONFORMAL), (small, large), prior)
    assert made.save(tmp_path) == tmp_path / "evidence.json"
    again = PatternEvidence.load(tmp_path)
    *read, _ = made_up(10, seed=2, cells=True, library=True)
    pairs = [(made.cells, again.cells)]
    pairs += [(a.combination, b.combination) for a, b in zip(made.libraries, again.libraries, strict=True)]
    for before, after in pairs:
        np.testing.assert_allclose(after(*read), before(*read), atol=1e-4)
        assert (after.scale, after.conformal, after.about) == (before.scale, before.conformal, before.about)
    assert [one.least_crystals for one in again.libraries] == [20, 5000]
    np.testing.assert_allclose(again.prior, prior, atol=1e-4)
    np.testing.assert_allclose(again.libraries[0].prior, other, atol=1e-4)
    assert again.libraries[1].prior is None
    assert [path.name for path in tmp_path.iterdir()] == ["evidence.json"]


def test_a_library_is_corrected_by_what_is_meant_for_its_size():
    small, large = (LibraryEvidence(size, combination()) for size in (20, 5000))
    made = PatternEvidence(combination()).with_library(large).with_library(small)
    assert made.libraries == (small, large)
    assert [made.for_library(n) for n in (19, 20, 4999, 5000, 9000)] == [None, small, small, large, large]
    better = LibraryEvidence(20, combination(scale=0.5))
    assert made.with_library(better).libraries == (better, large)


def test_the_version_before_is_read(tmp_path):
    prior = np.linspace(-3, 2, 230)
    path = PatternEvidence(random_combination(0), (LibraryEvidence(9, random_combination(1), prior),), prior).save(
        tmp_path
    )
    content = json.loads(path.read_text())
    (library,) = content.pop("libraries")
    content |= {"version": 5, "library": library, "least_crystals": library.pop("least_crystals")}
    del content["sha256"], library["prior"]
    path.write_text(json.dumps(content))
    (only,) = PatternEvidence.load(tmp_path).libraries
    assert only.least_crystals == 9
    np.testing.assert_allclose(only.combination.linear, random_combination(1).linear, atol=1e-6)
    np.testing.assert_allclose(only.prior, prior, atol=1e-4)
    del content["library"], content["least_crystals"], content["prior"]
    path.write_text(json.dumps(content))
    again = PatternEvidence.load(tmp_path)
    assert again.libraries == () and again.prior is None


def test_cells_alone_are_enough(tmp_path):
    PatternEvidence(combination()).save(tmp_path)
    again = PatternEvidence.load(tmp_path)
    assert again.libraries == () and again.prior is None and again.for_library(10**6) is None
    assert PatternEvidence.load(tmp_path / "elsewhere") is None


def of_library(**entries):
    return lambda content: content | {"libraries": [content["libraries"][0] | entries]}


def within(part, **entries):
    return lambda content: content | {part: content[part] | entries}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c | {"version": 9}, "version 9, this code reads 6"),
        (lambda c: {k: v for k, v in c.items() if k != "version"}, "damaged"),
        (lambda c: {k: v for k, v in c.items() if k != "cells"}, r"damaged \('cells'\)"),
        (within("cells", linear=[0.0]), "damaged.*linear is not"),
        (within("cells", last=0.0), "damaged"),
        (within("cells", last=[0.0]), "damaged.*first_weight is not"),
        (within("cells", scale=None), "damaged"),
        (within("cells", scale=float("nan")), "damaged.*scale"),
        (of_library(second_weight="a"), "damaged"),
        (of_library(second_bias=[float("nan")] * 3), "damaged.*second_bias"),
        (of_library(prior=[0.0]), "damaged.*prior is not 230"),
        (of_library(least_crystals="many"), "damaged"),
        (lambda c: c | {"libraries": None}, "damaged"),
        (lambda c: c | {"prior": [0.0] * 229}, "damaged.*prior is not 230"),
        (lambda c: c | {"prior": [float("inf")] * 230}, "damaged.*prior is not 230"),
        (lambda c: [c], "damaged"),
    ],
)
def test_damaged_files_are_refused_by_name(tmp_path, change, message):
    path = PatternEvidence(combination(), (LibraryEvidence(3, combination()),), np.zeros(230)).save(tmp_path)
    content = json.loads(path.read_text())
    del content["sha256"]
    path.write_text(json.dumps(change(content)))
    with pytest.raises(BadInput, match=rf"evidence\.json: {message}"):
        PatternEvidence.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b'{"version": 1, "cells"', b"\xff\xfe", b"3"])
def test_files_cut_short_are_refused_by_name(tmp_path, content):
    (tmp_path / "evidence.json").write_bytes(content)
    with pytest.raises(BadInput, match=r"evidence\.json: damaged .*download it again, or delete it"):
        PatternEvidence.load(tmp_path)
