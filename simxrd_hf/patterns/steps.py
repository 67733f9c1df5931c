"""Text files of counts under a header that gives start, step and stop: FullProf, DBWS, PSI, ILL; JADE .mdi; .cpi."""

import re

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns import header
from simxrd_hf.patterns.pattern import MAX_POINTS, MIN_POINTS, Range, emission
from simxrd_hf.patterns.quantities import first_number, number_list, points_between, to_float, wavelength_in_angstrom

_HEADER_LINES = 15
# A header gives its step rounded; so far may the number of points then differ from the announced one.
_ROUNDING_SHARE = 0.02
MDI = re.compile(
    r"\A[^\n]*\n\s*(?P<start>[\d.]+)\s+(?P<step>[\d.]+)\s+(?P<time>[\d.]+)\s+(?P<anode>[A-Za-z]{1,2})\s+"
    r"(?P<wavelength>[\d.]+)\s+(?P<stop>[\d.]+)\s+(?P<count>\d+)\s*$",
    re.M,
)


def read_start_step_stop(lines: list[tuple[int, str]], path: str, warnings: list[str]) -> Range | None:
    """A table of counts under a line that begins "start step stop".

    The counts may be followed by their standard deviations: in alternate lines (FullProf, INSTRM = 4) or in a second
    table (PSI).

    Args:
        lines: Numbered lines that are no comments.
        path: For messages.
        warnings: Takes which of the three numbers was not taken as it stands.

    Returns:
        The scan without its radiation, or None when the file is no such table.

    Raises:
        BadInput: Fewer counts than the three numbers announce, none of which can be a rounded one.
    """
    for place, (_, line) in enumerate(lines[:_HEADER_LINES]):
        tokens = line.replace(",", " ").split()
        values = [to_float(token) for token in tokens[:3]]
        if len(values) < 3 or any(value is None or not np.isfinite(value) for value in values):
            continue
        start, step, stop = (float(value) for value in values if value is not None)
        if not (-30 <= start < stop <= 180 and 1e-5 <= step <= 2 and (stop - start) / step >= MIN_POINTS - 2):
            continue
        found = _table(lines[place + 1 :], start, step, stop, decimals=len(tokens[1].partition(".")[2]))
        if found is not None:
            y, places = found
            x = _angles(len(y), start, step, stop, f"{path}: line {lines[place][0]}", warnings)
            return Range(x, y, places=places, place="line", metadata={"data_line": int(places[0])})
    return None


def read_count_start_step(lines: list[tuple[int, str]], path: str) -> Range | None:
    """A table of counts under a line of their number, the first angle and the step, in either order of the last two.

    RIETAN's .int ("10000 10.000 0.010") and MAUD's .dat ("2660 .05 22 1.540598 1", the wavelength behind them). The
    number has to be exact: little else tells such a line from others.

    Args:
        lines: Numbered lines that are no comments.
        path: For messages.

    Returns:
        The scan without its radiation, or None when the file is no such table.
    """
    for place, (_, line) in enumerate(lines[:_HEADER_LINES]):
        values = [to_float(token) for token in line.split()]
        if not 3 <= len(values) <= 5 or any(value is None or not np.isfinite(value) for value in values):
            continue
        count, first, second, *behind = (float(value) for value in values if value is not None)
        step, start = sorted((first, second))
        if not (count >= MIN_POINTS and count == int(count) and 1e-4 <= step <= 0.5 < start < 180):
            continue
        found = _table(lines[place + 1 :], start, step, start + step * (count - 1), decimals=0)
        if found is None or len(found[0]) != count:
            continue
        y, places = found
        item = Range(start + step * np.arange(len(y)), y, places=places, place="line")
        item.metadata["data_line"] = int(places[0])
        if behind and first < second and wavelength_in_angstrom(behind[0], None):
            item.wavelength = behind[0]
        return item
    return None


def _angles(count: int, start: float, step: float, stop: float, where: str, warnings: list[str]) -> NDArray[np.float64]:
    """The angles of so many counts, where the numbers above them announce another number of points.

    A step that goes from start to stop without rest stands as it was: what follows are points behind the stop. Any
    other one was rounded, and the ends are what is written in full.
    """
    steps = (stop - start) / step
    announced = round(steps) + 1
    as_written = start + step * np.arange(count, dtype=np.float64)
    if abs(count - steps - 1) <= 1.01:
        return as_written
    said = f"{start:g}, {step:g} and {stop:g}° announce {announced} points, {count} follow"
    if abs(steps - round(steps)) > 1e-3:
        warnings.append(f"{said}: the step is taken as {(stop - start) / (count - 1):.6g}°, rounded in the file")
        return np.linspace(start, stop, count, dtype=np.float64)
    if count < announced:
        raise BadInput(
            f"{where}: {said}; cut short, or the step a rounded one? Copy the file again, or write angle and count in "
            "two columns"
        )
    warnings.append(f"{said}: they go on at the step given, to {as_written[-1]:g}°")
    return as_written


def _table(
    rest: list[tuple[int, str]], start: float, step: float, stop: float, decimals: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]] | None:
    """Counts and the lines they stand in; None where they are not about as many as the three numbers announce."""
    rows: list[list[float]] = []
    places: list[int] = []
    total = 0
    for position, (number, line) in enumerate(rest):
        row = [to_float(token) for token in line.replace(",", " ").split()]
        if any(value is None for value in row):
            if len(rest) - position > 5:  # a word or two may follow the table, no second one
                return None
            break
        if row and row[0] is not None and row[0] <= -1000:  # "-1000 -10000 …" ends the tables of ILL
            break
        rows.append([float(value) for value in row if value is not None])
        places.append(number)
        total += len(row)
        if total > 2 * MAX_POINTS:
            return None
    announced = (stop - start) / step + 1
    slack = 1.01
    if decimals >= 3:
        slack = max(slack, min(announced * 0.5 * 10.0**-decimals / step, _ROUNDING_SHARE * announced))
    if abs(total - announced) <= slack:
        y = np.array([value for row in rows for value in row])
        where = np.repeat(places, [len(row) for row in rows])
    elif total % 2 == 0 and abs(total / 2 - announced) <= slack:
        counts = _without_deviations(rows, total // 2)
        if counts is None:
            return None
        y, where = counts, np.full(total // 2, places[0])
    else:
        return None
    if len(y) < MIN_POINTS:
        return None
    return y, where


def _without_deviations(rows: list[list[float]], count: int) -> NDArray[np.float64] | None:
    """Counts of a table that holds as many standard deviations: the reading in which these go with the root."""
    flat = np.array([value for row in rows for value in row])
    readings = [(flat[:count], flat[count:])]
    first = [value for row in rows[::2] for value in row]
    second = [value for row in rows[1::2] for value in row]
    if len(first) == len(second) == count:
        readings.append((np.array(first), np.array(second)))

    def misfit(reading: tuple[NDArray[np.float64], NDArray[np.float64]]) -> float:
        y, sigma = reading
        good = (y > 0) & (sigma > 0)
        return float(np.std(np.log(sigma[good]) - 0.5 * np.log(y[good]))) if good.sum() > count / 4 else np.inf

    best = min(readings, key=misfit)
    return best[0] if misfit(best) < 1.0 else None


def read_mdi(text: str, path: str, warnings: list[str]) -> list[Range]:
    """The scan of a JADE .mdi file: a title, then "start step time anode wavelength stop points", then counts."""
    found = MDI.match(text)
    assert found is not None
    start, step, stop = (first_number(found[name]) for name in ("start", "step", "stop"))
    count = int(found["count"])
    if start is None or stop is None or not step or step <= 0:
        raise BadInput(f"{path}: line 2 must give start, a positive step and stop")
    y = number_list(text[found.end() :], f"{path}: counts after line 2")
    if len(y) != count or abs(points_between(start, stop, step, path) - count) > 1 + _ROUNDING_SHARE * count:
        raise BadInput(
            f"{path}: line 2 announces {count} points from {start:g} to {stop:g}°, the file holds {len(y)}; cut short?"
        )
    wavelength, facts = emission(first_number(found["wavelength"]), anode=found["anode"])
    facts["title"] = text.splitlines()[0].strip()[:80]
    return [Range(start + step * np.arange(count), y, wavelength=wavelength, unit="counts", metadata=facts)]


def read_cpi(text: str, path: str, warnings: list[str]) -> list[Range]:
    """The scan of a Sietronics .cpi file: start, stop, step, anode, wavelength, … , SCANDATA, one count a line."""
    lines = text.splitlines()
    mark = next((i for i, line in enumerate(lines) if line.strip().upper().startswith("SCANDATA")), None)
    if mark is None or mark < 4:
        raise BadInput(f"{path}: no SCANDATA line after the header; cut short?")
    start, stop, step = (first_number(lines[i]) for i in (1, 2, 3))
    if start is None or stop is None or step is None or step <= 0:
        raise BadInput(f"{path}: lines 2 to 4 must give start, stop and a positive step")
    y = number_list("\n".join(lines[mark + 1 :]), f"{path}: counts after line {mark + 1}")
    expected = points_between(start, stop, step, path)
    if abs(len(y) - expected) > 2:
        raise BadInput(f"{path}: the header announces {expected} points, the file holds {len(y)}; cut short?")
    anode = lines[4].strip() if mark > 4 else None
    wavelength, facts = emission(first_number(lines[5]) if mark > 5 else None, anode=anode)
    return [Range(start + step * np.arange(len(y)), y, wavelength=wavelength, unit="counts", metadata=facts)]


def describe(item: Range, lines: list[tuple[int, str]], warnings: list[str]) -> Range:
    """Add what the lines above the counts say of the radiation; a wavelength found beside the angles stays."""
    first = int(item.metadata.pop("data_line"))
    text = "\n".join(line[:500] for number, line in lines[:300] if number < first)
    wavelength, item.metadata = header.radiation(text, warnings)
    if wavelength is not None:
        item.wavelength = wavelength
    return item
