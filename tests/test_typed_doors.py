"""What a type checker sees of the public names: classes and signatures, not Any."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "simxrd_hf"
CODE = """
import simxrd_hf
from simxrd_hf.crystals import CrystalTable, read_crystals
from simxrd_hf.data import on_the_fly
from simxrd_hf.diffraction import PatternGrid
from simxrd_hf.identify import Predictor
from simxrd_hf.metrics import fit_temperature

reveal_type(simxrd_hf.Simulator)
reveal_type(simxrd_hf.pipeline)
reveal_type(Predictor)
reveal_type(read_crystals("a.cif"))
reveal_type(PatternGrid().n_points)
read_crystals(3, nonsense=1)
simxrd_hf.generate()
simxrd_hf.nothing
"""
SETTINGS = """
[mypy]
follow_imports = skip
[mypy-simxrd_hf.*]
follow_imports = silent
"""


def test_a_type_checker_sees_through_the_doors(tmp_path):
    (tmp_path / "mypy.ini").write_text(SETTINGS)
    (tmp_path / "user.py").write_text(CODE)
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--cache-dir", "cache", "user.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
    )
    revealed = [line.split("Revealed type is ")[1] for line in run.stdout.splitlines() if "Revealed" in line]
    assert "simxrd_hf.diffraction.simulator.Simulator" in revealed[0] and revealed[0].startswith('"def (')
    assert revealed[1].startswith('"def (model: ') and "simxrd_hf.identify.predictor.Predictor" in revealed[2]
    assert revealed[3:] == ['"simxrd_hf.crystals.table.CrystalTable"', '"int"']
    errors = [line for line in run.stdout.splitlines() if "error:" in line]
    assert 'Unexpected keyword argument "nonsense" for "read_crystals"' in errors[0]
    assert any('Missing positional arguments "crystals", "output_dir" in call to "generate"' in line for line in errors)
    assert 'Module has no attribute "nothing"' in errors[-1]


@pytest.mark.parametrize("stub", sorted(PACKAGE.rglob("__init__.pyi")), ids=lambda path: path.parent.name)
def test_every_public_name_is_there(stub: Path):
    """Each name of a stub is what its module defines, whether or not that module was imported before."""
    room = ".".join(stub.parent.relative_to(PACKAGE.parent).parts)
    package = importlib.import_module(room)
    lines = [line.split() for line in stub.read_text().splitlines() if line.startswith("from .")]
    assert lines
    for _, module, _, name, _, _ in lines:
        defined = getattr(importlib.import_module(module, package=room), name)
        assert getattr(package, name) is defined and name in package.__all__
