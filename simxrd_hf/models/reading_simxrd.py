"""Two-column text files (.xy, .csv, .txt, .dat) → a pattern; the reader that travels with a model's own code."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from .resampling_simxrd import WAVELENGTH_LIMITS

# Kα1 and Kα2 of the usual tubes, Å; Kα2 has half the intensity of Kα1.
_ANODES = {
    "Cu": (1.5405929, 1.5444274),
    "Co": (1.7889960, 1.7928350),
    "Mo": (0.7093172, 0.7136070),
    "Fe": (1.9360410, 1.9399730),
    "Cr": (2.2897260, 2.2936510),
    "Ag": (0.5594218, 0.5638131),
}
# A wavelength behind its name, with a unit or in Å.
_VALUE = r"[^0-9\n]{0,30}?(?<![\d.])([0-9]?[.,][0-9]{2,8}|[0-9][.,][0-9]+)\s*(nm|pm)?"
_KALPHA = [
    re.compile(
        rf"(?:k[\s_-]*(?:alpha|α|a)[\s_-]*{n}|alpha[\s_-]*{n}|wave_?length[\s_-]*{n}|\bwl{n}|lambda[\s_-]*{n}){_VALUE}",
        re.I,
    )
    for n in "12"
]
_WAVELENGTH = re.compile(rf"(?:wave[\s_-]*length|lambda|λ|\bwl\b){_VALUE}", re.I)
_TUBE = re.compile(
    rf"\b(?:anode|target|radiation|tube)\b[^\n\w]{{0,8}}(?:material|name)?[^\n\w]{{0,8}}({'|'.join(_ANODES)})\b", re.I
)
_LINE = re.compile(rf"\b({'|'.join(_ANODES)})[\s_-]*k[\s_-]*(?:alpha|α|a)[\s_-]*([12])?(?![a-z0-9])", re.I)

_SEPARATOR = re.compile(r"[,;\s]+")
# Column heads, lower case without blanks, by the axis they mean.
_HEADS = {
    "two_theta": ("2theta", "two_theta", "twotheta", "2θ", "tth", "angle", "2theta(deg)", "2-theta"),
    "d": ("d", "d_spacing", "dspacing", "d(å)"),
    "q": ("q", "q(1/å)", "q(å-1)", "q_a^-1"),
}


def read_pattern(path: str | Path) -> dict[str, Any]:
    """Read one pattern from a text file.

    The first column is the axis, the second the intensity, further ones are ignored; a file of one column lies on the
    model's grid. Lines that do not start with a number are comments or the column heads, which may name the axis
    (2theta, d or q); without them it is 2θ in degrees. They may also name the wavelength or the tube.

    Returns:
        "intensity" and, if there are two columns, one of "two_theta", "d", "q"; float64 arrays. With "two_theta" also
        "wavelength" in Å, None where the file is silent.

    Raises:
        ValueError: The file has no numbers, or rows of different length.
        OSError: The file cannot be read.
    """
    rows: list[list[float]] = []
    words: list[str] = []
    axis = "two_theta"
    for number, line in enumerate(Path(path).read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        fields = [field for field in _SEPARATOR.split(line.strip()) if field]
        try:
            values = [float(field) for field in fields[:2]]
        except ValueError:
            if rows and not line.lstrip().startswith(("#", "!", ";", "%", "/")):
                raise ValueError(f"{path}, line {number}: expected numbers, got {line.strip()[:40]!r}") from None
            words.append(line[:500])
            head = line.strip().lstrip("#!;%/ ").replace(" ", "").lower()
            axis = next((kind for kind, names in _HEADS.items() if _SEPARATOR.split(head)[0] in names), axis)
            continue
        if not values:
            continue
        if rows and len(values) != len(rows[0]):
            raise ValueError(f"{path}, line {number}: {len(values)} columns, the lines before have {len(rows[0])}")
        rows.append(values)
    if len(rows) < 2:
        raise ValueError(f"{path}: no columns of numbers found; expected two, 2θ (or d, q) and intensity")
    table = np.array(rows)
    if table.shape[1] == 1:
        return {"intensity": table[:, 0]}
    pattern: dict[str, Any] = {axis: table[:, 0], "intensity": table[:, 1]}
    if axis == "two_theta":
        pattern["wavelength"] = wavelength_in("\n".join(words[:300]))
    return pattern


def wavelength_in(text: str) -> float | None:
    """Wavelength in Å that the words of a file state, the mean of Kα1 and Kα2 where both count; None if silent."""
    line, tube = _LINE.search(text), _TUBE.search(text)
    first, second = (_angstrom(pattern.search(text)) for pattern in _KALPHA)
    single = _angstrom(_WAVELENGTH.search(text))
    if first is None or second is None:
        first, second = (first if first is not None else single), None
    if first is None and (line or tube):
        anode = line[1] if line else tube[1]  # type: ignore[index]
        first, second = _ANODES[anode.capitalize()]
        if line and line[2] == "1":
            second = None
    if first is not None and second is not None and 0 < (second - first) / first < 0.02:
        return (first + 0.5 * second) / 1.5
    return first


def _angstrom(match: re.Match[str] | None) -> float | None:
    if match is None:
        return None
    value = float(match[1].replace(",", ".")) * {"nm": 10.0, "pm": 0.01}.get((match[2] or "").lower(), 1.0)
    low, high = WAVELENGTH_LIMITS
    return value if low <= value <= high else None
