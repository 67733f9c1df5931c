import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simxrd_hf import BadInput, get_preset
from simxrd_hf.crystals import crystal
from simxrd_hf.data.features import make_features, record_batch, storage_schema
from simxrd_hf.data.rounding import rounded
from simxrd_hf.data.shard_files import fault_of, read_parquet, sha256_of, write_shard
from simxrd_hf.diffraction import Simulator


def _batch(schema: pa.Schema, intensity: np.ndarray, parameters: dict) -> pa.RecordBatch:
    n = len(intensity)
    names = pa.array([f"c{i}" for i in range(n)])
    return record_batch(
        schema,
        intensity=intensity,
        space_group=np.arange(n) % 230 + 1,
        crystal_id=names,
        formula=names,
        condition=np.arange(n),
        parameters=parameters,
    )


@pytest.fixture(scope="module", params=["float32", "float16"])
def shard(request, crystals, tmp_path_factory):
    """Simulated rows, the file that holds them, and its record."""
    simulator = Simulator("simxrd-4m", seed=1)
    made = [simulator.simulate(crystal(crystals, i), range(14)) for i in range(42)]
    exact = np.concatenate([m.intensity for m in made])
    stored = rounded(exact) if request.param == "float32" else exact.astype(np.float16)
    parameters = {k: np.concatenate([m.parameters[k] for m in made]) for k in made[0].parameters}
    schema = storage_schema(make_features(get_preset("simxrd-4m"), dtype=request.param))
    path = tmp_path_factory.mktemp("shard") / "x.parquet"
    return stored, path, write_shard(path, schema, [_batch(schema, stored, parameters)])


def test_size(shard):
    stored, path, record = shard
    assert record["bytes"] == path.stat().st_size
    assert record["bytes"] / len(stored) <= 5_000


def test_layout(shard):
    stored, path, record = shard
    file = pq.ParquetFile(path)
    assert record["rows"] == file.metadata.num_rows == len(stored)
    assert file.metadata.num_row_groups == -(-len(stored) // 480)
    group = file.metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert all(c.compression == "ZSTD" and c.has_offset_index for c in columns.values())
    intensity = columns.pop("intensity.list.element")
    encoding = "RLE_DICTIONARY" if stored.dtype == np.float32 else "BYTE_STREAM_SPLIT"
    assert encoding in intensity.encodings and not intensity.is_stats_set
    assert all(c.has_column_index and c.is_stats_set for c in columns.values())
    import datasets

    features = make_features(get_preset("simxrd-4m"), dtype=str(stored.dtype))
    assert datasets.Features.from_arrow_schema(file.schema_arrow) == features


def _means(path, name):
    """Mean of every row as a tool of its own finds it, in plain double precision."""
    if name == "pyarrow":
        values = pq.read_table(path)["intensity"].combine_chunks()
        return values.flatten().to_numpy().astype(np.float64).reshape(len(values), -1).mean(axis=1)
    module = pytest.importorskip(name)
    if name == "duckdb":
        rows = module.sql(f"select list_avg(intensity) from '{path}'").fetchall()
        return np.array([row[0] for row in rows])
    if name == "polars":
        return module.read_parquet(path)["intensity"].arr.sum().to_numpy() / 3501
    if name == "pandas":
        return np.array([row.mean(dtype=np.float64) for row in module.read_parquet(path)["intensity"]])
    if name == "fastparquet":
        return np.array([np.mean(row, dtype=np.float64) for row in module.ParquetFile(path).to_pandas()["intensity"]])
    if name == "datasets":
        rows = module.Dataset.from_parquet(str(path), cache_dir=str(path.parent / "cache")).with_format("numpy")
        return rows[:]["intensity"].astype(np.float64).mean(axis=1)
    raise AssertionError(name)


@pytest.mark.parametrize("tool", ["pyarrow", "duckdb", "polars", "pandas", "datasets", "fastparquet"])
@pytest.mark.parametrize("shard", ["float32"], indirect=True)
def test_every_tool_reads_numbers_it_can_sum(shard, tool):
    stored, path, _ = shard
    assert np.allclose(_means(path, tool), stored.astype(np.float64).mean(axis=1), rtol=1e-5)


@pytest.mark.parametrize("tool", ["pyarrow", "pandas", "datasets"])  # polars sums halves as halves, others know none
@pytest.mark.parametrize("shard", ["float16"], indirect=True)
def test_some_tools_sum_half_floats(shard, tool):
    stored, path, _ = shard
    assert np.allclose(_means(path, tool), stored.astype(np.float64).mean(axis=1), rtol=1e-5)


def test_some_columns_and_row_groups_can_be_read(shard):
    stored, path, _ = shard
    file = pq.ParquetFile(path)
    assert file.read(columns=["condition"])["condition"].to_pylist() == list(range(len(stored)))
    second = file.read_row_group(1, columns=["intensity"])["intensity"].combine_chunks()
    assert np.array_equal(second.flatten().to_numpy().reshape(len(second), -1), stored[480:])


def test_faults_are_found(shard, tmp_path):
    _, path, record = shard
    copy = tmp_path / "x.parquet"
    assert fault_of(copy, record) == "missing"
    copy.write_bytes(path.read_bytes())
    assert fault_of(copy, record) is None and sha256_of(copy) == record["sha256"]
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    copy.write_bytes(content)
    assert "changed" in fault_of(copy, record)
    copy.write_bytes(content[:-100])
    assert "truncated" in fault_of(copy, record)
    with pytest.raises(BadInput, match=r"x\.parquet is not a whole Parquet file"):
        read_parquet(copy)
