"""Tables of numbers in text, as programs of the field write them: names, units, gaps, counted rows."""

import numpy as np
import pytest

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns import read_pattern


def read_bytes(tmp_path, name, raw):
    path = tmp_path / name
    path.write_bytes(raw if isinstance(raw, bytes) else raw.encode())
    return read_pattern(path)


def test_start_step_stop_whose_counts_go_on(tmp_path):
    """Rutile with anatase, of CrysFML: 20.00 0.010 99.00 over 8,001 counts, whose lines need the step given."""
    counts = np.random.default_rng(0).poisson(60, 8001)
    text = "20.00 0.010  99.00\r\n\r\n" + "".join(f"{v:6d}.\r\n\r\n" for v in counts)
    pattern = read_bytes(tmp_path, "a.dat", text)
    np.testing.assert_allclose(pattern.two_theta, 20 + 0.01 * np.arange(8001))
    assert any("7901 points, 8001 follow" in one and "to 100°" in one for one in pattern.warnings)


def test_start_step_stop_with_fewer_counts_is_asked(tmp_path):
    """A step that fits stop exactly was not rounded, or it was: 40/0.016 is whole, and 0.0164 is written so too."""
    rows = "".join(f"{v:8d}\n" for v in np.random.default_rng(0).poisson(60, 2470))
    with pytest.raises(BadInput, match="2501 points, 2470 follow; cut short, or the step a rounded one"):
        read_bytes(tmp_path, "a.dat", "  10.000   0.016  50.000\n" + rows)


def test_a_rounded_step_is_named(tmp_path):
    rows = "".join(f"{v:8d}\n" for v in np.random.default_rng(0).poisson(60, 1524))
    pattern = read_bytes(tmp_path, "a.dat", "  10.000   0.026  50.000\n" + rows)
    assert any("taken as 0.026264°" in one for one in pattern.warnings)


@pytest.mark.parametrize("unit", ["counts/s", "cts/s", "c/s", "counts / sec", "cps"])
@pytest.mark.parametrize(
    ("name", "angle", "axis"),
    [("2Theta", "[deg]", None), ("d", "[Å]", "d"), ("Q", "[1/Å]", "q"), ("Theta", "[deg]", ""), ("Omega", "[deg]", "")],
)
def test_names_with_their_units_below(tmp_path, unit, name, angle, axis):
    x = np.linspace(1.2, 3.9, 120) if axis else np.linspace(20, 60, 120)
    rows = "".join(f"{a:.4f}\t{i}\n" for i, a in enumerate(x))
    text = f"{name}\tIntensity\n{angle}\t[{unit}]\n{rows}"
    if axis == "":
        with pytest.raises(BadInput, match=f"{name} .*names neither 2θ nor d nor q"):
            read_bytes(tmp_path, "a.txt", text)
        return
    pattern = read_bytes(tmp_path, "a.txt", text)
    if axis is None:
        np.testing.assert_allclose(pattern.two_theta, x, atol=1e-4)
    else:
        np.testing.assert_allclose(np.sort(pattern.d if axis == "d" else 2 * np.pi / pattern.d), x, rtol=1e-4)


def projection(x_axis: str, two_theta: str) -> str:
    """A projection of a reciprocal-space map, as a program for thin films writes it."""
    rows = "".join(
        f"{33.7 + 0.01 * i:.4f}\t{two_theta.format(67.1 + 0.02 * i)}\t0.79\t0.03\t-0.01576\t7.18144\t{i % 7}.0\n"
        for i in range(60)
    )
    names = "# Omega\t2Theta\tPhi  \tChi   \tq_para\tq_perp\tIntensity\n"
    return f"# x-axis: {x_axis}\n#\n{names}# [deg]\t[deg] \t[deg]\t[deg] \t[nm-1]\t[nm-1]\t[counts/s]\n{rows}"


def test_of_several_angles_2theta_is_the_axis(tmp_path):
    pattern = read_bytes(tmp_path, "a.dat", projection("omega2theta", "{:.4f}"))
    np.testing.assert_allclose(pattern.two_theta, 67.1 + 0.02 * np.arange(60))
    with pytest.raises(BadInput, match="runs along 'omega'"):  # a rocking curve, 2θ stands still
        read_bytes(tmp_path, "a.dat", projection("omega", "67.9140"))


def test_rows_that_are_counted(tmp_path):
    """HighScore's list (empty columns, German), Photon Factory's BL-15A1 (2q in the font Symbol), pandas' index."""
    x = np.round(20.0166 + 0.013 * np.arange(150), 4)
    names = "Nr.\tPos. [°2Th.]\tQ [1/Å]\tIberechn. [cts]\tIback [cts]\tStd.Abw.\td-Werte\tCT [s]\tIntensity [Counts]\n"
    highscore = names + "".join(
        f"{i}\t{a}\t1.4176\t\t\t22.85\t4.43\t32.8950\t{500 + i}.5\n" for i, a in enumerate(x, 1)
    )
    photon_factory = " \t2q\tIntensity\n" + "".join(f"{i}\t{a}\t{500 + i}.5\n" for i, a in enumerate(x, 1))
    pandas = ",x,y\n" + "".join(f"{i},{a},{501 + i}.5\n" for i, a in enumerate(x))
    nameless = "".join(f"{i} {a} {501 + i}.5\n" for i, a in enumerate(x))
    for text in (
        highscore,
        highscore.replace(".5\n", ",5\n").replace(".", ",").replace("Nr,", "Nr."),
        photon_factory,
        pandas,
    ):
        pattern = read_bytes(tmp_path, "a.txt", text)
        np.testing.assert_allclose(pattern.two_theta, x)
        np.testing.assert_allclose(pattern.intensity, 501.5 + np.arange(150))
    pattern = read_bytes(tmp_path, "a.txt", nameless)
    np.testing.assert_allclose(pattern.two_theta, x)
    assert "column 1 counts the rows; it is left out" in pattern.warnings


def test_a_table_of_a_fit_with_gaps_and_words(tmp_path):
    """GSAS-II's data for publication: a comma in a quoted name, a phase's name among the numbers, shorter columns."""
    x = np.round(20 + 0.01 * np.arange(200), 2)
    text = 'used,"x, 2theta (deg)",obs,calc,bkg,diff,Si,tick-pos,Axis-limits\n'
    for i, a in enumerate(x):
        marks = "29.7,Si,17" if i == 0 else f"34.4,{-13111.3 - i},83" if i < 9 else f"{40 + i}, , "
        text += f"1,{a:g},{1000 + i}.5,{990 + i},10,{i}.25,{marks}\n"
    pattern = read_bytes(tmp_path, "a.csv", text + ",,,,,, , , \n,,,,,, ,3.4, \n")
    np.testing.assert_allclose(pattern.two_theta, x)
    np.testing.assert_allclose(pattern.intensity, 1000.5 + np.arange(200))


def test_a_number_alone_above_the_table_is_the_wavelength(tmp_path):
    """CCDC's DASH writes it so; another number is no wavelength."""
    rows = "".join(f" {2 + 0.02 * i:.3f}     {400 + i % 9}.000     21.50000\n" for i in range(300))
    pattern = read_bytes(tmp_path, "a.xye", "  1.54056\n" + rows)
    assert pattern.wavelength == 1.54056
    assert any("lone number in line 1" in one for one in pattern.warnings)
    for other in ("300", "1", "12.345", "0.020"):
        assert read_bytes(tmp_path, "a.xye", other + "\n" + rows).wavelength is None


def test_words_of_a_title_are_no_names(tmp_path):
    rows = "".join(f"{10 + 0.02 * i:g}\t{40 + i % 7}\n" for i in range(200))
    for title in ("# Scan Data", "# XRD data"):
        pattern = read_bytes(tmp_path, "a.txt", f"{title}\n# 01/29/12\n{rows}")
        assert len(pattern) == 200


def test_counts_behind_counters_are_named(tmp_path):
    """D1A of the ILL: 10(I2,I6) and a mark at the end; fields of two digits run into those before."""
    rows = "".join("".join(f"{10:2d}{v:6d}" for v in range(i, i + 10)) + "\n" for i in range(2000, 2200, 10))
    text = " PbSO4\n     100       0   0.050      10       0       0\n  10.000\n  10000.      0.\n"
    with pytest.raises(BadInput, match="D1A, D1B and D2B"):
        read_bytes(tmp_path, "a.dat", text + rows + "   -1000\n  -10000\n")


def test_eva_says_that_it_runs_along_2theta(tmp_path):
    """A scan at low angles could be q; the header of EVA names the scan."""
    head = '\'Id: "" Comment: "" Anode: "Cu" Scantype: "Coupled TwoTheta/Theta" TimePerStep: "96"\n'
    rows = "".join(f"{5 + 0.0102 * i:.4f} {4 + i % 3}.1\n" for i in range(28))
    np.testing.assert_allclose(
        read_bytes(tmp_path, "a.xy", head + rows).two_theta, 5 + 0.0102 * np.arange(28), atol=1e-4
    )
    with pytest.raises(BadInput, match="radians, d, q"):
        read_bytes(tmp_path, "a.xy", rows)


def test_workbooks_of_old_are_named(tmp_path):
    with pytest.raises(BadInput, match="Excel workbook"):
        read_bytes(tmp_path, "a.xls", bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600))


def test_rayflex_is_named(tmp_path):
    with pytest.raises(BadInput, match="RayfleX"):
        read_bytes(tmp_path, "a.nja", "#MeasParameter\r\n&Anode=Cr\t&Filter=V\r\n" + "1 2\r\n" * 40)
