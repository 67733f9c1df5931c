"""Two-column text files (.xy, .csv, .txt, .dat) → a pattern; the reader that travels with a model's own code."""

import re
from pathlib import Path
from typing import Any

import numpy as np

_SEPARATOR = re.compile(r"[,;\s]+")
# Column heads, lower case without blanks, by the axis they mean.
_HEADS = {
    "two_theta": ("2theta", "two_theta", "twotheta", "2θ", "tth", "angle", "2theta(deg)", "2-theta"),
    "d": ("d", "d_spacing", "dspacing", "d(å)"),
    "q": ("q", "q(1/å)", "q(å-1)", "q_a^-1"),
}


def read_pattern(path: str | Path) -> dict[str, Any]:
    """Read one pattern from a text file.

    The first column is the axis, the second the intensity, further ones are ignored; a file of one column lies on the
    model's grid. Lines that do not start with a number are comments or the column heads, which may name the axis
    (2theta, d or q); without them it is 2θ in degrees.

    Returns:
        "intensity" and, if there are two columns, one of "two_theta", "d", "q"; float64 arrays.

    Raises:
        ValueError: The file has no numbers, or rows of different length.
        OSError: The file cannot be read.
    """
    rows: list[list[float]] = []
    axis = "two_theta"
    for number, line in enumerate(Path(path).read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        fields = [field for field in _SEPARATOR.split(line.strip()) if field]
        try:
            values = [float(field) for field in fields[:2]]
        except ValueError:
            if rows and not line.lstrip().startswith(("#", "!", ";", "%", "/")):
                raise ValueError(f"{path}, line {number}: expected numbers, got {line.strip()[:40]!r}") from None
            head = line.strip().lstrip("#!;%/ ").replace(" ", "").lower()
            axis = next((kind for kind, names in _HEADS.items() if _SEPARATOR.split(head)[0] in names), axis)
            continue
        if not values:
            continue
        if rows and len(values) != len(rows[0]):
            raise ValueError(f"{path}, line {number}: {len(values)} columns, the lines before have {len(rows[0])}")
        rows.append(values)
    if len(rows) < 2:
        raise ValueError(f"{path}: no columns of numbers found; expected two, 2θ (or d, q) and intensity")
    table = np.array(rows)
    if table.shape[1] == 1:
        return {"intensity": table[:, 0]}
    return {axis: table[:, 0], "intensity": table[:, 1]}
