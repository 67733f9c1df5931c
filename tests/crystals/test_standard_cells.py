"""Space groups, primitive cells, formulas, structure types against spglib and pymatgen, in any setting."""

import numpy as np
import pytest
import spglib
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.prototypes import get_protostructure_label
from pymatgen.core import Composition, Lattice, Structure

from simxrd_hf.crystals import conventional_cell, crystal, prototype_labels, prototypes
from simxrd_hf.crystals.aflow import aflow_structures
from simxrd_hf.crystals.duplicates import find_duplicates, neighbour_distances
from simxrd_hf.crystals.labels import prototype_label
from simxrd_hf.crystals.standard import RawCrystal, formulas, standardise
from simxrd_hf.crystals.table import Rejected, table_from_rows
from simxrd_hf.symmetry import CRYSTAL_SYSTEM_OF


@pytest.fixture(scope="module")
def library():
    return prototypes()


def _same_atoms(first, first_numbers, second, second_numbers, tolerance=1e-5) -> bool:
    difference = first[:, None] - second[None]
    difference -= np.round(difference)
    match = (np.abs(difference) < tolerance).all(axis=2) & (first_numbers[:, None] == second_numbers[None])
    return len(first) == len(second) and (match.sum(axis=1) == 1).all()


def test_prototypes_are_spglibs_standard_primitive_cells(library):
    raw = {entry.crystal_id: entry for entry in aflow_structures()}
    assert len(raw) == 288 == len(library.table) + len(library.rejected)
    for row in library.table.to_pylist():
        given_ = raw[row["crystal_id"]]
        lattice, coords, numbers = spglib.standardize_cell(
            (given_.lattice, given_.frac_coords, given_.atomic_numbers), to_primitive=True, symprec=0.01
        )
        ours = np.array(row["frac_coords"]).reshape(-1, 3)
        assert np.allclose(np.array(row["lattice"]).reshape(3, 3), lattice, atol=1e-6)
        assert _same_atoms(ours, np.array(row["atomic_numbers"]), coords, numbers)
        assert ((ours >= 0) & (ours < 1)).all()


def test_the_conventional_cell_is_spglibs(library):
    centrings = set()
    for index, row in enumerate(library.table.to_pylist()[::7]):
        lattice, numbers = np.array(row["lattice"]).reshape(3, 3), row["atomic_numbers"]
        found = spglib.get_symmetry_dataset((lattice, np.reshape(row["frac_coords"], (-1, 3)), numbers), symprec=0.01)
        ours = conventional_cell(crystal(library, 7 * index))
        np.testing.assert_allclose(ours @ ours.T, found.std_lattice @ found.std_lattice.T, atol=1e-3)
        centrings.add((found.international[0], round(np.linalg.det(ours) / np.linalg.det(lattice))))
    assert {("P", 1), ("F", 4), ("I", 2), ("R", 3), ("C", 2)} <= centrings


def test_prototypes_cover_the_seven_systems_with_stable_ids(library):
    groups = library.table["space_group"].to_numpy()
    assert len(set(CRYSTAL_SYSTEM_OF[groups - 1].tolist())) == 7
    ids = library.table["crystal_id"].to_pylist()
    assert len(set(ids)) == len(ids)
    assert ids[0] == "AB_hP6_154_a_b-HgS"
    assert "AB_cF8_225_a_b-ClNa" in ids
    assert library.table.schema.metadata[b"symprec"] == b"0.01"


def test_space_group_survives_a_tighter_tolerance_after_standardising(library):
    for index in range(0, len(library.table), 3):
        one = crystal(library.table, index)
        found = spglib.get_symmetry_dataset((one.lattice, one.frac_coords, one.atomic_numbers), symprec=1e-4)
        assert found.number == library.table["space_group"][index].as_py()


@settings(max_examples=25, deadline=None)
@given(
    index=st.integers(0, 287),
    seed=st.integers(0, 2**32 - 1),
    swap=st.booleans(),
)
def test_any_cell_of_a_crystal_gives_the_same_row(library, index, seed, swap):
    """Other axes, origin, orientation, order of atoms, handedness: same group, formula, type, distances, volume."""
    row = library.table.slice(index % len(library.table), 1).to_pylist()[0]
    if row["space_group"] in (1, 2) or len(row["atomic_numbers"]) > 40:
        return
    rng = np.random.default_rng(seed)
    lattice = np.array(row["lattice"]).reshape(3, 3)
    coords = np.array(row["frac_coords"]).reshape(-1, 3)
    numbers = np.array(row["atomic_numbers"])
    change = np.eye(3, dtype=int)
    i, j = rng.permutation(3)[:2]
    change[i, j] = rng.integers(-1, 2)
    if swap:
        change = change[[1, 0, 2]]  # left-handed axes
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    new_lattice = change @ lattice @ rotation
    new_coords = (coords + rng.random(3)) @ np.linalg.inv(change)
    order = rng.permutation(len(numbers))
    raw = RawCrystal("test", "moved", new_lattice, numbers[order], new_coords[order])
    moved = standardise(raw, 0.01)
    assert not isinstance(moved, Rejected), moved
    assert moved["space_group"] == row["space_group"]
    assert moved["reduced_formula"] == row["reduced_formula"]
    assert np.isclose(np.linalg.det(moved["lattice"].reshape(3, 3)), np.linalg.det(lattice), rtol=1e-6)
    distances = neighbour_distances(lattice, numbers, coords)
    assert np.allclose(neighbour_distances(new_lattice, numbers[order], new_coords[order]), distances, atol=1e-6)
    assert prototype_label(new_lattice, numbers[order], new_coords[order], None, 0.01) == prototype_label(
        lattice, numbers, coords, None, 0.01
    )
    table = table_from_rows([row, {**moved, "crystal_id": "moved"}])
    assert find_duplicates(table) == {1: 0}


def test_enantiomorphs_keep_their_hand_on_left_handed_axes():
    """Turning left-handed axes round must not mirror the crystal: quartz P3_121 stays P3_121."""
    quartz = Structure.from_spacegroup(
        "P3_121", Lattice.hexagonal(4.913, 5.405), ["Si", "O"], [[0.47, 0, 1 / 3], [0.414, 0.268, 0.452]]
    )
    swapped = quartz.lattice.matrix[[1, 0, 2]]
    raw = RawCrystal("test", "quartz", swapped, np.array(quartz.atomic_numbers), quartz.frac_coords[:, [1, 0, 2]])
    assert standardise(raw, 0.01)["space_group"] == 152


def test_supercells_shrink():
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    salt.make_supercell([2, 1, 1])
    row = standardise(RawCrystal("t", "s", salt.lattice.matrix, np.array(salt.atomic_numbers), salt.frac_coords), 0.01)
    assert (row["space_group"], len(row["atomic_numbers"]), row["formula"]) == (225, 2, "NaCl")


def test_mixed_sites_and_displacements_follow_their_atoms():
    """One site Fe0.5Ni0.5, one half-filled O; B values come out at the species they were given for."""
    cell = Structure.from_spacegroup("Pm-3m", Lattice.cubic(4.0), ["Fe", "O"], [[0, 0, 0], [0.5, 0.5, 0]])
    numbers, coords, occupancies, b_iso = [], [], [], []
    for site in cell:
        for z, occupancy, b in ((26, 0.5, 0.3), (28, 0.5, 0.4)) if site.specie.Z == 26 else ((8, 0.25, 1.1),):
            numbers.append(z)
            coords.append(site.frac_coords)
            occupancies.append(occupancy)
            b_iso.append(b)
    raw = RawCrystal(
        "t", "mixed", cell.lattice.matrix, np.array(numbers), np.array(coords), np.array(occupancies), np.array(b_iso)
    )
    row = standardise(raw, 0.01)
    assert row["space_group"] == 221
    found = sorted(zip(row["atomic_numbers"].tolist(), row["occupancies"], row["b_iso"], strict=True))
    assert found == [(8, 0.25, 1.1)] * 3 + [(26, 0.5, 0.3), (28, 0.5, 0.4)]
    assert row["reduced_formula"] == "Fe2Ni2O3"
    one = crystal({**row, "crystal_id": "mixed"})
    assert one.occupancies is not None and one.b_iso is not None


def test_mixed_sites_break_symmetry_by_occupancy():
    """The same elements with other occupancies are another kind of site."""
    numbers, occupancies = np.array([26, 28, 26, 28]), np.array([0.5, 0.5, 0.4, 0.6])
    coords = np.array([[0, 0, 0], [0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]])
    row = standardise(RawCrystal("t", "x", np.eye(3) * 3.0, numbers, coords, occupancies), 0.01)
    assert row["space_group"] == 221  # body-centred only if all sites were alike
    occupancies = np.array([0.5, 0.5, 0.5, 0.5])
    row = standardise(RawCrystal("t", "x", np.eye(3) * 3.0, numbers, coords, occupancies), 0.01)
    assert row["space_group"] == 229


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"atomic_numbers": np.array([99, 17])}, "atomic_numbers"),
        ({"atomic_numbers": np.array([0, 17])}, "atomic_numbers"),
        ({"atomic_numbers": np.array([], dtype=int), "frac_coords": np.zeros((0, 3))}, "atomic_numbers"),
        ({"frac_coords": np.array([[0, 0, 0], [0, 0, np.nan]])}, "frac_coords"),
        ({"frac_coords": np.array([[0, 0, 0], [0, 0, 1e-4]])}, "coincide"),
        ({"lattice": np.zeros((3, 3))}, "lattice"),
        ({"lattice": np.full((3, 3), np.inf)}, "lattice"),
        ({"occupancies": np.array([0.5, 1.5])}, "occupancies"),
    ],
)
def test_unusable_structures_have_a_reason(change, reason):
    base = {
        "lattice": np.eye(3) * 4.0,
        "atomic_numbers": np.array([11, 17]),
        "frac_coords": np.array([[0, 0, 0], [0.5, 0.5, 0.5]]),
    }
    result = standardise(RawCrystal("file", "bad", **{**base, **change}), 0.01)
    assert isinstance(result, Rejected)
    assert reason in result.reason and (result.source, result.crystal_id) == ("file", "bad")


@pytest.mark.parametrize("text", ["NaCl", "Fe2O3", "CaTiO3", "H2O", "LiFePO4", "K2MgSi5O12", "XeF2", "Si"])
def test_formulas_against_pymatgen(text):
    composition = Composition(text)
    numbers = [element.Z for element, amount in composition.items() for _ in range(3 * int(amount))]
    pretty, alphabetical = formulas(numbers, None)
    assert Composition(pretty) == Composition(alphabetical) == composition
    assert pretty == composition.reduced_formula
    symbols = composition.alphabetical_formula.split()
    assert alphabetical == "".join(s.removesuffix("1") if s[-2:-1].isalpha() else s for s in symbols)


def test_reduced_formula_does_not_know_the_cell():
    assert formulas([8] * 4, None) == ("O", "O")
    assert formulas([26, 28], np.array([0.3, 0.7])) == ("Fe3Ni7", "Fe3Ni7")


def test_prototype_labels_agree_with_aflow(library):
    """The Pearson symbol, group and kinds that pymatgen finds; it orders kinds by element, we by count.

    On rhombohedral lattices pymatgen counts the atoms of the hexagonal cell; AFLOW's own labels do not, nor do ours.
    """
    labels = prototype_labels(library.table).to_pylist()
    checked = 0
    for row, label in list(zip(library.table.to_pylist(), labels, strict=True))[::12]:
        structure = Structure(
            np.array(row["lattice"]).reshape(3, 3), row["atomic_numbers"], np.array(row["frac_coords"]).reshape(-1, 3)
        )
        theirs = get_protostructure_label(structure, method="spglib", init_symprec=0.01).split(":")[0]
        _, pearson, number, *letters = theirs.split("_")
        _, our_pearson, our_number, *our_letters = label.split("_")
        if pearson.startswith("hR"):
            pearson = f"hR{int(pearson[2:]) // 3}"
        assert (our_pearson, our_number) == (pearson, number)
        assert len(letters) == len(our_letters) == len(set(row["atomic_numbers"]))
        checked += 1
    assert checked == 24


def test_prototype_label_ignores_the_elements():
    def label(first, second, a):
        s = Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [first, second], [[0, 0, 0], [0.5, 0.5, 0.5]])
        return prototype_label(s.lattice.matrix, np.array(s.atomic_numbers), s.frac_coords, None, 0.01)

    assert label("Na", "Cl", 5.64) == label("O", "Mg", 4.21) == "AB_cF8_225_a_b"


def test_polytypes_and_isotypes_are_no_duplicates(library):
    ids = library.table["crystal_id"].to_pylist()
    polytypes = [name for name in ids if name.endswith("-CSi") and "_186_" in name]
    assert len(polytypes) == 2  # 4H and 6H silicon carbide: same formula, group, volume, near neighbours
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    rows = []
    for name, scale in (("a", 1.0), ("b", 1.002), ("c", 1.02)):
        raw = RawCrystal("t", name, salt.lattice.matrix * scale, np.array(salt.atomic_numbers), salt.frac_coords)
        rows.append(standardise(raw, 0.01))
    assert find_duplicates(table_from_rows(rows)) == {1: 0}  # c is 6 % larger


def test_neighbour_distances_by_hand():
    """Simple cubic: 6 neighbours at a, 12 at a√2, 6 of the 8 at a√3."""
    a = 3.0
    found = neighbour_distances(np.eye(3) * a, np.array([84]), np.zeros((1, 3)), k=24)
    assert np.allclose(found[0], [a] * 6 + [a * 2**0.5] * 12 + [a * 3**0.5] * 6)
    # A long thin cell and a skew one of the same crystal.
    skew = np.array([[1, 0, 0], [3, 1, 0], [0, 2, 1]]) @ (np.eye(3) * a)
    assert np.allclose(neighbour_distances(skew, np.array([84]), np.zeros((1, 3)), k=24), found)
