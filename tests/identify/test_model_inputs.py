"""A measured pattern on a model's grid, and the picture of how it got there, against lines whose places are known."""

import numpy as np
import pytest
from made_patterns import GRID, X, doublet, lines

from simxrd_hf.errors import BadInput
from simxrd_hf.identify import model_input, plot_before_after, to_grid
from simxrd_hf.patterns import Pattern, preprocess


@pytest.mark.parametrize("wavelength", [0.7107, 1.54184, 1.7903, 2.2911])
def test_any_wavelength_comes_to_the_same_grid(wavelength):
    x = np.arange(4, 140, 0.01)
    values, mask = to_grid(Pattern(x, lines(x, wavelength, width=0.1 * wavelength / 1.54), wavelength), GRID)
    assert values.dtype == np.float32
    assert values.max() == 100
    strongest = GRID.two_theta[np.argmax(values)]
    assert strongest == pytest.approx(2 * np.degrees(np.arcsin(1.54184 / (2 * 3.3))), abs=0.02)
    reach = 2 * np.degrees(np.arcsin(np.minimum(1, np.sin(np.radians(140 / 2)) * 1.54184 / wavelength)))
    np.testing.assert_array_equal(mask, GRID.two_theta < min(reach, 180) + 0.005)
    assert (values[~mask] == 0).all()


def test_model_input_needs_a_wavelength():
    pattern = Pattern(X, lines(X, 1.5418))
    with pytest.raises(BadInput, match="--anode"):
        model_input(pattern)
    with pytest.raises(BadInput, match="--anode"):
        to_grid(pattern, GRID)
    given = model_input(pattern.replace(wavelength=1.5418))
    assert set(given) == {"intensity", "two_theta", "wavelength", "negative"}
    with pytest.raises(BadInput, match=r"a\.xy.*shares"):
        to_grid(Pattern(np.linspace(0.5, 3, 100), np.arange(100.0), 1.54, path="a.xy"), GRID)


def test_picture(tmp_path):
    pytest.importorskip("pybaselines")
    pattern = doublet(X).replace(path="a.xy", intensity=doublet(X).intensity + 200)
    plot_before_after(pattern, preprocess(pattern, ["background", "kalpha2"]), tmp_path / "a.png", grid=GRID)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    plot_before_after(pattern, pattern, tmp_path / "b.svg")
    assert "<svg" in (tmp_path / "b.svg").read_text()
