"""Simple crystals of all seven systems, written down here so that tests need no structure library and no time."""

import numpy as np
import pyarrow as pa

from simxrd_hf.crystals.table import table_from_rows

# system -> (space group, cell from one length, sites); two atoms at the origin and at the body centre or nearby
_KINDS = {
    "aP": (2, lambda a: _cell(a, 1.21 * a, 1.37 * a, 83, 97, 102), [(0, 0, 0), (0.5, 0.5, 0.5)]),
    "mP": (10, lambda a: _cell(a, 1.3 * a, 1.11 * a, 90, 104, 90), [(0, 0, 0), (0.5, 0.5, 0.5)]),
    "oP": (47, lambda a: _cell(a, 1.17 * a, 1.41 * a, 90, 90, 90), [(0, 0, 0), (0.5, 0.5, 0.5)]),
    "tP": (123, lambda a: _cell(a, a, 1.6 * a, 90, 90, 90), [(0, 0, 0), (0.5, 0.5, 0.5)]),
    "hR": (164, lambda a: _cell(a, a, 1.63 * a, 90, 90, 120), [(1 / 3, 2 / 3, 0.22), (2 / 3, 1 / 3, 0.78)]),
    "hP": (191, lambda a: _cell(a, a, 0.9 * a, 90, 90, 120), [(0, 0, 0), (0, 0, 0.5)]),
    "cP": (221, lambda a: _cell(a, a, a, 90, 90, 90), [(0, 0, 0), (0.5, 0.5, 0.5)]),
}
_FIRST = [(11, "Na"), (55, "Cs"), (12, "Mg"), (30, "Zn"), (31, "Ga"), (48, "Cd")]
_SECOND = [(17, "Cl"), (8, "O"), (16, "S"), (33, "As"), (52, "Te"), (9, "F"), (35, "Br")]


def _cell(a: float, b: float, c: float, alpha: float, beta: float, gamma: float) -> list[float]:
    ca, cb, cg = np.cos(np.radians([alpha, beta, gamma]))
    sg = np.sin(np.radians(gamma))
    cy = (ca - cb * cg) / sg
    rows = [[a, 0, 0], [b * cg, b * sg, 0], [c * cb, c * cy, c * np.sqrt(1 - cb**2 - cy**2)]]
    return [float(x) for row in rows for x in row]


def crystal_rows(n: int = 42) -> list[dict]:
    rows = []
    for i in range(n):
        kind = list(_KINDS)[i % 7]
        group, cell, sites = _KINDS[kind]
        (first, left), (second, right) = _FIRST[(i // 7) % 6], _SECOND[(i + i // 7) % 7]
        formula = left + right
        a = 3.6 + 0.07 * i
        rows.append(
            {
                "crystal_id": f"made-{i:03d}-{kind}",
                "formula": formula,
                "reduced_formula": formula,
                "lattice": cell(a),
                "atomic_numbers": [first, second],
                "frac_coords": [float(x) for site in sites for x in site],
                "space_group": group,
                "source": "made for tests",
            }
        )
    return rows


def crystal_table(n: int = 42) -> pa.Table:
    return table_from_rows(crystal_rows(n))
