"""Threads that share a predictor or a pipeline get their own answers."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import simxrd_hf
from simxrd_hf.identify import Predictor
from simxrd_hf.identify.model_folders import DEFAULT_MODEL
from simxrd_hf.indexing import SearchProcess

AXIS = 10 + 0.02 * np.arange(3501)


def some_pattern(seed):
    rng = np.random.default_rng(seed)
    centres, heights = rng.uniform(15, 75, 10), rng.uniform(10, 100, 10)
    return (1 + (heights[:, None] * np.exp(-0.5 * ((AXIS - centres[:, None]) / 0.08) ** 2)).sum(0)).astype(np.float32)


@pytest.mark.parametrize("kind", ["predictor", "pipeline"])
def test_four_threads_get_the_answers_of_one(kind):
    patterns = [some_pattern(seed) for seed in range(12)]
    if kind == "predictor":
        predictor = Predictor(DEFAULT_MODEL, weigh=SearchProcess())

        def ask(pattern):
            return predictor([pattern], top_k=3)[0]

    else:
        pipe = simxrd_hf.pipeline()

        def ask(pattern):
            return pipe(pattern, top_k=3)

    alone = [ask(pattern) for pattern in patterns]
    assert len({str(answer["space_group"]) for answer in alone}) == 12
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, patterns)) == alone
