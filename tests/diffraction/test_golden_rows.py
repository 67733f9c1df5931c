"""Rows of a declared physics version do not change: whoever changes them raises the version."""

import numpy as np
from make_golden_rows import FILE, golden_rows

from simxrd_hf.diffraction import PHYSICS_VERSION


def test_rows_are_those_of_the_declared_version():
    """Of a changed row the largest difference is said; noise and draws make most changes of code visible at once.

    1e-3 of the highest point (100) leaves room for another processor's logarithm, not for another formula; a count
    that falls on the other side of a half may differ by one, at a few points.
    """
    with np.load(FILE) as golden:
        assert int(golden["version"]) == PHYSICS_VERSION, "PHYSICS_VERSION was raised: run make_golden_rows.py"
        made = golden_rows()
        assert set(made) == set(golden.files) - {"version"}
        for name, rows in made.items():
            assert rows.shape == golden[name].shape, name
            different = np.abs(rows - golden[name]) > 1e-3 + 1e-5 * np.abs(golden[name])
            assert different.mean() < 1e-3, (
                f"{name}: {different.mean():.1%} of the values changed, by up to "
                f"{np.abs(rows - golden[name]).max():.3g}; if they should, raise PHYSICS_VERSION"
            )


def test_small_changes_of_the_physics_are_seen(monkeypatch):
    """The test above can fail: one wavelength changed in its fifth digit is enough."""
    from simxrd_hf.diffraction import PatternGrid, Simulator

    class Other(Simulator):
        def __init__(self, *args, grid=None, **more):
            grid = grid or PatternGrid()
            super().__init__(
                *args, grid=PatternGrid(**{**grid.to_dict(), "wavelength": grid.wavelength + 2e-5}), **more
            )

    monkeypatch.setattr("make_golden_rows.Simulator", Other)
    made = golden_rows()["simxrd-4m intensity"]
    with np.load(FILE) as golden:
        different = np.abs(made - golden["simxrd-4m intensity"]) > 1e-3 + 1e-5 * np.abs(golden["simxrd-4m intensity"])
        assert different.mean() > 0.01
