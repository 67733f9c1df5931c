"""Measured patterns in CIF files (the pdCIF dictionary: `_pd_meas_…`, `_pd_proc_…`)."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns.numbers import first_number, points_between, to_float
from simxrd_hf.patterns.pattern import MAX_POINTS, Range, mean_kalpha

# B. H. Toby, International Tables for Crystallography G, chapter 3.3: names of the pdCIF dictionary, best first.
_AXES = (
    ("_pd_proc_2theta_corrected", "two_theta"),
    ("_pd_meas_2theta_scan", "two_theta"),
    ("_pd_proc_d_spacing", "d"),
    ("_pd_proc_recip_len_q", "q"),
)
_HEIGHTS = (
    ("_pd_meas_counts_total", "counts"),
    ("_pd_meas_intensity_total", "arbitrary"),
    ("_pd_proc_intensity_total", "arbitrary"),
    ("_pd_meas_counts_net", "counts"),
    ("_pd_meas_intensity_net", "arbitrary"),
    ("_pd_proc_intensity_net", "arbitrary"),
)
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


def _blocks(text: str, path: str) -> list[Block]:
    """Data blocks: name, columns by item name (a single value is a column of one), line of each."""
    blocks: list[Block] = []
    columns: dict[str, list[str]] = {}
    lines: dict[str, int] = {}
    pending: str | None = None
    names: list[str] = []
    state = ""  # "names": collecting a loop's names, "values": its values
    position = 0
    for token, line, quoted in _tokens(text):
        low = token.lower() if not quoted else ""
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
            if state == "names":
                names.append(low)
                columns[low], lines[low] = [], line
            else:
                _whole_rows(names, columns, state, path)
                state, pending, names = "", low, []
        elif state in {"names", "values"} and names:
            if state == "names":
                state, position = "values", 0
            columns[names[position]].append(token)
            position = (position + 1) % len(names)
        elif pending is not None:
            columns[pending], lines[pending] = [token], line
            pending = None
        else:
            raise BadInput(f"{path}: line {line}: the value {token[:40]!r} belongs to no item")
    _whole_rows(names, columns, state, path)
    return blocks


def _whole_rows(names: list[str], columns: dict[str, list[str]], state: str, path: str) -> None:
    if state == "values" and names and len(columns[names[0]]) != len(columns[names[-1]]):
        raise BadInput(f"{path}: the loop of {names[0]} ends inside a row; cut short?")


def _numbers(values: list[str], name: str, path: str) -> NDArray[np.float64]:
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
    if len(values) == 2 and 0 < (values[1] - values[0]) / values[0] < 0.02:
        ratio = weights[1] / weights[0] if len(weights) == 2 and weights[0] > 0 else 0.5
        facts = {"kalpha1": values[0], "kalpha2": values[1], "kalpha_ratio": ratio}
        return mean_kalpha(values[0], values[1], ratio), facts
    return (values[0] if values else None), {}


def read_cif(text: str, path: str, warnings: list[str]) -> list[Range]:
    """Every data block of a CIF that holds a measured (or processed) profile."""
    blocks = _blocks(text, path)
    # a file often states the radiation in another block than the profile
    common = next((found for _, columns, _ in blocks if (found := _wavelength(columns))[0]), (None, {}))
    ranges = []
    for name, columns, _ in blocks:
        item = _profile(columns, path)
        if item is None:
            continue
        wavelength, facts = _wavelength(columns)
        if wavelength is None:
            wavelength, facts = common
        item.wavelength, item.metadata = wavelength, {"block": name, **facts, **item.metadata}
        ranges.append(item)
    if not ranges:
        raise BadInput(f"{path}: the CIF holds no measured pattern (no _pd_meas_ or _pd_proc_ profile)")
    return ranges


def _profile(columns: dict[str, list[str]], path: str) -> Range | None:
    height = next(((n, unit) for n, unit in _HEIGHTS if len(columns.get(n, ())) > 1), None)
    if height is None:
        return None
    y = _numbers(columns[height[0]], height[0], path)
    axis = next(((n, kind) for n, kind in _AXES if len(columns.get(n, ())) == len(y)), None)
    x: NDArray[Any]
    if axis is not None:
        x, kind = _numbers(columns[axis[0]], axis[0], path), axis[1]
    else:
        limits = None
        for prefix in ("_pd_meas_2theta_range_", "_pd_proc_2theta_range_"):
            found = [first_number((columns.get(prefix + end) or [""])[0]) for end in ("min", "max", "inc")]
            if found[0] is not None and (found[1] is not None or found[2]):
                limits = found
                break
        if limits is None:
            raise BadInput(f"{path}: {height[0]} without 2θ values of the same number or a 2θ range")
        start, stop, step = limits
        assert start is not None
        if stop is not None and step:
            announced = points_between(start, stop, step, path)
            if abs(announced - len(y)) > 1:
                raise BadInput(f"{path}: the 2θ range announces {announced} points, {len(y)} are there")
        if step:
            x = start + step * np.arange(len(y))
        else:
            assert stop is not None
            x = np.linspace(start, stop, len(y))
        kind = "two_theta"
    metadata: dict[str, object] = {}
    for name in _MONITORS:
        if len(columns.get(name, ())) == len(y):
            reference = _numbers(columns[name], name, path)
            if np.isfinite(reference).all() and (reference > 0).all() and reference.min() != reference.max():
                y = y * (reference.mean() / reference)
                metadata["normalised_by"] = name
    return Range(x, y, axis=kind, unit=height[1], metadata=metadata)
