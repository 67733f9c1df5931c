import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from simxrd_hf.metrics.calibration import (
    calibration_scores,
    conformal_class_thresholds,
    conformal_sets,
    conformal_threshold,
    ece_if_calibrated,
    reliability_bins,
)


def sample(n=4000, classes=6, seed=0):
    """Probabilities that mean what they say: labels are drawn from them."""
    rng = np.random.default_rng(seed)
    table = rng.dirichlet(np.full(classes, 0.5), n)
    labels = (table.cumsum(1) < rng.random((n, 1))).sum(1).clip(0, classes - 1)
    return labels, table


def test_nll_and_brier_equal_sklearn():
    labels, table = sample(300)
    got = calibration_scores(labels, table)
    assert got["nll"] == pytest.approx(log_loss(labels, table, labels=np.arange(6)), rel=1e-9)
    one_hot = np.eye(6)[labels]
    per_class = [brier_score_loss(one_hot[:, k], table[:, k], pos_label=1) for k in range(6)]
    assert got["brier"] == pytest.approx(sum(per_class), rel=1e-9)


def test_ece_by_hand():
    # bins of width 0.25: two rows at 0.7 (one right), one at 0.9 (right), one at 0.25 on the upper edge of its bin
    table = np.array([[0.7, 0.1, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1], [0.9, 0.1, 0, 0], [0.25, 0.25, 0.25, 0.25]])
    got = calibration_scores([0, 1, 0, 3], table, n_bins=4)
    assert got["ece"] == pytest.approx((2 * abs(0.5 - 0.7) + abs(1 - 0.9) + abs(0 - 0.25)) / 4)
    bins = reliability_bins([0, 1, 0, 3], table, 4)
    assert bins["count"].tolist() == [1, 0, 2, 1]


def test_reliability_bins_equal_sklearn():
    labels, table = sample(2000)
    bins = reliability_bins(labels, table, 10)
    right = table.argmax(1) == labels
    accuracy, confidence = calibration_curve(right, table.max(1), n_bins=10)
    filled = bins["count"] > 0
    assert np.allclose(bins["accuracy"][filled], accuracy) and np.allclose(bins["confidence"][filled], confidence)


def test_honest_probabilities_are_calibrated_and_sharpened_ones_are_not():
    labels, table = sample()
    sharp = table**4 / (table**4).sum(1, keepdims=True)
    assert calibration_scores(labels, table)["ece"] < 0.03 < 0.15 < calibration_scores(labels, sharp)["ece"]


def test_what_chance_leaves_of_honest_confidences():
    assert ece_if_calibrated([0.5]) == (0.5, 0.5, 0.5)  # right or wrong, it is half off
    mean, low, high = ece_if_calibrated([0.5, 0.5], draws=20_000)  # one of two is right half of the time
    assert mean == pytest.approx(0.25, abs=0.01) and (low, high) == (0.0, 0.5)
    assert ece_if_calibrated([1.0, 1.0, 0.0]) == (0.0, 0.0, 0.0)


def test_the_error_of_honest_answers_lies_where_chance_puts_it():
    errors, inside = [], 0
    for seed in range(40):
        labels, table = sample(200, seed=seed)
        mean, low, high = ece_if_calibrated(table.max(1), draws=300, seed=seed)
        errors.append((calibration_scores(labels, table)["ece"], mean))
        inside += low <= errors[-1][0] <= high
    assert np.mean(errors, axis=0)[0] == pytest.approx(np.mean(errors, axis=0)[1], rel=0.1)
    assert inside >= 30


@pytest.mark.parametrize("method", ["lac", "aps"])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_conformal_sets_cover(method, alpha):
    coverage = []
    for seed in range(10):
        labels, table = sample(seed=seed)
        threshold = conformal_threshold(labels[:2000], table[:2000], alpha=alpha, method=method)
        got = calibration_scores(labels[2000:], table[2000:], conformal_threshold=threshold, conformal_method=method)
        coverage.append(got["conformal_coverage"])
    # One split scatters by about sqrt(2 alpha (1 - alpha) / 2000), at most 1.3 points here; the mean of ten by 0.4.
    assert np.mean(coverage) == pytest.approx(1 - alpha, abs=0.012)
    assert conformal_sets(table, threshold, method).any(1).all()


def test_conformal_threshold_by_hand():
    table = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8]])
    # scores of the true class 0: 0.1 0.4 0.7 0.8; ceil(5 * 0.6) = 3rd smallest
    assert conformal_threshold([0, 0, 0, 0], table, alpha=0.4) == pytest.approx(0.7)
    assert conformal_threshold([0, 0, 0, 0], table, alpha=0.1) == 1.0  # four rows cannot promise 90 %
    assert conformal_sets([[0.35, 0.65], [0.25, 0.75]], 0.7).tolist() == [[True, True], [False, True]]


@pytest.mark.parametrize(
    "labels, table, message",
    [
        ([0], [[3.0, -1.0]], "softmax"),
        ([0], [[0.2, 0.2]], "sum 1"),
        ([2], [[0.5, 0.5]], "from 0 to 1"),
        ([0, 1], [[0.5, 0.5]], "references"),
    ],
)
def test_bad_input_is_named(labels, table, message):
    with pytest.raises(ValueError, match=message):
        calibration_scores(labels, table)


def test_thresholds_of_groups_keep_their_promise_in_every_group():
    """One threshold holds the frequent classes too often and the rare ones too seldom; one of each group does not."""
    rng = np.random.default_rng(0)
    groups = np.array([0, 0, 1, 1, 2, 2])
    scale = np.array([2.0, 2.0, 1.0, 1.0, 0.3, 0.3])  # how clearly a pattern of the class speaks for it
    labels = rng.choice(6, 60_000, p=[0.4, 0.3, 0.12, 0.1, 0.05, 0.03])
    logits = rng.normal(size=(len(labels), 6))
    logits[np.arange(len(labels)), labels] += scale[labels]
    table = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    fit, rest = slice(0, 30_000), slice(30_000, None)
    one = conformal_threshold(labels[fit], table[fit])
    own = conformal_class_thresholds(labels[fit], table[fit], groups)
    coverage = {}
    for name, limits in (("one", one), ("own", own)):
        held = conformal_sets(table[rest], limits)[np.arange(30_000), labels[rest]]
        coverage[name] = [held[groups[labels[rest]] == group].mean() for group in range(3)]
    assert min(coverage["one"]) < 0.8 and max(coverage["one"]) > 0.93
    assert np.allclose(coverage["own"], 0.9, atol=0.02)
    assert len(set(own.tolist())) == 3 and (own[::2] == own[1::2]).all()


def test_small_groups_share_a_threshold():
    table = np.full((12, 4), 0.1)
    labels = np.array([0] * 6 + [1] * 4 + [2] * 2)
    table[np.arange(12), labels] = 0.7
    limits = conformal_class_thresholds(labels, table, [5, 7, 9, 9], alpha=0.4, least=5)
    assert limits.tolist() == pytest.approx([0.3] * 4)
    assert conformal_class_thresholds(labels, table, [5, 7, 9, 9], alpha=0.1, least=5).tolist() == [1.0] * 4
    with pytest.raises(ValueError, match="4 classes"):
        conformal_class_thresholds(labels, table, [0, 1])
