"""Settings: round trip, refusals with a remedy, the digest."""

import dataclasses

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from simxrd_hf.errors import BadInput
from simxrd_hf.training import TrainConfig
from simxrd_hf.training.config import SECTIONS, SETTINGS, NetworkConfig


def test_yaml_round_trip(tmp_path):
    config = TrainConfig(data="d", epochs=2, learning_rate=1e-4, trackers=["tensorboard"], model_options={"a": 1})
    config.to_yaml(tmp_path / "c.yaml")
    assert TrainConfig.from_yaml(tmp_path / "c.yaml") == config
    assert "batch_size" not in (tmp_path / "c.yaml").read_text()  # defaults are not repeated


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "batch_size": st.integers(1, 10_000),
            "learning_rate": st.floats(1e-9, 10),
            "label_smoothing": st.floats(0, 1),
            "patience": st.none() | st.integers(1, 100),
            "compile": st.booleans(),
            "task": st.sampled_from(["space_group", "crystal_system"]),
            "output": st.text(min_size=1, max_size=20),
        },
    )
)
def test_any_settings_round_trip(settings):
    config = TrainConfig(data="d", epochs=1, **settings)
    again = TrainConfig.from_dict(yaml.safe_load(config.to_yaml()))
    assert again == config and again.digest == config.digest


def test_yaml_number_spellings():
    config = TrainConfig.from_dict({"data": "d", "epochs": 3, "learning_rate": "2.5e-4", "patterns": None})
    assert config.learning_rate == 2.5e-4 and isinstance(config.epochs, float)


def test_sections_and_single_names_mean_the_same():
    sections = {
        "seed": 3,
        "network": {"model": "cnn5"},
        "source": {"data": "d"},
        "budget": {"epochs": 1},
        "optimization": {"learning_rate": 0.5},
    }
    flat = {"seed": 3, "model": "cnn5", "data": "d", "epochs": 1, "learning_rate": 0.5}
    config = TrainConfig.from_dict(sections)
    assert config == TrainConfig.from_dict(flat) == TrainConfig(**flat)
    assert config == TrainConfig(network=NetworkConfig(model="cnn5"), **{k: v for k, v in flat.items() if k != "model"})
    assert config == TrainConfig.from_dict(sections | {"network": {}, "model": "cnn5"})
    assert config.learning_rate == config.optimization.learning_rate == 0.5
    assert TrainConfig.from_dict(config.to_dict()) == config
    assert yaml.safe_load(config.to_yaml()) == sections
    assert config.replace(optimization={"warmup": 0.0}).flat() == config.flat() | {"warmup": 0.0}
    with pytest.raises(AttributeError, match="no setting 'learning_rte'"):
        _ = config.learning_rte


def test_the_digest_of_a_run_begun_by_an_earlier_version():
    """Made by the version with flat settings: a run that it stopped in goes on."""
    config = TrainConfig(model="simxrd_former", size="light", data="d", epochs=1, learning_rate=1e-4, ema_decay=0.9)
    assert config.replace(max_minutes=3, seed=4, mixed_precision="no").digest == "5c2c43434a31f9ac"


def test_each_setting_has_one_section():
    names = [spec.name for section in SECTIONS.values() for spec in dataclasses.fields(section)]
    assert len(names) == len(set(names)) and not set(names) & {*SECTIONS, "seed"}
    assert set(SETTINGS) == {*names, "seed"}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"optimization": {"learning_rte": 1}}, "config: optimization: .*did you mean 'learning_rate'"),
        ({"optimisation": {}}, "did you mean 'optimization'"),
        ({"optimization": 3}, "optimization: is a section"),
        ({"epochs": 1, "budget": {"epochs": 2}}, "epochs: is given twice, in section budget and by itself"),
        ({"learning_rte": 1}, "did you mean 'learning_rate'"),
        ({"batchsize": 1}, "did you mean 'batch_size'"),
        ({"qqq": 1}, "known are"),
        ({"batch_size": "many"}, "batch_size: must be int"),
        ({"batch_size": 0}, "batch_size: must be above 0"),
        ({"batch_size": 10, "gradient_accumulation": 3}, "does not divide"),
        ({"task": "bravais"}, "must be one of crystal_system, space_group"),
        ({"learning_rate": float("nan")}, "finite"),
        ({"label_smoothing": 1.5}, "between 0 and 1"),
        ({"crystals": "x.cif"}, "exactly one"),
        ({"patterns": 5}, "one budget"),
        ({"schedule_by_time": True}, "needs max_minutes"),
        ({"streaming": True, "sampling": "class_balanced"}, "random access"),
        ({"compile": 1}, "compile: must be bool"),
        ({"isostructural": 0.5}, "isostructural: is for on-the-fly patterns"),
        ({"extra_crystals": "prototypes"}, "extra_crystals: are for on-the-fly patterns"),
    ],
)
def test_refusals(settings, says):
    with pytest.raises(BadInput, match=says):
        TrainConfig.from_dict({"data": "d", "epochs": 1, **settings})


def test_one_name_is_a_list_of_one():
    one = TrainConfig.from_dict({"crystals": "prototypes", "epochs": 1, "extra_crystals": "more.parquet"})
    assert one.extra_crystals == ["more.parquet"]
    assert one.digest == one.replace(extra_crystals=["more.parquet"]).digest


@pytest.mark.parametrize("share", [-0.1, 1.01, float("nan")])
def test_the_share_of_invented_crystals_is_one(share):
    assert TrainConfig(crystals="prototypes", epochs=1, isostructural=1.0).isostructural == 1.0
    with pytest.raises(BadInput, match="isostructural"):
        TrainConfig(crystals="prototypes", epochs=1, isostructural=share)


def test_no_budget_no_data():
    with pytest.raises(BadInput, match="how long"):
        TrainConfig(data="d")
    with pytest.raises(BadInput, match="exactly one"):
        TrainConfig(epochs=1)


def test_files(tmp_path):
    with pytest.raises(BadInput, match="no such config"):
        TrainConfig.from_yaml(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(BadInput, match="name: value"):
        TrainConfig.from_yaml(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    with pytest.raises(BadInput, match="is not YAML"):
        TrainConfig.from_yaml(tmp_path / "broken.yaml")


def test_digest_covers_what_matters():
    config = TrainConfig(data="d", epochs=1)
    assert config.replace(output="elsewhere", num_workers=3, progress=False).digest == config.digest
    assert config.replace(learning_rate=1e-4).digest != config.digest
