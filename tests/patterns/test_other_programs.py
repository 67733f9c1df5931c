"""What MAUD, RIETAN, FullProf, PDFget, SPEC, JCAMP-DX and spreadsheets write: read right, or refused by name."""

import bz2
import gzip
import io

import numpy as np
import pytest
from pattern_files import profile

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns import read_pattern

X, Y = profile()


def read(tmp_path, content, name="scan.dat", **options):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_pattern(path, **options)


def maud(x, y):
    """A parameter file of MAUD: the range of the refinement, wavelengths one by one, the data by positions."""
    head = """data_global
_pd_proc_2theta_range_min 22
_pd_proc_2theta_range_max 150
_pd_proc_2theta_range_inc ?
_diffrn_radiation_wavelength 1.5405981 #min 0.0
_diffrn_radiation_wavelength_wt 1.0
_diffrn_radiation_wavelength 1.5444201 #min 0.0
_diffrn_radiation_wavelength_wt 0.48036
_diffrn_radiation_wavelength 1.3924851
_diffrn_radiation_wavelength_wt 0.01
loop_
_pd_meas_position
_pd_meas_intensity_total
_pd_meas_intensity_sigma
"""
    return head + "".join(f" {a:.3f} {b:.1f} {b**0.5:.3f}\n" for a, b in zip(x, y, strict=True))


def test_a_parameter_file_of_maud_asks_for_its_axis(tmp_path):
    with pytest.raises(BadInput, match=r"_pd_meas_position, by the dictionary a place in mm \(MAUD writes 2θ there\)"):
        read(tmp_path, maud(X, Y))
    pattern = read(tmp_path, maud(X, Y), axis="two_theta")
    np.testing.assert_allclose(pattern.two_theta, X, atol=1e-3)
    np.testing.assert_allclose(pattern.intensity, Y, atol=0.1)
    mean = (1.5405981 + 0.48036 * 1.5444201) / 1.48036
    assert pattern.wavelength == pytest.approx(mean) and pattern.metadata["kalpha_ratio"] == pytest.approx(0.48036)


def test_a_range_without_a_step_is_spread_with_a_warning(tmp_path):
    text = "data_a\n_pd_meas_2theta_range_min 10\n_pd_meas_2theta_range_max 20\nloop_\n_pd_meas_counts_total\n"
    pattern = read(tmp_path, text + "\n".join(str(n) for n in range(101)))
    assert pattern.two_theta[[0, -1]].tolist() == [10, 20]
    assert any("gives no 2θ step: 101 points are spread evenly from 10 to 20°" in one for one in pattern.warnings)


def test_an_item_given_twice_is_said(tmp_path):
    text = "data_a\n_pd_meas_2theta_range_min 10\n_pd_meas_2theta_range_inc 0.1\n_pd_meas_2theta_range_min 30\nloop_\n"
    pattern = read(tmp_path, text + "_pd_meas_counts_total\n" + "\n".join(str(n) for n in range(101)))
    assert pattern.two_theta[0] == 10 and any(
        "is given again, '30'; the first, '10', is taken" in one for one in pattern.warnings
    )
    loop = "loop_\n_pd_meas_2theta_scan\n_pd_meas_counts_total\n" + "".join(f"{10 + n / 10} {n}\n" for n in range(30))
    with pytest.raises(BadInput, match="line 36: _pd_meas_2theta_scan is given a second time in one data block"):
        read(tmp_path, "data_a\n" + loop + loop)


@pytest.mark.parametrize("points", [195, 196, 200])  # the last line may hold a single count
def test_counts_of_rietan(tmp_path, points):
    counts = "\n".join("".join(f"{v:7.0f}" for v in Y[at : min(at + 11, points)]) for at in range(0, points, 11))
    pattern = read(tmp_path, f"* Cu3Fe4(PO4)6, CuKa1\n{points}    10.000     0.100\n{counts}\n", "Cu3Fe4P6E.int")
    np.testing.assert_allclose(pattern.two_theta, X[:points], atol=1e-9)
    np.testing.assert_array_equal(pattern.intensity, np.round(Y[:points]))
    assert pattern.wavelength == pytest.approx(1.54059, abs=1e-4)


def test_counts_of_maud_with_the_line_ends_of_old_macs(tmp_path):
    text = f"Al2O3 + CeO2-stabilized ZrO2\n{len(Y)} .1 10 1.540598 1\n" + "\n".join(f"{v:.0f}" for v in Y) + "\n"
    pattern = read(tmp_path, text.replace("\n", "\r"))
    np.testing.assert_allclose(pattern.two_theta, X, atol=1e-9)
    assert pattern.wavelength == 1.540598 and pattern.intensity.tolist() == np.round(Y).tolist()


def prf(rows, announced=None):
    """FullProf's plot file: observed and calculated rows, then ticks."""
    count = announced or len(rows)
    head = f" title   Chi2: 3.1\n  1   {count}     1.54056     1.54439    -0.04378     0.00000     0.00000    0\n"
    head += "   122     0     0\n 2Theta\tYobs\tYcal\tYobs-Ycal\tBackg\tPosr\t(hkl)\tK\n"
    body = "".join(f"   {a:9.4f}\t{b:8.0f}.\t   25250.\t -95297.\t  22638.\n" for a, b in rows)
    ticks = "     14.5622\t        \t        \t        \t        \t       0\t( 1  1  1)\t  0  1 :  1\n" * 3
    return head + body + ticks


def test_the_observed_points_of_a_fullprof_plot(tmp_path):
    pattern = read(tmp_path, prf(list(zip(X, Y, strict=True))), "RbNb2O5F.prf")
    np.testing.assert_allclose(pattern.two_theta, X, atol=1e-4)
    np.testing.assert_array_equal(pattern.intensity, np.round(Y))
    assert pattern.metadata["kalpha2"] == 1.54439 and pattern.metadata["format"] == "prf"
    with pytest.raises(BadInput, match="line 2 announces 300 points, 200 rows follow"):
        read(tmp_path, prf(list(zip(X, Y, strict=True)), announced=300))


REDUCED = {
    "PDFgetX3, F(Q)": ("[PDF]\noutputtype = fq\n#### start data\n#S 1\n#L Q($\\AA^{-1}$)  F($\\AA^{-1}$)\n", 0.11),
    "PDFgetX3, S(Q)": ("#S 1\n#L Q($\\AA^{-1}$)  S(a.u.)\n", 0.11),
    "PDFgetX2, G(r)": ("#S 1    G(r)\n#L r(A)    G(r)    d_r    d_Gr\n", 0.01),
    "PDFgetN, G(r)": ("#S 1 - PDF from PDFgetN\n#L r G(r) dr dG(r)\n", 0.01),
}


@pytest.mark.parametrize("head, step", REDUCED.values(), ids=REDUCED)
def test_what_is_made_of_a_pattern_is_none(tmp_path, head, step):
    further = "  0.0  0.01" if "d_r" in head or "dr" in head else ""
    rows = "".join(f"{step * n:.5f} {np.sin(n / 7):.5f}{further}\n" for n in range(1, 200))
    with pytest.raises(BadInput, match=r"a pair distribution or structure function, G\(r\), F\(Q\) or S\(Q\)"):
        read(tmp_path, head + rows)


def test_a_pair_distribution_without_a_header_is_asked_for(tmp_path):
    rows = "".join(f"{n / 100:g} {np.sin(n / 7):.6g}\n" for n in range(3000))
    with pytest.raises(BadInput, match=r"\d\d% of the values are negative and the axis begins at 0"):
        read(tmp_path, rows, "B3_Bronze.gr")
    assert len(read(tmp_path, rows, "B3_Bronze.gr", axis="two_theta").two_theta) > 2900


def jcamp(kind, units):
    rows = "\n".join(f"{a:.2f}, {b:.1f}" for a, b in zip(X, Y, strict=True))
    return f"##TITLE=test\n##JCAMP-DX=5.00\n##DATA TYPE={kind}\n##XUNITS={units}\n##XYPOINTS=(XY..XY)\n{rows}\n##END=\n"


@pytest.mark.parametrize("kind, units", [("HPLC UV/VIS SPECTRUM", "MINUTES"), ("NMR PEAK TABLE", "PPM")])
def test_other_spectra_in_jcamp(tmp_path, kind, units):
    with pytest.raises(BadInput, match=f"JCAMP-DX of the data type '{kind}', no diffraction pattern"):
        read(tmp_path, jcamp(kind, units), "chromatogram.jdx")


def test_diffraction_in_jcamp_whatever_unit_a_converter_gave(tmp_path):
    pattern = read(tmp_path, jcamp("X-RAY DIFFRACTION", "1/CM"), "scan.jdx")
    np.testing.assert_allclose(pattern.two_theta, X, atol=1e-2)


def test_points_are_no_angles(tmp_path):
    head = " PNT    GL         M1       M2       TIME      CNTS\n"
    rows = "".join(f"{n:4d}   {5.98 - 0.25 * n:8.4f}  20732.  12.  1.00  {200 + n}.\n" for n in range(1, 58))
    with pytest.raises(BadInput, match="column 2, 'GL', names neither 2θ nor d nor q"):
        read(tmp_path, head + rows)


def side_by_side(longer):
    """Counts and angles by turns, of scans of which the second ends later."""
    rows = [f"{b:.2f},{a:.2f},{2 * b:.2f},{a + 0.005:.3f}" for a, b in zip(X, Y, strict=True)]
    rows += [f",,5,{X[-1] + 0.1 * n:.2f}" for n in range(1, longer + 1)]
    return "A_Intensity,A_2Theta,B_Intensity,B_2Theta\n" + "\n".join(rows) + "\n"


@pytest.mark.parametrize("longer", [0, 5, 80])
def test_scans_side_by_side_of_unlike_length(tmp_path, longer):
    text = side_by_side(longer)
    first = read(tmp_path, text, column="A_Intensity")
    second = read(tmp_path, text, column="B_Intensity")
    np.testing.assert_allclose(first.two_theta, X, atol=0.006)
    np.testing.assert_allclose(second.two_theta[: len(X)], X + 0.005, atol=0.006)
    assert len(second.two_theta) == len(X) + longer
    np.testing.assert_allclose(second.intensity[: len(X)], 2 * Y, atol=0.02)


def test_counts_of_one_detector_in_uxd(tmp_path):
    text = "_FILEVERSION = 2\n_WL1 = 1.5406\n_WL2 = 1.54439\n_WLRATIO = 0.5\n_DRIVE = COUPLED\n_STEPSIZE = 0.1\n"
    text += "_START = 10\n"
    text += "_V4_COUNTERS_MASK = 1\n_COUNTS = 1\n; Cnt1_D1\n" + "".join(f"   {v:.0f}\n" for v in Y)
    pattern = read(tmp_path, text)
    np.testing.assert_allclose(pattern.two_theta, X, atol=1e-9)
    assert pattern.intensity.tolist() == np.round(Y).tolist()


def test_rows_of_an_analyser_between_those_of_a_spec_scan(tmp_path):
    rows = "".join(f"{a:.2f} {b:.1f}\n@A 0 0 1 2\\\n 0 0 0 3\\\n 0 0\n" for a, b in zip(X, Y, strict=True))
    pattern = read(tmp_path, "#S 1 ascan tth 10 30 200 1\n#N 2\n#L tth  det\n" + rows)
    np.testing.assert_allclose(pattern.two_theta, X, atol=1e-9)
    with pytest.raises(BadInput, match="line 4 is not a row of 6 numbers, as many as #L names columns"):
        read(
            tmp_path,
            "#S 1 fastsweep phi 6 10 9 1\n#N 7\n#L EPOCH  Phi  CESR  IC1  IC2  DIODE\n" + "1 2 3 4 5 0 6\n" * 20,
        )


@pytest.mark.parametrize("pack, program", [(gzip.compress, "gzip"), (bz2.compress, "bzip2")])
def test_packed_files(tmp_path, pack, program):
    with pytest.raises(BadInput, match=f"packed by {program}; unpack it first"):
        read(tmp_path, pack(b"10 1\n10.1 2\n" * 50))


def test_neutrons_of_nxcansas(tmp_path):
    h5py = pytest.importorskip("h5py")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        source = file.create_group("entry/instrument/source")
        source["radiation"] = "Reactor Neutron Source"
        file["entry/instrument/source/incident_wavelength"] = 4.75
        file["entry/instrument/source/incident_wavelength"].attrs["units"] = "A"
        data = file.create_group("entry/data")
        data.attrs.update(NX_class="NXdata", signal="I", I_axes="Q")
        data["Q"] = np.linspace(0.01, 1.5, 200)
        data["Q"].attrs["units"] = "1/angstrom"
        data["I"] = Y
    pattern = read(tmp_path, buffer.getvalue(), "sans.h5")
    assert any("neutron data" in one for one in pattern.warnings)


def test_wavelengths_left_out_are_named(tmp_path):
    pattern = read(tmp_path, maud(X, Y), axis="two_theta")
    assert "block 'global' gives 3 wavelengths; 1.3924851 left out" in pattern.warnings
