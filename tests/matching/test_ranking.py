"""Crystals that are alike in their lines are told apart by intensities and cells."""

import numpy as np
import pyarrow as pa
import pytest
from data.small_crystals import crystal_table
from matching.crystal_truth import AXIS, strained

from simxrd_hf.crystals import crystal
from simxrd_hf.diffraction import peaks
from simxrd_hf.matching import Match, MixtureSearch, build_library, by_profile, find_matches
from simxrd_hf.models.resampling_simxrd import DEFAULT_GRID

ALIKE = {"RbCl": (37, 17), "SrS": (38, 16), "YP": (39, 15), "ZrN": (40, 7), "KCl": (19, 17), "CaS": (20, 16)}


@pytest.fixture(scope="module")
def rock_salts(table) -> pa.Table:
    """Compounds of one structure type with cells within 3 % of one another."""
    names = table["formula"].to_pylist()
    row = table.slice(names.index("NaCl"), 1).to_pylist()[0]
    rng = np.random.default_rng(3)
    rows = []
    for formula, (cation, anion) in ALIKE.items():
        numbers = [cation if z == 11 else anion for z in row["atomic_numbers"]]
        lattice = (np.array(row["lattice"]) * rng.uniform(0.985, 1.015)).tolist()
        new = {"crystal_id": formula, "formula": formula, "reduced_formula": formula, "atomic_numbers": numbers}
        rows.append(row | new | {"lattice": lattice})
    return pa.Table.from_pylist(rows, schema=table.schema)


def pattern_of(one, rng: np.random.Generator) -> np.ndarray:
    """Lines of the copper doublet with Poisson noise, by `peaks`, whose intensities pymatgen's agree with."""
    total = np.zeros(len(AXIS))
    for wavelength, part in ((1.540593, 2 / 3), (1.544427, 1 / 3)):
        lines = peaks(one, wavelength=wavelength, two_theta_range=(8, 82))
        off = (AXIS - lines.two_theta[:, None]) / 0.06
        total += part * (lines.intensity[:, None] * np.exp(-0.5 * off**2)).sum(axis=0)
    return rng.poisson(3e4 * (total / total.max() + 0.02)).astype(float)


def test_intensities_tell_isostructural_compounds_apart(rock_salts):
    """Cells are strained at random by as much as those of the library differ: they say nothing here."""
    library, _ = build_library(rock_salts)
    rng = np.random.default_rng(5)
    similar, fitted = [], []
    for row in range(rock_salts.num_rows):
        for _ in range(3):
            one = strained(crystal(rock_salts, row), rng, rng.uniform(0.985, 1.01), 0.0)
            pattern = pattern_of(one, rng)
            found = find_matches(pattern, library, DEFAULT_GRID).best
            ranked = by_profile(found, MixtureSearch(pattern, library, DEFAULT_GRID))
            assert {match.crystal_id for match in ranked} == {match.crystal_id for match in found}
            assert all(match.residual is not None and 0 <= match.residual <= 1 for match in ranked)
            similar.append(max(found, key=lambda match: match.similarity).crystal_id == one.crystal_id)
            fitted.append(ranked[0].crystal_id == one.crystal_id)
    assert np.mean(fitted) == 1.0 > np.mean(similar)


def test_the_order_is_the_same_after_a_search_for_phases(rock_salts):
    """The shape of the lines is then that of the search."""
    library, _ = build_library(rock_salts)
    pattern = pattern_of(crystal(rock_salts, 2), np.random.default_rng(1))
    found = find_matches(pattern, library, DEFAULT_GRID).best
    search = MixtureSearch(pattern, library, DEFAULT_GRID)
    mixture = search.mixture()
    ranked = by_profile(found, search)
    assert ranked[0].crystal_id == mixture.phases[0].crystal_id == "YP"
    alone = by_profile(found, MixtureSearch(pattern, library, DEFAULT_GRID))
    assert [match.crystal_id for match in ranked] == [match.crystal_id for match in alone]


def test_a_cell_no_relaxed_one_comes_to_costs():
    """Relaxed cells are 7 % too large to 5 % too small by volume; beyond, a crystal has to explain more."""
    assert [Match("a", "NaCl", 225, 0.9, change, 0.0).unusual for change in (-0.07, 0.0, 0.045)] == [0, 0, 0]
    assert Match("a", "NaCl", 225, 0.9, 0.067, 0.0).unusual == pytest.approx(4.0)


def test_nothing_to_rank_and_an_empty_pattern():
    library, _ = build_library(crystal_table(3))
    empty = MixtureSearch(np.zeros(len(AXIS)), library, DEFAULT_GRID)
    assert by_profile([], empty) == []
    name = str(library.crystal_id[0])
    assert by_profile([Match(name, "X", 1, 0.5, 0.0, 0.0)], empty)[0].residual == 1.0
