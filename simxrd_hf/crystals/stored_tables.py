"""Crystal tables stored as Parquet, ours or alike: read whole, checked in arrays, trusted where they state a group."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simxrd_hf.crystals.remote import from_optimade
from simxrd_hf.crystals.standard import RawCrystal, formulas
from simxrd_hf.crystals.table import CRYSTAL_SCHEMA, Rejected, metadata
from simxrd_hf.diffraction.crystal import MAX_ATOMIC_NUMBER, MAX_ATOMS
from simxrd_hf.errors import BadInput
from simxrd_hf.sums import table_fault

Entry = RawCrystal | Rejected

REQUIRED = ("lattice", "atomic_numbers", "frac_coords")
OPTIMADE_REQUIRED = ("lattice_vectors", "cartesian_site_positions", "species_at_sites")
"""Columns of tables that follow OPTIMADE, as several collections on the Hub do."""
_IDS = ("crystal_id", "material_id", "immutable_id", "id")


def load(handle: Any, name: str, limit: int | None) -> pa.Table:
    """The columns of a Parquet file that a crystal table needs.

    Args:
        handle: Path or open file.
        name: What messages call it.
        limit: At most so many rows.

    Raises:
        BadInput: Not a whole Parquet file, or columns are missing.
    """
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(handle, page_checksum_verification=True) as file:
            names = file.schema_arrow.names
            if set(REQUIRED) <= set(names):
                wanted = [column for column in names if column in CRYSTAL_SCHEMA.names]
            elif set(OPTIMADE_REQUIRED) <= set(names):
                wanted = [c for c in names if c in (*OPTIMADE_REQUIRED, "species", "nperiodic_dimensions", *_IDS)]
            else:
                missing = [column for column in REQUIRED if column not in names]
                raise BadInput(
                    f"{name}: no crystal table, it lacks the columns {', '.join(missing)} "
                    f"(it has {', '.join(names[:12])}{' …' if len(names) > 12 else ''})"
                )
            if limit is None or limit >= file.metadata.num_rows:
                return _sound(file.read(columns=wanted), name)
            batches, rows = [], 0
            for batch in file.iter_batches(batch_size=min(limit, 65536), columns=wanted):
                batches.append(batch)
                rows += len(batch)
                if rows >= limit:
                    break
            return _sound(pa.Table.from_batches(batches).slice(0, limit), name, rows=file.metadata.num_rows)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, (FileNotFoundError, PermissionError)):
            raise
        raise BadInput(
            f"{name}: not a whole Parquet file ({str(error).splitlines()[0][:200]}); make or fetch it again"
        ) from None


def _sound(table: pa.Table, name: str, rows: int | None = None) -> pa.Table:
    fault = table_fault(table, rows=rows)
    if fault is not None:
        raise BadInput(f"{name}: damaged: {fault}; make or fetch it again")
    return table


def is_trusted(table: pa.Table, symprec: float) -> bool:
    """Whether the space groups in a table can stand: present, and found at the tolerance asked for or at one unsaid."""
    stored = metadata(table).get("symprec")
    try:
        return "space_group" in table.column_names and (stored is None or float(stored) == symprec)
    except ValueError:
        return False


def raw_rows(table: pa.Table, name: str) -> Iterator[Entry]:
    """Rows one by one, for tables whose space groups have to be found."""
    stem = Path(name).stem
    optimade = set(OPTIMADE_REQUIRED) <= set(table.column_names)
    index = 0
    for batch in table.to_batches(max_chunksize=1024):
        for row in batch.to_pylist():
            crystal_id = str(next((row[key] for key in _IDS if row.get(key) is not None), f"{stem}-{index}"))
            index += 1
            if optimade:
                yield from_optimade(row, crystal_id, name)
                continue
            source = row.get("source") or name
            if any(row[key] is None for key in REQUIRED) or len(row["lattice"]) != 9:
                yield Rejected(
                    source, crystal_id, "incomplete structure: the lattice needs nine numbers, the rest values"
                )
                continue
            numbers = np.array(row["atomic_numbers"])
            coords = np.array(row["frac_coords"], dtype=np.float64)
            if coords.size != 3 * numbers.size:
                yield Rejected(
                    source, crystal_id, f"incomplete structure: {coords.size} coordinates for {numbers.size} atoms"
                )
                continue
            yield RawCrystal(
                source,
                crystal_id,
                np.array(row["lattice"], dtype=np.float64).reshape(3, 3),
                numbers,
                coords.reshape(-1, 3),
                None if row.get("occupancies") is None else np.array(row["occupancies"], dtype=np.float64),
                None if row.get("b_iso") is None else np.array(row["b_iso"], dtype=np.float64),
            )


def _list_column(table: pa.Table, name: str, value_type: pa.DataType, source: str) -> pa.Array:
    column = table[name]
    try:
        column = column.cast(pa.list_(value_type))
    except pa.ArrowException as error:
        raise BadInput(f"{source}: column {name} is {column.type}, not a list of {value_type} ({error})") from None
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _per_row(bad: np.ndarray, column: pa.Array, rows: int) -> np.ndarray:
    """Rows of a list column in which any value is bad."""
    parents = pc.list_parent_indices(column).to_numpy(zero_copy_only=False)
    return np.bincount(parents[bad], minlength=rows).astype(bool)


def check(table: pa.Table, name: str) -> tuple[pa.Table, list[Rejected]]:
    """Check a table with space groups in arrays, mend left-handed axes, bring it to the schema.

    Checked are the space-group number and all that `simxrd_hf.diffraction.Crystal` asks for, but coincident atoms.

    Args:
        table: Columns as `load` gives them.
        name: The file.

    Returns:
        The good rows by `CRYSTAL_SCHEMA`, and the rest with reasons.
    """
    rows = len(table)
    lattice = _list_column(table, "lattice", pa.float64(), name)
    numbers = _list_column(table, "atomic_numbers", pa.int64(), name)
    coords = _list_column(table, "frac_coords", pa.float64(), name)
    reasons = np.full(rows, None, dtype=object)

    def mark(bad: np.ndarray, reason: str) -> None:
        reasons[bad & (reasons == None)] = reason  # noqa: E711  compares each element

    def lengths(column: pa.Array) -> np.ndarray:
        result: np.ndarray = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        return result

    def values(column: pa.Array) -> np.ndarray:
        result: np.ndarray = pc.fill_null(
            pc.list_flatten(column), float("nan") if pa.types.is_floating(column.type.value_type) else 0
        ).to_numpy(zero_copy_only=False)
        return result

    atoms = lengths(numbers)
    mark(lengths(lattice) != 9, "incomplete structure: the lattice needs nine numbers")
    mark(atoms == 0, "incomplete structure: no atoms")
    mark(atoms > MAX_ATOMS, f"too large: more than {MAX_ATOMS} atoms")
    mark(lengths(coords) != 3 * atoms, "incomplete structure: three coordinates are needed for each atom")
    z = values(numbers)
    mark(
        _per_row((z < 1) | (z > MAX_ATOMIC_NUMBER), numbers, rows),
        f"unknown element: atomic numbers go from 1 to {MAX_ATOMIC_NUMBER}",
    )
    x = values(coords)
    mark(_per_row(~(np.abs(x) <= 1e4), coords, rows), "not a usable structure: coordinates are not finite fractions")

    flat = np.zeros((rows, 9))
    whole = lengths(lattice) == 9
    flat[whole] = values(lattice if whole.all() else lattice.filter(pa.array(whole))).reshape(-1, 9)
    cells = flat.reshape(-1, 3, 3)
    with np.errstate(invalid="ignore"):
        axes = np.sqrt((cells * cells).sum(axis=2))
        volume = np.linalg.det(np.where(np.isfinite(cells), cells, 0.0))
        mark(
            ~((axes.min(axis=1) > 0.5) & (axes.max(axis=1) < 5000.0)),
            "not a usable structure: cell axes must measure 0.5 to 5000 Å",
        )
        mark(~(np.abs(volume) > 1e-4 * axes.prod(axis=1)), "not a usable structure: the cell has no volume")

    optional: dict[str, pa.Array] = {}
    for field, low, high in (("occupancies", 0.0, 1.0 + 1e-6), ("b_iso", 0.0, np.inf)):
        if field in table.column_names and table[field].null_count < rows:
            column = _list_column(table, field, pa.float64(), name)
            given = column.is_valid().to_numpy(zero_copy_only=False)
            mark(given & (lengths(column) != atoms), f"incomplete structure: {field} needs one value for each atom")
            v = values(column)
            bad = ~((v > low) & (v <= high)) if field == "occupancies" else v < low
            mark(_per_row(bad, column, rows), f"not a usable structure: {field} out of range")
            optional[field] = column

    group_column = table["space_group"].combine_chunks()
    try:
        groups = pc.fill_null(group_column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    except pa.ArrowException as error:
        raise BadInput(f"{name}: column space_group is {group_column.type}, not a number 1 to 230 ({error})") from None
    mark((groups < 1) | (groups > 230), "no space group: the number must lie between 1 and 230")

    stem = Path(name).stem
    id_column = next((key for key in _IDS if key in table.column_names), None)
    if id_column is None:
        ids = pa.array([f"{stem}-{index}" for index in range(rows)], type=pa.string())
    else:
        ids = table[id_column].cast(pa.string()).combine_chunks()
        mark(
            pc.fill_null(pc.equal(pc.utf8_length(ids), 0), True).to_numpy(zero_copy_only=False),
            "no crystal_id: a name is needed",
        )
    if "source" in table.column_names:
        source = pc.fill_null(table["source"].cast(pa.string()).combine_chunks(), name)
    else:
        source = pa.array([name], type=pa.string()).take(pa.array(np.zeros(rows, dtype=np.int64)))

    left = volume < 0
    if left.any():
        cells[left] *= -1
        x = np.where(left[pc.list_parent_indices(coords).to_numpy(zero_copy_only=False)], -x, x)
    good = reasons == None  # noqa: E711  compares each element
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        "crystal_id": ids,
        "lattice": pa.FixedSizeListArray.from_arrays(pa.array(cells.reshape(-1)), 9),
        "atomic_numbers": pa.ListArray.from_arrays(_offsets(atoms), pa.array(z)),
        "frac_coords": pa.ListArray.from_arrays(_offsets(lengths(coords)), pa.array(x)),
        **optional,
        "space_group": pa.array(groups, type=pa.int64()),
        "source": source,
    }
    for key in ("formula", "reduced_formula", "prototype"):
        if key in table.column_names:
            columns[key] = table[key].cast(pa.string()).combine_chunks()
    kept = pa.table(columns)
    if not good.all():
        kept = kept.filter(pa.array(good.astype(bool)))
    kept = _with_formulas(kept)
    arrays = [
        kept[field.name].cast(field.type) if field.name in kept.column_names else pa.nulls(len(kept), field.type)
        for field in CRYSTAL_SCHEMA
    ]
    rejected = [
        Rejected(source[i].as_py(), str(ids[i].as_py() or f"{stem}-{i}"), reasons[i])
        for i in np.flatnonzero(~good).tolist()
    ]
    return pa.table(arrays, schema=CRYSTAL_SCHEMA), rejected


def _offsets(lengths: np.ndarray) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


def _with_formulas(table: pa.Table) -> pa.Table:
    """The table with both formulas, computed where a column is missing or has gaps."""
    if all(key in table.column_names and not table[key].null_count for key in ("formula", "reduced_formula")):
        return table
    occupancies = table["occupancies"].to_pylist() if "occupancies" in table.column_names else [None] * len(table)
    pairs = [
        formulas(numbers, None if occupancy is None else np.asarray(occupancy))
        for numbers, occupancy in zip(table["atomic_numbers"].to_pylist(), occupancies, strict=True)
    ]
    for key, position in (("formula", 0), ("reduced_formula", 1)):
        computed = pa.array([pair[position] for pair in pairs], type=pa.string())
        if key in table.column_names:
            place = table.column_names.index(key)
            table = table.set_column(place, key, pc.coalesce(table[key], computed))
        else:
            table = table.append_column(key, computed)
    return table
