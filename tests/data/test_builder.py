"""The dataset builder, and the traps of `datasets` that concern it."""

import ast
import pathlib
import subprocess
import sys
from pathlib import Path

import datasets
import dill
import numpy as np
import pyarrow as pa
import pytest

from simxrd_hf import BadInput
from simxrd_hf.data import register, simxrd_builder
from simxrd_hf.data.builder import BUILDER_MODULE, REPOSITORY

FEW = {"conditions": [0, 1, 30, 31]}


def test_download_and_prepare(crystals, tmp_path):
    builder = simxrd_builder("in_library", crystals=crystals, cache_dir=tmp_path, **FEW)
    builder.download_and_prepare()
    train = builder.as_dataset("train")
    assert len(train) == 84 and train.features == builder.info.features
    stream = builder.as_streaming_dataset("train")
    assert [r["crystal_id"] for r in stream] == train["crystal_id"][:]
    assert np.array_equal(
        next(iter(stream.with_format("numpy")))["intensity"], train.with_format("numpy")[0]["intensity"]
    )
    assert len(builder.as_dataset("train[:10%]")) == 8


def test_parquet_output_can_be_loaded(crystals, tmp_path, cache):
    builder = simxrd_builder("tiny", crystals=crystals, cache_dir=tmp_path / "cache", **FEW)
    builder.download_and_prepare(str(tmp_path / "out"), file_format="parquet")
    assert len(datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=cache)) == 28


def test_forked_workers_after_numba_has_run_here(crystals, tmp_path):
    """Trap: numba code that ran parallel in the parent kills forked children."""
    one = simxrd_builder("in_library", crystals=crystals, cache_dir=tmp_path / "one", **FEW)
    one.download_and_prepare()  # numba runs in this process first
    two = simxrd_builder("in_library", crystals=crystals, cache_dir=tmp_path / "two", **FEW)
    two.download_and_prepare(num_proc=2)
    for split in ("train", "validation", "test"):
        assert two.as_dataset(split)["grain_size_nm"][:] == one.as_dataset(split)["grain_size_nm"][:]
    for source in (REPOSITORY.parent.parent / "diffraction").glob("*.py"):
        assert "parallel=True" not in source.read_text()


def test_nothing_stale_comes_out_of_the_cache(crystals, tmp_path):
    """Trap: the cache is keyed by module, config and hash alone, so every parameter must be in the hash."""

    def rows(**parameters) -> list[float]:
        builder = simxrd_builder(
            "tiny", crystals=parameters.pop("crystals", crystals), cache_dir=tmp_path, **parameters
        )
        builder.download_and_prepare()
        return builder.as_dataset("test")["zero_shift_deg"][:], builder.cache_dir

    first, folder = rows(**FEW)
    assert rows(**FEW) == (first, folder)
    others = [
        rows(**FEW, seed=1),
        rows(**FEW, preset="lab"),
        rows(**FEW, dtype="float16"),
        rows(conditions=[0, 30, 32]),
        rows(**FEW, crystals=crystals.slice(0, 21)),
        rows(**FEW, labels=["laue_class"]),
    ]
    assert len({folder, *(f for _, f in others)}) == 7
    assert others[0][0] != first and others[1][0] != first and others[3][0] != first


def test_the_module_stays_thin():
    """Trap: a builder replaces names in its module; with Arrow imported there, functions can no longer be pickled."""
    import importlib

    module = importlib.import_module(BUILDER_MODULE)
    tree = ast.parse(Path(module.__file__).read_text())
    imported = {a.name for n in tree.body if isinstance(n, ast.Import) for a in n.names}
    assert "pyarrow" not in imported and not hasattr(module, "pa")
    builders = [n for n in tree.body if isinstance(n, ast.ClassDef) and "Builder" in ast.dump(n.bases[0])]
    assert len([b for b in builders if "BuilderConfig" not in ast.dump(b.bases[0])]) == 1
    assert Path(module.__file__).stem not in {"simxrd", "SimXRD", "simxrd-4m"}  # never the name of its repository


def test_patched_names_stay_in_the_module(crystals, tmp_path):
    import simxrd_hf.data.source as source

    builder = simxrd_builder("tiny", crystals=crystals, cache_dir=tmp_path, **FEW)
    assert source.Path is pathlib.Path and source.pa is pa
    twin = dill.loads(dill.dumps(builder))  # noqa: S301 - our own bytes
    assert twin.cache_dir == builder.cache_dir


def test_functions_of_main_can_be_hashed_after_a_builder_was_made(crystals, tmp_path):
    from simxrd_hf.crystals import write_crystals

    write_crystals(crystals, tmp_path / "c.parquet")
    program = (
        "import sys\n"
        "from datasets.fingerprint import Hasher\n"
        "from simxrd_hf.data import simxrd_builder\n"
        "import simxrd_hf.data.repository.build_simxrd as module\n"
        "b = simxrd_builder('tiny', crystals=sys.argv[1], cache_dir=sys.argv[2], conditions=[0, 30])\n"
        "def f(x): return module, b.info.features, x\n"
        "print(len(Hasher.hash(f)))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "c.parquet"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and int(done.stdout) > 8, done.stderr


def test_load_dataset_by_name(crystals, tmp_path):
    from simxrd_hf.crystals import write_crystals

    register()
    path = str(write_crystals(crystals, tmp_path / "c.parquet"))
    arguments = {"data_files": path, "cache_dir": str(tmp_path), **FEW}
    stored = datasets.load_dataset("simxrd", "tiny", split="train", **arguments)
    assert len(stored) == 28
    stream = datasets.load_dataset("simxrd", "tiny", split="train", streaming=True, **arguments)
    assert [r["crystal_id"] for r in stream] == stored["crystal_id"][:]


def test_refusals(crystals, tmp_path):
    with pytest.raises(BadInput, match="no config 'huge'"):
        simxrd_builder("huge", crystals=crystals)
    with pytest.raises(BadInput, match="no parameter colour"):
        simxrd_builder("tiny", crystals=crystals, colour="red")
    with pytest.raises(BadInput, match="unknown dtype"):
        simxrd_builder("tiny", crystals=crystals, dtype="int8")


def test_a_repository_with_the_builder_in_it_is_loaded_from_its_parquet(dataset, cache):
    """`datasets` refuses repositories whose script bears their name; ours lies there under another."""
    assert (dataset / "build_simxrd.py").read_text() == (REPOSITORY / "build_simxrd.py").read_text()
    assert len(datasets.load_dataset(str(dataset), "tiny", split="test", cache_dir=cache)) == 28
