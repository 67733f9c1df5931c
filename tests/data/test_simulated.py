"""Rows on the fly: equal to the stored ones, resumable, shared out without loss."""

import pickle

import numpy as np
import pyarrow as pa
import pytest
from data.conftest import CONDITIONS
from data.small_crystals import crystal_rows
from datasets import load_dataset
from datasets.distributed import split_dataset_by_node
from torch.utils.data import DataLoader

from simxrd_hf import BadInput
from simxrd_hf.crystals.table import table_from_rows
from simxrd_hf.data import SimXRDOnTheFly, on_the_fly
from simxrd_hf.data.source import open_source
from simxrd_hf.diffraction import PHYSICS_VERSION

SAME = {"conditions": CONDITIONS}


def _keys(rows) -> list[tuple[str, int]]:
    return [(row["crystal_id"], int(row["condition"])) for row in rows]


@pytest.mark.parametrize(("config", "split"), [("in_library", "train"), ("in_library", "test"), ("tiny", "validation")])
def test_stream_equals_storage_bit_for_bit(dataset, crystals, cache, config, split):
    stored = load_dataset(str(dataset), config, split=split, cache_dir=cache).with_format("numpy")
    # The size of a shard changes files, not rows; the dataset folder brings its own.
    for source, parameters in ((str(dataset), {}), (crystals, {**SAME, "rows_per_shard": 40})):
        if source is crystals:
            parameters = SAME
        stream = on_the_fly(source, config, split, **parameters).with_format("numpy")
        assert stream.features == stored.features
        made = {key: row for row in stream for key in _keys([row])}
        assert len(made) == len(stored)
        for row in stored:
            twin = made[_keys([row])[0]]
            assert all(np.array_equal(twin[name], row[name]) for name in stored.column_names)
    assert _keys(on_the_fly(str(dataset), config, split)) == _keys(stored)  # and in the same order


def test_random_access_equals_storage(dataset, cache):
    stored = load_dataset(str(dataset), "out_of_library", split="train", cache_dir=cache).with_format("numpy")
    rows = SimXRDOnTheFly(str(dataset), "out_of_library", "train")
    assert len(rows) == len(stored) and rows.features == stored.features
    chosen = [5, 0, 17, 17, len(rows) - 1, -1]
    batch, expected = rows.batch(chosen), stored[[i % len(rows) for i in chosen]]
    for name in stored.column_names:
        assert np.array_equal(np.asarray(batch[name]), np.asarray(expected[name])), name
    assert batch["intensity"].dtype == np.float32 and batch["space_group"].dtype == np.int64
    single = rows[5]
    assert all(np.array_equal(single[name], batch[name][0]) for name in single)
    with pytest.raises(IndexError):
        rows[len(rows)]


def test_one_row_by_name(dataset):
    rows = SimXRDOnTheFly(str(dataset), "in_library", "test")
    name, condition = _keys([rows[3]])[0]
    row = rows.row(name, condition)
    assert all(np.array_equal(row[key], value) for key, value in rows[3].items())
    assert rows.row(name, 1000)["condition"] == 1000  # conditions beyond the published ones
    with pytest.raises(BadInput, match="no crystal 'nobody'"):
        rows.row("nobody", 0)


@pytest.mark.parametrize("workers", [0, 2])
def test_random_access_feeds_a_dataloader(dataset, workers):
    rows = SimXRDOnTheFly(str(dataset), "tiny", "train")
    loader = DataLoader(rows, batch_size=16, shuffle=True, num_workers=workers)
    batches = list(loader)
    assert batches[0]["intensity"].shape == (16, 3501) and str(batches[0]["intensity"].dtype) == "torch.float32"
    seen = [(c, int(k)) for b in batches for c, k in zip(b["crystal_id"], b["condition"], strict=True)]
    assert sorted(seen) == sorted(_keys(rows[i] for i in range(len(rows))))


@pytest.mark.parametrize("stop", [0, 1, 37, 100])
def test_stream_resumes_exactly(crystals, stop):
    whole = _keys(on_the_fly(crystals, "in_library", "train", conditions=[0, 1, 2, 30]))
    stream = on_the_fly(crystals, "in_library", "train", conditions=[0, 1, 2, 30])
    iterator = iter(stream)
    head = _keys(next(iterator) for _ in range(stop))
    state = pickle.loads(pickle.dumps(stream.state_dict()))  # noqa: S301 - our own bytes
    fresh = on_the_fly(crystals, "in_library", "train", conditions=[0, 1, 2, 30])
    fresh.load_state_dict(state)
    assert head + _keys(fresh) == whole


def test_shuffled_files_resume_exactly(crystals):
    """Trap: rows in a shuffle buffer are lost with it; a buffer of one mixes the shards and loses nothing."""
    make = lambda: on_the_fly(crystals, "in_library", "train", conditions=[0, 1, 30]).shuffle(  # noqa: E731
        seed=4, buffer_size=1, max_buffer_input_shards=1
    )
    whole = _keys(make())
    assert whole != _keys(on_the_fly(crystals, "in_library", "train", conditions=[0, 1, 30]))
    stream = make()
    iterator = iter(stream)
    head = _keys(next(iterator) for _ in range(50))
    again = make()
    again.load_state_dict(stream.state_dict())
    assert head + _keys(again) == whole and len(set(whole)) == len(whole) == 84


@pytest.mark.parametrize(("nodes", "workers"), [(1, 2), (2, 0), (2, 2), (3, 0), (5, 0)])
def test_nodes_and_workers_lose_and_double_nothing(crystals, nodes, workers):
    stream = on_the_fly(crystals, "in_library", "train", conditions=[0, 1, 30]).with_format("torch")
    assert stream.num_shards >= 4
    seen: list[tuple[str, int]] = []
    for node in range(nodes):
        part = split_dataset_by_node(stream, rank=node, world_size=nodes)
        loader = DataLoader(part, batch_size=8, num_workers=workers)
        seen += [(c, int(k)) for b in loader for c, k in zip(b["crystal_id"], b["condition"], strict=True)]
    assert len(seen) == 84 and len(set(seen)) == 84


def test_stored_stream_is_shared_out_after_shuffling(dataset):
    """Trap: with few files, a shuffled stream has been known to count as one shard, so that other workers starve."""
    stream = load_dataset(str(dataset), "in_library", split="train", streaming=True)
    assert stream.num_shards >= 4
    shuffled = stream.select_columns(["crystal_id", "condition"]).shuffle(seed=1, buffer_size=16)
    assert shuffled.num_shards == stream.num_shards
    loader = DataLoader(shuffled, batch_size=8, num_workers=2)
    seen = [(c, int(k)) for b in loader for c, k in zip(b["crystal_id"], b["condition"], strict=True)]
    assert len(seen) == len(set(seen)) == 168


def test_unusable_crystals_are_left_out_or_named(tmp_path):
    rows = crystal_rows(16)
    rows[3]["lattice"] = [0.0] * 9
    table = table_from_rows(rows)
    stream = on_the_fly(table, "in_library", "train", conditions=[0, 30])
    assert {name for name, _ in _keys(stream)} == {r["crystal_id"] for i, r in enumerate(rows) if i != 3}
    access = SimXRDOnTheFly(table, "in_library", "train", conditions=[0, 30])
    with pytest.raises(BadInput, match="made-003-tP"):
        access.batch(np.arange(len(access)))
    from simxrd_hf.data import generate

    folder = generate(table, tmp_path / "d", conditions=[0, 30], progress=False).folder
    known = SimXRDOnTheFly(str(folder), "in_library", "train")
    assert len(known) == 15 and known.batch(np.arange(15))["intensity"].shape == (15, 3501)


def test_refusals(dataset, crystals):
    with pytest.raises(BadInput, match="no config 'x'"):
        on_the_fly(crystals, "x")
    with pytest.raises(BadInput, match="no config 'x'"):
        SimXRDOnTheFly(crystals, "x")
    with pytest.raises(BadInput, match="no split 'dev'"):
        on_the_fly(crystals, "tiny", "dev")
    with pytest.raises(BadInput, match="finished dataset with its own seed"):
        SimXRDOnTheFly(str(dataset), seed=8)
    with pytest.raises(BadInput, match=r"finished dataset with its own dtype"):
        SimXRDOnTheFly(str(dataset), "in_library", "train", dtype="float16")
    assert open_source(str(dataset), seed=0).recipe.seed == 0
    broken = pa.table({"crystal_id": ["a"]})
    with pytest.raises(BadInput, match="lacks the column"):
        SimXRDOnTheFly(broken)


def test_rows_of_another_version_of_the_physics_are_not_remade(dataset, tmp_path):
    import json
    import shutil

    copy = tmp_path / "old"
    copy.mkdir()
    for name in ("simxrd.json", "crystals.parquet"):
        shutil.copy(dataset / name, copy / name)
    state = json.loads((copy / "simxrd.json").read_text())
    assert state["physics_version"] == PHYSICS_VERSION
    assert len(SimXRDOnTheFly(copy, "in_library", "test"))
    del state["physics_version"]  # as before versions were declared
    (copy / "simxrd.json").write_text(json.dumps(state))
    with pytest.raises(BadInput, match=r"version 1 of the physics .* cannot be remade"):
        SimXRDOnTheFly(copy, "in_library", "test")
