"""Numbers and quantities with units as diffraction files write them: strict, bounded, a unit never ignored."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.errors import BadInput

# Each digit can be matched in one way only: with \d+\.?\d* a long run of digits takes quadratic time to be refused.
_POINT = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eEdD][+-]?\d{1,3})?", re.ASCII)
_COMMA = re.compile(r"[+-]?(?:\d+(?:,\d*)?|,\d+)(?:[eEdD][+-]?\d{1,3})?", re.ASCII)
# A number with its unit, wherever it stands in a header; group 1 is the number, group 2 the unit.
NUMBER = r"[+-]?(?:\d+(?:[.,]\d+|\.(?!\d))?|[.,]\d+)(?:[eEdD][+-]?\d{1,3})?(?![\d.,]*\d)"
LENGTH_UNIT = r"nanomet(?:er|re)s?|picomet(?:er|re)s?|met(?:er|re)s?|angstr(?:ö|oe|o)ms?|ang\b|[µμu]m|nm|pm|mm|m|å|Å|a"
_ENERGY_UNIT = r"kev|ev"
# Å in one unit of length, by how the unit begins (the longest first).
_ANGSTROM = (
    ("ang", 1.0),
    ("nano", 10.0),
    ("nm", 10.0),
    ("pico", 0.01),
    ("pm", 0.01),
    ("mm", 1e7),
    ("m", 1e10),
    ("u", 1e4),
    ("µ", 1e4),
    ("μ", 1e4),
    ("å", 1.0),
    ("a", 1.0),
)
KEV_ANGSTROM = 12.398419843320026
"""Energy of a photon in keV times its wavelength in Å: h c, exact since the SI of 2019."""
LONGEST_USUAL = 2.6
"""Å; beyond it hardly a powder pattern is measured, so a bare number below a tenth of it may be nm as well as Å."""
# What exporters write where a value is missing.
_MISSING = frozenset({"nan", "na", "n/a", "null", "none", "inf", "+inf", "-inf", "infinity", "-", "--", "?", "."})


def to_float(token: str, decimal: str = ".") -> float | None:
    """The number a token writes, NaN where it says that a value is missing, None where it is no number."""
    pattern = _POINT if decimal == "." else _COMMA
    if pattern.fullmatch(token):
        return float(token.replace(",", ".").replace("D", "e").replace("d", "e"))
    return float("nan") if token.lower() in _MISSING else None


def first_number(text: str | None) -> float | None:
    """The first number in a text, with a decimal point or comma; None without one."""
    found = re.search(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d{1,3})?", text or "", re.ASCII)
    if not found:
        return None
    value = float(found.group().replace(",", "."))
    return value if np.isfinite(value) else None


def length_in_angstrom(unit: str) -> float | None:
    """Å in one unit of length ("nm", "Å", "m", "Angstroem" …); None for a word that names none."""
    word = unit.strip().casefold()
    if not re.fullmatch(LENGTH_UNIT, word, re.I):
        return None
    return next(factor for start, factor in _ANGSTROM if word.startswith(start))


def wavelength_in_angstrom(value: float, unit: str | None) -> float | None:
    """A wavelength, or the energy of a photon, in Å.

    Args:
        value: The number.
        unit: Its unit, or None where a file gives none: then Å between 0.26 and 5, m below 1e-9; between 0.05 and
            0.26 it may be Å or nm and nothing is said.

    Returns:
        Å, or None when the number is no wavelength (0.05 … 5 Å) or its unit cannot be told.
    """
    if unit is None:
        if 5e-12 <= value <= 5e-10:  # a number so small is a wavelength in metres alone (older pyFAI writes no unit)
            return value * 1e10
        return value if LONGEST_USUAL / 10 <= value <= 5 else None
    factor = length_in_angstrom(unit)
    if factor is not None:
        angstrom = value * factor
    elif not re.fullmatch(_ENERGY_UNIT, unit, re.I):
        return None
    else:
        kev = value / (1000 if unit.casefold() == "ev" else 1)
        if kev <= 0:
            return None
        angstrom = KEV_ANGSTROM / kev
    return angstrom if 0.05 <= angstrom <= 5 else None


def angstrom(text: str | None, unit: str | None = None) -> float | None:
    """A length in Å where a format defines its unit: Å unless the file itself names another.

    Args:
        text: Holds the number, perhaps followed by its unit.
        unit: What the file says beside it; empty or None for nothing.

    Returns:
        Å; None without a number, or with a unit that is no unit of length.
    """
    found = re.search(rf"({NUMBER})\s*[(\[]?({LENGTH_UNIT})?(?![A-Za-z])", (text or "")[:200], re.I)
    if not found:
        return first_number(text) if not unit else None
    stated = (unit or found[2] or "").strip()
    factor = length_in_angstrom(stated) if stated else 1.0
    return None if factor is None else decimal(found[1]) * factor


def decimal(token: str) -> float:
    """A number found by `NUMBER`, with a decimal point or comma."""
    return float(token.replace(",", ".").replace("D", "e").replace("d", "e"))


def number_list(text: str, what: str, *, separators: str = " \t\r\n,") -> NDArray[Any]:
    """All numbers of a text, float64, shape (n,).

    Args:
        text: Numbers separated by any of `separators`.
        what: Named in the message, with the file.
        separators: Characters between numbers.

    Raises:
        BadInput: something in it is not a number.
    """
    tokens = text.translate({ord(mark): " " for mark in separators}).split()
    values = np.empty(len(tokens))
    for index, token in enumerate(tokens):
        value = to_float(token)
        if value is None:
            raise BadInput(f"{what}: value {index + 1} is {token[:40]!r}, not a number")
        values[index] = value
    return values


def points_between(start: float, stop: float, step: float, path: str) -> int:
    """How many points an even scan has.

    Raises:
        BadInput: the step is not positive, or so small that the header must be damaged.
    """
    if not step > 0 or not abs(stop - start) < 1e8 * step:
        raise BadInput(f"{path}: a scan from {start:g} to {stop:g} in steps of {step:g}? The header is damaged")
    return round((stop - start) / step) + 1
