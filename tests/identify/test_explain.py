"""Evidence by occlusion points at what a model reads; the figure is drawn whole."""

import numpy as np
import pytest
import torch
from model_helpers import SMALL_FORMER

from simxrd_hf.identify import Predictor
from simxrd_hf.identify.before_after import hkl_text, shade_unmeasured
from simxrd_hf.identify.explanation import draw, explain, flattened, occlusion
from simxrd_hf.indexing import reflections
from simxrd_hf.models import create_model, export_model
from simxrd_hf.models.networks_simxrd_former import LEVEL_SIZES, LEVELS_OF_GROUP

AXIS = 10 + 0.02 * np.arange(3501)


def salt() -> np.ndarray:
    lines = reflections((5.64, 5.64, 5.64, 90, 90, 90), 225, wavelength=1.54184, two_theta_min=10, two_theta_max=80)
    heights = 20 + 80 * np.random.default_rng(0).random(len(lines.two_theta))
    return 1 + (heights[:, None] * np.exp(-0.5 * ((AXIS - lines.two_theta[:, None]) / 0.07) ** 2)).sum(0)


@pytest.fixture
def biased(tmp_path):
    """A model that says Fm-3m whatever it sees."""
    torch.manual_seed(0)
    model = create_model("simxrd_former", **SMALL_FORMER)
    with torch.no_grad():
        nodes = [level[224] for level in LEVELS_OF_GROUP]  # system, lattice, extinction symbol, group
        starts = np.cumsum([0, *LEVEL_SIZES[:-1]])
        model.classifier.weight.zero_()
        model.classifier.bias[torch.tensor(starts + nodes)] = 4.0
    export_model(model, None, tmp_path / "m")
    return Predictor(tmp_path / "m")


def test_flattening_removes_a_line_and_nothing_else():
    y = salt()
    top = int(y.argmax())
    changed = flattened(y, top - 50, top + 50)
    assert changed[top] < 2
    np.testing.assert_array_equal(changed[: top - 50], y[: top - 50])
    np.testing.assert_array_equal(changed[top + 50 :], y[top + 50 :])
    assert (changed <= y).all()


def test_evidence_is_where_the_model_looks(biased):
    """A stand-in network whose log-odds are the height at 45.4°: only windows over that line matter."""
    index = int(np.abs(AXIS - 45.49).argmin())

    class Looks(torch.nn.Module):
        def forward(self, intensity, mask):
            logits = torch.zeros(len(intensity), 230)
            logits[:, 224] = intensity[:, index] / 10
            return logits

    biased.network = Looks()
    prepared = biased.prepare({"intensity": salt()})
    evidence = occlusion(biased, prepared, 224)
    assert evidence.argmax() == pytest.approx(index, abs=50)
    assert evidence[index] > 1
    assert np.abs(evidence[np.abs(AXIS - 45.49) > 1.1]).max() < 1e-6


def test_figure_with_a_fitted_cell(biased, tmp_path):
    found = explain(biased, {"intensity": salt()})
    assert found.label == "Fm-3m"
    assert found.reflections is not None
    assert found.cell[0] == pytest.approx(5.64, rel=1e-3)
    assert "fitted" in found.note
    assert np.isfinite(found.evidence).all()
    draw(found, tmp_path / "a.png", title="halite")
    draw(found, tmp_path / "a.svg")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    assert "change of ln p" in (tmp_path / "a.svg").read_text() or (tmp_path / "a.svg").stat().st_size > 10_000
    with pytest.raises(ValueError, match="not supported"):
        draw(found, tmp_path / "a.xyz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.svg", "m"]


def test_says_why_no_reflections_are_drawn(biased, dummy_baseline, tmp_path):
    noise = 50 + np.random.default_rng(0).random(3501)
    assert "no cubic cell" in explain(biased, {"intensity": noise}).note.lower()
    given = explain(biased, {"intensity": noise}, cell=(4, 5, 6, 90, 100, 90))
    assert "for the cell given" in given.note
    draw(given, tmp_path / "b.png")
    system = explain(Predictor(dummy_baseline), {"intensity": salt()})
    assert "names no space group" in system.note
    draw(system, tmp_path / "c.png")


def test_indices_of_two_digits_are_apart():
    assert hkl_text((1, 1, 1)) == "111"
    assert hkl_text((1, -1, 0)) == "11\u03050"
    assert hkl_text((1, 10, 2)) == "1 10 2"
    assert hkl_text((-12, 0, 4)) == "1\u03052\u0305 0 4"


def test_what_was_not_measured_is_shaded():
    from matplotlib.figure import Figure

    mask = np.ones(3501, dtype=bool)
    mask[:100], mask[1000], mask[3400:] = False, False, False
    axes = Figure().subplots()
    shade_unmeasured(axes, AXIS, mask, "not measured")
    bands = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches]
    np.testing.assert_allclose(bands, [(9.99, 11.99), (29.99, 30.01), (77.99, 80.01)])
    assert axes.get_legend_handles_labels()[1] == ["not measured"]
