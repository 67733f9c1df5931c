"""How the kernels are compiled: cached, without the global lock, and the innermost ones without reference counts."""

from typing import Any

from simxrd_hf.compiler import njit

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}

compiled = njit(**_OPTIONS)
"""Compile a function; division by zero gives inf or nan, as in numpy."""

# numba counts references with atomic instructions wherever an array is sliced or passed on: in functions that run for a
# few ten nanoseconds that took four fifths of the time. The option to leave it out is not public; without it all works,
# slower, and tests/diffraction/test_compilation.py fails.
try:
    kernel = njit(**_OPTIONS, _nrt=False)
    inlined = njit(**_OPTIONS, _nrt=False, forceinline=True)
except KeyError:
    kernel = compiled
    inlined = njit(**_OPTIONS, forceinline=True)

kernel.__doc__ = """Compile an innermost function: one that makes no array."""
inlined.__doc__ = """The same, put into its callers whole: to hand over the arrays of a few tuples takes 50 ns."""
