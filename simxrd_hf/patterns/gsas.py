"""GSAS powder files: .fxye .gsas .gsa .gda .raw (text)."""

import re

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns import header
from simxrd_hf.patterns.pattern import MAX_POINTS, Range
from simxrd_hf.patterns.quantities import first_number, number_list, to_float

BANK = re.compile(r"^BANK\s+\d+\s", re.M)


def read_gsas(text: str, path: str, warnings: list[str]) -> list[Range]:
    """Banks of a GSAS powder file (constant wavelength; angles in the file are hundredths of a degree)."""
    lines = text.splitlines()
    marks = [i for i, line in enumerate(lines) if BANK.match(line)]
    if not marks:
        raise BadInput(f"{path}: no BANK line")
    wavelength, facts = header.radiation("\n".join(lines[: marks[0]])[:20_000], warnings)
    facts["title"] = lines[0].strip()[:80] if marks[0] > 0 else ""
    ranges = []
    for position, mark in enumerate(marks):
        end = marks[position + 1] if position + 1 < len(marks) else len(lines)
        rows = [(i + 1, lines[i]) for i in range(mark + 1, end) if lines[i].strip() and not lines[i].startswith("#")]
        item = _bank(lines[mark].split(), mark + 1, rows, path, warnings)
        item.wavelength, item.metadata = wavelength, dict(facts)
        ranges.append(item)
    return ranges


def _bank(words: list[str], line: int, rows: list[tuple[int, str]], path: str, warnings: list[str]) -> Range:
    # BANK number channels records binning start step … [STD | ESD | FXYE | FXY]
    binning = words[4].upper() if len(words) > 4 else ""
    if binning in {"SLOG", "RALF", "TIME_MAP", "LPSD", "CONQ", "EDS"}:
        raise BadInput(f"{path}: line {line}: {binning} data (time of flight or energy) are no angle scan")
    if binning not in {"CONS", "CONST"}:
        raise BadInput(f"{path}: line {line}: binning {binning!r} is not known; constant steps (CONS) are read")
    announced = first_number(words[2])
    if announced is None or not 0 < announced <= MAX_POINTS:
        raise BadInput(f"{path}: line {line}: {words[2]!r} channels announced")
    count = int(announced)
    kind = words[-1].upper() if re.fullmatch(r"[A-Za-z]+", words[-1]) and len(words) > 5 else "STD"
    if kind in {"FXYE", "FXY"}:
        table, places = _columns(rows, 3 if kind == "FXYE" else 2, path)
        if abs(len(table) - count) > 1:
            raise BadInput(f"{path}: line {line} announces {count} points, the bank holds {len(table)}; cut short?")
        return Range(table[:, 0] / 100, table[:, 1], unit="counts", places=places, place="line")
    start, step = (to_float(words[i]) if len(words) > i else None for i in (5, 6))
    if start is None or step is None or not step > 0:
        raise BadInput(f"{path}: line {line}: no start and positive step after {binning}")
    if kind not in {"ESD", "STD", binning}:
        raise BadInput(f"{path}: line {line}: records of type {kind} are not read; export STD, ESD or FXYE")
    y = _fixed(rows, count, path, pairs=kind == "ESD")
    if len(y) != count:
        if abs(len(y) - count) > max(10, 0.01 * count):
            raise BadInput(f"{path}: line {line} announces {count} points, the bank holds {len(y)}; cut short?")
        warnings.append(f"line {line} announces {count} points, the bank holds {len(y)}")
        y = y[:count]
    return Range((start + step * np.arange(len(y))) / 100, y, unit="counts")


def _columns(rows: list[tuple[int, str]], width: int, path: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    table = np.empty((len(rows), width))
    for index, (number, line) in enumerate(rows):
        values = [to_float(token) for token in line.replace(",", " ").split()[:width]]
        if len(values) < width or any(value is None for value in values):
            raise BadInput(f"{path}: line {number} is not a row of {width} numbers: {line.strip()[:60]!r}")
        table[index] = values
    return table, np.array([number for number, _ in rows], dtype=np.int64)


def _fixed(rows: list[tuple[int, str]], count: int, path: str, *, pairs: bool) -> NDArray[np.float64]:
    """Fields of eight characters, ten a line: intensity and esd by turns, or number of counters (2) and counts (6).

    The counts stand as they are: where several counters saw a point, GSAS divides by their number for the weight alone.
    """
    wanted = 2 * count if pairs else count
    tokens = " ".join(line for _, line in rows).split()
    if wanted <= len(tokens) < wanted + 10:  # blanks between all numbers: no need to trust the columns
        values = number_list(" ".join(tokens[:wanted]), f"{path}: counts after line {rows[0][0] - 1}")
        return values[::2] if pairs else values
    numbers: list[float] = []
    for number, line in rows:
        line = line.rstrip()
        for at in range(0, len(line), 8):
            cell = line[at : at + 8] if pairs else line[at + 2 : at + 8]
            value = to_float(cell.strip())
            if value is None:
                raise BadInput(f"{path}: line {number}, column {at + 1}: {line[at : at + 8]!r} is not a number")
            numbers.append(value)
    return np.array(numbers[::2] if pairs else numbers)
