"""Real CIFs whose operators repeat, whose atoms stand beside their special position, whose angles or addresses lack."""

import numpy as np
import pytest
from test_cif import CUBIC, cif, read

from simxrd_hf.crystals.table import Rejected

C2C = ["x,y,z", "-x,y,1/2-z", "-x,-y,-z", "x,-y,1/2+z"]
RHODIUM = (20.6, 18.78, 9.1, 90, 101, 90)
PRIMITIVE = "_symmetry_space_group_name_H-M 'P 1'"
FLAT = (3.96, 3.96, 13, 90, 90, 90)
CELL = (10, 11, 12, 90, 100, 90)


def operators(triplets, says="_symmetry_space_group_name_H-M 'C 1 2/c 1'\n_symmetry_Int_Tables_number 15"):
    return "\n".join([says, "loop_", "_symmetry_equiv_pos_as_xyz", *(f"'{one}'" for one in triplets)])


@pytest.mark.parametrize("times", [1, 2, 3])
def test_operators_that_repeat_are_still_a_group(times):
    """A list that lost its centring (COD 7008984) is that of P 2/c, however often each operator stands in it."""
    found, _ = read(cif(operators(C2C * times), CELL, "Na1 Na 0.1 0.2 0.3"))
    assert isinstance(found, Rejected)
    assert "are those of space group 13, the file says 'C 1 2/c 1'; correct one" in found.reason


@pytest.mark.parametrize("times", [1, 2])
def test_z_decides_between_operators_and_symbol(times):
    atoms = "Na1 Na 0.1 0.2 0.3\nCl1 Cl 0.3 0.2 0.1\nCl2 Cl 0.35 0.4 0.15"
    found, notes = read(cif(operators(C2C * times), CELL, atoms, "Na Cl1.75", 8))
    assert (
        len(found.atomic_numbers) == 24 and "'C 1 2/c 1' makes Na1 Cl1.75 with Z = 8 as declared and is taken" in notes
    )
    found, notes = read(cif(operators(C2C * times), CELL, atoms, "Na Cl1.75", 4))
    assert len(found.atomic_numbers) == 12 and "the operators are taken" in notes


def test_repeated_operators_change_nothing_else():
    once, _ = read(cif(operators(C2C, "_symmetry_Int_Tables_number 13"), CELL, "Na1 Na 0.1 0.2 0.3"))
    twice, notes = read(cif(operators(C2C * 2, "_symmetry_Int_Tables_number 13"), CELL, "Na1 Na 0.1 0.2 0.3"))
    np.testing.assert_array_equal(once.frac_coords, twice.frac_coords)
    assert not notes


def test_operators_that_are_no_group_are_told():
    some = ["x,y,z", "-x,-y,-z", "x+1/2,y,z", "x,y+1/2,z"]
    found, _ = read(cif(operators(some), CELL, "Na1 Na 0.1 0.2 0.3"))
    assert isinstance(found, Rejected) and "make no space group, the file says 'C 1 2/c 1'; correct one" in found.reason


# COD 1516136: hydrogen riding on a mirror, an axis of 18.78 Å; the file's own multiplicities are those of the mirror
ON_A_MIRROR = "H7C H 0.3924 0.4991 0.8979\nRh1 Rh 0.1 0 0.2"
BESIDE = cif("_symmetry_space_group_name_H-M 'C 1 2/m 1'", RHODIUM, ON_A_MIRROR)


def test_a_whole_atom_beside_its_mirror_is_put_on_it():
    found, notes = read(BESIDE)
    assert (found.atomic_numbers == 1).sum() == 4
    assert set(np.round(found.frac_coords[found.atomic_numbers == 1][:, 1], 6)) == {0.0, 0.5}
    assert "put on the special position less than 0.1 Å away: H7C" in notes


def test_halves_of_an_atom_beside_a_mirror_stay_where_they_are():
    text = BESIDE.replace("_atom_site_fract_z", "_atom_site_fract_z\n_atom_site_occupancy")
    text = text.replace("0.8979", "0.8979 0.5").replace("0 0.2", "0 0.2 1")
    found, notes = read(text)
    assert (found.atomic_numbers == 1).sum() == 8 and "special position" not in notes


def test_atoms_nearer_than_any_are_told():
    found, notes = read(cif(PRIMITIVE, FLAT, "As1 As 0 0 0.4\nAs2 As 0 0 0.422"))
    assert len(found.atomic_numbers) == 2 and "As1 and As2 are 0.29 Å apart, nearer than any two atoms" in notes
    _, notes = read(cif(PRIMITIVE, FLAT, "H1 H 0 0 0.4\nH2 H 0 0 0.457"))
    assert "apart" not in notes  # H2


def test_fractions_under_the_names_of_cartesian_coordinates():
    text = cif("_symmetry_space_group_name_H-M 'P 1'", CUBIC, "Fe1 Fe 1.0 0.5 0.25\nAs1 As 0.5 0 0.75")
    found, _ = read(text.replace("fract_", "Cartn_"))
    assert (
        isinstance(found, Rejected)
        and "if these are fractions of the cell, call them _atom_site_fract_" in found.reason
    )
    found, _ = read(text.replace("fract_", "Cartn_").replace("1.0 0.5 0.25", "1.0 0.5 4.25"))
    assert len(found.atomic_numbers) == 2


def test_angles_not_given_are_right_angles():
    """By the core dictionary; "?" says that somebody did not know."""
    text = cif("_symmetry_space_group_name_H-M 'P m -3 m'", CUBIC, "Cs1 Cs 0 0 0\nCl1 Cl 0.5 0.5 0.5")
    found, notes = read(text.replace("_cell_angle_gamma 90\n", ""))
    assert np.linalg.det(found.lattice) == pytest.approx(CUBIC[0] ** 3) and "_cell_angle_gamma not given: 90°" in notes
    found, _ = read(text.replace("_cell_angle_gamma 90", "_cell_angle_gamma ?"))
    assert isinstance(found, Rejected) and "_cell_angle_gamma missing or not a number" in found.reason


def test_an_author_without_an_address_costs_no_structure():
    text = cif("_symmetry_space_group_name_H-M 'P m -3 m'", CUBIC, "Cs1 Cs 0 0 0\nCl1 Cl 0.5 0.5 0.5")
    authors = (
        "loop_\n _publ_author_name\n _publ_author_address\n'AUTHOR A'\n'AUTHOR B'\n;\nInstitute\nloop_ of the city\n;\n"
    )
    found, notes = read(text.replace("data_x\n", f"data_x\n{authors}"))
    assert found.atomic_numbers.tolist() == [55, 17] and not notes


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text.replace("data_x\n", ""), "no data_ line; put one, data_name, above the first item"),
        (lambda text: text.replace("Cs1 Cs", "Lv0 Lv"), "site 'Lv0' is Lv, for which there are no scattering factors"),
    ],
)
def test_reasons_name_the_remedy(change, reason):
    found, _ = read(change(cif("_symmetry_space_group_name_H-M 'P m -3 m'", CUBIC, "Cs1 Cs 0 0 0\nCl1 Cl 0.5 0.5 0.5")))
    assert isinstance(found, Rejected) and reason in found.reason
