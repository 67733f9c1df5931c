"""Temperature and conformal thresholds: known answers and the promised coverage on rows not used for fitting."""

import numpy as np
import pytest

from simxrd_hf.metrics import calibration_scores, conformal_sets
from simxrd_hf.metrics.temperature import calibrate, calibrated_loss, fit_temperature, softmax


def _rows(n, temperature, seed=0, k=7):
    """Labels drawn from softmax(logits / temperature): that temperature is the right one."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 3, (n, k)).astype(np.float32)
    cumulative = softmax(logits, temperature).cumsum(axis=1)
    return logits, (draw.random((n, 1)) > cumulative).sum(axis=1).clip(max=k - 1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature_is_found(temperature):
    logits, labels = _rows(8000, temperature)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.06)


def test_temperature_against_a_grid():
    logits, labels = _rows(300, 2.0)
    grid = np.geomspace(0.05, 20, 4000)
    losses = [-np.log(softmax(logits, t)[np.arange(300), labels]).mean() for t in grid]
    assert fit_temperature(logits, labels) == pytest.approx(grid[int(np.argmin(losses))], rel=0.01)


@pytest.mark.parametrize("method", ["lac", "aps"])
def test_coverage_on_new_rows(method):
    logits, labels = _rows(4000, 2.0)
    model = type("M", (), {"config": type("C", (), {})()})()
    fitted = calibrate(model, logits, labels, method=method, alpha=0.1)
    assert model.config.temperature == fitted["temperature"] and model.config.conformal["coverage"] == 0.9
    logits, labels = _rows(4000, 2.0, seed=1)
    table = softmax(logits, fitted["temperature"])
    sets = conformal_sets(table, fitted["conformal"]["threshold"], method)
    assert 0.885 < sets[np.arange(4000), labels].mean() < 0.93
    assert calibration_scores(labels, table)["ece"] < 0.03 < calibration_scores(labels, softmax(logits))["ece"]


def test_no_sets_on_request():
    logits, labels = _rows(100, 1.0)
    assert calibrate(object(), logits, labels, method="none")["conformal"] is None


def test_the_calibrated_loss_does_not_mind_overconfidence():
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 7, 500)
    logits = rng.normal(size=(500, 7)) + 1.5 * np.eye(7)[labels]
    plain = calibrated_loss(logits, labels)
    assert calibrated_loss(6 * logits, labels) == pytest.approx(plain, rel=1e-4)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert plain <= -np.log(p[np.arange(500), labels]).mean() + 1e-9
    assert calibrated_loss(np.zeros((500, 7)), labels) == pytest.approx(np.log(7))
