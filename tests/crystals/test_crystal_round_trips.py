"""Crystal -> another library's CIF -> our reader: the same group, atoms, shares, displacements and lines."""

import importlib.util

import pytest
from neighbourhood_cells import neighbourhood

from simxrd_hf.symmetry import BRAVAIS_OF

writers = neighbourhood("crystal_writers")
cells = neighbourhood("crystal_cells")

# The package "crystals" 1.7 finds no space group with the present spglib and so writes no CIF.
LIBRARIES = [name for name in writers.THROUGH if name != "crystals"]
MODULES = {"diffpy.structure": "diffpy", "Dans_Diffraction": "Dans_Diffraction"}
# Lines may differ by this much of 100: Dans_Diffraction writes few digits, rietx adds a displacement nobody stated.
TOLERANCE = {"Dans_Diffraction": 5.0, "rietx": 5.0}


def need(library):
    if importlib.util.find_spec(MODULES.get(library, library)) is None:
        pytest.skip(f"{library} is not installed")


@pytest.fixture(scope="module")
def rows():
    """One crystal of each of the 14 lattices that the packaged prototypes have."""
    found = {}
    for row in cells.one_of_each_group():
        if len(row["atomic_numbers"]) <= 16:
            found.setdefault(int(BRAVAIS_OF[row["space_group"] - 1]), row)
    assert len(found) >= 12
    return list(found.values())


@pytest.mark.parametrize("operation", writers.BY, ids=str)
def test_built_in_a_library_and_written_as_cif(operation, rows, tmp_path):
    library, write = writers.BY[operation]
    need(library)
    for row in rows:
        write(row, tmp_path / "a.cif")
        assert writers.difference(row, cells.read_back(tmp_path / "a.cif")) == "", row["crystal_id"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_read_and_written_again_by_a_library(library, rows, tmp_path):
    need(library)
    for row in rows:
        writers.by_pymatgen_symmetry(row, tmp_path / "a.cif")
        writers.THROUGH[library](tmp_path / "a.cif", tmp_path / "b.cif")
        back = cells.read_back(tmp_path / "b.cif")
        assert writers.difference(row, back, TOLERANCE.get(library, 1.0)) == "", row["crystal_id"]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("number", [0, 1], ids=["mixed site", "vacancies"])
def test_disorder_survives_a_library(library, number, tmp_path):
    need(library)
    row = cells.disordered()[number]
    (tmp_path / "a.cif").write_text(writers.plain_cif(row))
    assert writers.difference(row, cells.read_back(tmp_path / "a.cif")) == ""
    writers.THROUGH[library](tmp_path / "a.cif", tmp_path / "b.cif")
    assert writers.difference(row, cells.read_back(tmp_path / "b.cif"), TOLERANCE.get(library, 1.0)) == ""


@pytest.mark.parametrize("library", ["gemmi", "diffpy.structure", "Dans_Diffraction", "xrayutilities", "rietx"])
def test_displacements_survive_the_libraries_that_write_them(library, tmp_path):
    need(library)
    row = cells.disordered()[2]
    (tmp_path / "a.cif").write_text(writers.plain_cif(row))
    writers.THROUGH[library](tmp_path / "a.cif", tmp_path / "b.cif")
    back = cells.read_back(tmp_path / "b.cif")
    kept = dict(zip(back["atomic_numbers"], back["b_iso"], strict=True))
    assert kept == pytest.approx(dict(zip(row["atomic_numbers"], row["b_iso"], strict=True)), abs=0.02)


def test_a_changed_crystal_is_told_apart(rows):
    """The comparison itself: another group, another share, another place."""
    row = next(row for row in rows if len(row["atomic_numbers"]) > 1)
    assert "group" in writers.difference(row, {**row, "space_group": 1})
    assert "atoms" in writers.difference(row, {**row, "occupancies": [0.9] * len(row["atomic_numbers"])})
    mixed = cells.disordered()[0]
    moved = {**mixed, "lattice": [1.01 * x for x in mixed["lattice"]]}
    assert "lines" in writers.difference(mixed, moved)


def testthrough_ase_database_andthrough_pymatgen_json(rows, tmp_path):
    assert "kept" in cells.through_ase_database(rows, tmp_path / "a.db")
    assert "kept" in cells.through_pymatgen_json(rows, tmp_path / "a.json")
