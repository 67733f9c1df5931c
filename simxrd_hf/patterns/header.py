"""What free-text headers say: wavelength, anode, the meaning of a column."""

import re
from typing import Any

from simxrd_hf.patterns.numbers import first_number
from simxrd_hf.patterns.pattern import emission, plausible_wavelength

_ANODE = r"(Cu|Co|Mo|Fe|Cr|Ag)"
_VALUE = r"[^0-9\n]{0,30}?(?<![\d.])([0-9]?[.,][0-9]{2,8}|[0-9][.,][0-9]+)\s*(nm|pm)?"
_KALPHA1 = re.compile(
    r"(?:k[\s_-]*(?:alpha|α|a)[\s_-]*1|alpha[\s_-]*1|wave_?length[\s_-]*1|\bwl1|lambda[\s_-]*1)" + _VALUE, re.I
)
_KALPHA2 = re.compile(
    r"(?:k[\s_-]*(?:alpha|α|a)[\s_-]*2|alpha[\s_-]*2|wave_?length[\s_-]*2|\bwl2|lambda[\s_-]*2)" + _VALUE, re.I
)
_WAVELENGTH = re.compile(r"(?:wave[\s_-]*length|lambda|λ|\bwl\b)" + _VALUE, re.I)
_TUBE = re.compile(
    rf"\b(?:anode|target|radiation|tube)\b[^\n\w]{{0,8}}(?:material|name)?[^\n\w]{{0,8}}{_ANODE}\b", re.I
)
_LINE = re.compile(rf"\b{_ANODE}[\s_-]*k[\s_-]*(?:alpha|α|a)[\s_-]*([12])?(?![a-z0-9])", re.I)

_TWO_THETA = re.compile(r"2[\s_*-]*(?:theta|θ|th\b)|two[\s_-]*theta|\btth\b|\b2t\b|^angle\b|winkel", re.I)
_D = re.compile(r"^d(?:$|[\s_([/,-]|space|spacing|value)", re.I)
_Q = re.compile(r"^q(?:$|[\s_([/,-]|value)|scattering[\s_]vector|momentum[\s_]transfer", re.I)
_RADIANS = re.compile(r"\brad(?:ian)?s?\b", re.I)
_NANOMETRE = re.compile(r"nm|nano", re.I)
_INTENSITY = re.compile(
    r"intens|count|\bcps\b|\bcts\b|^y(?:_?obs)?$|^i(?:_?obs)?$|^i[\s_]?\(|int\.|signal|det\d|^obs", re.I
)
_MONITOR = re.compile(r"^(?:monitor|mon|i_?0|izero|i_?zero|ic0|io)$", re.I)
_CPS = re.compile(r"\bcps\b|counts?\s*/\s*s|counts? per sec", re.I)
_COUNTS = re.compile(r"\bcounts?\b|\bcts\b", re.I)


def _angstrom(match: re.Match[str] | None) -> float | None:
    if match is None:
        return None
    value = first_number(match[1])
    if value is None:
        return None
    return plausible_wavelength(value * {"nm": 10.0, "pm": 0.01}.get((match[2] or "").lower(), 1.0))


def radiation(text: str) -> tuple[float | None, dict[str, Any]]:
    """Wavelength (Å) and tube as stated in header text; (None, {}) when it is silent."""
    line, tube = _LINE.search(text), _TUBE.search(text)
    anode = line[1] if line else (tube[1] if tube else None)
    first, second = _angstrom(_KALPHA1.search(text)), _angstrom(_KALPHA2.search(text))
    single = _angstrom(_WAVELENGTH.search(text))
    if first is not None and second is not None:
        return emission(first, second, anode=anode)
    if first is not None or single is not None:
        return emission(first if first is not None else single, anode=anode)
    return emission(None, anode=anode, monochromatic=bool(line and line[2] == "1"))


def axis_of(label: str) -> str | None:
    """The axis (one of `AXES`) a column label or unit names; None when it names none."""
    label = label.strip().strip("\"'#").strip()
    if _TWO_THETA.search(label):
        return "two_theta_radians" if _RADIANS.search(label) else "two_theta"
    if _D.search(label):
        return "d"
    if _Q.search(label):
        return "q_nm" if _NANOMETRE.search(label) else "q"
    return None


def is_intensity(label: str) -> bool:
    """Whether a column label names the intensity."""
    return bool(_INTENSITY.search(label.strip().strip("\"'")))


def is_monitor(label: str) -> bool:
    """Whether a column label names the beam monitor."""
    return bool(_MONITOR.match(label.strip().strip("\"'")))


def unit_of(label: str) -> str:
    """Intensity unit a label names: "cps", "counts" or "arbitrary"."""
    if _CPS.search(label):
        return "cps"
    return "counts" if _COUNTS.search(label) else "arbitrary"
