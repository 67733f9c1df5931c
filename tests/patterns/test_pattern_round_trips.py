"""Pattern -> another library's file -> our reader (same axis and counts), and our .xy into other libraries' readers."""

import importlib.util

import numpy as np
import pytest
from neighbourhood_cells import neighbourhood

cells = neighbourhood("pattern_cells")

MODULES = {"dara-xrd": "dara", "diffpy.utils": "diffpy.utils"}
# What others write without a word on the axis, or on an axis that is no angle, d or q, is asked for or refused.
ASKED = ("error model", "2th_rad", "r_mm", "d*2", "save_integrate_result", "docstring")
ASKED += ("save_xrdml", "save_NX", "dump, q", "dump, d")
READ = [entry for entry in cells.TO_US if not any(word in entry[1] for word in ASKED)]


def need(library):
    try:
        found = importlib.util.find_spec(MODULES.get(library, library))
    except ModuleNotFoundError:
        found = None
    if found is None:
        pytest.skip(f"{library} is not installed")


@pytest.mark.parametrize(("library", "how", "name", "write"), READ, ids=[f"{entry[0]}: {entry[1]}" for entry in READ])
def test_written_by_a_library(library, how, name, write, tmp_path):
    need(library)
    assert "kept" in cells.to_us(write, tmp_path / name)


@pytest.mark.parametrize("library", cells.FROM_US)
def test_our_xy_in_other_readers(library, tmp_path):
    need(library)
    right = cells.our_xy(tmp_path / "ours.xy")
    assert len(right[0]) == 3501
    assert cells.compare(cells.FROM_US[library](tmp_path / "ours.xy"), right) == ""


def test_a_changed_pattern_is_told_apart():
    x, y = cells.pattern()
    assert "points" in cells.compare((x[1:], y[1:]), (x, y))
    assert "angles" in cells.compare((x + 0.01, y), (x, y))
    assert "intensities" in cells.compare((x, np.where(y == y.max(), 0, y)), (x, y))
