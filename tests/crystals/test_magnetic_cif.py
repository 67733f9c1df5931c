"""Magnetic CIFs give the crystal of their nuclei; what is described in superspace alone is refused."""

import zipfile

import pytest
from test_cif import cif, read, row

from simxrd_hf.cli import main
from simxrd_hf.crystals.structure_files import cif_files, zip_members
from simxrd_hf.crystals.table import Rejected

# Pn'ma' of a perovskite, P 4/m m m with antitranslations of a CsCl type along c, F m -3 m in cells 2a x 2a x 2a.
PEROVSKITE = """x,y,z,+1
-x,y+1/2,-z,+1
-x,-y,-z,+1
x,-y+1/2,z,+1
x+1/2,-y+1/2,-z+1/2,-1
-x+1/2,-y,z+1/2,-1
-x+1/2,y+1/2,z+1/2,-1
x+1/2,y,-z+1/2,-1"""
LAMNO3 = "La1 La 0.549 0.25 0.010\nMn1 Mn 0 0 0\nO1 O -0.014 0.25 -0.070\nO2 O 0.309 0.039 0.224"
TETRAGONAL = "\n".join(f"{t},{s}" for t, s in (("x,y,z", "+1"), ("-y,x,z", "-1"), ("-x,-y,-z", "+1"), ("y,x,-z", "-1")))
CSCL, DOUBLED = "Fe1 Fe 0 0 0\nRh1 Rh 0.5 0.5 0.25", (2.99, 2.99, 5.98, 90, 90, 90)
SPELLINGS = (
    "_space_group_symop_magn_{}.xyz",  # magCIF
    "_space_group_symop_magn_{}_xyz",
    "_space_group_symop.magn_{}_xyz",  # its drafts
)


def loop(spelling, kind, triplets, extra=""):
    """Operators or centrings of a magnetic CIF, numbered."""
    name = spelling.format(kind)
    head = f"loop_\n{name.replace('xyz', 'id')}\n{name}"
    head += f"\n{name.replace('xyz', 'mxmymz')}" if extra else ""
    return "\n".join([head, *(f"{i} {t} {extra}".rstrip() for i, t in enumerate(triplets.splitlines(), 1))])


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("extra", ["", "mx,my,mz"])
def test_operators(spelling, extra, tmp_path):
    text = cif(loop(spelling, "operation", PEROVSKITE, extra), (5.736, 7.703, 5.540, 90, 90, 90), LAMNO3, "La Mn O3")
    _, notes = read(text)
    found = row(tmp_path, text)
    assert (found["space_group"], len(found["atomic_numbers"]), notes) == (62, 20, "")


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_centring(spelling, tmp_path):
    """Half of the doubled cell, in which the moments alone differ."""
    symmetry = "\n".join(
        [loop(spelling, "operation", TETRAGONAL), loop(spelling, "centering", "x,y,z,+1\nx,y,z+1/2,-1")]
    )
    found = row(tmp_path, cif(symmetry, DOUBLED, CSCL, "Fe Rh"))
    assert (found["space_group"], len(found["atomic_numbers"])) == (221, 2)


def test_primed_and_unprimed_are_one(tmp_path):
    grey = "\n".join([PEROVSKITE, PEROVSKITE.replace("+1\n", "0\n").replace("-1\n", "+1\n").replace("0\n", "-1\n")])
    text = cif(loop(SPELLINGS[0], "operation", grey), (5.736, 7.703, 5.540, 90, 90, 90), LAMNO3)
    assert len(row(tmp_path, text)["atomic_numbers"]) == 20


def test_the_symbol_beside_them_may_be_that_of_another_cell(tmp_path):
    symmetry = "_symmetry_space_group_name_H-M 'I -4 2 m'\n_symmetry_Int_Tables_number 121\n"
    symmetry += loop(SPELLINGS[0], "operation", TETRAGONAL)
    symmetry += "\n" + loop(SPELLINGS[0], "centering", "x,y,z,+1\nx,y,z+1/2,-1")
    found = row(tmp_path, cif(symmetry, DOUBLED, CSCL, "Fe Rh"))
    assert (found["space_group"], len(found["atomic_numbers"])) == (221, 2)


def test_ordinary_operators_come_first():
    symmetry = "loop_\n_space_group_symop_operation_xyz\nx,y,z\n" + loop(SPELLINGS[0], "operation", PEROVSKITE)
    found, _ = read(cif(symmetry, (5.736, 7.703, 5.540, 90, 90, 90), "Mn1 Mn 0.1 0.2 0.3"))
    assert len(found.atomic_numbers) == 1


def test_an_operator_that_cannot_be_read():
    found, _ = read(cif(loop(SPELLINGS[0], "operation", "x,y,z,+1\nx,y,w,+1"), DOUBLED, CSCL))
    assert isinstance(found, Rejected) and "'x,y,w' cannot be read" in found.reason


SUPERSPACE = {
    "operators": "loop_\n_space_group_symop_ssg_id\n_space_group_symop_ssg_operation_algebraic\n1 x1,x2,x3,x4",
    "dotted": "loop_\n_space_group_symop.ssg_operation_algebraic\nx1,x2,x3,x4",
    "magnetic": "loop_\n_space_group_symop_magn_ssg_operation.id\n_space_group_symop_magn_ssg_operation.algebraic\n"
    "1 x1,x2,x3,x4,+1",
    "older": "loop_\n_symmetry_ssg_equiv_pos_seq_id\n_symmetry_ssg_equiv_pos_as_xyz\n1 'x1,x2,x3,x4'",
    "name": "_space_group_ssg_name 'C2/m(\\a0\\g)0s'",
    "older name": "_symmetry_ssg_name_IT 'Cmc21(\\a00)0s'",
    "magnetic name": "_space_group_magn.ssg_name 'P2_1(0,0,g)0'",
    "dimension": "_cell_modulation_dimension 1\n_symmetry_space_group_name_H-M 'P 4/m m m'",
}


@pytest.mark.parametrize("kind", SUPERSPACE)
def test_modulated_structures_are_refused_by_name(kind):
    found, _ = read(cif(SUPERSPACE[kind], DOUBLED, CSCL, "Fe Rh"))
    assert isinstance(found, Rejected)
    assert "superspace" in found.reason and "modulated structures are not read" in found.reason


@pytest.mark.parametrize("dimension", ["0", "?", "."])
def test_a_dimension_of_none_is_no_modulation(dimension, tmp_path):
    text = cif(f"_cell_modulation_dimension {dimension}\n_symmetry_space_group_name_H-M 'P 4/m m m'", DOUBLED, CSCL)
    assert row(tmp_path, text)["space_group"] == 123


def test_the_average_structure_of_a_modulated_one(tmp_path):
    symmetry = "_cell_modulation_dimension 1\n_space_group_ssg_name 'P4/mmm(00\\g)'\n"
    text = cif(f"{symmetry}loop_\n_space_group_symop_operation_xyz\nx,y,z\n-x,-y,-z", DOUBLED, CSCL)
    assert not isinstance(read(text)[0], Rejected)


def test_files_are_found_by_their_suffix(tmp_path, capsys):
    text = cif(loop(SPELLINGS[0], "operation", PEROVSKITE), (5.736, 7.703, 5.540, 90, 90, 90), LAMNO3)
    folder = tmp_path / "found"
    folder.mkdir()
    (folder / "LaMnO3.MCIF").write_text(text)
    assert [name for _, name in cif_files(folder)] == ["LaMnO3"]
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a/LaMnO3.mcif", text)
    assert zip_members(tmp_path / "x.zip") == [("a/LaMnO3.mcif", "LaMnO3")]
    assert main(["crystals", str(folder), "-o", str(tmp_path / "x.parquet")]) == 0
    assert "1" in capsys.readouterr().out
