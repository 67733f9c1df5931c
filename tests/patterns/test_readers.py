"""Every reader against files written here, against an independent reader, and against damaged files."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pattern_files import KALPHA1, MEAN, STORED, WRITERS, mutate, profile, raw1, raw3, raw4, rigaku_raw, stoe, xrdml

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns import Pattern, read_pattern


def read_bytes(tmp_path, name, raw, **options):
    path = tmp_path / name
    path.write_bytes(raw)
    return read_pattern(path, **options)


@pytest.mark.parametrize("kind", WRITERS)
def test_round_trip(kind, tmp_path):
    name, write, found_as, wavelength = WRITERS[kind]
    x, y = profile()
    pattern = read_bytes(tmp_path, name, write(x, y))
    assert pattern.metadata["format"] == found_as
    np.testing.assert_allclose(pattern.two_theta, x, atol=2e-5)
    np.testing.assert_allclose(pattern.intensity, STORED[kind](y) if kind in STORED else y, rtol=1e-6)
    if wavelength is None:
        assert pattern.wavelength is None
        with pytest.raises(BadInput, match="anode"):
            pattern.require_wavelength()
    else:
        assert pattern.wavelength == pytest.approx(wavelength, abs=2e-6)


# What geddes 1.0.1 does not read: RAW versions 1 and 2, .asc, .udf, .cpi, HDF5, start-step-stop tables, and text with
# semicolons or decimal commas.
@pytest.mark.parametrize(
    "kind", ["xy", "xye", "chi", "rruff", "xrdml", "raw3", "raw4", "uxd", "brml", "ras", "rasx", "fxye", "gsas", "cif"]
)
def test_same_as_an_independent_reader(kind, tmp_path):
    geddes = pytest.importorskip("geddes")
    name, write, *_ = WRITERS[kind]
    path = tmp_path / name
    path.write_bytes(write(*profile(seed=3)))
    other = geddes.read(str(path))
    pattern = read_pattern(path)
    np.testing.assert_allclose(pattern.two_theta, np.asarray(other.x), atol=1e-5)
    np.testing.assert_allclose(pattern.intensity, np.asarray(other.y), rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    points=st.integers(10, 60),
    start=st.integers(700, 9000),
    separator=st.sampled_from([" ", "  ", "\t", ";", "; ", ", ", ","]),
    comma=st.booleans(),
    decimals=st.integers(2, 5),
    header=st.sampled_from(["", "2theta{}intensity\n", "# some words\n", "! a\n! b 12 3\n\n", "Sample 12, run 3\n"]),
    ending=st.sampled_from(["\n", "\r\n", "\r"]),
    tail=st.sampled_from(["", "\n\n", "##END=\n"]),
)
def test_any_way_of_writing_columns(tmp_path_factory, points, start, separator, comma, decimals, header, ending, tail):
    if comma and separator in {",", ", "}:
        separator = ";"
    x = np.round(start / 100 + 0.02 * np.arange(points), 4)
    y = np.round(np.random.default_rng(points).uniform(0, 1000, points), decimals)
    rows = "".join(f"{a:.4f}{separator}{b:.{decimals}f}\n" for a, b in zip(x, y, strict=True))
    if comma:
        rows = rows.replace(".", ",")
    text = (header.format(separator) + rows + tail).replace("\n", ending)
    pattern = read_bytes(tmp_path_factory.mktemp("columns"), "a.dat", text.encode())
    np.testing.assert_array_equal(pattern.two_theta, x)
    np.testing.assert_array_equal(pattern.intensity, y)


def test_ranges_are_joined_and_repeats_added(tmp_path):
    x, y = profile()
    for raw in (raw1(x, y, ranges=2), raw3(x, y, ranges=3), rigaku_raw(x, y, ranges=2)):
        pattern = read_bytes(tmp_path, "a.raw", raw)
        np.testing.assert_allclose(pattern.two_theta, x, atol=1e-5)
        np.testing.assert_allclose(pattern.intensity, y)
        assert any("ranges joined" in note for note in pattern.warnings)
    pattern = read_bytes(tmp_path, "a.xrdml", xrdml(x, y, scans=3))
    np.testing.assert_allclose(pattern.intensity, 3 * y)
    assert pattern.metadata["repeats_added"] == 3
    assert pattern.metadata["time_per_point_s"] == pytest.approx(61.2)
    one = read_bytes(tmp_path, "a.xrdml", xrdml(x, y, scans=3), scan=1)
    np.testing.assert_allclose(one.intensity, y)
    with pytest.raises(BadInput, match="no scan 3"):
        read_bytes(tmp_path, "a.xrdml", xrdml(x, y, scans=3), scan=3)


def test_ranges_of_different_counting_time_become_rates(tmp_path):
    low, high = profile(start=10), profile(start=25, seed=1)  # 10…29.9 and 25…44.9
    blocks = "".join(
        f"_DRIVE='COUPLED'\n_STEPTIME={t}\n_STEPSIZE=0.1\n_START={x[0]}\n_COUNTS\n"
        + " ".join(f"{v:.0f}" for v in y)
        + "\n"
        for t, (x, y) in ((2.0, low), (10.0, high))
    )
    pattern = read_bytes(tmp_path, "a.uxd", f"_FILEVERSION=2\n{blocks}".encode())
    assert pattern.unit == "cps"
    assert len(pattern) == 350
    np.testing.assert_allclose(pattern.intensity[:150], low[1][:150] / 2)
    np.testing.assert_allclose(pattern.intensity[150:], high[1] / 10)  # the longer count wins in the overlap


@pytest.mark.parametrize(
    ("options", "wavelength"),
    [
        ({"monochromator": 2}, KALPHA1),  # curved Ge(111)
        ({"monochromator": 102}, KALPHA1),  # the same, motorised
        ({"monochromator": 1}, MEAN),  # secondary
        ({"history": 1 << 7}, KALPHA1),  # Kα2 stripped
        ({"version": b"1.03", "form": 1, "factor": 2.0}, MEAN),  # scaled counts in 16 bits
        ({"version": b"1.05", "extra": 500, "form": 1}, MEAN),  # many records before the first range
    ],
)
def test_stoe_as_its_maker_declares_it(options, wavelength, tmp_path):
    x, y = profile()
    pattern = read_bytes(tmp_path, "a.raw", stoe(x, y, **options))
    np.testing.assert_allclose(pattern.two_theta, x, atol=2e-5)
    np.testing.assert_allclose(pattern.intensity, y)
    assert pattern.wavelength == pytest.approx(wavelength, abs=2e-6)
    assert (pattern.metadata["anode"], pattern.metadata["sample"]) == ("Cu", "test")
    assert pattern.metadata["time_per_point_s"] == 30.0
    assert not pattern.warnings


def test_stoe_ranges(tmp_path):
    x, y = profile()
    parts = [(x[:80], y[:80]), (x[80:], y[80:])]
    for scans, options, counts, words in (
        (parts, {}, y, "ranges joined"),
        (parts, {"planned": 3}, y, "2 of 3 ranges were measured"),
        (None, {"copies": 2}, y, "repeats the one before number by number"),
        (
            [(x, np.where(x < 25, y, 0))] * 2,
            {},
            y[x < 25],
            "repeats the one before number by number",
        ),  # both unfinished
        ([(x, y), (x, y + 1)], {"usage": 6}, 2 * y + 1, None),  # the scan was repeated
        ([(x, y), (x, y + 1)], {"usage": 4}, y, "--scan"),  # at another temperature
        (None, {"current": 1}, y, "going on"),
        (None, {"data_type": 2}, y, "calculated, not measured"),
        (None, {"history": 1 << 5}, y, "it was smoothed"),
    ):
        pattern = read_bytes(tmp_path, "a.raw", stoe(x, y, scans, **options))
        np.testing.assert_allclose(pattern.two_theta, x[: len(counts)], atol=2e-5)
        np.testing.assert_allclose(pattern.intensity, counts)
        assert words is None or words in " ".join(pattern.warnings), pattern.warnings
    with pytest.raises(BadInput, match="omega scan"):
        read_bytes(tmp_path, "a.raw", stoe(x, y, scan_type=2))
    raw = bytearray(stoe(x, y))
    raw[-512:-508] = b"\xff\xff\xff\x00"
    with_a_flaw = read_bytes(tmp_path, "a.raw", bytes(raw))
    assert "the header says" in " ".join(with_a_flaw.warnings)


@pytest.mark.parametrize(
    ("header", "axis", "convert"),
    [
        ("q (1/A) I", None, lambda q, wl: 2 * np.degrees(np.arcsin(q * wl / (4 * np.pi)))),
        ("q (nm^-1) I", None, lambda q, wl: 2 * np.degrees(np.arcsin(q / 10 * wl / (4 * np.pi)))),
        ("d-spacing I", None, lambda d, wl: 2 * np.degrees(np.arcsin(wl / (2 * d)))),
        ("2theta(rad) I", None, lambda x, wl: np.degrees(x)),
        ("x y", "q", lambda q, wl: 2 * np.degrees(np.arcsin(q * wl / (4 * np.pi)))),
        ("x y", "d", lambda d, wl: 2 * np.degrees(np.arcsin(wl / (2 * d)))),
    ],
)
def test_other_axes(header, axis, convert, tmp_path):
    x = np.round(np.linspace(0.9, 2.9, 100), 5)
    y = np.arange(100.0)
    text = header.replace(" I", "\tI").replace(" y", "\ty") + "\n"
    text += "".join(f"{a:.5f}\t{b:.1f}\n" for a, b in zip(x, y, strict=True))
    pattern = read_bytes(tmp_path, "a.dat", text.encode(), axis=axis, anode="Mo")
    wavelength = pattern.require_wavelength()
    expected = convert(x, wavelength)
    order = np.argsort(expected)
    np.testing.assert_allclose(pattern.two_theta, expected[order])
    np.testing.assert_allclose(pattern.intensity, y[order])


EXPORTS = {
    "PANalytical CSV": (
        "[Measurement conditions]\nSample identification,a test\nK-Alpha1 wavelength,1.540598\n"
        "K-Alpha2 wavelength,1.544426\nRatio K-Alpha2/K-Alpha1,0.5\nScan step size,0.1\n[Scan points]\n"
        "Angle,TimePerStep,Intensity,ESD\n",
        "{0:.4f},40.005,{1:.0f},3.5\n",
        MEAN,
    ),
    "Bruker ASCII": (
        ";RAW4.00\n[SampleHeader]\nSample=test\n[Wavelength]\nWL1=1.540598\nWL2=1.544426\n[Data]\n"
        "Angle, Det1Disc1Discr1,\n",
        "     {0:.5f},  {1:.0f},\n",
        MEAN,
    ),
    "Kα1 named": ('"Radiation: Cu Ka1"\n2Theta (deg)\tI (cps)\n', "{0:.4f}\t{1:.1f}\n", 1.5405929),
    "anode named": ("# Anode: Co\n# 2theta  counts\n", "{0:.4f}  {1:.1f}\n", 1.790276),
    "nanometres": ("Wavelength = 0.154056 nm\n\n", "{0:.4f} {1:.1f}\n", 1.54056),
    "index column": ("no  twotheta  dspacing  yobs\n", "7  {0:.4f}  4.2  {1:.1f}\n", None),
    "monitor": ("2theta counts monitor\n", "{0:.4f} {1:.1f} 1000\n", None),
    "date at the end": ("tth intensity day\n", "{0:.4f} {1:.1f} 07/07/2022\n", None),
    "footer": ("", "{0:.4f} {1:.1f}\n", None),
}


@pytest.mark.parametrize("kind", EXPORTS)
def test_headers_of_programs(kind, tmp_path):
    head, form, wavelength = EXPORTS[kind]
    x, y = profile()
    text = head + "".join(form.format(a, b) for a, b in zip(x, y, strict=True)) + "\n" * 3
    text += "end of scan\n" if kind == "footer" else ""
    pattern = read_bytes(tmp_path, "a.txt", text.encode())
    np.testing.assert_allclose(pattern.two_theta, x, atol=1e-4)
    np.testing.assert_allclose(pattern.intensity, y)
    assert pattern.wavelength == (None if wavelength is None else pytest.approx(wavelength, abs=2e-6))


def test_a_monitor_that_drifts_is_divided_out(tmp_path):
    x, y = profile()
    beam = np.linspace(1000, 500, len(x))
    rows = "".join(f"{a:.4f} {b * m / 1000:.6f} {m:.3f}\n" for a, b, m in zip(x, y, beam, strict=True))
    pattern = read_bytes(tmp_path, "a.dat", ("2theta counts monitor\n" + rows).encode())
    np.testing.assert_allclose(pattern.intensity / y, np.full(len(x), pattern.intensity[0] / y[0]), rtol=1e-4)
    assert pattern.metadata["normalised_by_monitor"]


def test_wavelength_of_the_caller(tmp_path):
    x, y = profile()
    name, write, *_ = WRITERS["xrdml"]
    pattern = read_bytes(tmp_path, name, write(x, y), wavelength=1.79)
    assert pattern.wavelength == 1.79
    assert any("the given 1.79" in note for note in pattern.warnings)
    assert "kalpha2" not in pattern.metadata
    pattern = read_bytes(tmp_path, "a.xy", WRITERS["xy"][1](x, y), anode="cu")
    assert pattern.wavelength == pytest.approx(1.54187, abs=1e-5)
    assert pattern.metadata["kalpha2"] == pytest.approx(1.54443, abs=1e-5)
    for options, words in (
        ({"anode": "Cz"}, "Cz"),
        ({"wavelength": 154.0}, "plausible"),
        ({"wavelength": 1.5, "anode": "Cu"}, "not both"),
        ({"axis": "theta"}, "two_theta"),
    ):
        with pytest.raises(BadInput, match=words):
            read_pattern(tmp_path / "a.xy", **options)


def test_anodes_agree_with_tabulated_wavelengths():
    from pymatgen.analysis.diffraction.xrd import WAVELENGTHS

    from simxrd_hf.patterns import ANODES

    for anode, (first, second) in ANODES.items():
        assert first == pytest.approx(WAVELENGTHS[f"{anode}Ka1"], rel=2e-4)
        assert second == pytest.approx(WAVELENGTHS[f"{anode}Ka2"], rel=2e-4)


def _xy_lines():
    x, y = profile()
    return [f"{a:.4f} {b:.0f}" for a, b in zip(x, y, strict=True)]


def _damaged(change):
    lines = _xy_lines()
    change(lines)
    return "\n".join(lines).encode()


def _set(index, text):
    return lambda lines: lines.__setitem__(index, text)


BAD = {
    "empty": (b"", "empty"),
    "blank": (b"\n \n\t\n", "empty"),
    "words": (b"dear colleague,\nhere is the scan\n", "no table"),
    "few rows": (b"10 1\n11 2\n12 3\n", "only 3 rows"),
    "binary junk": (bytes(range(256)) * 4, "binary"),
    "back in the middle": (_damaged(_set(50, "12.0000 5")), "line 51"),
    "word in the middle": (_damaged(_set(50, "15.0000 abc")), "line 51"),
    "column lost": (_damaged(_set(50, "15.0000")), "line 51"),
    "column won": (_damaged(_set(50, "15.0000 7 7")), "line 51"),
    "mixed marks": (_damaged(_set(50, "15,0000 7")), "line 51 mixes decimal marks"),
    "mixed marks, semicolons": (
        "\n".join(f"{10 + i / 10:.1f};{i},5".replace(".", "," if i != 30 else ".") for i in range(60)).encode(),
        "line 31",
    ),
    "too large an angle": (_damaged(_set(199, "213.0 5")), "line 200"),
    "not counts": (_damaged(_set(50, "15.0000 1e300")), "line 51"),
    "radians": (
        "\n".join(f"{np.radians(5 + i / 10):.6f} {i}" for i in range(500)).encode(),
        "radians",
    ),
    "many gaps": (
        _damaged(lambda lines: [_set(i, f"{10 + i / 10:.1f} nan")(lines) for i in range(0, 200, 3)]),
        "line 1",
    ),
    "one angle only": ("\n".join(["10.0 5"] * 100).encode(), "line 1"),
    "stoe without a range": (b"RAW_1.06Powdat\0" + bytes(2000), "no range was measured"),
    "stoe, another version": (b"RAW_2.00Powdat\0" + bytes(2000), "version '2.00'"),
    "rigaku without a range": (b"FI\0\0" + bytes(2000), "no measured range"),
    "rigaku, another layout": (rigaku_raw(*profile(), bundle=1872 + 16), "layout that is not known .BU has 1888 bytes"),
    "rigaku, one bit": (rigaku_raw(*profile())[:-1] + b"\x45", "the sum of the block at offset 3138"),
    "rigaku, far too many points": (rigaku_raw(*profile(), count=4_000_000_000), "4000000000 points announced"),
    "rigaku, steps past the end": (rigaku_raw(*profile(), step=0.2), "pass the end"),
    "html": (b"<html><body>404</body></html>", "<html>"),
    "structure cif": (b"data_x\n_cell_length_a 5.0\nloop_\n_atom_site_label\nNa\n", "no measured pattern"),
    "entity bomb": (
        b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]><xrdMeasurements>&c;'
        b"</xrdMeasurements>",
        "document type",
    ),
    "deep xml": (b"<xrdMeasurements>" + b"<a>" * 5000, "nested"),
    "time of flight": (b"title\nBANK 1 100 10 SLOG 1000 2000 0.0004 0 FXYE\n" + b"1 2 3\n" * 100, "time of flight"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_named(case, tmp_path):
    raw, words = BAD[case]
    for name in ("a.xy", "a.raw", "a.xrdml"):
        with pytest.raises(BadInput, match=words) as caught:
            read_bytes(tmp_path, name, raw)
        assert name in str(caught.value)


# One row after the other, each whole: a file cut short is a shorter scan.
READ_WHEN_CUT = {"xy", "xye", "csv_named", "csv_decimal_comma", "tsv_utf16", "chi", "rruff", "uxd_pairs", "cif"}
READ_WHEN_CUT |= {"pyfai", "chi_padded", "csv_quoted", "spec"}
READ_WHEN_CUT |= {"stoe"}  # the last record is filled up with zeros


@pytest.mark.parametrize("kind", WRITERS)
def test_cut_short(kind, tmp_path):
    """A file cut anywhere is refused, or read as far as it goes with nothing invented."""
    name, write, *_ = WRITERS[kind]
    x, y = profile()
    raw = write(x, y)
    for share in (0.1, 0.35, 0.6, 0.85, 0.97):
        try:
            pattern = read_bytes(tmp_path, name, raw[: int(share * len(raw))])
        except BadInput as error:
            assert name in str(error)
            continue
        assert kind in READ_WHEN_CUT
        n = len(pattern)
        np.testing.assert_allclose(pattern.two_theta, x[:n], atol=1e-4)
        np.testing.assert_allclose(pattern.intensity[: n - 1], y[: n - 1])


def test_doubtful_files_are_read_with_a_warning(tmp_path):
    lines = _xy_lines()
    lines[20] = lines[20].split()[0] + " nan"
    lines[30] = lines[30].split()[0] + " -5"
    lines[40] = lines[39]
    pattern = read_bytes(tmp_path, "a.xy", "\n".join(lines).encode())
    text = " / ".join(pattern.warnings)
    assert "line 21" in text
    assert "negative" in text
    assert "line 41" in text
    assert len(pattern) == 198
    x, y = profile()
    twice = WRITERS["xy"][1](x, y) + WRITERS["xy"][1](x, y + 1)
    pattern = read_bytes(tmp_path, "a.xy", twice)
    assert "line 201" in " ".join(pattern.warnings)
    np.testing.assert_allclose(pattern.intensity, y)
    down = WRITERS["xy"][1](x[::-1], y[::-1])
    with pytest.raises(BadInput, match=r"falls from 29\.9 to 10 without a unit"):  # d falls where 2θ rises
        read_bytes(tmp_path, "a.xy", down)
    np.testing.assert_allclose(read_bytes(tmp_path, "a.xy", down, axis="two_theta").intensity, y)
    np.testing.assert_allclose(read_bytes(tmp_path, "a.xy", b"2theta counts\n" + down).intensity, y)


def test_scans_of_two_wavelengths(tmp_path):
    x, y = profile()
    one = xrdml(x, y).decode()
    body = one[one.index("<xrdMeasurement ") : one.index("</xrdMeasurements>")]
    both = one.replace("</xrdMeasurements>", body.replace("1.540598", "1.788996").replace("1.544426", "1.792835"))
    both += "</xrdMeasurements>"
    with pytest.raises(BadInput, match="different wavelengths"):
        read_bytes(tmp_path, "a.xrdml", both.encode())
    assert read_bytes(tmp_path, "a.xrdml", both.encode(), scan=0).wavelength == pytest.approx(MEAN)


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "a.xy"
    with path.open("wb") as file:
        file.truncate(2 * 2**30)  # sparse: no disk, and nothing of it may be read
    with pytest.raises(BadInput, match="2,048 MiB"):
        read_pattern(path)
    with pytest.raises(BadInput, match="no such file"):
        read_pattern(tmp_path / "missing.xy")
    with pytest.raises(BadInput, match="not a file"):
        read_pattern(tmp_path)


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Data0/Profile0.txt", b" " * (65 * 2**20))
    with pytest.raises(BadInput, match="8 MiB"):
        read_bytes(tmp_path, "a.rasx", buffer.getvalue())


def test_raw4_with_plain_records(tmp_path):
    x, y = profile()
    np.testing.assert_allclose(read_bytes(tmp_path, "a.raw", raw4(x, y, stride=4)).intensity, y)


def check_invariants(pattern: Pattern) -> None:
    """What must hold for everything a reader lets through."""
    assert pattern.two_theta.dtype == pattern.intensity.dtype == np.float64
    assert pattern.two_theta.shape == pattern.intensity.shape
    assert len(pattern) >= 10
    assert np.isfinite(pattern.two_theta).all()
    assert np.isfinite(pattern.intensity).all()
    assert (np.diff(pattern.two_theta) > 0).all()
    assert pattern.two_theta[0] > 0
    assert pattern.two_theta[-1] < 180
    assert pattern.wavelength is None or 0.05 <= pattern.wavelength <= 5


@pytest.mark.parametrize("kind", WRITERS)
def test_mutated_files(kind, tmp_path):
    """A small part of the campaign in benchmarks/fuzz_readers.py."""
    name, write, *_ = WRITERS[kind]
    original = write(*profile())
    rng = random.Random(f"{kind} in the tests")
    path = tmp_path / name
    for _ in range(100):
        path.write_bytes(mutate(original, rng))
        try:
            pattern = read_pattern(path)
        except BadInput as error:
            assert name in str(error)
        else:
            check_invariants(pattern)
