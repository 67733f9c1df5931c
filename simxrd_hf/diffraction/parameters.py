"""Every quantity a pattern can draw: its unit, its bounds, and the distributions a preset may give it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from simxrd_hf.compiler import njit
from simxrd_hf.diffraction.philox import draw4, normal_pair
from simxrd_hf.errors import BadInput


@dataclass(frozen=True)
class Parameter:
    """A drawn quantity; an effect is on when a preset gives its parameter a distribution.

    Attributes:
        name: Column name, unit included.
        low: Smallest value that makes sense.
        high: Largest value that makes sense.
        off: Value that leaves the pattern unchanged.
        meaning: One line for cards and help.
    """

    name: str
    low: float
    high: float
    off: float
    meaning: str


PARAMETERS = (
    Parameter(
        "grain_size_nm",
        0.5,
        1e4,
        math.inf,
        "nominal size of the SimXRD rows: Voigt of Lorentzian FWHM 0.888 λ/(D cos θ) read as degrees with D in nm "
        "and λ in Å; the Scherrer size of such lines is about 4.2 D",
    ),
    Parameter(
        "orientation_spread",
        0.0,
        1.0,
        0.0,
        "SimXRD texture: each line times a normal number (mean 1, sd 0.2) clipped to 1 ± this",
    ),
    Parameter(
        "thermal_displacement_angstrom",
        0.0,
        2.0,
        0.0,
        "3-D rms displacement u of all atoms: I exp(-2M), M = 8π²u²/3 (sin θ/λ)²",
    ),
    Parameter(
        "crystallite_size_nm", 0.5, 1e5, math.inf, "volume-weighted size: Lorentzian FWHM 0.9 λ/(D cos θ) radians"
    ),
    Parameter("microstrain_percent", 0.0, 10.0, 0.0, "strain e: Lorentzian FWHM 4 e tan θ radians"),
    Parameter("instrument_fwhm_deg", 0.001, 5.0, 0.0, "Gaussian FWHM of the instrument at 2θ = 40°"),
    Parameter(
        "caglioti_u",
        0.0,
        10.0,
        0.0,
        "U / FWHM(40°)² of the Caglioti curve FWHM² = U tan²θ + V tan θ + W (W follows from FWHM(40°))",
    ),
    Parameter("caglioti_v", -10.0, 10.0, 0.0, "V / FWHM(40°)² of the Caglioti curve"),
    Parameter(
        "axial_s_over_l", 0.0, 0.2, 0.0, "axial divergence: half height of the sample over the goniometer radius"
    ),
    Parameter(
        "axial_h_over_l", 0.0, 0.2, 0.0, "axial divergence: half height of the detector slit over the goniometer radius"
    ),
    Parameter("kalpha2_ratio", 0.0, 1.0, 0.0, "Kα2 / Kα1 intensity"),
    Parameter("zero_shift_deg", -5.0, 5.0, 0.0, "added to every 2θ"),
    Parameter("displacement_mm", -5.0, 5.0, 0.0, "sample displacement s: Δ2θ = -2 s cos θ / R radians"),
    Parameter("penetration_depth_mm", 0.0, 5.0, 0.0, "1/μ of a thick transparent sample: Δ2θ = -sin 2θ / (2 μ R) rad"),
    Parameter("march_r", 0.05, 20.0, 1.0, "March-Dollase r: below 1 platelets, above 1 needles"),
    Parameter(
        "march_axis",
        0.0,
        12.999,
        0.0,
        "index of the preferred reciprocal axis in MARCH_AXES (given cell); rounded down",
    ),
    Parameter("cell_scale_percent", -10.0, 10.0, 0.0, "isotropic strain of the cell"),
    Parameter(
        "cell_shape_percent",
        0.0,
        10.0,
        0.0,
        "size of a random strain of the cell shape, averaged over the lattice symmetry",
    ),
    Parameter("b_overall_angstrom2", -0.5, 20.0, 0.0, "added to every B_iso: I exp(-2 B (sin θ/λ)²)"),
    Parameter("background_ratio", 0.0, 100.0, 0.0, "highest point of the smooth background over the highest line"),
    Parameter("air_scatter_ratio", 0.0, 100.0, 0.0, "air scatter (∝ 1/2θ) at the first point over the highest line"),
    Parameter("amorphous_ratio", 0.0, 100.0, 0.0, "highest of 1 to 3 broad humps over the highest line"),
    Parameter(
        "uniform_noise_ratio", 0.0, 10.0, 0.0, "SimXRD noise: uniform from 0 to this times the highest line, added"
    ),
    Parameter("max_counts", 10.0, 1e9, math.inf, "counts at the highest point: Poisson noise"),
    Parameter("detector_noise_percent", 0.0, 50.0, 0.0, "relative Gaussian noise of each point (detector response)"),
    Parameter("impurity_fraction", 0.0, 1.0, 0.0, "strongest line of a second phase over the strongest of the crystal"),
    Parameter(
        "background_removed",
        0.0,
        1.5,
        0.0,
        "share of the mean background subtracted after counting, as in processed files; its noise stays",
    ),
    Parameter(
        "graininess",
        0.0,
        2.0,
        0.0,
        "few grains: each line times a log-normal number of this standard deviation of its logarithm, mean 1",
    ),
    Parameter(
        "gaussian_microstrain_percent",
        0.0,
        10.0,
        0.0,
        "strain e of a spread of cells, as in zoned or mixed crystals: Gaussian FWHM 4 e tan θ radians",
    ),
)
INDEX = {parameter.name: i for i, parameter in enumerate(PARAMETERS)}
N_PARAMETERS = len(PARAMETERS)

KINDS = {"constant": 1, "uniform": 2, "log_uniform": 3, "normal": 4}


def check_distribution(preset: str, name: str, spec: Any) -> None:
    """Refuse a distribution that cannot be drawn.

    A distribution is plain data: `{"constant": x}`, `{"uniform": [a, b]}`, `{"log_uniform": [a, b]}` or
    `{"normal": [mean, sd]}` (clipped to the bounds of the parameter), with an optional `"probability"`: the part of
    the patterns that have the effect, the others take its neutral value.

    Raises:
        BadInput: Names the preset and the parameter.
    """
    where = f"preset {preset!r}: parameter {name!r}"
    if name not in INDEX:
        raise BadInput(f"{where} is not known; known are {', '.join(INDEX)}")
    if not isinstance(spec, Mapping):
        raise BadInput(f'{where} must be a distribution such as {{"uniform": [a, b]}}, not {spec!r}')
    kinds = [key for key in spec if key != "probability"]
    if len(kinds) != 1 or kinds[0] not in KINDS:
        raise BadInput(f"{where} must have one of {', '.join(KINDS)}, not {kinds}")
    kind = kinds[0]
    values = [spec[kind]] if kind == "constant" else spec[kind]
    wanted = 1 if kind == "constant" else 2
    if (
        not isinstance(values, (list, tuple))
        or len(values) != wanted
        or not all(isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in values)
    ):
        raise BadInput(f"{where}: {kind} takes {wanted} finite number{'s' * (wanted > 1)}, not {spec[kind]!r}")
    parameter = PARAMETERS[INDEX[name]]
    bounded = values[:1] if kind == "normal" else values
    if any(not parameter.low <= v <= parameter.high for v in bounded):
        raise BadInput(f"{where}: {spec[kind]} is absurd; it must lie between {parameter.low:g} and {parameter.high:g}")
    if kind in ("uniform", "log_uniform") and not values[0] <= values[1]:
        raise BadInput(f"{where}: {kind} {values} must rise")
    if kind == "log_uniform" and values[0] <= 0.0:
        raise BadInput(f"{where}: log_uniform needs positive bounds, not {values}")
    if kind == "normal" and values[1] < 0.0:
        raise BadInput(f"{where}: the standard deviation {values[1]} is negative")
    probability = spec.get("probability", 1.0)
    if isinstance(probability, bool) or not isinstance(probability, (int, float)) or not 0.0 <= probability <= 1.0:
        raise BadInput(f"{where}: probability must lie between 0 and 1, not {probability!r}")


def compile_distributions(distributions: Mapping[str, Mapping[str, Any]]) -> np.ndarray:
    """Distributions as a table for `draw_parameters`: kind, two values, probability, off value, bounds (n, 7)."""
    table = np.zeros((N_PARAMETERS, 7))
    for i, parameter in enumerate(PARAMETERS):
        table[i, 4:] = parameter.off, parameter.low, parameter.high
        spec = distributions.get(parameter.name)
        if spec is None:
            continue
        kind = next(key for key in spec if key != "probability")
        values = [spec[kind], 0.0] if kind == "constant" else spec[kind]
        table[i, :4] = KINDS[kind], values[0], values[1], spec.get("probability", 1.0)
    return table


@njit(cache=True, nogil=True)
def draw_parameters(table: np.ndarray, key0: int, key1: int, conditions: np.ndarray) -> np.ndarray:
    """Draw all parameters of some conditions; parameter i draws from stream i, so one does not move another.

    Returns:
        float32 (len(conditions), n); the values are used as rounded, so the columns of a dataset are exact.
    """
    out = np.empty((len(conditions), len(table)), np.float32)
    for row in range(len(conditions)):
        for i in range(len(table)):
            kind, a, b, probability, off = table[i, 0], table[i, 1], table[i, 2], table[i, 3], table[i, 4]
            value = off
            if kind != 0.0:
                u, v, w, chance = draw4(key0, key1, conditions[row], i, np.int64(0))
                if chance <= probability:
                    if kind == 1.0:
                        value = a
                    elif kind == 2.0:
                        value = a + (b - a) * u
                    elif kind == 3.0:
                        value = a * np.exp(np.log(b / a) * u)
                    else:
                        value = min(max(a + b * normal_pair(v, w)[0], table[i, 5]), table[i, 6])
            out[row, i] = value
    return out
