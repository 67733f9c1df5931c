"""Sources over HTTP against servers on loopback: OPTIMADE, the Hub, the Materials Project's client where installed."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from pymatgen.core import Lattice, Structure

from simxrd_hf.crystals import prototypes, read_crystals, write_crystals
from simxrd_hf.errors import BadInput

CUBE = [[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.0]]


def _record(name: str, **attributes) -> dict:
    base = {
        "lattice_vectors": CUBE,
        "cartesian_site_positions": [[0, 0, 0], [2, 2, 2]],
        "species_at_sites": ["Cs", "Cl"],
        "species": [
            {"name": "Cs", "chemical_symbols": ["Cs"], "concentration": [1.0]},
            {"name": "Cl", "chemical_symbols": ["Cl"], "concentration": [1.0]},
        ],
        "nperiodic_dimensions": 3,
    }
    return {"id": name, "type": "structures", "attributes": {**base, **attributes}}


RECORDS = [
    _record("cscl"),
    _record("half", species=[
        {"name": "Cs", "chemical_symbols": ["Rb", "vacancy"], "concentration": [0.5, 0.5]},
        {"name": "Cl", "chemical_symbols": ["Cl", "Br"], "concentration": [0.25, 0.75]},
    ]),
    _record("slab", nperiodic_dimensions=2),
    _record("molecule", lattice_vectors=[[None] * 3] * 3),
    _record("unknown", species=[{"name": "Cs", "chemical_symbols": ["X"], "concentration": [1.0]}]),
    _record("short", species_at_sites=["Cs"]),
    _record("bare", species=None, species_at_sites=["Na", "Br"]),
    {"id": "none", "type": "structures", "attributes": {"lattice_vectors": None}},
]  # fmt: skip


class Provider(BaseHTTPRequestHandler):
    """An OPTIMADE provider with pages of two, and a few faulty addresses."""

    failures: list[int] = []  # noqa: RUF012  status codes to answer first, one a request
    queries: list[dict] = []  # noqa: RUF012

    def log_message(self, *args) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if self.failures:
            return self._answer(self.failures.pop(0), b"busy", {"Retry-After": "0"})
        if parts.path == "/text/v1/structures":
            return self._answer(200, b"<html>", {})
        if parts.path == "/odd/v1/structures":
            return self._answer(200, b'{"data": 3}', {})
        if parts.path != "/optimade/v1/structures":
            return self._answer(404, b"{}", {})
        self.queries.append(query)
        start = int(query.get("page_offset", 0))
        records = RECORDS if query.get("filter") != 'elements HAS "Pu"' else []
        following = f"{parts.path}?page_offset={start + 2}" if start + 2 < len(records) else None
        if query.get("filter") == "loop":
            following = self.path
        document = {
            "data": records[start : start + 2],
            "meta": {"data_returned": len(records)},
            "links": {"next": {"href": following} if start else following},
        }
        return self._answer(200, json.dumps(document).encode(), {})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def provider() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    Provider.failures, Provider.queries = [], []
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_optimade(provider):
    found = read_crystals(f"optimade:{provider}/optimade")
    rows = {row["crystal_id"]: row for row in found.table.to_pylist()}
    assert list(rows) == ["cscl", "half", "bare"]
    assert (rows["cscl"]["space_group"], rows["cscl"]["formula"], rows["cscl"]["occupancies"]) == (221, "CsCl", None)
    half = sorted(zip(rows["half"]["atomic_numbers"], rows["half"]["occupancies"], strict=True))
    assert half == [(17, 0.25), (35, 0.75), (37, 0.5)]
    reasons = dict(zip(found.rejected["crystal_id"].to_pylist(), found.rejected["reason"].to_pylist(), strict=True))
    assert list(reasons) == ["slab", "molecule", "unknown", "short", "none"]
    assert "not periodic" in reasons["slab"] and "not periodic" in reasons["molecule"]
    assert "'X'" in reasons["unknown"] and "1 species for 2" in reasons["short"] and "incomplete" in reasons["none"]
    assert len(Provider.queries) == 4  # pages


def test_optimade_filter_limit_and_address_forms(provider):
    for tail in ("/optimade/", "/optimade/v1", "/optimade/v1/structures"):
        assert len(read_crystals(f"optimade:{provider}{tail}?filter=nelements=2", limit=1).table) == 1
        assert Provider.queries[-1]["filter"] == "nelements=2" and Provider.queries[-1]["page_limit"] == "1"
    with pytest.raises(BadInput, match="no structures"):
        read_crystals(f'optimade:{provider}/optimade?filter=elements HAS "Pu"')


def test_optimade_busy_server_is_asked_again(provider):
    Provider.failures = [503, 429]
    start = time.monotonic()
    assert len(read_crystals(f"optimade:{provider}/optimade").table) == 3
    assert time.monotonic() - start < 10


def test_optimade_bad_addresses(provider):
    for tail, match in (
        ("/nothing", "answers 404"),
        ("/text", "not JSON"),
        ("/odd", "no OPTIMADE list"),
        ("/optimade?filter=loop", "lead back"),
    ):
        with pytest.raises(BadInput, match=match):
            read_crystals(f"optimade:{provider}{tail}")
    with pytest.raises(BadInput, match="only http"):
        read_crystals("optimade:file:///etc/passwd")


def test_optimade_no_server(monkeypatch):
    monkeypatch.setattr("simxrd_hf.crystals.remote._TRIES", 1)
    with pytest.raises(BadInput, match="no answer"):
        read_crystals("optimade:http://127.0.0.1:9/optimade")


# -- Hub --------------------------------------------------------------------------------------------------------------


def _fresh(code: str, *arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env={**os.environ, **env}, timeout=200
    )


def test_hub_dataset(tmp_path):
    sys.path.insert(0, str(Path(__file__).parents[1] / "hub"))
    try:
        from hub_server import HubServer
    finally:
        sys.path.pop(0)
    write_crystals(prototypes(limit=12), tmp_path / "c.parquet")
    code = """
import sys
from huggingface_hub import HfApi
from simxrd_hf.crystals import read_crystals
api = HfApi()
api.create_repo("tester/crystals", repo_type="dataset")
api.upload_file(path_or_fileobj=sys.argv[1], path_in_repo="data/c.parquet", repo_id="tester/crystals",
                repo_type="dataset")
here = read_crystals(sys.argv[1]).table
for address in ("tester/crystals", "tester/crystals/data/c.parquet", "tester/crystals@main/data"):
    assert read_crystals("hf://datasets/" + address).table.equals(here), address
assert read_crystals("hf://datasets/tester/crystals", limit=3).table.equals(here.slice(0, 3))
for address in ("hf://datasets/tester/none", "hf://datasets/x", "hf://models/a/b", "hf://datasets/tester/crystals/x"):
    try:
        read_crystals(address)
    except ValueError as error:
        print(type(error).__name__, error)
"""
    with HubServer() as hub:
        done = _fresh(code, str(tmp_path / "c.parquet"), env=hub.environment(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 4 and all(line.startswith("BadInput hf://") for line in lines), done


# -- Materials Project ------------------------------------------------------------------------------------------------


def test_materials_project_says_what_is_missing(monkeypatch):
    monkeypatch.delenv("MP_API_KEY", raising=False)
    monkeypatch.delenv("PMG_MAPI_KEY", raising=False)
    with pytest.raises(BadInput, match=r"MP_API_KEY|pip install"):
        read_crystals("mp:mp-149")


class MaterialsProject(BaseHTTPRequestHandler):
    """The two answers that the client asks for: a heartbeat and pages of summaries."""

    seen: list[tuple[str, dict, str]] = []  # noqa: RUF012

    def log_message(self, *args) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        key = self.headers.get("X-API-KEY", "")
        self.seen.append((parts.path, query, key))
        silicon = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]])
        if parts.path == "/heartbeat":
            document: dict = {"version": "99.0", "db_version": "2025_02_12", "access_controlled_batch_ids": []}
        elif key != "0123456789abcdef0123456789abcdef":
            return self._answer(401, {"detail": f"key {key} unknown"})
        else:
            document = {
                "data": [{"material_id": "mp-149", "structure": silicon.as_dict()}],
                "meta": {"total_doc": 1},
            }
        return self._answer(200, document)

    def _answer(self, status: int, document: dict) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_materials_project_through_its_client(tmp_path):
    """In a fresh process, because the client reads its address when it is imported."""
    pytest.importorskip("mp_api.client")
    server = ThreadingHTTPServer(("127.0.0.1", 0), MaterialsProject)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    code = (
        "import sys; from simxrd_hf.crystals import read_crystals\n"
        "try: print(read_crystals(sys.argv[1], limit=5).table.to_pylist())\n"
        "except ValueError as error: print(type(error).__name__, error)\n"
    )
    env = {"MP_API_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}/", "HOME": str(tmp_path)}
    good = _fresh(code, "mp:mp-149", env={**env, "MP_API_KEY": "0123456789abcdef0123456789abcdef"})
    assert "'crystal_id': 'mp-149'" in good.stdout and "'space_group': 227" in good.stdout, good
    secret = "f" * 32
    bad = _fresh(code, "mp:Si", env={**env, "MP_API_KEY": secret})
    assert bad.stdout.startswith("BadInput mp:"), bad
    assert secret not in bad.stdout + bad.stderr
    server.shutdown()
    server.server_close()
