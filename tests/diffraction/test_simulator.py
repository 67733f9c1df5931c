"""Presets are data; a pattern is a pure function of (crystal, preset, seed, condition)."""

import hashlib
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sample_crystals import SYSTEMS, corundum, lab6, random_crystal, silicon

from simxrd_hf import BadInput
from simxrd_hf.diffraction import PRESETS, CrystalError, PatternGrid, Preset, Simulator, get_preset, peaks, simulate


@pytest.mark.parametrize("name", PRESETS)
def test_patterns_are_whole(name):
    rng = np.random.default_rng(0)
    for system in SYSTEMS:
        made = simulate(random_crystal(rng, system), name)
        assert made.intensity.shape == (33, 3501) and made.intensity.dtype == np.float32
        assert np.isfinite(made.intensity).all() and made.intensity.min() >= 0
        assert np.allclose(made.intensity.max(axis=1), 100, atol=1e-4)
        assert tuple(made.parameters) == get_preset(name).parameter_names
        assert all(v.dtype == np.float32 and v.shape == (33,) for v in made.parameters.values())


@pytest.mark.parametrize("name", PRESETS)
def test_order_batch_and_company_do_not_matter(name):
    crystal = corundum()
    whole = Simulator(name, seed=3).simulate(crystal)
    again = Simulator(name, seed=3)
    again.simulate(lab6(), range(5))
    backwards = again.simulate(crystal, range(32, -1, -1))
    assert np.array_equal(whole.intensity, backwards.intensity[::-1])
    for c in (0, 7, 32):
        alone = Simulator(name, seed=3).simulate(crystal, [c])
        assert np.array_equal(alone.intensity[0], whole.intensity[c])
        assert all(alone.parameters[k][0] == v[c] for k, v in whole.parameters.items())


@pytest.mark.parametrize("name", PRESETS)
def test_a_prepared_crystal_makes_the_same_patterns(name):
    simulator = Simulator(name, seed=3)
    prepared = simulator.prepare(corundum())
    assert np.array_equal(
        simulator.simulate(prepared, range(5)).intensity, simulator.simulate(corundum(), range(5)).intensity
    )
    other = Simulator(name, seed=4)  # the lines do not depend on the seed
    assert np.array_equal(other.simulate(prepared, [7]).intensity, other.simulate(corundum(), [7]).intensity)
    assert prepared.nbytes > len(prepared.lines.s_squared) * 8 * 5


def test_another_process_makes_the_same_bits():
    code = (
        "import hashlib, sys; sys.path.insert(0, sys.argv[1]);"
        "from sample_crystals import corundum; from simxrd_hf.diffraction import simulate;"
        "print(*[hashlib.sha256(simulate(corundum(), p, seed=5, conditions=[c]).intensity.tobytes()).hexdigest()"
        " for p in ('simxrd-4m', 'lab') for c in (4, 2)])"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code, str(Path(__file__).parent)], capture_output=True, text=True, check=True
        )
        for _ in range(2)
    ]
    here = [
        hashlib.sha256(simulate(corundum(), p, seed=5, conditions=[2, 4]).intensity[row].tobytes()).hexdigest()
        for p in ("simxrd-4m", "lab")
        for row in (1, 0)
    ]
    assert runs[0].stdout.split() == runs[1].stdout.split() == here


def test_seed_condition_and_crystal_change_the_pattern():
    a = simulate(silicon(), seed=0, conditions=[0, 1]).intensity
    b = simulate(silicon(), seed=1, conditions=[0]).intensity
    assert not np.array_equal(a[0], a[1]) and not np.array_equal(a[0], b[0])


def test_switching_an_effect_off_leaves_the_other_draws():
    lab = get_preset("lab")
    with_all = simulate(corundum(), lab)
    without = simulate(corundum(), lab.replace(parameters={"march_r": None, "max_counts": None}))
    assert "march_r" not in without.parameters
    for name, value in without.parameters.items():
        assert np.array_equal(value, with_all.parameters[name]), name


def test_impurity_pool():
    half = {"impurity_fraction": {"constant": 0.5}, "max_counts": None, "detector_noise_percent": None}
    preset = get_preset("lab").replace(parameters=half)
    pure = Simulator(preset).simulate(lab6(), range(6))
    mixed = Simulator(preset, impurities=[silicon(), corundum()])
    made = mixed.simulate(lab6(), range(6))
    assert not pure.parameters["impurity_fraction"].any() and (made.parameters["impurity_fraction"] == 0.5).all()
    assert np.abs(made.intensity - pure.intensity).max() > 10
    assert np.array_equal(mixed.simulate(lab6(), [4]).intensity[0], made.intensity[4])


def test_removed_background_leaves_the_lines_and_its_noise():
    off = {name: None for name in get_preset("lab").parameters if "noise" in name or "ratio" in name}
    quiet = get_preset("lab").replace(parameters=off | {"max_counts": None, "background_removed": None})
    background = {"background_ratio": {"constant": 0.4}, "background_removed": {"constant": 1.0}}
    lines = simulate(corundum(), quiet, conditions=[3]).intensity[0]
    cleaned = simulate(corundum(), quiet.replace(parameters=background), conditions=[3]).intensity[0]
    np.testing.assert_allclose(cleaned, lines, atol=2e-4)

    counts = {"max_counts": {"constant": 1e4}}
    half = quiet.replace(parameters=background | counts | {"background_removed": {"constant": 0.5}})
    measured = simulate(corundum(), half, conditions=[3]).intensity[0]
    raw = simulate(
        corundum(), quiet.replace(parameters=background | counts | {"background_removed": None}), conditions=[3]
    ).intensity[0]
    # the same counts, scaled: 100 is the highest point before the removal in one and after it in the other
    empty = lines < 0.05
    scale = np.polyfit(raw[lines > 20], measured[lines > 20], 1)[0]
    assert scale > 1
    mean = simulate(
        corundum(), quiet.replace(parameters=background | {"background_removed": None}), conditions=[3]
    ).intensity[0]
    noise = (raw - mean)[empty].std()
    assert noise == pytest.approx(np.sqrt(mean[empty].mean() / 1e2), rel=0.1)  # √counts, 100 counts a unit
    left = measured[empty] - scale * (raw[empty] - 0.5 * (mean - lines)[empty])
    assert np.abs(left - np.median(left)).max() < 0.05 * scale * noise


def test_graininess_is_lognormal_with_mean_one():
    preset = get_preset("lab").replace(
        parameters={
            **{name: None for name in get_preset("lab").parameters if name not in ("crystallite_size_nm",)},
            "crystallite_size_nm": {"constant": 200.0},
            "graininess": {"constant": 0.3},
        }
    )
    made = simulate(silicon(), preset, conditions=range(3000)).intensity
    grid = PatternGrid()
    tops = np.stack([made[:, abs(grid.two_theta - place) < 0.3].max(axis=1) for place in (47.30, 56.12)])
    ratio = np.log(tops[1] / tops[0])  # of two lines, neither the strongest: its spread is √2 times that of one
    assert ratio.std() == pytest.approx(0.3 * np.sqrt(2), rel=0.05)
    plain = simulate(silicon(), preset.replace(parameters={"graininess": None}), conditions=[0]).intensity[0]
    still = [plain[abs(grid.two_theta - place) < 0.3].max() for place in (47.30, 56.12)]
    assert ratio.mean() == pytest.approx(np.log(still[1] / still[0]), abs=0.03)


def test_simulator_pickles_and_writes_into_given_arrays():
    simulator = pickle.loads(pickle.dumps(Simulator("lab", seed=2, impurities=[silicon()])))  # noqa: S301
    out = np.empty((3, 3501), np.float32)
    made = simulator.simulate(corundum(), [5, 1, 9], out=out)
    assert made.intensity is out
    assert np.array_equal(
        out, Simulator("lab", seed=2, impurities=[silicon()]).simulate(corundum(), [5, 1, 9]).intensity
    )


def test_parameters_stay_in_their_ranges_and_fill_them():
    drawn = {name: [] for name in get_preset("simxrd-4m").parameter_names}
    simulator = Simulator("simxrd-4m", grid=PatternGrid(20, 60, 0.5))
    for seed in range(60):
        simulator.seed = seed
        for name, value in simulator.simulate(silicon()).parameters.items():
            drawn[name].append(value)
    for name, (low, high) in {
        "grain_size_nm": (2, 15), "orientation_spread": (0, 0.4), "thermal_displacement_angstrom": (0, 0.5),
        "zero_shift_deg": (-1.2, 1.2),
    }.items():  # fmt: skip
        values = np.concatenate(drawn[name])
        assert values.min() >= low and values.max() <= high
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.03 * (high - low))
        assert np.ptp(values) > 0.98 * (high - low)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_plain_data(name, tmp_path):
    import yaml

    preset = get_preset(name)
    assert Preset.from_dict(json.loads(json.dumps(preset.to_dict()))) == preset
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(preset.to_dict()))
    (tmp_path / "p.json").write_text(json.dumps(preset.to_dict()))
    assert get_preset(tmp_path / "p.yaml").digest == get_preset(tmp_path / "p.json").digest == preset.digest
    assert preset.replace(version=9).digest != preset.digest
    assert preset.replace(description="other").digest == preset.digest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"parameters": {"grain_size_nm": {"uniform": [5, 2]}}}, "grain_size_nm"),
        ({"parameters": {"grain_size_nm": {"uniform": [-5, 2]}}}, "absurd"),
        ({"parameters": {"grain_size_nm": {"gamma": [1, 2]}}}, "grain_size_nm"),
        ({"parameters": {"grain_size_nm": {"constant": float("nan")}}}, "finite"),
        ({"parameters": {"grain_size_nm": {"constant": 5, "probability": 2}}}, "probability"),
        ({"parameters": {"colour": {"constant": 1}}}, "colour"),
        ({"parameters": {"grain_size_nm": None}}, "width"),
        ({"profile": "square"}, "profile"),
        ({"kalpha": (1.5, 2.5)}, "kalpha"),
        ({"margin_deg": -1}, "margin_deg"),
    ],
)
def test_absurd_presets(change, words):
    with pytest.raises(BadInput, match=words):
        get_preset("simxrd-4m").replace(**change)


@pytest.mark.parametrize("name", ["nonsense", "missing.yaml"])
def test_unknown_presets(name):
    with pytest.raises(BadInput, match=name):
        get_preset(name)


@pytest.mark.parametrize("text", ["[1, 2]", "name: x\nfoo: 1", "a: [", "name: x"])
def test_broken_preset_files(text, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"p\.yaml"):
        get_preset(path)


def test_bad_calls():
    with pytest.raises(BadInput, match="condition"):
        simulate(silicon(), conditions=[-1])
    with pytest.raises(BadInput, match="condition"):
        simulate(silicon(), conditions=[0.5])
    with pytest.raises(BadInput, match="seed"):
        Simulator(seed=1.5)
    with pytest.raises(BadInput, match="out"):
        Simulator().simulate(silicon(), [0], out=np.empty((1, 3501)))
    with pytest.raises(CrystalError, match="Si"):
        simulate(silicon(), grid=PatternGrid(10, 25))


def test_extreme_draws_stay_finite():
    """The widest bounds a preset may have, all at once."""
    wild = get_preset("lab").replace(
        parameters={
            "crystallite_size_nm": {"log_uniform": [0.5, 1e5]},
            "microstrain_percent": {"uniform": [0, 10]},
            "instrument_fwhm_deg": {"log_uniform": [0.001, 5]},
            "axial_s_over_l": {"uniform": [0, 0.2]},
            "axial_h_over_l": {"uniform": [0, 0.2]},
            "march_r": {"log_uniform": [0.05, 20]},
            "cell_scale_percent": {"uniform": [-10, 10]},
            "cell_shape_percent": {"uniform": [0, 10]},
            "zero_shift_deg": {"uniform": [-5, 5]},
            "displacement_mm": {"uniform": [-5, 5]},
            "max_counts": {"log_uniform": [10, 1e9]},
        }
    )
    for profile in ("voigt", "thompson_cox_hastings"):
        for crystal in (silicon(), corundum()):
            for grid in (PatternGrid(), PatternGrid(0.5, 175, 0.05), PatternGrid(2, 40, 0.01, 0.71)):
                y = Simulator(wild.replace(profile=profile), grid=grid).simulate(crystal, range(40)).intensity
                assert np.isfinite(y).all() and y.min() >= 0 and y.max() <= 100


@pytest.mark.parametrize("crystal", [silicon(), corundum()], ids=["cubic", "trigonal"])
def test_positions_follow_strain_zero_displacement_and_transparency(crystal):
    """The strongest lines of a row stand where `line_positions` says; left unmoved, they are up to a degree off."""
    simulator = Simulator("lab", seed=1)
    lines = peaks(crystal, wavelength=simulator.wavelength, two_theta_range=(10, 80), min_intensity=20)
    axis, furthest = simulator.grid.two_theta, 0.0
    for condition in range(20):
        row = simulator.simulate(crystal, [condition]).intensity[0]
        places = simulator.line_positions(crystal, lines.hkl @ np.linalg.inv(crystal.lattice).T, condition)
        best = int(lines.intensity.argmax())
        near = np.abs(axis - places[best]) < 0.25
        top = float(axis[near][row[near].argmax()])
        assert abs(top - places[best]) < 0.08, condition
        furthest = max(furthest, float(np.abs(places - lines.two_theta).max()))
    assert furthest > 0.3
