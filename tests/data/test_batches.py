"""Torch batches from stored rows."""

import pickle

import numpy as np
import pytest
from datasets import load_dataset
from torch.utils.data import DataLoader

from simxrd_hf import BadInput
from simxrd_hf.data import TensorRows, shuffled_batches, torch_batch

COLUMNS = ("intensity", "space_group", "crystal_id", "condition", "zero_shift_deg")


@pytest.fixture(scope="module")
def train(dataset, cache):
    return load_dataset(str(dataset), "in_library", split="train", cache_dir=cache)


def test_random_rows_are_those_of_the_dataset(train):
    rows = TensorRows(train, COLUMNS)
    chosen = [3, 167, 0, 3, -1]
    batch, expected = rows.__getitems__(chosen), train.with_format("torch")[[i % 168 for i in chosen]]
    assert len(rows) == 168 and str(batch["intensity"].dtype) == "torch.float32"
    for name in COLUMNS:
        assert (
            list(batch[name]) == list(expected[name]) if name == "crystal_id" else (batch[name] == expected[name]).all()
        )
    assert rows[5]["space_group"] == train[5]["space_group"]
    for beyond in ([168], [-169]):
        with pytest.raises(IndexError):
            rows.__getitems__(beyond)
    with pytest.raises(BadInput, match=r"lacks the column.*colour"):
        TensorRows(train, ["colour"])


def test_after_shuffling_and_selecting(train):
    mixed = train.shuffle(seed=3).select(range(10, 40))
    rows = TensorRows(mixed, COLUMNS)
    assert rows.__getitems__(range(30))["crystal_id"] == mixed["crystal_id"][:]


@pytest.mark.parametrize("workers", [0, 2])
def test_in_a_dataloader(train, workers):
    rows = pickle.loads(pickle.dumps(TensorRows(train, ["intensity", "crystal_id", "condition"])))  # noqa: S301
    loader = DataLoader(rows, batch_size=50, shuffle=True, num_workers=workers, collate_fn=_same)
    seen = [(c, int(k)) for b in loader for c, k in zip(b["crystal_id"], b["condition"], strict=True)]
    assert len(seen) == len(set(seen)) == 168


def _same(batch):
    return batch


@pytest.mark.parametrize(("size", "buffer"), [(16, 64), (50, 20), (7, 1000), (168, 168)])
def test_shuffled_stream_gives_every_row_once(dataset, train, size, buffer):
    stream = load_dataset(str(dataset), "in_library", split="train", streaming=True)
    truth = {(r["crystal_id"], r["condition"]): r for r in train.with_format("numpy")}
    seen = []
    for batch in shuffled_batches(stream, size, columns=COLUMNS, buffer_size=buffer, seed=1):
        assert len(batch["intensity"]) <= size
        for k, key in enumerate(zip(batch["crystal_id"], batch["condition"].tolist(), strict=True)):
            assert np.array_equal(batch["intensity"][k].numpy(), truth[key]["intensity"])
            assert batch["space_group"][k] == truth[key]["space_group"]
            seen.append(key)
    assert len(seen) == len(set(seen)) == 168 and seen != list(truth)
    again = [
        k for b in shuffled_batches(stream, size, columns=COLUMNS, buffer_size=buffer, seed=1) for k in b["crystal_id"]
    ]
    assert again == [c for c, _ in seen]


def test_arrow_tables(dataset, train):
    stream = load_dataset(str(dataset), "in_library", split="train", streaming=True).with_format("arrow")
    batch = torch_batch(next(iter(stream.iter(10))))
    assert (batch["intensity"] == train.with_format("torch")[:10]["intensity"]).all()
    assert batch["crystal_id"] == train["crystal_id"][:10] and str(batch["condition"].dtype) == "torch.int64"
