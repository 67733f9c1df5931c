"""Crystals and crystal tables: out through each library and back, and what each makes of the table."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from . import crystal_writers as writers
from .cells import Care, Cell, Wrong, demand, folder_of

Rows = list[dict[str, Any]]


def one_of_each_group() -> Rows:
    """The first packaged prototype of every space group among them, of at most 40 atoms."""
    from simxrd_hf.crystals import prototypes

    found: dict[int, dict[str, Any]] = {}
    for row in prototypes().table.to_pylist():
        if len(row["atomic_numbers"]) <= 40:
            found.setdefault(row["space_group"], row)
    return list(found.values())


def disordered() -> Rows:
    """A mixed site, a partly empty one, and both on rhombohedral axes; with displacements where named so."""
    from simxrd_hf.crystals.standard import RawCrystal, standardise

    def row(name: str, cell: Any, numbers: list[int], places: Any, shares: list[float], b: list[float] | None) -> Any:
        found = standardise(
            RawCrystal(
                "made",
                name,
                np.array(cell, float),
                numbers,
                np.array(places, float),
                np.array(shares),
                None if b is None else np.array(b),
            ),
            0.01,
        )
        assert isinstance(found, dict)
        return found

    rock = [(0, 0, 0), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
    other = [(x + 0.5, y, z) for x, y, z in rock]
    mixed = row(
        "mixed",
        np.eye(3) * 6.0,
        [11] * 4 + [19] * 4 + [17] * 4,
        rock + rock + other,
        [0.3] * 4 + [0.7] * 4 + [1.0] * 4,
        None,
    )
    vacant = row("vacant", np.eye(3) * 4.2, [28] * 4 + [8] * 4, rock + other, [0.9] * 4 + [1.0] * 4, None)
    moving = row("moving", np.eye(3) * 4.2, [28] * 4 + [8] * 4, rock + other, [1.0] * 8, [0.4] * 4 + [1.3] * 4)
    return [mixed, vacant, moving]


def read_back(path: Path) -> dict[str, Any]:
    """A CIF through our reader, as a row."""
    from simxrd_hf.crystals import read_crystals

    return read_crystals(path).table.to_pylist()[0]


def _all(rows: Rows, write: Callable[[dict[str, Any], Path], None], path: Path) -> str:
    bad: list[str] = []
    for row in rows:
        try:
            write(row, path)
            wrong = writers.difference(row, read_back(path))
        except Exception as error:
            wrong = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        if wrong:
            bad.append(f"group {row['space_group']}: {wrong}")
    if bad:
        raise Wrong(f"{len(bad)} of {len(rows)} came back changed; {bad[0]}")
    return f"{len(rows)} crystals of {len({row['space_group'] for row in rows})} groups: group, atoms and lines kept"


def _through(rows: Rows, through: Callable[[Path, Path], None], path: Path) -> str:
    source = path.with_name("source.cif")

    def write(row: dict[str, Any], target: Path) -> None:
        writers.by_pymatgen_symmetry(row, source)
        through(source, target)

    return _all(rows, write, path)


def _disordered(row: dict[str, Any], through: Callable[[Path, Path], None], path: Path) -> str:
    source = path.with_name("source.cif")
    source.write_text(writers.plain_cif(row))
    demand(not writers.difference(row, read_back(source)), "our own reader does not read the start")
    through(source, path)
    wrong = writers.difference(row, read_back(path))
    demand(not wrong, wrong)
    return "group, shares and lines kept"


def _displacements(row: dict[str, Any], through: Callable[[Path, Path], None], path: Path) -> str:
    source = path.with_name("source.cif")
    source.write_text(writers.plain_cif(row))
    through(source, path)
    back = read_back(path)
    if back["b_iso"] is None:
        raise Care("B left out, without a word")
    kept = dict(zip(back["atomic_numbers"], np.round(back["b_iso"], 3), strict=True))
    right = dict(zip(row["atomic_numbers"], np.round(row["b_iso"], 3), strict=True))
    demand(all(abs(kept[z] - b) < 0.02 for z, b in right.items()), f"B {right} became {kept}")
    return "B kept"


# -- tables ----------------------------------------------------------------------------------------------------------


def _table_pandas(path: Path, table: Any) -> str:
    import pandas as pd

    return _same_columns(pd.read_parquet(path).to_dict("records"), table)


def _table_polars(path: Path, table: Any) -> str:
    import polars as pl

    frame = pl.read_parquet(path)
    return f"{frame['lattice'].dtype}; " + _same_columns(frame.to_dicts(), table)


def _table_duckdb(path: Path, table: Any) -> str:
    import duckdb

    found = duckdb.sql(f"select * from '{path}'")
    kinds = dict(zip(found.columns, map(str, found.types), strict=True))
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
    return f"lattice {kinds['lattice']}; " + _same_columns(rows, table)


def _table_fastparquet(path: Path, table: Any) -> str:
    import fastparquet

    return _same_columns(fastparquet.ParquetFile(str(path)).to_pandas().to_dict("records"), table)


def _table_datasets(path: Path, table: Any) -> str:
    import datasets

    datasets.disable_progress_bars()
    rows = datasets.load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(path.parent / "cache"))
    return _same_columns(list(rows), table)


def _table_chdb(path: Path, table: Any) -> str:
    import json

    import chdb

    text = str(chdb.query(f"select * from file('{path}', Parquet)", "JSONEachRow"))
    return _same_columns([json.loads(line) for line in text.splitlines()], table)


def _table_datafusion(path: Path, table: Any) -> str:
    import datafusion

    context = datafusion.SessionContext()
    context.register_parquet("t", str(path))
    return _same_columns(context.sql("select * from t").to_pylist(), table)


def _table_daft(path: Path, table: Any) -> str:
    import daft

    return _same_columns(daft.read_parquet(str(path)).to_pylist(), table)


def _same_columns(rows: list[Any], table: Any) -> str:
    right = table.to_pylist()
    demand(len(rows) == len(right), f"{len(rows)} rows, right {len(right)}")
    for found, row in zip(rows, right, strict=True):
        for name in ("crystal_id", "formula", "space_group"):
            demand(found[name] == row[name], f"{name} {found[name]!r}, right {row[name]!r}")
        for name in ("lattice", "atomic_numbers", "frac_coords"):
            values = np.asarray(found[name], dtype=float)
            demand(values.shape == np.shape(row[name]), f"{name} of shape {values.shape}")
            demand(bool((values == np.asarray(row[name])).all()), f"{name} of {row['crystal_id']} is changed")
        empty = found["occupancies"]
        absent = empty is None or (isinstance(empty, float) and np.isnan(empty))
        if row["occupancies"] is None and not absent:
            raise Wrong(f"occupancies {empty!r} where the table has none (null)")
    return f"{len(rows)} rows equal to the bit"


def _groups_moyopy(rows: Rows, symprec: float) -> str:
    import moyopy

    apart = []
    for row in rows:
        cell = moyopy.Cell(
            np.reshape(row["lattice"], (3, 3)).tolist(),
            np.reshape(row["frac_coords"], (-1, 3)).tolist(),
            list(map(int, row["atomic_numbers"])),
        )
        number = moyopy.MoyoDataset(cell, symprec=symprec).number
        if number != row["space_group"]:
            apart.append(f"{row['crystal_id']}: {number} against {row['space_group']}")
    demand(not apart, f"{len(apart)} of {len(rows)} differ from spglib at {symprec:g} Å: {'; '.join(apart[:2])}")
    return f"the group of spglib for all {len(rows)} at symprec {symprec:g} Å"


def _groups_crystals(rows: Rows) -> str:
    import crystals

    apart = []
    for row in rows:
        found = crystals.Crystal.from_ase(writers.to_ase(row))
        number = found.symmetry(symprec=0.01)["international_number"]
        if number != row["space_group"]:
            apart.append(f"{row['crystal_id']}: {number} against {row['space_group']}")
    demand(not apart, f"{len(apart)} of {len(rows)} differ: {'; '.join(apart[:2])}")
    return f"our group for all {len(rows)}"


def _groups_pymatgen(rows: Rows) -> str:
    apart = [
        row["crystal_id"]
        for row in rows
        if writers.to_pymatgen(row).get_space_group_info(symprec=0.01)[1] != row["space_group"]
    ]
    demand(not apart, f"{len(apart)} of {len(rows)} differ: {apart[:2]}")
    return f"our group for all {len(rows)}"


def _symbols_gemmi() -> str:
    import gemmi

    from simxrd_hf.symmetry import SPACE_GROUPS

    bad = [s for i, s in enumerate(SPACE_GROUPS, 1) if (g := gemmi.find_spacegroup_by_name(s)) is None or g.number != i]
    demand(not bad, f"{len(bad)} of 230 not found by their short symbol, as {bad[:3]}")
    return "all 230 short symbols found"


def _symbols_pymatgen() -> str:
    from pymatgen.symmetry.groups import sg_symbol_from_int_number

    from simxrd_hf.symmetry import SPACE_GROUPS

    bad = [
        s for i, s in enumerate(SPACE_GROUPS, 1) if sg_symbol_from_int_number(i).replace("_", "") != s.replace("_", "")
    ]
    demand(not bad, f"{len(bad)} of 230 are written otherwise, as {bad[:3]}")
    return "all 230 short symbols equal but for underscores"


def _symbols_ase() -> str:
    from ase.spacegroup import Spacegroup

    from simxrd_hf.symmetry import SPACE_GROUPS

    bad = [
        s
        for i, s in enumerate(SPACE_GROUPS, 1)
        if Spacegroup(i).symbol.replace(" ", "").replace("_", "") != s.replace("_", "")
    ]
    demand(not bad, f"{len(bad)} of 230 are written otherwise, as {bad[:3]}")
    return "all 230 short symbols equal but for blanks"


def through_ase_database(rows: Rows, path: Path) -> str:
    from ase.db import connect

    from simxrd_hf.crystals import read_crystals

    with connect(path) as database:
        for row in rows:
            database.write(writers.to_ase(row), crystal_id=row["crystal_id"])
    back = read_crystals(path, deduplicate=False).table.to_pylist()
    bad = [w for a, b in zip(rows, back, strict=True) if (w := writers.difference(a, b))]
    demand(not bad, f"{len(bad)} of {len(rows)} changed: {bad[:1]}")
    return f"{len(rows)} crystals kept"


def through_pymatgen_json(rows: Rows, path: Path) -> str:
    import json

    from simxrd_hf.crystals import read_crystals

    path.write_text(json.dumps({row["crystal_id"]: writers.to_pymatgen(row).as_dict() for row in rows}))
    back = read_crystals(path, deduplicate=False).table.to_pylist()
    bad = [w for a, b in zip(rows, back, strict=True) if (w := writers.difference(a, b))]
    demand(not bad, f"{len(bad)} of {len(rows)} changed: {bad[:1]}")
    return f"{len(rows)} crystals kept"


def _lines_pymatgen(rows: Rows) -> str:
    from pymatgen.analysis.diffraction.xrd import XRDCalculator

    from simxrd_hf.crystals import crystal
    from simxrd_hf.diffraction import peaks

    worst = 0.0
    for row in rows:
        pattern = XRDCalculator(wavelength=1.54184).get_pattern(writers.to_pymatgen(row), two_theta_range=(10, 80))
        ours = peaks(crystal(row)).two_theta
        strong = pattern.x[pattern.y > 1]
        worst = max(worst, max(float(np.abs(ours - x).min()) for x in strong))
    demand(worst < 1e-3, f"a line is {worst:.4f}° off")
    return f"lines above 1 % of {len(rows)} crystals within {worst:.0e}°"


def _lines_xrd_rust(rows: Rows) -> str:
    from xrd_rust_calculator import XRDCalculatorRust as XRDCalculator

    from simxrd_hf.crystals import crystal
    from simxrd_hf.diffraction import peaks

    worst = 0.0
    for row in rows:
        pattern = XRDCalculator(wavelength=1.54184).get_pattern(writers.to_pymatgen(row), two_theta_range=(10, 80))
        ours = peaks(crystal(row)).two_theta
        strong = np.asarray(pattern.x)[np.asarray(pattern.y) > 1]
        worst = max(worst, max(float(np.abs(ours - x).min()) for x in strong))
    demand(worst < 1e-3, f"a line is {worst:.4f}° off")
    return f"lines above 1 % of {len(rows)} crystals within {worst:.0e}°"


_INSTEAD = {
    "gemmi": "add the operators (`spacegroup.operations()`): its block has the symbol alone",
    "Dans_Diffraction": "write by ASE or pymatgen: it writes few digits",
    "rietx": "take the B it adds (0.5 Å²) for unknown",
    "crystals": "spglib 2.6, or another writer",
    "ase": "keep B apart",
    "pymatgen": "keep B apart",
}


def cells(scratch: Path) -> list[Cell]:
    """Round trips of crystals, then the table."""
    from simxrd_hf.crystals import prototypes, write_crystals

    rows, mixed = one_of_each_group(), disordered()
    folder = folder_of(scratch, "crystals")
    path = folder / "written.cif"
    found = [
        Cell("crystals, out as CIF and back", library, f"{operation} → our reader", partial(_all, rows, write, path))
        for operation, (library, write) in writers.BY.items()
    ]
    for library, through in writers.THROUGH.items():
        found.append(
            Cell(
                "crystals, out as CIF and back",
                library,
                "symmetric CIF read, written → our reader",
                partial(_through, rows, through, path),
                _INSTEAD.get(library, ""),
            )
        )
        for row, what in zip(mixed[:2], ("mixed site (Na0.3K0.7)Cl", "vacancies Ni0.9O"), strict=True):
            found.append(
                Cell(
                    "disordered crystals, out as CIF and back",
                    library,
                    f"{what}, read, written → our reader",
                    partial(_disordered, row, through, path),
                    _INSTEAD.get(library, ""),
                )
            )
        found.append(
            Cell(
                "displacement parameters, out as CIF and back",
                library,
                "B read, written → our reader",
                partial(_displacements, mixed[2], through, path),
                _INSTEAD.get(library, ""),
            )
        )
    table = prototypes().table
    write_crystals(table, folder / "crystals.parquet")
    tools: list[tuple[str, Callable[[Path, Any], str]]] = [
        ("pandas", _table_pandas),
        ("polars", _table_polars),
        ("duckdb", _table_duckdb),
        ("fastparquet", _table_fastparquet),
        ("datasets", _table_datasets),
        ("chdb", _table_chdb),
        ("datafusion", _table_datafusion),
        ("daft", _table_daft),
    ]
    found += [
        Cell("crystal table (Parquet)", library, "read all columns", partial(read, folder / "crystals.parquet", table))
        for library, read in tools
    ]
    every = table.to_pylist()
    found += [
        Cell("crystal table (Parquet)", "moyopy", "space groups, symprec 0.01", partial(_groups_moyopy, every, 0.01)),
        Cell("crystal table (Parquet)", "crystals", "space groups (spglib)", partial(_groups_crystals, rows)),
        Cell("crystal table (Parquet)", "pymatgen", "space groups (spglib)", partial(_groups_pymatgen, rows)),
        Cell(
            "crystal table (Parquet)",
            "ase",
            "ASE database and back",
            partial(through_ase_database, rows, folder / "a.db"),
        ),
        Cell(
            "crystal table (Parquet)",
            "pymatgen",
            "as_dict JSON and back",
            partial(through_pymatgen_json, rows, folder / "a.json"),
        ),
        Cell("crystal table (Parquet)", "pymatgen", "XRDCalculator, positions", partial(_lines_pymatgen, rows)),
        Cell("crystal table (Parquet)", "xrd-rust", "XRDCalculator, positions", partial(_lines_xrd_rust, rows)),
        Cell("names of the space groups", "gemmi", "found by short symbol", _symbols_gemmi),
        Cell("names of the space groups", "pymatgen", "same short symbols", _symbols_pymatgen),
        Cell("names of the space groups", "ase", "same short symbols", _symbols_ase),
    ]
    return found
