"""The slow, plain truth the fast profiles are measured against: every line on every point, in float64."""

import math

import numpy as np
from scipy.special import wofz

from simxrd_hf.diffraction import Crystal, Simulator, background
from simxrd_hf.diffraction import lines as ln
from simxrd_hf.diffraction import simulator as fast
from simxrd_hf.diffraction.parameters import INDEX, draw_parameters
from simxrd_hf.diffraction.philox import crystal_key

NODES = 400  # midpoints in the height of the axial divergence


def smooth_preset(preset):
    """The preset without background and noise: lines alone."""
    off = ("background_ratio", "air_scatter_ratio", "amorphous_ratio", "uniform_noise_ratio", "max_counts",
           "background_removed", "detector_noise_percent", "impurity_fraction")  # fmt: skip
    return preset.replace(parameters=dict.fromkeys(off))


def reference_pattern(simulator: Simulator, crystal: Crystal, condition: int) -> np.ndarray:
    """One pattern by direct evaluation, float64 (n_points,), not scaled, lines only.

    Takes the draws and the list of lines from the simulator (without merging lines where no draw is tied to a line)
    and evaluates each profile in full: Voigt by the Faddeeva function, the pseudo-Voigt by its formula, the axial
    divergence by the midpoint rule with 400 heights.
    """
    names = simulator.preset.parameter_names
    drawn = draw_parameters(simulator._table, *crystal_key(crystal.crystal_id, simulator.seed), np.array([condition]))[
        0
    ]
    merge = fast.MERGE_DEG
    if not {"orientation_spread", "graininess"} & set(names):  # these draw a number for each line of the list
        fast.MERGE_DEG = 1e-7
    try:
        lines = simulator._lines(crystal)
    finally:
        fast.MERGE_DEG = merge
    table = np.empty((ln.ROWS, len(lines.s_squared)))
    key0, key1 = crystal_key(crystal.crystal_id, simulator.seed)
    work = background.new_work(table.shape[1])
    room = ln.Room(np.empty((3, 3, 3)), np.empty(len(lines.member_strength)))
    ln.lines_of(lines, simulator._settings, simulator._measured, drawn, key0, key1, condition, table, 0, work, room)
    first, second, area, gauss, lorentz, sine = table[:6]
    value = {name: float(drawn[INDEX[name]]) for name in INDEX}
    ratio = value["kalpha2_ratio"]
    settings = simulator._settings
    waves = [(first, sine, 1.0 / (1.0 + ratio))]
    if ratio > 0:
        waves.append((second, sine * (settings.wavelength2 / settings.wavelength), ratio / (1.0 + ratio)))
    x = simulator.grid.two_theta
    y = np.zeros_like(x)
    for places, sines, share in waves:
        for place, sin, a, g, w in zip(places, sines, area * share, gauss, lorentz, strict=True):
            for shift, weight in _axial(sin, value["axial_s_over_l"], value["axial_h_over_l"]):
                y += a * weight * _profile(x - place - shift, g, w, simulator.preset.profile)
    return y


def _axial(sin_theta: float, s: float, h: float) -> list[tuple[float, float]]:
    """Shifts (degrees) and weights of a line at sin θ seen at many heights; Finger, Cox and Jephcoat (1994)."""
    if s <= 0 or h <= 0:
        return [(0.0, 1.0)]
    z = (np.arange(NODES) + 0.5) / NODES * (h + s)
    seen = np.where(z < abs(h - s), 2 * min(h, s), h + s - z)
    two_theta = 2 * math.asin(sin_theta)
    cosine = math.cos(two_theta) * np.sqrt(1 + z * z)
    inside = np.abs(cosine) < 1
    phi = np.arccos(cosine[inside])
    weight = seen[inside] / (np.sin(phi) * (1 + z[inside] ** 2))
    return list(zip(np.degrees(phi - two_theta), weight / weight.sum(), strict=True))


def _profile(x: np.ndarray, gauss: float, lorentz: float, kind: str) -> np.ndarray:
    if kind == "voigt":
        sigma = gauss / math.sqrt(8 * math.log(2))
        z = (x + 0.5j * lorentz) / (sigma * math.sqrt(2))
        return wofz(z).real / (sigma * math.sqrt(2 * math.pi))
    f = (gauss**5 + 2.69269 * gauss**4 * lorentz + 2.42843 * gauss**3 * lorentz**2 + 4.47163 * gauss**2 * lorentz**3
         + 0.07842 * gauss * lorentz**4 + lorentz**5) ** 0.2  # fmt: skip
    q = lorentz / f
    eta = 1.36603 * q - 0.47719 * q**2 + 0.11116 * q**3
    normal = 2 / f * math.sqrt(math.log(2) / math.pi) * np.exp(-4 * math.log(2) * (x / f) ** 2)
    return eta * (f / 2 / math.pi) / (x * x + f * f / 4) + (1 - eta) * normal


def pattern_error(simulator: Simulator, crystal: Crystal, condition: int) -> float:
    """Largest difference between the fast and the full evaluation, percent of the highest peak."""
    plain = Simulator(smooth_preset(simulator.preset), seed=simulator.seed, grid=simulator.grid)
    truth = reference_pattern(plain, crystal, condition)
    made = plain.simulate(crystal, [condition]).intensity[0]
    return float(np.abs(made - truth * (100.0 / truth.max())).max())


__all__ = ["pattern_error", "reference_pattern", "smooth_preset"]
