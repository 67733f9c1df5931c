import numpy as np
import pytest

from simxrd_hf.data.half import store_rows


def _store(values: np.ndarray) -> tuple[bool, np.ndarray]:
    patterns = np.ascontiguousarray(values, dtype=np.float32).reshape(1, -1)
    out = np.empty(patterns.shape, np.float16)
    return store_rows(patterns, np.zeros(1, np.int64), out), out[0]


def test_every_half_and_every_tie_rounds_as_numpy_does():
    halves = np.arange(0, 0x7BFF, dtype=np.uint16).view(np.float16).astype(np.float32)
    ties = ((halves[:-1].astype(np.float64) + halves[1:]) / 2).astype(np.float32)
    for values in (halves, ties, np.nextafter(ties, np.float32(0)), np.nextafter(ties, np.float32(1e9)), [-0.0, 0.0]):
        fine, stored = _store(values)
        assert fine and np.array_equal(stored, np.asarray(values, dtype=np.float32).astype(np.float16))


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, -1e-30, 65520.0, 1e30])
def test_what_no_pattern_can_hold_is_noticed(value):
    assert not _store([1.0, value])[0]


def test_rows_go_to_their_places():
    patterns = np.random.default_rng(0).uniform(0, 100, (3, 50)).astype(np.float32)
    for dtype in (np.float16, np.float32):
        out = np.zeros((5, 50), dtype)
        assert store_rows(patterns, np.array([4, 0, 2]), out)
        assert np.array_equal(out[[4, 0, 2]], patterns.astype(dtype)) and not out[[1, 3]].any()
