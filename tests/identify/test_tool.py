"""Prediction as agents call it."""

import json
import re

import numpy as np
import pytest
import yaml

import simxrd_hf
from simxrd_hf.cli import COMMANDS
from simxrd_hf.errors import BadInput
from simxrd_hf.identify import identify_pattern, tool_schema


@pytest.fixture
def silicon(tmp_path):
    axis = np.arange(10, 90, 0.02)
    lines = ((28.44, 100), (47.30, 55), (56.12, 30), (69.13, 6), (76.38, 11))
    intensity = 1 + sum(height * np.exp(-(((axis - at) / 0.08) ** 2)) for at, height in lines)
    path = tmp_path / "silicon.xy"
    np.savetxt(path, np.c_[axis, intensity], fmt="%.4f")
    return path


def test_the_answer_is_plain_and_the_wavelength_asked_for(silicon):
    answer = identify_pattern(str(silicon), wavelength=1.5406, top_k=3)
    assert json.loads(json.dumps(answer)) == answer
    assert answer["crystal_system"][0]["label"] == "cubic" and len(answer["space_group"]) == 3
    with pytest.raises(BadInput, match=r"silicon.xy: .*wavelength"):
        identify_pattern(str(silicon))
    with pytest.raises(BadInput, match="no such file"):
        identify_pattern("nowhere.xy", wavelength=1.5406)


def test_the_schema_names_what_the_function_takes():
    schema = tool_schema()["function"]
    assert schema["name"] == "identify_pattern" and schema["parameters"]["required"] == ["path"]
    assert {name: entry["type"] for name, entry in schema["parameters"]["properties"].items()} == {
        "path": "string",
        "wavelength": "number",
        "top_k": "integer",
    }
    assert "never assumed" in schema["parameters"]["properties"]["wavelength"]["description"]


def test_the_skill_is_true(silicon, capsys):
    """Its commands exist, and the answer has the parts it names."""
    from pathlib import Path

    from simxrd_hf.cli import main

    text = (Path(simxrd_hf.__file__).parent / "SKILL.md").read_text(encoding="utf-8")
    head = yaml.safe_load(text.split("---")[1])
    assert re.fullmatch(r"[a-z0-9-]{1,64}", head["name"]) and len(head["description"]) <= 1024
    commands = re.findall(r"^simxrd (\S+)(.*?)(?:#.*)?$", text, flags=re.M)
    assert {name for name, _ in commands} == {"predict", "simulate"} <= set(COMMANDS)
    assert main(["predict", str(silicon), "--wavelength", "1.5406", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    for part in ("space_group", "extinction_symbol", "bravais_lattice", "crystal_system", "prediction_set"):
        assert part in answer and f"`{part}`" in text
    assert main(["predict", str(silicon), "--json"]) == 2
