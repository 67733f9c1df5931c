import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simxrd_hf import BadInput, get_preset
from simxrd_hf.crystals import crystal
from simxrd_hf.data.features import make_features, record_batch, storage_schema
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


@pytest.fixture(scope="module")
def shard(crystals, tmp_path_factory):
    """Simulated rows, and the file that holds them."""
    simulator = Simulator("simxrd-4m", seed=1)
    made = [simulator.simulate(crystal(crystals, i), range(14)) for i in range(42)]
    exact = np.concatenate([m.intensity for m in made])
    parameters = {k: np.concatenate([m.parameters[k] for m in made]) for k in made[0].parameters}
    schema = storage_schema(make_features(get_preset("simxrd-4m")))
    path = tmp_path_factory.mktemp("shard") / "x.parquet"
    return exact, path, write_shard(path, schema, [_batch(schema, exact.astype(np.float16), parameters)])


def test_size_and_error(shard):
    exact, path, record = shard
    assert record["bytes"] / len(exact) <= 5_200
    stored = np.array(pq.read_table(path)["intensity"].combine_chunks().flatten()).reshape(exact.shape)
    normal = exact >= 6.2e-5  # below it, half floats lose digits
    assert np.abs(stored[normal].astype(np.float64) / exact[normal] - 1).max() <= 5e-4
    assert np.abs(stored.astype(np.float64) - exact)[~normal].max(initial=0) <= 3e-8
    assert ((stored > 0) == (exact > 3e-8)).all()


def test_layout(shard):
    exact, path, record = shard
    file = pq.ParquetFile(path)
    assert record["rows"] == file.metadata.num_rows == len(exact)
    assert file.metadata.num_row_groups == -(-len(exact) // 480)
    column = file.metadata.row_group(0).column(0)
    assert column.compression == "ZSTD" and "BYTE_STREAM_SPLIT" in column.encodings
    import datasets

    assert datasets.Features.from_arrow_schema(file.schema_arrow) == make_features(get_preset("simxrd-4m"))


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
