"""Every local source: CIFs in all shapes, zips, ASE databases, JSON, Parquet; and every kind of broken one."""

import json
import math
import shutil
import zipfile
from pathlib import Path

import ase.db
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ase.build import bulk
from crystal_files import rock_salt
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter

from simxrd_hf.crystals import prototypes, read_crystals, summary, write_crystals
from simxrd_hf.crystals.cif import split_blocks
from simxrd_hf.errors import BadInput


def reasons(found) -> dict[str, str]:
    return dict(zip(found.rejected["crystal_id"].to_pylist(), found.rejected["reason"].to_pylist(), strict=True))


def ids(found) -> list[str]:
    return found.table["crystal_id"].to_pylist()


# -- CIF --------------------------------------------------------------------------------------------------------------


def test_one_cif(salt):
    found = read_crystals(salt)
    row = found.table.to_pylist()[0]
    assert (row["crystal_id"], row["formula"], row["reduced_formula"], row["space_group"]) == (
        "salt",
        "NaCl",
        "ClNa",
        225,
    )
    assert row["source"] == "salt.cif" and row["occupancies"] is None
    # Primitive cell: a quarter of the conventional volume. B = 8π²U.
    assert np.isclose(np.linalg.det(np.array(row["lattice"]).reshape(3, 3)), 5.6402**3 / 4)
    assert dict(zip(row["atomic_numbers"], row["b_iso"], strict=True)) == pytest.approx(
        {11: 8 * math.pi**2 * 0.0203, 17: 8 * math.pi**2 * 0.0150}
    )


def test_symmetry_by_name_and_by_operations_is_the_same(tmp_path, salt):
    text = rock_salt()
    start, end = text.index("loop_\n_symmetry"), text.index("loop_\n_atom")
    (tmp_path / "named.cif").write_text(text[:start] + "_symmetry_space_group_name_H-M 'F m -3 m'\n" + text[end:])
    named, listed = (
        read_crystals(path).table.drop_columns(["crystal_id", "source"]) for path in (tmp_path / "named.cif", salt)
    )
    assert named.equals(listed)


def test_partial_occupancy_is_kept(tmp_path):
    path = tmp_path / "x.cif"
    path.write_text(rock_salt(occupancy="0.75(2)"))
    row = read_crystals(path).table.to_pylist()[0]
    assert dict(zip(row["atomic_numbers"], row["occupancies"], strict=True)) == {11: 0.75, 17: 1.0}
    assert row["reduced_formula"] == "Cl4Na3" and row["space_group"] == 225


def test_two_species_on_one_site(tmp_path):
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.6), [{"Fe": 0.4, "Ni": 0.6}], [[0, 0, 0]])
    CifWriter(cell, symprec=0.01).write_file(tmp_path / "alloy.cif")
    row = read_crystals(tmp_path / "alloy.cif").table.to_pylist()[0]
    assert row["atomic_numbers"] == [26, 28] and row["occupancies"] == [0.4, 0.6]
    assert row["frac_coords"] == [0.0] * 6 and row["space_group"] == 225 and row["reduced_formula"] == "Fe2Ni3"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (rock_salt(occupancy="?"), "unknown occupancy: site Na"),
        (rock_salt(occupancy="1.4"), "occupancy above 1"),
        (rock_salt(first="Xq"), "unknown element"),
        (rock_salt(first="Va"), "unknown element"),
        (rock_salt(first="Es"), "site 'Es' is Es, for which there are no scattering factors"),
        (rock_salt(a="?"), "no unit cell"),
        (rock_salt().replace("0.5 0.5 0.5", "0.5 ? 0.5"), "unknown coordinate"),
        (rock_salt().replace("0.5 0.5 0.5", "0.0 0.0 0.0"), "occupancy above 1"),
        (rock_salt().split("_atom_site_fract_x")[0], "no atom sites"),
        (rock_salt()[:-20], "broken CIF"),
        ("data_\n", "not a CIF"),
        ("just a letter\n", "not a CIF"),
        ("\n \n", "empty file"),
        ("", "the file is empty"),
    ],
)
def test_a_bad_cif_alone_is_refused_and_among_others_set_aside(tmp_path, text, reason):
    (tmp_path / "bad.cif").write_text(text)
    with pytest.raises(BadInput, match=r"bad\.cif") as error:
        read_crystals(tmp_path / "bad.cif")
    assert reason in str(error.value)
    (tmp_path / "good.cif").write_text(rock_salt())
    found = read_crystals(tmp_path)
    assert ids(found) == ["good"]
    assert reason in reasons(found)["bad"] or text == ""
    assert summary(found)["rejected"] == 1


def test_dot_for_occupancy_means_one(tmp_path):
    (tmp_path / "x.cif").write_text(rock_salt(occupancy="."))
    assert read_crystals(tmp_path / "x.cif").table["occupancies"].to_pylist() == [None]


def test_several_blocks(tmp_path):
    text = (
        "data_global\n_journal_name 'X'\n_publ_text\n;\ndata_not_a_block\n_cell_length_a 3\n;\n"
        + rock_salt(name="one")
        + rock_salt(occupancy="?", name="two")
        + rock_salt(a="4.21", first="Mg", second="O", name="three")
    )
    assert [name for name, _ in split_blocks(text)] == ["global", "one", "two", "three"]
    (tmp_path / "many.cif").write_text(text)
    found = read_crystals(tmp_path / "many.cif")
    assert ids(found) == ["many#one", "many#three"] and list(reasons(found)) == ["many#two"]


def test_folder_ids_cod_tree_and_repeats(tmp_path):
    import gzip

    for name, text in {
        "1/00/00/1000041.cif": rock_salt(),
        "1/00/01/1000112.cif": rock_salt(a="4.21", first="Mg", second="O"),
        "a/same.cif": rock_salt(a="4.7", first="Li", second="Br"),
        "b/same.cif": rock_salt(a="5.1", first="Li", second="I"),
        "notes.txt": "nothing",
        "repeat.cif": rock_salt(a="5.645"),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "packed.cif.gz").write_bytes(gzip.compress(rock_salt(a="6.3", first="K").encode()))
    (tmp_path / "old.CIF").write_bytes("# Müller\n".encode("latin-1") + rock_salt(a="6.6", first="Rb").encode())
    found = read_crystals(tmp_path)
    assert ids(found) == ["1000041", "1000112", "a/same", "b/same", "old", "packed"]
    assert reasons(found) == {"repeat": "same crystal as another: 1000041"}
    assert found.table["source"].to_pylist()[0] == "1/00/00/1000041.cif"
    assert len(read_crystals(tmp_path, deduplicate=False).table) == 7
    assert ids(read_crystals(tmp_path, limit=2)) == ["1000041", "1000112"]
    parallel = read_crystals(tmp_path, num_proc=2)
    assert parallel.table.equals(found.table) and parallel.rejected.equals(found.rejected)


def test_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("in/salt.cif", rock_salt())
        archive.writestr("in/bad.cif", rock_salt(occupancy="?"))
        archive.writestr("__MACOSX/salt.cif", "x")
    found = read_crystals(tmp_path / "c.zip")
    assert ids(found) == ["salt"] and list(reasons(found)) == ["bad"]
    assert found.table["source"].to_pylist() == ["c.zip/in/salt.cif"]
    data = (tmp_path / "c.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(data[: len(data) // 2])
    with pytest.raises(BadInput, match="not a whole zip"):
        read_crystals(tmp_path / "cut.zip")
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as archive:
        archive.writestr("readme.txt", "")
    with pytest.raises(BadInput, match=r"no \.cif"):
        read_crystals(tmp_path / "none.zip")


# -- ASE and pymatgen -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["db", "json"])
def test_ase_database(tmp_path, suffix):
    path = tmp_path / f"some.{suffix}"
    with ase.db.connect(path) as database:
        database.write(bulk("Cu", cubic=True))
        database.write(bulk("NaCl", "rocksalt", a=5.64), material_id="mp-22862")
        molecule = bulk("Fe")
        molecule.pbc = (True, True, False)
        database.write(molecule)
    found = read_crystals(path)
    assert ids(found) == ["some-1", "mp-22862"]
    assert found.table["space_group"].to_pylist() == [225, 225]
    assert [len(v) for v in found.table["atomic_numbers"].to_pylist()] == [1, 2]
    assert reasons(found) == {"some-3": "not periodic: a crystal needs a cell with three periodic directions"}


def test_what_is_no_ase_database(tmp_path, shared_data_or_none):
    import sqlite3

    (tmp_path / "text.db").write_text("hello")
    sqlite3.connect(tmp_path / "other.db").execute("create table t (x)").connection.close()
    with ase.db.connect(tmp_path / "none.db") as database:
        database.delete([database.write(bulk("Cu"))])
    data = (tmp_path / "none.db").read_bytes()
    (tmp_path / "cut.db").write_bytes(data[:5000])
    for name in ("text", "other", "none", "cut"):
        before = (tmp_path / f"{name}.db").read_bytes()
        with pytest.raises(BadInput, match=f"{name}.db"):
            read_crystals(tmp_path / f"{name}.db")
        assert (tmp_path / f"{name}.db").read_bytes() == before  # a source is never written to
    if shared_data_or_none is not None:  # the SimXRD authors' rows: no cell, no positions
        path = tmp_path / "binxrd.db"
        shutil.copy(shared_data_or_none / "original" / "binxrd.db", path)
        with pytest.raises(BadInput, match=r"binxrd\.db: none of its 9"):
            read_crystals(path)


@pytest.fixture
def shared_data_or_none(request) -> Path | None:
    try:
        return request.getfixturevalue("shared_data")
    except pytest.skip.Exception:
        return None


def test_pymatgen_json(tmp_path):
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na+", "Cl-"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    iron = Structure(Lattice.cubic(2.87), ["Fe", "Fe"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    one, two = salt.as_dict(), iron.as_dict()
    broken = {**two, "sites": [{"species": "?"}]}
    for name, content, expected in (
        ("single", one, ["single"]),
        ("listed", [one, two], ["listed-0", "listed-1"]),
        ("mapped", {"a": one, "b": two, "c": broken}, ["a", "b"]),
        ("records", [{"material_id": "mp-1", "structure": one}, {"entry_id": "x", "structure": two}], ["mp-1", "x"]),
        ("answer", {"data": [{"material_id": "mp-2", "structure": two}]}, ["mp-2"]),
    ):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        found = read_crystals(tmp_path / f"{name}.json")
        assert ids(found) == expected
    assert list(reasons(read_crystals(tmp_path / "mapped.json"))) == ["c"]
    assert read_crystals(tmp_path / "listed.json").table["space_group"].to_pylist() == [225, 229]
    for name, text in (("cut", json.dumps(one)[:-20]), ("none", "{}"), ("numbers", "[1, 2]")):
        (tmp_path / f"{name}.json").write_text(text)
        with pytest.raises(BadInput, match=f"{name}.json"):
            read_crystals(tmp_path / f"{name}.json")


# -- Parquet ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def library():
    return prototypes(limit=20)


def _write(path: Path, **columns) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


SALT = {"lattice": [5.64, 0, 0, 0, 5.64, 0, 0, 0, 5.64], "atomic_numbers": [11], "frac_coords": [0.0, 0.0, 0.0]}


def test_foreign_parquet_layout(tmp_path):
    """Columns of other widths and kinds, extra columns, no ids or formulas: all brought to the schema."""
    path = _write(
        tmp_path / "t.parquet",
        lattice=pa.array([SALT["lattice"]] * 2, pa.list_(pa.float32())),
        atomic_numbers=pa.array([[11, 17], [12]], pa.list_(pa.int64())),
        frac_coords=pa.array([[0, 0, 0, 0.5, 0.5, 0.5], [0, 0, 0]], pa.list_(pa.float32())),
        space_group=pa.array([221, 221], pa.int32()),
        energy=[1.0, 2.0],
        source=pa.array(["A", None]).dictionary_encode(),
    )
    found = read_crystals(path)
    assert found.table.to_pylist()[0] | {"lattice": None} == {
        "crystal_id": "t-0",
        "formula": "NaCl",
        "reduced_formula": "ClNa",
        "lattice": None,
        "atomic_numbers": [11, 17],
        "frac_coords": [0, 0, 0, 0.5, 0.5, 0.5],
        "occupancies": None,
        "b_iso": None,
        "space_group": 221,
        "prototype": None,
        "source": "A",
    }
    assert found.table["source"].to_pylist() == ["A", str(path)] or found.table["source"].to_pylist()[1].endswith(
        "t.parquet"
    )


def test_table_without_groups_or_of_another_tolerance_is_recomputed(tmp_path, library):
    bare = library.table.drop_columns(["space_group"]).replace_schema_metadata(None)
    pq.write_table(bare, tmp_path / "bare.parquet")
    found = read_crystals(tmp_path / "bare.parquet")
    assert found.table["space_group"].equals(library.table["space_group"])
    wrong = library.table.set_column(8, "space_group", pa.array([1] * len(library.table), pa.int16()))
    write_crystals(wrong, tmp_path / "wrong.parquet")
    assert set(read_crystals(tmp_path / "wrong.parquet").table["space_group"].to_pylist()) == {1}  # trusted
    for options in ({"symprec": 0.02}, {"recompute": True}):
        found = read_crystals(tmp_path / "wrong.parquet", **options)
        assert found.table["space_group"].to_pylist() == library.table["space_group"].to_pylist()
    assert read_crystals(tmp_path / "wrong.parquet", symprec=0.02).table.schema.metadata[b"symprec"] == b"0.02"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"lattice": [1.0] * 8}, "nine numbers"),
        ({"lattice": None}, "nine numbers"),
        ({"lattice": [math.nan] * 9}, "cell axes"),
        ({"lattice": [5.0, 0, 0, 5.0, 0, 0, 0, 0, 5.0]}, "no volume"),
        ({"lattice": [0.1, 0, 0, 0, 5.0, 0, 0, 0, 5.0]}, "cell axes"),
        ({"atomic_numbers": []}, "no atoms"),
        ({"atomic_numbers": [99]}, "unknown element"),
        ({"atomic_numbers": [0]}, "unknown element"),
        ({"atomic_numbers": [None]}, "unknown element"),
        ({"frac_coords": [0.0, 0.0]}, "three coordinates"),
        ({"frac_coords": [0.0, math.inf, 0.0]}, "not finite"),
        ({"frac_coords": [0.0, None, 0.0]}, "not finite"),
        ({"occupancies": [0.5, 0.5]}, "occupancies needs one value"),
        ({"occupancies": [0.0]}, "occupancies out of range"),
        ({"b_iso": [-1.0]}, "b_iso out of range"),
        ({"space_group": 0}, "no space group"),
        ({"space_group": None}, "no space group"),
        ({"crystal_id": None}, "no crystal_id"),
        ({"crystal_id": "first"}, "repeated id"),
    ],
)
def test_bad_rows_of_a_table(tmp_path, change, reason):
    good = {**SALT, "crystal_id": "first", "space_group": 221, "occupancies": None, "b_iso": None}
    other = {**good, "crystal_id": "last", "atomic_numbers": [29]}
    bad = {**good, "crystal_id": "bad", "atomic_numbers": [47], **change}
    rows = pa.Table.from_pylist([good, bad, other])
    types = {"lattice": pa.float64(), "frac_coords": pa.float64(), "occupancies": pa.float64(), "b_iso": pa.float64()}
    for name, kind in types.items():
        place = rows.column_names.index(name)
        rows = rows.set_column(place, name, pa.array(rows[name].to_pylist(), pa.list_(kind)))
    pq.write_table(rows, tmp_path / "t.parquet")
    found = read_crystals(tmp_path / "t.parquet")
    assert ids(found) == ["first", "last"]
    assert found.table["atomic_numbers"].to_pylist() == [[11], [29]]
    assert len(found.rejected) == 1 and reason in found.rejected["reason"][0].as_py()
    pq.write_table(rows.slice(1, 1), tmp_path / "alone.parquet")
    if reason != "repeated id":
        with pytest.raises(BadInput, match=r"alone\.parquet") as error:
            read_crystals(tmp_path / "alone.parquet")
        assert reason in str(error.value)


def test_left_handed_cells_of_a_table_are_turned_round(tmp_path):
    lattice = np.array([[0, 4.0, 0], [3.0, 0, 0], [0, 0, 5.0]])
    coords = np.array([[0.1, 0.2, 0.3], [0.6, 0.7, 0.9]])
    path = _write(
        tmp_path / "t.parquet",
        lattice=[lattice.ravel().tolist()] * 2,
        atomic_numbers=[[11, 17], [19, 17]],
        frac_coords=[coords.ravel().tolist()] * 2,
        space_group=[1, 1],
    )
    row = read_crystals(path).table.to_pylist()[0]
    new = np.array(row["lattice"]).reshape(3, 3)
    assert np.linalg.det(new) > 0
    assert np.allclose(np.array(row["frac_coords"]).reshape(-1, 3) @ new, coords @ lattice)


def test_what_is_no_crystal_table(tmp_path, library):
    path = write_crystals(library, tmp_path / "c.parquet")
    data = path.read_bytes()
    for name, content in (("cut", data[:-100]), ("head", data[:2000]), ("noise", b"PAR1" + bytes(500))):
        (tmp_path / f"{name}.parquet").write_bytes(content)
        with pytest.raises(BadInput, match=f"{name}.parquet.*not a whole Parquet"):
            read_crystals(tmp_path / f"{name}.parquet")
    with pytest.raises(BadInput, match="lacks the columns atomic_numbers, frac_coords"):
        read_crystals(_write(tmp_path / "x.parquet", lattice=[[1.0] * 9], other=[1]))
    with pytest.raises(BadInput, match="atomic_numbers is"):
        read_crystals(
            _write(
                tmp_path / "y.parquet",
                **{k: [v] for k, v in SALT.items()} | {"atomic_numbers": ["Na"], "space_group": [1]},
            )
        )
    with pytest.raises(BadInput, match="no structures"):
        read_crystals(_write(tmp_path / "z.parquet", **{k: pa.array([v])[:0] for k, v in SALT.items()}))


def test_middle_of_a_damaged_file_is_noticed(tmp_path, library):
    data = bytearray(write_crystals(library, tmp_path / "c.parquet").read_bytes())
    data[200:400] = bytes(200)
    (tmp_path / "d.parquet").write_bytes(data)
    with pytest.raises(BadInput, match=r"d\.parquet"):
        read_crystals(tmp_path / "d.parquet")


def test_optimade_columns(tmp_path):
    path = _write(
        tmp_path / "lemat.parquet",
        immutable_id=["agm-1"],
        lattice_vectors=[[[3.0, 0, 0], [0, 3.0, 0], [0, 0, 3.0]]],
        cartesian_site_positions=[[[0.0, 0, 0], [1.5, 1.5, 1.5]]],
        species_at_sites=[["Cs", "Cl"]],
    )
    row = read_crystals(path).table.to_pylist()[0]
    assert (row["crystal_id"], row["space_group"], row["formula"]) == ("agm-1", 221, "CsCl")


def test_repeated_ids_in_a_table(tmp_path, library):
    twice = pa.concat_tables([library.table, library.table.slice(3, 2)])
    pq.write_table(twice.replace_schema_metadata(None), tmp_path / "twice.parquet")
    found = read_crystals(tmp_path / "twice.parquet", deduplicate=False)
    assert len(found.table) == len(library.table) and len(found.rejected) == 2


def test_large_table_in_seconds(shared_data):
    found = read_crystals(shared_data / "structures_dev.parquet", deduplicate=False)
    assert len(found.table) == 138_606 and len(found.rejected) == 0
    assert summary(found)["space_groups"] == 228
    few = read_crystals(shared_data / "structures_dev.parquet", limit=300)
    assert few.table["crystal_id"].to_pylist()[:3] == found.table["crystal_id"].to_pylist()[:3]
    again = read_crystals(shared_data / "structures_dev.parquet", limit=300, recompute=True)
    assert (few.table["space_group"].to_numpy() == again.table["space_group"].to_numpy()).mean() > 0.99


# -- anything else ----------------------------------------------------------------------------------------------------


def test_what_is_no_source(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "thing.xyz").write_text("2\n\nH 0 0 0\nH 0 0 1\n")
    for name, match in (("missing", "no such file"), ("empty", r"no \.cif file"), ("thing.xyz", "unknown format")):
        with pytest.raises(BadInput, match=match) as error:
            read_crystals(tmp_path / name)
        assert name in str(error.value)
    (tmp_path / "empty" / "t.parquet").write_bytes(b"")
    with pytest.raises(BadInput, match=r"t\.parquet: name that file"):
        read_crystals(tmp_path / "empty")
    for options in ({"symprec": 0.0}, {"limit": 0}):
        with pytest.raises(BadInput):
            read_crystals("prototypes", **options)


def test_formats_are_known_without_a_suffix(tmp_path, salt, library):
    shutil.copy(salt, tmp_path / "plain")
    shutil.copy(write_crystals(library, tmp_path / "c.parquet"), tmp_path / "table")
    assert len(read_crystals(tmp_path / "plain").table) == 1
    assert len(read_crystals(tmp_path / "table").table) == len(library.table)
