"""A library of lines on a Hub: published with card, digest and version, opened by its address, used by predict."""

import hashlib
import json

import numpy as np
import pytest
from huggingface_hub import constants

from simxrd_hf.cli import main
from simxrd_hf.crystals import crystal, prototypes
from simxrd_hf.diffraction import PatternGrid, Simulator
from simxrd_hf.errors import BadInput
from simxrd_hf.hub import publish
from simxrd_hf.hub.checks import card_metadata
from simxrd_hf.identify.libraries import open_library
from simxrd_hf.matching import build_library, read_library


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lines")
    return build_library(prototypes(limit=40).table)[0].save(folder / "mine.parquet")


@pytest.fixture
def online(hub, api, monkeypatch, tmp_path):
    """This process downloads from the Hub on loopback, into a cache of its own."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_test_write_token")
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    return api


def test_published_and_opened_by_address(hub, online, lines):
    report = publish("library", lines, "tester/lines", license="cc-by-4.0", api=online)
    assert report.tag == "v2" and {c.path for c in report.changes} == {"README.md", "lines.parquet"}
    assert hub.repos["dataset", "tester/lines"].private
    card = hub.text("dataset", "tester/lines", "README.md").decode()
    head = card_metadata(card, "README.md")
    assert head["license"] == "cc-by-4.0" and head["configs"][0]["data_files"][0]["path"] == "lines.parquet"
    assert hashlib.sha256(lines.read_bytes()).hexdigest() in card
    assert "hf://datasets/tester/lines" in card and "| crystals | 40," in card and "| format version | 2 |" in card
    mine = read_library(lines)
    for name in ("hf://datasets/tester/lines", "hf://datasets/tester/lines@v2", "hf:datasets/tester/lines"):
        found = open_library(name)
        assert list(found.crystal_id) == list(mine.crystal_id)
        np.testing.assert_array_equal(found.hkl, mine.hkl)
    again = publish("library", lines, "tester/lines", license="cc-by-4.0", api=online)
    assert not again.committed and {c.action for c in again.changes} == {"same"}


def test_the_commands(hub, online, lines, tmp_path, capsys):
    assert main(["publish", "library", str(lines), "tester/mine", "--license", "cc0-1.0"]) == 0
    assert "2 files" in capsys.readouterr().out
    pattern = Simulator("lab").simulate(crystal(prototypes(limit=40).table, 3), [0]).intensity[0]
    np.savetxt(tmp_path / "scan.xy", np.column_stack([PatternGrid().two_theta, pattern]))
    scan = [str(tmp_path / "scan.xy"), "--wavelength", "1.54184", "--json"]
    assert main(["predict", *scan, "--library", "hf://datasets/tester/mine"]) == 0
    from_hub = json.loads(capsys.readouterr().out)
    assert main(["predict", *scan, "--library", str(lines)]) == 0
    assert from_hub == json.loads(capsys.readouterr().out) and from_hub["matches"]
    assert main(["predict", *scan, "--library", "hf://datasets/tester/nowhere"]) == 2
    assert "cannot be had from the Hub" in capsys.readouterr().err


def test_the_packaged_one_goes_with_its_terms(hub, online):
    report = publish("library", "packaged", "tester/packaged", api=online, dry_run=True)
    assert {c.path for c in report.changes} == {"README.md", "LICENSE.md", "lines.parquet"}


def test_what_is_refused_before_anything_is_sent(hub, online, lines, tmp_path):
    hub.log.clear()
    with pytest.raises(BadInput, match="--license under which terms"):
        publish("library", lines, "tester/no", api=online)
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(lines.read_bytes()[:-200])
    with pytest.raises(BadInput, match="not a Parquet file"):
        publish("library", cut, "tester/no", license="cc0-1.0", api=online)
    with pytest.raises(BadInput, match="no such file"):
        publish("library", tmp_path / "nowhere.parquet", "tester/no", license="cc0-1.0", api=online)
    with pytest.raises(BadInput, match="license: is for libraries"):
        publish("dataset", tmp_path, "tester/no", license="cc0-1.0", api=online)
    assert not hub.log and ("dataset", "tester/no") not in hub.repos
