"""How the combination of network, cells and library is fitted: the patterns, what is kept, the command."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data.small_crystals import crystal_table
from evidence.evidence_parts import combination
from model_helpers import SMALL_FORMER

from simxrd_hf.cli import main
from simxrd_hf.crystals import crystal
from simxrd_hf.data.splits import SPLITS, crystal_splits
from simxrd_hf.diffraction import PatternGrid, Simulator
from simxrd_hf.errors import BadInput
from simxrd_hf.evidence import LibraryEvidence, PatternEvidence
from simxrd_hf.identify import Predictor
from simxrd_hf.identify import evidence_fitting as fitting
from simxrd_hf.identify.measured_scores import evaluate_measured, halves
from simxrd_hf.matching import build_library
from simxrd_hf.models import create_model, export_model

N = 63


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Crystals, every third of them calculated only, their lines, and a model nobody has trained."""
    folder = tmp_path_factory.mktemp("fitting")
    table = crystal_table(N)
    names = [f"mp-{3_000_000 + i if i % 3 == 0 else i + 1}" for i in range(N)]
    table = table.set_column(table.column_names.index("crystal_id"), "crystal_id", [names])
    pq.write_table(table, folder / "crystals.parquet")
    build_library(table)[0].save(folder / "lines.parquet")
    export_model(create_model("simxrd_former", "space_group", **SMALL_FORMER).eval(), None, folder / "m")
    return folder


def search(folder, rows=6, **how):
    return fitting.search_patterns(
        folder / "crystals.parquet", folder / "lines.parquet", rows, preset="lab", impurity_pool=0, **how
    )


def test_patterns_are_of_held_out_formulas_and_their_crystals_are_found(folder):
    found = search(folder)
    table = pq.read_table(folder / "crystals.parquet")
    held_out = table.filter(crystal_splits(table) == SPLITS.index("validation"))
    assert len(found) == min(6, len(held_out)) > 2
    assert set(found.labels + 1) <= set(held_out["space_group"].to_pylist())
    assert np.allclose(found.patterns.max(axis=1), 100) and (found.lines > 0).all()
    own = found.known[np.arange(len(found)), 0, found.labels]
    assert (own > 0.8).mean() > 0.5
    with_it, without = (one[:, 0].max(axis=1) for one in (found.known, found.unknown))
    assert (without <= with_it).all() and (without < with_it).any()


def test_measured_crystals_alone(folder):
    found = search(folder, 40, split="test", measured=True)
    assert found.measured.all() and 0 < len(found) < len(search(folder, 40, split="test"))


def test_what_was_found_is_kept_and_gone_on_from(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "_PART", 2)
    first = search(folder, keep=tmp_path)
    files = sorted(tmp_path.iterdir())
    assert len(files) == -(-len(first) // 2)
    files[1].unlink()
    looked = []
    monkeypatch.setattr(fitting, "_searched", lambda *given, real=fitting._searched: looked.append(1) or real(*given))
    again = search(folder, keep=tmp_path)
    assert len(looked) == 1 and sorted(tmp_path.iterdir()) == files
    for name in ("patterns", "labels", "cells", "known", "unknown"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
    search(folder, keep=tmp_path, seed=1)  # other patterns are another file
    assert len(list(tmp_path.iterdir())) == 2 * len(files)


def test_a_fit_keeps_what_was_fitted_before(folder):
    predictor = Predictor(folder / "m", indexing=False)
    table = pq.read_table(folder / "crystals.parquet")
    parts = [(search(folder), 1), (search(folder, 4, measured=True), 2)]
    made = fitting.fit_evidence(parts, predictor, table, 40, epochs=1)
    assert [one.least_crystals for one in made.libraries] == [20]
    about = made.libraries[0].combination.about
    assert (about["rows"], about["measured_rows"], about["disordered_rows"]) == (len(parts[0][0]), len(parts[1][0]), 0)
    more = fitting.fit_evidence(parts, predictor, table, 80, cells=made, epochs=1, known_weight=3.0)
    assert more.cells is made.cells and more.libraries[0] is made.libraries[0]
    assert [one.least_crystals for one in more.libraries] == [20, 40]
    read = (fitting.network_log_probabilities(parts[0][0], predictor), parts[0][0].cells, parts[0][0].lines)
    one, two = (part.combination(*read, parts[0][0].known) for part in more.libraries)
    assert not np.allclose(one, two)  # patterns of known crystals counted three times


def test_the_prior_turns_shares_of_the_fit_into_those_of_measured_crystals(folder):
    table = pq.read_table(folder / "crystals.parquet")
    there, everywhere = fitting.group_shares(table)
    np.testing.assert_allclose([there.sum(), everywhere.sum()], 1.0)
    parts = [(search(folder), 1), (search(folder, 4, measured=True), 2)]
    n, m = len(parts[0][0]), 2 * len(parts[1][0])
    fitted = (n * everywhere + m * there) / (n + m)
    prior = fitting._prior(table, parts)
    here = there > 0
    np.testing.assert_allclose(np.exp(prior[here]) * fitted[here], there[here])
    assert (prior[~here] == 0).all()


def test_the_command(folder, tmp_path, capsys):
    arguments = [str(folder / "crystals.parquet"), "--model", str(folder / "m"), "-o", str(tmp_path)]
    arguments += ["--library", str(folder / "lines.parquet"), "--rows", "3", "--preset", "lab"]
    assert main(["evidence", *arguments]) == 0
    assert (
        f"wrote {tmp_path / 'evidence.json'}: network, cells and libraries from 31 crystals" in capsys.readouterr().out
    )
    made = PatternEvidence.load(tmp_path)
    assert made.for_library(N).combination.about["preset"] == "lab"
    assert not (folder / "m" / "evidence.json").exists()


def measured_rows(folder, count=8):
    """Simulated patterns of the library's crystals as measured rows, every second one under another crystal's group."""
    table = pq.read_table(folder / "crystals.parquet")
    simulator, rows = Simulator("lab"), []
    for number in range(count):
        pattern = simulator.simulate(crystal(table, number), [0]).intensity[0]
        group = table["space_group"][number if number % 2 else (number + 1) % count].as_py()
        rows.append(
            {
                "source": "made",
                "sample_name": f"s{number}",
                "space_group": group,
                "formula": table["reduced_formula"][number].as_py(),
                "wavelength_angstrom": 1.54184,
                "two_theta": PatternGrid().two_theta.tolist(),
                "intensity": pattern.tolist(),
            }
        )
    return rows


def test_borrowed_and_calibrated(folder, tmp_path, capsys):
    """A combination that is too sure is tempered on the half for choosing, whatever the other half says."""
    shutil.copytree(folder / "m", tmp_path / "m")
    rows = measured_rows(folder)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "measured.parquet")
    sure = combination(x8=200.0, x9=-200.0)
    PatternEvidence(combination(), (LibraryEvidence(50, sure, np.full(230, 0.5)),)).save(tmp_path / "m")
    small = build_library(pq.read_table(folder / "crystals.parquet").slice(0, 40))[0]
    small.save(tmp_path / "small.parquet")
    arguments = ["--model", str(tmp_path / "m"), "--library", str(tmp_path / "small.parquet"), "--borrow"]
    assert main(["evidence", *arguments]) == 0
    made = PatternEvidence.load(tmp_path / "m")
    assert [one.least_crystals for one in made.libraries] == [20, 50]
    np.testing.assert_array_equal(made.libraries[0].combination.linear, sure.linear)
    before = made
    assert main(["evidence", *arguments, "--calibrate", str(tmp_path / "measured.parquet")]) == 0
    made = PatternEvidence.load(tmp_path / "m")
    cooler, kept = made.libraries
    temperature = cooler.combination.about["temperature"]
    assert temperature > 1.5 and kept.combination.about is None
    np.testing.assert_allclose(cooler.combination.linear, sure.linear / temperature, rtol=1e-3)
    np.testing.assert_allclose(cooler.prior, 0.5 / temperature, atol=1e-4)
    chosen = (halves([row["sample_name"] for row in rows]) == 0).sum()
    assert cooler.combination.conformal["n"] == chosen < len(rows)
    reported = halves([row["sample_name"] for row in rows])
    other = [row | {"space_group": 1} if half else row for row, half in zip(rows, reported, strict=True)]
    before.save(tmp_path / "m")
    again = fitting.calibrated(tmp_path / "m", other, small).libraries[0].combination.about["temperature"]
    assert again == temperature  # whatever the reported half is
    capsys.readouterr()
    assert main(["evidence", *arguments[:-2], "none", "--borrow"]) == 2
    assert "--library: name one" in capsys.readouterr().err
    assert main(["evidence", *arguments[:-1]]) == 2
    assert "name the crystals the model was trained on, or --borrow" in capsys.readouterr().err
    with pytest.raises(BadInput, match="none to borrow"):
        fitting.borrowed(made, 1000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"-o": "{tmp}/no"}, "no: no such folder"),
        ({"--library": "none"}, "--library: name one"),
        ({"--rows": "0"}, "--rows and --known-weight must be above 0"),
        ({"--library": "{tmp}/l.parquet"}, "l.parquet: no such file"),
    ],
)
def test_bad_input_is_one_line(folder, tmp_path, capsys, change, message):
    given = {"--model": str(folder / "m"), "--library": str(folder / "lines.parquet"), "-o": str(tmp_path)} | change
    flat = [part.format(tmp=tmp_path) for pair in given.items() for part in pair]
    assert main(["evidence", str(folder / "crystals.parquet"), *flat]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and len(captured.err.strip().splitlines()) == 1
    assert not (tmp_path / "evidence.json").exists()


def test_a_model_of_systems_is_refused(folder, tmp_path, capsys):
    config = json.loads((folder / "m" / "config.json").read_text())
    assert config["task"] == "space_group"
    export_model(create_model("simxrd_former", "crystal_system", **SMALL_FORMER).eval(), None, tmp_path / "s")
    arguments = ["--model", str(tmp_path / "s"), "--library", str(folder / "lines.parquet")]
    assert main(["evidence", str(folder / "crystals.parquet"), *arguments]) == 2
    assert "a model of space groups is needed" in capsys.readouterr().err


def test_no_library_of_that_name(folder):
    with pytest.raises(BadInput, match="no such file"):
        fitting.search_patterns(folder / "crystals.parquet", folder / "nowhere.parquet", 3, preset="lab")


def test_first_matches_and_flags_are_scored(folder):
    """Of rows with a formula that the library holds; every row says what was found."""
    rows = measured_rows(folder, 4)
    rows[0] |= {"formula": "Xe7Kr"}
    rows[1] |= {"formula": None}
    library = build_library(pq.read_table(folder / "crystals.parquet"))[0]
    scores = evaluate_measured(rows, folder / "m", library=library, phases=0, bootstrap=2)
    assert [row["right_formula"] for row in scores.rows[:2]] == ["not in library", ""]
    every = scores.groups["all"]
    told = [row["right_formula"] for row in scores.rows[2:]]
    assert every["first_match_n"] == 2 and every["first_match_acc"] == np.mean(told)
    assert any(told) and all(row["first_match"] in set(library.crystal_id) for row in scores.rows)
    assert every["flagged"] == np.mean([bool(row["flags"]) for row in scores.rows])
    assert {row["half"] for row in scores.rows} <= {"for choosing", "reported"}
    without = evaluate_measured(rows, folder / "m", bootstrap=2)
    assert "first_match_acc" not in without.groups["all"] and "first_match" not in without.rows[0]
