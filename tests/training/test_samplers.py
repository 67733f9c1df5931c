"""The order of rows: complete, reproducible from any position, shared exactly between processes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simxrd_hf.errors import BadInput
from simxrd_hf.training.samplers import SampleOrder, StepBatches, balanced_weights, even_choice, part_of


@given(st.integers(1, 60), st.integers(0, 2**63), st.integers(0, 5))
@settings(max_examples=40)
def test_an_epoch_is_a_permutation(n, seed, epoch):
    order = SampleOrder(n, seed)
    assert sorted(order.epoch(epoch)) == list(range(n))


def test_any_stretch_equals_the_whole():
    order = SampleOrder(37, 5)
    epochs, rows = order.rows(0, 200)
    for start, stop in [(0, 5), (36, 38), (74, 150), (199, 200)]:
        e, r = SampleOrder(37, 5).rows(start, stop)
        assert (e == epochs[start:stop]).all() and (r == rows[start:stop]).all()
    assert len({tuple(SampleOrder(37, s).epoch(0)) for s in range(20)}) == 20
    assert len({tuple(order.epoch(e)) for e in range(20)}) == 20


@given(st.integers(1, 50), st.sampled_from([(1, 1), (2, 1), (1, 3), (2, 2), (4, 3)]), st.integers(0, 7))
@settings(max_examples=40)
def test_processes_share_a_step_exactly(n, shape, start):
    world, accumulation = shape
    batch = world * accumulation * 2
    order = SampleOrder(n, 1)
    parts = [list(StepBatches(order, batch, accumulation, r, world, start, start + 3)) for r in range(world)]
    assert all(len(p) == 3 * accumulation and all(len(b) == 2 for b in p) for p in parts)
    for step in range(3):
        mine = [pair for p in parts for b in p[step * accumulation : (step + 1) * accumulation] for pair in b]
        draws, rows = order.rows((start + step) * batch, (start + step + 1) * batch)
        assert mine == list(zip(draws.tolist(), rows.tolist(), strict=True))


def test_uneven_batch_is_refused():
    with pytest.raises(BadInput, match="use a multiple of 6"):
        StepBatches(SampleOrder(10, 0), 32, 3, 0, 2, 0, 1)


def test_balanced_draws_have_the_stated_frequencies():
    labels = np.repeat([0, 1, 2], [900, 90, 10])
    for power, expected in [(0.0, [1 / 3] * 3), (1.0, [0.9, 0.09, 0.01]), (0.5, np.sqrt([900, 90, 10]))]:
        order = SampleOrder(1000, 3, balanced_weights(labels, power))
        drawn = np.bincount(labels[order.rows(0, 60_000)[1]], minlength=3) / 60_000
        assert np.allclose(drawn, np.array(expected) / np.sum(expected), atol=0.01)
    draws, rows = order.rows(0, 3000)
    assert len(set(zip(draws, rows, strict=True))) == 3000  # repeated rows are told apart


@given(st.integers(1, 200), st.integers(1, 20), st.integers(1, 6))
def test_parts_cover_every_row_once(n, batch, world):
    parts = [part_of(n, batch, rank, world) for rank in range(world)]
    assert len({len(p) for p in parts}) == 1  # the same number of forward passes everywhere
    rows = np.concatenate([b for p in parts for b in p])
    assert sorted(rows[rows >= 0]) == list(range(n))


@given(st.integers(1, 100), st.none() | st.integers(1, 120))
def test_even_choice(n, limit):
    chosen = even_choice(n, limit)
    assert len(chosen) == min(n, limit or n) == len(set(chosen)) and chosen.min() >= 0 and chosen.max() < n
