"""Combinations with given weights that the tests of evidence, predictor and command line share."""

import numpy as np

from simxrd_hf.evidence import Combination
from simxrd_hf.evidence.findings import N_FEATURES

CONFORMAL = {"method": "lac", "coverage": 0.9, "threshold": 0.5, "n": 10}


def combination(scale=1.0, hidden=3, conformal=None, about=None, **linear) -> Combination:
    """Zero weights but for `linear`: column of the features, written as x7=5.0 → weight."""
    weight = np.zeros(N_FEATURES)
    for name, value in linear.items():
        weight[int(name[1:])] = value
    shapes = ((hidden, N_FEATURES), hidden, (hidden, hidden), hidden, hidden)
    return Combination(
        scale, np.zeros(230), weight, *(np.zeros(shape) for shape in shapes), conformal=conformal, about=about
    )


def random_combination(seed=0, hidden=4, **more) -> Combination:
    """Random weights of moderate size."""
    rng = np.random.default_rng(seed)
    shapes = (230, N_FEATURES, (hidden, N_FEATURES), hidden, (hidden, hidden), hidden, hidden)
    return Combination(0.8, *(rng.normal(0, 0.5, shape) for shape in shapes), **more)
