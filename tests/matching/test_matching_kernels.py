"""The compiled loops of search/match against the same sums in numpy, and symmetry from spglib."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matching.crystal_truth import cartesian_rotations

from simxrd_hf.crystals import crystal
from simxrd_hf.matching import mixture_kernels
from simxrd_hf.matching import similarity_kernels as kernels
from simxrd_hf.matching.library import BLUR, QUICK_LINES
from simxrd_hf.symmetry import CRYSTAL_SYSTEM_OF

REACH = BLUR / kernels.LOG_D_STEP
WAVELENGTH = 1.54184


def positions(cell, hkl, wavelength=WAVELENGTH):
    q = hkl @ np.linalg.inv(cell).T
    return 2 * np.degrees(np.arcsin(wavelength * np.linalg.norm(q, axis=1) / 2))


def made_up(rng, crystals=6, most=QUICK_LINES + 6):
    """Places, amplitudes and counts of crystals."""
    counts = rng.integers(1, most, crystals)
    amplitude = -np.sort(-rng.uniform(0.05, 1, (crystals, most)), axis=1).astype(np.float32)
    amplitude[np.arange(most) >= counts[:, None]] = 0.0
    places = rng.integers(-50, kernels.LOG_D_BINS + 50, (crystals, QUICK_LINES)).astype(np.int16)
    return places, amplitude, counts


def test_places_are_bins_of_ln_d(library):
    for one in range(0, len(library), 17):
        lines = min(library.counts[one], QUICK_LINES)
        q = library.hkl[one, :lines] @ np.linalg.inv(library.cells[one].astype(float)).T
        expected = (-np.log(np.linalg.norm(q, axis=1)) - np.log(0.7)) / 0.001
        assert np.abs(library.places[one, :lines] - expected).max() <= 0.501


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_crowding(seed):
    places, amplitude, counts = made_up(np.random.default_rng(seed))
    places[0, :10] = np.arange(10) * 3  # some that meet
    found = kernels.crowding(places, amplitude, counts, REACH)
    for i, count in enumerate(np.minimum(counts, QUICK_LINES)):
        p, a = places[i, :count].astype(float), amplitude[i, :count].astype(float)
        meeting = np.clip(1 - np.abs(p[:, None] - p) / REACH, 0, None)
        assert found[i] == pytest.approx(np.sqrt(a @ meeting @ a / (a @ a)), rel=1e-5)


def test_crowding_of_two_lines():
    amplitude = np.ones((3, 2), np.float32)
    places = np.array([[100, 100], [100, 106], [100, 112]], np.int16)
    found = kernels.crowding(places, amplitude, np.array([2, 2, 2]), 12.0)
    np.testing.assert_allclose(found, [np.sqrt(2), np.sqrt(1.5), 1.0], rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_quick_similarity(seed):
    rng = np.random.default_rng(seed)
    places, amplitude, counts = made_up(rng)
    seen = (rng.uniform(0, 1, kernels.LOG_D_BINS) * (rng.uniform(size=kernels.LOG_D_BINS) < 0.2)).astype(np.float32)
    shifts = np.sort(rng.integers(-60, 60, 7))
    low, high = 300, 3000
    best, which = kernels.quick_similarity(places, amplitude, counts, seen, shifts, low, high)
    for i, count in enumerate(np.minimum(counts, QUICK_LINES)):
        values = []
        for shift in shifts:
            at = places[i, :count].astype(int) + shift
            inside = (at >= low) & (at <= high)
            a = amplitude[i, :count][inside].astype(float)
            values.append(a @ seen[at[inside]] / np.sqrt((a @ a) + 1e-12) if inside.any() else 0.0)
        assert best[i] == pytest.approx(max(values), abs=2e-5)
        assert values[which[i]] == pytest.approx(max(values), abs=2e-5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_screen(seed):
    """Σ of what is seen of each line less what is not, at the best shift and level."""
    rng = np.random.default_rng(seed)
    places, amplitude, counts = made_up(rng)
    seen = (rng.uniform(0, 1, kernels.LOG_D_BINS) * (rng.uniform(size=kernels.LOG_D_BINS) < 0.4)).astype(np.float32)
    shifts = np.sort(rng.integers(-60, 60, 7))
    lines, low, high = 24, 300, 3000
    chosen = rng.permutation(len(counts))[:4]
    gain, share, which = mixture_kernels.screen(places, amplitude, counts, chosen, seen, shifts, lines, low, high)
    for place, i in enumerate(chosen):
        values = {}
        for number, shift in enumerate(shifts):
            at = places[i, : min(counts[i], lines)].astype(int) + shift
            inside = (at >= low) & (at <= high)
            a = amplitude[i, : len(at)][inside].astype(float)
            for level in mixture_kernels.LEVELS:
                there = np.minimum(seen[at[inside]], level * a).sum()
                total = level * a.sum()
                values[number, level] = 2 * there - total, there / max(total, 1e-12)
        best = max([0.0, *(value for value, _ in values.values())])
        assert gain[place] == pytest.approx(best, abs=2e-5)
        if best > 1e-3:
            alike = [(key[0], part) for key, (value, part) in values.items() if value > best - 4e-5]
            assert any(
                which[place] == number and share[place] == pytest.approx(part, abs=1e-4) for number, part in alike
            )


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), width=st.floats(0.02, 1.0))
def test_overlap(seed, width):
    rng = np.random.default_rng(seed)
    x, y = (np.sort(rng.uniform(10, 30, rng.integers(1, 40))) for _ in range(2))
    a, b = rng.uniform(0.1, 1, len(x)), rng.uniform(0.1, 1, len(y))
    off = x[:, None] - y
    product = np.where(np.abs(off) <= 6 * width, np.exp(-(off**2) / (4 * width**2)), 0.0)
    assert kernels._overlap(x, a, y, b, width) == pytest.approx(a @ product @ b, rel=1e-9, abs=1e-12)
    assert kernels._overlap(y, b, x, a, width) == pytest.approx(a @ product @ b, rel=1e-9, abs=1e-12)


def test_the_strains_tried_are_those_the_crystal_allows(table, library):
    """A cell has as many free parameters as its crystal system says, and its crystal's symmetry keeps them."""
    free = np.array([6, 4, 3, 2, 2, 2, 1])
    rows = {name: row for row, name in enumerate(table["crystal_id"].to_pylist())}
    equal = 0
    for one in range(0, len(library), 5):
        basis = kernels.symmetric_basis(library.cells[one].astype(np.float64))
        np.testing.assert_allclose(np.einsum("aij,bij->ab", basis, basis), np.eye(len(basis)), atol=1e-4)
        np.testing.assert_allclose(basis, basis.transpose(0, 2, 1), atol=1e-9)
        expected = free[CRYSTAL_SYSTEM_OF[library.space_group[one] - 1]]
        assert len(basis) <= expected  # the lattice may be more symmetric than the crystal
        equal += len(basis) == expected
        same = crystal(table, rows[library.crystal_id[one]])
        for rotation in cartesian_rotations(same)[:, None]:
            np.testing.assert_allclose(rotation @ basis @ rotation.swapaxes(-1, -2), basis, atol=5e-3)
    assert equal >= 0.9 * len(range(0, len(library), 5))


@pytest.mark.parametrize("name", ["Al2O3", "TiO2", "ZrO2", "NaCl", "CaTiO3"])
def test_refined_similarity_is_the_cosine_of_the_strained_lines(table, library, name):
    one = list(library.crystal_id).index(table["crystal_id"][table["formula"].to_pylist().index(name)].as_py())
    count = library.counts[one]
    cell, hkl = library.cells[one].astype(float), library.hkl[one, :count].astype(float)
    amplitude = library.amplitude[one, :count].astype(float)
    place = positions(cell, hkl)
    inside = (place >= 10) & (place <= 80)
    order = np.flatnonzero(inside)[np.argsort(place[inside])]
    width, scale = 0.08, 1.0

    def refined(seen, seen_amplitude, start):
        return kernels.refined_similarity(
            cell, library.hkl[one, :count], amplitude, start, seen, seen_amplitude, 10.0, 80.0, WAVELENGTH, width
        )

    exact, strain, shift, found = refined(place[order], amplitude[order], scale)
    assert exact == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose(found[order], place[order], atol=0.03)
    assert np.abs(strain).max() < 2e-3 and abs(shift) < 0.01  # a neighbour may be taken for a line of a false cube

    rng = np.random.default_rng(0)
    seen = np.sort(place[order] + 0.05 + rng.normal(0, 0.02, len(order)))
    seen_amplitude = amplitude[order] * rng.uniform(0.5, 1.5, len(order))
    value, strain, shift, found = refined(seen, seen_amplitude, 1.004)
    q = hkl @ np.linalg.inv(1.004 * cell).T
    length = np.sqrt(np.einsum("mi,ij,mj->m", q, np.eye(3) + strain, q))
    lines = 2 * np.degrees(np.arcsin(WAVELENGTH * length / 2)) + shift
    np.testing.assert_allclose(found, lines, atol=1e-6)
    used = (lines >= 10) & (lines <= 80)
    lines, a = lines[used], amplitude[used]

    def product(x, u, y, v):
        off = x[:, None] - y
        return u @ np.where(np.abs(off) <= 6 * width, np.exp(-(off**2) / (4 * width**2)), 0.0) @ v

    cosine = product(lines, a, seen, seen_amplitude) / np.sqrt(
        product(lines, a, lines, a) * product(seen, seen_amplitude, seen, seen_amplitude)
    )
    assert value == pytest.approx(cosine, rel=1e-6)
    assert 0.8 < value < 1


def test_nothing_in_the_range_is_no_similarity():
    cell, seen = np.eye(3) * 4.0, np.array([40.0])
    hkl = np.array([[1, 0, 0]], np.int8)
    value, strain, shift, _ = kernels.refined_similarity(
        cell, hkl, np.ones(1), 1.0, seen, np.ones(1), 30.0, 80.0, WAVELENGTH, 0.08
    )
    assert value == 0 and np.abs(strain).max() < 1e-12 and shift == 0


def test_profile_similarity_is_the_cosine_of_the_square_roots():
    axis = np.arange(10, 80, 0.02)
    rng = np.random.default_rng(1)
    place, amplitude, shift, sigma = np.array([12.0, 40.0, 40.2, 79.95]), rng.uniform(0.2, 1, 4), 0.1, 0.07
    root, measured = rng.uniform(0, 1, len(axis)), rng.uniform(0, 1, len(axis)) > 0.2

    def similarity(components, root=root, measured=measured):
        return kernels.profile_similarity(
            place, shift, amplitude, root, measured, 10.0, 0.02, sigma, np.array(components)
        )

    expected = np.zeros(len(axis))
    for wavelength, share in ((0.999, 0.7), (1.002, 0.3)):
        theta = np.arcsin(np.sin(np.radians(place - shift) / 2) * wavelength)
        off = (axis[:, None] - 2 * np.degrees(theta) - shift) / sigma
        expected += (np.where(np.abs(off) <= 4, np.exp(-0.5 * off**2), 0) * share * amplitude**2).sum(axis=1)
    a, b = np.sqrt(expected)[measured], root[measured]
    value = similarity([[0.999, 0.7], [1.002, 0.3]])
    assert value == pytest.approx(a @ b / np.sqrt(a @ a * (b @ b)), rel=1e-9)
    assert similarity([[0.999, 0.7], [1.002, 0.3]], root=np.sqrt(expected)) == pytest.approx(1)
    assert similarity([[1.0, 1.0]], measured=np.zeros(len(axis), dtype=bool)) == 0
    assert similarity([[1.0, 1.0]], root=np.zeros(len(axis))) == 0
    assert similarity([[9.0, 1.0]]) == 0  # no line is reached at so long a wavelength
