"""The checkpoint that comes with the package: small, whole, described, and taken by the pipeline when none is named."""

import re

import numpy as np
import pytest
import torch
from safetensors import safe_open

import simxrd_hf
from simxrd_hf.diffraction import PatternGrid
from simxrd_hf.evidence import PatternEvidence
from simxrd_hf.identify.libraries import PACKAGED, open_library
from simxrd_hf.identify.model_folders import DEFAULT_MODEL
from simxrd_hf.models import SimXRDFeatureExtractor
from simxrd_hf.training.evaluation import load_model


def test_files():
    files = {path.name: path.stat().st_size for path in DEFAULT_MODEL.iterdir()}
    assert set(files) == {
        "README.md",
        "config.json",
        "evidence.json",
        "model.safetensors",
        "preprocessor_config.json",
        "reliability.png",
    }
    assert "![Reliability diagram](reliability.png)" in (DEFAULT_MODEL / "README.md").read_text(encoding="utf-8")
    assert files["reliability.png"] < 60_000
    assert sum(files.values()) <= 10_000_000
    with safe_open(DEFAULT_MODEL / "model.safetensors", "pt") as weights:
        assert {weights.get_tensor(name).dtype for name in weights.keys()} == {torch.float16}  # noqa: SIM118


def test_it_loads_like_any_checkpoint():
    model = load_model(DEFAULT_MODEL)
    card = (DEFAULT_MODEL / "README.md").read_text(encoding="utf-8")
    stated = int(re.search(r"\| parameters \| ([\d,]+) \|", card).group(1).replace(",", ""))
    assert stated == sum(parameter.numel() for parameter in model.parameters())
    assert model.config.full_grid == SimXRDFeatureExtractor.from_pretrained(DEFAULT_MODEL).grid
    assert model.config.conformal["coverage"] == pytest.approx(0.9) and 0.5 < model.config.temperature < 2
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_it_says_how_cells_and_libraries_correct_it():
    evidence = PatternEvidence.load(DEFAULT_MODEL)
    for part in (evidence.cells, *(one.combination for one in evidence.libraries)):
        assert part.conformal["coverage"] == pytest.approx(0.9) and 0 < part.conformal["threshold"] <= 1
        assert part.about["rows"] + part.about["measured_rows"] >= 1000 and 0 < part.scale < 5
        assert np.abs(part.linear).max() > 0.01
    packaged, full = (evidence.for_library(crystals) for crystals in (len(open_library(PACKAGED)), 160_000))
    assert 1000 < packaged.least_crystals < full.least_crystals and evidence.for_library(1000) is None
    # triclinic crystals are rarer among measured compounds than in databases of calculated ones
    for prior in (evidence.prior, packaged.prior, full.prior):
        assert prior[0] < 0 and np.abs(prior).max() < 15


def test_the_pipeline_takes_it_when_none_is_named():
    intensity = 1 + sum(
        height * np.exp(-(((PatternGrid().two_theta - at) / 0.08) ** 2))
        for at, height in ((28.44, 100), (47.30, 55), (56.12, 30), (69.13, 6), (76.38, 11))  # silicon
    )
    answer = simxrd_hf.pipeline()({"two_theta": PatternGrid().two_theta, "intensity": intensity, "wavelength": 1.5406})
    assert answer["crystal_system"][0]["label"] == "cubic"
    assert answer["prediction_set"]["labels"]
