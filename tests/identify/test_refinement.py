"""Rietveld fits against patterns whose weights and cells are known; settings against gemmi's operations."""

import csv
import json

import gemmi
import numpy as np
import pytest
from matching.crystal_truth import AXIS, strained
from matching.test_mixtures import NAMES, by_weight

from simxrd_hf.cli import main
from simxrd_hf.crystals import crystal, prototypes
from simxrd_hf.diffraction import Crystal, Simulator
from simxrd_hf.diffraction.presets import get_preset
from simxrd_hf.errors import BadInput
from simxrd_hf.identify.refinement import StartingPhase, conventional, refine, refine_found
from simxrd_hf.matching import build_library
from simxrd_hf.patterns import Pattern

pytest.importorskip("rietx")


@pytest.fixture(scope="module")
def table():
    return prototypes().table


@pytest.fixture(scope="module")
def scan(table):
    """Rutile and quartz, 60 to 40 by weight, cells off by up to half a per cent, a sloping background, counts."""
    rng = np.random.default_rng(1)
    rows = {name: row for row, name in enumerate(table["crystal_id"].to_pylist())}
    true = {key: strained(crystal(table, rows[NAMES[key]]), rng, scale, 0.002) for key, scale in
            (("rutile", 0.996), ("quartz", 1.003))}  # fmt: skip
    total = by_weight(true["rutile"], 0.6) + by_weight(true["quartz"], 0.4)
    total = 2e4 * total / total.max() + 400 - 2.5 * AXIS
    return Pattern(
        AXIS, rng.poisson(total).astype(float), 1.5418710, unit="counts", metadata={"anode": "Cu"}, path="made"
    ), true


@pytest.fixture(scope="module")
def few(table):
    keep = [row for row, name in enumerate(table["crystal_id"].to_pylist()) if name in NAMES.values()]
    return table.take(keep)


@pytest.fixture(scope="module")
def fit(scan, few):
    return refine_found(scan[0], build_library(few)[0], few)


def test_weights_and_cells(fit, scan):
    """Weights within a point and a half, volumes within 0.06 %; what is left is the counting noise."""
    found = {one["crystal_id"]: one for one in fit.phases}
    assert set(found) == {NAMES["rutile"], NAMES["quartz"]}
    assert found[NAMES["rutile"]]["weight_fraction"] == pytest.approx(0.6, abs=0.015)
    for key, true in scan[1].items():
        a, b, c = found[NAMES[key]]["cell"][:3]
        volume = a * b * c * (1 if key == "rutile" else np.sqrt(3) / 2)
        assert volume == pytest.approx(true.volume, rel=6e-4)
        assert found[NAMES[key]]["cell_esd"][0] > 0
    assert fit.rwp < 0.15 and len(fit.two_theta) == len(fit.calculated) > 3000


def test_files_for_the_next_program(fit, tmp_path):
    written = fit.write(tmp_path / "fit")
    assert all(path.exists() for path in written)
    blocks = [one for one in gemmi.cif.read(str(written[0])) if one.find_value("_cell_length_a")]
    assert len(blocks) == 2
    groups = {gemmi.make_small_structure_from_block(one).spacegroup.number for one in blocks}
    assert groups == {136, 152}
    rows = list(csv.DictReader(written[1].open()))
    assert sum(float(row["weight_fraction"]) for row in rows) == pytest.approx(1, abs=1e-6)
    curve = np.loadtxt(written[2], delimiter=",", skiprows=1)
    assert np.allclose(curve[:, 1] - curve[:, 2], curve[:, 4], atol=1)
    assert json.loads(written[3].read_text())["rwp"] == pytest.approx(fit.rwp)
    text = written[4].read_text()
    assert text.count("space_group") == 2 and "xdd" in text


@pytest.mark.slow
def test_settings_generate_every_atom(table):
    """The orbit of each atom under gemmi's operations of the symbol is the whole crystal: origin and axes are right."""
    wrong = []
    for row in table.to_pylist()[::3]:
        lattice, places, content, symbol = conventional(row, np.eye(3))
        operations = gemmi.find_spacegroup_by_name(symbol).operations()
        primitive = np.asarray(row["lattice"]).reshape(3, 3)
        expected = len(row["atomic_numbers"]) * abs(np.linalg.det(lattice) / np.linalg.det(primitive))
        total = 0
        for place, inside in zip(places, content, strict=True):
            images = np.array([op.apply_to_xyz(place.tolist()) for op in operations]) % 1.0
            distinct = []
            for image in images:
                if not any((np.abs((image - other + 0.5) % 1.0 - 0.5) < 2e-3).all() for other in distinct):
                    distinct.append(image)
            total += len(distinct) * len(inside)
        if total != round(expected):
            wrong.append((row["crystal_id"], symbol, total, expected))
    assert not wrong


def test_command(scan, few, tmp_path, capsys):
    from ase import Atoms
    from ase.io import write

    path = tmp_path / "scan.xy"
    np.savetxt(path, np.c_[scan[0].two_theta, scan[0].intensity])
    for number, row in enumerate(few.to_pylist()):
        if row["crystal_id"] != NAMES["halite"]:
            atoms = Atoms(row["atomic_numbers"], cell=np.reshape(row["lattice"], (3, 3)), pbc=True)
            atoms.set_scaled_positions(np.reshape(row["frac_coords"], (-1, 3)))
            write(tmp_path / f"{number}.cif", atoms)
    cifs = sorted(str(one) for one in tmp_path.glob("*.cif"))
    command = ["refine", str(path), "--anode", "Cu", "--crystals", *cifs, "-o", str(tmp_path / "out"), "--json"]
    assert main(command) == 0
    answer = json.loads(capsys.readouterr().out)
    assert sorted(one["formula"] for one in answer["phases"]) == ["SiO2", "TiO2"] and answer["rwp"] < 0.15
    assert (tmp_path / "out" / "topas.inp").exists()
    assert main(["refine", str(path), "--crystals", *cifs]) == 2
    assert "wavelength" in capsys.readouterr().err


def test_crystals_that_explain_nothing(few):
    flat = Pattern(AXIS, np.full(len(AXIS), 100.0), 1.54184, unit="counts", path="flat")
    with pytest.raises(BadInput, match="explains anything"):
        refine_found(flat, build_library(few)[0], few)


def line_standard(divergence, ratio, seed=0):
    """LaB6 by the simulator of the training data, in counts, refined from a cell 0.03 % too large; and the true a."""
    x, a = 0.1975, 4.15692
    places = np.array(
        [[0, 0, 0], [x, 0.5, 0.5], [-x, 0.5, 0.5], [0.5, x, 0.5], [0.5, -x, 0.5], [0.5, 0.5, x], [0.5, 0.5, -x]]
    )
    numbers = np.array([57] + 6 * [5])
    fixed = {
        "axial_s_over_l": divergence,
        "axial_h_over_l": divergence,
        "kalpha2_ratio": ratio,
        "crystallite_size_nm": 400.0,
        "microstrain_percent": 0.02,
        "instrument_fwhm_deg": 0.04,
        "caglioti_u": 0.0,
        "caglioti_v": 0.0,
        "zero_shift_deg": 0.0,
        "displacement_mm": -0.1,
    }
    lab = get_preset("lab")
    chosen = dict.fromkeys(lab.parameters) | {name: {"constant": value} for name, value in fixed.items()}
    simulator = Simulator(lab.replace(parameters=chosen), seed=seed)
    lattice = a * np.eye(3)
    lines = simulator.simulate(Crystal("LaB6", lattice, numbers, places % 1.0), [0]).intensity[0].astype(float)
    counts = np.random.default_rng(seed).poisson(100 * lines + 80).astype(float)
    pattern = Pattern(AXIS, counts, 1.54184, unit="counts", metadata={"anode": "Cu"}, path="LaB6")
    row = {
        "crystal_id": "LaB6",
        "formula": "LaB6",
        "lattice": (1.0003 * lattice).reshape(-1),
        "atomic_numbers": numbers,
        "frac_coords": (places % 1.0).reshape(-1),
        "occupancies": None,
        "space_group": 221,
    }
    return refine(pattern, [StartingPhase(row, width=0.08)]), a


def test_axial_divergence_and_tube_are_found():
    """Another program's S/L = H/L, Kα2, displacement (of its radius) and cell; what is left is the counting noise."""
    fit, a = line_standard(0.035, 0.42)
    found = fit.instrument
    assert found["axial_divergence"] == pytest.approx(0.035, abs=5e-4)
    assert found["kalpha2_ratio"] == pytest.approx(0.42, abs=0.015)
    assert fit.phases[0]["cell"][0] == pytest.approx(a, rel=1e-5)
    assert fit.shift["displacement_mm"] == pytest.approx(-0.1 * 217.5 / 240, abs=0.002)
    assert fit.chi_squared < 1.15 and not fit.notes


def test_what_is_not_determined_is_held():
    """A symmetric line, the tube's own ratio, the table's B: none is reported as found, and the fit is as good."""
    fit, a = line_standard(0.0, 0.5)
    assert set(fit.instrument.values()) == {None} and fit.phases[0]["b_factor"] is None
    assert fit.phases[0]["cell"][0] == pytest.approx(a, rel=1e-5)
    assert fit.chi_squared < 1.15 and not fit.notes


def test_with_very_many_lines_nothing_more_is_tried(monkeypatch):
    monkeypatch.setattr("simxrd_hf.identify.refinement._MOST_LINES", 10)
    fit, a = line_standard(0.035, 0.42)
    assert set(fit.instrument.values()) == {None}
    off = abs(fit.phases[0]["cell"][0] / a - 1)  # what axial divergence does to a cell that is refined without it
    assert 2e-4 < off < 6e-4 and fit.chi_squared > 1.5
