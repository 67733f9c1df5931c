"""Invented crystals keep what makes the space group, and training on them is a pure function of seed, row and draw."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matching.crystal_truth import cartesian_rotations, space_group

from simxrd_hf.crystals import crystal, prototypes
from simxrd_hf.diffraction import Crystal, CrystalError, Simulator
from simxrd_hf.symmetry import CRYSTAL_SYSTEM_OF
from simxrd_hf.training import TrainConfig
from simxrd_hf.training.isostructural import SCALE_PERCENT, SHAPE_PERCENT, isostructural
from simxrd_hf.training.sources import SimulatedSplit, on_the_fly, open_split, open_training

NONMETALS = {5, 6, 7, 8, 9, 14, 15, 16, 17, 33, 34, 35, 52, 53}
FIXED = {1, 2, 10, 18, 36, 54, 43, 61, *range(84, 99)}
# the largest traceless part of a symmetric matrix of components up to 1
WIDEST = np.sqrt(6 + 24 / 9)


@pytest.fixture(scope="module")
def table():
    return prototypes().table


def strain_of(before: Crystal, after: Crystal) -> np.ndarray:
    return np.linalg.solve(before.lattice, after.lattice)


def test_the_space_group_stays(table):
    groups = table["space_group"].to_numpy()
    rows = [row for row in range(len(groups)) if len(table["atomic_numbers"][row]) <= 40]
    kept = {}
    for row in rows:
        before = crystal(table, row)
        assert space_group(before) == groups[row]
        after = isostructural(before, np.random.default_rng(row))
        assert space_group(after) == groups[row], before.crystal_id
        kept[int(groups[row])] = after
    assert len(kept) > 90 and len(set(CRYSTAL_SYSTEM_OF[np.array(list(kept)) - 1])) == 7


def test_the_strain_is_symmetric_within_bounds_and_in_accord_with_the_crystal(table):
    systems = CRYSTAL_SYSTEM_OF[table["space_group"].to_numpy() - 1]
    scales, shapes = [], {system: [] for system in range(7)}
    for row in range(0, table.num_rows, 2):
        before = crystal(table, row)
        rotations = cartesian_rotations(before)
        for seed in range(3):
            strain = strain_of(before, isostructural(before, np.random.default_rng([row, seed])))
            np.testing.assert_allclose(strain, strain.T, atol=1e-9)
            for rotation in rotations:
                np.testing.assert_allclose(rotation @ strain @ rotation.T, strain, atol=2e-5)
            scale = np.trace(strain) / 3
            scales.append(100 * (scale - 1))
            shape = 100 * (strain - scale * np.eye(3))
            assert np.linalg.norm(shape) <= SHAPE_PERCENT * WIDEST + 1e-6
            assert np.abs(shape - np.diag(np.diag(shape))).max() <= SHAPE_PERCENT * (1 if systems[row] == 0 else WIDEST)
            shapes[int(systems[row])].append(np.linalg.norm(shape))
    assert np.abs(scales).max() <= SCALE_PERCENT + 1e-6
    assert min(scales) < -0.8 * SCALE_PERCENT and max(scales) > 0.8 * SCALE_PERCENT  # the whole range is drawn
    assert max(shapes[6]) < 1e-6  # a cubic cell has no other shape
    assert all(max(shapes[system]) > 0.3 for system in range(6))


def test_the_same_state_of_the_generator_gives_the_same_crystal(table):
    before = crystal(table, 9)
    first, again, other = (isostructural(before, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.lattice, again.lattice) and np.array_equal(first.atomic_numbers, again.atomic_numbers)
    assert not np.allclose(first.lattice, other.lattice)
    assert first.crystal_id == before.crystal_id and np.array_equal(first.frac_coords, before.frac_coords)
    assert not np.array_equal(first.atomic_numbers, before.atomic_numbers)


@settings(max_examples=60, deadline=None)
@given(
    numbers=st.lists(st.integers(1, 98), min_size=1, max_size=12),
    seed=st.integers(0, 2**32),
)
def test_elements_are_exchanged_one_for_one_within_their_kind(numbers, seed):
    places = np.array([(i / 13, 0.5 * (i % 2), 0.25 * (i % 4)) for i in range(len(numbers))])
    occupancies = np.linspace(0.5, 1.0, len(numbers))
    before = Crystal("x", np.diag([20.0, 8.0, 9.0]), np.array(numbers), places, occupancies)
    after = isostructural(before, np.random.default_rng(seed))
    assert np.array_equal(after.occupancies, occupancies)
    pairs = set(zip(before.atomic_numbers.tolist(), after.atomic_numbers.tolist(), strict=True))
    assert len({old for old, _ in pairs}) == len(pairs) == len({new for _, new in pairs})
    for old, new in pairs:
        if old in FIXED:
            assert new == old
        else:
            assert (old in NONMETALS) == (new in NONMETALS) and new not in FIXED


def split(table, rows, *, share, room=0, seed=4):
    return SimulatedSplit(
        table, np.asarray(rows), "space_group", "lab", seed, isostructural_share=share, lines_bytes=room
    )


@pytest.fixture(scope="module")
def small(table):
    """Rows of small cells."""
    sizes = table["atomic_numbers"].combine_chunks().value_lengths().to_numpy()
    return np.flatnonzero(sizes <= 6)[:8]


def test_a_row_hangs_on_seed_row_and_draw_alone(table, small):
    pairs = [(draw, row) for draw in range(9) for row in range(len(small))]
    whole = split(table, small, share=0.6, room=2**30)
    expected = whole.__getitems__(pairs)["intensity"]
    assert whole._prepared and not torch.equal(expected[0], expected[8])
    shuffled = [pairs[i] for i in np.random.default_rng(0).permutation(len(pairs))]
    for room in (0, 60_000, 2**30):
        other = split(table, small, share=0.6, room=room)
        found = dict(zip(shuffled, other.__getitems__(shuffled)["intensity"], strict=True))
        assert all(torch.equal(found[pair], row) for pair, row in zip(pairs, expected, strict=True))
        assert sum(prepared.nbytes for _, prepared in other._prepared.values()) == room - other._room <= room
    # the row of the table counts, not its place among the rows
    assert torch.equal(split(table, small[3:4], share=0.6)[4, 0]["intensity"], found[4, 3])
    assert not torch.equal(split(table, small[3:4], share=1.0, seed=5)[4, 0]["intensity"], found[4, 3])


def test_without_a_share_crystals_are_shown_as_they_are(table, small):
    simulator = Simulator("lab", seed=4)
    plain = split(table, small, share=0.0)
    for draw, row in ((0, 0), (5, 2)):
        alone = simulator.simulate(crystal(table, int(small[row])), [1000 + draw]).intensity[0]
        assert np.array_equal(plain[draw, row]["intensity"].numpy(), alone)


def test_a_share_of_the_draws_is_of_invented_crystals_three_of_each(table, small, monkeypatch):
    """Every pattern is one of the crystal, or of what `isostructural` made; labels stay."""
    made = []

    def spy(before, generator):
        made.append(isostructural(before, generator))
        return made[-1]

    monkeypatch.setattr(on_the_fly, "isostructural", spy)
    simulator = Simulator("lab", seed=4)
    row = 2
    original = crystal(table, int(small[row]))
    kept = split(table, small, share=0.5, room=2**30)
    shown = []
    for draw in range(120):
        made.clear()
        batch = kept[draw, row]
        assert batch["labels"] == table["space_group"][int(small[row])].as_py() - 1
        if made:
            last = made[-1]
        elif draw % 3 == 0:
            last = original  # a new block without a new crystal
        assert not (made and draw % 3)
        assert np.array_equal(batch["intensity"].numpy(), simulator.simulate(last, [1000 + draw]).intensity[0])
        shown.append(last is original)
    assert 12 <= sum(shown[::3]) <= 28
    made.clear()
    always = split(table, small, share=1.0)
    assert len({always[draw, row]["intensity"].numpy().tobytes() for draw in range(6)}) == 6
    assert len(made) == 6  # no memory: made again for every draw
    assert np.array_equal(made[0].lattice, made[2].lattice) and not np.allclose(made[2].lattice, made[3].lattice)


def test_an_invented_crystal_that_cannot_be_simulated_does_not_bar_its_row(table, small, monkeypatch):
    def sometimes(before, generator):
        if generator.random() < 0.4:
            raise CrystalError(f"crystal {before.crystal_id!r}: atoms coincide")
        return isostructural(before, generator)

    monkeypatch.setattr(on_the_fly, "isostructural", sometimes)
    pairs = [(draw, row) for draw in range(0, 18, 3) for row in range(4)]
    with pytest.warns(UserWarning, match="left out"):
        forwards = split(table, small, share=0.8).__getitems__(pairs)
        backwards = split(table, small, share=0.8).__getitems__(pairs[::-1])
    assert torch.equal(forwards["intensity"], backwards["intensity"].flip(0))
    assert torch.equal(forwards["labels"], backwards["labels"].flip(0))


def test_the_setting_is_for_training_rows_alone():
    config = TrainConfig(crystals="prototypes", limit_crystals=40, epochs=1, task="space_group", seed=4)
    invented = config.replace(isostructural=1.0)
    pairs = [(0, row) for row in range(4)]
    plain, other = (open_training(one).__getitems__(pairs)["intensity"] for one in (config, invented))
    assert not any(torch.equal(a, b) for a, b in zip(plain, other, strict=True))
    plain, other = (open_split(one, "validation").__getitems__(pairs)["intensity"] for one in (config, invented))
    assert torch.equal(plain, other)
