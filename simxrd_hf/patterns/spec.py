"""Scans of SPEC, the program of many beamlines and laboratory diffractometers (text)."""

import re

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns import header
from simxrd_hf.patterns.pattern import MAX_POINTS, MIN_POINTS, Range
from simxrd_hf.patterns.quantities import to_float
from simxrd_hf.patterns.text import by_monitor, column_index

# "#S 1 ascan tth 10 40 2000 1", then "#L" with the names of the columns, two blanks between them.
SCAN_HEADER = re.compile(r"^#S\s+\d+\s.*(?:\n(?!#S).*){0,200}?\n#L\s", re.M)


def read_spec(text: str, path: str, warnings: list[str], column: str | None = None) -> list[Range]:
    """Scans of a SPEC file that run along 2θ, d or q.

    The intensity is the counter whose name says so, else the last column, SPEC's main counter.

    Args:
        text: The whole file.
        path: For messages.
        warnings: Doubts are appended here.
        column: The counter to take: its name or its number, counted from 1.

    Raises:
        BadInput: A broken row, no such column, or no scan along 2θ, d or q.
    """
    ranges: list[Range] = []
    others: list[str] = []
    comments = [line[:500] for line in text.splitlines()[:300] if line.startswith("#")]
    header.refuse_reduced([line for line in comments if line.startswith(("#S", "#L"))], "", path)
    heading = "\n".join(comments)
    wavelength, facts = header.radiation(heading, warnings)
    title: str | None = None
    names: list[str] = []
    rows: list[list[float]] = []
    places: list[int] = []

    def close() -> None:
        if len(rows) >= MIN_POINTS and names:
            kinds = {index: axis for index, name in enumerate(names) if (axis := header.axis_of(name))}
            x = next((i for i, axis in kinds.items() if axis.kind == "two_theta"), next(iter(kinds), None))
            if x is None:
                others.append(f"{title} ({names[0]})")
            else:
                ranges.append(_scan(np.array(rows), places, names, x, kinds[x], title or "", path, warnings, column))
        rows.clear()
        places.clear()

    goes_on = False  # rows of a multichannel analyser begin with "@" and go on behind a backslash
    for number, line in enumerate(text.splitlines(), 1):
        aside = goes_on or line.startswith("@")
        goes_on = aside and line.rstrip().endswith("\\")
        if aside:
            continue
        if line.startswith("#S "):
            close()
            title, names = line[1:].strip()[:60], []
        elif line.startswith("#L ") and title is not None:
            close()
            names = [name.strip() for name in re.split(r"\t|\s{2,}", line[3:].strip())]
        elif names and line.strip() and not line.startswith("#"):
            values = [to_float(token) for token in line.split()]
            if not rows and len(values) != len(names) and len(values) == len(" ".join(names).split()):
                names = " ".join(names).split()  # written with single blanks
            if len(values) != len(names) or any(value is None for value in values):
                raise BadInput(
                    f"{path}: line {number} is not a row of {len(names)} numbers, as many as #L names columns: "
                    f"{line.strip()[:60]!r}"
                )
            if len(rows) >= MAX_POINTS:
                raise BadInput(f"{path}: more than {MAX_POINTS:,} rows; no powder pattern")
            rows.append([float(value) for value in values if value is not None])
            places.append(number)
    close()
    if not ranges:
        listed = "; ".join(others[:4]) or "none has 10 points"
        raise BadInput(f"{path}: no scan along 2θ, d or q among those of the file: {listed}")
    if others:
        warnings.append(f"{len(others)} scans along something else left out: {'; '.join(others[:4])}")
    for item in ranges:
        item.wavelength, item.metadata = wavelength, facts | item.metadata
    return ranges


def _scan(
    table: NDArray[np.float64],
    places: list[int],
    names: list[str],
    x: int,
    axis: header.Axis,
    title: str,
    path: str,
    warnings: list[str],
    column: str | None,
) -> Range:
    counters = [i for i, name in enumerate(names) if i != x and header.is_intensity(name)]
    if column is not None:
        y = column_index(column, names, len(names), path)
    else:
        y = counters[-1] if counters else len(names) - 1
        listed = ", ".join(f"{name!r} ({i + 1})" for i, name in enumerate(names) if i not in (x, y))
        note = (
            f"the intensity is taken from column {y + 1}, {names[y]!r} (column= or --column chooses another: {listed})"
        )
        if note not in warnings and len(names) > 2:
            warnings.append(note)
    if y == x:
        raise BadInput(f"{path}: {names[y]!r} is the axis of {title}; choose another column")
    metadata: dict[str, object] = {"scan": title, "intensity_column": names[y]}
    intensity = by_monitor(table, names, x, y, metadata, warnings)
    return Range(
        table[:, x] * axis.scale,
        intensity,
        axis=axis.kind,
        metadata=metadata,
        places=np.array(places),
        place="line",
    )
