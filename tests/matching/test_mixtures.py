"""Several phases at once, against sums of patterns whose weights are known from cells, masses and structure factors."""

import numpy as np
import pytest
import scipy.optimize
from ase.data import atomic_masses
from matching.crystal_truth import AXIS, strained

from simxrd_hf.crystals import crystal
from simxrd_hf.diffraction import Crystal, peaks
from simxrd_hf.diffraction.effects import MARCH_AXES
from simxrd_hf.errors import BadInput
from simxrd_hf.matching import ElementFilter, MixtureSearch, mixture_kernels
from simxrd_hf.matching.mixtures import _Model, _non_negative
from simxrd_hf.matching.similarity_kernels import symmetric_basis
from simxrd_hf.models.resampling_simxrd import DEFAULT_GRID


def by_weight(one: Crystal, weight: float, *, fwhm: float = 0.12, r: float = 1.0, axis=(0, 0, 1)) -> np.ndarray:
    """Pattern of a weight of a crystal: w / ρ · m |F|² LP / V², Gaussian lines of the copper doublet."""
    total = np.zeros(len(AXIS))
    density = atomic_masses[one.atomic_numbers].sum() / one.volume
    for wavelength, part in ((1.540593, 2 / 3), (1.544427, 1 / 3)):
        lines = peaks(one, wavelength=wavelength, two_theta_range=(8, 82))
        theta = np.radians(lines.two_theta / 2)
        lp = (1 + np.cos(2 * theta) ** 2) / (2 * np.sin(theta) ** 2 * np.cos(theta))
        area = lines.multiplicity * lines.f_squared * lp / one.volume**2 / density * weight * part
        sigma = fwhm / 2.3548
        off = (AXIS - lines.two_theta[:, None]) / sigma
        total += (area[:, None] / sigma * np.exp(-0.5 * off**2)).sum(axis=0)
    return total


NAMES = {"rutile": "A2B_tP6_136_f_a-O2Ti", "halite": "AB_cF8_225_a_b-ClNa", "quartz": "A2B_hP9_152_c_a-O2Si"}


@pytest.fixture(scope="module")
def crystals(table) -> dict[str, Crystal]:
    rows = {name: row for row, name in enumerate(table["crystal_id"].to_pylist())}
    return {key: crystal(table, rows[name]) for key, name in NAMES.items()}


def measured(pattern: np.ndarray, rng: np.random.Generator, counts: float = 2e4) -> np.ndarray:
    scaled = pattern / pattern.max() + 0.05
    return rng.poisson(scaled * counts).astype(float)


def test_three_phases_by_weight(crystals, library):
    """Cells off by up to a per cent: names, weights within three points, cells within 0.05 %."""
    rng = np.random.default_rng(1)
    weights = {"rutile": 0.5, "halite": 0.2, "quartz": 0.3}
    true = {k: strained(c, rng, rng.uniform(0.992, 1.004), 0.004) for k, c in crystals.items()}
    total = sum(by_weight(true[k], w) for k, w in weights.items())
    found = MixtureSearch(measured(total, rng), library, DEFAULT_GRID).mixture()
    assert {one.crystal_id for one in found.phases} == {c.crystal_id for c in crystals.values()}
    for one in found.phases:
        key = next(k for k, c in crystals.items() if c.crystal_id == one.crystal_id)
        assert abs(one.weight_fraction - weights[key]) < 0.03
        assert abs(np.linalg.det(one.cell)) == pytest.approx(true[key].volume, rel=1.5e-3)
        assert one.similarity > 0.95
    assert found.unexplained < 0.1 and sum(one.weight_fraction for one in found.phases) == pytest.approx(1)
    assert found.scores[3] == min(found.scores)
    assert [one.weight_fraction for one in found.phases] == sorted(
        (p.weight_fraction for p in found.phases), reverse=True
    )


def test_one_phase_stays_one(crystals, library):
    """A second crystal does not pay where one explains all; asked for, it is given."""
    rng = np.random.default_rng(2)
    for one in crystals.values():
        search = MixtureSearch(measured(by_weight(one, 1.0), rng), library, DEFAULT_GRID)
        found = search.mixture()
        assert [p.crystal_id for p in found.phases] == [one.crystal_id]
        assert found.phases[0].weight_fraction == 1 and found.unexplained < 0.1
    assert len(search.mixture(phases=2).phases) == 2


def test_elements_decide(crystals, library):
    rng = np.random.default_rng(3)
    pattern = measured(by_weight(crystals["rutile"], 0.6) + by_weight(crystals["quartz"], 0.4), rng)
    known = ElementFilter(present=frozenset({"Ti", "Si", "O"}))
    found = MixtureSearch(pattern, library, DEFAULT_GRID, elements=known).mixture()
    assert {p.crystal_id for p in found.phases} == {crystals["rutile"].crystal_id, crystals["quartz"].crystal_id}
    absent = ElementFilter(absent=frozenset({"Ti"}))
    found = MixtureSearch(pattern, library, DEFAULT_GRID, elements=absent).mixture()
    assert not any("Ti" in p.formula for p in found.phases)
    with pytest.raises(BadInput, match="none of the"):
        MixtureSearch(pattern, library, DEFAULT_GRID, elements=ElementFilter(present=frozenset({"Xe"})))


def test_filter_of_elements(library):
    some = ElementFilter(frozenset({"Ti"}), frozenset({"O"}), frozenset({"Si"})).allows(library)
    assert some.any()
    for one, allowed in zip(library.elements, some, strict=True):
        assert allowed == (one <= {"Ti", "O"})


def test_texture_is_found(crystals, library):
    """March–Dollase of a plate, drawn by the definition from each reflection's own angle."""
    one, r = crystals["rutile"], 0.6
    total = np.zeros(len(AXIS))
    lines = peaks(one, wavelength=DEFAULT_GRID["wavelength"], two_theta_range=(8, 82))
    place = next(k for k in range(len(library)) if library.crystal_id[k] == one.crystal_id)
    hkl, cell = library.hkl[place, : library.counts[place]], library.cells[place].astype(float)
    factor = mixture_kernels.texture(cell, hkl, MARCH_AXES[0], r)  # the fourfold axis is the shortest
    d = 1 / np.linalg.norm(hkl @ np.linalg.inv(cell).T, axis=1)
    for line in range(len(lines.d)):
        nearest = np.abs(d - lines.d[line]).argmin()
        height = lines.intensity[line] * (factor[nearest] if abs(d[nearest] - lines.d[line]) < 1e-3 else 1)
        total += height * np.exp(-0.5 * ((AXIS - lines.two_theta[line]) / 0.05) ** 2)
    found = MixtureSearch(measured(total, np.random.default_rng(4)), library, DEFAULT_GRID).mixture()
    assert [p.crystal_id for p in found.phases] == [one.crystal_id]
    assert found.phases[0].march < 0.85 and found.phases[0].march_axis == (1, 0, 0)


def test_march_dollase_factor():
    """A cubic cell's 100: (r² cos² + sin² / r)^(-3/2) over its three axes; the mean over directions is 1."""
    cell, r = np.eye(3) * 4.0, 0.7
    hkl = np.array([[1, 0, 0], [1, 1, 1]], np.int8)
    factor = mixture_kernels.texture(cell, hkl, np.array([1.0, 0, 0]), r)
    assert factor[0] == pytest.approx((r**-3 + 2 * r**1.5) / 3)
    assert factor[1] == pytest.approx((r**2 / 3 + 2 / (3 * r)) ** -1.5)
    cosine = np.linspace(-1, 1, 20001)
    assert np.mean((r**2 * cosine**2 + (1 - cosine**2) / r) ** -1.5) == pytest.approx(1, abs=1e-3)


def test_derivatives_of_a_profile():
    """Against central differences."""
    cell = np.array([[4.0, 0, 0], [0, 5.0, 0], [0.3, 0, 6.0]])
    hkl = np.array([[1, 0, 0], [0, 1, 1], [1, 1, 2]], np.int8)
    design, origin, _ = mixture_kernels.design_of(cell, hkl)
    radiation = np.array([[1.0, 0.7], [1.0025, 0.3]])
    intensity = np.array([1.0, 0.5, 0.7])

    def profile(parameters, shift, displacement, width, rows=1):
        out = np.empty((rows, 1751))
        mixture_kernels.draw(
            design, parameters, intensity, shift, displacement, width, 0.4, radiation, 10.0, 0.04, 1.5418, out
        )
        return out

    full = profile(origin, 0.02, -0.03, 0.2, 4 + len(origin))
    assert full[0].sum() * 0.04 == pytest.approx(2.2, rel=0.03)
    h = 1e-5
    assert np.allclose(
        full[1], (profile(origin, 0.02 + h, -0.03, 0.2) - profile(origin, 0.02 - h, -0.03, 0.2)) / 2 / h, atol=1e-3
    )
    assert np.allclose(
        full[2], (profile(origin, 0.02, -0.03 + h, 0.2) - profile(origin, 0.02, -0.03 - h, 0.2)) / 2 / h, atol=1e-3
    )
    by_width = (profile(origin, 0.02, -0.03, 0.2 * (1 + h)) - profile(origin, 0.02, -0.03, 0.2 * (1 - h))) / 2 / h
    assert np.allclose(full[3], by_width, atol=5e-3)
    for k in range(len(origin)):
        step = np.zeros(len(origin))
        step[k] = h
        slope = (profile(origin + step, 0.02, -0.03, 0.2) - profile(origin - step, 0.02, -0.03, 0.2)) / 2 / h
        assert np.allclose(full[4 + k], slope, atol=0.02 * np.abs(slope).max() + 1e-3)


def test_nothing_to_find(library):
    """No line, or nothing measured: no phase, all unexplained."""
    flat = MixtureSearch(np.ones(len(AXIS)), library, DEFAULT_GRID).mixture()
    assert flat.phases == [] and flat.unexplained == 1
    with pytest.raises(BadInput, match="made for"):
        MixtureSearch(np.ones(len(AXIS)), library, {**DEFAULT_GRID, "wavelength": 0.7})


@pytest.mark.parametrize("curves", [1, 2, 3, 4])
def test_scales_of_many_fits_are_those_of_scipy(curves):
    rng = np.random.default_rng(curves)
    shapes, seen = rng.normal(size=(40, curves, 30)) ** 2, rng.normal(0.3, 1.0, (40, 30))
    shapes[5, -1] = shapes[5, 0]  # two alike: any share of theirs is as good
    shapes[6] = 0.0
    scales = _non_negative(shapes @ shapes.swapaxes(1, 2), (shapes @ seen[..., None])[..., 0])
    assert scales.shape == (40, curves) and (scales >= 0).all()
    left = np.linalg.norm(seen - (scales[:, None] @ shapes)[:, 0], axis=1)
    assert left == pytest.approx([scipy.optimize.nnls(a.T, y)[1] for a, y in zip(shapes, seen, strict=True)], rel=1e-6)


def test_strain_is_the_mean_change_of_lengths():
    basis = symmetric_basis(np.array([[4.0, 0, 0], [1.2, 5.0, 0], [0.4, -0.7, 6.0]]))
    rng = np.random.default_rng(0)
    for _ in range(20):
        tensor = np.eye(3) + rng.normal(0, 0.05, (3, 3))
        tensor = (tensor + tensor.T) / 2
        parameters = np.einsum("kij,ij->k", basis, tensor)
        model = _Model(0, np.empty((0, 6)), parameters, basis, parameters, np.empty(0), 0.1)
        assert (1 + model.strain) ** 6 == pytest.approx(1 / np.linalg.det(tensor), rel=1e-9)
