"""The crystal table: its schema, how it is built, written, sampled, summed up, and how one crystal comes out of it."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from simxrd_hf.errors import BadInput
from simxrd_hf.files import replacing
from simxrd_hf.sums import with_table_sums

if TYPE_CHECKING:
    from simxrd_hf.diffraction.crystal import Crystal

SYMPREC = 0.01
"""Å; the tolerance of spglib at which space groups are found unless another is asked for."""

CRYSTAL_SCHEMA = pa.schema(
    [
        pa.field("crystal_id", pa.string()),
        pa.field("formula", pa.string()),
        pa.field("reduced_formula", pa.string()),
        pa.field("lattice", pa.list_(pa.float64(), 9)),
        pa.field("atomic_numbers", pa.list_(pa.uint8())),
        pa.field("frac_coords", pa.list_(pa.float64())),
        pa.field("occupancies", pa.list_(pa.float64())),
        pa.field("b_iso", pa.list_(pa.float64())),
        pa.field("space_group", pa.int16()),
        pa.field("prototype", pa.string()),
        pa.field("source", pa.string()),
    ]
)
"""Columns of the crystal table, one row a crystal.

* `crystal_id`: unique name.
* `formula`: reduced formula as chemists write it ("CaTiO3"); `reduced_formula`: the same with the elements in
  alphabetical order ("CaO3Ti"), the key by which crystals are split.
* `lattice`: the cell vectors as rows, nine numbers, Å.
* `atomic_numbers`, `frac_coords` (three numbers an atom, flattened): one entry for each species on each site.
* `occupancies` in (0, 1]; null when all are 1.
* `b_iso`: displacement parameters B, Å², NaN where unknown; null when none is known.
* `space_group`: number found by spglib at the tolerance in the schema metadata, key `symprec` (Å).
* `prototype`: structure type, null until `prototype_labels` has been asked.
* `source`: file or provider.
"""

REJECTED_SCHEMA = pa.schema(
    [pa.field("source", pa.string()), pa.field("crystal_id", pa.string()), pa.field("reason", pa.string())]
)
"""Columns of the list of entries that were set aside."""


@dataclass(frozen=True)
class CrystalTable:
    """What a source holds.

    Args:
        table: The crystals, by `CRYSTAL_SCHEMA`.
        rejected: The entries set aside, by `REJECTED_SCHEMA`.
    """

    table: pa.Table
    rejected: pa.Table


@dataclass(frozen=True)
class Rejected:
    """One entry set aside and why."""

    source: str
    crystal_id: str
    reason: str


def rejected_table(entries: Iterable[Rejected]) -> pa.Table:
    """The list of entries set aside as a table."""
    rows = [(entry.source, entry.crystal_id, entry.reason) for entry in entries]
    columns = list(zip(*rows, strict=True)) if rows else [(), (), ()]
    return pa.table([pa.array(column, type=pa.string()) for column in columns], schema=REJECTED_SCHEMA)


def with_metadata(table: pa.Table, symprec: float, *, deduplicated: bool) -> pa.Table:
    """The table with the facts about its making in the schema metadata."""
    return table.replace_schema_metadata({"symprec": repr(float(symprec)), "deduplicated": str(int(deduplicated))})


def metadata(table: pa.Table | pa.Schema) -> dict[str, str]:
    """Schema metadata as text."""
    schema = table.schema if isinstance(table, pa.Table) else table
    return {key.decode(): value.decode("utf-8", "replace") for key, value in (schema.metadata or {}).items()}


def table_from_rows(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """A table from rows that have every column of the schema (missing ones become null)."""
    arrays = []
    for field in CRYSTAL_SCHEMA:
        values = [row.get(field.name) for row in rows]
        arrays.append(pa.array(values, type=field.type))
    return pa.table(arrays, schema=CRYSTAL_SCHEMA)


def write_crystals(table: pa.Table | CrystalTable, path: str | Path) -> Path:
    """Write a crystal table (or the list of rejected entries) as Parquet.

    Args:
        table: The table; of a `CrystalTable` its crystals.
        path: The file; it appears whole or not at all.

    Returns:
        The path.

    Raises:
        BadInput: The folder does not exist.
    """
    import pyarrow.parquet as pq

    content = table.table if isinstance(table, CrystalTable) else table
    path = Path(path)
    with replacing(path) as temporary:
        pq.write_table(with_table_sums(content), temporary, compression="zstd", write_page_checksum=True)
    return path


def crystal(source: pa.Table | CrystalTable | Mapping[str, Any], index: int = 0) -> "Crystal":
    """One crystal for the simulator.

    Args:
        source: A crystal table, or one of its rows as a mapping.
        index: The row, when a table is given.

    Raises:
        CrystalError: The row has no pattern (see `simxrd_hf.diffraction.Crystal`).
        IndexError: The table has no such row.
    """
    from simxrd_hf.diffraction.crystal import Crystal

    if isinstance(source, CrystalTable):
        source = source.table
    if isinstance(source, pa.Table):
        if not -len(source) <= index < len(source):
            raise IndexError(f"row {index} of a table with {len(source)} crystals")
        at = index % len(source)
        # cell by cell, so that no number of a row becomes a Python object
        row: Mapping[str, Any] = {
            name: _cell(source[name][at]) for name in _OF_A_CRYSTAL if name in source.schema.names
        }
    else:
        row = source
    occupancies, b_iso = row.get("occupancies"), row.get("b_iso")
    return Crystal(
        crystal_id=row["crystal_id"],
        lattice=np.asarray(row["lattice"], dtype=np.float64).reshape(3, 3),
        atomic_numbers=np.asarray(row["atomic_numbers"], dtype=np.uint8),
        frac_coords=np.asarray(row["frac_coords"], dtype=np.float64).reshape(-1, 3),
        occupancies=None if occupancies is None else np.asarray(occupancies, dtype=np.float64),
        b_iso=None if b_iso is None else np.asarray(b_iso, dtype=np.float64),
    )


_OF_A_CRYSTAL = ("crystal_id", "lattice", "atomic_numbers", "frac_coords", "occupancies", "b_iso")


def _cell(scalar: pa.Scalar) -> Any:
    if not isinstance(scalar, pa.ListScalar | pa.FixedSizeListScalar):
        return scalar.as_py()
    return None if scalar.values is None else scalar.values.to_numpy(zero_copy_only=False)


def table_digest(table: pa.Table) -> str:
    """Digest of all a crystal table holds: names and types of its columns, and every value of every row.

    Chunks, slices, the order of the columns, unused memory behind empty cells and schema metadata do not matter. By it
    generation and training tell whether they go on with the crystals they began with.

    Args:
        table: Any table of numbers, texts, and lists of them.

    Returns:
        BLAKE2b, 32 hexadecimal digits.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(table.column_names):
        digest.update(f"{name}\0{table[name].type}\0{table.num_rows}\0".encode())
        _hash_values(table[name].combine_chunks(), digest)
    return digest.hexdigest()


def _hash_values(values: pa.Array, digest: Any) -> None:
    import pyarrow.compute as pc

    digest.update(np.packbits(pc.is_valid(values).to_numpy(zero_copy_only=False)).tobytes())
    values = values.drop_null()
    kind = values.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        digest.update(pc.list_value_length(values).to_numpy(zero_copy_only=False).astype(np.int64).tobytes())
        _hash_values(values.flatten(), digest)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        digest.update(pc.binary_length(values).to_numpy(zero_copy_only=False).astype(np.int64).tobytes())
        digest.update("".join(values.to_pylist()).encode())
    else:
        digest.update(np.ascontiguousarray(values.to_numpy(zero_copy_only=False)).tobytes())


def sample(table: pa.Table, n: int, *, seed: int = 0) -> pa.Table:
    """Draw crystals evenly: every set of n crystals is equally likely, whatever the order of the table.

    The n crystals with the smallest hash of (seed, crystal_id) are taken, in the order of the table; a crystal's chance
    does not depend on which others are there, so a longer draw contains the shorter one.

    Args:
        table: Crystal table.
        n: How many; all if there are no more.
        seed: Another seed draws another set.
    """
    if n < 1:
        raise BadInput(f"cannot draw {n} crystals; give a positive number")
    if n >= len(table):
        return table
    key = int(seed).to_bytes(8, "little", signed=True)
    hashes = [
        hashlib.blake2b(name.encode(), key=key, digest_size=8).digest() for name in table["crystal_id"].to_pylist()
    ]
    chosen = sorted(sorted(range(len(hashes)), key=lambda i: hashes[i])[:n])
    return table.take(pa.array(chosen, type=pa.int64()))


def summary(table: pa.Table | CrystalTable) -> dict[str, Any]:
    """What a table holds, as plain data.

    Returns:
        `crystals`, `crystal_systems` (name -> count), `space_groups` (how many of the 230 occur),
        `commonest_space_groups` (symbol -> count, ten), `elements` (how many occur), `atoms_per_cell` (min, 5 %,
        median, 95 %, max), `partly_occupied` (crystals), `with_displacements` (crystals with b_iso), `sources` (name
        -> count, ten), `symprec`; for a `CrystalTable` also `rejected` and `rejected_reasons` (reason -> count).
    """
    import pyarrow.compute as pc

    from simxrd_hf.symmetry import CRYSTAL_SYSTEM_OF, CRYSTAL_SYSTEMS, SPACE_GROUPS

    content = table.table if isinstance(table, CrystalTable) else table
    groups = content["space_group"].to_numpy().astype(np.int64) - 1
    per_system = np.bincount(CRYSTAL_SYSTEM_OF[groups], minlength=7)
    per_group = np.bincount(groups, minlength=230)
    atoms = pc.list_value_length(content["atomic_numbers"]).to_numpy()
    elements = pc.count_distinct(pc.list_flatten(content["atomic_numbers"])).as_py() if len(content) else 0
    quantiles = np.quantile(atoms, [0, 0.05, 0.5, 0.95, 1]) if len(atoms) else np.zeros(5)
    sources = content["source"].value_counts().to_pylist()
    result: dict[str, Any] = {
        "crystals": len(content),
        "crystal_systems": dict(zip(CRYSTAL_SYSTEMS, per_system.tolist(), strict=True)),
        "space_groups": int((per_group > 0).sum()),
        "commonest_space_groups": {
            SPACE_GROUPS[i]: int(per_group[i]) for i in np.argsort(-per_group, kind="stable")[:10] if per_group[i]
        },
        "elements": elements,
        "atoms_per_cell": dict(
            zip(("min", "5%", "median", "95%", "max"), quantiles.round().astype(int).tolist(), strict=True)
        ),
        "partly_occupied": len(content) - content["occupancies"].null_count,
        "with_displacements": len(content) - content["b_iso"].null_count,
        "sources": {
            str(entry["values"]): entry["counts"] for entry in sorted(sources, key=lambda e: -e["counts"])[:10]
        },
        "symprec": float(metadata(content).get("symprec", "nan")),
    }
    if isinstance(table, CrystalTable):
        counts: dict[str, int] = {}
        for reason in table.rejected["reason"].to_pylist():
            kind = reason_kind(reason)
            counts[kind] = counts.get(kind, 0) + 1
        result["rejected"] = len(table.rejected)
        result["rejected_reasons"] = dict(sorted(counts.items(), key=lambda item: -item[1]))
    return result


def reason_kind(reason: str) -> str:
    """The part of a reason that many entries share: what stands before the first colon."""
    return reason.split(":", 1)[0]
