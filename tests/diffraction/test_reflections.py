"""Positions and intensities against pymatgen, the analytic cell formulas, published standards, brute force."""

import itertools
import warnings

import gemmi
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_crystals import SYSTEMS, cell, corundum, lab6, random_crystal, silicon

from simxrd_hf.diffraction import Crystal, CrystalError, peaks
from simxrd_hf.diffraction.reflections import find_reflections
from simxrd_hf.diffraction.scattering import DEFAULT_B_ISO, anomalous, waasmaier_kirfel

CU_KALPHA1 = 1.5405929


def pymatgen_f0(number, s_squared):
    """f0 of pymatgen's table (four Gaussians, International Tables C 6.1.1)."""
    from pymatgen.analysis.diffraction.xrd import ATOMIC_SCATTERING_PARAMS
    from pymatgen.core import Element

    table = ATOMIC_SCATTERING_PARAMS.get(Element.from_Z(number).symbol)
    if table is None:
        return np.full_like(s_squared, np.nan)
    a, b = np.array(table).T
    return number - 41.78214 * s_squared * (a * np.exp(-b * s_squared[..., None])).sum(-1)


def grouped(two_theta, intensity, gap=1e-4):
    """Lines closer than `gap` joined: both programs merge at 1e-5 degrees, each from its own first line."""
    groups = np.split(np.arange(len(two_theta)), np.flatnonzero(np.diff(two_theta) > gap) + 1)
    total = np.array([intensity[g].sum() for g in groups])
    centre = np.array([np.average(two_theta[g], weights=intensity[g]) for g in groups])
    total *= 100 / total.max()
    return centre[total > 2e-3], total[total > 2e-3]


@pytest.fixture(autouse=True)
def _fine_tolerance_of_pymatgen(monkeypatch):
    """Its own tolerance reports the first of several lines up to 1e-5 degrees apart as the place of all."""
    from pymatgen.analysis.diffraction.core import AbstractDiffractionPatternCalculator

    monkeypatch.setattr(AbstractDiffractionPatternCalculator, "TWO_THETA_TOL", 1e-8)
    monkeypatch.setattr(AbstractDiffractionPatternCalculator, "SCALED_INTENSITY_TOL", 1e-6)


def against_pymatgen(crystal):
    from pymatgen.analysis.diffraction.xrd import XRDCalculator
    from pymatgen.core import Lattice, Structure

    calculator = XRDCalculator(1.54184)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = calculator.get_pattern(
            Structure(Lattice(crystal.lattice), crystal.atomic_numbers.tolist(), crystal.frac_coords),
            two_theta_range=(10, 80),
        )
    ours = peaks(crystal, anomalous=False, thermal="none", form_factor=pymatgen_f0)
    x, y = grouped(ours.two_theta, ours.intensity)
    a, b = grouped(theirs.x, theirs.y)
    assert len(x) == len(a), crystal.crystal_id
    return np.abs(x - a).max(), np.abs(y / b - 1).max()


@pytest.mark.parametrize("system", SYSTEMS)
def test_pymatgen_random_crystals(system):
    rng = np.random.default_rng(SYSTEMS.index(system))
    for i in range(4):
        position, intensity = against_pymatgen(random_crystal(rng, system, 1 + i))
        assert position < 1e-6
        assert intensity < 1e-4


@pytest.mark.parametrize("make", [lab6, silicon, corundum])
def test_pymatgen_standards(make):
    position, intensity = against_pymatgen(make())
    assert position < 1e-6
    assert intensity < 1e-4


@pytest.mark.slow
def test_pymatgen_real_crystals(shared_data):
    """Real structures of all systems; the benchmark does 200 and more."""
    import pyarrow.parquet as pq

    table = pq.read_table(
        shared_data / "structures_dev.parquet",
        columns=["crystal_id", "lattice", "atomic_numbers", "frac_coords", "n_atoms", "crystal_system"],
    )
    size, system = table["n_atoms"].to_numpy(), table["crystal_system"].to_numpy()
    rng = np.random.default_rng(0)
    for s in range(1, 8):
        for i in rng.choice(np.flatnonzero((system == s) & (size < 16)), 3, replace=False):
            row = table.slice(int(i), 1).to_pylist()[0]
            crystal = Crystal(row["crystal_id"], row["lattice"], row["atomic_numbers"], row["frac_coords"])
            position, intensity = against_pymatgen(crystal)
            assert position < 1e-6, crystal.crystal_id
            assert intensity < 1e-4, crystal.crystal_id


# Certified cells: NIST certificates SRM 660c (LaB6, a = 0.4156826 nm), SRM 640f (Si, a = 0.5431144 nm), SRM 676a
# (corundum, a = 0.4759091, c = 1.2991779 nm). Lines: those the certificates compute at 0.15405929 nm;
# for corundum those of the SRM 1976 plate, another specimen, whose cell differs by up to 1e-4.
@pytest.mark.parametrize("digits", [12, 4])
@pytest.mark.parametrize(
    ("symbol", "cell_lengths", "species", "sites"),
    [
        ("P a -3", [5.4166] * 3, ["Fe", "S"], [[0, 0, 0], [0.3851, 0.3851, 0.3851]]),
        ("R -3 c:H", [4.9896, 4.9896, 17.061], ["Ca", "C", "O"], [[0, 0, 0], [0, 0, 0.25], [0.2568, 0, 0.25]]),
        ("P 31 2 1", [4.913, 4.913, 5.405], ["Si", "O"], [[0.4697, 0, 1 / 3], [0.4133, 0.2672, 0.4522]]),
    ],
    ids=["pyrite", "calcite", "quartz"],
)
def test_multiplicities_count_what_the_group_allows(symbol, cell_lengths, species, sites, digits):
    from pymatgen.core import Lattice, Structure

    group = gemmi.SpaceGroup(symbol)
    gamma = 120 if group.crystal_system_str() == "trigonal" else 90
    lattice = Lattice.from_parameters(*cell_lengths, 90, 90, gamma)
    structure = Structure.from_spacegroup(symbol.replace(" ", "").replace(":H", ""), lattice, species, sites)
    numbers = np.array(structure.atomic_numbers)
    found = peaks(Crystal("x", lattice.matrix, numbers, np.round(structure.frac_coords, digits)))
    allowed = gemmi.UnitCell(*cell_lengths, 90, 90, gamma)
    hkl = np.array(list(itertools.product(range(-9, 10), range(-9, 10), range(-22, 23))))
    there = np.array([any(one) and not group.operations().is_systematically_absent(one) for one in hkl.tolist()])
    spacing = np.array(
        [allowed.calculate_d(one) if here else 0.0 for one, here in zip(hkl.tolist(), there, strict=True)]
    )
    strong = found.intensity > 0.1
    for d, multiplicity in zip(found.d[strong], found.multiplicity[strong], strict=True):
        assert multiplicity == (np.abs(spacing / d - 1) < 1e-6).sum(), d


STANDARDS = {
    "LaB6": (lab6, 0.002, [21.358, 30.385, 37.442, 43.507, 48.957, 53.989, 63.219, 67.548, 71.746, 75.844]),
    "Si": (silicon, 0.001, [28.441, 47.301, 56.120, 69.127, 76.373]),
    "Al2O3": (corundum, 0.010, [25.574, 35.149, 37.773, 43.351, 52.548, 57.497, 66.513, 68.203, 76.873, 77.233]),
}


@pytest.mark.parametrize("name", STANDARDS)
def test_published_positions_of_standards(name):
    make, tolerance, published = STANDARDS[name]
    found = peaks(make(), wavelength=CU_KALPHA1)
    for angle in published:
        assert np.abs(found.two_theta - angle).min() < tolerance, angle


def test_lab6_multiplicities_and_strongest_line():
    found = peaks(lab6(), wavelength=CU_KALPHA1)
    assert found.multiplicity[:6].tolist() == [6, 12, 8, 6, 24, 24]
    assert found.intensity.argmax() == 1  # 110, as in every published LaB6 pattern
    assert sorted(np.abs(found.hkl[4]).tolist()) == [0, 1, 2]


def one_over_d_squared(system, p, h, k, m):
    """The textbook formulas, one for each system; p = a, b, c, alpha, beta, gamma (radians)."""
    a, b, c, al, be, ga = p
    if system == "cubic":
        return (h * h + k * k + m * m) / a**2
    if system == "tetragonal":
        return (h * h + k * k) / a**2 + m * m / c**2
    if system == "orthorhombic":
        return h * h / a**2 + k * k / b**2 + m * m / c**2
    if system == "hexagonal":
        return 4 / 3 * (h * h + h * k + k * k) / a**2 + m * m / c**2
    if system == "trigonal":  # rhombohedral axes
        top = (h * h + k * k + m * m) * np.sin(al) ** 2 + 2 * (h * k + k * m + h * m) * (np.cos(al) ** 2 - np.cos(al))
        return top / (a**2 * (1 - 3 * np.cos(al) ** 2 + 2 * np.cos(al) ** 3))
    if system == "monoclinic":
        return (h * h / a**2 + m * m / c**2 - 2 * h * m * np.cos(be) / (a * c)) / np.sin(be) ** 2 + k * k / b**2
    ca, cb, cg = np.cos([al, be, ga])
    volume = 1 - ca**2 - cb**2 - cg**2 + 2 * ca * cb * cg
    top = (h * np.sin(al) / a) ** 2 + (k * np.sin(be) / b) ** 2 + (m * np.sin(ga) / c) ** 2
    top += 2 * k * m / (b * c) * (cb * cg - ca) + 2 * h * m / (a * c) * (ca * cg - cb)
    top += 2 * h * k / (a * b) * (ca * cb - cg)
    return top / volume


@pytest.mark.parametrize("system", SYSTEMS)
def test_analytic_cell_formulas(system):
    rng = np.random.default_rng(7)
    for _ in range(3):
        crystal = random_crystal(rng, system, 2)
        lengths = np.sqrt((crystal.lattice**2).sum(1))
        unit = crystal.lattice / lengths[:, None]
        angles = np.arccos([unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]])
        found = peaks(crystal, thermal="none")
        for d, hkl in zip(found.d, found.hkl, strict=True):
            formula = one_over_d_squared(system, (*lengths, *angles), *map(int, hkl))
            assert d == pytest.approx(formula**-0.5, rel=2e-7)


def brute_force(crystal, wavelength=1.54184):
    """Every hkl of a wide box with direct sums, f' and f'' included."""
    box = int(np.ceil(2 * np.sin(np.radians(40)) / wavelength * np.sqrt((crystal.lattice**2).sum(1)).max())) + 1
    span = np.arange(-box, box + 1)
    hkl = np.array(np.meshgrid(span, span, span)).reshape(3, -1).T
    q = hkl @ np.linalg.inv(crystal.lattice).T
    s2 = (q * q).sum(1) / 4
    keep = (s2 >= (np.sin(np.radians(5)) / wavelength) ** 2) & (s2 <= (np.sin(np.radians(40)) / wavelength) ** 2)
    hkl, s2 = hkl[keep], s2[keep]
    total = np.zeros(len(hkl), complex)
    for i, (number, site) in enumerate(zip(crystal.atomic_numbers, crystal.frac_coords, strict=True)):
        f1, f2 = anomalous(int(number), wavelength)
        b = DEFAULT_B_ISO[number] if crystal.b_iso is None or np.isnan(crystal.b_iso[i]) else crystal.b_iso[i]
        occupancy = 1.0 if crystal.occupancies is None else crystal.occupancies[i]
        f = (waasmaier_kirfel(int(number), s2) + f1 + 1j * f2) * occupancy * np.exp(-b * s2)
        total += f * np.exp(2j * np.pi * hkl @ site)
    return s2, np.abs(total) ** 2


@pytest.mark.parametrize("system", ["triclinic", "hexagonal", "cubic"])
def test_structure_factors_with_everything_on(system):
    rng = np.random.default_rng(3)
    base = random_crystal(rng, system, 5)
    crystal = Crystal(
        "partial",
        base.lattice,
        base.atomic_numbers,
        base.frac_coords,
        occupancies=rng.uniform(0.2, 1, 5),
        b_iso=np.array([0.3, np.nan, 2.0, 0.0, 1.1]),
    )
    s2, f2 = brute_force(crystal)
    found = find_reflections(
        crystal, wavelength=1.54184, two_theta_min=10, two_theta_max=80, anomalous=True, thermal="site"
    )
    assert found.multiplicity.sum() == len(s2)
    assert found.strength.sum() * crystal.volume**2 == pytest.approx(f2.sum(), rel=1e-6)
    for line, strength in zip(found.s_squared[::7], found.strength[::7], strict=True):
        assert strength * crystal.volume**2 == pytest.approx(f2[np.abs(s2 / line - 1) < 1e-7].sum(), rel=1e-5)


def all_lines(crystal):
    return find_reflections(
        crystal, wavelength=1.54184, two_theta_min=10, two_theta_max=80, anomalous=True, thermal="site"
    )


def test_nickel_oxide_with_vacancies():
    """Ni at 0.98 and O at 1.0: 28 + 1000 x 0.98 = 8 + 1000 x 1.0, yet not one element (a halved cell loses 111)."""
    rock_salt = np.array([(0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)])
    atoms = np.vstack((rock_salt, rock_salt + 0.5))
    occupancies = np.repeat([0.98, 1.0], 4)
    crystal = Crystal("Ni0.98O", cell(4.177, 4.177, 4.177), np.repeat([28, 8], 4), atoms, occupancies=occupancies)
    lines = all_lines(crystal)
    assert abs(np.linalg.det(lines.reduced_cell)) == pytest.approx(crystal.volume / 4)
    _, f2 = brute_force(crystal)
    assert lines.strength.sum() * crystal.volume**2 == pytest.approx(f2.sum(), rel=1e-6)
    assert tuple(peaks(crystal).hkl[0]) == (1, 1, 1)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(3, 90),
    st.integers(-25, 25),
    st.integers(-25, 25),
    st.sampled_from([1e-3, 1e-2, 0.1, 1.0, 10.0, 1e2, 1e3]),
    st.integers(0, 10**6),
)
def test_atoms_whose_differences_cancel_are_not_alike(number, step, b_step, weight, seed):
    """Two atoms half a cell apart, whose Z, B and occupancy differ so that many a weighted sum of them agrees."""
    other = min(max(number + step, 1), 98)
    occupancies = np.array([0.5, 0.5 + (number - other) * 1e-3])
    b_iso = np.array([1.0, 1.0 + abs(b_step) * 1e-3 * weight])
    sites = np.random.default_rng(seed).uniform(0, 1, 3) + np.array([(0, 0, 0), (0, 0, 0.5)])
    crystal = Crystal("pair", cell(3.9, 4.4, 7.1), [number, other], sites, occupancies, b_iso)
    lines = all_lines(crystal)
    alike = number == other and b_iso[0] == b_iso[1]
    assert abs(np.linalg.det(lines.reduced_cell)) == pytest.approx(crystal.volume / (2 if alike else 1))
    _, f2 = brute_force(crystal)
    assert lines.strength.sum() * crystal.volume**2 == pytest.approx(f2.sum(), rel=1e-6)


def test_hkl_of_axes_with_indices_in_the_thousands():
    """The representative of a line is chosen index by index, so that a large one does not pass for a sign."""
    long = Crystal("long", cell(3.0, 3.1, 4000.0), [14], [(0, 0, 0)])
    found = peaks(long, two_theta_range=(29.0, 29.6))
    assert (found.hkl[:, 2] > 1000).any()
    assert (found.hkl >= 0).all()  # an orthorhombic crystal has such a form of every line


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(-2, 2), min_size=6, max_size=6), st.integers(0, 10**6))
def test_any_setting_gives_the_same_lines(entries, seed):
    """Another basis of the same lattice, however skewed, changes nothing."""
    x, y, z, u, v, w = entries
    change = np.array([[1, x, y], [0, 1, z], [0, 0, 1]]) @ np.array([[1, 0, 0], [u, 1, 0], [v, w, 1]])
    base = random_crystal(np.random.default_rng(seed), "triclinic", 3)
    other = Crystal("other", change @ base.lattice, base.atomic_numbers, base.frac_coords @ np.linalg.inv(change))
    a, b = peaks(base), peaks(other)
    assert np.allclose(a.two_theta, b.two_theta, atol=1e-8)
    assert np.allclose(a.intensity, b.intensity, rtol=1e-6)


def test_supercell_and_centring_are_found():
    conventional = silicon()
    big = np.diag([2, 1, 3])
    shifts = np.array([(i, 0, k) for i in range(2) for k in range(3)])
    atoms = np.concatenate([conventional.frac_coords + s for s in shifts]) @ np.linalg.inv(big)
    supercell = Crystal("super", big @ conventional.lattice, np.full(48, 14), atoms)
    a, b = peaks(conventional), peaks(supercell)
    assert np.allclose(a.two_theta, b.two_theta, atol=1e-9)
    assert np.allclose(a.intensity, b.intensity, rtol=1e-9)
    assert a.multiplicity.tolist() == b.multiplicity.tolist() == [8, 12, 24, 6, 24]
    lines = find_reflections(
        supercell, wavelength=1.54184, two_theta_min=10, two_theta_max=80, anomalous=True, thermal="site"
    )
    assert abs(np.linalg.det(lines.reduced_cell)) == pytest.approx(conventional.volume / 4)


def test_hkl_are_those_of_the_given_cell():
    for crystal in (silicon(), corundum(), random_crystal(np.random.default_rng(5), "triclinic")):
        found = peaks(crystal)
        d = 1 / np.linalg.norm(found.hkl @ np.linalg.inv(crystal.lattice).T, axis=1)
        assert np.allclose(d, found.d, rtol=1e-7)


def test_very_long_and_flat_cells():
    """An axis of 49 Å (the reference simulator loses half its lines there) and a cell of 30° angles."""
    rng = np.random.default_rng(1)
    long = Crystal("long", cell(4.0, 48.9, 5.1), rng.integers(3, 60, 6), rng.uniform(0, 1, (6, 3)))
    assert against_pymatgen(long)[0] < 1e-6
    flat = Crystal("flat", cell(6, 6, 6, 30, 30, 30), [14, 8], [(0, 0, 0), (0.3, 0.4, 0.5)])
    assert against_pymatgen(flat)[1] < 1e-4


def test_partial_sites_may_share_a_place():
    shared = Crystal("mixed", cell(4, 4, 4), [27, 28], [(0, 0, 0), (0, 0, 0)], occupancies=[0.5, 0.5])
    assert len(peaks(shared).d) > 3


def test_no_reflection_in_range_names_the_crystal():
    tiny = Crystal("tiny", cell(1.0, 1.0, 1.0), [26], [(0, 0, 0)])
    with pytest.raises(CrystalError, match=r"tiny.*no reflection"):
        peaks(tiny)


def test_endless_loops_are_refused_with_the_bound():
    huge = Crystal("huge", cell(900, 900, 900), [26, 8], [(0, 0, 0), (0.3, 0.1, 0.2)])
    with pytest.raises(CrystalError, match=r"huge.*1000000 reflections"):
        peaks(huge)


@pytest.mark.parametrize("argument", [{"wavelength": -1.0}, {"two_theta_range": (80, 10)}, {"thermal": "hot"}])
def test_absurd_arguments(argument):
    from simxrd_hf import BadInput

    with pytest.raises(BadInput):
        peaks(silicon(), **argument)
