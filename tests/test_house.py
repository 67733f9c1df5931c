"""The package as others install and import it: what it needs, what it leaves as it was."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CIF = ROOT / "simxrd_hf/hub/spaces/demo/examples/halite.cif"
WITHOUT = ("accelerate", "evaluate", "jsonschema", "sklearn", "gradio", "h5py", "pybaselines", "onnx", "datatrove")
"""Packages that extras bring; what `load_dataset`-side users and `predict` need works without."""


def _python(code: str, *args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    run = subprocess.run(
        [sys.executable, "-c", code, *args],
        cwd=cwd or ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return run


def test_the_core_needs_no_extra(tmp_path):
    code = f"""
import sys
sys.modules.update(dict.fromkeys({WITHOUT!r}))
import json
import datasets
from simxrd_hf import cli, pipeline
from simxrd_hf.data import on_the_fly, simxrd_builder

assert cli.main(["simulate", sys.argv[1], "-o", "p.xy"]) == 0
assert cli.main(["generate", sys.argv[1], "--config", "in_library", "-o", "made"]) == 0
rows = datasets.load_dataset("made", "in_library", split="train")
assert len(rows) and next(iter(simxrd_builder("in_library", crystals="made").as_streaming_dataset("train")))
assert cli.main(["predict", "p.xy", "--wavelength", "1.54184", "--json"]) == 0
for command, arguments in (("demo", []), ("leaderboard", ["."])):
    assert cli.main([command, *arguments]) == 2, command
"""
    run = _python(code, str(CIF), cwd=tmp_path)
    for extra in ("demo", "hub"):
        assert f"pip install 'simxrd_hf[{extra}]'" in run.stderr


def test_importing_every_module_leaves_the_process_as_it_was():
    code = """
import importlib, json, os, pkgutil, socket, warnings
# what these set is not ours to judge
import accelerate, datasets, huggingface_hub, matplotlib, torch, transformers, spglib, pymatgen.core
import torch._inductor.runtime.cache_dir_utils, torch._dynamo, numba
def state():
    session = huggingface_hub.get_session()
    return {
        "environment": dict(os.environ),
        "backend": str(matplotlib.get_backend(auto_select=False)),
        "threads": torch.get_num_threads(),
        "socket": socket.getdefaulttimeout(),
        "session": str(session.timeout),
        "filters": [str(f) for f in warnings.filters if "simxrd" in str(f[3])],
    }
import simxrd_hf
before = state()
names = [m.name for m in pkgutil.walk_packages(simxrd_hf.__path__, "simxrd_hf.")]
names = [n for n in names if not n.endswith((".app", ".__main__"))]
for name in names:
    importlib.import_module(name)
after = state()
changed = {k: [before[k], after[k]] for k in before if before[k] != after[k]}
if "environment" in changed:  # by name: what it holds is nobody's business
    changed["environment"] = sorted({k for k, v in set(os.environ.items()) ^ set(before["environment"].items())})
print(json.dumps([len(names), changed]))
"""
    count, changed = json.loads(_python(code).stdout.splitlines()[-1])
    assert count > 150 and changed == {}


def test_no_links_in_the_tree():
    """A checkout on Windows turns them into text files."""
    for folder in ("simxrd_hf", "dataset_script", "model_cards", "tests", "tools", "benchmarks", "docs"):
        assert [path for path in (ROOT / folder).rglob("*") if path.is_symlink()] == []


@pytest.mark.slow
def test_the_wheel_made_of_the_sdist_holds_the_package(tmp_path):
    """Every file of the package and nothing else: templates, schemas, tables, weights, metric scripts, Spaces."""
    source = tmp_path / "source"
    kept = {"simxrd_hf", "pyproject.toml", "README.md", "LICENSE", "tests", "tools"}

    def ignore(folder: str, names: list[str]) -> set[str]:
        return {n for n in names if n == "__pycache__" or (Path(folder) == ROOT and n not in kept)}

    shutil.copytree(ROOT, source, ignore=ignore)
    build = "from setuptools import build_meta; import sys; print(build_meta.{}(sys.argv[1]))"
    sdist = tmp_path / _python(build.format("build_sdist"), str(tmp_path), cwd=source).stdout.splitlines()[-1]
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    wheel = tmp_path / _python(build.format("build_wheel"), str(tmp_path), cwd=unpacked).stdout.splitlines()[-1]
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA"))).decode()
    files = (path for path in (ROOT / "simxrd_hf").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert packed == {str(path.relative_to(ROOT)) for path in files}
    assert "Provides-Extra: train" in metadata and "scikit-learn" in metadata and "simxrd_hf maintainers" in metadata
