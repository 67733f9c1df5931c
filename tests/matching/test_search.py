"""Patterns find their crystals: as they are, simulated, strained and shifted; and what must not be found."""

import numpy as np
import pyarrow as pa
import pytest
from data.small_crystals import crystal_table
from hypothesis import given, settings
from hypothesis import strategies as st
from matching.crystal_truth import AXIS, drawn, strained

from simxrd_hf.crystals import crystal
from simxrd_hf.diffraction import PatternGrid, Simulator, peaks
from simxrd_hf.errors import BadInput
from simxrd_hf.matching import build_library, find_matches
from simxrd_hf.matching.search import NEAR, Match
from simxrd_hf.models.resampling_simxrd import DEFAULT_GRID

# one structure of each system and some with many lines, none of them a slight distortion of another
NAMES = ("ZrO2", "KClO3", "GeS", "TiO2", "La2CuO4", "Al2O3", "NiAs", "CaF2", "NiSbS", "Cf")


@pytest.fixture(scope="module")
def crystals(table):
    formulas = table["formula"].to_pylist()
    return {name: crystal(table, formulas.index(name)) for name in NAMES}


def search(intensity, library, mask=None, **options):
    return find_matches(intensity, library, DEFAULT_GRID, mask, **options)


@pytest.mark.parametrize("name", NAMES)
def test_a_crystal_finds_itself(crystals, library, name):
    found = search(drawn(crystals[name]), library)
    best = found.best[0]
    assert best.crystal_id == crystals[name].crystal_id
    assert best.similarity > 0.95
    assert abs(best.volume_change) < 2e-3 and abs(best.shift) < 0.02
    assert found.similarity[best.space_group - 1] == found.near[best.space_group - 1] == best.similarity
    assert library.space_group[list(library.crystal_id).index(best.crystal_id)] == best.space_group


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    seed=st.integers(0, 2**32),
    scale=st.floats(-0.02, 0.02),
    shape=st.floats(0.0, 0.015),
    shift=st.floats(-0.08, 0.08),
)
def test_a_strained_and_shifted_crystal_is_found_with_its_strain(crystals, library, name, seed, scale, shape, shift):
    """Strain is drawn in accord with the symmetry that spglib finds."""
    before = crystals[name]
    after = strained(before, np.random.default_rng(seed), 1 + scale, shape)
    best = search(drawn(after, shift=shift), library).best[0]
    assert best.crystal_id == before.crystal_id
    assert best.similarity > 0.9
    assert best.volume_change == pytest.approx(after.volume / before.volume - 1, abs=5e-3)
    # a larger cell moves lines nearly as a shift does, and both are held near zero
    assert best.shift == pytest.approx(shift, abs=0.015 + 0.75 * abs(shift))


def test_simulated_patterns_find_their_crystals(table, library):
    """The preset strains cells too, and says by how much."""
    simulator = Simulator("lab", seed=1)
    known, off = [], []
    for row in range(3, table.num_rows, 12):
        made = crystal(table, row)
        simulation = simulator.simulate(made, [5])
        if simulation.parameters["max_counts"][0] < 200:
            continue
        best = search(simulation.intensity[0], library).best[0]
        known.append(best.crystal_id == made.crystal_id)
        if known[-1]:
            strain = 1 + simulation.parameters["cell_scale_percent"][0] / 100
            off.append(best.volume_change - (strain**3 - 1))
    assert len(known) >= 15 and np.mean(known) >= 0.9
    assert np.median(np.abs(off)) < 3e-3 and np.max(np.abs(off)) < 0.02


def test_published_shapes_without_their_shift_are_found(crystals, library):
    """Rows of simxrd-4m whose zero shift is small."""
    simulator = Simulator("simxrd-4m")
    tried = 0
    for name in ("ZrO2", "TiO2", "Al2O3", "CaF2", "NiAs"):
        simulation = simulator.simulate(crystals[name], range(33))
        for y, shift in zip(simulation.intensity, simulation.parameters["zero_shift_deg"], strict=True):
            if abs(shift) < 0.1:
                tried += 1
                assert search(y, library).best[0].crystal_id == crystals[name].crystal_id
    assert tried >= 5


def test_list_and_groups_agree(crystals, library):
    found = search(drawn(crystals["TiO2"]), library, top=1000)
    standing = [match.standing for match in found.best]
    assert standing == sorted(standing, reverse=True)
    values = sorted((match.similarity for match in found.best), reverse=True)
    assert 0 <= values[-1] <= values[0] <= 1 + 1e-9
    assert len({match.crystal_id for match in found.best}) == len(found.best) > 20
    similarity, near, votes = np.zeros((3, 230))
    for match in found.best:
        votes[match.space_group - 1] += np.exp(
            -(values[0] - match.similarity) / 0.03 - 0.5 * ((match.volume_change + 0.02) / 0.08) ** 2
        )
        similarity[match.space_group - 1] = max(similarity[match.space_group - 1], match.similarity)
        if NEAR[0] <= match.volume_change <= NEAR[1]:
            near[match.space_group - 1] = max(near[match.space_group - 1], match.similarity)
    np.testing.assert_allclose(found.similarity, similarity)
    np.testing.assert_allclose(found.near, near)
    np.testing.assert_allclose(found.votes, votes)
    np.testing.assert_array_equal(found.measured, [found.similarity, found.near, found.votes])  # these names are none
    assert (near < similarity).any()
    formula = dict(zip(library.crystal_id, library.formula, strict=True))
    assert all(match.formula == formula[match.crystal_id] for match in found.best)
    assert search(drawn(crystals["TiO2"]), library, top=3).best == found.best[:3]


def test_of_crystals_as_similar_that_of_a_usual_cell_stands_first():
    near, far = (Match("a", "MgO", 225, 0.95, change, 0.0) for change in (0.004, -0.085))
    assert near.standing > far.standing > Match("a", "MgO", 225, 0.93, 0.0, 0.0).standing
    calculated = Match("mp-2000001", "MgO", 225, 0.95, 0.004, 0.0)
    assert near.standing - calculated.standing == pytest.approx(0.02)
    # however far the cell is off, a far more similar crystal stands first
    assert Match("b", "MgO", 225, 0.95, 0.3, 0.0).standing > Match("c", "MgO", 225, 0.85, 0.0, 0.0).standing


def test_measured_crystals_are_also_counted_by_themselves(table, crystals):
    """Names of calculated entries take crystals out of the second count and out of nothing else."""
    pattern = drawn(crystals["TiO2"])
    best = search(pattern, build_library(table)[0], top=3).best
    calculated = {best[0].crystal_id: "mp-2000001", best[1].crystal_id: "mp-2000002~disordered"}
    ids = [calculated.get(name, name) for name in table["crystal_id"].to_pylist()]
    renamed, _ = build_library(table.set_column(table.column_names.index("crystal_id"), "crystal_id", [ids]))
    assert (~renamed.measured).sum() == 2
    found = search(pattern, renamed, top=1000)
    assert found.best[0].crystal_id == "mp-2000001"
    kept, _ = build_library(
        table.filter(pa.array([name not in calculated for name in table["crystal_id"].to_pylist()]))
    )
    without = search(pattern, kept, top=1000)
    np.testing.assert_allclose(found.measured[0].max(), without.similarity.max())
    assert found.measured[0].max() < found.similarity.max() and found.measured[2].max() <= 1 + 1e-9 + len(kept)
    # every refined crystal that stayed says the same
    groups = np.flatnonzero(found.measured[0])
    assert (found.measured[:2, groups] <= np.stack([found.similarity, found.near])[:, groups]).all()


def test_a_formula_can_be_left_out(crystals, library):
    pattern = drawn(crystals["CaF2"])
    known = search(pattern, library, top=1000)
    without = search(pattern, library, top=1000, without_formula="F4Ca2")  # however it is written
    assert "CaF2" in {match.formula for match in known.best} and without.best
    assert "CaF2" not in {match.formula for match in without.best}
    assert without.similarity[224] < known.similarity[224]
    alone, _ = build_library(crystal_table(1))
    nothing = search(drawn(crystal(crystal_table(1), 0)), alone, without_formula=alone.formula[0])
    assert nothing.best == [] and not nothing.similarity.any() and not nothing.near.any() and not nothing.votes.any()


def test_a_formula_with_parentheses_can_be_left_out_by_its_reduced_one(crystals, table):
    """Tables of other programs write formulas as pymatgen does: fluorite stands for an Mg(OH)2 here."""
    column = pa.array(["Mg(HO)2" if one == "CaF2" else one for one in table["formula"].to_pylist()])
    named, _ = build_library(table.set_column(table.column_names.index("formula"), "formula", column))
    pattern = drawn(crystals["CaF2"])
    assert search(pattern, named).best[0].formula == "Mg(HO)2"
    without = search(pattern, named, top=1000, without_formula="H2MgO2")
    assert without.best and "Mg(HO)2" not in {match.formula for match in without.best}


def test_no_lines_no_matches(library):
    for found in (
        search(np.full(len(AXIS), 3.0), library),
        search(np.full(len(AXIS), 3.0), library, np.zeros(len(AXIS), dtype=bool)),
    ):
        assert found.best == [] and found.similarity.shape == found.near.shape == (230,)
        assert not found.similarity.any() and not found.near.any() and not found.votes.any()


def test_one_line_is_enough_to_look(library):
    found = search(100 * np.exp(-0.5 * ((AXIS - 40) / 0.05) ** 2), library)
    assert found.best and np.isfinite([match.volume_change for match in found.best]).all()


def test_what_was_not_measured_does_not_count(crystals, library):
    pattern = drawn(crystals["GeS"])
    mask = (AXIS > 25) & (AXIS < 55)
    part = search(np.where(mask, pattern, 0.0), library, mask).best[0]
    assert part.crystal_id == crystals["GeS"].crystal_id and part.similarity > 0.95
    # without the mask the lines outside are missing
    assert search(np.where(mask, pattern, 0.0), library).best[0].similarity < part.similarity - 0.02


def test_heights_count_by_their_ratio_alone(crystals, library):
    pattern = drawn(crystals["ZrO2"])
    once, more = search(pattern, library), search(1000 * pattern + 50, library)
    np.testing.assert_allclose(more.similarity, once.similarity)


def test_the_doublet_is_drawn_or_not_as_the_pattern_shows_it(crystals, library):
    """Narrow lines at high angles are split by half a degree at most; a monochromator takes the second away."""
    made = crystals["ZrO2"]
    both = np.zeros(len(AXIS))
    for wavelength, share in ((1.540593, 2.0), (1.544427, 1.0)):
        lines = peaks(made, wavelength=wavelength, two_theta_range=(8, 82), min_intensity=0.05)
        off = (AXIS - lines.two_theta[:, None]) / 0.05
        both += share * (lines.intensity[:, None] * np.exp(-0.5 * off**2)).sum(axis=0)
    for pattern in (both, drawn(made)):
        best = search(pattern, library).best[0]
        assert best.crystal_id == made.crystal_id and best.similarity > 0.95


def test_a_library_of_another_wavelength_is_refused(library):
    cobalt, _ = build_library(crystal_table(3), grid=PatternGrid(wavelength=1.79026))
    with pytest.raises(BadInput, match=r"made for 1\.79026 Å, the model's grid is at 1\.54184 Å"):
        search(np.ones(len(AXIS)), cobalt)
    # Kα1 and the mean of the doublet are near enough
    find_matches(np.ones(len(AXIS)), library, DEFAULT_GRID | {"wavelength": 1.5406})
