"""Measured files made to harm: each is refused in one line, within bounds, and shows nothing of other files."""

import io
import time
import zipfile

import numpy as np
import pytest
from pattern_files import WRITERS, profile

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns import read_pattern
from simxrd_hf.patterns.guard import is_plain
from simxrd_hf.patterns.reading import pattern_of

h5py = pytest.importorskip("h5py")
X, Y = profile()


def nexus(fill):
    """A NeXus file whose data group `fill` completes."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        group = file.create_group("entry/data")
        group.attrs.update(NX_class="NXdata", signal="counts", axes="two_theta")
        group.create_dataset("two_theta", data=X).attrs["units"] = "degree"
        fill(group)
    return buffer.getvalue()


def external_storage(secret):
    def fill(group):
        # numbers made of the bytes of another file
        group.create_dataset("counts", (len(X),), "u1", external=[(str(secret), 0, h5py.h5f.UNLIMITED)])

    return fill


def external_link(secret):
    def fill(group):
        group["counts"] = h5py.ExternalLink(str(secret), "/entry/data/counts")

    return fill


def soft_link_over_an_external_one(secret):
    def fill(group):
        group["away"] = h5py.ExternalLink(str(secret), "/entry")
        group["counts"] = h5py.SoftLink("away/data/counts")

    return fill


def virtual(secret):
    def fill(group):
        layout = h5py.VirtualLayout((len(X),), "f8")
        layout[:] = h5py.VirtualSource(str(secret), "/entry/data/counts", (len(X),))
        group.create_virtual_dataset("counts", layout)

    return fill


@pytest.mark.parametrize("kind", [external_storage, external_link, soft_link_over_an_external_one, virtual])
def test_hdf5_that_names_another_file_is_refused_by_name(kind, tmp_path):
    secret = tmp_path / "secret.h5"
    secret.write_bytes(nexus(lambda group: group.create_dataset("counts", data=Y)))
    path = tmp_path / "a.nxs"
    path.write_bytes(nexus(kind(secret)))
    with pytest.raises(BadInput, match=r"a\.nxs: /entry/data/counts is .*only data in the file itself are read"):
        read_pattern(path)
    if kind is not external_storage:  # that library would read it
        with h5py.File(path) as file:
            assert np.array_equal(file["entry/data/counts"][()], Y)


def test_hdf5_with_links_of_its_own_is_read(tmp_path):
    def fill(group):
        group.file["elsewhere"] = Y
        group["counts"] = h5py.SoftLink("/elsewhere")
        group["detector"] = h5py.ExternalLink("frames.h5", "/frames")  # no part of the profile

    path = tmp_path / "a.nxs"
    path.write_bytes(nexus(fill))
    assert np.array_equal(read_pattern(path).intensity, Y)


@pytest.mark.parametrize("kind", WRITERS)
def test_the_process_gives_what_the_reader_gives(kind, tmp_path):
    name, write, *_ = WRITERS[kind]
    raw = write(X, Y)
    (tmp_path / name).write_bytes(raw)
    one, other = read_pattern(tmp_path / name), pattern_of(raw, name)
    assert np.array_equal(one.two_theta, other.two_theta) and np.array_equal(one.intensity, other.intensity)
    assert (one.wavelength, one.unit, one.warnings, one.path) == (
        other.wavelength,
        other.unit,
        other.warnings,
        other.path,
    )
    assert dict(one.metadata) == dict(other.metadata)
    structured = WRITERS[kind][2] in {"xrdml", "brml", "rasx", "cif", "nexus"} or kind == "tsv_utf16"
    assert is_plain(raw) == (not structured)


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def many_times_one_member():
    reference = "<Entry>Experiment0/RawData0.xml</Entry>" * 4000
    manifest = f"<Root><RawDataReferenceList>{reference}</RawDataReferenceList></Root>"
    data = b"<Raw>" + b"<Datum>1,2,3,4,5</Datum>" * 100_000 + b"</Raw>"
    return zipped([("Experiment0/DataContainer.xml", manifest), ("Experiment0/RawData0.xml", data)])


BOMBS = {
    "one member of .brml named 4000 times": ("a.brml", many_times_one_member),
    "rows without end in .rasx": ("a.rasx", lambda: zipped([("Data0/Profile0.txt", b"1 2 3\n" * 9_000_000)])),
    "rows below the bound in .rasx": ("a.rasx", lambda: zipped([("Data0/Profile0.txt", b"1 2 3\n" * 1_300_000)])),
    "blanks in .rasx": ("a.rasx", lambda: zipped([("Data0/Profile0.txt", bytes([32]) * 60_000_000)])),
    "many members": ("a.rasx", lambda: zipped([(f"Data{i}/Profile0.txt", b"1 2 3\n" * 20_000) for i in range(60)])),
    "elements without end in XML": ("a.xrdml", lambda: b"<a>" + b"<b/>" * 260_000 + b"</a>"),
    "attributes in XML": ("a.xrdml", lambda: b"<a>" + b'<b c="1" d="2"/>' * 60_000 + b"</a>"),
    "depth in XML": ("a.xrdml", lambda: b"<a>" * 300_000),
    "entities in XML": (
        "a.xrdml",
        lambda: b'<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><a>' + b"&d;" * 1000 + b"</a>",
    ),
    "a loop in CIF": ("a.cif", lambda: b"data_a\nloop_\n_pd_meas_counts_total\n" + b"1\n" * 490_000),
    "names in CIF": ("a.cif", lambda: b"data_a\nloop_\n" + b"".join(b"_n%d\n" % i for i in range(110_000)) + b"1 2\n"),
    "quotes in CIF": ("a.cif", lambda: b"data_a\n_b '" + b"'a" * 450_000),
    "one line of numbers": ("a.xy", lambda: b"1 " * 500_000),
    "short lines": ("a.xy", lambda: b"1 1\n" * 250_000),
    "empty lines": ("a.xy", lambda: b"\n" * 1_000_000),
    "separators": ("a.csv", lambda: (b"," * 5000 + b"\n") * 199),
    "lines of long numbers": ("a.xy", lambda: (b"1" * 4000 + b"x 2\n") * 120),
    "a number of a million digits": ("a.xy", lambda: b"1" * 1_000_000 + b" 2\n"),
    "a header without end": ("a.ras", lambda: b"*RAS_HEADER_START\n" + b'*A "b"\n' * 140_000),
    "a chunk that unpacks to 400 MB": ("a.nxs", lambda: nexus(large_chunk)),
    "groups without end": ("a.nxs", lambda: nexus(lambda g: [g.create_group(f"g{i}") for i in range(1200)])),
}


def large_chunk(group):
    space = h5py.h5s.create_simple((len(X),), (h5py.h5s.UNLIMITED,))
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((50_000_000,))
    properties.set_deflate(9)
    made = h5py.h5d.create(group.id, b"counts", h5py.h5t.NATIVE_DOUBLE, space, properties)
    made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.zeros(len(X)))


@pytest.mark.parametrize("what", BOMBS)
def test_small_files_cost_little(what, tmp_path):
    name, make = BOMBS[what]
    raw = make()
    assert len(raw) < 2**20
    (tmp_path / name).write_bytes(raw)
    began = time.process_time()
    with pytest.raises(BadInput) as caught:
        read_pattern(tmp_path / name)
    assert "\n" not in str(caught.value) and name in str(caught.value)
    assert time.process_time() - began < 4
