"""Columns of numbers in text: .xy .xye .dat .csv .txt .tsv .chi, RRUFF's files, start-step-stop tables."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns import header
from simxrd_hf.patterns.numbers import to_float
from simxrd_hf.patterns.pattern import MAX_POINTS, MIN_POINTS, Range

_COMMENT = re.compile(r"^\s*(?:#|!|;|%|//|\*|'|\"?#)")
_STARTS_NUMERIC = re.compile(r"^\s*[+-]?[.,]?\d")
_SAMPLE = 400
_MAX_PIECES = 50


@dataclass(frozen=True)
class _Dialect:
    """One way of writing a row: how fields are split and which mark stands before the decimals."""

    name: str
    split: Callable[[str], list[str]]
    decimal: str

    def fields(self, line: str) -> tuple[list[float], bool]:
        """Leading numbers of a line, and whether anything else follows them."""
        values: list[float] = []
        for token in self.split(line):
            value = to_float(token.strip().strip('"'), self.decimal)
            if value is None:
                return values, bool(token.strip())
            values.append(value)
        return values, False


def _split_on(mark: str) -> Callable[[str], list[str]]:
    def split(line: str) -> list[str]:
        tokens = line.split(mark)
        return tokens[:-1] if tokens and not tokens[-1].strip() else tokens  # a closing separator ends the row

    return split


_DIALECTS = (
    _Dialect("blank-separated", str.split, "."),
    _Dialect("comma and blank, decimal comma", lambda line: re.split(r",\s+", line.strip().rstrip(",")), ","),
    _Dialect("semicolon-separated", _split_on(";"), "."),
    _Dialect("semicolon-separated, decimal comma", _split_on(";"), ","),
    _Dialect("tab-separated", _split_on("\t"), "."),
    _Dialect("tab-separated, decimal comma", _split_on("\t"), ","),
    _Dialect("comma-separated", _split_on(","), "."),
    _Dialect("blank-separated, decimal comma", str.split, ","),
)


def _dialect(lines: list[str]) -> _Dialect | None:
    """The dialect that reads most of the sample's lines; the earlier of two equals."""
    best, best_score = None, 0.0
    for dialect in _DIALECTS:
        score = 0.0
        for line in lines:
            values, rest = dialect.fields(line)
            if len(values) < 2:
                continue
            if dialect.decimal == "," and dialect.name.startswith("comma") and not re.search(r"\d,\d", line):
                continue  # "5, 123": whole numbers after a comma and a blank, nothing decimal about them
            score += 0.5 if rest else 1.0
        if score > best_score:
            best, best_score = dialect, score
    return best


@dataclass
class _Run:
    """Consecutive rows of one shape."""

    first_line: int
    columns: int
    ragged: bool
    rows: list[list[float]]
    lines: list[int]


def _steps(lines: list[tuple[int, str]], path: str) -> Range | None:
    """A table of counts under one line "start step stop" (FullProf, DBWS); None when the file is no such table."""
    numbers: list[float] = []
    places: list[int] = []
    heading: list[float] | None = None
    for number, line in lines:
        values: list[float] = []
        tokens = line.replace(",", " ").split()
        for token in tokens:
            value = to_float(token)
            if value is None:
                break
            values.append(value)
        if heading is None:
            if len(values) < 3:
                continue
            heading = values[:3]
            start, step, stop = heading
            if not (0 <= start < stop <= 180 and 0 < step <= 1):
                return None
        elif len(values) != len(tokens):
            return None
        else:
            numbers += values
            places += [number] * len(values)
            if len(numbers) > MAX_POINTS:
                return None
    if heading is None or len(numbers) < MIN_POINTS:
        return None
    start, step, stop = heading
    if abs(len(numbers) - ((stop - start) / step + 1)) > 1.01:
        return None
    return Range(start + step * np.arange(len(numbers)), np.array(numbers), places=np.array(places), place="line")


def _runs(lines: list[tuple[int, str]], dialect: _Dialect, path: str) -> tuple[list[_Run], dict[int, str]]:
    """Blocks of rows, and the other lines by number."""
    runs: list[_Run] = []
    texts: dict[int, str] = {}
    current: _Run | None = None
    total = 0
    for number, line in lines:
        values, rest = dialect.fields(line)
        if len(values) < 2:
            texts[number] = line
            current = None
            continue
        if current is None or current.columns != len(values) or current.ragged != rest:
            current = _Run(number, len(values), rest, [], [])
            runs.append(current)
        current.rows.append(values)
        current.lines.append(number)
        total += 1
        if total > MAX_POINTS:
            raise BadInput(f"{path}: more than {MAX_POINTS:,} rows; no powder pattern")
    return runs, texts


def _names(line: str, run: _Run, dialect: _Dialect) -> list[str] | None:
    """Column names in a header line, when it has one for every column."""
    line = line.lstrip("#!;%/*' \t")
    for split in (dialect.split, lambda text: re.split(r"\t|;|,|\s{2,}", text.strip())):
        names = [name.strip() for name in split(line)]
        whole = len(names) > run.columns if run.ragged else len(names) == run.columns
        if whole and any(re.search(r"[^\W\d]", name) for name in names):
            return names
    return None


def _explain(line: str, number: int, dialect: _Dialect, path: str) -> BadInput:
    """Why a line amid the data cannot be read."""
    for other in _DIALECTS:
        if other.decimal != dialect.decimal and len(other.fields(line)[0]) >= 2:
            return BadInput(
                f"{path}: line {number} mixes decimal marks: {line.strip()[:60]!r} in a file that is {dialect.name}; "
                "write all numbers with the same mark"
            )
    return BadInput(f"{path}: line {number} is not a row of the table: {line.strip()[:60]!r}; mend or remove it")


def read_columns(text: str, path: str, warnings: list[str]) -> list[Range]:
    """Ranges of a text table.

    Args:
        text: The whole file.
        path: For messages.
        warnings: Doubts are appended here.

    Raises:
        BadInput: no table of numbers, or a table broken at a named line.
    """
    numbered = [(index, line) for index, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not numbered:
        raise BadInput(f"{path}: the file is empty")
    comments = [(number, line) for number, line in numbered if _COMMENT.match(line)]
    body = [(number, line) for number, line in numbered if not _COMMENT.match(line)]
    if len(body) > MAX_POINTS + 1000:
        raise BadInput(f"{path}: {len(body):,} lines of data; more than {MAX_POINTS:,} points is no powder pattern")
    sample = [line for _, line in body if _STARTS_NUMERIC.match(line)]
    stride = max(1, len(sample) // _SAMPLE)
    dialect = _dialect(sample[::stride])

    found = _steps(body, path)
    if found is not None:
        found.wavelength, found.metadata = header.radiation(_heading(numbered, int(found.places[0])))  # type: ignore[index]
        return [found]
    if dialect is None:
        raise BadInput(f"{path}: no table of numbers (angle, intensity) found in {len(numbered)} lines")

    runs, texts = _runs(body, dialect, path)
    main = max(runs, key=lambda run: len(run.rows)) if runs else None
    if main is None or len(main.rows) < MIN_POINTS:
        size = 0 if main is None else len(main.rows)
        raise BadInput(f"{path}: only {size} rows of numbers; a pattern needs at least {MIN_POINTS}")
    start = min(run.first_line for run in runs if len(run.rows) >= MIN_POINTS)
    blocks = [run for run in runs if run.first_line >= start]
    for run in blocks:  # stray rows amid the data: a column lost or gained, a mark mixed up
        if len(run.rows) < MIN_POINTS or (run.columns, run.ragged) != (main.columns, main.ragged):
            line = dict(body)[run.first_line]
            if run is blocks[-1] and len(run.rows) == 1 and run.columns < main.columns:
                raise BadInput(
                    f"{path}: line {run.first_line} is cut short: {line.strip()[:60]!r}; copy the file again"
                )
            if run.columns != main.columns and not run.ragged:
                raise (
                    _explain(line, run.first_line, dialect, path)
                    if dialect.decimal == "," or "," in line
                    else BadInput(
                        f"{path}: line {run.first_line} has {run.columns} columns where the table has {main.columns}: "
                        f"{line.strip()[:60]!r}"
                    )
                )
            raise _explain(line, run.first_line, dialect, path)
    last = blocks[-1].lines[-1]
    for number, line in texts.items():
        if number > start and _STARTS_NUMERIC.match(line):
            if number > last and len(line.split()) == 1:
                raise BadInput(f"{path}: line {number} is cut short: {line.strip()[:60]!r}; copy the file again")
            raise _explain(line, number, dialect, path)

    everything = dict(numbered)
    ranges = []
    for run in blocks:
        above = [everything[n] for n in range(max(1, run.first_line - 60), run.first_line) if n in everything]
        ranges += _split(_range(run, above, dialect, path, warnings), warnings)
    wavelength, facts = header.radiation(
        _heading(numbered, start) + "\n" + "\n".join(line for _, line in comments[:300])
    )
    facts |= _fields(comments + [(n, t) for n, t in sorted(texts.items())])
    for item in ranges:
        if item.wavelength is None:
            item.wavelength = wavelength
        item.metadata = facts | item.metadata
    return ranges


def _heading(numbered: list[tuple[int, str]], first_data_line: int) -> str:
    return "\n".join(line[:500] for number, line in numbered[:300] if number < first_data_line)


def _fields(lines: list[tuple[int, str]]) -> dict[str, str]:
    """`key = value` and `key: value` lines of a header (RRUFF writes `##KEY=value`)."""
    facts: dict[str, str] = {}
    for _, line in lines[:200]:
        found = re.match(r"[\s#!;%*'/]*([A-Za-z][\w ./-]{0,40}?)\s*[=:]\s*(\S.{0,300})", line)
        if found and len(facts) < 60:
            facts.setdefault(found[1].strip().lower().replace(" ", "_"), found[2].strip())
    return facts


def _range(run: _Run, above: list[str], dialect: _Dialect, path: str, warnings: list[str]) -> Range:
    """Choose the columns of a block and make a range of it."""
    table = np.array(run.rows)
    names = next((found for line in reversed(above[-3:]) if (found := _names(line, run, dialect))), None)
    axis, x, y, monitor, unit = None, 0, 1, None, "arbitrary"
    if names:
        labelled = [(index, header.axis_of(name)) for index, name in enumerate(names[: run.columns])]
        known = [(index, kind) for index, kind in labelled if kind]
        if known:
            # a table may list the same scan on several axes; 2θ needs no conversion
            x, axis = next((pair for pair in known if pair[1] == "two_theta"), known[0])
        heights = [i for i, name in enumerate(names[: run.columns]) if i != x and header.is_intensity(name)]
        if heights:
            y = heights[0]
            unit = header.unit_of(names[y])
        elif x == 1:
            y = 0 if run.columns == 2 else 2
        monitors = [i for i, name in enumerate(names[: run.columns]) if i not in (x, y) and header.is_monitor(name)]
        monitor = monitors[0] if monitors else None
        if len(heights) > 1:
            warnings.append(f"several intensity columns; {names[y]!r} (column {y + 1}) is used")
    if axis is None:
        axis = next((kind for line in reversed(above[-8:]) if (kind := _axis_in_prose(line))), None)
        if unit == "arbitrary":
            unit = header.unit_of(" ".join(above[-8:]))
    if not names and run.columns > 3:
        warnings.append(f"{run.columns} columns without names; the first two are taken as angle and intensity")
    intensity = table[:, y]
    metadata: dict[str, object] = {}
    if monitor is not None:
        reference = table[:, monitor]
        if np.isfinite(reference).all() and (reference > 0).all():
            intensity = intensity * (reference.mean() / reference)
            metadata["normalised_by_monitor"] = True
        else:
            warnings.append("the monitor column has zeros or gaps; intensities are not divided by it")
    return Range(
        table[:, x],
        intensity,
        axis=axis or "two_theta",
        axis_declared=axis is not None,
        unit=unit,
        metadata=metadata,
        places=np.array(run.lines),
        place="line",
    )


def _split(item: Range, warnings: list[str]) -> list[Range]:
    """Scans written one below the other: split where the axis starts again, if every piece is a regular scan.

    A single wrong angle also makes the axis go back, but leaves a jump in the piece before or after it; such a table
    stays whole and is refused with its line.
    """
    x = np.asarray(item.x, dtype=np.float64)
    back = np.flatnonzero(np.diff(x) < 0) + 1
    if not 0 < len(back) <= _MAX_PIECES or not np.isfinite(x).all():
        return [item]
    pieces = np.split(np.arange(len(x)), back)
    for piece in pieces:
        steps = np.diff(x[piece])
        if len(piece) < 2 * MIN_POINTS or steps.max() > 5 * np.median(steps):
            return [item]
    assert item.places is not None
    lines = ", ".join(str(int(item.places[index])) for index in back[:5])
    warnings.append(f"the axis starts again at line {lines}: {len(pieces)} scans in one table")
    return [replace(item, x=x[piece], y=item.y[piece], places=item.places[piece]) for piece in pieces]


def _axis_in_prose(line: str) -> str | None:
    """Axis named by a header line of its own (Fit2D's .chi: "2-Theta Angle (Degrees)", "Q (Inverse Nanometres)")."""
    line = line.lstrip("#!;%/*' \t")
    return header.axis_of(line) if len(line) < 80 and not re.search(r"[=:]", line) else None
