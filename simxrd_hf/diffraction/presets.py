"""Presets: the physics of a dataset as plain, printable, versioned data."""

import copy
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from simxrd_hf.diffraction.parameters import INDEX, PARAMETERS, check_distribution
from simxrd_hf.diffraction.scattering import KALPHA
from simxrd_hf.errors import BadInput

PROFILES = ("voigt", "thompson_cox_hastings")
BACKGROUNDS = ("simxrd", "chebyshev")
THERMAL = ("none", "site")


@dataclass(frozen=True)
class Preset:
    """What a simulation draws and how it turns a crystal into a pattern.

    Attributes:
        name: Name.
        version: Changes whenever the same draws would give other patterns.
        description: One line.
        parameters: Distribution of each drawn parameter (see `parameters.PARAMETERS`); a parameter that is absent
            switches its effect off without moving the draws of the others.
        profile: "voigt" (the true convolution) or "thompson_cox_hastings" (pseudo-Voigt).
        thermal: "site": B_iso of each site, by class of element where unknown; "none": only what is drawn.
        anomalous: Whether f' and f'' are used.
        monochromator_two_theta_deg: 2θ of a monochromator; 0 for none (26.4 is graphite 002 with Cu Kα).
        kalpha: Kα1 and Kα2 wavelengths in Å; absent: the wavelength of the grid alone.
        goniometer_radius_mm: R of the displacement and transparency shifts.
        background_shape: "simxrd" (mirrored random polynomial of degree 6) or "chebyshev".
        margin_deg: Lines this far outside the grid still count, through their tails and shifts.

    Raises:
        BadInput: Names the preset and the field.
    """

    name: str
    version: int = 1
    description: str = ""
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    profile: str = "thompson_cox_hastings"
    thermal: str = "site"
    anomalous: bool = True
    monochromator_two_theta_deg: float = 0.0
    kalpha: tuple[float, float] | None = None
    goniometer_radius_mm: float = 240.0
    background_shape: str = "chebyshev"
    margin_deg: float = 2.0

    def __post_init__(self) -> None:
        def bad(name: str, problem: str) -> BadInput:
            return BadInput(f"preset {self.name!r}: {name} {problem}")

        for name, allowed in {"profile": PROFILES, "thermal": THERMAL, "background_shape": BACKGROUNDS}.items():
            if getattr(self, name) not in allowed:
                raise bad(name, f"must be one of {', '.join(allowed)}, not {getattr(self, name)!r}")
        for name, low, high in (
            ("monochromator_two_theta_deg", 0.0, 90.0),
            ("goniometer_radius_mm", 1.0, 1e5),
            ("margin_deg", 0.0, 30.0),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
                raise bad(name, f"must be a number between {low:g} and {high:g}, not {value!r}")
        if self.kalpha is not None:
            if len(self.kalpha) != 2 or not all(0.01 <= value <= 10.0 for value in self.kalpha):
                raise bad("kalpha", f"must be two wavelengths in Å, not {self.kalpha!r}")
            if abs(self.kalpha[1] / self.kalpha[0] - 1.0) > 0.05:
                raise bad("kalpha", f"{self.kalpha} is no doublet: the wavelengths differ by more than 5 %")
            object.__setattr__(self, "kalpha", tuple(float(value) for value in self.kalpha))
        if not isinstance(self.parameters, Mapping):
            raise bad("parameters", "must be a mapping of parameter to distribution")
        for name, spec in self.parameters.items():
            check_distribution(self.name, name, spec)
        widths = {"grain_size_nm", "crystallite_size_nm", "instrument_fwhm_deg"}
        if not any(self.parameters.get(name, {}).get("probability", 0.0 if name not in self.parameters else 1.0) == 1.0
                   for name in widths):  # fmt: skip
            raise bad("parameters", f"must always draw one of {', '.join(sorted(widths))}: lines need a width")
        ordered = {name: dict(self.parameters[name]) for name in INDEX if name in self.parameters}
        object.__setattr__(self, "parameters", ordered)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Columns of drawn parameters, in the fixed order of `PARAMETERS`; all float32."""
        return tuple(self.parameters)

    @cached_property
    def digest(self) -> str:
        """Hexadecimal digest of all that decides a pattern; the description is left out."""
        data = self.to_dict()
        data.pop("description")
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]

    def __hash__(self) -> int:
        return hash(self.digest)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, fit for JSON and YAML."""
        data = {item.name: copy.deepcopy(getattr(self, item.name)) for item in dataclasses.fields(self)}
        data["parameters"] = {
            name: {key: list(value) if isinstance(value, (list, tuple)) else value for key, value in spec.items()}
            for name, spec in self.parameters.items()
        }
        data["kalpha"] = None if self.kalpha is None else list(self.kalpha)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Preset":
        """Rebuild a preset from `to_dict`.

        Raises:
            BadInput: An unknown key, a missing name or a value out of sense.
        """
        known = {item.name for item in dataclasses.fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise BadInput(f"preset: unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}")
        if "name" not in data:
            raise BadInput("preset: name is missing")
        values = dict(data)
        if values.get("kalpha") is not None:
            values["kalpha"] = tuple(values["kalpha"])
        return cls(**values)

    def replace(self, **changes: Any) -> "Preset":
        """A copy with some fields changed; `parameters` may be given in part, None switches one off."""
        parameters = changes.pop("parameters", None)
        if parameters is not None:
            merged = {**self.parameters, **parameters}
            changes["parameters"] = {name: spec for name, spec in merged.items() if spec is not None}
        return dataclasses.replace(self, **changes)


# Published rows start at 9.991 to 10.007°, as their zero shift was rounded to the step and the rest left in the axis;
# here the axis is fixed and lines lie at their true 2θ plus the whole shift. Shapes and ranges: fits of published rows
# (see benchmarks/compatibility.py), ranges rounded outwards. The line intensities of the published rows follow no
# structure factor found so far; here they do.
_SIMXRD_4M = Preset(
    name="simxrd-4m",
    description="Shapes and parameters of the published SimXRD-4M rows, with right d-spacings for all crystal systems",
    parameters={
        "grain_size_nm": {"uniform": [2.0, 15.0]},
        "orientation_spread": {"uniform": [0.0, 0.4]},
        "thermal_displacement_angstrom": {"uniform": [0.0, 0.5]},
        "zero_shift_deg": {"uniform": [-1.2, 1.2]},
        "background_ratio": {"constant": 0.10},
        "uniform_noise_ratio": {"constant": 0.02},
    },
    profile="voigt",
    thermal="none",
    anomalous=False,
    background_shape="simxrd",
    margin_deg=2.0,
)

_LAB = Preset(
    name="lab",
    version=5,
    description="What a Cu laboratory diffractometer does to a powder, for work on measured patterns",
    parameters={
        "crystallite_size_nm": {"log_uniform": [40.0, 4000.0]},
        "microstrain_percent": {"log_uniform": [0.003, 0.2]},
        # minerals are often zoned mixed crystals: lines without tails, several times wider at 75° than at 30°
        "gaussian_microstrain_percent": {"log_uniform": [0.03, 0.35], "probability": 0.25},
        "instrument_fwhm_deg": {"log_uniform": [0.02, 0.1]},
        "caglioti_u": {"uniform": [0.0, 1.2]},
        "caglioti_v": {"uniform": [-1.0, 0.0]},
        # the other half: Soller slits so narrow that no line is visibly skewed
        "axial_s_over_l": {"uniform": [0.005, 0.03], "probability": 0.5},
        "axial_h_over_l": {"uniform": [0.005, 0.03]},
        "kalpha2_ratio": {"uniform": [0.48, 0.52]},
        "zero_shift_deg": {"uniform": [-0.05, 0.05]},
        "displacement_mm": {"uniform": [-0.15, 0.15]},
        "penetration_depth_mm": {"log_uniform": [0.005, 0.2], "probability": 0.3},
        "march_r": {"uniform": [0.4, 1.6], "probability": 0.5},
        "march_axis": {"uniform": [0.0, 12.999]},
        "cell_scale_percent": {"uniform": [-2.5, 1.5]},
        "cell_shape_percent": {"uniform": [0.0, 1.0]},
        "b_overall_angstrom2": {"uniform": [-0.2, 1.0]},
        "background_ratio": {"log_uniform": [0.005, 0.5]},
        "air_scatter_ratio": {"log_uniform": [0.002, 0.1], "probability": 0.7},
        "amorphous_ratio": {"log_uniform": [0.01, 0.2], "probability": 0.4},
        "max_counts": {"log_uniform": [50.0, 30000.0]},
        "detector_noise_percent": {"uniform": [0.0, 1.0]},
        "impurity_fraction": {"uniform": [0.0, 0.1], "probability": 0.15},
        "background_removed": {"uniform": [0.6, 1.0], "probability": 0.6},
        "graininess": {"uniform": [0.0, 0.6], "probability": 0.5},
    },
    profile="thompson_cox_hastings",
    kalpha=(round(KALPHA["Cu"][0], 6), round(KALPHA["Cu"][1], 6)),
    goniometer_radius_mm=240.0,
    margin_deg=3.0,
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (_SIMXRD_4M, _LAB)}


def get_preset(preset: str | Path | Preset) -> Preset:
    """A preset by name, by the path of a .json or .yaml file, or itself.

    Raises:
        BadInput: No such preset, or a file that is not one.
    """
    if isinstance(preset, Preset):
        return preset
    if str(preset) in PRESETS:
        return PRESETS[str(preset)]
    path = Path(preset)
    if path.suffix.lower() not in (".json", ".yaml", ".yml"):
        raise BadInput(f"there is no preset {str(preset)!r}; choose {', '.join(PRESETS)} or a .json or .yaml file")
    if not path.is_file():
        raise BadInput(f"{path}: no such preset file")
    text = path.read_text(encoding="utf-8")
    try:
        if path.suffix.lower() == ".json":
            data = json.loads(text)
        else:
            import yaml

            data = yaml.safe_load(text)
    except ValueError as error:
        raise BadInput(f"{path}: not valid JSON: {error}") from None
    except Exception as error:  # yaml.YAMLError, without importing yaml for JSON files
        raise BadInput(f"{path}: not valid YAML: {error}") from None
    if not isinstance(data, dict):
        raise BadInput(f"{path}: a preset is a mapping of fields")
    try:
        return Preset.from_dict(data)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None


def describe(preset: Preset) -> list[tuple[str, str, str]]:
    """Name, distribution and meaning of each parameter of a preset, for cards and tables."""
    rows = []
    for name, spec in preset.parameters.items():
        text = ", ".join(f"{key} {value}" for key, value in spec.items())
        rows.append((name, text, PARAMETERS[INDEX[name]].meaning))
    return rows
