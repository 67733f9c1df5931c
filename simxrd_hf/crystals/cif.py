"""CIF text -> structures, with blocks, partial occupancy, displacement parameters, and a reason where it fails."""

import gzip
import math
import re
import warnings
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from simxrd_hf.crystals.standard import RawCrystal, element_symbols
from simxrd_hf.crystals.table import Rejected
from simxrd_hf.diffraction.crystal import MAX_B_ISO

SUFFIXES = (".cif", ".cif.gz")
OCCUPANCY_TOLERANCE = 1.02
"""Site occupancies up to this sum are scaled back to 1: published files round them."""

_CELL = (
    "_cell_length_a",
    "_cell_length_b",
    "_cell_length_c",
    "_cell_angle_alpha",
    "_cell_angle_beta",
    "_cell_angle_gamma",
)
_UNKNOWN = {"?"}
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?(\(\d+\))?")


def is_cif(name: str | Path) -> bool:
    """Whether a file name is one of a CIF."""
    return str(name).lower().endswith(SUFFIXES)


def stem(name: str | Path) -> str:
    """File name without folder and without .cif or .cif.gz."""
    return re.sub(r"\.cif(\.gz)?$", "", PurePosixPath(str(name)).name, flags=re.IGNORECASE)


def decode(data: bytes, name: str) -> str:
    """Text of a CIF; older files are not UTF-8, and only comments and names hold other characters."""
    if name.lower().endswith(".gz"):
        data = gzip.decompress(data)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def split_blocks(text: str) -> list[tuple[str, str]]:
    """The data blocks of a file.

    Text fields (between lines that begin with a semicolon) are respected: what looks like a header in them is none.

    Returns:
        (name, text) of each block, in order.
    """
    blocks: list[tuple[str, list[str]]] = []
    in_text = False
    for line in text.splitlines():
        if line.startswith(";"):
            in_text = not in_text
        elif not in_text and line.lstrip()[:5].lower() == "data_":
            blocks.append((line.split()[0][5:], []))
        if blocks:
            blocks[-1][1].append(line)
    return [(name, "\n".join(lines) + "\n") for name, lines in blocks]


def _number(text: str) -> float:
    """A CIF number without its standard uncertainty, NaN where there is none."""
    match = _NUMBER.fullmatch(text.strip())
    return float(text.split("(")[0]) if match else math.nan


def _b_iso_by_label(data: dict[str, Any]) -> dict[str, float]:
    """Displacement parameter B of each atom label, Å²; U values are turned by B = 8π²U."""
    labels = data.get("_atom_site_label")
    if not isinstance(labels, list):
        return {}
    for key, factor in (("_atom_site_b_iso_or_equiv", 1.0), ("_atom_site_u_iso_or_equiv", 8 * math.pi**2)):
        values = next((v for k, v in data.items() if k.lower() == key and isinstance(v, list)), None)
        if values is None or len(values) != len(labels):
            continue
        found = {label: factor * _number(value) for label, value in zip(labels, values, strict=True)}
        return {label: b for label, b in found.items() if 0.0 < b <= MAX_B_ISO}
    return {}


def _has_element(symbol: str) -> bool:
    """Whether an atom type or label begins with an element (or deuterium, tritium, or water)."""
    letters = re.match(r"[A-Za-z]*", symbol.strip())[0]  # type: ignore[index]
    if letters.lower() in {"va", "vac"}:  # a vacancy, not vanadium
        return False
    known = {*element_symbols()[1:], "D", "T"}
    return letters[:2].capitalize() in known or letters[:1].upper() in known


def _reason_before_parsing(data: dict[str, Any]) -> str | None:
    """Why a block has no structure that pymatgen could build, where we can say it better."""
    lower = {key.lower(): value for key, value in data.items()}
    missing = [key for key in _CELL if not math.isfinite(_number(str(lower.get(key, "?"))))]
    if missing:
        return f"no unit cell: {', '.join(missing)} missing or not a number"
    occupancies = lower.get("_atom_site_occupancy", [])
    for index, value in enumerate(occupancies if isinstance(occupancies, list) else []):
        if value in _UNKNOWN:
            labels = lower.get("_atom_site_label") or lower.get("_atom_site_type_symbol") or []
            site = labels[index] if index < len(labels) else index + 1
            return f"unknown occupancy: site {site} has '?'; give a number or remove the site"
    axes = ["_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z"]
    if not all(axis in lower for axis in axes) and "_atom_site_cartn_x" not in lower:
        return "no atom sites: the _atom_site_fract_ columns are missing"
    for symbol in lower.get("_atom_site_type_symbol") or lower.get("_atom_site_label") or []:
        if not _has_element(str(symbol)):  # pymatgen would leave such a site out without a word
            return f"unknown element: site {symbol!r} names no chemical element; correct or remove it"
    for axis in axes:
        for value in lower.get(axis, []):
            if not math.isfinite(_number(str(value))):
                return f"unknown coordinate: {axis} is {value!r}; give a number or remove the site"
    return None


def structures_in_cif(text: str, source: str, name: str) -> Iterator[RawCrystal | Rejected]:
    """All structures of a CIF.

    Args:
        text: The file's text.
        source: What the rows name as their source.
        name: Crystal id of the only structure; with several, `name#block` each.

    Yields:
        Structures, and a rejection for each block with atoms or a cell that cannot be used; one for the whole file when
        it has no block with atoms.
    """
    from pymatgen.io.cif import CifBlock

    blocks = [
        (block, content) for block, content in split_blocks(text) if re.search(r"_atom_site_|_cell_", content, re.I)
    ]
    if not blocks:
        reason = "empty file" if not text.strip() else "not a CIF: no data block with a cell or atoms"
        yield Rejected(source, name, reason)
        return
    with_atoms = [pair for pair in blocks if re.search(r"^\s*_atom_site_(fract|cartn)", pair[1], re.I | re.M)]
    if not with_atoms:
        yield Rejected(source, name, "no atom sites: the _atom_site_fract_ columns are missing")
        return
    for block, content in with_atoms:
        crystal_id = name if len(with_atoms) == 1 else f"{name}#{block}"
        try:
            data = dict(CifBlock.from_str(content).data)
        except Exception as error:  # pymatgen raises whatever a broken line leads to
            yield Rejected(source, crystal_id, f"broken CIF: {_first_line(error)}")
            continue
        problem = _reason_before_parsing(data)
        if problem:
            yield Rejected(source, crystal_id, problem)
            continue
        yield _parse_block(content, data, source, crystal_id)


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:200]


def _parse_block(content: str, data: dict[str, Any], source: str, crystal_id: str) -> RawCrystal | Rejected:
    from pymatgen.io.cif import CifParser

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rounding notes on each of many files; real faults raise
        try:
            parser = CifParser.from_str(content, occupancy_tolerance=OCCUPANCY_TOLERANCE, check_cif=False)
            structure = parser.parse_structures(primitive=False, on_error="raise")[0]
        except Exception as error:  # as above
            message = _first_line(error.__cause__ or error)  # the outer one only counts sections
            kind = "occupancy above 1" if "ccupancy" in message and "exceed" in message else "broken CIF"
            return Rejected(source, crystal_id, f"{kind}: {message}")
    return from_pymatgen(structure, source, crystal_id, _b_iso_by_label(data))


def from_pymatgen(
    structure: object, source: str, crystal_id: str, b_iso: dict[str, float] | None = None
) -> RawCrystal | Rejected:
    """A pymatgen `Structure` as entries, one for each species on each site.

    Args:
        structure: The structure.
        source: What the row names as its source.
        crystal_id: Its name.
        b_iso: Displacement parameter of each site label, Å².
    """
    numbers: list[int] = []
    coords: list[np.ndarray] = []
    occupancies: list[float] = []
    b_values: list[float] = []
    for site in structure:  # type: ignore[attr-defined]
        labels = [label.strip() for label in str(site.label or "").split(",")]
        known = [b_iso[label] for label in labels if label in b_iso] if b_iso else []
        for species, occupancy in site.species.items():
            z = getattr(species, "Z", None)
            if not isinstance(z, int) or z < 1:
                return Rejected(source, crystal_id, f"unknown element: {species} is not a chemical element")
            if occupancy <= 0:
                continue
            numbers.append(z)
            coords.append(np.asarray(site.frac_coords, dtype=np.float64))
            occupancies.append(min(float(occupancy), 1.0))
            b_values.append(sum(known) / len(known) if known else math.nan)
    return RawCrystal(
        source,
        crystal_id,
        np.asarray(structure.lattice.matrix, dtype=np.float64),  # type: ignore[attr-defined]
        np.asarray(numbers, dtype=np.int64),
        np.asarray(coords, dtype=np.float64).reshape(-1, 3),
        np.asarray(occupancies) if any(value != 1.0 for value in occupancies) else None,
        np.asarray(b_values) if b_iso else None,
    )
