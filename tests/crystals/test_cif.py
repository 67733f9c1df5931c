"""What a CIF says of its symmetry, elements and amounts is what is read; checked against pymatgen and spglib."""

import re
import warnings

import gemmi
import numpy as np
import pytest
import spglib
from crystal_files import rock_salt
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter

from simxrd_hf.cli import main
from simxrd_hf.crystals import read_crystals
from simxrd_hf.crystals.cif import element_of, structures_in_cif
from simxrd_hf.crystals.cif_symmetry import symmetry_of
from simxrd_hf.crystals.table import Rejected
from simxrd_hf.errors import DoubtfulInput


def cif(symmetry, cell, atoms, formula="", z=None):
    """A CIF: lines of symmetry, the cell's six numbers, "label type x y z" rows."""
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lines = ["data_x", *(f"_cell_{name} {value}" for name, value in zip(names, cell, strict=True))]
    lines += [f"_chemical_formula_sum '{formula}'"] if formula else []
    lines += [f"_cell_formula_units_Z {z}"] if z else []
    head = ["label", "type_symbol", "fract_x", "fract_y", "fract_z"]
    return "\n".join([*lines, symmetry, "loop_", *(f"_atom_site_{name}" for name in head), atoms, ""])


def read(text):
    """The one structure of a text, and the notes on it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (found,) = structures_in_cif(text, "x.cif", "x")
    return found, " / ".join(str(one.message) for one in caught if issubclass(one.category, UserWarning))


def row(tmp_path, text):
    (tmp_path / "x.cif").write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (found,) = read_crystals(tmp_path / "x.cif").table.to_pylist()
    return found


def as_sets(rotations, translations):
    return {
        (tuple(np.rint(r).astype(int).ravel()), tuple(np.rint(24 * np.asarray(t)).astype(int) % 24))
        for r, t in zip(rotations, translations, strict=True)
    }


def test_every_setting_of_the_tables():
    """Symbol and Hall symbol of all tabulated settings give the operators of spglib's own tables."""
    database = {}
    for index in range(1, 531):
        database[spglib.get_spacegroup_type(index).hall_symbol] = spglib.get_symmetry_from_database(index)
    tried = 0
    for group in gemmi.spacegroup_table():
        if group.hall not in database:
            continue
        truth = as_sets(database[group.hall]["rotations"], database[group.hall]["translations"])
        rotations = np.array(database[group.hall]["rotations"], dtype=float)
        metric = np.mean([r.T @ np.array([[25, 1, 2], [1, 36, 3], [2, 3, 49]]) @ r for r in rotations], axis=0)
        a, b, c = np.sqrt(np.diag(metric))
        angles = np.degrees(np.arccos([metric[1, 2] / b / c, metric[0, 2] / a / c, metric[0, 1] / a / b]))
        cell = gemmi.UnitCell(a, b, c, *angles)
        for items in ({"_space_group_name_h-m_alt": [group.xhm()]}, {"_space_group_name_hall": [group.hall]}):
            symmetry = symmetry_of(items, cell)
            assert as_sets(symmetry.named[0].rotations, symmetry.named[0].translations) == truth, group.xhm()
            assert symmetry.named[0].number == group.number
        tried += 1
    assert tried > 500


ZIRCONIA = "Zr1 Zr 0.2754 0.0395 0.2083\nO1 O 0.0700 0.3317 0.3447\nO2 O 0.4496 0.7569 0.4792"
CORUNDUM = "Al1 Al 0 0 0.35216\nO1 O 0.30624 0 0.25"
SPINEL = "Mg1 Mg 0.125 0.125 0.125\nAl1 Al 0.5 0.5 0.5\nO1 O 0.2625 0.2625 0.2625"  # origin at a centre
HEXAGONAL, CUBIC = (4.757, 4.757, 12.9877, 90, 90, 120), (8.08, 8.08, 8.08, 90, 90, 90)
SILICON = (5.431, 5.431, 5.431, 90, 90, 90)
MONOCLINIC = (5.15, 5.212, 5.317, 90, 99.23, 90)
NAMED = {
    "P 21/c": (cif("_symmetry_space_group_name_H-M 'P 21/c'", MONOCLINIC, ZIRCONIA), 14, 12),
    "P2_1/c": (cif("_symmetry_space_group_name_H-M P2_1/c", MONOCLINIC, ZIRCONIA), 14, 12),
    "number alone": (cif("_symmetry_Int_Tables_number 14", MONOCLINIC, ZIRCONIA), 14, 12),
    "Hall alone": (cif("_space_group_name_Hall '-P 2ybc'", MONOCLINIC, ZIRCONIA), 14, 12),
    ":H": (cif("_symmetry_space_group_name_H-M 'R -3 c :H'", HEXAGONAL, CORUNDUM, "Al2 O3", 6), 167, 10),
    "H behind": (cif("_symmetry_space_group_name_H-M 'R -3 c H'", HEXAGONAL, CORUNDUM), 167, 10),
    "rhombohedral axes": (
        cif(
            "_symmetry_space_group_name_H-M 'R -3 c'\n_symmetry_Int_Tables_number 167",
            (5.12692, 5.12692, 5.12692, 55.2812, 55.2812, 55.2812),
            "Al1 Al 0.35216 0.35216 0.35216\nO1 O 0.55624 -0.05624 0.25",
            "Al2 O3",
            2,
        ),
        167,
        10,
    ),
    "older symbol": (cif("_symmetry_space_group_name_H-M 'F m 3 m'", CUBIC, "Na Na 0 0 0\nCl Cl .5 .5 .5"), 225, 2),
    "full symbol": (cif("_symmetry_space_group_name_H-M 'F 4/m -3 2/m'", CUBIC, "Na Na 0 0 0\nCl Cl .5 .5 .5"), 225, 2),
    ":2": (cif("_symmetry_space_group_name_H-M 'F d -3 m :2'", CUBIC, SPINEL), 227, 14),
    "Z of the ICSD": (cif("_symmetry_space_group_name_H-M 'F d -3 m Z'", CUBIC, SPINEL), 227, 14),
    "origin by the formula": (cif("_symmetry_space_group_name_H-M 'F d -3 m'", CUBIC, SPINEL, "Al2 Mg O4", 8), 227, 14),
    "origin by its code": (
        cif("_space_group.name_H-M_alt 'F d -3 m'\n_space_group.IT_coordinate_system_code 2", CUBIC, SPINEL),
        227,
        14,
    ),
    "reference symbol": (
        cif("_space_group_name_H-M_ref 'F d -3 m'\n_space_group_IT_coordinate_system_code 2", CUBIC, SPINEL),
        227,
        14,
    ),
    ":1": (cif("_symmetry_space_group_name_H-M 'F d -3 m :1'", (5.431,) * 3 + (90,) * 3, "Si Si 0 0 0"), 227, 2),
    "origin by distances": (
        cif("_symmetry_space_group_name_H-M 'F d -3 m'", (5.431,) * 3 + (90,) * 3, "Si Si 0 0 0"),
        227,
        2,
    ),
}


SCREWS = {  # International Tables A
    "P2(1)/c": 14,
    "P2(1)2(1)2(1)": 19,
    "C222(1)": 20,
    "Pna2(1)": 33,
    "I4(1)/a": 88,
    "P-42(1)m": 113,
    "P4(2)/mnm": 136,
    "P3(2)": 145,
    "P 3(1) 2 1": 152,
    "P6(3)": 173,
    "P6(3)/mmc": 194,
    "P2(1)3": 198,
    "P2_{1}/c": 14,
    # brackets that hold something else: axes, origin, number
    "R-3(h)": 148,
    "P n -3 (2)": 201,
    "P -1 (2)": 2,
    "C 2 (5)": 5,
    "P 2(1)/c (14)": 14,
}


@pytest.mark.parametrize("symbol", SCREWS)
def test_screw_axes_in_brackets(symbol):
    number = SCREWS[symbol]
    shape = (5, 6, 7) if number < 75 else (5, 5, 7) if number < 195 else (5, 5, 5)
    angles = (90, 98, 90) if number < 16 else (90, 90, 120) if 143 <= number < 195 else (90, 90, 90)
    named = symmetry_of({"_symmetry_space_group_name_h-m": [symbol]}, gemmi.UnitCell(*shape, *angles)).named[0]
    database = next(t for i in range(1, 531) if (t := spglib.get_spacegroup_type(i)).number == number)
    assert named.number == number
    assert len(named.rotations) == len(spglib.get_symmetry_from_database(database.hall_number)["rotations"])
    found = spglib.get_spacegroup_type_from_symmetry(named.rotations.astype(np.intc), named.translations)
    assert found.number == number


def test_a_screw_axis_in_brackets_agrees_with_its_operators():
    listed = f"{OPERATORS}x,y,z\n-x,y+1/2,-z+1/2\n-x,-y,-z\nx,-y+1/2,z+1/2"
    found, notes = read(cif(f"_symmetry_space_group_name_H-M P2(1)/c\n{listed}", MONOCLINIC, ZIRCONIA, "Zr O2", 4))
    assert (len(found.atomic_numbers), notes) == (12, "")


@pytest.mark.parametrize("kind", NAMED)
def test_groups_named_without_operators(kind, tmp_path):
    text, number, atoms = NAMED[kind]
    found = row(tmp_path, text)
    assert (found["space_group"], len(found["atomic_numbers"])) == (number, atoms)


def test_the_setting_named_is_the_one_used():
    """P 21/n with number 14: many programs make atoms of P 21/c."""
    cell = Lattice.from_parameters(5.1, 5.9, 8.3, 90, 98, 90)
    shifts = np.array([[0, 0, 0], [0.5, 0.5, 0.5]])
    x = np.array([0.11, 0.23, 0.37])
    expected = (
        np.concatenate([shifts[:1] + x, shifts[:1] - x, shifts[1:] + x * [-1, 1, -1], shifts[1:] + x * [1, -1, 1]]) % 1
    )
    found, _ = read(
        cif(
            "_symmetry_space_group_name_H-M 'P 21/n'\n_symmetry_Int_Tables_number 14",
            cell.parameters,
            "Fe1 Fe 0.11 0.23 0.37",
        )
    )
    order = [np.lexsort(np.round(c, 6).T) for c in (found.frac_coords, expected)]
    np.testing.assert_allclose(found.frac_coords[order[0]], expected[order[1]], atol=1e-9)


@pytest.mark.parametrize(
    ("group", "cell", "species", "coords"),
    [
        ("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
        ("Fd-3m", Lattice.cubic(8.08), ["Mg", "Al", "O"], [[0.125] * 3, [0.5] * 3, [0.2625] * 3]),
        ("R-3c", Lattice.hexagonal(4.757, 12.9877), ["Al", "O"], [[0, 0, 0.35216], [0.30624, 0, 0.25]]),
        ("P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.3053, 0.3053, 0]]),
        (
            "Pnma",
            Lattice.orthorhombic(5.44, 7.64, 5.38),
            ["Ca", "Ti", "O"],
            [[0.03, 0.25, 0], [0, 0, 0.5], [0.48, 0.25, 0.07]],
        ),
        ("P6_3/mmc", Lattice.hexagonal(3.16, 12.295), ["Mo", "S"], [[1 / 3, 2 / 3, 0.25], [1 / 3, 2 / 3, 0.621]]),
        ("I4_1/amd", Lattice.tetragonal(3.785, 9.514), ["Ti", "O"], [[0, 0.75, 0.125], [0, 0.75, 0.3333]]),
    ],
)
def test_a_file_whose_operators_are_taken_away(group, cell, species, coords, tmp_path):
    """Symbol, formula and Z as pymatgen writes them are enough to find the same crystal again."""
    structure = Structure.from_spacegroup(group, cell, species, coords)
    text = str(CifWriter(structure, symprec=0.01))
    bare = re.sub(r"loop_\n _symmetry_equiv_pos_site_id\n _symmetry_equiv_pos_as_xyz\n(  \d+ .*\n)+", "", text)
    assert "as_xyz" in text
    assert "as_xyz" not in bare
    whole, named = row(tmp_path, text), row(tmp_path, bare)
    assert named["space_group"] == whole["space_group"] == structure.get_space_group_info(0.01)[1]
    assert named["formula"] == whole["formula"]
    np.testing.assert_allclose(named["lattice"], whole["lattice"], atol=1e-6)
    assert len(named["atomic_numbers"]) == len(whole["atomic_numbers"])


@pytest.mark.parametrize("digits", [2, 3, 4, 5])
def test_thirds_with_few_digits(digits, tmp_path):
    third, rest = f"{1 / 3:.{digits}f}", f"{2 / 3:.{digits}f}"
    text = cif(
        "_symmetry_space_group_name_H-M 'P 63/m m c'",
        (3.16, 3.16, 12.295, 90, 90, 120),
        f"Mo1 Mo {third} {rest} 0.25\nS1 S {third} {rest} 0.621",
        "Mo S2",
    )
    found, _ = read(text)
    assert sorted(found.atomic_numbers) == [16, 16, 16, 16, 42, 42]
    assert row(tmp_path, text)["space_group"] == 194
    apart = text.replace(f"S1 S {third}", "S1 S 0.300")  # a general position
    assert len(read(apart.replace("_chemical_formula_sum 'Mo S2'\n", ""))[0].atomic_numbers) == 2 + 24


ELEMENTS = [
    ("OH", (), "O"),
    ("OH1", (), "O"),
    ("Wat", (), "O"),
    ("WatOW", ("Ca", "S", "O"), "O"),
    ("H2O", (), "O"),
    ("H2O3w", ("H", "O"), "H"),
    ("Ow3", (), "O"),
    ("HO2", ("H", "O", "C"), "H"),
    ("Ho2", ("Ho", "Ti", "O"), "Ho"),
    ("CL1", ("C", "Cl"), "Cl"),
    ("CA1", ("C", "H"), "C"),
    ("CA1", ("Ca", "O"), "Ca"),
    ("Fe3+", (), "Fe"),
    ("O2-", (), "O"),
    ("D1", (), "H"),
    ("T1", (), None),
    ("T1", ("Si", "Al", "O"), None),
    ("M1", (), None),
    ("Va", (), None),
    ("X1", (), None),
]


@pytest.mark.parametrize(("text", "formula", "expected"), ELEMENTS)
def test_elements_of_labels(text, formula, expected):
    assert element_of(text, formula) == expected


def test_water_of_mineral_databases_is_oxygen_and_groups_are_named():
    cell = (5, 6, 7, 90, 90, 90)
    found, notes = read(
        cif("_symmetry_Int_Tables_number 1", cell, "Ca1 Ca 0 0 0\nOH OH 0.5 0.5 0.5\nWat1 Wat .2 .2 .2")
    )
    assert list(found.atomic_numbers) == [20, 8, 8]
    assert "hydrogen of OH, Wat1 is left out" in notes
    for bad in ("NO3", "SO4", "T1", "M2"):
        found, _ = read(cif("_symmetry_Int_Tables_number 1", cell, f"Ca1 Ca 0 0 0\n{bad} {bad} 0.5 0.5 0.5"))
        assert isinstance(found, Rejected)
        assert found.reason.startswith("unknown element")
        assert bad in found.reason


def test_dot_for_an_occupancy_is_one(tmp_path):
    found = row(tmp_path, rock_salt(occupancy="."))
    assert (found["formula"], found["space_group"], found["occupancies"]) == ("NaCl", 225, None)


def test_names_of_the_dictionaries_of_today(tmp_path):
    dotted = re.sub(r"_(cell|atom_site)_", r"_\1.", rock_salt())
    dotted = dotted.replace("_symmetry_equiv_pos_as_xyz", "_space_group_symop.operation_xyz")
    assert "_atom_site.fract_x" in dotted
    assert row(tmp_path, dotted) == row(tmp_path, rock_salt())


def test_cartesian_coordinates_alone(tmp_path):
    cell = Lattice.from_parameters(5.1, 5.9, 8.3, 90, 98, 90)
    matrix = np.array(gemmi.UnitCell(*cell.parameters).orth.mat.tolist())
    coords = np.array([[0.1, 0.2, 0.3], [0.4, 0.75, 0.9]])
    rows = "\n".join(f"A{i} Fe {' '.join(f'{v:.6f}' for v in matrix @ c)}" for i, c in enumerate(coords)).replace(
        "A", "Fe"
    )
    text = cif("_symmetry_Int_Tables_number 1", cell.parameters, rows).replace("_fract_", "_Cartn_")
    found, notes = read(text)
    np.testing.assert_allclose(found.frac_coords, coords, atol=1e-6)
    assert "Cartesian coordinates, made fractional by the cell" in notes


PAIR = "Na Na 0 0 0\nCl Cl .5 .5 .5"
OPERATORS = "loop_\n_symmetry_equiv_pos_as_xyz\n"
CONTRADICTIONS = {
    "formula": (
        rock_salt().replace("data_salt", "data_salt\n_chemical_formula_sum 'K Cl'"),
        "Cl4 Na4, declared is K1 Cl1",
    ),
    "volume": (
        rock_salt().replace("data_salt", "data_salt\n_cell_volume 300.0"),
        "cell has 179.4 Å³, declared is 300",
    ),
    "cell and group": (
        cif("_symmetry_space_group_name_H-M 'F m -3 m'", (5, 6, 7, 90, 90, 90), "Na Na 0 0 0"),
        "does not fit the cell 5 6 7",
    ),
    "cell and operators": (
        cif(f"{OPERATORS}x,y,z\ny,x,z", (5, 6, 7, 90, 90, 90), "Na Na 0 0 0"),
        "operators listed do not fit the cell",
    ),
    "symbol and number": (
        cif("_symmetry_space_group_name_H-M 'P 21/c'\n_symmetry_Int_Tables_number 15", MONOCLINIC, ZIRCONIA),
        "has number 14, the file says 15",
    ),
    "operators and symbol": (
        cif(f"_symmetry_space_group_name_H-M 'P m -3 m'\n{OPERATORS}x,y,z\n-x,-y,-z", CUBIC, "Na1 Na .1 .2 .3"),
        "operators listed are those of space group 2, the file says 'P m -3 m'",
    ),
    "symbol and formula": (
        cif("_symmetry_space_group_name_H-M 'P m -3 m'", CUBIC, PAIR, "Na Cl", 4),
        "makes Cl1 Na1 of the atoms, declared is Na1 Cl1 with Z = 4",
    ),
    "no symmetry": (cif("", CUBIC, PAIR, "Na Cl", 4), "neither operators nor a space group are given"),
    "unknown symbol": (cif("_symmetry_space_group_name_H-M 'Q 9 9'", CUBIC, PAIR), "'Q 9 9' is not known"),
    "modulated": (cif(f"{OPERATORS}x1,x2,x3,x4", CUBIC, PAIR), "superspace"),
}


@pytest.mark.parametrize("kind", CONTRADICTIONS)
def test_contradictions_name_both_sides(kind):
    text, words = CONTRADICTIONS[kind]
    found, _ = read(text)
    assert isinstance(found, Rejected)
    assert words in found.reason


def test_what_only_one_reading_mends(tmp_path):
    """A symbol beside the lone identity: the formula tells that the symbol is meant."""
    text = cif(
        "_symmetry_space_group_name_H-M 'F m -3 m'\nloop_\n_symmetry_equiv_pos_as_xyz\nx,y,z",
        (5.64, 5.64, 5.64, 90, 90, 90),
        "Na Na 0 0 0\nCl Cl .5 .5 .5",
        "Na Cl",
        4,
    )
    found, notes = read(text)
    assert len(found.atomic_numbers) == 8
    assert "'F m -3 m' makes Na1 Cl1 with Z = 4 as declared and is taken" in notes
    twice = rock_salt().replace("{first}", "Na") + "Na2 Na 0.5 0.5 0.0 1.0 0.02\n"
    found, notes = read(twice)
    assert len(found.atomic_numbers) == 8
    assert "atoms listed twice are taken once: Na2" in notes


def test_doubts_are_passed_on(tmp_path):
    loose = rock_salt().replace("data_salt", "data_salt\n_audit_creation_date  Oct 23 13:47:26")
    (tmp_path / "x.cif").write_text(loose)
    with pytest.warns(DoubtfulInput, match=r"x\.cif: not by the rules of CIF \(line 2"):
        found = read_crystals(tmp_path / "x.cif").table.to_pylist()[0]
    assert found["formula"] == "NaCl"


def test_the_command_shows_a_doubt_in_one_line(tmp_path, capsys):
    (tmp_path / "x.cif").write_text(rock_salt().replace("data_salt", "data_salt\n_audit_creation_date  Oct 23 13:47"))
    assert main(["crystals", str(tmp_path / "x.cif"), "-o", str(tmp_path / "x.parquet")]) == 0
    shown = [line for line in capsys.readouterr().err.splitlines() if "x.cif" in line]
    assert shown[-1].startswith("simxrd crystals: x.cif: not by the rules of CIF (line 2 of the block); what could be")
    assert all(line.startswith("simxrd crystals: x.cif: ") for line in shown)
