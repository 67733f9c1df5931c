import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data.conftest import CONDITIONS
from data.small_crystals import crystal_rows

from simxrd_hf import BadInput
from simxrd_hf.crystals import crystal, write_crystals
from simxrd_hf.crystals.table import table_from_rows
from simxrd_hf.data import GenerationError, generate, verify
from simxrd_hf.data.jobs import Job
from simxrd_hf.data.rounding import rounded
from simxrd_hf.data.splits import SPLITS, crystal_splits
from simxrd_hf.diffraction import Simulator
from simxrd_hf.exclusive import LOCK, take

SMALL = {"configs": ("in_library", "out_of_library", "tiny"), "conditions": CONDITIONS, "rows_per_shard": 40}


def _manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def test_counts(made, crystals):
    per_split = np.bincount(crystal_splits(crystals), minlength=3)
    assert made.rows["in_library"] == {"train": 42 * 4, "validation": 42, "test": 84}
    assert made.rows["out_of_library"] == {s: 7 * int(n) for s, n in zip(SPLITS, per_split, strict=True)}
    assert made.rows["tiny"] == {"train": 56, "validation": 14, "test": 28}
    assert made.total_rows == made.new_rows == 42 * 7 + 14 * 7
    assert made.crystals == 42 and made.rejected == 0 and made.bytes_per_row < 6_000  # the schema weighs on tiny files


@pytest.mark.parametrize("config", ["in_library", "out_of_library", "tiny"])
def test_plain_load_dataset_reads_it(dataset, made, cache, config):
    loaded = datasets.load_dataset(str(dataset), config, cache_dir=cache)
    assert {split: rows.num_rows for split, rows in loaded.items()} == made.rows[config]
    train = loaded["train"]
    assert train.features["crystal_system"].names[0] == "triclinic"
    assert train.features["space_group"].names[224] == "Fm-3m"
    stream = datasets.load_dataset(str(dataset), config, split="train", streaming=True)
    assert stream.features == train.features
    for streamed, stored in zip(stream.take(20), train, strict=False):
        assert streamed == stored
    batch = train.with_format("torch")[:3]
    assert str(batch["intensity"].dtype) == "torch.float32" and batch["intensity"].shape == (3, 3501)


def test_rows_are_those_of_the_simulator(dataset, crystals, cache):
    rows = datasets.load_dataset(str(dataset), "out_of_library", split="test", cache_dir=cache).with_format("numpy")
    simulator = Simulator("simxrd-4m", seed=0)
    ids = crystals["crystal_id"].to_pylist()
    for row in rows.select(range(0, len(rows), 5)):
        index = ids.index(row["crystal_id"])
        made = simulator.simulate(crystal(crystals, index), [int(row["condition"])])
        assert np.array_equal(row["intensity"], rounded(made.intensity[0]))
        assert row["space_group"] == crystals["space_group"][index].as_py() - 1
        for name, value in made.parameters.items():
            assert row[name] == value[0]


def test_crystals_and_parameters_lie_beside_it(dataset, crystals):
    table = pq.read_table(dataset / "crystals.parquet")
    assert table.select(crystals.column_names).equals(crystals)
    assert table["split"].to_pylist() == [SPLITS[s] for s in crystal_splits(crystals)]
    assert json.loads((dataset / "simxrd.json").read_text())["preset"]["name"] == "simxrd-4m"
    assert pq.read_table(dataset / "rejected.parquet").num_rows == 0
    assert not (dataset / ".partial").exists() and verify(dataset) == {}


def test_same_bytes_with_workers(made, crystals, tmp_path):
    generate(crystals, tmp_path / "other", **SMALL, num_proc=2, progress=False)
    assert _manifest(tmp_path / "other") == _manifest(made.folder)


def test_another_seed_or_preset_makes_other_rows(dataset, crystals, tmp_path):
    other = generate(crystals, tmp_path / "other", **SMALL, seed=1, progress=False).folder
    names = {p.name for p in (dataset / "tiny").iterdir()}
    assert names == {p.name for p in (other / "tiny").iterdir()}
    for name in names:
        first, second = (pq.read_table(f / "tiny" / name)["grain_size_nm"].to_pylist() for f in (dataset, other))
        assert not set(first) & set(second)


def test_a_finished_dataset_is_left_alone(dataset, crystals):
    before = {p: p.stat().st_mtime_ns for p in dataset.rglob("*") if p.name != LOCK}
    again = generate(crystals, dataset, **SMALL, progress=False)
    assert again.new_rows == 0 and again.total_rows == 42 * 7 + 14 * 7
    assert {p: p.stat().st_mtime_ns for p in dataset.rglob("*") if p.name != LOCK} == before


@pytest.mark.parametrize("harm", ["truncate", "remove", "flip"])
def test_damaged_shards_are_named_and_mended(dataset, crystals, tmp_path, harm):
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    victim = next((copy / "patterns" / "train").glob("train-*.parquet"))
    name = victim.relative_to(copy).as_posix()
    content = victim.read_bytes()
    if harm == "truncate":
        victim.write_bytes(content[: len(content) // 2])
    elif harm == "remove":
        victim.unlink()
    else:
        victim.write_bytes(content[:5000] + bytes([content[5000] ^ 255]) + content[5001:])
    expected = {"truncate": "truncated", "remove": "missing", "flip": "changed"}[harm]
    assert list(verify(copy)) == [name] and expected in verify(copy)[name]
    report = generate(crystals, copy, **SMALL, progress=False)
    assert 0 < report.new_rows <= 40 + 3 * 10  # one block, the others are kept
    assert verify(copy) == {} and _manifest(copy) == _manifest(dataset) and victim.read_bytes() == content


def test_a_manifest_that_does_not_match_is_refused(dataset, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    shard = next((copy / "patterns" / "train").glob("train-*.parquet"))
    shutil.copy(shard, shard.with_name("train-99999.parquet"))
    assert list(verify(copy).values()) == ["not in the manifest"]
    shard.with_name("train-99999.parquet").unlink()
    parameters = json.loads((copy / "simxrd.json").read_text())
    (copy / "simxrd.json").write_text(json.dumps({**parameters, "digest": "0"}))
    assert list(verify(copy)) == ["simxrd.json"]
    (copy / "manifest.json").write_text("{")
    with pytest.raises(BadInput, match=r"manifest\.json is damaged"):
        verify(copy)
    (copy / "manifest.json").unlink()
    with pytest.raises(BadInput, match=r"has no manifest\.json"):
        verify(copy)


def test_changed_parameters_need_consent(dataset, crystals, tmp_path, cache):
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    with pytest.raises(BadInput, match="other parameters"):
        generate(crystals, copy, **SMALL, seed=5, progress=False)
    assert verify(copy) == {}
    old = datasets.load_dataset(str(copy), "tiny", split="test", cache_dir=cache)
    generate(crystals, copy, **SMALL, seed=5, overwrite=True, progress=False)
    # `datasets` keys its cache by the card's configs, not by the files: the card must change with the rows.
    new = datasets.load_dataset(str(copy), "tiny", split="test", cache_dir=cache)
    assert old["grain_size_nm"][:] != new["grain_size_nm"][:]


def test_foreign_folders_are_never_touched(crystals, tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(BadInput, match="holds no dataset"):
            generate(crystals, tmp_path, overwrite=overwrite, progress=False)
    with pytest.raises(BadInput, match="is a file"):
        generate(crystals, tmp_path / "precious.txt", progress=False)
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_bad_crystals_are_set_aside(tmp_path, cache):
    rows = crystal_rows(16)
    rows[3]["lattice"] = [0.0] * 9
    rows[5]["atomic_numbers"] = [11, 99]  # no scattering factors beyond californium
    rows[7]["frac_coords"] = [0.0] * 6  # two atoms on one site
    rows[9]["space_group"] = 231
    report = generate(table_from_rows(rows), tmp_path / "d", conditions=[0, 30, 31], progress=False)
    assert report.crystals == 12 and report.rejected == 4
    rejected = pq.read_table(tmp_path / "d" / "rejected.parquet").to_pylist()
    assert [r["crystal_id"] for r in rejected] == [rows[i]["crystal_id"] for i in (3, 5, 7, 9)]
    reasons = {r["crystal_id"]: r["reason"] for r in rejected}
    assert "lattice" in reasons[rows[3]["crystal_id"]] and "231" in reasons[rows[9]["crystal_id"]]
    train = datasets.load_dataset(str(tmp_path / "d"), "in_library", split="train", cache_dir=cache)
    assert set(train["crystal_id"]) == {r["crystal_id"] for i, r in enumerate(rows) if i not in (3, 5, 7, 9)}


def test_no_usable_crystal(tmp_path):
    rows = crystal_rows(3)
    for row in rows:
        row["lattice"] = [0.0] * 9
    with pytest.raises(BadInput, match=r"no crystal could be simulated.*lattice"):
        generate(table_from_rows(rows), tmp_path / "d", progress=False)


def test_nothing_unfinished_can_be_loaded(crystals, tmp_path, cache):
    folder = tmp_path / "d"
    job = _begin(crystals, folder)
    job.run(0)
    with pytest.raises((FileNotFoundError, datasets.exceptions.DataFilesNotFoundError)):
        datasets.load_dataset(str(folder), cache_dir=cache)
    with pytest.raises(BadInput, match="has not finished"):
        verify(folder)


def _begin(crystals: pa.Table, folder: Path) -> Job:
    from simxrd_hf.data.plan import Recipe

    return Job.begin(folder, crystals, Recipe.make(**SMALL))


def test_any_order_and_any_split_of_the_work(made, crystals, tmp_path):
    folder = tmp_path / "d"
    job = _begin(crystals, folder)
    for number in (3, 1, 3):  # one block twice
        job.run(number)
    other = Job.open(folder)  # as another process would
    assert set(other.missing()) == set(range(len(job.tasks))) - {1, 3}
    for leftover in (folder / ".partial" / "patterns" / "train" / ".tmp-0123456789abcdef.parquet",):
        leftover.parent.mkdir(parents=True, exist_ok=True)
        leftover.write_bytes(b"half a file")
    report = generate(crystals, folder, **SMALL, progress=False)
    assert report.new_rows < report.total_rows and _manifest(folder) == _manifest(made.folder)
    assert not list(folder.rglob(".tmp-*"))


def test_killed_at_any_moment_it_goes_on(made, crystals, tmp_path):
    """kill -9 of the whole process group, again and again, wherever it happens to be."""
    write_crystals(crystals, tmp_path / "crystals.parquet")
    folder = tmp_path / "d"
    command = [sys.executable, "-m", "data.run_generate", str(tmp_path / "crystals.parquet"), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    seen = set()
    for round_ in range(3):
        process = subprocess.Popen(command, env=environment, start_new_session=True)
        deadline = time.monotonic() + 60
        blocks = folder / ".partial" / "blocks"
        while process.poll() is None and time.monotonic() < deadline:
            if blocks.exists() and len(list(blocks.glob("[!.]*.json"))) > 3 * round_:
                break
            time.sleep(0.002)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        seen.add(len(list(blocks.glob("[!.]*.json"))) if blocks.exists() else -1)
    assert len(seen) > 1  # it did stop half-way
    generate(crystals, folder, **SMALL, progress=False)
    assert _manifest(folder) == _manifest(made.folder) and verify(folder) == {}


def test_a_vanished_worker_is_reported_and_its_work_is_not_lost(made, crystals, tmp_path):
    """One of two workers is killed while it works."""
    import psutil

    folder = tmp_path / "d"
    job = _begin(crystals, folder)

    def killer() -> None:
        while not list((job.work / "blocks").glob("[!.]*.json")):
            time.sleep(0.002)
        workers = [p for p in psutil.Process().children() if "simxrd_hf.data.workers" in " ".join(p.cmdline())]
        workers[0].kill()

    import threading

    thread = threading.Thread(target=killer)
    thread.start()
    with pytest.raises(GenerationError, match=r"killed by signal 9.*run the same command again"):
        generate(crystals, folder, **SMALL, num_proc=2, progress=False)
    thread.join()
    assert not (folder / "manifest.json").exists() and len(Job.open(folder).missing()) < len(job.tasks)
    generate(crystals, folder, **SMALL, progress=False)
    assert _manifest(folder) == _manifest(made.folder)


def test_a_worker_whose_parent_is_gone_ends_without_a_word(crystals, tmp_path):
    """Nothing is printed below the prompt of whoever killed the parent."""
    job = _begin(crystals, tmp_path / "d")
    command = [sys.executable, "-c", "from simxrd_hf.data import workers; workers.main()", str(job.folder)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, **pipes) as worker:
        worker.stdout.close()
        worker.stdin.write(b"0\n")
        worker.stdin.close()
        said = worker.stderr.read().decode()
    assert list((job.work / "patterns").rglob("*.parquet"))  # it did work
    assert worker.returncode == 0 and "Traceback" not in said and "Broken" not in said


def test_two_runs_do_not_share_a_folder(dataset, crystals, tmp_path):
    copy = tmp_path / "d"
    shutil.copytree(dataset, copy)
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.name != LOCK}
    lock = take(copy, "generating")
    for changes in ({}, {"seed": 5, "overwrite": True}):
        with pytest.raises(BadInput, match="another process is generating"):
            generate(crystals, copy, **SMALL | changes, progress=False)
    lock.release()
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.name != LOCK} == before


@pytest.mark.parametrize("name", ["crystals.parquet", "rejected.parquet", "simxrd.json", "README.md", "manifest.json"])
@pytest.mark.parametrize("harm", ["remove", "flip"])
def test_what_lies_beside_the_shards_is_verified_and_made_again(dataset, crystals, tmp_path, name, harm):
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    content = (copy / name).read_bytes()
    if harm == "remove":
        (copy / name).unlink()
    else:
        middle = len(content) // 2
        (copy / name).write_bytes(content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :])
    if name == "README.md" and harm == "flip":
        assert verify(copy) == {}  # a card may be written on
        return
    if name != "manifest.json":
        assert list(verify(copy)) == [name]
    report = generate(crystals, copy, **SMALL, progress=False)
    assert verify(copy) == {} and (copy / name).read_bytes() == content
    assert (report.new_rows > 0) == (name == "manifest.json")  # without it nothing says that a shard is sound


def test_another_title_changes_the_card_but_not_one_that_was_written_on(dataset, crystals, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    assert generate(crystals, copy, **SMALL, title="Powders", progress=False).new_rows == 0
    assert "Powders" in (copy / "README.md").read_text() and verify(copy) == {}
    (copy / "README.md").write_text((copy / "README.md").read_text() + "\nMy own words.\n")
    assert generate(crystals, copy, **SMALL, title="Other", progress=False).new_rows == 0
    assert "My own words." in (copy / "README.md").read_text() and verify(copy) == {}


def test_a_stray_shard_is_refused_by_name(dataset, crystals, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    shard = next((copy / "patterns" / "train").glob("train-*.parquet"))
    shutil.copy(shard, shard.with_name("train-99999.parquet"))
    with pytest.raises(BadInput, match=r"train-99999\.parquet is none of this dataset's files"):
        generate(crystals, copy, **SMALL, progress=False)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"files": {}}', '{"files": {"a": {}}, "rejected": []}'])
def test_a_half_written_record_is_made_again(made, crystals, tmp_path, content):
    folder = tmp_path / "d"
    job = _begin(crystals, folder)
    job.run(0)
    (job.work / "blocks" / f"{job.tasks[0].block.name}.json").write_text(content)
    generate(crystals, folder, **SMALL, progress=False)
    assert _manifest(folder) == _manifest(made.folder)


def test_a_full_disk_stops_it_with_a_message_and_freed_space_lets_it_go_on(crystals, tmp_path):
    """On a file system of 3 MB that is then enlarged; needs user namespaces."""
    write_crystals(crystals, tmp_path / "crystals.parquet")
    (tmp_path / "disk").mkdir()
    simxrd = f"{sys.executable} -c 'from simxrd_hf.cli import entry_point; entry_point()'"
    run = f"{simxrd} generate {tmp_path}/crystals.parquet -o {tmp_path}/disk/d --conditions 0-5,30-32 --json"
    script = (
        f"mount -t tmpfs -o size=1m none {tmp_path}/disk && {run}; echo first $?; "
        f"ls {tmp_path}/disk/d; mount -o remount,size=50m {tmp_path}/disk && {run}; echo second $?"
    )
    done = subprocess.run(["unshare", "-rm", "bash", "-c", script], capture_output=True, text=True)
    if "first" not in done.stdout or "mount:" in done.stderr or "unshare:" in done.stderr:
        pytest.skip("cannot mount a small file system here")
    assert "first 2" in done.stdout and "second 0" in done.stdout, done.stderr
    assert "No space left on device" in done.stderr and "README.md" not in done.stdout.split("first 2")[1].split("{")[0]


def test_hidden_test(crystals, tmp_path, cache):
    few = crystals.slice(0, 20)
    report = generate(few, tmp_path / "d", configs=["tiny"], conditions=[0, 30, 31], hidden_test=True, progress=False)
    assert report.rows["hidden"] == {"test": 20}
    hidden = datasets.load_dataset(str(tmp_path / "d"), "hidden", split="test", cache_dir=cache).with_format("numpy")
    assert hidden.column_names == ["row_id", "intensity"]
    key = pq.read_table(tmp_path / "d-key" / "key.parquet")
    secret = json.loads((tmp_path / "d-key" / "key.json").read_text())["seed"]
    assert not any(
        str(secret) in p.read_text() for p in (tmp_path / "d").iterdir() if p.is_file() and p.suffix != ".parquet"
    )
    assert sorted(key["row_id"].to_pylist()) == sorted(hidden["row_id"]) and key.num_rows == 20
    assert secret != 0 and set(key["condition"].to_pylist()) == {33}
    rows = {r["row_id"]: r for r in key.to_pylist()}
    simulator = Simulator("simxrd-4m", seed=secret)
    ids = few["crystal_id"].to_pylist()
    for row in hidden.select(range(5)):
        truth = rows[row["row_id"]]
        index = ids.index(truth["crystal_id"])
        made = simulator.simulate(crystal(few, index), [33]).intensity[0]
        assert np.array_equal(row["intensity"], rounded(made))
        assert truth["space_group"] == few["space_group"][index].as_py() - 1
    # Another secret, another order: nothing public tells which row is which.
    again = generate(few, tmp_path / "e", configs=["tiny"], conditions=[0, 30, 31], hidden_test=True, progress=False)
    other = pq.read_table(tmp_path / "e-key" / "key.parquet")
    assert not set(other["row_id"].to_pylist()) & set(rows) and again.rows == report.rows
    with pytest.raises(BadInput, match="inside the dataset"):
        generate(few, tmp_path / "f", hidden_test=True, key_dir=tmp_path / "f" / "key", progress=False)


def test_prototype_split_is_filled_in(crystals, tmp_path):
    arguments = {"conditions": [0, 30, 31], "split_by": "prototype", "progress": False}
    folder = generate(crystals.slice(0, 14), tmp_path / "d", **arguments).folder
    table = pq.read_table(folder / "crystals.parquet")
    assert table["prototype"].null_count == 0
    assert len(set(zip(table["prototype"].to_pylist(), table["split"].to_pylist(), strict=True))) == len(
        set(table["prototype"].to_pylist())
    )


def test_parameters_are_refused_before_any_work(crystals, tmp_path):
    for wrong in ({"configs": ["x"]}, {"preset": "x"}, {"engine": "x"}, {"conditions": [33]}):
        with pytest.raises(BadInput):
            generate(crystals, tmp_path / "d", progress=False, **wrong)
    assert not (tmp_path / "d").exists()
