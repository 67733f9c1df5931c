"""The table itself: schema, writing, drawing, summing up, crystals out of it."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import simxrd_hf.crystals as crystals
from simxrd_hf.crystals import (
    CRYSTAL_SCHEMA,
    crystal,
    prototypes,
    read_crystals,
    sample,
    summary,
    table_digest,
    write_crystals,
)
from simxrd_hf.crystals.table import table_from_rows
from simxrd_hf.errors import BadInput


@pytest.fixture(scope="module")
def library():
    return prototypes(limit=40)


def test_lazy_names():
    assert set(crystals.__all__) <= set(dir(crystals))
    for name in crystals.__all__:
        assert getattr(crystals, name) is not None
    with pytest.raises(AttributeError):
        crystals.nothing  # noqa: B018


def test_written_table_reads_back_equal(library, tmp_path):
    path = write_crystals(library, tmp_path / "c.parquet")
    assert pq.read_schema(path).names == CRYSTAL_SCHEMA.names
    assert pq.read_schema(path).metadata[b"symprec"] == b"0.01"
    again = read_crystals(path)
    assert again.table.schema.equals(library.table.schema, check_metadata=True)
    assert again.table.equals(library.table)
    assert len(again.rejected) == 0


def test_writing_leaves_no_half_file(library, tmp_path):
    with pytest.raises(BadInput, match="no such folder"):
        write_crystals(library, tmp_path / "missing" / "c.parquet")
    with pytest.raises(BadInput, match="is a folder"):
        write_crystals(library, tmp_path)
    path = tmp_path / "c.parquet"
    write_crystals(library, path)
    before = path.read_bytes()
    with pytest.raises(AttributeError):
        write_crystals(None, path)  # type: ignore[arg-type]
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.parquet"]
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def test_crystal_from_table_and_row(library):
    one = crystal(library, 3)
    other = crystal(library.table.slice(3, 1).to_pylist()[0])
    assert one.crystal_id == other.crystal_id == library.table["crystal_id"][3].as_py()
    assert np.array_equal(one.lattice, other.lattice) and one.lattice.shape == (3, 3)
    assert crystal(library.table, -1).crystal_id == library.table["crystal_id"][-1].as_py()
    with pytest.raises(IndexError):
        crystal(library, len(library.table))


def test_sample_is_even_nested_and_does_not_know_the_order(library):
    table = library.table
    small, large = sample(table, 5, seed=1), sample(table, 15, seed=1)
    names = set(small["crystal_id"].to_pylist())
    assert len(names) == 5 and names <= set(large["crystal_id"].to_pylist())
    turned = table.take(pa.array(range(len(table) - 1, -1, -1)))
    assert set(sample(turned, 5, seed=1)["crystal_id"].to_pylist()) == names
    assert set(sample(table, 5, seed=2)["crystal_id"].to_pylist()) != names
    assert sample(table, 1000) is table
    with pytest.raises(BadInput):
        sample(table, 0)
    drawn = np.zeros(len(table))
    position = {name: i for i, name in enumerate(table["crystal_id"].to_pylist())}
    for seed in range(400):
        for name in sample(table, 10, seed=seed)["crystal_id"].to_pylist():
            drawn[position[name]] += 1
    # Binomial with mean 100 and standard deviation below 9: none may be five of these away.
    assert abs(drawn - 400 * 10 / len(table)).max() < 45


def test_summary_counts(library):
    found = summary(library)
    assert found["crystals"] == sum(found["crystal_systems"].values()) == len(library.table)
    assert found["space_groups"] == len(set(library.table["space_group"].to_pylist()))
    lengths = [len(v) for v in library.table["atomic_numbers"].to_pylist()]
    assert found["atoms_per_cell"]["max"] == max(lengths) and found["atoms_per_cell"]["min"] == min(lengths)
    assert found["elements"] == len({z for v in library.table["atomic_numbers"].to_pylist() for z in v})
    assert found["symprec"] == 0.01 and found["rejected"] == len(library.rejected)


def test_digest_sees_all_content_and_nothing_else():
    rows = [
        {
            "crystal_id": name,
            "formula": "NaCl",
            "reduced_formula": "NaCl",
            "lattice": [4.0, 0, 0, 0, 4.0, 0, 0, 0, 4.0],
            "atomic_numbers": [11, 17],
            "frac_coords": [0.0, 0, 0, 0.5, 0.5, 0.5],
            "space_group": 221,
            "occupancies": occupancies,
            "source": "test",
        }
        for name, occupancies in (("a", None), ("b", [1.0, 0.5]), ("c", [0.5, 1.0]))
    ]
    table = table_from_rows(rows)
    digest = table_digest(table)
    same = [
        pa.concat_tables([table.slice(0, 1), table.slice(1)]),
        pa.concat_tables([table, table]).slice(3),
        table.replace_schema_metadata({"a": "b"}),
        table.select(table.column_names[::-1]),
        pa.ipc.open_stream(_stream(table)).read_all(),
    ]
    assert {table_digest(one) for one in same} == {digest}
    for name, value in {
        "crystal_id": "z",
        "formula": "ClNa",
        "lattice": [4.0, 0, 0, 0, 4.0, 0, 0, 0, 4.0000001],
        "atomic_numbers": [17, 11],
        "frac_coords": [0.0, 0, 0, 0.5, 0.5, 0.4999999],
        "space_group": 220,
        "occupancies": [1.0, 0.50001],
        "source": None,
    }.items():
        changed = [dict(row) for row in rows]
        changed[1][name] = value
        assert table_digest(table_from_rows(changed)) != digest, name
    assert table_digest(table.drop_columns(["source"])) != digest
    assert table_digest(table.take([1, 0, 2])) != digest
    # where a cell or a list ends is part of the content
    texts = [pa.table({"a": column}) for column in (["ab", "c"], ["a", "bc"], ["abc", ""], ["abc", None])]
    assert len({table_digest(one) for one in texts}) == 4


def _stream(table):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()
