"""Writes `symmetry_classification/symmetry_tables.py` from `simxrd_hf.symmetry`; run it when those tables change.

    python -m tools.metric_tables

The metric must load from a Space where the package is not installed, so it carries its own copy; a test compares both.
"""

import textwrap
from collections.abc import Iterable

import numpy as np

from simxrd_hf import symmetry
from simxrd_hf.metrics import METRIC_FOLDERS

HEAD = '''"""The 230 space-group types as numbers: a copy of `simxrd_hf.symmetry` that travels with the metric.

Index of every table: space-group number - 1. Written by `python -m tools.metric_tables`.
"""

# fmt: off
'''


def _tuple(name: str, values: Iterable[int | str]) -> str:
    body = ", ".join(repr(value) for value in values)
    return f"{name} = (\n{textwrap.fill(body, 112, initial_indent='    ', subsequent_indent='    ')},\n)\n"


def source() -> str:
    """The text of `symmetry_tables.py`."""
    parts = [HEAD, _tuple("CRYSTAL_SYSTEMS", symmetry.CRYSTAL_SYSTEMS)]
    for name in ("CRYSTAL_SYSTEM_OF", "BRAVAIS_OF", "LAUE_OF", "EXTINCTION_OF", "ENANTIOMORPH_OF"):
        parts.append(_tuple(name, getattr(symmetry, name).tolist()))
    distance = symmetry.subgroup_distance()
    neighbours = [np.flatnonzero(row[:index] == 1).tolist() for index, row in enumerate(distance)]
    body = ", ".join("(" + "".join(f"{n}," for n in row) + ")" for row in neighbours)
    parts.append(
        "# Lower-numbered groups that are a maximal subgroup or minimal supergroup.\nSUBGROUP_NEIGHBOURS = (\n"
        + textwrap.fill(body, 112, initial_indent="    ", subsequent_indent="    ")
        + ",\n)\n"
    )
    return "".join(parts)


if __name__ == "__main__":
    (METRIC_FOLDERS["symmetry_classification"] / "symmetry_tables.py").write_text(source(), encoding="utf-8")
