"""What free-text headers say: radiation, the meaning of a column, the kind of scan."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns.pattern import ANODES, emission
from simxrd_hf.patterns.quantities import (
    LENGTH_UNIT,
    LONGEST_USUAL,
    NUMBER,
    decimal,
    length_in_angstrom,
    wavelength_in_angstrom,
)

# --- radiation --------------------------------------------------------------------------------------------------------

_ANODE = r"(Cu|Co|Mo|Fe|Cr|Ag)"
_KALPHA = r"k?[\s_-]*(?:alpha|α)|k[\s_-]*a"
# Between a label and its number: no digit; a unit may stand there ("Wavelength (nm): 0.15406").
_VALUE = (
    rf"([^0-9\n]{{0,40}}?)(?<![\d.])(?<!\d,)({NUMBER})\s*[\"']?\s*[(\[]?\s*({LENGTH_UNIT})?(?![A-Za-z0-9^⁻-]|\s*\^)"
)
_KALPHA1 = re.compile(rf"(?:(?:{_KALPHA})[\s_-]*1|wave_?length[\s_-]*1|\bwl1|lambda[\s_-]*1)(?!\d){_VALUE}", re.I)
_KALPHA2 = re.compile(rf"(?:(?:{_KALPHA})[\s_-]*2|wave_?length[\s_-]*2|\bwl2|lambda[\s_-]*2)(?!\d){_VALUE}", re.I)
_WAVELENGTH = re.compile(rf"(?:wave[\s_-]*length|lambda|λ|\bwl\b){_VALUE}", re.I)
_ENERGY = re.compile(
    rf"\benergy[\s\"']*(?:[(\[]?\s*(k?ev)\s*[)\]]?)?[\s:=,\"']*({NUMBER})\s*(?:[(\[]?\s*(k?ev))?(?![A-Za-z])", re.I
)
# The share of Kα2: "Ratio K-Alpha2/K-Alpha1, 0.000", "WLRATIO=0.5", "Ratio 0.50000".
_RATIO = re.compile(
    rf"(?:(?:{_KALPHA})[\s_-]*[12]\s*/\s*(?:{_KALPHA})[\s_-]*[12]|\bratio(?:[\s_-]*(?:{_KALPHA})[\s_-]*[12]\s*/?\s*"
    rf"(?:(?:{_KALPHA})[\s_-]*[12])?)?|wl[\s_-]*ratio|ratioalpha21)[^\d\n]{{0,12}}?(?<![\d.])({NUMBER})",
    re.I,
)
_TUBE = re.compile(
    rf"\b(?:anode|target|radiation|tube)\b[^\n\w]{{0,8}}(?:material|name)?[^\n\w]{{0,8}}{_ANODE}\b", re.I
)
_LINE = re.compile(rf"\b{_ANODE}[\s_-]*k[\s_-]*(?:alpha|α|a)[\s_-]*([12])?(?![a-z0-9])", re.I)
_NEUTRON = re.compile(r"\bneutrons?\b", re.I)


def _angstrom(match: re.Match[str] | None, anode: str | None, warnings: list[str] | None) -> float | None:
    """The wavelength of a labelled number in Å; what cannot be told goes to `warnings`."""
    if match is None:
        return None
    before, number, after = match[1], match[2], match[3]
    unit = after or next(
        (found[1] for found in re.finditer(rf"(?:[(\[/_\s]|\bin\s)({LENGTH_UNIT})(?![A-Za-z])", before, re.I)), None
    )
    if unit in {"M", "MM"}:  # "M" is mega, or a word's first letter
        unit = None
    bare = not re.search(r"[.,eE]", number)
    if bare and unit is None:
        return None  # "wavelength 1", "alpha 2": a number of something else
    value = decimal(number)
    found = wavelength_in_angstrom(value, unit)
    if found is None and unit is None and 0.05 <= value < LONGEST_USUAL / 10:
        for first, second in (ANODES[name] for name in ANODES if anode is None or name == anode.capitalize()):
            if anode is not None and 0.995 * first <= 10 * value <= 1.005 * second:
                return 10 * value  # the tube decides
        note = f"the header's wavelength {number} has no unit (Å or nm?) and is not used"
        if warnings is not None and note not in warnings:
            warnings.append(note)
    elif found is None and unit is not None and warnings is not None and value > 0:
        warnings.append(f"the header's wavelength {number} {unit} is not plausible and is ignored")
    return found


def radiation(text: str, warnings: list[str] | None = None) -> tuple[float | None, dict[str, Any]]:
    """Wavelength (Å) and tube as stated in header text; (None, {}) when it is silent.

    Args:
        text: Header lines.
        warnings: Takes what the header says and cannot be used.
    """
    ratio_found = _RATIO.search(text)
    ratio = decimal(ratio_found[1]) if ratio_found else None
    text = _RATIO.sub(" ", text)
    line, tube = _LINE.search(text), _TUBE.search(text)
    anode = line[1] if line else (tube[1] if tube else None)
    first, second = (_angstrom(pattern.search(text), anode, warnings) for pattern in (_KALPHA1, _KALPHA2))
    if first is not None and second is not None:
        found, facts = emission(first, second, ratio, anode=anode)
    else:
        single = first if first is not None else _angstrom(_labelled(text), anode, warnings)
        if single is None:
            single = _from_energy(text)
        if single is not None:
            found, facts = emission(single, anode=anode)
        else:
            found, facts = emission(None, ratio=ratio, anode=anode, line=f"Ka{line[2] or ''}" if line else None)
    if _NEUTRON.search(text):
        facts["probe"] = "neutron"
    return found, facts


def _labelled(text: str) -> re.Match[str] | None:
    """The first wavelength with a number that can be one."""
    return next((m for m in _WAVELENGTH.finditer(text) if re.search(r"[.,eE]", m[2]) or m[3]), None)


def _from_energy(text: str) -> float | None:
    for found in _ENERGY.finditer(text):
        unit = found[3] or found[1]
        if unit and (value := wavelength_in_angstrom(decimal(found[2]), unit)) is not None:
            return value
    return None


# --- columns ----------------------------------------------------------------------------------------------------------

_TWO_THETA = re.compile(
    r"(?<!sin)(?<!sin[\s(])2[\s_*.×·-]*(?:theta|thêta|teta|θ|ϑ|th(?![a-z]))|two[\s_-]*theta|(?<![a-z])t?ttheta|"
    r"(?<![a-z])tth(?![a-z])|\b2t\b|^polar[\s_]angle|^(?:bragg|diffraction)?[\s_-]*angle\b|winkel|[aá]ngulo|angolo|ângulo|угол|角度|"
    r"衍射角|回折角|^[(\[]?(?:deg|degrees?|°)[)\]]?$|^2\s?q$",  # 2q: θ in the font Symbol
    re.I,
)
_D = re.compile(
    r"^d(?:$|[\s([/,-]|_(?!r\b|gr?\b|[xy]\b|i\b)|hkl|space|spacing|value)|interplanar|netzebenenabstand", re.I
)
_Q = re.compile(r"(?:^|[\s_])\|?q\|?(?:$|[\s_([/,-]|value)|scattering[\s_]vector|momentum[\s_]transfer", re.I)
_NOT_AN_AXIS = re.compile(
    r"^1\s*/\s*d|d\s*\*|d\s*\^|d\*|sin|q\s*(?:\^|²|\*\*)\s*2?|log|time|date|chi\b(?!_q)|phi|omega|psi", re.I
)
_FOREIGN = re.compile(
    r"\benergy|\bk?ev\b|^r(?:$|[\s_([])|\bradi(?:us|al)\b|^time\b|\btime\s*[(\[]|^t\s*[(\[]s|\bchi\b|\bphi\b|\bpsi\b|"
    r"\bomega\b|^z(?:$|[\s_([])|temp(?:erature|\.)|\bpixel|\bchannel|\btof\b|time.of.flight|^d\s*\*|^1\s*/\s*d|"
    r"sin.{0,3}(?:theta|θ)|^theta\b|^θ|\bth\b|raman|wave\s*number|wellenzahl|^epoch\b|azimuth|"
    r"microsec|^wavelength|\bvoltage|\bfield\b|g\(r\)",
    re.I,
)
_NO_NAME = re.compile(
    r"^(?:pnt|points?|pt|x|x[\s_-]?(?:axis|data|values?)|abscissa|col(?:umn)?[\s_]?\d+|no\.?|nr\.?|index|#|)$", re.I
)
_INTENSITY = re.compile(
    r"intens|inten[sz]|count|\bcps\b|\bcn?ts\b|^y(?:_?obs)?$|^i(?:_?obs)?$|^i[\s_]?[(\[]|^chi_i$|\bint\b|int\.|signal|"
    r"det(?:ector|\b|\d)|^obs|observed|\byobs|impuls|z[äa]hl|ereign|coups|comptes|conteggi|conteo|cuentas|contagens|"
    r"интенс|имп|强度|強度|计数|計数|カウント|\bapd\b|scint|pilatus|mythen|lynxeye|pixcel|cyber|\broi\d*\b|^data$",
    re.I,
)
_NOT_INTENSITY = re.compile(
    r"sigma|σ|\besds?\b|err(?:or)?s?\b|\bstd\b|std\.\s?abw|\bsd\b|uncert|fehler|calc|berechn|^i?back$|\bycal|\bbck|backg|\bbkg|diff(?:erence)?\b|"
    r"weight|fwhm|time|\bdate|\btemp|epoch|^seconds\b|^monitor|frame|[-−]\s*y_?cal|^points?\b|^(?:no|nr)\b|index",
    re.I,
)
_MONITOR = re.compile(r"^(?:monitor|mon|i_?0|izero|i_?zero|ic\d?|io|ion|ionchamber|ion[\s_]chamber)$", re.I)
_CPS = re.compile(r"\bcps\b|counts?\s*/\s*s|counts? per sec", re.I)
_COUNTS = re.compile(r"\bcounts?\b|\bcts\b", re.I)
_REFLECTIONS = re.compile(
    r"^(?:h|k|l|hkl|\(hkl\)|mult(?:iplicity|\.)?|fwhm.*|rel\.?\s*int.*|d-?spacing|d|\|f\|.*|f\^?2)$", re.I
)


class Axis(NamedTuple):
    """What a label says of a column.

    Attributes:
        kind: One of `simxrd_hf.patterns.pattern.AXES`.
        scale: What the column's numbers are to be multiplied by for the kind's unit (0.01 for hundredths of a degree).
    """

    kind: str
    scale: float = 1.0


def _plain(label: str) -> str:
    return re.sub(r"\s+", " ", label.strip().strip("\"'#").strip())


def axis_of(label: str) -> Axis | None:
    """The axis a column label with its unit names; None when it names none we can use."""
    label = _plain(label)
    if _TWO_THETA.search(label):
        if re.search(r"(?<![a-z])m(?:illi)?rad", label, re.I):
            return Axis("two_theta_radians", 1e-3)
        if re.search(r"(?<![a-z])rad(?:ian)?s?(?![a-z])", label, re.I):
            return Axis("two_theta_radians")
        if re.search(r"centi|(?<![a-z])c(?:deg|°)|1\s*/\s*100|deg\s*[x*×]\s*100|100\s*[x*×]", label, re.I):
            return Axis("two_theta", 0.01)
        return Axis("two_theta")
    if _NOT_AN_AXIS.search(label):
        return None
    unit = _unit(label)
    if _D.search(label):
        return Axis("d", unit)
    if _Q.search(label):
        return Axis("q_nm") if unit == 10.0 else Axis("q", 1 / unit)
    return None


def _unit(label: str) -> float:
    """Å in the unit of length a label names; 1 where it names none."""
    if re.search(r"nm|nano", label, re.I):
        return 10.0
    for found in re.finditer(rf"(?<![A-Za-z])({LENGTH_UNIT})(?![A-Za-z])", label, re.I):
        if (factor := length_in_angstrom(found[1])) is not None:
            return factor
    return 1.0


def foreign_axis(label: str) -> bool:
    """Whether a column label names a quantity that is neither 2θ, d nor q."""
    label = _plain(label)
    return axis_of(label) is None and bool(_FOREIGN.search(label))


def is_unnamed(label: str) -> bool:
    """Whether a column label says nothing ("x", "Column1")."""
    return bool(_NO_NAME.match(_plain(label)))


def is_intensity(label: str) -> bool:
    """Whether a column label names the measured intensity."""
    label = _plain(label)
    return bool(_INTENSITY.search(label)) and not _NOT_INTENSITY.search(label) and not is_monitor(label)


def may_be_intensity(label: str) -> bool:
    """Whether a column of this label may hold intensities: it names nothing else known here ("Sample_A")."""
    label = _plain(label)
    return axis_of(label) is None and not (foreign_axis(label) or _NOT_INTENSITY.search(label) or is_monitor(label))


def is_monitor(label: str) -> bool:
    """Whether a column label names the beam monitor."""
    return bool(_MONITOR.match(_plain(label)))


def lists_reflections(labels: list[str]) -> bool:
    """Whether column labels are those of a list of lines (2θ, I, d, h k l) and not of a scan."""
    plain = [_plain(label).lower() for label in labels]
    if {"h", "k", "l"} <= set(plain) or any(re.fullmatch(r"\(?\s*h\s*k\s*l\s*\)?", label) for label in plain):
        return True
    kinds = [label for label in plain if _REFLECTIONS.match(label)]
    return any(label.startswith(("fwhm", "rel", "mult")) for label in kinds) and len(kinds) > 1


def unit_of(label: str) -> str:
    """Intensity unit a label names: "cps", "counts" or "arbitrary"."""
    if _CPS.search(label):
        return "cps"
    return "counts" if _COUNTS.search(label) else "arbitrary"


# What PDFgetX2 and X3, PDFgetN and their kin write: G(r), or F(Q) and S(Q), none of them intensities.
_REDUCED = re.compile(r"\bG\s?\(r\)|pair distribution|\boutputtype\s*=\s*(?:fq|sq|gr)\b", re.I)
_REDUCED_COLUMN = re.compile(r"[FGS]\s*\(.*\)")


def refuse_reduced(lines: Iterable[str], column: str, path: str) -> None:
    """Refuse what was made of a pattern and is none: pair distribution and structure functions.

    Args:
        lines: Header lines.
        column: Name of the column of values, empty where it has none.
        path: For messages.

    Raises:
        BadInput: A line or the column names such a function.
    """
    if _REDUCED_COLUMN.fullmatch(column) or any(_REDUCED.search(line) for line in lines):
        raise BadInput(
            f"{path}: a pair distribution or structure function, G(r), F(Q) or S(Q), whose values are no intensities; "
            "give the diffraction pattern it was made of"
        )


# --- scans ------------------------------------------------------------------------------------------------------------

_SCAN = re.compile(
    r"\b(?:scan[\s_-]*(?:type|axis)|x[\s_-]?axis)\s*[\"']?\s*[:=,\t]\s*[\"']?\s*([^\"',;\t\n]{1,40})", re.I
)
_ALONG_TWO_THETA = re.compile(r"2theta|twotheta|2th|gonio|coupled|^detector|thetatheta|^2t|^detectorscan", re.I)
_ALONG_ELSE = re.compile(
    r"^(?:phi|chi|psi|omega|theta|rocking.*|x|y|z|tilt|time.*|temperature|energy|eta|fixed.*|pole.*)(?:scan|axis)?$",
    re.I,
)


def require_two_theta(name: str | None, path: str, *, known_only: bool = True) -> None:
    """Refuse scans along anything but 2θ.

    Args:
        name: The scan's axis or type as the file names it; nothing is refused when it is empty.
        path: For messages.
        known_only: Refuse what is not known to run along 2θ; otherwise only what is known to run along something else.

    Raises:
        BadInput: The scan runs along another axis; the message names it.
    """
    plain = _plain_scan(name or "")
    along_else = bool(_ALONG_ELSE.match(plain))
    if plain and (along_else or (known_only and not _ALONG_TWO_THETA.search(plain))):
        raise BadInput(f"{path}: the scan runs along {(name or '').strip()!r}, not along 2θ; a powder scan is needed")


def check_scan(text: str, path: str) -> bool:
    """Refuse a table whose header names a scan along something else ("Scantype: Z").

    Returns:
        Whether it names one along 2θ.

    Raises:
        BadInput: It names another one.
    """
    named = [found[1] for found in _SCAN.finditer(text)]
    for name in named:
        require_two_theta(name, path, known_only=False)
    return any(_ALONG_TWO_THETA.search(_plain_scan(name)) for name in named)


def _plain_scan(name: str) -> str:
    return re.sub(r"[\s_/*()-]", "", name.strip().lower())
