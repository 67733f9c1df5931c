"""Numbers as diffraction files write them: strict, bounded, never NaN by accident."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.errors import BadInput

# Each digit can be matched in one way only: with \d+\.?\d* a long run of digits takes quadratic time to be refused.
_POINT = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eEdD][+-]?\d{1,3})?", re.ASCII)
_COMMA = re.compile(r"[+-]?(?:\d+(?:,\d*)?|,\d+)(?:[eEdD][+-]?\d{1,3})?", re.ASCII)
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
