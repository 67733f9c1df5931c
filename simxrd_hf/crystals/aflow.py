"""The AFLOW prototype library and the Wyckoff relabellings that pymatgen ships, read as plain JSON.

Importing `pymatgen.analysis.prototypes` turns the library into Python objects, which takes seconds; this takes none.
"""

import gzip
import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from simxrd_hf.crystals.standard import RawCrystal, element_symbols, formulas
from simxrd_hf.errors import BadInput

SOURCE = "AFLOW prototypes (pymatgen)"


def _load(name: str) -> Any:
    resource = files("pymatgen.analysis") / "prototypes" / name
    if not resource.is_file():
        raise BadInput(f"this pymatgen does not ship {name}; install pymatgen 2025.10 or later")
    return json.loads(gzip.decompress(resource.read_bytes()))


def aflow_structures() -> Iterator[RawCrystal]:
    """The library's structures; ids are AFLOW's label and the compound, with a number behind a name's repetitions."""
    number_of = {symbol: z for z, symbol in enumerate(element_symbols())}
    used: dict[str, int] = {}
    for record in _load("aflow_prototypes.json.gz"):
        structure = record["snl"]
        sites = structure["sites"]
        entries = [(number_of[species["element"]], site["abc"]) for site in sites for species in site["species"]]
        numbers = np.array([z for z, _ in entries])
        name = f"{record['tags']['aflow']}-{formulas(numbers, None)[1]}"
        used[name] = used.get(name, 0) + 1
        crystal_id = name if used[name] == 1 else f"{name}-{used[name]}"
        coords = np.array([abc for _, abc in entries], dtype=np.float64)
        yield RawCrystal(SOURCE, crystal_id, np.array(structure["lattice"]["matrix"]), numbers, coords)


@cache
def wyckoff_relabellings() -> dict[int, tuple[dict[str, str], ...]]:
    """Space group -> exchanges of Wyckoff letters that another choice of origin or axes brings about."""
    return {
        int(number): tuple({chr(int(code)): letter for code, letter in table.items()} for table in tables)
        for number, tables in _load("wyckoff-position-relabelings.json.gz").items()
    }
