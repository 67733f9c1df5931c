"""Atoms, amounts and volumes of real CIFs: what is mended, what is noted, what is refused."""

import numpy as np
import pytest
from crystal_files import rock_salt
from test_cif import CUBIC, PAIR, cif, read, row

from simxrd_hf.crystals.table import Rejected

LATTICE = "\n".join(f"_cell_length_{axis} 3.363" for axis in "abc")
LATTICE += "\n" + "\n".join(f"_cell_angle_{angle} 90" for angle in ("alpha", "beta", "gamma"))
PAULING = f"""data_published_cell
{LATTICE}
_symmetry_space_group_name_H-M 'Im-3m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Nb,Zr 'TYPE' 0 0 0 1
"""
REDUCED = PAULING.replace("published", "niggli_reduced").replace("Nb,Zr 'TYPE' 0 0 0 1", "? ? ? ? ? ?")


@pytest.mark.parametrize(
    ("kind", "shares"),
    [
        ("0.8Nb + 0.2Zr", {41: 0.8, 40: 0.2}),
        ("0.648(4)Mn + 0.352(4)Fe", {25: 0.648, 26: 0.352}),
        ("0.5Nb5+ + 0.3Zr4+ + 0.2Ti", {41: 0.5, 40: 0.3, 22: 0.2}),
        ("0.8Nb+0.2Zr", {41: 0.8, 40: 0.2}),
    ],
)
def test_shares_of_a_mixed_site(kind, shares):
    found, _ = read(PAULING.replace("TYPE", kind))
    made = {int(z): float(o) for z, o in zip(found.atomic_numbers, found.occupancies, strict=True)}
    assert made == pytest.approx(shares)
    assert len(found.atomic_numbers) == 2 * len(shares)


def test_shares_times_the_occupancy_of_the_site():
    found, _ = read(PAULING.replace("TYPE", "0.8Nb + 0.2Zr").replace(" 0 1\n", " 0 0.5\n"))
    assert sorted(set(np.round(found.occupancies, 6))) == [0.1, 0.4]
    unclear, _ = read(PAULING.replace("TYPE", "0.4Nb + 0.1Zr").replace(" 0 1\n", " 0 0.5\n"))
    assert isinstance(unclear, Rejected)
    assert "give each element its own row" in unclear.reason


@pytest.mark.parametrize("kind", ["Nb + Zr", "0.8Nb + 0.2Xx", "0.8Nb", "0.5OH + 0.5F"])
def test_types_of_unknown_shares_are_refused(kind):
    found, _ = read(PAULING.replace("TYPE", kind))
    assert isinstance(found, Rejected)
    assert found.reason.startswith("unknown element")


def test_a_block_whose_only_row_is_unknown_has_no_atoms():
    found, _ = read(PAULING.replace("TYPE", "Nb") + REDUCED)
    assert found.crystal_id == "x"
    assert list(found.atomic_numbers) == [41, 41]
    alone, _ = read(REDUCED)
    assert alone.reason == "no atom sites: their coordinates are unknown"


def test_atoms_listed_twice_are_counted_once():
    """A whole molecule on a centre, listed beside the operators that complete it: half of its atoms are doubles."""
    symmetry = "_symmetry_space_group_name_H-M 'P -1'\nloop_\n_symmetry_equiv_pos_as_xyz\nx,y,z\n-x,-y,-z"
    half = "Mn1 Mn .1 .2 .3\nMn2 Mn -.1 -.2 -.3\nS1 S .3 .1 .4\nS2 S -.3 -.1 -.4\nO1 O .15 .45 .2"
    found, notes = read(cif(symmetry, (7, 8, 9, 80, 95, 100), half, "Mn2 O2 S2", 1))
    assert sorted(found.atomic_numbers) == [8, 8, 16, 16, 25, 25]
    assert notes == "x.cif: atoms listed twice are taken once: Mn2, S2"


UNSAID = {
    "number": "_symmetry_Int_Tables_number 0",
    "magnetic number": "_space_group_magn.number_BNS 62.448",
    "parent": "_parent_space_group.name_H-M_alt 'F m -3 m'",
    "system": "_space_group_crystal_system cubic",
    "older system": "_symmetry_cell_setting cubic",
    "origin": "_space_group_IT_coordinate_system_code 2",
    "Patterson": "_space_group_Patterson_name_H-M 'P m -3 m'",
}


@pytest.mark.parametrize("kind", UNSAID)
def test_what_is_said_of_symmetry_and_cannot_be_used_is_no_p1(kind):
    found, _ = read(cif(UNSAID[kind], CUBIC, PAIR))
    assert isinstance(found, Rejected)
    assert found.reason.startswith("no symmetry: _")
    assert repr(UNSAID[kind].partition(" ")[2].strip("'")) in found.reason
    assert "'P 1' where the atoms listed are all" in found.reason


def test_nothing_said_is_p1_unless_atoms_are_missing():
    small, large = (4, 4, 4, 90, 90, 90), (10, 10, 10, 90, 90, 90)
    for said in (
        "",
        "_symmetry_cell_setting triclinic",
        "_symmetry_space_group_name_H-M ?",
        "_symmetry_Int_Tables_number .",
    ):
        found, notes = read(cif(said, small, PAIR))
        assert len(found.atomic_numbers) == 2
        assert "taken as P 1" in notes
    found, _ = read(cif("", large, PAIR, "Na Cl"))
    assert "500 Å³ for each atom" in found.reason
    assert len(read(cif("_symmetry_space_group_name_H-M 'P 1'", large, PAIR))[0].atomic_numbers) == 2
    assert len(read(cif("", large, PAIR, "Na Cl", 1))[0].atomic_numbers) == 2


@pytest.mark.parametrize(
    ("formula", "extra", "of"),
    [("C2 O4 H3", "", "the formula"), ("C2 O4 D3", "", "the formula"), ("C2 O4", "3", "C1"), ("C2 O4", "0", "")],
)
def test_hydrogen_without_a_site_is_noted(formula, extra, of):
    atoms = f"C1 C .1 .2 .3 {extra}\nO1 O .4 .1 .3 {'0' if extra else ''}\nO2 O .1 .5 .8 {'.' if extra else ''}"
    text = cif("_symmetry_space_group_name_H-M 'P -1'", (5, 6, 7, 80, 95, 100), atoms, formula)
    if extra:
        text = text.replace("_atom_site_fract_z\n", "_atom_site_fract_z\n_atom_site_attached_hydrogens\n")
    _, notes = read(text)
    assert notes == (f"x.cif: the hydrogen of {of} is left out: it has no site of its own" if of else "")
    with_site, notes = read(f"{text}D1 D .3 .2 .8 {extra}\n")
    assert 1 in with_site.atomic_numbers
    assert "left out" not in notes


def test_a_refined_occupancy_a_little_above_1():
    found, notes = read(rock_salt(occupancy="1.030(3)"))
    assert found.occupancies is None
    assert "occupancies taken as 1" in notes and "has 1.03" in notes
    assert "occupancy above 1" in read(rock_salt(occupancy="1.06"))[0].reason
    shared = rock_salt(occupancy="0.52") + "K1 K 0 0 0 0.52 0.02\n"
    assert "sum up to 1.04" in read(shared)[0].reason


@pytest.mark.parametrize(("volume", "taken"), [(8 * 179.406, True), (18 * 179.3, True), (7.6 * 179.406, False)])
def test_the_volume_of_a_box_of_cells(volume, taken):
    found, notes = read(rock_salt().replace("data_salt", f"data_salt\n_cell_volume {volume:.2f}"))
    assert isinstance(found, Rejected) != taken
    assert ("the cell has 179.4 Å³, declared is" in notes) == taken


def test_a_broken_loop_is_named_as_the_parser_of_cif_names_it():
    broken = rock_salt() + "loop_\n_atom_site_aniso_label\n_atom_site_aniso_U_11\n_atom_site_aniso_U_22\nNa 0.01\n"
    found, notes = read(broken)
    assert found.reason.startswith("broken CIF: Wrong number of values in loop _atom_site_aniso_")
    assert "of the block" in found.reason
    loose = rock_salt().replace("data_salt", "data_salt\n_audit_creation_method  Acta Cryst Phys. Rev.")
    _, notes = read(loose)
    assert notes.startswith("x.cif: not by the rules of CIF (line 2")
    assert notes.endswith("what could be read was taken")


def test_the_row_of_a_mixed_site(tmp_path):
    found = row(tmp_path, PAULING.replace("TYPE", "0.8Nb + 0.2Zr"))
    assert (found["space_group"], found["reduced_formula"]) == (229, "Nb4Zr")
