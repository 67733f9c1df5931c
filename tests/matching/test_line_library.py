"""The library of lines against the reflections of its crystals; its file, and files that are none."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data.small_crystals import crystal_rows, crystal_table
from pymatgen.core import Lattice

from simxrd_hf.crystals import crystal
from simxrd_hf.crystals.table import table_from_rows
from simxrd_hf.diffraction import PatternGrid, peaks
from simxrd_hf.errors import BadInput
from simxrd_hf.matching import build_library, read_library
from simxrd_hf.matching.library import MAX_LINES

FIELDS = ("crystal_id", "formula", "space_group", "cells", "hkl", "amplitude")


@pytest.fixture(scope="module")
def few():
    return build_library(crystal_table(21))[0]


def test_lines_are_the_strongest_of_the_crystal(table, library):
    """Spacings by pymatgen from cell and indices, intensities with Lorentz and polarisation, against `peaks`."""
    rows = {name: row for row, name in enumerate(table["crystal_id"].to_pylist())}
    full, shares = 0, []
    for one in range(0, len(library), 7):
        true = peaks(crystal(table, rows[library.crystal_id[one]]), wavelength=1.54184, two_theta_range=(5, 85))
        count = library.counts[one]
        lattice = Lattice(library.cells[one].astype(float))
        d = np.array([lattice.d_hkl(hkl.tolist()) for hkl in library.hkl[one, :count]])
        two_theta = 2 * np.degrees(np.arcsin(1.54184 / 2 / d))
        off = np.abs(true.two_theta - two_theta[:, None])
        assert off.min(axis=1).max() < 1.2e-3  # lines closer than 0.0005° are one
        np.testing.assert_allclose(d, true.d[off.argmin(axis=1)], rtol=3e-5)
        alone = (off < 4e-3).sum(axis=1) == 1
        shares.append(alone.mean())
        ratio = (library.amplitude[one, :count] ** 2 / true.intensity[off.argmin(axis=1)])[alone]
        np.testing.assert_allclose(ratio, np.median(ratio), rtol=2e-3)
        full += count == MAX_LINES
        if count < MAX_LINES:  # then nothing above a thousandth is missing
            there = (off < 1.2e-3).any(axis=0)
            assert true.intensity[~there].max(initial=0.0) < 0.11
    assert full > 3 and np.mean(shares) > 0.9


def test_order_and_bounds(table, library):
    assert len(library) == table.num_rows
    assert (np.diff(library.space_group) >= 0).all()
    assert sorted(library.crystal_id) == sorted(table["crystal_id"].to_pylist())
    columns = ["crystal_id", "space_group", "formula"]
    known = {row["crystal_id"]: row for row in table.select(columns).to_pylist()}
    for name, formula, group in zip(library.crystal_id, library.formula, library.space_group, strict=True):
        assert (formula, group) == (known[name]["formula"], known[name]["space_group"])
    for group in (1, 14, 225, 230):
        first, end = library.starts[group - 1 : group + 1]
        assert np.array_equal(np.flatnonzero(library.space_group == group), np.arange(first, end))
    assert library.counts.min() >= 1 and library.counts.max() == MAX_LINES
    assert (library.amplitude[:, 0] == 1).all() and (np.diff(library.amplitude, axis=1) <= 1e-7).all()
    blank = np.arange(MAX_LINES) >= library.counts[:, None]
    assert (library.amplitude[blank] == 0).all() and (library.hkl[blank] == 0).all()


def test_another_grid():
    grid = PatternGrid(two_theta_min=20, two_theta_max=40, wavelength=0.7107)
    made, _ = build_library(crystal_table(7), grid=grid)
    assert made.wavelength == 0.7107
    for cell, hkl, count in zip(made.cells, made.hkl, made.counts, strict=True):
        q = np.linalg.norm(hkl[:count] @ np.linalg.inv(cell.astype(float)).T, axis=1)
        two_theta = 2 * np.degrees(np.arcsin(0.7107 * q / 2))
        assert two_theta.min() > 14.99 and two_theta.max() < 45.01
        assert two_theta.min() < 20 or two_theta.max() > 40  # lines beyond the ends are kept: cells are strained


def test_crystals_left_out_are_named():
    rows = crystal_rows(5)
    rows[1]["lattice"] = [0.3, 0, 0, 0, 0.3, 0, 0, 0, 0.3]  # no reflection in range
    rows[2] |= {"atomic_numbers": [11] * 3, "frac_coords": [0, 0, 0, 0.3, 0.3, 0.3, 0.6, 0.6, 0.6]}
    made, left_out = build_library(table_from_rows(rows), max_atoms=2)
    assert set(made.crystal_id) == {rows[i]["crystal_id"] for i in (0, 3, 4)}
    assert left_out.keys() == {rows[1]["crystal_id"], rows[2]["crystal_id"]}
    assert left_out[rows[2]["crystal_id"]] == "3 atoms in the cell, the limit is 2"
    with pytest.raises(BadInput, match=r"none of 5 crystals could be used; \d atoms in the cell, the limit is 1"):
        build_library(table_from_rows(rows), max_atoms=1)
    with pytest.raises(BadInput, match="none of 0 crystals"):
        build_library(crystal_table(0))


def test_formulas_are_worked_out_where_the_table_has_none(few):
    made, _ = build_library(crystal_table(21).drop_columns(["formula", "reduced_formula"]))
    assert {"CsS", "NaCl"} <= set(made.formula)  # chemists' order
    assert len(set(made.formula)) == len(set(few.formula))


def test_crystals_can_be_a_source(few, tmp_path):
    pq.write_table(crystal_table(21), tmp_path / "crystals.parquet")
    made, _ = build_library(tmp_path / "crystals.parquet")
    assert sorted(made.crystal_id) == sorted(few.crystal_id) and len(made) == 21


def test_round_trip(library, tmp_path):
    assert library.save(tmp_path / "lines.parquet") == tmp_path / "lines.parquet"
    again = read_library(tmp_path / "lines.parquet")
    for name in FIELDS[:-1]:
        np.testing.assert_array_equal(getattr(again, name), getattr(library, name))
    np.testing.assert_array_equal(again.counts, library.counts)
    # amplitudes are stored as bytes, and none becomes 0
    np.testing.assert_allclose(again.amplitude, library.amplitude, atol=0.5001 / 255)
    assert again.wavelength == library.wavelength
    again.save(tmp_path / "twice.parquet")
    np.testing.assert_array_equal(read_library(tmp_path / "twice.parquet").amplitude, again.amplitude)
    assert {path.name for path in tmp_path.iterdir()} == {"lines.parquet", "twice.parquet"}


def test_a_half_written_file_is_never_seen(few, library, tmp_path, monkeypatch):
    path = tmp_path / "lines.parquet"
    few.save(path)

    def breaks(table, where, **_):
        where.write_bytes(b"PAR1 half of it")
        assert len(read_library(path)) == len(few)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", breaks)
    with pytest.raises(OSError, match="No space"):
        library.save(path)
    assert len(read_library(path)) == len(few)
    assert [file.name for file in tmp_path.iterdir()] == ["lines.parquet"]


def change(name, values, kind):
    def changed(table):
        return table.set_column(table.column_names.index(name), name, pa.array(values(table[name].to_pylist()), kind))

    return changed


KEY = b"simxrd_line_library"
HKL, BYTES = pa.list_(pa.int8()), pa.list_(pa.uint8())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: crystal_table(3), "no library of lines"),
        (lambda t: t.replace_schema_metadata({KEY: json.dumps({"version": 9, "wavelength": 1.5})}), "version 9"),
        (lambda t: t.replace_schema_metadata({KEY: b"{"}), "damaged"),
        (lambda t: t.replace_schema_metadata({KEY: b"[]"}), "damaged"),
        (lambda t: t.replace_schema_metadata({KEY: b"{}"}), "damaged"),
        (lambda t: t.drop_columns(["hkl"]), "damaged.*hkl"),
        (change("hkl", lambda rows: [rows[0][:-3], *rows[1:]], HKL), "damaged"),
        (change("hkl", lambda rows: [rows[0][:-1], *rows[1:]], HKL), "damaged"),
        (change("amplitude", lambda rows: [rows[0] * 64, *rows[1:]], BYTES), "1 to 64 lines"),
        (change("amplitude", lambda rows: [[], *rows[1:]], BYTES), "1 to 64 lines"),
        (change("space_group", lambda rows: [str(row) + "a" for row in rows], pa.string()), "damaged"),
        (change("space_group", lambda rows: [*rows[:-1], 231], pa.int16()), "space groups"),
        (lambda t: t.slice(0, 0), "1 to 64 lines"),
        (lambda t: t.take(list(range(len(t)))[::-1]), "space groups do not rise"),
    ],
)
def test_what_is_no_library_is_refused_by_name(few, tmp_path, damage, message):
    path = few.save(tmp_path / "lines.parquet")
    table = pq.read_table(path)
    table = table.replace_schema_metadata({KEY: table.schema.metadata[KEY]})  # without the sums
    pq.write_table(damage(table), path)
    with pytest.raises(BadInput, match=rf"lines\.parquet: .*{message}"):
        read_library(path)


def test_files_that_cannot_be_read(few, tmp_path):
    with pytest.raises(BadInput, match=r"none\.parquet: no such file; make a library"):
        read_library(tmp_path / "none.parquet")
    raw = few.save(tmp_path / "lines.parquet").read_bytes()
    for number, broken in enumerate((b"", b"text", raw[:-1], raw[: len(raw) // 2], raw[:200] + raw[400:])):
        (tmp_path / f"broken{number}.parquet").write_bytes(broken)
        with pytest.raises(BadInput, match=rf"broken{number}\.parquet: not a Parquet file that can be read"):
            read_library(tmp_path / f"broken{number}.parquet")


def test_every_crystal_is_found_by_its_reduced_formula(table, library):
    reduced = dict(zip(table["crystal_id"].to_pylist(), table["reduced_formula"].to_pylist(), strict=True))
    assert library.reduced_formulas.tolist() == [reduced[name] for name in library.crystal_id]


def test_what_is_no_formula_stays_as_it_is(few):
    named = replace(few, formula=np.array(["tourmaline"] * len(few), dtype=object))
    assert set(named.reduced_formulas) == {"tourmaline"}
