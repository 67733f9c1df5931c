"""Pattern -> another library's file -> our reader (same axis and counts), and our .xy into other libraries' readers."""

import importlib.util

import numpy as np
import pattern_files
import pytest
from neighbourhood_cells import neighbourhood

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns import read_pattern

cells = neighbourhood("pattern_cells")

MODULES = {"dara-xrd": "dara", "diffpy.utils": "diffpy.utils"}
# Files that do not say which axis they hold, or hold one that is no angle, d or q: our reader asks.
ASKED_WORDS = ("error model", "r_mm", "d*2", "dump")
# What the library itself cannot write.
FAILING = ("save_integrate_result", "docstring")
ASKED = [entry for entry in cells.TO_US if any(word in entry[1] for word in ASKED_WORDS)]
READ = [entry for entry in cells.TO_US if not any(word in entry[1] for word in ASKED_WORDS + FAILING)]


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


@pytest.mark.parametrize(("library", "how", "name", "write"), ASKED, ids=[f"{entry[0]}: {entry[1]}" for entry in ASKED])
def test_an_axis_that_is_not_said_is_asked_for(library, how, name, write, tmp_path):
    need(library)
    right = write(tmp_path / name)
    with pytest.raises(BadInput, match="axis"):
        read_pattern(tmp_path / name)
    if how.endswith("tth"):
        found = read_pattern(tmp_path / name, axis="two_theta")
        assert cells.compare((found.two_theta, found.intensity), right) == ""


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    path = tmp_path_factory.mktemp("ours") / "ours.xy"
    return path, cells.our_xy(path)


@pytest.mark.parametrize("library", cells.FROM_US)
def test_our_xy_in_other_readers(library, ours):
    need(library)
    path, right = ours
    assert len(right[0]) == 3501
    assert cells.compare(cells.FROM_US[library](path), right) == ""


def test_a_changed_pattern_is_told_apart():
    x, y = cells.pattern()
    assert "points" in cells.compare((x[1:], y[1:]), (x, y))
    assert "angles" in cells.compare((x + 0.01, y), (x, y))
    assert "intensities" in cells.compare((x, np.where(y == y.max(), 0, y)), (x, y))


def test_xrdml_with_the_axis_as_pyfai_spells_it(tmp_path):
    x, y = pattern_files.profile()
    text = pattern_files.xrdml(x, y)
    assert b'axis="2Theta"' in text
    (tmp_path / "a.xrdml").write_bytes(text.replace(b'axis="2Theta"', b'axis="2\\theta"'))
    found = read_pattern(tmp_path / "a.xrdml")
    assert cells.compare((found.two_theta, found.intensity), (x, y)) == ""
    (tmp_path / "b.xrdml").write_bytes(text.replace(b'axis="2Theta"', b'axis="Omega"'))
    with pytest.raises(BadInput, match="2θ"):
        read_pattern(tmp_path / "b.xrdml")
