"""What headers say: quantities with units, names of columns and scans, marks of missing values; option by option."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pattern_files import KALPHA1, MEAN, WRITERS, brml, cif, profile, rasx, raw3, spec, uxd, xrdml

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns import header, read_pattern
from simxrd_hf.patterns.quantities import wavelength_in_angstrom


def read_bytes(tmp_path, name, raw, **options):
    path = tmp_path / name
    path.write_bytes(raw if isinstance(raw, bytes) else raw.encode())
    return read_pattern(path, **options)


def table(head, form="{0:.4f} {1:.1f}\n", seed=0):
    x, y = profile(seed=seed)
    return head + "".join(form.format(a, b) for a, b in zip(x, y, strict=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# Wavelength: 4.066e-11 m", 0.4066),
        ("# Wavelength: 3.344e-11", 0.3344),  # older pyFAI: no unit, and only metres make a wavelength of it
        ('#     "wavelength": 1.0332e-10', 1.0332),
        ("wavelength = 0.154056 nm", 1.54056),
        ("Wavelength (nm): 0,154056", 1.54056),
        ("wavelength [m] = 7.0931e-11", 0.70931),
        ("lambda/pm 154.06", 1.5406),
        ("wavelength: 71 pm", 0.71),
        ("Wavelength = 1.5406 Å", 1.5406),
        ("Wavelength 1.5406 Angstroem", 1.5406),
        ("wavelength: 0.15 A", 0.15),
        ("X-RAY WAVELENGTH:     1.541838", 1.541838),
        ("# Calibrated wavelength = 0.413259 ", 0.413259),
        ("The wavelength was 0.4127.", 0.4127),
        ("Photon energy: 12.398419843 keV", 1.0),
        ("Energy (keV) = 30.0", 0.4132807),
        ("energy 8047.8 eV", 1.5405974),
        ("K-Alpha1 wavelength,1.5405980\nK-Alpha2 wavelength,1.5444260\nRatio K-Alpha2/K-Alpha1,0.000", 1.540598),
        ("K-Alpha1 wavelength,1.5405980\nK-Alpha2 wavelength,1.5444260\nRatio K-Alpha2/K-Alpha1,0.5", MEAN),
        ("Alpha1  1.54060    Alpha2  1.54443    Ratio  0.50000", (1.5406 + 0.5 * 1.54443) / 1.5),
        ("Anode: Cu\nwavelength 0.15406", 1.5406),  # nm: the tube says so
        ("wavelength 0.15406", None),  # nm or Å?
        ("wavelength 1", None),
        ("monochromator energy resolution 12.4", None),
        ("number of wavelengths: 2", None),
    ],
)
def test_wavelengths_have_units(text, expected):
    found, _ = header.radiation(text)
    assert found == (None if expected is None else pytest.approx(expected, rel=2e-6))


@pytest.mark.parametrize(
    "line", ["# wavelength: unknown", "# wavelength unknown", "Time series", "# r value", "a title"]
)
def test_titles_of_two_words_are_no_names(line, tmp_path):
    np.testing.assert_allclose(read_bytes(tmp_path, "a.xy", table(line + "\n")).intensity, profile()[1])


def test_a_bare_number_that_may_be_nanometres_is_asked_for(tmp_path):
    pattern = read_bytes(tmp_path, "a.xy", table("# wavelength 0.15406\n"))
    assert pattern.wavelength is None
    assert any("0.15406 has no unit" in note for note in pattern.warnings)


@given(angstrom=st.floats(0.3, 4.9), unit=st.sampled_from([("m", 1e-10), ("nm", 0.1), ("pm", 100.0), ("Å", 1.0)]))
def test_every_unit_of_length(angstrom, unit):
    name, size = unit
    assert wavelength_in_angstrom(angstrom * size, name) == pytest.approx(angstrom, rel=1e-9)
    found, _ = header.radiation(f"wavelength = {angstrom * size:.9e} {name}")
    assert found == pytest.approx(angstrom, rel=1e-8)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("2Theta", ("two_theta", 1)),
        ("2th_deg", ("two_theta", 1)),
        ("2th_rad", ("two_theta_radians", 1)),
        ("2θ (mrad)", ("two_theta_radians", 1e-3)),
        ("2-theta (centidegrees)", ("two_theta", 0.01)),
        ("Pos. [°2Th.]", ("two_theta", 1)),
        ("Winkel", ("two_theta", 1)),
        ("Ángulo 2θ", ("two_theta", 1)),
        ("衍射角", ("two_theta", 1)),
        ("Two Theta", ("two_theta", 1)),
        ("omega-2theta", ("two_theta", 1)),
        ("d-spacing", ("d", 1)),
        ("d (nm)", ("d", 10)),
        ("d/pm", ("d", 0.01)),
        ("chi_Q", ("q", 1)),
        ("q_A^-1", ("q", 1)),
        ("q_nm^-1", ("q_nm", 1)),
        ("Q (1/nm)", ("q_nm", 1)),
        ("q [m^-1]", ("q", 1e-10)),
        ("Q (Inverse Nanometres)", ("q_nm", 1)),
        *((name, None) for name in ("r_mm", "d*2_A^-2", "1/d", "Energy (keV)", "time", "chi_deg", "phi", "Theta")),
        *((name, None) for name in ("sin(2theta)", "q^2", "sin(theta)/lambda", "r($\\AA$)", "log10(q.m)", "z", "TOF")),
    ],
)
def test_names_of_axes(label, expected):
    found = header.axis_of(label)
    assert (None if found is None else tuple(found)) == (
        None if expected is None else (expected[0], pytest.approx(expected[1]))
    )


@pytest.mark.parametrize(
    "head",
    [
        "# r_mm             I\n",
        "Energy (keV)\tCounts\n",
        "Time (s)\tcounts\n",
        "#d*2_A^-2  I\n",
        "phi\tIntensity\n",
        "Theta  Intensity\n",
        "# {\n# \"poni_version\": 2.1\n# }\n#{str(dim1_unit):14s}  {'I':14s}\n",  # as pyFAI 2026.9 writes it
        '\'Id: "" Anode: "Mo" Scantype: "Z" TimePerStep: "0.1"\n',
        "Scan axis: Phi\n",
        "Energy\tSample\n",
        "# {\n# \"poni_version\": 2.1\n# }\n# --> 2th_deg/sample.xy\n#{str(dim1_unit):14s}  {'I':14s}\n",
        "rmc G(r) SrTiO3\n",
    ],
)
def test_named_is_not_unknown(head, tmp_path):
    with pytest.raises(BadInput, match=r"a\.dat: .*(2θ|pyFAI|G\(r\))"):
        read_bytes(tmp_path, "a.dat", table(head))


def test_the_caller_may_say_what_an_axis_is(tmp_path):
    x, _ = profile()
    pattern = read_bytes(tmp_path, "a.dat", table("Bragg position  counts\n"), axis="two_theta")
    np.testing.assert_allclose(pattern.two_theta, x)
    centi = table("2theta_cdeg I\n", "{0:.4f} {1:.1f}\n").splitlines()
    rows = [centi[0]] + [f"{float(a) * 100:.2f} {b}" for a, b in (line.split() for line in centi[1:])]
    np.testing.assert_allclose(read_bytes(tmp_path, "a.dat", "\n".join(rows)).two_theta, x)


@pytest.mark.parametrize(
    ("head", "form", "said"),
    [
        ("tth  Epoch  Monitor_2  Detector\n", "{0:.4f} 7 5 {1:.1f}\n", "column 4, 'Detector'"),
        ("2theta Ycalc Yobs sigma\n", "{0:.4f} 5 {1:.1f} 2\n", "column 3, 'Yobs'"),
        ("Winkel;Zeit;Zählrate\n", "{0:.4f};3;{1:.1f}\n", "column 3, 'Zählrate'"),
        ("角度,時間,強度\n", "{0:.4f},3,{1:.1f}\n", "column 3, '強度'"),
        ("2theta\ttime\tcoups\n(deg)\t(s)\t(1)\n", "{0:.4f}\t3\t{1:.1f}\n", "column 3, 'coups (1)'"),
    ],
)
def test_the_intensity_is_chosen_by_name_and_said(head, form, said, tmp_path):
    pattern = read_bytes(tmp_path, "a.dat", table(head, form))
    np.testing.assert_allclose(pattern.intensity, profile()[1])
    assert any(said in note for note in pattern.warnings)


def test_samples_side_by_side(tmp_path):
    x, y = profile()
    rows = "".join(f"{a:.4f},{b:.1f},{2 * b:.1f},{3 * b:.1f}\n" for a, b in zip(x, y, strict=True))
    text = "2theta,Sample_A,Sample_B,Sample_C\n" + rows
    pattern = read_bytes(tmp_path, "a.csv", text)
    np.testing.assert_allclose(pattern.intensity, y)
    assert any(
        "'Sample_A' (2), 'Sample_B' (3), 'Sample_C' (4)" in note and "--column" in note for note in pattern.warnings
    )
    for column in ("Sample_B", "sample_b", 3, "3"):
        np.testing.assert_allclose(read_bytes(tmp_path, "a.csv", text, column=column).intensity, 2 * y)
    with pytest.raises(BadInput, match="no column 'Sample_D'; the table has 1 '2theta', 2 'Sample_A'"):
        read_bytes(tmp_path, "a.csv", text, column="Sample_D")
    with pytest.raises(BadInput, match="column 1 is the axis"):
        read_bytes(tmp_path, "a.csv", text, column=1)
    pairs = "2theta,A,2theta,B\n" + "".join(
        f"{a:.4f},{b:.1f},{a + 5:.4f},{2 * b:.1f}\n" for a, b in zip(x, y, strict=True)
    )
    pattern = read_bytes(tmp_path, "a.csv", pairs, column="B")
    np.testing.assert_allclose(pattern.two_theta, x + 5)
    np.testing.assert_allclose(pattern.intensity, 2 * y)
    with pytest.raises(BadInput, match="one column of intensities"):
        read_bytes(tmp_path, "a.xrdml", xrdml(x, y), column=2)


def test_scans_of_a_series_are_listed(tmp_path):
    x, y = profile()
    twice = spec(x, y) + spec(x, 2 * y).replace(b"#S 2", b"#S 3")
    pattern = read_bytes(tmp_path, "a.spec", twice)
    np.testing.assert_allclose(pattern.intensity, y)
    notes = " / ".join(pattern.warnings)
    assert "S 1 ascan th 4.9 5.1 3 1" not in notes  # three points are no scan to speak of
    assert "2 scans cover the same range" in notes
    assert "0 S 2 ascan tth" in notes
    assert "'Epoch' (2)" in notes
    np.testing.assert_allclose(read_bytes(tmp_path, "a.spec", twice, scan=1).intensity, 2 * y)
    np.testing.assert_allclose(read_bytes(tmp_path, "a.spec", twice, column="Seconds").intensity, 1)


LINES = {
    "AMCSD": (
        "      X-RAY WAVELENGTH:     1.541838\n     2-THETA      INTENSITY    D-SPACING   H   K   L   Multiplicity\n",
        "{:10.2f} {:10.2f} 3.12 1 1 1 8\n",
    ),
    "HighScore": ("Pos. [°2Th.],Height [cts],FWHM [°2Th.],d-spacing [Å],Rel. Int. [%]\n", "{:.4f},{:.2f},0.1,3.1,20\n"),
    "without names": ("", "{:.3f} {:.1f}\n"),
}


@pytest.mark.parametrize("kind", LINES)
def test_lists_of_lines_are_no_scan(kind, tmp_path):
    from pymatgen.analysis.diffraction.xrd import XRDCalculator
    from pymatgen.core import Lattice, Structure

    cell = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.4), ["Si"], [[0, 0, 0]])
    found = XRDCalculator().get_pattern(cell, two_theta_range=(10, 165))
    head, form = LINES[kind]
    text = head + "".join(form.format(a, b) for a, b in zip(found.x, found.y, strict=True))
    with pytest.raises(BadInput, match=r"a list of lines"):
        read_bytes(tmp_path, "a.txt", text)


def _in_zip(raw, member, change):
    """A container with one member changed."""
    source, target = zipfile.ZipFile(io.BytesIO(raw)), io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            text = source.read(name).decode()
            archive.writestr(name, change(text) if name.endswith(member) else text)
    return target.getvalue()


def test_container_packed_anew_with_its_folder(tmp_path):
    x, y = profile()
    source, target = zipfile.ZipFile(io.BytesIO(brml(x, y))), io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            archive.writestr(f"scan of today/{name}", source.read(name))
    np.testing.assert_allclose(read_bytes(tmp_path, "a.brml", target.getvalue()).intensity, y)


def test_a_scan_that_is_not_there(tmp_path):
    """A .brml may list two scans and hold one of them, whole."""
    x, y = profile()
    one, two = (f"<string>Experiment0/RawData{i}.xml</string>" for i in (0, 1))
    raw = _in_zip(brml(x, y), "DataContainer.xml", lambda text: text.replace(one, one + two))
    pattern = read_bytes(tmp_path, "a.brml", raw)
    np.testing.assert_allclose(pattern.intensity, y)
    assert any("lacks Experiment0/RawData1.xml" in note for note in pattern.warnings)
    with pytest.raises(BadInput, match="lacks Experiment0/RawData1"):
        read_bytes(tmp_path, "a.brml", _in_zip(brml(x, y), "DataContainer.xml", lambda text: text.replace(one, two)))


def test_a_detector_driven_along_2theta(tmp_path):
    """Scan type 130 of RAW1.01: a position-sensitive detector scans (CCDC's DASH, tutorial 6); 129: it stands still."""
    x, y = profile()
    raw = bytearray(raw3(x, y))
    raw[712 + 196] = 130
    np.testing.assert_allclose(read_bytes(tmp_path, "a.raw", bytes(raw)).two_theta, x)
    raw[712 + 196] = 129
    with pytest.raises(BadInput, match="scan type 129"):
        read_bytes(tmp_path, "a.raw", bytes(raw))


def test_points_never_measured(tmp_path):
    x, y = profile()

    def unfinished(text):
        mark = '<Unit Base="Counts"/>'
        assert mark in text
        rows = text.split("<Datum>")
        rows[151:] = [
            f"0.0,0,{row.split(',')[2]},{row.split(',')[3]},-9999</Datum>" + row.partition("</Datum>")[2]
            for row in rows[151:]
        ]
        return "<Datum>".join(rows).replace(mark, mark + "<BlankingValue>-9999</BlankingValue>")

    pattern = read_bytes(tmp_path, "a.brml", _in_zip(brml(x, y), "RawData0.xml", unfinished))
    np.testing.assert_allclose(pattern.intensity, y[:150])
    assert any("50 of 200 points were not measured" in note and "ends at 24.9" in note for note in pattern.warnings)
    zeros = np.where(np.arange(len(y)) < 150, y, 0)
    for raw, name in ((raw3(x, zeros), "a.raw"), (xrdml(x, zeros), "a.xrdml"), (rasx(x, zeros), "a.rasx")):
        pattern = read_bytes(tmp_path, name, raw)
        assert len(pattern) == 150
        assert any("zeros to the end" in note for note in pattern.warnings)
    sparse = np.where(np.random.default_rng(0).random(len(y)) < 0.7, 0, 1)  # few counts: zeros are measured here
    assert len(read_bytes(tmp_path, "a.raw", raw3(x, sparse))) == 200
    aborted = bytearray(raw3(x, y))
    aborted[8] = 3
    pattern = read_bytes(tmp_path, "a.raw", bytes(aborted[:-200]))
    np.testing.assert_allclose(pattern.intensity, y[:150])
    assert any("marked aborted: 150 of 200" in note for note in pattern.warnings)
    with pytest.raises(BadInput, match="cut short"):
        read_bytes(tmp_path, "a.raw", raw3(x, y)[:-200])
    gaps = cif(x, y).decode().splitlines()
    gaps = "\n".join(line.split()[0] + " ." if line.startswith(("12.", "13.", "14.", "15.")) else line for line in gaps)
    pattern = read_bytes(tmp_path, "a.cif", gaps)
    assert len(pattern) == 160
    assert any("40 of 200 points were not measured" in note for note in pattern.warnings)


def test_fill_values_of_nexus(tmp_path):
    import h5py

    x, y = profile()
    with h5py.File(tmp_path / "a.nxs", "w") as file:
        group = file.create_group("entry/data")
        group.attrs.update(NX_class="NXdata", signal="I", axes="q")
        group.create_dataset("q", data=x).attrs["units"] = "1/nm"
        signal = group.create_dataset("I", data=np.where(np.arange(len(y)) % 4 == 3, -1, y))
        signal.attrs["_FillValue"] = -1
        file.create_dataset("entry/source/probe", data="neutron")
        file.create_dataset("entry/wavelength", data=0.15406)
    pattern = read_pattern(tmp_path / "a.nxs")
    assert len(pattern) == 150
    np.testing.assert_allclose(
        4 * np.pi * np.sin(np.radians(pattern.two_theta / 2)) / pattern.wavelength * 10, x[np.arange(200) % 4 != 3]
    )
    notes = " / ".join(pattern.warnings)
    assert "neutron" in notes
    assert "no unit: Å or nm?" in notes
    np.testing.assert_allclose(
        read_pattern(tmp_path / "a.nxs", wavelength=0.5, column="I").intensity, y[np.arange(200) % 4 != 3]
    )
    with pytest.raises(BadInput, match="an intensity named J"):
        read_pattern(tmp_path / "a.nxs", column="J")


def test_the_line_in_use_is_read_alike(tmp_path):
    x, y = profile()
    raw = _in_zip(rasx(x, y), "Conditions0.xml", lambda text: text.replace("<WaveType>Ka<", "<WaveType>Ka1<"))
    pattern = read_bytes(tmp_path, "a.rasx", raw)
    assert pattern.wavelength == KALPHA1
    assert "kalpha2" not in pattern.metadata
    ras = WRITERS["ras"][1](x, y)
    assert read_bytes(tmp_path, "a.ras", ras.replace(b'WAVE_TYPE "Ka"', b'WAVE_TYPE "Ka1"')).wavelength == KALPHA1
    zero = xrdml(x, y).replace(b"<ratioKAlpha2KAlpha1>0.5<", b"<ratioKAlpha2KAlpha1>0.0000<")
    assert read_bytes(tmp_path, "a.xrdml", zero).wavelength == KALPHA1
    nano = uxd(x, y).decode().replace(f"_WL1={KALPHA1}", f"_WL_UNIT='nm'\n_WL1={KALPHA1 / 10}")
    nano = nano.replace("_WL2=1.544426", "_WL2=0.1544426")
    assert read_bytes(tmp_path, "a.uxd", nano).wavelength == pytest.approx(MEAN)


def test_a_cif_as_it_is_published(tmp_path):
    x, y = profile()
    text = cif(x, y).decode()
    loose = text.replace(
        "data_test\n", "data_test\n_audit_creation_date  Oct 23 13:47:26 \n_diffrn_radiation_probe neutron\n"
    )
    pattern = read_bytes(tmp_path, "a.cif", loose + "vrf_PLAT741_phase_1 # for all atoms\n;\nPROBLEM: none\n;\n")
    np.testing.assert_allclose(pattern.intensity, y)
    notes = " / ".join(pattern.warnings)
    assert "line 2: the text of _audit_creation_date lacks quotation marks" in notes
    assert "neutron" in notes
    with pytest.raises(BadInput, match="belongs to no item"):
        read_bytes(tmp_path, "a.cif", text.replace("_end_of_test yes", "_end_of_test yes\nand more"))


def test_gsas_counts_stand_as_written(tmp_path):
    """GSAS writes how many counters saw a point; the counts are their sum, and the number is for the weights alone."""
    rows = ["".join(f"{3:2d}{v:6.0f}" for v in profile()[1][i : i + 10]) for i in range(0, 200, 10)]
    text = "title\nBANK 1 200 20 CONST 1000 10 0 0 STD\n" + "\n".join(rows) + "\n"
    np.testing.assert_allclose(read_bytes(tmp_path, "a.gsas", text).intensity, profile()[1])


def test_a_rounded_step(tmp_path):
    """1,524 points between 10 and 50°: the step is 0.02626°, and the header says 0.026."""
    counts = np.random.default_rng(0).poisson(60, 1524)
    rows = ["".join(f"{v:8d}" for v in counts[i : i + 10]) for i in range(0, len(counts), 10)]
    pattern = read_bytes(tmp_path, "a.dat", "  10.000   0.026  50.000\n" + "\n".join(rows) + "\n")
    np.testing.assert_allclose(pattern.two_theta, np.linspace(10, 50, 1524))
    np.testing.assert_allclose(pattern.intensity, counts)


def test_q_beyond_the_sphere_of_copper_is_kept(tmp_path):
    q = np.linspace(0.5, 25, 500)
    text = "# chi_Q chi_I\n" + "".join(f"{a:.6e} {i}\n" for i, a in enumerate(q))
    pattern = read_bytes(tmp_path, "a.chi", text)
    assert len(pattern) == 500
    np.testing.assert_allclose(2 * np.pi / pattern.d, q, rtol=1e-6)
