"""Columns of numbers in text: .xy .xye .dat .csv .txt .tsv .chi, RRUFF's files; which column is what."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns import header
from simxrd_hf.patterns.dialects import DIALECTS, STARTS_NUMERIC, Dialect, dialect_of, dialect_with_gaps
from simxrd_hf.patterns.pattern import MAX_POINTS, MIN_POINTS, Range
from simxrd_hf.patterns.quantities import to_float
from simxrd_hf.patterns.steps import describe, read_count_start_step, read_start_step_stop

_COMMENT = re.compile(r"^\s*(?:#|!|;|%|//|\*|'|\"?#)")
_MAX_PIECES = 50
_SHORTEST, _LONGEST = 0.2, 2.6  # Å: wavelengths of powder diffraction, from synchrotrons to chromium


@dataclass
class _Run:
    """Consecutive rows of one shape."""

    first_line: int
    columns: int
    ragged: bool
    rows: list[list[float]]
    lines: list[int]


def _runs(lines: list[tuple[int, str]], dialect: Dialect, path: str) -> tuple[list[_Run], dict[int, str]]:
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


def _names(line: str, run: _Run, dialect: Dialect) -> list[str] | None:
    """Column names in a header line, when it has one for every column."""
    if (blank := re.match(r" *(?=[\t;,])", line)) and len(re.split(r"[\t;,]", line)) == run.columns:
        line = f"no.{line[blank.end() :]}"  # numbers of the rows, which have no name
    line = re.sub(r"^\s*#L\s", "", line).lstrip("#!;%/*' \t")
    splits: tuple[Callable[[str], list[str]], ...] = (
        dialect.split,
        lambda text: re.split(r"\t|;|,|\s{2,}", text.strip()),
        str.split,
    )
    for split in splits:
        names = [name.strip().strip('"').strip() for name in split(line)]
        whole = len(names) > run.columns if run.ragged else len(names) == run.columns
        if any(name.endswith((":", "=")) for name in names):  # "wavelength: unknown"
            continue
        words = any(re.search(r"[^\W\d]", name) for name in names)
        if whole and words and not any(to_float(name, dialect.decimal) is not None for name in names):
            return names
    return None


def _explain(line: str, number: int, dialect: Dialect, path: str) -> BadInput:
    """Why a line amid the data cannot be read."""
    for other in DIALECTS:
        if other.decimal != dialect.decimal and len(other.fields(line)[0]) >= 2:
            return BadInput(
                f"{path}: line {number} mixes decimal marks: {line.strip()[:60]!r} in a file that is {dialect.name}; "
                "write all numbers with the same mark"
            )
    return BadInput(f"{path}: line {number} is not a row of the table: {line.strip()[:60]!r}; mend or remove it")


def read_columns(text: str, path: str, warnings: list[str], column: str | None = None) -> list[Range]:
    """Ranges of a text table.

    Args:
        text: The whole file.
        path: For messages.
        warnings: Doubts are appended here.
        column: The column of intensities: its name or its number, counted from 1.

    Raises:
        BadInput: no table of numbers, a table broken at a named line, columns that are named and no powder scan.
    """
    numbered = [(index, line) for index, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not numbered:
        raise BadInput(f"{path}: the file is empty")
    comments: list[tuple[int, str]] = []
    body: list[tuple[int, str]] = []
    for one in numbered:
        (comments if _COMMENT.match(one[1]) else body).append(one)
    if len(body) > MAX_POINTS + 1000:
        raise BadInput(f"{path}: {len(body):,} lines of data; more than {MAX_POINTS:,} points is no powder pattern")
    dialect = dialect_with_gaps(numbered) or dialect_of(body)

    found = read_start_step_stop(body, path, warnings) or read_count_start_step(body, path)
    if found is not None:
        return [describe(found, numbered, warnings)]
    if body and body[-1][1].split()[:1] in (["-1000"], ["-10000"]):
        raise BadInput(
            f"{path}: ends with {body[-1][1].strip()}, as neutron data of D1A, D1B and D2B do, whose counts stand "
            "behind the number of counters; write angle and count in two columns"
        )
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
        if number > start and STARTS_NUMERIC.match(line):
            if number > last and len(line.split()) == 1:
                raise BadInput(f"{path}: line {number} is cut short: {line.strip()[:60]!r}; copy the file again")
            raise _explain(line, number, dialect, path)

    everything = dict(numbered)
    ranges = []
    for run in blocks:
        above = [everything[n] for n in range(max(1, run.first_line - 60), run.first_line) if n in everything]
        ranges += _split(_range(run, above, dialect, path, warnings, column), warnings)
    heading = _heading(numbered, start)
    along_two_theta = header.check_scan(heading, path)
    wavelength, facts = header.radiation(heading + "\n" + "\n".join(line[:500] for _, line in comments[:300]), warnings)
    if wavelength is None:
        wavelength = _lone_wavelength(numbered, warnings)
    facts |= _fields(comments + [(n, t) for n, t in sorted(texts.items())])
    for item in ranges:
        if item.wavelength is None:
            item.wavelength = wavelength
        item.axis_declared |= along_two_theta
        item.metadata = facts | item.metadata
    return ranges


def _heading(numbered: list[tuple[int, str]], first_data_line: int) -> str:
    return "\n".join(line[:500] for number, line in numbered[:300] if number < first_data_line)


def _lone_wavelength(numbered: list[tuple[int, str]], warnings: list[str]) -> float | None:
    """A wavelength that stands alone in the first line, right above the table (CCDC's DASH)."""
    line = numbered[0][1].strip()
    if not re.fullmatch(r"[0-2]\.\d{3,}", line) or not _SHORTEST <= float(line) <= _LONGEST:
        return None
    warnings.append(f"the lone number in line {numbered[0][0]} is taken as the wavelength, {line} Å, as DASH writes it")
    return float(line)


def _fields(lines: list[tuple[int, str]]) -> dict[str, str]:
    """`key = value` and `key: value` lines of a header (RRUFF writes `##KEY=value`)."""
    facts: dict[str, str] = {}
    for _, line in lines[:200]:
        found = re.match(r"[\s#!;%*'/]*([A-Za-z][\w ./-]{0,40}?)\s*[=:]\s*(\S.{0,300})", line)
        if found and len(facts) < 60:
            facts.setdefault(found[1].strip().lower().replace(" ", "_"), found[2].strip())
    return facts


def _labels(above: list[str], run: _Run, dialect: Dialect) -> list[str]:
    """Column names of a block from the lines above it, with the units of a row of their own; perhaps none."""
    rows = [found for line in above[-3:] if (found := _names(line, run, dialect))]
    if not rows:
        return []
    names = rows[-1]
    if len(rows) > 1 and len(rows[-2]) == len(names) and 2 * sum(map(bool, map(_UNIT.fullmatch, names))) > len(names):
        names = [f"{name} {unit}" for name, unit in zip(rows[-2], names, strict=True)]
    known = (header.axis_of, header.is_intensity, header.is_monitor, header.foreign_axis)
    # words of a title may be as many as the columns ("Scan Data")
    telling = [name for name in names if name.lower() != "data"]
    return names if any(test(name) for name in telling for test in known) or header.lists_reflections(names) else []


_UNIT = re.compile(
    r"[(\[]?(?:deg(?:rees?)?|°|m?rad|cps|(?:cnts?|counts?|cts|c)(?:\s?/\s?s(?:ec)?|\ss-1)?|1/s|s-1|a\.?\s?u\.?|arb\.?.*|n?m|Å|A|k?ev|s|sec|[µu]m|mm|-|1|"
    r"(?:nm|Å|A|m)\^?[-⁻][1¹]|1/(?:nm|Å|A|m))?[)\]]?",
    re.I,
)
# The header of pyFAI; since 2023 its parameters as JSON. Its files hold 2θ, q or r, which only the column's name tells.
_INTEGRATED = re.compile(r'"poni1"|"poni_version"|pyFAI calibration')


def _range(run: _Run, above: list[str], dialect: Dialect, path: str, warnings: list[str], column: str | None) -> Range:
    """Choose the columns of a block and make a range of it."""
    table = np.array(run.rows)
    labels = _labels(above, run, dialect)
    if header.lists_reflections(labels):
        raise BadInput(
            f"{path}: a list of lines ({', '.join(labels)[:80]}), not a measured scan: nothing stands between the "
            "lines; give the pattern itself"
        )
    names = [name if here else "" for name, here in zip(labels, np.isfinite(table).any(axis=0), strict=False)]
    first = int(_counts_rows(table, names))
    if first and column is None:
        warnings.append("column 1 counts the rows; it is left out")
    x, y = _choose(names, run.columns, column, path, warnings, first)
    axis = header.axis_of(names[x]) if names else None
    unit = header.unit_of(names[y]) if names else "arbitrary"
    ask = None
    if names and axis is None and not header.is_unnamed(names[x]):
        by_name = any(header.is_intensity(name) for name in names)
        # words of a title have neither units nor separators between them
        apart = re.search(r"[(\[_/]", names[x]) or any(re.search(r"\S[\t;,]", line) for line in above[-3:])
        if by_name or (header.foreign_axis(names[x]) and apart):
            ask = f"column {x + 1}, {names[x]!r}, names neither 2θ nor d nor q"
    if axis is None and ask is None:
        axis = next((kind for line in reversed(above[-8:]) if (kind := _axis_in_prose(line))), None)
    if unit == "arbitrary" and not names:
        unit = header.unit_of(" ".join(above[-8:]))
    if axis is None and (ask is None or "{" in names[x]) and any(_INTEGRATED.search(line) for line in above):
        ask = "written by pyFAI without the name of its axis (2θ, q or r?)"
    header.refuse_reduced(above, names[y] if names else "", path)
    if axis is None and ask is None and not names and 0 <= table[0, x] < 1.0:
        share = float((table[:, y] < 0).mean())
        if share > _NEGATIVE_SHARE:
            ask = f"{share:.0%} of the values are negative and the axis begins at {table[0, x]:g}, as those of G(r) do"
    places = np.array(run.lines)
    if dialect.gaps:  # of scans side by side others may be longer
        there = np.isfinite(table[:, x]) | np.isfinite(table[:, y])
        table, places = table[there], places[there]
    metadata: dict[str, object] = {"intensity_column": names[y]} if names else {}
    intensity = by_monitor(table, names, x, y, metadata, warnings)
    return Range(
        table[:, x] * (axis.scale if axis else 1.0),
        intensity,
        axis=axis.kind if axis else "two_theta",
        axis_declared=axis is not None,
        ask=ask,
        unit=unit,
        metadata=metadata,
        places=places,
        place="line",
    )


def _counts_rows(table: NDArray[np.float64], names: list[str]) -> bool:
    """Whether the first of three or more columns is the number of the row, from 0 or 1."""
    if table.shape[1] < 3 or (names and not header.is_unnamed(names[0])):
        return False
    numbers, angles = table[:, 0], np.diff(table[:, 1])
    counts = numbers[0] in (0, 1) and (numbers == numbers[0] + np.arange(len(numbers))).all()
    return bool(counts and (names or (table.shape[1] == 3 and angles.min() > 0 and angles.max() < 1)))


_NEGATIVE_SHARE = 0.3


def _choose(
    names: list[str], columns: int, column: str | None, path: str, warnings: list[str], first: int
) -> tuple[int, int]:
    """Columns of the axis and of the intensity: by their names, else the first two from column `first` on."""
    axes = {index: axis.kind for index, name in enumerate(names) if (axis := header.axis_of(name))}
    # a table may list the same scan on several axes; 2θ needs no conversion
    x = next((index for index, kind in axes.items() if kind == "two_theta"), next(iter(axes), first))
    named = [(index, name) for index, name in enumerate(names) if index >= first and index not in (x, *axes)]
    candidates = [index for index, name in named if header.is_intensity(name)]
    if not candidates:
        candidates = [index for index, name in named if header.may_be_intensity(name)]
    if not candidates:
        candidates = [index for index in range(first, columns) if index != x][:1]
    y = candidates[0] if column is None else column_index(column, names, columns, path)
    if column is None and len(candidates) > 1:
        listed = ", ".join(f"{names[index]!r} ({index + 1})" for index in candidates[:8])
        more = f" and {len(candidates) - 8} more" if len(candidates) > 8 else ""
        warnings.append(
            f"{len(candidates)} columns may hold the intensity: {listed}{more}; {names[y]!r} (column {y + 1}) is used "
            "(column= or --column chooses another, by name or number)"
        )
    elif column is None and names and y != x + 1:
        warnings.append(f"the intensity is taken from column {y + 1}, {names[y]!r}")
    elif column is None and not names and columns - first > 3:
        warnings.append(
            f"{columns} columns without names; the first two are taken as angle and intensity (column= or --column "
            "chooses another, by number)"
        )
    same = [index for index, kind in axes.items() if kind == axes.get(x)]
    if len(same) > 1 and all(index + 1 < columns and index + 1 not in axes for index in same):
        x = max((index for index in same if index < y), default=x)  # pairs side by side: angle, counts, angle, counts
    elif len(same) > 1 and all(index - 1 >= first and index - 1 not in axes for index in same):
        x = min((index for index in same if index > y), default=x)  # counts, angle, counts, angle
    if x == y:
        raise BadInput(f"{path}: column {y + 1} is the axis; choose another one for the intensity")
    return x, y


def by_monitor(
    table: NDArray[np.float64], names: list[str], x: int, y: int, metadata: dict[str, object], warnings: list[str]
) -> NDArray[np.float64]:
    """The intensities of a table, divided by its monitor where it has one; their mean scale stays.

    Args:
        table: All columns, shape (n, columns).
        names: Their names, or none.
        x: The axis.
        y: The intensities.
        metadata: Takes `normalised_by_monitor`.
        warnings: Takes the reason why a monitor was left alone.
    """
    monitor = next((i for i, name in enumerate(names) if i not in (x, y) and header.is_monitor(name)), None)
    if monitor is None:
        return table[:, y]
    reference = table[:, monitor]
    if not np.isfinite(reference).all() or (reference <= 0).any():
        warnings.append("the monitor column has zeros or gaps; intensities are not divided by it")
        return table[:, y]
    metadata["normalised_by_monitor"] = True
    return np.asarray(table[:, y] * (reference.mean() / reference))


def column_index(column: str, names: list[str], columns: int, path: str) -> int:
    """The index of the column that the caller names.

    Args:
        column: Its name, or its number counted from 1.
        names: Names of the columns, or none.
        columns: How many there are.
        path: For messages.

    Raises:
        BadInput: There is no such column; those there are are listed.
    """
    wanted = column.strip()
    for index, name in enumerate(names):
        if name.casefold() == wanted.casefold():
            return index
    if wanted.isdigit() and 1 <= int(wanted) <= columns:
        return int(wanted) - 1
    listed = ", ".join(f"{index + 1} {name!r}" for index, name in enumerate(names)) or f"1 … {columns}, without names"
    raise BadInput(f"{path}: there is no column {column!r}; the table has {listed}")


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


def _axis_in_prose(line: str) -> header.Axis | None:
    """Axis named by a header line of its own (Fit2D's .chi: "2-Theta Angle (Degrees)", "Q (Inverse Nanometres)")."""
    line = line.lstrip("#!;%/*' \t")
    is_file = re.search(r"^-->|\.[A-Za-z]\w{1,4}$", line.strip())  # a name may say 2theta whatever the file holds
    return header.axis_of(line) if len(line) < 80 and not is_file and not re.search(r"[=:]", line) else None
