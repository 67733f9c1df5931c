"""Build `scattering.npz`, the packaged table of scattering factors: `python -m tools.scattering_table`.

Needs the `xraydb` package (MIT licence; not a dependency of simxrd_hf), which carries both sources:

* f0: D. Waasmaier and A. Kirfel, Acta Cryst. A51 (1995) 416-431, neutral atoms, Z = 1 to 98.
* f' and f'': C. T. Chantler, NIST FFAST, J. Phys. Chem. Ref. Data 24 (1995) 71-643 and 29 (2000) 597-1048, Z = 1 to 92,
  here from 4 to 60 keV (0.21 to 3.1 Å) at the energies of the original table.
"""

import json
import sqlite3
from pathlib import Path

import numpy as np

from simxrd_hf.diffraction.scattering import TABLE

ENERGY_RANGE = (4000.0, 60_000.0)  # eV


def build() -> dict[str, np.ndarray]:
    """Read both tables from xraydb's database.

    Returns:
        `f0` (99, 11): c, a1..a5, b1..b5 by atomic number (row 0 unused); `energy`, `f1`, `f2`: the anomalous terms of
        all elements one after the other, eV and electrons; `start` (94,): where the element Z begins (`start[Z]`).
    """
    import xraydb

    database = sqlite3.connect(Path(xraydb.__file__).parent / "xraydb.sqlite")
    f0 = np.zeros((99, 11))
    for number, element, ion, offset, scale, exponents in database.execute(
        "select atomic_number, element, ion, offset, scale, exponents from Waasmaier"
    ):
        if element == ion and number <= 98:
            f0[number] = [offset, *json.loads(scale), *json.loads(exponents)]
    symbols = dict(database.execute("select atomic_number, element from elements"))
    energies, f1s, f2s, start = [], [], [], [0, 0]
    for number in range(1, 93):
        row = database.execute("select energy, f1, f2 from Chantler where element = ?", (symbols[number],)).fetchone()
        energy, f1, f2 = (np.array(json.loads(text)) for text in row)
        keep = (energy >= ENERGY_RANGE[0]) & (energy <= ENERGY_RANGE[1])
        energies.append(energy[keep])
        f1s.append(f1[keep])
        f2s.append(f2[keep])
        start.append(start[-1] + int(keep.sum()))
    joined = {"energy": energies, "f1": f1s, "f2": f2s}
    return {
        "f0": f0,
        "start": np.array(start, np.int32),
        **{name: np.concatenate(parts).astype(np.float32) for name, parts in joined.items()},
    }


if __name__ == "__main__":
    tables = build()
    np.savez_compressed(
        TABLE, f0=tables["f0"], start=tables["start"], energy=tables["energy"], f1=tables["f1"], f2=tables["f2"]
    )
    print(f"{TABLE.name}: {TABLE.stat().st_size} bytes")
