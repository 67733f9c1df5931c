import hashlib
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from data.small_crystals import crystal_rows, crystal_table

from simxrd_hf import BadInput, PatternGrid, get_preset
from simxrd_hf.crystals.table import table_from_rows
from simxrd_hf.data.features import make_features, storage_schema
from simxrd_hf.data.plan import FORMAT_VERSION, Plan, Recipe, check_crystals
from simxrd_hf.data.rounding import BOOK
from simxrd_hf.data.shard_files import CUTS, LEVEL, ROWS_PER_ROW_GROUP, writer_options


def _all_rows(plan: Plan, config: str, split: str) -> list[tuple[str, int]]:
    ids = plan.crystals["crystal_id"].to_pylist()
    found = []
    for block, part in plan.files(config, split):
        for window in block.windows:
            rows = plan.rows(window, part)
            found += [(ids[c], int(k)) for c, k in zip(rows.crystal, rows.condition, strict=True)]
    return found


@pytest.fixture(scope="module")
def plan() -> Plan:
    table = crystal_table(300)
    return Plan(
        check_crystals(table), Recipe.make(rows_per_shard=600, configs=("in_library", "out_of_library", "tiny"))
    )


def test_in_library_has_every_pattern_once_in_the_right_split(plan):
    expected = {"train": range(30), "validation": [30], "test": [31, 32]}
    for split, conditions in expected.items():
        rows = Counter(_all_rows(plan, "in_library", split))
        assert set(rows.values()) == {1}
        assert set(rows) == {(i, k) for i in plan.crystals["crystal_id"].to_pylist() for k in conditions}


def test_out_of_library_has_all_patterns_of_a_crystal_on_one_side(plan):
    sides = {split: _all_rows(plan, "out_of_library", split) for split in ("train", "validation", "test")}
    assert sum(map(len, sides.values())) == len({row for rows in sides.values() for row in rows}) == 300 * 33
    names = [{crystal for crystal, _ in rows} for rows in sides.values()]
    assert not names[0] & names[1] and not names[0] & names[2] and not names[1] & names[2]


def test_rows_are_mixed(plan):
    rows = _all_rows(plan, "in_library", "train")
    for start in range(0, len(rows) - 64, 500):
        batch = rows[start : start + 64]
        assert len({c for c, _ in batch}) >= 8 and len({k for _, k in batch}) >= 15


def test_rows_do_not_depend_on_the_order_of_the_table():
    rows = crystal_rows(60)
    forward = Plan(table_from_rows(rows), Recipe.make())
    backward = Plan(table_from_rows(rows[::-1]), Recipe.make())
    for split in ("train", "test"):
        assert _all_rows(forward, "in_library", split) == _all_rows(backward, "in_library", split)


def test_blocks_respect_the_size_of_a_shard(plan):
    for block in plan.blocks:
        assert 30 * sum(map(len, block.windows)) <= 600
        assert block.path("train").endswith(f"train-{block.number:05d}-of-{block.of:05d}.parquet")
    assert len({block.name for block in plan.blocks}) == len(plan.blocks)


def test_processes_can_share_the_files_evenly(plan):
    """`datasets` has every process read every file where the number of files is no multiple of the processes."""
    of = {block.folder: block.of for block in plan.blocks}
    assert of["patterns/train"] == 16 and all(count <= 8 or count % 8 == 0 for count in of.values())
    for block in plan.blocks:
        sizes = [sum(map(len, other.windows)) for other in plan.blocks if other.folder == block.folder]
        assert len(sizes) == block.of and max(sizes) - min(sizes) <= 1


def test_recipe_round_trip_and_digest():
    crystals = check_crystals(crystal_table(5))
    recipe = Recipe.make("lab", seed=3, conditions=[1, 30], exact=True, configs=["tiny"], labels=["laue_class"])
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    digests = {
        recipe.digest(crystals),
        replace(recipe, seed=4).digest(crystals),
        replace(recipe, preset=get_preset("simxrd-4m")).digest(crystals),
        replace(recipe, grid=PatternGrid(10, 80, 0.05)).digest(crystals),
        replace(recipe, dtype="float16").digest(crystals),
        replace(recipe, exact=False).digest(crystals),
        replace(recipe, split_by="prototype").digest(crystals),
        recipe.digest(crystals.slice(1)),
    }
    assert len(digests) == 8
    with pytest.raises(BadInput, match="colour"):
        Recipe.from_dict({**recipe.to_dict(), "colour": 1})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"configs": ["nope"]}, "unknown config"),
        ({"configs": []}, "unknown config"),
        ({"labels": ["nope"]}, "unknown label"),
        ({"dtype": "int8"}, "unknown dtype"),
        ({"split_by": "nope"}, "unknown split_by"),
        ({"rows_per_shard": 0}, "rows_per_shard"),
        ({"conditions": [40]}, "0 to 32"),
    ],
)
def test_parameters_are_refused_by_name(arguments, message):
    with pytest.raises(BadInput, match=message):
        Recipe.make(**arguments)


def test_crystal_tables_are_checked():
    table = crystal_table(4)
    with pytest.raises(BadInput, match=r"lacks the column.*lattice"):
        check_crystals(table.drop_columns(["lattice"]))
    with pytest.raises(BadInput, match="no row"):
        check_crystals(table.slice(0, 0))
    with pytest.raises(BadInput, match=r"made-000-aP.*unique"):
        check_crystals(pa.concat_tables([table, table.slice(0, 1)]))
    short = table.set_column(3, "lattice", pa.array([[1.0, 2.0]] * 4))
    with pytest.raises(BadInput, match="column lattice"):
        check_crystals(short)
    empty = table.set_column(8, "space_group", pa.nulls(4, pa.int16()))
    with pytest.raises(BadInput, match=r"column space_group .* 4 empty"):
        check_crystals(empty)
    extra = table.append_column("colour", [["red"] * 4])  # columns of others do no harm
    assert "colour" not in check_crystals(extra).column_names


def test_wide_types_are_taken():
    table = crystal_table(4)
    other = table.set_column(3, "lattice", table["lattice"].cast(pa.list_(pa.float64())))
    other = other.set_column(4, "atomic_numbers", table["atomic_numbers"].cast(pa.list_(pa.int8())))
    assert check_crystals(other).equals(check_crystals(table))


def test_unknown_config_or_split(plan):
    with pytest.raises(BadInput, match="no config 'hidden'"):
        plan.files("hidden", "test")
    with pytest.raises(BadInput, match="no split 'dev'"):
        plan.files("in_library", "dev")
    assert np.concatenate([w for b in plan.blocks if b.folder != "tiny" for w in b.windows]).size == 300


def test_files_and_order_are_those_of_the_declared_format():
    """Which row lies where, in which split, under which columns: whoever changes it raises FORMAT_VERSION."""
    recipe = Recipe.make(configs=["in_library", "out_of_library", "tiny"], rows_per_shard=600)
    plan = Plan(check_crystals(crystal_table(300)), recipe)
    ids = plan.crystals["crystal_id"].to_pylist()
    columns = [(f.name, str(f.type)) for f in storage_schema(make_features(recipe.preset))]
    options = sorted(writer_options(pa.schema([])).items())
    places = [repr((columns, options, CUTS, LEVEL, ROWS_PER_ROW_GROUP)).encode(), BOOK.tobytes()]
    for config in recipe.configs:
        for split in ("train", "validation", "test"):
            for block, part in plan.files(config, split):
                for window in block.windows:
                    rows = plan.rows(window, part)
                    names = [f"{ids[i]} {c}" for i, c in zip(rows.crystal, rows.condition, strict=True)]
                    places.append("\n".join([config, split, block.path(part), *names]).encode())
    digest = hashlib.blake2b(b"\0".join(places), digest_size=8).hexdigest()
    assert (FORMAT_VERSION, digest) == ("2.3", "eb30ef770636c3f3")
