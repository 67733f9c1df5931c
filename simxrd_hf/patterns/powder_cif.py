"""Measured patterns in CIF files (the pdCIF dictionary: `_pd_meas_…`, `_pd_proc_…`)."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns.pattern import MAX_POINTS, Range, mean_kalpha, without_missing
from simxrd_hf.patterns.quantities import first_number, points_between, to_float

# B. H. Toby, International Tables for Crystallography G, chapter 3.3: names of the pdCIF dictionary, best first.
_TWO_THETA_OF = {"proc": "_pd_proc_2theta_corrected", "meas": "_pd_meas_2theta_scan"}
_OTHER_AXES = (("_pd_proc_d_spacing", "d"), ("_pd_proc_recip_len_q", "q"))
_HEIGHTS = (
    ("_pd_meas_counts_total", "counts"),
    ("_pd_meas_intensity_total", "arbitrary"),
    ("_pd_proc_intensity_total", "arbitrary"),
    ("_pd_meas_counts_net", "counts"),
    ("_pd_meas_intensity_net", "arbitrary"),
    ("_pd_proc_intensity_net", "arbitrary"),
)
# What the present dictionaries call otherwise than by a dot for an underscore.
_ALIASES = {
    "_diffrn_radiation_wavelength_value": "_diffrn_radiation_wavelength",
    "_diffrn_radiation_wavelength_wavelength": "_diffrn_radiation_wavelength",
    "_pd_proc_2theta": "_pd_proc_2theta_corrected",
    "_pd_meas_2theta": "_pd_meas_2theta_scan",
}
_POSITION = "_pd_meas_position"
_MONITORS = ("_pd_meas_counts_monitor", "_pd_meas_intensity_monitor", "_pd_meas_step_count_time")
_TOKEN = re.compile(r"'(?:[^'\n]|'(?=\S))*'(?=\s|$)|\"(?:[^\"\n]|\"(?=\S))*\"(?=\s|$)|#[^\n]*|\S+")


def _tokens(text: str) -> Iterator[tuple[str, int, bool]]:
    """(token, line, quoted) of a CIF file."""
    lines = text.splitlines()
    index = 0
    while index < len(lines):
        line = lines[index]
        if line.startswith(";"):
            first = index
            index += 1
            while index < len(lines) and not lines[index].startswith(";"):
                index += 1
            yield "\n".join([line[1:], *lines[first + 1 : index]]), first + 1, True
            if index < len(lines):
                rest = lines[index][1:]
                for found in _TOKEN.finditer(rest):
                    if not found.group().startswith("#"):
                        yield found.group(), index + 1, False
            index += 1
            continue
        for found in _TOKEN.finditer(line):
            token = found.group()
            if token.startswith("#"):
                break
            if len(token) > 1 and token[0] in "'\"" and token[-1] == token[0]:
                yield token[1:-1], index + 1, True
            else:
                yield token, index + 1, False
        index += 1


Block = tuple[str, dict[str, list[str]], dict[str, int]]


def _item(token: str) -> str:
    """An item's name as the older dictionaries write it: lower case, no dot."""
    name = token.lower().replace(".", "_")
    return _ALIASES.get(name, name)


def _blocks(text: str, path: str, warnings: list[str]) -> list[Block]:
    """Data blocks: name, columns by item name (a single value is a column of one), line of each."""
    blocks: list[Block] = []
    columns: dict[str, list[str]] = {}
    lines: dict[str, int] = {}
    pending: str | None = None
    names: list[str] = []
    state = ""  # "names": collecting a loop's names, "values": its values
    position = 0
    last: tuple[str, int] = ("", 0)  # the item a value was given to, and its line
    for token, line, quoted in _tokens(text):
        low = token.lower() if not quoted else ""
        if low.startswith("vrf_"):  # replies to checkCIF whose underscore was lost
            low = token = f"_{low}"
        if low.startswith("data_"):
            columns, lines, pending, state = {}, {}, None, ""
            blocks.append((token[5:], columns, lines))
            continue
        if not blocks:
            raise BadInput(f"{path}: line {line}: {token[:40]!r} before any data_ block")
        if low in {"loop_"} or low.startswith("save_"):
            _whole_rows(names, columns, state, path)
            state, names, pending = ("names" if low == "loop_" else ""), [], None
        elif low.startswith("_"):
            name = _item(low)
            if state == "names":
                if name in columns and name.startswith("_pd_"):
                    raise BadInput(f"{path}: line {line}: {name} is given a second time in one data block")
                names.append(name)
                columns[name], lines[name] = [], line
            else:
                _whole_rows(names, columns, state, path)
                state, pending, names = "", name, []
        elif state in {"names", "values"} and names:
            if state == "names":
                state, position = "values", 0
            columns[names[position]].append(token)
            position = (position + 1) % len(names)
        elif pending is not None:
            _give(pending, token, line, columns, warnings)
            lines[pending] = line
            last, pending = (pending, line), None
        elif line == last[1] and not names:  # a text with blanks and without quotation marks
            note = f"line {line}: the text of {last[0]} lacks quotation marks"
            if note not in warnings:
                warnings.append(note)
            columns[last[0]] = [f"{columns[last[0]][0]} {token}"]
        else:
            raise BadInput(f"{path}: line {line}: the value {token[:40]!r} belongs to no item")
    _whole_rows(names, columns, state, path)
    return blocks


def _give(name: str, token: str, line: int, columns: dict[str, list[str]], warnings: list[str]) -> None:
    """Give an item its value. Wavelengths add up (MAUD gives each on a line of its own); of others the first counts."""
    before = columns.setdefault(name, [])
    if not before or name.startswith("_diffrn_radiation_wavelength"):
        before.append(token)
    elif token not in before and re.match(r"_pd_(?:meas|proc)_2theta|_diffrn_radiation", name):
        warnings.append(f"line {line}: {name} is given again, {token!r}; the first, {before[0]!r}, is taken")


def _whole_rows(names: list[str], columns: dict[str, list[str]], state: str, path: str) -> None:
    if state == "values" and names and len(columns[names[0]]) != len(columns[names[-1]]):
        raise BadInput(f"{path}: the loop of {names[0]} ends inside a row; cut short?")


def _numbers(values: list[str], name: str, path: str) -> NDArray[np.float64]:
    """Numbers of a column, NaN where the file says that there is none ("." and "?")."""
    if len(values) > MAX_POINTS:
        raise BadInput(f"{path}: {len(values):,} values of {name}; no powder pattern")
    out = np.empty(len(values))
    for index, token in enumerate(values):
        value = to_float(re.sub(r"\(\d{1,9}\)$", "", token))
        if value is None:
            raise BadInput(f"{path}: value {index + 1} of {name} is {token[:40]!r}, not a number")
        out[index] = value
    return out


def _wavelength(columns: dict[str, list[str]]) -> tuple[float | None, dict[str, float]]:
    values = [v for v in map(first_number, columns.get("_diffrn_radiation_wavelength", [])) if v]
    weights = [v for v in map(first_number, columns.get("_diffrn_radiation_wavelength_wt", [])) if v is not None]
    # Kα1 and Kα2; what comes after them (Kβ, tungsten) is weak
    if len(values) >= 2 and 0 < (values[1] - values[0]) / values[0] < 0.02:
        ratio = weights[1] / weights[0] if len(weights) == len(values) and weights[0] > 0 else 0.5
        facts = {"kalpha1": values[0], "kalpha2": values[1], "kalpha_ratio": ratio}
        return mean_kalpha(values[0], values[1], ratio), facts
    return (values[0] if values else None), {}


def read_cif(text: str, path: str, warnings: list[str], column: str | None = None) -> list[Range]:
    """Every data block of a CIF that holds a measured (or processed) profile.

    Args:
        text: The whole file.
        path: For messages.
        warnings: Doubts are appended here.
        column: The item that holds the intensities ("_pd_proc_intensity_net").

    Raises:
        BadInput: A broken CIF, or none with a profile along 2θ, d or q.
    """
    blocks = _blocks(text, path, warnings)
    # a file often states the radiation in another block than the profile
    common = next((found for _, columns, _ in blocks if (found := _wavelength(columns))[0]), (None, {}))
    probes = set().union(*(_probes(columns) for _, columns, _ in blocks))
    ranges = []
    for name, columns, _ in blocks:
        item = _profile(columns, path, warnings, column)
        if item is None:
            continue
        wavelength, facts = _wavelength(columns)
        listed = columns.get("_diffrn_radiation_wavelength", [])
        rest = listed[2 if facts else 1 :]
        if rest:
            warnings.append(f"block {name!r} gives {len(listed)} wavelengths; {', '.join(rest[:4])} left out")
        if wavelength is None:
            wavelength, facts = common
        item.wavelength, item.metadata = wavelength, {"block": name, **facts, **item.metadata}
        if any("neutron" in probe for probe in _probes(columns) or probes):
            item.metadata["probe"] = "neutron"
        ranges.append(item)
    if not ranges:
        if any("_pd_meas_time_of_flight" in columns for _, columns, _ in blocks):
            raise BadInput(f"{path}: time of flight data are no angle scan")
        what = f"no {_item(column)}" if column else "no _pd_meas_ or _pd_proc_ profile"
        raise BadInput(f"{path}: the CIF holds no measured pattern ({what})")
    return ranges


def _probes(columns: dict[str, list[str]]) -> set[str]:
    """What a block says of its radiation, "." and "?" left out."""
    names = ("_diffrn_radiation_probe", "_diffrn_radiation_type")
    return {value.lower() for name in names for value in columns.get(name, ())} - {".", "?"}


def _profile(columns: dict[str, list[str]], path: str, warnings: list[str], column: str | None) -> Range | None:
    wanted = _HEIGHTS if column is None else ((_item(column), "arbitrary"),)
    height = next(((n, unit) for n, unit in wanted if len(columns.get(n, ())) > 1), None)
    if height is None:
        return None
    y = _numbers(columns[height[0]], height[0], path)
    # processed intensities stand over the processed axis, measured ones over theirs
    order = ("proc", "meas") if "_proc_" in height[0] else ("meas", "proc")
    scans = ((_TWO_THETA_OF["proc"], "two_theta"), (_TWO_THETA_OF["meas"], "two_theta"), *_OTHER_AXES)
    axis = next(((n, kind) for n, kind in scans if len(columns.get(n, ())) == len(y)), None)
    x: NDArray[Any]
    ask = None
    if axis is not None:
        x, kind = _numbers(columns[axis[0]], axis[0], path), axis[1]
    elif len(columns.get(_POSITION, ())) == len(y):
        x, kind = _numbers(columns[_POSITION], _POSITION, path), "two_theta"
        ask = f"{height[0]} stands over {_POSITION}, by the dictionary a place in mm (MAUD writes 2θ there)"
    elif "_pd_meas_time_of_flight" in columns:
        return None
    else:
        x, kind = _even(columns, order, len(y), height[0], path, warnings), "two_theta"
    metadata: dict[str, object] = {"intensity_column": height[0]}
    missing = np.isnan(x) | np.isnan(y)
    for name in _MONITORS:
        if len(columns.get(name, ())) == len(y):
            reference = _numbers(columns[name], name, path)
            if name == "_pd_meas_step_count_time":
                missing |= reference == 0
            good = reference[~missing]
            if np.isfinite(good).all() and (good > 0).all() and len(good) and good.min() != good.max():
                with np.errstate(divide="ignore", invalid="ignore"):
                    y = y * (good.mean() / reference)
                metadata["normalised_by"] = name
    item = Range(x, y, axis=kind, unit=height[1], metadata=metadata, places=np.arange(1, len(x) + 1), ask=ask)
    if missing.all():
        raise BadInput(f"{path}: no value of {height[0]} is a number")
    return without_missing(item, missing, '"." or "?", or no counting time', warnings)


def _even(
    columns: dict[str, list[str]], order: tuple[str, str], count: int, height: str, path: str, warnings: list[str]
) -> NDArray[np.float64]:
    """Angles of a profile that gives its 2θ range alone."""
    for kind in order:
        prefix = f"_pd_{kind}_2theta_range_"
        start, stop, step = (first_number((columns.get(prefix + end) or [""])[0]) for end in ("min", "max", "inc"))
        if start is not None and (stop is not None or step):
            break
    else:
        raise BadInput(f"{path}: {height} without 2θ values of the same number or a 2θ range")
    if stop is not None and step:
        announced = points_between(start, stop, step, path)
        if abs(announced - count) > 1:
            raise BadInput(f"{path}: the 2θ range announces {announced} points, {count} are there")
    if step:
        return np.asarray(start + step * np.arange(count))
    assert stop is not None
    warnings.append(
        f"the file gives no 2θ step: {count} points are spread evenly from {start:g} to {stop:g}°, wrong if these are "
        "the ends of a refinement"
    )
    return np.linspace(start, stop, count)
