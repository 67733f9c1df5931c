"""Ways of writing a row of numbers: how fields are split, which mark the decimals have, what may be missing."""

import csv
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from simxrd_hf.patterns import header
from simxrd_hf.patterns.quantities import to_float

STARTS_NUMERIC = re.compile(r"^\s*\"?\s*[+-]?[.,]?\d")
_DIGITS_ALONE = re.compile(r"[0-9.eE+\- \t]+")
_SAMPLE = 400


@dataclass(frozen=True)
class Dialect:
    """One way of writing a row: how fields are split and which mark stands before the decimals.

    With `gaps` a field that is no number is one that is missing, as in a table with a name for every column.
    """

    name: str
    split: Callable[[str], list[str]]
    decimal: str
    gaps: bool = False

    def fields(self, line: str) -> tuple[list[float], bool]:
        """Leading numbers of a line, and whether anything else follows them."""
        if self.decimal == "." and _DIGITS_ALONE.fullmatch(line):  # nearly all lines of nearly all files
            try:
                plain = [float(token) for token in self.split(line)]
            except ValueError:
                plain = [math.inf]
            if all(map(math.isfinite, plain)):
                return plain, False
        values: list[float] = []
        for token in self.split(line):
            token = token.strip()
            if len(token) > 1 and token[0] == token[-1] == '"':
                token = token[1:-1].strip()
            value = to_float(token, self.decimal)
            if value is None and self.gaps:
                value = math.nan
            if value is None:
                return values, bool(token.strip())
            values.append(value)
        if self.gaps and sum(map(math.isfinite, values)) < 2:  # shorter columns end earlier
            return [], False
        return values, False


def _split_on(mark: str) -> Callable[[str], list[str]]:
    def split(line: str) -> list[str]:
        tokens = line.split(mark)
        return tokens[:-1] if tokens and not tokens[-1].strip() else tokens  # a closing separator ends the row

    return split


def _split_quoted(line: str) -> list[str]:
    """Fields between quotation marks ("26,640","1560,0"); none where a line has other fields."""
    line = line.strip()
    return re.findall(r'"([^"]*)"', line) if re.fullmatch(r'"[^"]*"(?:\s*[,;\t]\s*"[^"]*")*\s*[,;]?', line) else []


DIALECTS = (
    Dialect("blank-separated", str.split, "."),
    Dialect("comma and blank, decimal comma", lambda line: re.split(r",\s+", line.strip().rstrip(",")), ","),
    Dialect("semicolon-separated", _split_on(";"), "."),
    Dialect("semicolon-separated, decimal comma", _split_on(";"), ","),
    Dialect("tab-separated", _split_on("\t"), "."),
    Dialect("tab-separated, decimal comma", _split_on("\t"), ","),
    Dialect("comma-separated", _split_on(","), "."),
    Dialect("blank-separated, decimal comma", str.split, ","),
    Dialect("in quotation marks, decimal comma", _split_quoted, ","),
)


def dialect_of(lines: list[tuple[int, str]]) -> Dialect | None:
    """The dialect that reads most of a sample of the lines that begin with a number; the earlier of two equals.

    Args:
        lines: Numbered lines that are no comments.

    Returns:
        The dialect; None where none reads two numbers in a line.
    """
    numeric = [line for _, line in lines if STARTS_NUMERIC.match(line)]
    sample = numeric[:: max(1, len(numeric) // _SAMPLE)]
    best, best_score = None, 0.0
    for dialect in DIALECTS:
        score = 0.0
        for line in sample:
            values, rest = dialect.fields(line)
            if len(values) < 2:
                continue
            if dialect.decimal == "," and dialect.name.startswith("comma") and not re.search(r"\d,\d", line):
                continue  # "5, 123": whole numbers after a comma and a blank, nothing decimal about them
            score += 0.5 if rest else 1.0
        if score > best_score:
            best, best_score = dialect, score
        if best_score == len(sample):  # none can read more
            break
    return best


def dialect_with_gaps(lines: list[tuple[int, str]]) -> Dialect | None:
    """The dialect of a table whose rows have empty fields or words among the numbers, and a name for every column.

    Args:
        lines: Numbered lines of the file, comments too.

    Returns:
        The dialect; None where the rows are whole, where rows and names are not equally many, or where no name is that
        of an axis.
    """
    first = next((place for place, (_, line) in enumerate(lines) if STARTS_NUMERIC.match(line)), 0)
    if first == 0:
        return None
    heading, sample = lines[first - 1][1], [line for _, line in lines[first:][:: max(1, len(lines) // _SAMPLE)]]
    for mark, decimals in (("\t", ".,"), (";", ".,"), (",", ".")):

        def split(line: str, mark: str = mark) -> list[str]:
            return next(csv.reader([line.rstrip("\r\n")], delimiter=mark), [])

        names = split(heading)
        if len(names) < 3 or any(len(split(line)) != len(names) for line in sample):
            continue
        if not any(header.axis_of(name) for name in names) or not any(map(header.is_intensity, names)):
            continue
        for decimal in decimals:
            read = [[to_float(field.strip(), decimal) for field in split(line)] for line in sample]
            numbers = [sum(value is not None for value in row) for row in read]
            if 2 * sum(count >= 2 for count in numbers) > len(numbers) and min(numbers) < len(names):
                return Dialect(f"separated by {mark!r}, with gaps", split, decimal, gaps=True)
    return None
