"""The measured pattern in the plot file of a FullProf refinement (.prf)."""

import re

import numpy as np

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns.pattern import MIN_POINTS, Range, emission
from simxrd_hf.patterns.quantities import to_float

# Title; "phases points λ1 λ2 zero …"; further numbers; the names of the columns, then rows and behind them the ticks.
PRF = re.compile(r"^\W*2Theta\s+Yobs\s+Ycal\s+Yobs-Ycal\b.*$", re.M)


def read_prf(text: str, path: str, warnings: list[str]) -> list[Range]:
    """Angles and observed counts of a .prf file; what was calculated and the ticks are left out.

    Args:
        text: The whole file.
        path: For messages.
        warnings: Doubts are appended here.

    Raises:
        BadInput: Fewer rows than the second line announces, or rows that are none.
    """
    lines = text.splitlines()
    begin = next((number for number, line in enumerate(lines) if PRF.search(line)), 0)
    if begin < 2:
        raise BadInput(f"{path}: a FullProf .prf without the lines above the names of its columns; copy the file again")
    head = [to_float(token) for token in lines[1].split()]
    numbers = [value for value in head if value is not None and np.isfinite(value)]
    if len(numbers) < 4 or len(numbers) != len(head) or not MIN_POINTS <= numbers[1] == int(numbers[1]):
        raise BadInput(
            f"{path}: line 2 of a FullProf .prf has to give phases, points and wavelengths: {lines[1][:60]!r}"
        )
    count, first, second = int(numbers[1]), numbers[2], numbers[3]
    rows = [[to_float(token) for token in line.split()[:4]] for line in lines[begin + 1 : begin + 1 + count]]
    table = [row[:2] for row in rows if len(row) == 4 and None not in row]  # a tick has its hkl in brackets there
    if len(table) < count - 1:  # versions differ by one
        raise BadInput(
            f"{path}: line 2 announces {count} points, {len(table)} rows follow; cut short? Copy the file again"
        )
    values = np.array(table, dtype=np.float64)
    wavelength, facts = emission(first, second if second != first else None)
    warnings.append("the observed points of a FullProf refinement; those it left out are not in the file")
    return [Range(values[:, 0], values[:, 1], wavelength=wavelength, metadata=facts)]
