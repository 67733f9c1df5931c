"""The options of numba that make the kernels fast, one of which is not public."""

import numpy as np
from numba import njit

from simxrd_hf.diffraction import compilation, profiles


def test_numba_still_knows_the_option():
    """Without it all works, four times slower: take the fallback out of compilation.py and look for its successor."""
    assert compilation.kernel is not compilation.compiled

    @njit(_nrt=False)
    def last(values):
        part = values[2:]
        return part[len(part) - 1]

    assert last(np.arange(5.0)) == 4.0
    assert "NRT_incref" not in "".join(last.inspect_llvm().values())


def test_kernels_do_not_count_references():
    fresh = njit(profiles.add_tail.py_func, _nrt=False, error_model="numpy")
    grids = profiles.new_grids(*profiles.make_layout(100))
    profiles.clear(grids, 0)
    fresh(grids, 0, 10.0, 1.0, np.ones(3))
    assert "NRT_incref" not in "".join(fresh.inspect_llvm().values())
