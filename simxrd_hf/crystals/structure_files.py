"""Files and folders that are read structure by structure: CIFs (alone, in folders, in zips), ASE databases, JSON."""

import json
import sqlite3
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from simxrd_hf.crystals import cif
from simxrd_hf.crystals.confined_cif import MAX_CIF_BYTES
from simxrd_hf.crystals.standard import RawCrystal
from simxrd_hf.crystals.table import Rejected
from simxrd_hf.errors import BadInput
from simxrd_hf.unpack import gunzip

Entry = RawCrystal | Rejected
_SQLITE = b"SQLite format 3\0"


def cif_files(folder: Path) -> list[tuple[Path, str]]:
    """All CIFs below a folder (any depth: COD's tree too) in the order of their paths, each with its crystal id.

    The id is the file name without suffix (in COD's tree the COD number); where two files share a name, the path within
    the folder.

    Raises:
        BadInput: There is none.
    """
    paths = sorted(path for path in folder.rglob("*") if cif.is_cif(path.name) and path.is_file())
    if not paths:
        parquet = next(folder.glob("*.parquet"), None)
        hint = f"; it holds {parquet.name}: name that file instead" if parquet else ""
        raise BadInput(f"{folder}: no .cif file in this folder or below it{hint}")
    return list(zip(paths, _ids([path.relative_to(folder).as_posix() for path in paths]), strict=True))


def _ids(names: list[str]) -> list[str]:
    stems = [cif.stem(name) for name in names]
    often = {name for name, count in Counter(stems).items() if count > 1}
    whole = [name[: len(name) - len(Path(name).name)] + stem for name, stem in zip(names, stems, strict=True)]
    return [path if stem in often else stem for stem, path in zip(stems, whole, strict=True)]


def read_cif(path: Path, crystal_id: str, source: str) -> list[Entry]:
    """All structures of a CIF of one's own, as they are written; a file that cannot be read becomes one rejection."""
    try:
        text = cif.decode(path.read_bytes(), path.name)
    except (OSError, BadInput) as error:
        return [Rejected(source, crystal_id, f"unreadable file: {error}")]
    return list(cif.structures_in_cif(text, source, crystal_id))


def zip_members(path: Path) -> list[tuple[str, str]]:
    """Names of the CIFs in a zip archive, each with its crystal id.

    Raises:
        BadInput: It is no zip archive, or it has no CIF.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if cif.is_cif(name) and not name.startswith("__MACOSX/"))
    except zipfile.BadZipFile as error:
        raise BadInput(f"{path}: not a whole zip archive ({error}); fetch or pack it again") from None
    if not names:
        raise BadInput(f"{path}: no .cif file in this archive")
    return list(zip(names, _ids(names), strict=True))


def read_zip(path: Path, members: list[tuple[str, str]]) -> Iterator[tuple[bytes | str, str, str]]:
    """The CIFs in a zip archive: content (or why there is none), crystal id, source."""
    with zipfile.ZipFile(path) as archive:
        for name, crystal_id in members:
            source = f"{path.name}/{name}"
            try:
                with archive.open(name) as member:
                    yield member.read(MAX_CIF_BYTES + 1), crystal_id, source
            except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError) as error:
                yield f"unreadable file: {error}", crystal_id, source


def is_sqlite(path: Path) -> bool:
    """Whether a file is an SQLite database."""
    with path.open("rb") as stream:
        return stream.read(len(_SQLITE)) == _SQLITE


def open_ase(path: Path) -> tuple[int, Iterator[Entry]]:
    """Rows of an ASE database (.db or .json); stored text is never executed.

    Only numbers, positions, cell and periodicity are read, and of the key-value pairs `crystal_id` or `material_id`,
    which name the crystal; else it is the file's name and the row number.

    Returns:
        Number of rows, and the entries.

    Raises:
        BadInput: It is not an ASE database, or it is empty.
    """
    from ase.db import connect

    kind = "json" if path.suffix == ".json" else "db"
    try:
        if kind == "db":
            _require_ase_tables(path)
        database = connect(path, type=kind, use_lock_file=False, append=True)
        count = database.count()
    except Exception as error:  # sqlite, json and ase each have their own
        raise BadInput(
            f"{path}: not an ASE database ({str(error).splitlines()[0] if str(error) else type(error).__name__}); "
            "give a file written by ase.db, or CIFs, or our Parquet table"
        ) from None
    if not count:
        raise BadInput(f"{path}: the ASE database has no rows")
    return count, _ase_rows(path, database)


def _require_ase_tables(path: Path) -> None:
    """Look first, without the right to write: opened by ase.db, a foreign SQLite file would be given ASE's tables."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "systems" not in names:
        raise ValueError(f"its tables are {', '.join(sorted(names)[:5]) or 'none'}")


def _ase_rows(path: Path, database: Any) -> Iterator[Entry]:
    for row in database.select(include_data=False):
        pairs = row.key_value_pairs
        crystal_id = str(pairs.get("crystal_id") or pairs.get("material_id") or f"{path.stem}-{row.id}")
        cell = np.asarray(row.cell, dtype=np.float64).reshape(3, 3)
        if not np.all(row.pbc) or abs(np.linalg.det(cell)) < 1e-6:
            yield Rejected(path.name, crystal_id, "not periodic: a crystal needs a cell with three periodic directions")
            continue
        positions = np.asarray(row.positions, dtype=np.float64)
        yield RawCrystal(path.name, crystal_id, cell, np.asarray(row.numbers), positions @ np.linalg.inv(cell))


def open_json(path: Path) -> tuple[int | None, Iterator[Entry]]:
    """Structures in a JSON file: pymatgen's (one, a list, a mapping id -> structure, entries) or an ASE database.

    Raises:
        BadInput: It is no JSON or holds no structures.
    """
    try:
        raw = path.read_bytes()
        content = json.loads(gunzip(raw, path.name) if path.suffix == ".gz" else raw)
    except RecursionError:
        raise BadInput(f"{path}: nested too deep for a file of structures") from None
    except ValueError as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{path}: not a whole JSON file ({error})") from None
    if isinstance(content, dict) and "nextid" in content and "ids" in content:
        return open_ase(path)
    items = list(_json_items(content, path.stem.removesuffix(".json")))
    if not items:
        raise BadInput(
            f"{path}: no structures in this JSON file; give pymatgen structures (as_dict: one, a list, or id -> "
            "structure) or an ASE database"
        )
    return len(items), (_from_dict(path.name, name, value) for name, value in items)


def _structure_of(value: Any) -> dict[str, Any] | None:
    """The dictionary of a structure within a record, if there is one."""
    if not isinstance(value, dict):
        return None
    if "lattice" in value and "sites" in value:
        return value
    inner = value.get("structure")
    return _structure_of(inner)


def _json_items(content: Any, stem: str) -> Iterator[tuple[str, dict[str, Any]]]:
    single = _structure_of(content)
    if single is not None:
        yield _record_id(content) or stem, single
    elif isinstance(content, list):
        for index, value in enumerate(content):
            structure = _structure_of(value)
            if structure is not None:
                yield _record_id(value) or f"{stem}-{index}", structure
    elif isinstance(content, dict):
        for key, value in content.items():
            structure = _structure_of(value)
            if structure is not None:
                yield str(key), structure
        for key in ("data", "entries", "structures"):
            if isinstance(content.get(key), list):
                yield from _json_items(content[key], stem)


def _record_id(value: Any) -> str | None:
    for key in ("crystal_id", "material_id", "entry_id", "id"):
        if isinstance(value, dict) and isinstance(value.get(key), str | int):
            return str(value[key])
    return None


def _from_dict(source: str, crystal_id: str, value: dict[str, Any]) -> Entry:
    from pymatgen.core import Structure

    try:
        structure = Structure.from_dict(value)
    except Exception as error:  # whatever a wrong field leads to in pymatgen
        return Rejected(source, crystal_id, f"broken structure: {type(error).__name__} {str(error)[:150]}")
    return cif.from_pymatgen(structure, source, crystal_id)
