"""`read_crystals`: finds out what a source is, reads it, finds space groups, sets aside what cannot be used."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from simxrd_hf.crystals import cif, remote, stored_tables, structure_files
from simxrd_hf.crystals.aflow import aflow_structures
from simxrd_hf.crystals.confined_cif import rows_of_cif
from simxrd_hf.crystals.duplicates import find_duplicates
from simxrd_hf.crystals.parallel import ordered_map
from simxrd_hf.crystals.standard import RawCrystal, standardise
from simxrd_hf.crystals.table import (
    SYMPREC,
    CrystalTable,
    Rejected,
    metadata,
    rejected_table,
    table_from_rows,
    with_metadata,
)
from simxrd_hf.errors import BadInput
from simxrd_hf.progress import bar

Entry = RawCrystal | Rejected

SOURCES = """\
a Parquet crystal table; a CIF (.cif, .mcif, both also .gz, several blocks allowed); a folder of CIFs, any depth (also
COD's tree); a zip of CIFs; an ASE database (.db, .json); pymatgen structures (.json); prototypes (the AFLOW prototypes
pymatgen ships); mp:QUERY (Materials Project: ids, chemical systems or formulas); optimade:URL (base address, ?filter=…
allowed); hf://datasets/OWNER/NAME[/FILE.parquet] (Hub dataset)"""

_BLOCK = 32


def read_crystals(
    source: str | Path,
    *,
    symprec: float = SYMPREC,
    deduplicate: bool = True,
    limit: int | None = None,
    num_proc: int = 1,
    recompute: bool = False,
    progress: bool = False,
) -> CrystalTable:
    """Read crystal structures from any source into one table.

    Structures are brought to spglib's standard primitive cell. A Parquet table that states space groups is taken as it
    stands (cells and groups) if its metadata names the same tolerance or none; `recompute` treats it like the rest.

    Set aside with a reason are: structures that cannot be parsed or simulated (unknown occupancy or coordinates,
    unknown element, atoms on one another …), the later of two with one id, and with `deduplicate` the later of two that
    are one crystal by `simxrd_hf.crystals.duplicates.RULE`.

    Args:
        source: Path or address; see `SOURCES` in this module.
        symprec: Tolerance of spglib for the space group, Å.
        deduplicate: Keep one of several equal crystals; skipped for tables that say it was done.
        limit: Read only the first so many entries.
        num_proc: Processes that parse and find space groups.
        recompute: Find the space groups of a table anew.
        progress: Show a progress bar.

    Returns:
        The crystals in the order of the source, and what was set aside.

    Raises:
        BadInput: No such source, not of a known format, or nothing in it can be used; the message says what to do.
    """
    if not (symprec > 0):
        raise BadInput(f"symprec {symprec} Å: the tolerance must be positive")
    if limit is not None and limit < 1:
        raise BadInput(f"limit {limit}: give a positive number")
    address = str(source)
    if address == "prototypes" and not Path(address).exists():
        return prototypes(symprec=symprec, deduplicate=deduplicate, limit=limit)
    if address.startswith("hf://"):
        return _read_tables(*_hub_tables(address, limit), address, symprec, deduplicate, num_proc, recompute, progress)
    scheme, _, rest = address.partition(":")
    if scheme in {"mp", "optimade"} and rest:
        opener = remote.open_optimade if scheme == "optimade" else remote.open_materials_project
        count, entries = opener(rest, limit)
        return _read_entries(entries, count, address, symprec, deduplicate, limit, num_proc, progress)
    path = Path(source)
    if not path.exists():
        raise BadInput(
            f"{path}: no such file or folder; check the path (sources without a file are prototypes, mp:…, optimade:…, "
            "hf://datasets/…)"
        )
    if path.is_dir():
        found = structure_files.cif_files(path)[:limit]
        tasks: Iterator[Any] = ((file, crystal_id, file.relative_to(path).as_posix()) for file, crystal_id in found)
        results = ordered_map(_read_and_standardise, ((task, symprec) for task in tasks), num_proc)
        return _collect(_bar(results, len(found), progress, "file"), address, symprec, deduplicate, limit)
    kind = _kind(path)
    if kind == "parquet":
        tables = [stored_tables.load(path, str(path), limit)]
        return _read_tables(tables, path.name, address, symprec, deduplicate, num_proc, recompute, progress)
    if kind == "cif":
        rows = rows_of_cif(path, path.name, path.name, cif.stem(path.name), symprec)
        return _collect(iter([rows]), address, symprec, deduplicate, limit)
    if kind == "zip":
        members = structure_files.zip_members(path)[:limit]
        zipped = ((*one, symprec) for one in structure_files.read_zip(path, members))
        results = ordered_map(_member, zipped, num_proc)
        return _collect(_bar(results, len(members), progress, "file"), address, symprec, deduplicate, limit)
    if kind == "json":
        count, entries = structure_files.open_json(path)
    else:
        count, entries = structure_files.open_ase(path)
    return _read_entries(entries, count, address, symprec, deduplicate, limit, num_proc, progress)


def _kind(path: Path) -> str:
    """Format of a file: by its name, else by how it begins."""
    name = path.name.lower()
    if path.stat().st_size == 0:
        raise BadInput(f"{path}: the file is empty; fetch or write it again")
    if cif.is_cif(name):
        return "cif"
    for suffix, kind in (
        (".parquet", "parquet"),
        (".zip", "zip"),
        (".db", "ase"),
        (".json", "json"),
        (".json.gz", "json"),
    ):
        if name.endswith(suffix):
            if kind == "ase" and not structure_files.is_sqlite(path):
                raise BadInput(f"{path}: not an ASE database (no SQLite file); give one written by ase.db")
            return kind
    with path.open("rb") as stream:
        head = stream.read(4096)
    if structure_files.is_sqlite(path):
        return "ase"
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if b"data_" in head and b"\0" not in head:
        return "cif"
    raise BadInput(
        f"{path}: unknown format; a source is one of: {' '.join(SOURCES.split())} Structures of other programs become "
        "a CIF with, for instance, `ase convert POSCAR structure.cif`"
    )


def _read_and_standardise(task: tuple[tuple[Path, str, str], float]) -> list[dict[str, Any] | Rejected]:
    (path, crystal_id, source), symprec = task
    return rows_of_cif(path, path.name, source, crystal_id, symprec)


def _member(task: tuple[bytes | str, str, str, float]) -> list[dict[str, Any] | Rejected]:
    """Rows of one CIF of a zip archive."""
    content, crystal_id, source, symprec = task
    if isinstance(content, str):
        return [Rejected(source, crystal_id, content)]
    return rows_of_cif(content, Path(source).name, source, crystal_id, symprec)


def _standardise_block(task: tuple[list[Entry], float]) -> list[dict[str, Any] | Rejected]:
    entries, symprec = task
    return [entry if isinstance(entry, Rejected) else standardise(entry, symprec) for entry in entries]


def _bar(results: Iterable[list[Any]], total: int | None, progress: bool, unit: str) -> Iterator[list[Any]]:
    with bar(show=progress, total=total, unit=f" {unit}s", desc="reading crystals") as shown:
        for block in results:
            shown.update(1 if unit == "file" else len(block))
            yield block


def _read_entries(
    entries: Iterator[Entry],
    count: int | None,
    address: str,
    symprec: float,
    deduplicate: bool,
    limit: int | None,
    num_proc: int,
    progress: bool,
) -> CrystalTable:
    if limit is not None:
        entries = islice(entries, limit)
        count = None if count is None else min(count, limit)

    def tasks() -> Iterator[tuple[list[Entry], float]]:
        while block := list(islice(entries, _BLOCK)):
            yield block, symprec

    results = ordered_map(_standardise_block, tasks(), num_proc)
    return _collect(_bar(results, count, progress, "crystal"), address, symprec, deduplicate, limit)


def _collect(
    results: Iterable[list[Any]], address: str, symprec: float, deduplicate: bool, limit: int | None
) -> CrystalTable:
    rows: list[dict[str, Any]] = []
    rejected: list[Rejected] = []
    for result in islice((item for block in results for item in block), limit):
        (rejected if isinstance(result, Rejected) else rows).append(result)
    return _finish(table_from_rows(rows), rejected, address, symprec, deduplicate)


def _finish(
    table: pa.Table,
    rejected: list[Rejected],
    address: str,
    symprec: float,
    deduplicate: bool,
    *,
    done: bool = False,
) -> CrystalTable:
    """Set aside repeated ids and repeated crystals (unless `done`); refuse a source that leaves nothing."""
    if not len(table):
        if not rejected:
            raise BadInput(f"{address}: no structures in this source")
        first = rejected[0]
        if len(rejected) == 1:
            where = "" if Path(address).name == first.source else f" ({first.crystal_id})"
            remedy = "" if ";" in first.reason else "; correct the structure or give another source"
            raise BadInput(f"{address}{where}: {first.reason}{remedy}")
        raise BadInput(
            f"{address}: none of its {len(rejected)} structures can be used; "
            f"the first, {first.crystal_id}: {first.reason}"
        )
    ids = table["crystal_id"].to_pylist()
    sources = table["source"].to_pylist()
    keep: list[int] = []
    seen: dict[str, int] = {}
    for index, crystal_id in enumerate(ids):
        if crystal_id in seen:
            other = sources[seen[crystal_id]]
            rejected.append(
                Rejected(
                    sources[index], crystal_id, f"repeated id: another crystal of this id came first, from {other}"
                )
            )
        else:
            seen[crystal_id] = index
            keep.append(index)
    if len(keep) < len(table):
        table = table.take(pa.array(keep, type=pa.int64()))
    table = with_metadata(table, symprec, deduplicated=deduplicate or done)
    if deduplicate and not done:
        repeats = find_duplicates(table)
        if repeats:
            ids, sources = table["crystal_id"].to_pylist(), table["source"].to_pylist()
            for row in sorted(repeats):
                rejected.append(Rejected(sources[row], ids[row], f"same crystal as another: {ids[repeats[row]]}"))
            table = table.take(pa.array([i for i in range(len(table)) if i not in repeats], type=pa.int64()))
    return CrystalTable(table, rejected_table(rejected))


def _hub_tables(address: str, limit: int | None) -> tuple[list[pa.Table], str]:
    system, paths = remote.hub_parquet(address)
    tables: list[pa.Table] = []
    left = limit
    for path in paths:
        with system.open(path) as stream:
            tables.append(stored_tables.load(stream, f"hf://{path}", left))
        if left is not None:
            left -= len(tables[-1])
            if left <= 0:
                break
    return tables, address


def _read_tables(
    tables: list[pa.Table],
    name: str,
    address: str,
    symprec: float,
    deduplicate: bool,
    num_proc: int,
    recompute: bool,
    progress: bool,
) -> CrystalTable:
    done = all(metadata(table).get("deduplicated") == "1" for table in tables) and len(tables) == 1
    if recompute or not all(stored_tables.is_trusted(table, symprec) for table in tables):
        entries = (entry for table in tables for entry in stored_tables.raw_rows(table, name))
        count = sum(map(len, tables))
        return _read_entries(entries, count, address, symprec, deduplicate, None, num_proc, progress)
    checked, rejected = [], []
    for table in tables:
        good, bad = stored_tables.check(table, name)
        checked.append(good)
        rejected += bad
    return _finish(pa.concat_tables(checked).combine_chunks(), rejected, address, symprec, deduplicate, done=done)


def prototypes(*, symprec: float = SYMPREC, deduplicate: bool = True, limit: int | None = None) -> CrystalTable:
    """The AFLOW prototype structures that pymatgen ships: real compounds of all seven crystal systems, for first steps.

    Source: Mehl et al., The AFLOW Library of Crystallographic Prototypes, Comput. Mater. Sci. 136 (2017) S1, through
    `pymatgen.analysis.prototypes`. The ids are AFLOW's label and the compound ("AB_cF8_225_a_b-ClNa"), with a number
    behind it where the library has a name more than once.

    Args:
        symprec: Tolerance of spglib, Å.
        deduplicate: Keep one of several equal crystals.
        limit: Only the first so many entries.
    """
    return _read_entries(aflow_structures(), None, "prototypes", symprec, deduplicate, limit, 1, False)
