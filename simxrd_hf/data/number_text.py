"""Text of numbers to arrays: the inner loop of reading the authors' files."""

from __future__ import annotations

from typing import Any

import numpy as np

from simxrd_hf.compiler import njit

_POWERS = 10.0 ** np.arange(0, 23, dtype=np.float64)
_NOT_PLAIN = -2


@njit(cache=True, nogil=True)
def _parse_plain(
    text: np.ndarray, eights: np.ndarray, start: int, out: np.ndarray, powers: np.ndarray
) -> tuple[int, Any]:
    """As `_parse`, three times as fast, for what Python writes of numbers between 0.0001 and 10¹⁶.

    `eights[i]` are the eight bytes from `text[i]` on as an integer: eight digits are told and joined at once (pairs,
    fours, all; arithmetic after D. Lemire's and W. Muła's notes on parsing digits). `text` must end with a NUL or a
    closing brace.
    Returns (-2, where) at anything else than plain digits, for the general parser to judge.
    """
    one, nine, zero, ten = np.uint64(1), np.uint64(9), np.uint64(48), np.uint64(10)
    high, threes = np.uint64(0xF0F0F0F0F0F0F0F0), np.uint64(0x3333333333333333)
    i = np.uint64(start)
    end_of_eights = np.uint64(len(eights))
    if text[i] != 91:  # [
        return -1, np.int64(i)
    i += one
    count = 0
    while True:
        while text[i] == 32:
            i += one
        mantissa = np.uint64(0)
        digits = 0
        digit = np.uint64(text[i]) - zero
        while digit <= nine:
            mantissa = mantissa * ten + digit
            i += one
            digits += 1
            digit = np.uint64(text[i]) - zero
        if digits == 0 or digits > 16:
            return _NOT_PLAIN, np.int64(i)
        decimals = 0
        if text[i] == 46:  # .
            i += one
            first = i
            while i < end_of_eights and digits <= 10:
                v = eights[i]
                carried = (v + np.uint64(0x0606060606060606)) & high
                if ((v & high) | (carried >> np.uint64(4))) != threes:
                    break
                v = (v & np.uint64(0x0F0F0F0F0F0F0F0F)) * np.uint64(2561) >> np.uint64(8)
                v = (v & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(6553601) >> np.uint64(16)
                v = (v & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(42949672960001) >> np.uint64(32)
                mantissa = mantissa * np.uint64(100_000_000) + v
                i += np.uint64(8)
                digits += 8
                decimals += 8
            digit = np.uint64(text[i]) - zero
            while digit <= nine:
                if digits < 18:  # what an int64 holds; a float64 holds no more
                    mantissa = mantissa * ten + digit
                    digits += 1
                    decimals += 1
                i += one
                digit = np.uint64(text[i]) - zero
            if i == first:
                return _NOT_PLAIN, np.int64(i)
        if count >= len(out):
            return -1, np.int64(i)
        out[count] = np.float64(np.int64(mantissa)) / powers[decimals]
        count += 1
        if text[i] == 93:  # ]
            return count, np.int64(i + one)
        if text[i] != 44:  # ,
            return _NOT_PLAIN, np.int64(i)
        i += one


@njit(inline="always")
def _digit(text: np.ndarray, i: int) -> Any:
    """Value of a digit; anything else, and the end, lies outside 0 … 9."""
    return np.int64(text[i]) - 48 if i < len(text) else -1


@njit(cache=True, nogil=True)
def _parse(text: np.ndarray, start: int, out: np.ndarray, powers: np.ndarray) -> tuple[int, Any]:
    """Numbers of the JSON array that begins at `text[start]`; (how many, index after the array), or (-1, where)."""
    i = start
    n = len(text)
    if i >= n or text[i] != 91:  # [
        return -1, i
    i += 1
    count = 0
    while True:
        while i < n and (text[i] == 32 or text[i] == 10 or text[i] == 9):
            i += 1
        if i < n and text[i] == 93 and count == 0:  # an empty array
            return 0, i + 1
        negative = i < n and text[i] == 45
        if negative:
            i += 1
        # Up to 18 digits fit an int64. Python writes small numbers with an exponent, so at most five are zeros.
        mantissa = 0
        exponent = 0
        first = i
        stop = min(n, i + 18)
        digit = _digit(text, i)
        while 0 <= digit <= 9 and i < stop:
            mantissa = mantissa * 10 + digit
            i += 1
            digit = _digit(text, i)
        while 0 <= digit <= 9:
            exponent += 1
            i += 1
            digit = _digit(text, i)
        seen = i - first
        if digit == -2:  # .
            i += 1
            point = i
            stop = min(n, i + 18 - seen)
            digit = _digit(text, i)
            while 0 <= digit <= 9 and i < stop:
                mantissa = mantissa * 10 + digit
                i += 1
                digit = _digit(text, i)
            exponent -= i - point
            while i < n and 48 <= text[i] <= 57:
                i += 1
            seen += i - point
        if seen == 0:
            return -1, i
        if i < n and (text[i] == 101 or text[i] == 69):  # e, E
            i += 1
            down = i < n and text[i] == 45
            if i < n and (text[i] == 45 or text[i] == 43):
                i += 1
            power = 0
            seen = 0
            while i < n and 48 <= text[i] <= 57:
                power = min(power * 10 + (text[i] - 48), 9999)
                seen += 1
                i += 1
            if seen == 0:
                return -1, i
            exponent += -power if down else power
        value = np.float64(mantissa)
        while exponent < 0 and value != 0.0:
            step = min(-exponent, 22)
            value /= powers[step]
            exponent += step
        while exponent > 0 and value != 0.0 and value < np.inf:
            step = min(exponent, 22)
            value *= powers[step]
            exponent -= step
        if count >= len(out):
            return -1, i
        out[count] = -value if negative else value
        count += 1
        while i < n and (text[i] == 32 or text[i] == 10 or text[i] == 9):
            i += 1
        if i >= n:
            return -1, i
        if text[i] == 93:  # ]
            return count, i + 1
        if text[i] != 44:  # ,
            return -1, i
        i += 1


def parse_numbers(text: bytes, start: int, out: np.ndarray) -> tuple[int, int]:
    """Read a JSON array of plain numbers; nothing but digits, signs, points and exponents is understood.

    Values agree with `float()` to one part in 10¹³.

    Args:
        text: The text; one that ends with a NUL or a closing brace saves a copy.
        start: Index of the opening bracket.
        out: Array to fill, float64.

    Returns:
        How many numbers, and the index after the closing bracket; (-1, index) where the text is no such array or
        holds more numbers than `out`.
    """
    if not text.endswith((b"\0", b"}")):
        text += b"\0"
    data = np.frombuffer(text, dtype=np.uint8)
    if len(text) >= 8 and start < len(text):
        eights = np.ndarray((len(text) - 7,), dtype="<u8", buffer=text, strides=(1,))
        count, end = _parse_plain(data, eights, start, out, _POWERS)
        if count != _NOT_PLAIN:
            return int(count), int(end)
    count, end = _parse(data, start, out, _POWERS)
    return int(count), int(end)
