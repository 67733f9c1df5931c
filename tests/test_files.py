"""Files and folders that appear whole or not at all, durable where it is promised."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from simxrd_hf import files
from simxrd_hf.errors import BadInput
from simxrd_hf.files import remove_unfinished, replacing, replacing_folder, write_whole


def test_a_file_is_the_old_one_or_the_new_one(tmp_path):
    target = tmp_path / "file.json"
    write_whole(target, "grün")
    write_whole(target, b"second")
    with pytest.raises(RuntimeError), replacing(target) as temporary:
        temporary.write_text("half")
        assert target.read_bytes() == b"second" and temporary.suffix == ".json" and temporary.parent == tmp_path
        raise RuntimeError
    assert target.read_bytes() == b"second" and list(tmp_path.iterdir()) == [target]


def test_nothing_is_left_when_the_disk_is_full(tmp_path):
    # A file-size limit is the nearest thing to a full disk that needs no privileges.
    program = (
        "import resource, signal, sys\n"
        "from simxrd_hf.files import write_whole\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    write_whole(sys.argv[1], bytes(5000))\n"
        "except OSError as error:\n    print(error.errno)\n"
    )
    target = tmp_path / "file"
    target.write_text("old")
    done = subprocess.run([sys.executable, "-c", program, str(target)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "27"  # EFBIG
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


def test_many_writers_of_one_file_do_not_meet(tmp_path):
    target = tmp_path / "file"
    contents = [bytes([number]) * 20_000 for number in range(8)]
    threads = [
        threading.Thread(target=lambda c=c: [write_whole(target, c, durable=False) for _ in range(20)])
        for c in contents
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if target.exists():
            assert target.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [target]


def test_the_umask_holds_and_links_are_followed(tmp_path):
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "file", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
    (tmp_path / "link").symlink_to("file")
    write_whole(tmp_path / "link", "y")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_text() == "y"


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write_whole(pipe, "through", durable=False)
    reader.join()
    assert read == ["through"] and pipe.is_fifo()


def test_the_place_must_be_one_for_a_file(tmp_path):
    with pytest.raises(BadInput, match="no such folder; create it"):
        write_whole(tmp_path / "none" / "file", "x")
    with pytest.raises(BadInput, match="is a folder; give the name of a file"):
        write_whole(tmp_path, "x")
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="is a file; give the name of a folder"), replacing_folder(tmp_path / "file"):
        pass


def test_a_folder_is_the_old_one_or_the_new_one(tmp_path):
    target = tmp_path / "above" / "folder"
    with replacing_folder(target, durable=True) as work:
        (work / "a").write_text("1")
    with pytest.raises(RuntimeError), replacing_folder(target) as work:
        (work / "b").write_text("2")
        raise RuntimeError
    assert [path.name for path in target.iterdir()] == ["a"]
    with replacing_folder(target) as work:
        (work / "c").write_text("3")
    assert [path.name for path in target.iterdir()] == ["c"] and list(target.parent.iterdir()) == [target]


def test_what_a_killed_process_left_goes(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "kept.parquet").touch()
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from simxrd_hf.files import replacing, replacing_folder\n"
        "data = Path(sys.argv[1]) / 'data'\n"
        "with replacing_folder(data / 'folder') as work, replacing(data / 'x.parquet') as file:\n"
        "    (work / 'a').touch()\n    file.touch()\n    os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert len(list((tmp_path / "data").iterdir())) == 3
    remove_unfinished(tmp_path)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["kept.parquet"]


@pytest.mark.parametrize("durable", [True, False])
def test_a_promise_is_kept_in_order(tmp_path, monkeypatch, durable):
    done: list[str] = []
    kinds = {tmp_path / "sub": "folder", tmp_path: "folder above"}
    monkeypatch.setattr(files, "sync", lambda path: done.append(kinds.get(path, "content")))
    rename = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: (done.append("rename"), rename(self, to))[1])
    (tmp_path / "sub").mkdir()
    write_whole(tmp_path / "sub" / "file", "x", durable=durable)
    assert done == (["content", "rename", "folder"] if durable else ["rename"])
