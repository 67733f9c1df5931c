"""The measured benchmark: scores against counts by hand, intervals that know of repeats, bad tables."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simxrd_hf.errors import BadInput
from simxrd_hf.identify import evaluate_measured
from simxrd_hf.identify.measured_scores import HALVES, clusters, halves, read_table, rows_with_ids, train_formulas
from simxrd_hf.symmetry import CRYSTAL_SYSTEM_OF, SPACE_GROUPS


def row(group, *, formula=None, source="A", wavelength=1.541838, sample="s", quality="high"):
    x = np.arange(10, 80, 0.5)
    y = np.zeros_like(x)
    y[group % len(x)] = 100.0  # the stub below reads the answer off the line's place
    return {
        "source": source,
        "sample_name": sample,
        "formula": formula,
        "space_group": group,
        "wavelength_angstrom": wavelength,
        "label_confidence": quality,
        "two_theta": x.tolist(),
        "intensity": y.tolist(),
    }


def answering(groups):
    """A classifier that gives these groups in turn, each with probability 0.8."""
    turn = iter(groups)

    def classify(inputs):
        assert set(inputs[0]) == {"intensity", "two_theta", "wavelength", "negative"}
        table = np.full((1, 230), 0.2 / 229)
        table[0, next(turn) - 1] = 0.8
        return table

    return classify


def test_scores_against_a_count_by_hand():
    truth = [225, 225, 227, 14, 14, 62, 2, 166]
    given = [225, 221, 227, 14, 15, 62, 1, 62]
    rows = [row(g, formula=f"Na{i + 1}Cl", source="RRUFF" if i < 5 else "B") for i, g in enumerate(truth)]
    scores = evaluate_measured(rows, answering(given), bootstrap=200)
    every = scores.groups["all"]
    assert every["n"] == 8
    assert every["space_group_acc"] == pytest.approx(4 / 8)
    assert every["crystal_system_acc"] == pytest.approx(7 / 8)
    assert every["ece"] == pytest.approx(0.8 - 4 / 8)
    assert scores.groups["source: RRUFF"]["space_group_acc"] == pytest.approx(3 / 5)
    assert scores.groups["system: cubic"]["n"] == 3
    assert scores.groups["system: trigonal"]["crystal_system_acc"] == 0
    assert every["crystal_system_acc_low"] <= every["crystal_system_acc"] <= every["crystal_system_acc_high"]
    assert [r["right"] for r in scores.rows] == [a == b for a, b in zip(truth, given, strict=True)]
    assert "source: RRUFF" in scores.table()


def test_seven_classes_have_no_space_group_scores():
    rows = [row(g, formula=f"Na{g}Cl") for g in (225, 2, 14)]
    systems = iter([6, 0, 2])
    scores = evaluate_measured(rows, lambda _: np.eye(7)[[next(systems)]], bootstrap=50)
    assert scores.groups["all"]["crystal_system_acc"] == pytest.approx(2 / 3)
    assert "space_group_acc" not in scores.groups["all"]
    with pytest.raises(BadInput, match="3 classes"):
        evaluate_measured(rows, lambda _: np.eye(3)[[0]])


def test_repeats_widen_the_interval():
    """Forty rows of four substances, each right or wrong as a whole, say no more than four rows."""
    truth = [1, 1, 225, 225]
    given = [2, 2, 225, 225]
    few = [row(g, formula=f"Na{i + 1}Cl") for i, g in enumerate(truth)]
    many = [r for r in few for _ in range(10)]
    independent = [dict(r, formula=f"Li{i + 1}F") for i, r in enumerate(many)]
    answers = [g for g in given for _ in range(10)]
    wide = evaluate_measured(many, answering(answers), bootstrap=500).groups["all"]
    narrow = evaluate_measured(independent, answering(answers), bootstrap=500).groups["all"]
    assert wide["clusters"] == 4
    assert narrow["clusters"] == 40
    assert wide["space_group_acc_high"] - wide["space_group_acc_low"] > 2.5 * (
        narrow["space_group_acc_high"] - narrow["space_group_acc_low"]
    )


def test_libraries_and_priors_reach_the_model(tmp_path):
    """Scores are those of a predictor that was opened with the same arguments."""
    import torch
    from data.small_crystals import crystal_table
    from evidence.evidence_parts import combination

    from simxrd_hf.crystals import crystal
    from simxrd_hf.diffraction import PatternGrid, Simulator
    from simxrd_hf.evidence import LibraryEvidence, PatternEvidence
    from simxrd_hf.matching import build_library
    from simxrd_hf.models import create_model, export_model

    torch.manual_seed(0)
    small = {"widths": [8, 8, 16], "attention_heads": 2, "pooled_channels": 2, "hidden_size": 16}
    export_model(create_model("simxrd_former", "space_group", **small).eval(), None, tmp_path / "m")
    prior = np.where(np.arange(230) == 29, 30.0, 0.0)
    PatternEvidence(combination(), (LibraryEvidence(7, combination(x8=60.0, x9=-60.0), prior),), prior).save(
        tmp_path / "m"
    )
    library, _ = build_library(crystal_table(7))
    library.save(tmp_path / "lines.parquet")
    simulator = Simulator("lab")
    rows = []
    for number in range(7):
        made = crystal(crystal_table(7), number)
        one = row(crystal_table(7)["space_group"][number].as_py(), sample=made.crystal_id, wavelength=1.54184)
        pattern = simulator.simulate(made, [0]).intensity[0]
        rows.append(one | {"two_theta": PatternGrid().two_theta.tolist(), "intensity": pattern.tolist()})

    def accuracy(**arguments):
        scored = evaluate_measured(rows, tmp_path / "m", bootstrap=10, **arguments)
        return scored.groups["all"]["space_group_acc"], [entry["predicted"] for entry in scored.rows]

    # all weight on the similarity of the crystals: they are known
    assert accuracy(library=tmp_path / "lines.parquet", prior=False)[0] == 1
    assert accuracy(prior=False)[0] < 0.5
    assert accuracy(prior=False) == accuracy(indexing=False, library=library)
    assert set(accuracy()[1]) == {SPACE_GROUPS[29]}
    with pytest.raises(BadInput, match="no such file"):
        evaluate_measured(rows, tmp_path / "m", library=tmp_path / "none.parquet")


def test_clusters():
    rows = [
        row(225, formula="NaCl"),
        row(225, formula="Na2Cl2"),
        row(221, formula="NaCl"),
        row(14),
        row(14),
        row(62),
        row(14),
        row(14, source="B"),
    ]
    assert clusters(rows).tolist() == [0, 0, 1, 2, 2, 3, 4, 5]


def test_formulas_seen_in_training():
    from simxrd_hf.crystals import prototypes
    from simxrd_hf.data.splits import crystal_splits

    table = prototypes().table
    seen = train_formulas(table)
    every = set(table["reduced_formula"].to_pylist())
    parts = crystal_splits(table)
    assert seen == {f for f, p in zip(table["reduced_formula"].to_pylist(), parts, strict=True) if p == 0}
    assert train_formulas(table, "none") == every
    inside, outside = next(iter(seen)), next(iter(every - seen))
    rows = [row(225, formula=inside), row(225, formula=outside), row(225)]
    groups = evaluate_measured(rows, answering([225, 221, 225]), formulas=seen, bootstrap=20).groups
    assert groups["training formulas: in"]["space_group_acc"] == 1
    assert groups["training formulas: out"]["space_group_acc"] == 0
    assert groups["training formulas: unknown"]["n"] == 1


def test_rows_that_cannot_be_classified_are_named():
    rows = [row(225), dict(row(225, sample="dark"), wavelength_angstrom=None)]
    with pytest.raises(TypeError):
        rows[1]["wavelength_angstrom"] + 1
    scores = evaluate_measured(rows, answering([225]), bootstrap=20)
    assert scores.groups["all"]["n"] == 1
    assert "wavelength" in scores.skipped["A: dark"]
    with pytest.raises(BadInput, match="none of 1 patterns"):
        evaluate_measured(rows[1:], answering([]))


def test_bad_tables(tmp_path):
    with pytest.raises(BadInput, match="no such file"):
        read_table(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 junk")
    with pytest.raises(BadInput, match="not a Parquet file"):
        read_table(tmp_path / "b.parquet")
    pq.write_table(pa.Table.from_pylist([{"source": "A"}]), tmp_path / "c.parquet")
    with pytest.raises(BadInput, match="lacks the columns"):
        read_table(tmp_path / "c.parquet")
    pq.write_table(pa.Table.from_pylist([row(225), row(231)]), tmp_path / "d.parquet")
    with pytest.raises(BadInput, match="row 1: space_group is 231"):
        read_table(tmp_path / "d.parquet")


def test_a_checkpoint_on_the_development_table(shared_data, tmp_path):
    """The scores of a real (untrained) checkpoint are those of its own pipeline."""
    from simxrd_hf.identify import pipeline
    from simxrd_hf.models import create_model, export_model

    folder = export_model(create_model("simxrd_former", "space_group", size="tiny"), None, tmp_path / "model")
    scores = evaluate_measured(shared_data / "experimental_dev.parquet", folder, limit=6, bootstrap=20)
    classify = pipeline(str(folder), top_k=1)
    rows = {f"{r['source']}: {r['sample_name']}": r for r in read_table(shared_data / "experimental_dev.parquet")}
    for found in scores.rows:
        given = rows[f"{found['source']}: {found['sample_name']}"]
        pattern = {
            "intensity": np.maximum(given["intensity"], 0),
            "two_theta": np.array(given["two_theta"], dtype=float),
            "wavelength": given["wavelength_angstrom"],
        }
        best = classify(pattern)["space_group"][0]
        assert best["label"] == found["predicted"]
        assert best["score"] == pytest.approx(found["confidence"], rel=1e-4)
        assert CRYSTAL_SYSTEM_OF[given["space_group"] - 1] in range(7)


def test_temperature_is_fitted_on_the_other_half():
    """Answers twice as sure as they are right: held-back temperatures mend it, and each half by the other's."""
    rng = np.random.default_rng(0)
    truth = rng.integers(1, 231, 2000)
    given = np.where(rng.random(2000) < 0.4, truth, truth % 230 + 1)
    rows = [row(int(g), formula=f"Na{i + 1}Cl") for i, g in enumerate(truth)]
    scores = evaluate_measured(rows, answering([int(g) for g in given]), bootstrap=10)
    every = scores.groups["all"]
    assert every["ece"] == pytest.approx(0.8 - (given == truth).mean())
    assert every["ece_refitted"] < 0.06 < every["ece"]
    share = (given == truth).mean()  # one answer stands out of 229 equal ones, so the best temperature is known
    assert scores.temperature == pytest.approx(np.log(0.8 / 0.2 * 229) / np.log(share / (1 - share) * 229), rel=1e-3)


def test_augmented_answers_are_the_mean_of_the_logarithms():
    rows = [row(225, formula="NaCl")]
    answers = iter([225, 225, 225, 221, 221])
    seen = []

    def classify(inputs):
        seen.append((inputs[0]["two_theta"][0], inputs[0]["wavelength"]))
        table = np.full((1, 230), 0.2 / 229)
        table[0, next(answers) - 1] = 0.8
        return table

    scores = evaluate_measured(rows, classify, augment=True, bootstrap=10)
    np.testing.assert_allclose([place for place, _ in seen], [10, 10.05, 9.95, 10, 10])
    np.testing.assert_allclose([w / 1.541838 for _, w in seen], [1, 1, 1, 1.005, 0.995])
    high, low = 0.8**0.6 * (0.2 / 229) ** 0.4, 0.8**0.4 * (0.2 / 229) ** 0.6
    expected = high / (high + low + 228 * 0.2 / 229)
    assert scores.rows[0]["confidence"] == pytest.approx(expected)


def test_halves_are_by_name_alone():
    """About half each, the same whatever else the table holds, and scored as groups of rows."""
    names = [f"R{number:06d}" for number in range(2000)]
    which = halves(names)
    assert abs(which.mean() - 0.5) < 0.05 and set(which) == {0, 1}
    assert (halves(names[::-1]) == which[::-1]).all() and halves(names[7:8])[0] == which[7]
    rows = [row(225, sample=name) for name in names[:6]]
    groups = evaluate_measured(rows, answering([225] * 6), bootstrap=20).groups
    assert sum(groups[f"half: {name}"]["n"] for name in HALVES if f"half: {name}" in groups) == 6


def test_rows_by_id():
    rows = [row(225, sample=name) for name in ("Halite R050055", "rruff_080", "R050055-2", "Quartz.R040031")]
    assert rows_with_ids(rows, ["# a list", "r050055", ""]) == [rows[0], rows[2]]
    assert rows_with_ids(rows, ["rruff_080", "R040031"]) == [rows[1], rows[3]]
    with pytest.raises(BadInput, match=r"1 of 2 are in no row.*R999999"):
        rows_with_ids(rows, ["R050055", "R999999"])
    with pytest.raises(BadInput, match="none was given"):
        rows_with_ids(rows, [])
