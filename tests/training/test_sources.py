"""Batches: stored rows equal what was written, streams miss and double nothing, fresh patterns differ."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from training_helpers import write_dataset

from simxrd_hf.errors import BadInput
from simxrd_hf.training import TrainConfig
from simxrd_hf.training.sources import StoredSplit, StreamedSplit, ahead, open_split, open_training


def _written(folder, split):
    files = sorted((folder / "in_library").glob(f"{split}-*.parquet"))
    table = pa.concat_tables([pq.read_table(path) for path in files])
    flat = table.column("intensity").combine_chunks().flatten().to_numpy()
    return flat.reshape(-1, 101), table.column("crystal_system").to_numpy()


def test_stored_rows_are_the_written_ones(dataset):
    source = StoredSplit(dataset, "in_library", "train", "crystal_system")
    intensity, labels = _written(dataset, "train")
    rows = [402, 0, 17, 17, 140, 268]
    batch = source.__getitems__([(3, row) for row in rows])
    assert batch["intensity"].dtype == torch.float16 and np.array_equal(batch["intensity"].numpy(), intensity[rows])
    assert np.array_equal(batch["labels"].numpy(), labels[rows]) and np.array_equal(source.labels, labels)


def test_limits(dataset):
    assert len(StoredSplit(dataset, "in_library", "train", "crystal_system", limit_rows=50)) == 50
    few = StoredSplit(dataset, "in_library", "train", "crystal_system", limit_crystals=10)
    assert len(few) == 40 and len(set(few.groups)) == 10
    half = StoredSplit(dataset, "in_library", "train", "crystal_system", conditions=2)
    assert set(half.identity()["condition"].to_pylist()) == {0, 1}
    batch = half.__getitems__([(0, len(half) - 1)])
    intensity, labels = _written(dataset, "train")
    last = np.flatnonzero(np.arange(403) % 4 < 2)[-1]
    assert np.array_equal(batch["intensity"][0].numpy(), intensity[last]) and batch["labels"][0] == labels[last]


def test_wrong_data(dataset, tmp_path):
    with pytest.raises(BadInput, match="names no in_library/hidden"):
        StoredSplit(dataset, "in_library", "hidden", "crystal_system")
    with pytest.raises(BadInput, match="no rows left"):
        StoredSplit(dataset, "in_library", "train", "crystal_system", conditions=0)
    folder = write_dataset(tmp_path / "d", {"train": 20})
    for path in folder.rglob("*.parquet"):
        pq.write_table(pq.read_table(path).drop_columns(["crystal_id"]), path)
    with pytest.raises(BadInput, match="has no column crystal_id"):
        StoredSplit(folder, "in_library", "train", "crystal_system")


@pytest.mark.parametrize("world", [1, 2, 3])
def test_a_streamed_epoch_has_every_row_once(dataset, world):
    source = StreamedSplit(dataset, "in_library", "train", "crystal_system", seed=3, shuffle_rows=70)
    intensity, labels = _written(dataset, "train")
    seen = []
    for rank in range(world):
        rows = sum(unit[2] for block in source._blocks(0, rank, world) for unit in block)
        batch = next(source.batches(0, rows, rank, world))
        seen.append((batch["intensity"].numpy(), batch["labels"].numpy()))
    patterns, found = (np.concatenate(part) for part in zip(*seen, strict=True))
    order = np.lexsort(patterns.T.astype(np.float32))
    expected = np.lexsort(intensity.T.astype(np.float32))
    assert np.array_equal(patterns[order], intensity[expected]) and np.array_equal(found[order], labels[expected])


@pytest.mark.parametrize("shuffle_rows", [1, 70, 1000])
def test_rows_are_shuffled_in_blocks_of_so_many(dataset, shuffle_rows):
    source = StreamedSplit(dataset, "in_library", "train", "crystal_system", seed=3, shuffle_rows=shuffle_rows)
    blocks = [[unit[2] for unit in block] for block in source._blocks(0, 0, 1)]
    assert sum(map(sum, blocks)) == len(source)
    for block in blocks[:-1]:
        assert sum(block) >= shuffle_rows > sum(block[:-1])
    written = [tuple(row) for row in _written(dataset, "train")[0].tolist()]
    place = {row: number for number, row in enumerate(written)}
    batch = next(source.batches(0, len(source), 0, 1))["intensity"]
    order = np.array([place[tuple(row)] for row in batch.tolist()])
    apart = np.abs(np.diff(order)).mean()
    if shuffle_rows == 1000:  # all in one block: a third of the length, as of any permutation
        assert apart == pytest.approx(len(source) / 3, rel=0.15)
    elif shuffle_rows == 1:  # one group after the other
        assert apart < len(source) / 6


def test_a_stream_goes_on_anywhere(dataset):
    source = StreamedSplit(dataset, "in_library", "train", "crystal_system", seed=3, shuffle_rows=70)
    whole = source.batches(0, 10, 1, 2)
    batches = [next(whole) for _ in range(60)]  # about three epochs of this process's rows
    for start in (1, 7, 33, 59):
        again = next(source.batches(10 * start, 10, 1, 2))
        assert torch.equal(again["intensity"], batches[start]["intensity"])
    with pytest.raises(BadInput, match="cannot be shared by 1000 processes"):
        next(source.batches(0, 10, 0, 1000))


def test_reading_ahead_keeps_order_and_errors():
    assert list(ahead(iter(range(50)), depth=3)) == list(range(50))

    def breaks():
        yield 1
        raise BadInput("shard 3")

    items = ahead(breaks())
    assert next(items) == 1
    with pytest.raises(BadInput, match="shard 3"):
        next(items)


@pytest.fixture(scope="module")
def crystals_config(tmp_path_factory):
    return TrainConfig(
        crystals="prototypes", limit_crystals=60, epochs=1, task="space_group", data_config="out_of_library", seed=4
    )


def test_simulated_rows(crystals_config):
    from simxrd_hf.crystals import crystal, prototypes
    from simxrd_hf.diffraction import Simulator

    train, validation = open_training(crystals_config), open_split(crystals_config, "validation")
    test = open_split(crystals_config, "test")
    parts = [set(part.identity()["crystal_id"].to_pylist()) for part in (train, validation, test)]
    assert sum(map(len, parts)) == 60 == len(set.union(*parts)) and len(test) == 2 * len(parts[2])

    first, again, other = (train.__getitems__([(draw, 0), (draw, 1)])["intensity"] for draw in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other) and first.shape == (2, 3501)
    table = prototypes().table
    row = int(validation._rows[0])
    alone = Simulator("simxrd-4m", seed=4).simulate(crystal(table, row), [30]).intensity
    assert np.array_equal(validation.__getitems__([(9, 0)])["intensity"].numpy(), alone)
    assert np.array_equal(validation.__getitems__([(0, 0)])["intensity"].numpy(), alone)  # kept after the first time
    assert validation.labels[0] == table["space_group"][row].as_py() - 1
    with pytest.raises(BadInput, match="validation or test"):
        open_split(crystals_config, "train")


def test_kept_lines_change_nothing_and_stay_within_their_room(crystals_config):
    from simxrd_hf.training.sources import SimulatedSplit

    train = open_training(crystals_config)
    pairs = [(draw, row) for draw in (0, 1) for row in range(len(train))]
    patterns = train.__getitems__(pairs)["intensity"]
    used = sum(prepared.nbytes for _, prepared in train._prepared.values())
    assert len(train._prepared) == len(train)
    arguments = (train._crystals, train._rows, "space_group", "simxrd-4m", 4)
    for room in (0, used // 2):
        small = SimulatedSplit(*arguments, lines_bytes=room)
        assert torch.equal(small.__getitems__(pairs)["intensity"], patterns)
        assert sum(prepared.nbytes for _, prepared in small._prepared.values()) == room - small._room <= room
        assert len(small._prepared) < len(train) and bool(small._prepared) == bool(room)


def test_repeated_conditions_and_limits(crystals_config):
    same = open_training(crystals_config.replace(fresh_patterns=False, train_conditions=2))
    patterns = [same.__getitems__([(draw, 0)])["intensity"] for draw in (0, 1, 2)]
    assert torch.equal(patterns[0], patterns[2]) and not torch.equal(patterns[0], patterns[1])
    small = open_training(crystals_config.replace(max_atoms=4))
    assert 0 < len(small) < len(same)
    with pytest.raises(BadInput, match="none are left"):
        open_training(crystals_config.replace(limit_crystals=1, data_config="out_of_library", max_atoms=1, seed=9))


def test_a_crystal_that_cannot_be_simulated_is_replaced(crystals_config):
    from simxrd_hf.crystals import prototypes
    from simxrd_hf.training.sources import SimulatedSplit

    table = prototypes().table.slice(0, 3)
    lattice = table["lattice"].to_pylist()
    lattice[1] = [0.3, 0, 0, 0, 0.3, 0, 0, 0, 0.3]  # no reflection in range
    place = table.column_names.index("lattice")
    table = table.set_column(
        place, table.schema.field("lattice"), pa.array(lattice, table.schema.field("lattice").type)
    )
    source = SimulatedSplit(table, np.arange(3), "space_group", "simxrd-4m", 0)
    with pytest.warns(UserWarning, match="left out"):
        batch = source.__getitems__([(0, 1), (0, 2)])
    assert torch.equal(batch["intensity"][0], batch["intensity"][1]) and batch["labels"][0] == source.labels[2]


@pytest.mark.parametrize("data_config", ["out_of_library", "in_library"])
def test_extra_crystals_train_but_not_those_held_out(tmp_path, crystals_config, data_config):
    """Half of the extra ones have formulas of the table: of those of held-out crystals none is trained on."""
    from simxrd_hf.crystals import prototypes
    from simxrd_hf.data.splits import crystal_splits

    table = prototypes().table
    held_out = set(table["reduced_formula"].filter(pa.array(crystal_splits(table) > 0)).to_pylist())
    same, other = table.slice(0, 180), table.slice(180, 100)
    named = [f"{name}~twin" for name in same["crystal_id"].to_pylist()]
    new = [f"Xx{row}" for row in range(100)]
    extra = pa.concat_tables(
        [
            same.set_column(0, "crystal_id", [named]),
            other.set_column(0, "crystal_id", [new]).set_column(2, "reduced_formula", [new]),
        ]
    )
    assert table.column_names[0] == "crystal_id" and table.column_names[2] == "reduced_formula"
    pq.write_table(extra, tmp_path / "extra.parquet")
    config = crystals_config.replace(data_config=data_config, limit_crystals=None)
    more = config.replace(extra_crystals=[str(tmp_path / "extra.parquet")])
    plain, wide = open_training(config), open_training(more)
    assert wide.digest != plain.digest
    ids = [source.identity()["crystal_id"].to_pylist() for source in (plain, wide)]
    added = set(ids[1]) - set(ids[0])
    assert ids[1][: len(ids[0])] == ids[0] and len(added) == len(ids[1]) - len(ids[0])
    formulas = same["reduced_formula"].to_pylist()
    spared = {n for n, formula in zip(named, formulas, strict=True) if formula not in held_out}
    if data_config == "in_library":
        spared = set(named)  # every crystal is trained on
    assert added == spared | set(new) and spared
    for split in ("validation", "test"):
        assert open_split(more, split).digest == open_split(config, split).digest
        assert not any("~" in name for name in open_split(more, split).identity()["crystal_id"].to_pylist())
    batch = wide.__getitems__([(0, len(wide) - 1), (0, 0)])
    assert torch.isfinite(batch["intensity"]).all()
    twice = open_training(config.replace(extra_crystals=more.extra_crystals * 2))
    assert len(twice) - len(wide) == len(wide) - len(plain) and twice.digest != wide.digest
