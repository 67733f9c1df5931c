"""Profiles and effects against phasesmith, scipy and the formulas they cite."""

import math

import numpy as np
import pytest
from sample_crystals import lab6, silicon
from scipy.special import voigt_profile

from simxrd_hf.diffraction import PatternGrid, Simulator, effects, get_preset, profiles
from simxrd_hf.diffraction.presets import Preset
from simxrd_hf.diffraction.rendering import NODES

GRID = PatternGrid(wavelength=1.540593)


def plain(**parameters):
    """A preset with a width and nothing else but what is asked for."""
    fields = {k: parameters.pop(k) for k in list(parameters) if k in Preset.__dataclass_fields__}
    values = {name: {"constant": value} for name, value in parameters.items()}
    return Preset("test", parameters=values, **{"thermal": "none", "anomalous": False, **fields})


def pattern(crystal=None, grid=GRID, **parameters):
    return Simulator(plain(**parameters), grid=grid).simulate(crystal or lab6(), [0]).intensity[0]


def single_line(y, low, high, grid=GRID):
    part = (grid.two_theta > low) & (grid.two_theta < high)
    return grid.two_theta[part], y[part]


def fwhm(x, y):
    half = y.max() / 2
    above = np.flatnonzero(y > half)
    a, b = above[0], above[-1]
    left = x[a - 1] + (half - y[a - 1]) / (y[a] - y[a - 1]) * (x[a] - x[a - 1])
    right = x[b] + (y[b] - half) / (y[b] - y[b + 1]) * (x[b + 1] - x[b])
    return right - left


def one_line(n, centre, fwhm, add, gamma, sigma, eta=1.0):
    """A line on the whole grid: what `add` puts near it, and its tail; widths in steps."""
    grids = profiles.new_grids(*profiles.make_layout(n))
    level, size = profiles.level_of(fwhm)
    profiles.clear(grids, level)
    tail, made = np.empty(3), np.empty(n, np.float32)
    profiles.tail_of(eta, gamma * size, sigma * size, tail)
    add(grids, level, size, tail)
    profiles.add_tail(grids, level, centre * size, size, tail)
    profiles.sum_grids(grids, level, made)
    return made


CENTRES = (1700.3, 0.0, -40.2, 3520.7, -300.4, 4100.9)
WIDTHS = (1.0, 3.0, 5.9, 12.0, 23.9, 24.1, 47.0, 49.0, 150.0, 1000.0)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("share", [0.05, 0.4, 0.8, 0.9])
def test_voigt_line_against_scipy(width, share):
    """On every level of the grids, inside the pattern, at its ends and far outside."""
    n, gauss, lorentz = 3501, (1 - share) * width, share * width
    sigma, gamma = gauss / 2.3548200450309493, lorentz / 2
    coefficients = np.empty((2, 8), np.float32)
    profiles.voigt_coefficients(gamma / (sigma * math.sqrt(2)), coefficients)
    for centre in CENTRES:

        def add(grids, level, size, tail, centre=centre):
            profiles.add_near_voigt(grids, level, centre * size, size, sigma * size, coefficients, tail)

        made = one_line(n, centre, width, add, gamma, sigma)
        truth = voigt_profile(np.arange(n) - centre, sigma, gamma)
        assert np.abs(made - truth).max() < 2.5e-4 * voigt_profile(0, sigma, gamma)
        far = np.abs(np.arange(n) - centre) > max(400, 10 * width)
        assert np.abs(made[far] / truth[far] - 1).max(initial=0) < 0.02


@pytest.mark.parametrize("width", [w for w in WIDTHS if w >= profiles.NARROWEST])
def test_voigt_line_from_the_table_against_scipy(width):
    n, ratio = 3501, effects.SIMXRD_GAUSS_PER_LORENTZ
    lorentz = width / (0.5346 + math.sqrt(0.2166 + ratio**2))
    sigma, gamma = ratio * lorentz / 2.3548200450309493, lorentz / 2
    table = profiles.voigt_table(ratio)
    for centre in CENTRES:

        def add(grids, level, size, tail, centre=centre):
            profiles.add_near_from_table(grids, level, centre * size, size, width * size, table)

        made = one_line(n, centre, width, add, gamma, sigma)
        truth = voigt_profile(np.arange(n) - centre, sigma, gamma)
        assert np.abs(made - truth).max() < 2.5e-4 * voigt_profile(0, sigma, gamma)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("n", [32, 33, 3501])
def test_pseudo_voigt_line_against_its_formula(width, eta, n):
    for centre in CENTRES:

        def add(grids, level, size, tail, centre=centre):
            profiles.add_near_pseudo_voigt(grids, level, centre * size, size, width * size, eta, tail)

        made = one_line(n, centre, width, add, width / 2, 0.0, eta)
        x = np.arange(n) - centre
        normal = 2 / width * math.sqrt(math.log(2) / math.pi)
        truth = eta * width / 2 / math.pi / (x * x + width**2 / 4)
        truth += (1 - eta) * normal * np.exp(-4 * math.log(2) * (x / width) ** 2)
        assert np.abs(made - truth).max() < 2.5e-4 * (eta * 2 / math.pi / width + (1 - eta) * normal)


def test_pseudo_voigt_against_phasesmith():
    phasesmith = pytest.importorskip("phasesmith")
    x = np.linspace(28.0, 32.0, 2001)
    gauss, lorentz = 0.06, 0.09
    theirs = np.asarray(phasesmith.profile_tch(x - 30.0, gauss, lorentz).value)
    width, eta = profiles.thompson_cox_hastings(gauss, lorentz)
    normal = 2 / width * math.sqrt(math.log(2) / math.pi) * np.exp(-4 * math.log(2) * ((x - 30) / width) ** 2)
    ours = eta * (width / 2 / math.pi) / ((x - 30) ** 2 + width**2 / 4) + (1 - eta) * normal
    assert np.abs(ours - theirs).max() < 1e-5 * theirs.max()


@pytest.mark.parametrize(("s", "h"), [(0.02, 0.02), (0.035, 0.01), (0.005, 0.03), (0.04, 0.039)])
@pytest.mark.parametrize("angle", [12.0, 30.0, 75.0, 120.0])
def test_axial_divergence_against_phasesmith(angle, s, h):
    """Nodes of the axial divergence, broadened, against phasesmith's Finger-Cox-Jephcoat profile."""
    phasesmith = pytest.importorskip("phasesmith")
    gauss, lorentz = 0.05, 0.04
    x = np.linspace(angle - 3, angle + 1.5, 3001)
    theirs = phasesmith.profile_fcj(x, angle, gauss, lorentz, phasesmith.FcjGeometry(s, h)).value
    width, eta = profiles.thompson_cox_hastings(gauss, lorentz)
    shifts, weights = np.empty(64), np.empty(64)
    two_theta = math.radians(angle)
    n = effects.axial_nodes(math.sin(two_theta), math.cos(two_theta), s, h, width, 1.0, NODES, shifts, weights)
    assert weights[:n].sum() == pytest.approx(1.0)
    ours = np.zeros_like(x)
    for shift, weight in zip(shifts[:n], weights[:n], strict=True):
        z = x - angle - shift
        normal = 2 / width * math.sqrt(math.log(2) / math.pi) * np.exp(-4 * math.log(2) * (z / width) ** 2)
        ours += weight * (eta * (width / 2 / math.pi) / (z**2 + width**2 / 4) + (1 - eta) * normal)
    assert np.abs(ours - theirs).max() < 3e-3 * np.max(theirs)


def test_scherrer_width():
    x, y = single_line(pattern(crystallite_size_nm=20.0, instrument_fwhm_deg=0.001), 29.0, 32.0)
    theta = math.radians(30.385 / 2)
    assert fwhm(x, y) == pytest.approx(math.degrees(0.9 * 1.540593 / (200 * math.cos(theta))), rel=0.02)


def test_strain_width():
    x, y = single_line(pattern(microstrain_percent=0.4, instrument_fwhm_deg=0.001), 70.5, 73.0)
    assert fwhm(x, y) == pytest.approx(math.degrees(4 * 0.004 * math.tan(math.radians(71.746 / 2))), rel=0.02)


def test_gaussian_strain_widens_as_lorentzian_strain_does_but_has_no_tails():
    """A spread of cells: 4 e tan θ wide at half height; a twentieth of the height is reached at 2.08 half widths."""
    x, y = single_line(pattern(gaussian_microstrain_percent=0.4, instrument_fwhm_deg=0.001), 70.5, 73.0)
    width = math.degrees(4 * 0.004 * math.tan(math.radians(71.746 / 2)))
    assert fwhm(x, y) == pytest.approx(width, rel=0.02)
    high = x[y > 0.05 * y.max()]
    assert high[-1] - high[0] == pytest.approx(math.sqrt(math.log(20) / math.log(2)) * width, rel=0.02)


def test_caglioti_passes_through_its_width_at_40_degrees():
    for u, v in ((0.0, 0.0), (1.2, -1.0), (0.3, -0.2)):
        assert effects.caglioti_width(0.08, u, v, math.tan(math.radians(20))) == pytest.approx(0.08)
    u, v, w = 0.8, -0.5, 1 - 0.8 * math.tan(math.radians(20)) ** 2 + 0.5 * math.tan(math.radians(20))
    t = math.tan(math.radians(35))
    assert effects.caglioti_width(0.1, u, v, t) == pytest.approx(0.1 * math.sqrt(u * t * t + v * t + w))


def test_simxrd_rows_widths():
    """gamma/G = 0.5, sigma²/G² = 1/(8√2), FWHM 1.375 G: the shape of the published rows; true size 4.2 D."""
    preset = plain(grain_size_nm=5.0, profile="voigt")
    x, y = single_line(Simulator(preset, grid=GRID).simulate(lab6(), [0]).intensity[0], 28.0, 33.0)
    cos = math.cos(math.radians(30.385 / 2))
    g = 0.888 * 1.540593 / (5.0 * cos)
    truth = voigt_profile(x - 30.385, math.sqrt(g * g / (8 * math.sqrt(2))), g / 2)
    assert np.abs(y / y.max() - truth / truth.max()).max() < 0.01
    assert fwhm(x, y) == pytest.approx(1.375 * g, rel=0.01)
    beta = math.radians(1.375 * g)
    assert 0.9 * 1.540593 / (beta * cos) / 10 == pytest.approx(4.2 * 5.0, rel=0.02)


@pytest.mark.parametrize(
    ("parameters", "shift"),
    [
        ({"zero_shift_deg": 0.3}, lambda t: 0.3),
        ({"displacement_mm": 0.2}, lambda t: math.degrees(-2 * 0.2 / 240 * math.cos(t / 2))),
        ({"penetration_depth_mm": 0.5}, lambda t: math.degrees(-0.5 * math.sin(t) / (2 * 240))),
    ],
)
def test_shifts(parameters, shift):
    grid = PatternGrid(20, 80, 0.005, 1.540593)
    base = pattern(grid=grid, instrument_fwhm_deg=0.1)
    moved = pattern(grid=grid, instrument_fwhm_deg=0.1, **parameters)
    for low, high in ((29.5, 31.5), (70.8, 72.8)):
        x, a = single_line(base, low, high, grid)
        _, b = single_line(moved, low, high, grid)
        measured = np.average(x, weights=b) - np.average(x, weights=a)
        assert measured == pytest.approx(shift(math.radians(x[a.argmax()])), abs=3e-3)


def test_kalpha_doublet():
    grid = PatternGrid(60, 80, 0.005, 1.540593)
    y = pattern(grid=grid, instrument_fwhm_deg=0.03, kalpha2_ratio=0.5, kalpha=(1.540593, 1.544427))
    x, y = single_line(y, 71.2, 72.4, grid)
    first = x[y.argmax()]
    second = 2 * math.degrees(math.asin(math.sin(math.radians(first / 2)) * 1.544427 / 1.540593))
    near = np.abs(x - second) < 0.05
    assert y[near].max() / y.max() == pytest.approx(0.5, abs=0.02)
    assert x[near][y[near].argmax()] == pytest.approx(second, abs=0.006)


def test_monochromator_changes_only_the_polarisation():
    a = pattern(instrument_fwhm_deg=0.1)
    b = pattern(instrument_fwhm_deg=0.1, monochromator_two_theta_deg=26.4)
    ratio = {}
    for name, low, high in (("110", 29.9, 30.9), ("211", 53.5, 54.5)):
        ratio[name] = single_line(b, low, high)[1].sum() / single_line(a, low, high)[1].sum()
    c = math.cos(math.radians(26.4)) ** 2

    def factor(degrees):
        q = math.cos(math.radians(degrees)) ** 2
        return (1 + c * q) / (1 + q)

    assert ratio["211"] / ratio["110"] == pytest.approx(factor(53.99) / factor(30.385), rel=2e-3)


def test_march_dollase_keeps_the_mean_over_the_sphere():
    cosines = (np.arange(20_000) + 0.5) / 20_000
    for r in (0.5, 0.8, 1.0, 1.5):
        assert np.mean([effects.march_dollase(r, c) for c in cosines]) == pytest.approx(1.0, abs=2e-3)


def test_texture_raises_the_lines_of_its_axis():
    base = pattern(instrument_fwhm_deg=0.1)
    platelets = pattern(instrument_fwhm_deg=0.1, march_r=0.6, march_axis=2.0)
    sums = [[single_line(y, low, low + 1)[1].sum() for low in (20.9, 29.9)] for y in (base, platelets)]
    # 100: one of three axes lies along the preferred one
    f = [np.mean([effects.march_dollase(0.6, c) for c in cosines]) for cosines in ((1, 0, 0), (0, 0.5**0.5, 0.5**0.5))]
    assert (sums[1][0] / sums[1][1]) / (sums[0][0] / sums[0][1]) == pytest.approx(f[0] / f[1], rel=0.01)


def test_thermal_motion():
    cold, warm = pattern(instrument_fwhm_deg=0.1), pattern(instrument_fwhm_deg=0.1, thermal_displacement_angstrom=0.3)
    b = 8 * math.pi**2 * 0.3**2 / 3
    ratio = [
        single_line(warm, low, low + 1)[1].sum() / single_line(cold, low, low + 1)[1].sum() for low in (29.9, 71.2)
    ]
    s = [(math.sin(math.radians(t / 2)) / 1.540593) ** 2 for t in (30.385, 71.746)]
    assert ratio[1] / ratio[0] == pytest.approx(math.exp(-2 * b * (s[1] - s[0])), rel=5e-3)


def test_strain_keeps_cubic_lines_together():
    """Any strain of a cubic cell is a scale: no line splits, all d move alike."""
    wide = {"instrument_fwhm_deg": 0.05}
    assert np.array_equal(pattern(**wide), pattern(**wide, cell_shape_percent=3.0)) or np.allclose(
        pattern(**wide), pattern(**wide, cell_shape_percent=3.0), atol=1e-3
    )
    scaled = pattern(**wide, cell_scale_percent=1.0)
    x, y = single_line(scaled, 29.0, 31.5)
    expected = 2 * math.degrees(math.asin(math.sin(math.radians(30.385 / 2)) / 1.01))
    assert x[y.argmax()] == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("anode", ["Cr", "Fe", "Co", "Cu", "Mo", "Ag"])
def test_other_anodes(anode):
    from simxrd_hf.diffraction.scattering import KALPHA, mean_wavelength

    wavelength = mean_wavelength(anode)
    assert KALPHA[anode][0] < wavelength < KALPHA[anode][1]
    y = Simulator("simxrd-4m", grid=PatternGrid(wavelength=wavelength)).simulate(silicon(), [0]).intensity
    assert np.isfinite(y).all() and y.max() == pytest.approx(100)


@pytest.mark.parametrize("name", ["simxrd-4m", "lab"])
def test_error_against_full_evaluation(name, reference):
    simulator = Simulator(get_preset(name))
    errors = [reference.pattern_error(simulator, crystal, c) for crystal in (lab6(), silicon()) for c in range(4)]
    assert max(errors) < 0.05
