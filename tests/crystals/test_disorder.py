"""Ordered models give the disordered crystals that textbooks know, and ordered crystals give none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from simxrd_hf.crystals import crystal, disordered_crystals, prototypes
from simxrd_hf.crystals.disorder import SUFFIX, disordered
from simxrd_hf.crystals.standard import RawCrystal, standardise
from simxrd_hf.crystals.table import table_from_rows


def row_of(structure: Structure, name: str = "model") -> dict:
    raw = RawCrystal(
        "test", name, structure.lattice.matrix, [site.specie.Z for site in structure], structure.frac_coords
    )
    made = standardise(raw, 0.01)
    assert isinstance(made, dict)
    return made


def as_structure(row: dict) -> Structure:
    """With sites of several elements joined, as pymatgen wants them."""
    made = crystal(row)
    species: dict[tuple, dict[int, float]] = {}
    for z, place, share in zip(made.atomic_numbers, made.frac_coords, made.occupancies, strict=True):
        key = tuple(np.round(place, 5) % 1)
        species.setdefault(key, {})[int(z)] = float(share)
    from pymatgen.core import Element

    joined = [{Element.from_Z(z): share for z, share in site.items()} for site in species.values()]
    return Structure(Lattice(made.lattice), joined, list(species))


def cube(a: float, species: list[str], places: list[list[float]], c: float | None = None) -> Structure:
    return Structure(Lattice.tetragonal(a, c or a), species, places)


# ordered model, its group, the disordered crystal's group, atoms in the primitive cell of the latter
MODELS = {
    "layered rock salt": (
        cube(4.2, ["Mg", "Mg", "Fe", "Fe", "O", "O", "O", "O"],
             [[0, 0, 0], [.5, .5, 0], [.5, 0, .5], [0, .5, .5], [.5, .5, .5], [0, 0, .5], [0, .5, 0], [.5, 0, 0]],
             c=4.21),
        123, 225, 2,
    ),
    "CuAu": (cube(2.8, ["Cu", "Au"], [[0, 0, 0], [0.5, 0.5, 0.5]], c=3.95), 123, 225, 1),
    "beta brass": (cube(2.95, ["Cu", "Zn"], [[0, 0, 0], [0.5, 0.5, 0.5]]), 221, 229, 1),
    "double perovskite": (
        Structure.from_spacegroup("Fm-3m", Lattice.cubic(8.1), ["Ba", "Mg", "W", "O"],
                                  [[.25, .25, .25], [0, 0, 0], [.5, .5, .5], [.26, 0, 0]]),
        225, 221, 5,
    ),
    "chalcopyrite of Zn and Fe": (
        Structure.from_spacegroup("I-42d", Lattice.tetragonal(5.4, 10.82), ["Zn", "Fe", "S"],
                                  [[0, 0, 0], [0, 0, .5], [.252, .25, .125]]),
        122, 216, 2,
    ),
    "hydrogen on one side": (
        cube(4.0, ["Cs", "Cl", "H"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.75]]), 99, 221, 2
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_models_of_disordered_crystals(name):
    model, ordered, group, sites = MODELS[name]
    row = row_of(model)
    assert row["space_group"] == ordered
    found = disordered(row)
    assert found is not None and found["space_group"] == group
    assert found["crystal_id"] == "model" + SUFFIX and found["reduced_formula"] == row["reduced_formula"]
    if found["occupancies"] is None:
        assert len(found["atomic_numbers"]) == sites
    else:
        structure = as_structure(found)
        assert len(structure) == sites
        assert SpacegroupAnalyzer(structure, symprec=1e-4).get_space_group_number() == group
    # the same atoms in the same volume, hydrogen apart
    shares = np.ones(len(found["atomic_numbers"])) if found["occupancies"] is None else found["occupancies"]
    volume = abs(np.linalg.det(np.reshape(found["lattice"], (3, 3))))
    for element in {site.specie for site in model} - {next(iter(Structure(np.eye(3), ["H"], [[0, 0, 0]]))).specie}:
        density = shares[np.asarray(found["atomic_numbers"]) == element.Z].sum() / volume
        assert density == pytest.approx(model.composition[element] / model.volume, rel=1e-3)


@pytest.mark.parametrize(
    "model",
    [
        cube(5.6, ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),  # not of one family
        Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]]),  # nothing to join
        Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.9), ["Sr", "Ti", "O"], [[0, 0, 0], [.5] * 3, [.5, .5, 0]]),
        Structure(np.eye(3) * 3, ["H"], [[0, 0, 0]]),
    ],
)  # fmt: skip
def test_ordered_crystals_stand_for_themselves(model):
    assert disordered(row_of(model)) is None


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    size=st.floats(0, 0.05),
    name=st.sampled_from(["layered rock salt", "double perovskite"]),
)
def test_relaxed_atoms_come_back_to_their_sites(seed, size, name):
    """Atoms moved a little, the cell strained a little: P1 by itself."""
    model, _, group, _ = MODELS[name]
    generator = np.random.default_rng(seed)
    moves = generator.normal(size=(len(model), 3))
    moves *= size / np.linalg.norm(moves, axis=1, keepdims=True)
    moved = Structure(
        model.lattice.matrix @ (np.eye(3) + generator.uniform(-0.002, 0.002, (3, 3))),
        model.species,
        model.frac_coords,
    )
    moved = Structure(moved.lattice, moved.species, moved.cart_coords + moves, coords_are_cartesian=True)
    found = disordered(row_of(moved))
    assert found is not None and found["space_group"] == group


def test_a_whole_table(tmp_path):
    rows = [row_of(model, name) for name, (model, *_) in MODELS.items()]
    ordered = row_of(cube(5.6, ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]), "CsCl")
    table = table_from_rows([*rows[:3], ordered, *rows[3:]])
    found = disordered_crystals(table)
    assert found["crystal_id"].to_pylist() == [name + SUFFIX for name in MODELS]
    assert found.equals(disordered_crystals(table, num_proc=2))
    assert disordered_crystals(table, max_atoms=2)["crystal_id"].to_pylist() == ["CuAu" + SUFFIX, "beta brass" + SUFFIX]
    # what is disordered already is not averaged again
    assert len(disordered_crystals(found)) == 0


def test_bound_of_symmetry_is_one():
    """Never below what spglib finds, at any tolerance; and below it would be of no use: often the same."""
    import spglib

    from simxrd_hf.crystals.symmetry_kernels import most_operations

    same = 0
    rows = [row for row in prototypes().table.to_pylist() if len(row["atomic_numbers"]) < 40][::4]
    for row in rows:
        lattice = np.asarray(row["lattice"], dtype=np.float64).reshape(3, 3)
        places = np.asarray(row["frac_coords"], dtype=np.float64).reshape(-1, 3)
        kinds = np.asarray(row["atomic_numbers"], dtype=np.intc)
        for tolerance in (0.05, 0.3):
            found = spglib.get_symmetry((lattice, places, kinds), symprec=tolerance)
            count = 0 if found is None else len(found["rotations"])
            bound = most_operations(lattice, places, kinds, tolerance)
            assert bound >= count
            same += bound == count
    assert same > 0.6 * 2 * len(rows)
