"""RRUFF's archives, rebuilt small in their layout: list, labels, flags; downloads from a server that misbehaves."""

import csv
import http.server
import io
import threading
import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest

from simxrd_hf.errors import BadInput
from simxrd_hf.identify.measured_scores import clusters, read_table
from simxrd_hf.patterns import rruff

X = np.arange(5, 90, 0.05)


def pattern(seed=0, *, noise=True, scale=1.0):
    y = 20 + sum(h * np.exp(-(((X - c) / 0.2) ** 2)) for c, h in ((20 + seed, 900), (31, 400), (45, 250), (60, 700)))
    y = scale * y
    return np.random.default_rng(seed).poisson(y).astype(float) if noise else y


def powder(mineral, sample, y, *, wavelength="##X-RAY WAVELENGTH=1.541838\n", extra="", chemistry="Si_O_2_"):
    head = (
        f"##NAMES={mineral}\n##RRUFFID={sample}\n##IDEAL CHEMISTRY={chemistry}\n##LOCALITY=a test\n##SOURCE=nobody\n"
        f"##STATUS=The identification has been confirmed by X-ray diffraction\n{extra}{wavelength}"
    )
    return head + "".join(f"{a:.4f}, {b:.5f}\n" for a, b in zip(X, y, strict=True)) + "##END=\n"


def dif(mineral, symbol, cell="4.9134 4.9134 5.4052 90 90 120"):
    return (
        f"      {mineral}\n      A. Nobody\n      American Mineralogist 1, 1-2\n"
        f"      CELL PARAMETERS:   {cell}\n      SPACE GROUP: {symbol}     \n      X-RAY WAVELENGTH:     1.541838\n"
        "      MAX. ABS. INTENSITY / VOLUME**2:      57.86\n"
        "               2-THETA      INTENSITY    D-SPACING   H   K   L\n"
        "                20.86         21.48        4.2574    1   0   0\n"
        "===============================================================================\n"
    )


def archive(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in members.items():
            file.writestr(name, text)
    return buffer.getvalue()


def name(mineral, sample, kind, number, part="1"):
    what = {"raw": "Xray_Data_XY_RAW", "processed": "Xray_Data_XY_Processed", "dif": "DIF_File"}[kind]
    return f"{mineral}__{sample}-{part}__Powder__{what}__{number}.txt"


@pytest.fixture
def archives():
    processed = {
        name("Quartz", "R040031", "processed", 1): powder("Quartz", "R040031", pattern(0)),
        name("Quartz", "R050125", "processed", 2): powder("Quartz", "R050125", pattern(0, scale=3)),
        name("Zincite", "R060027", "processed", 3): powder("Zincite", "R060027", pattern(2, noise=False)),
        name("Calcite", "R040070", "processed", 4): powder(
            "Calcite", "R040070", pattern(3), extra="##DESCRIPTION=Calculated from the structure\n"
        ),
        name("Nobodyite", "R990001", "processed", 5): powder("Nobodyite", "R990001", pattern(4)),
        name("Rutile", "R040049", "processed", 6): powder("Rutile", "R040049", pattern(5), wavelength=""),
        name("Torn", "R990002", "processed", 7): powder("Torn", "R990002", pattern(6))[:300] + "12.0 x\n13.0 y\n",
        name("Split", "R990003", "processed", 8): powder("Split", "R990003", pattern(7)),
        "__MACOSX/._junk.txt": "junk",
    }
    raw = {name("Quartz", "R040031", "raw", 11): powder("Quartz", "R040031", 50 + pattern(0))}
    difs = {
        name("Quartz", "R040031", "dif", 21): dif("Quartz", "P3_221"),
        name("Zincite", "R060027", "dif", 22): dif("Zincite", "P6_3mc"),
        name("Calcite", "R040070", "dif", 23): dif("Calcite", "R-3c"),
        name("Rutile", "R040049", "dif", 24): dif("Rutile", "P4_2/mnm"),
        name("Torn", "R990002", "dif", 25): dif("Torn", "*Fd3m"),
        name("Split", "R990004", "dif", 26): dif("Split", "Pnma"),
        name("Split", "R990005", "dif", 27): dif("Split", "P2_1/n"),
        name("Odd", "R990006", "dif", 28): "no label here\n",
    }
    return {rruff.PROCESSED: archive(processed), rruff.RAW: archive(raw), rruff.DIF: archive(difs)}


def test_list_and_table(archives, tmp_path, capsys):
    for file, raw in archives.items():
        (tmp_path / file).write_bytes(raw)
    assert rruff.main(["--output", str(tmp_path / "out"), "--archives", str(tmp_path)]) == 0
    assert "9  files" in capsys.readouterr().out
    with (tmp_path / "out" / "rruff_files.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["member"]: row for row in csv.DictReader(file)}
    assert len(rows) == 9
    by_mineral = {f"{r['mineral']} {r['rruff_id']} {r['kind']}": r for r in rows.values()}
    quartz = by_mineral["Quartz R040031 processed"]
    assert (quartz["space_group"], quartz["measured"], quartz["left_out"]) == ("154", "measured", "")
    assert quartz["chemistry"] == "Si_O_2_"
    assert quartz["cell"] == "4.9134 4.9134 5.4052 90 90 120"
    assert float(quartz["wavelength"]) == 1.541838
    assert len(quartz["sha256"]) == 64
    assert by_mineral["Quartz R050125 processed"]["label_basis"] == "DIF files of other samples of the mineral"
    assert by_mineral["Zincite R060027 processed"]["left_out"] == "smooth"
    assert by_mineral["Calcite R040070 processed"]["left_out"] == "calculated"
    assert by_mineral["Nobodyite R990001 processed"]["left_out"].startswith("no DIF file")
    assert by_mineral["Rutile R040049 processed"]["left_out"] == "no wavelength"
    assert by_mineral["Torn R990002 processed"]["left_out"].startswith("not readable: ")
    assert by_mineral["Split R990003 processed"]["left_out"].endswith("disagree")

    table = read_table(tmp_path / "out" / "rruff_patterns.parquet")
    assert [row["source"] for row in table] == ["RRUFF processed", "RRUFF processed", "RRUFF raw"]
    assert [row["label_confidence"] for row in table] == ["high", "medium", "high"]
    assert len(set(clusters(table))) == 1  # one mineral, three files
    np.testing.assert_allclose(table[0]["intensity"], pattern(0))
    np.testing.assert_allclose(table[0]["two_theta"], X, rtol=1e-6)
    full = pq.read_table(tmp_path / "out" / "rruff_patterns.parquet")
    assert full["crystal_system"].to_pylist() == [5, 5, 5]


def test_missing_or_broken_archives(archives, tmp_path, capsys):
    assert rruff.main(["--output", str(tmp_path / "out"), "--archives", str(tmp_path)]) == 2
    assert "XY_Processed.zip" in capsys.readouterr().err
    for file, raw in archives.items():
        (tmp_path / file).write_bytes(raw[: len(raw) // 2])
    with pytest.raises(BadInput, match="broken ZIP"):
        rruff.build(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("symbol", "number"),
    [
        ("P-1", 2), ("C-1", 2), ("P2_1/c", 14), ("P2_1/n", 14), ("I2/a", 15), ("A2/m", 12), ("Pbnm", 62),
        ("*Fd3m", 227), ("Fd-3m", 227), ("Fm3m", 225), ("R-3c", 167), ("Ia3d", 230), ("Pa3", 205), ("P6_3/mmc", 194),
        ("*I4_1/amd", 141), ("Bbmm", 63), ("Cmca", 64), ("Bmab", 64), ("P3_221", 154), ("Pn2_1a", 33), ("Xyz", None),
    ],
)  # fmt: skip
def test_symbols_of_mineralogists(symbol, number):
    assert rruff.space_group_number(symbol) == number


def test_noise_tells_measured_from_calculated():
    assert rruff.line_noise(pattern(0)) > 0.02
    assert rruff.line_noise(np.round(pattern(0, noise=False))) < rruff._SMOOTH
    assert rruff.line_noise(np.zeros(100)) is None


class Server(http.server.BaseHTTPRequestHandler):
    """Serves one file; breaks off the first answers after `cut` bytes, as a bad line does."""

    content = b""
    cuts: list[int] = []  # noqa: RUF012 - set by the test
    ranges: list[str] = []  # noqa: RUF012

    def do_GET(self):
        if self.path != "/a.zip":
            self.send_error(404)
            return
        start = 0
        if header := self.headers.get("Range"):
            self.ranges.append(header)
            start = int(header.removeprefix("bytes=").rstrip("-"))
        if start >= len(self.content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(self.content) - start))
        self.end_headers()
        body = self.content[start:]
        if self.cuts:
            body = body[: self.cuts.pop(0)]
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(archives):
    Server.content, Server.cuts, Server.ranges = archives[rruff.PROCESSED], [], []
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


def test_download_continues_after_a_break(server, tmp_path):
    Server.cuts = [1000, 500]
    path = rruff.fetch(f"{server}/a.zip", tmp_path / "a.zip", pause=0.01)
    assert path.read_bytes() == Server.content
    assert Server.ranges == ["bytes=1000-", "bytes=1500-"]
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]
    Server.content = b"another"
    assert len(rruff.fetch(f"{server}/a.zip", path).read_bytes()) > 1500  # what is there is not fetched again


def test_download_that_fails_says_how_to_go_on(server, tmp_path):
    with pytest.raises(rruff.FetchError, match=r"404 .*browser"):
        rruff.fetch(f"{server}/b.zip", tmp_path / "b.zip", pause=0.01)
    with pytest.raises(rruff.FetchError, match="browser"):
        rruff.fetch("http://127.0.0.1:9/a.zip", tmp_path / "c.zip", attempts=2, pause=0.01)
    Server.cuts = [100] * 9
    with pytest.raises(rruff.FetchError, match="the connection ended after"):
        rruff.fetch(f"{server}/a.zip", tmp_path / "a.zip", attempts=2, pause=0.01)
    assert (tmp_path / "a.zip.part").stat().st_size == 200
    assert not (tmp_path / "a.zip").exists()
    Server.cuts, Server.content = [], b"<html>moved</html>" * 100
    (tmp_path / "a.zip.part").unlink()
    with pytest.raises(rruff.FetchError, match="no ZIP file"):
        rruff.fetch(f"{server}/a.zip", tmp_path / "a.zip", attempts=2, pause=0.01)
    assert not list(tmp_path.glob("a.zip*"))


def test_no_network_is_exit_code_1(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(rruff.time, "sleep", lambda seconds: None)
    assert rruff.main(["--output", str(tmp_path), "--url", "http://127.0.0.1:9"]) == 1
    assert "could not be fetched" in capsys.readouterr().err
    assert rruff.main(["--output", str(tmp_path), "--url", "file:///etc"]) == 2
