"""CIFs of strangers: parsed, and their space groups found, in a confined process."""

import warnings
from pathlib import Path
from typing import Any

from simxrd_hf.confined import Confined
from simxrd_hf.crystals import cif
from simxrd_hf.crystals.standard import standardise
from simxrd_hf.crystals.table import Rejected
from simxrd_hf.errors import BadInput, DoubtfulInput

MAX_CIF_BYTES = 64 * 2**20

_EXAMPLE = """data_halite
_cell_length_a 5.64
_cell_length_b 5.64
_cell_length_c 5.64
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_name_H-M_alt 'F m -3 m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Na1 Na 0 0 0
Cl1 Cl 0.5 0.5 0.5
"""

# These libraries have tables of their own, which they open when they need them.
_READER = Confined(
    "simxrd_hf.crystals.confined_cif:parse",
    preload=("simxrd_hf.crystals.read", "gemmi", "spglib", "pymatgen.core", "ase.data"),
    files=True,
    example=(_EXAMPLE, {"source": "example", "crystal_id": "example", "symprec": 0.01}),
)


def rows_of_cif(content: Path | bytes, name: str, source: str, crystal_id: str, symprec: float) -> list[Any]:
    """All structures of a CIF as rows of the crystal table, and what is set aside.

    Args:
        content: The file, or its bytes.
        name: Its name; that of a gzip file ends in .gz.
        source: What the rows name as their source.
        crystal_id: Id of its only structure; with several, `crystal_id#block` each.
        symprec: Tolerance of spglib, Å.

    Returns:
        Rows, as `standardise` gives them, and `Rejected` entries.
    """
    try:
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        if size > MAX_CIF_BYTES:
            raise BadInput(f"{size / 2**20:,.0f} MiB; CIFs above {MAX_CIF_BYTES >> 20} MiB are not read, split it")
        raw = content if isinstance(content, bytes) else content.read_bytes()
        found = _READER(raw, name, source=source, crystal_id=crystal_id, symprec=symprec)
    except (BadInput, OSError) as error:
        return [Rejected(source, crystal_id, f"unreadable file: {str(error).removeprefix(f'{name}: ')}")]
    for note in found["notes"]:
        warnings.warn(note, DoubtfulInput, stacklevel=2)
    return [Rejected(*row["rejected"]) if "rejected" in row else row for row in found["rows"]]


def parse(raw: bytes, name: str, source: str, crystal_id: str, symprec: float) -> dict[str, Any]:
    """What the process does: rows and rejections as plain data and arrays, and the doubts there were."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        entries = list(cif.structures_in_cif(cif.decode(raw, name), source, crystal_id))
        doubts = [one for one in caught if issubclass(one.category, UserWarning)]
        notes = [f"{'' if issubclass(one.category, DoubtfulInput) else f'{source}: '}{one.message}" for one in doubts]
        rows = [one if isinstance(one, Rejected) else standardise(one, symprec) for one in entries]
    plain = [{"rejected": [r.source, r.crystal_id, r.reason]} if isinstance(r, Rejected) else r for r in rows]
    return {"rows": plain, "notes": notes}
