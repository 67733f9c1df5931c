"""Losses against torch, hand calculation and the statements of their papers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from simxrd_hf.training.config import ObjectiveConfig
from simxrd_hf.training.losses import ClassificationLoss, effective_number_weights, focal_loss, log_priors


def _case(seed: int = 0, n: int = 9, k: int = 4):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, k, generator=generator) * 3, torch.randint(0, k, (n,), generator=generator)


def test_focal_without_focus_is_cross_entropy():
    logits, labels = _case()
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0])
    assert torch.allclose(focal_loss(logits, labels, 0.0), functional.cross_entropy(logits, labels))
    assert torch.allclose(focal_loss(logits, labels, 0.0, weight), functional.cross_entropy(logits, labels, weight))


def test_focal_by_hand():
    # p = 3/4 of the true class: -(1/4)^2 ln(3/4)
    logits = torch.tensor([[math.log(3.0), 0.0]])
    assert focal_loss(logits, torch.tensor([0]), 2.0).item() == pytest.approx(-(0.25**2) * math.log(0.75), rel=1e-6)


def test_effective_numbers():
    counts = np.array([1, 10, 100, 0])
    weights = effective_number_weights(counts, 0.9)
    expected = np.array([(1 - 0.9) / (1 - 0.9**n) for n in (1, 10, 100)])
    assert np.allclose(weights[:3], expected / expected.mean(), rtol=1e-6) and weights[3] == 0
    assert np.allclose(effective_number_weights(counts, 0.0)[:3], 1)
    inverse = effective_number_weights(counts, 1.0)
    assert np.allclose(inverse[0] / inverse[1], 10) and np.allclose(inverse[1] / inverse[2], 10)
    near = effective_number_weights(counts, 1 - 1e-9)
    assert np.allclose(near, inverse, rtol=1e-4)


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=30).filter(any), st.floats(0, 1))
@settings(max_examples=50)
def test_effective_numbers_fall_with_frequency(counts, beta):
    weights = effective_number_weights(counts, beta)
    seen = np.array(counts) > 0
    order = np.argsort(np.array(counts)[seen], kind="stable")
    assert np.isfinite(weights).all() and (np.diff(weights[seen][order]) <= 1e-6).all()


def test_logit_adjustment_is_the_shifted_cross_entropy():
    logits, labels = _case()
    counts = np.array([70, 20, 10, 0])
    config = ObjectiveConfig(logit_adjustment=1.0)
    shifted = logits + torch.from_numpy(log_priors(counts))
    assert torch.allclose(ClassificationLoss(config, counts)(logits, labels), functional.cross_entropy(shifted, labels))
    assert np.isclose(np.exp(log_priors(counts)[:3]).sum(), 1, atol=0.01)


def test_label_smoothing_and_weights_reach_torch():
    logits, labels = _case()
    counts = np.array([5, 1, 3, 9])
    config = ObjectiveConfig(label_smoothing=0.1, class_weights="inverse")
    weight = torch.from_numpy(effective_number_weights(counts, 1.0))
    expected = functional.cross_entropy(logits, labels, weight, label_smoothing=0.1)
    assert torch.allclose(ClassificationLoss(config, counts)(logits.bfloat16().float(), labels), expected, rtol=1e-2)
