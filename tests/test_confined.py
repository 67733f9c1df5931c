"""The process that reads strangers' files: what it may do, what ends it, and that it serves on afterwards."""

import os
import threading
import time

import numpy as np
import pytest

from simxrd_hf import confined
from simxrd_hf.confined import Confined
from simxrd_hf.errors import BadInput
from simxrd_hf.unpack import gunzip

linux = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="limits of memory need Linux")  # noqa: PTH110


@pytest.fixture(scope="module")
def unruly():
    child = Confined("confined_functions:misbehave", preload=("socket",))
    yield child
    child.close()


def test_plain_data_and_arrays_come_back_as_they_were():
    child = Confined("confined_functions:echo")
    for size in (0, 1, 200_000):
        raw = bytes(range(256)) * (size // 256) + bytes(size % 256)
        got = child(raw, "a.xy", wavelength=1.54, axis=None)
        assert got["name"] == "a.xy" and got["options"] == {"wavelength": 1.54, "axis": None}
        assert got["list"][:3] == [1, 2.5, None] and np.isnan(got["list"][3]) and got["list"][4] == 0.5
        assert got["arrays"]["bytes"].tobytes() == raw
        assert np.array_equal(got["arrays"]["floats"], np.arange(6.0).reshape(2, 3))
        assert got["arrays"]["none"].shape == (0, 3)
    child.close()


def test_a_refusal_is_the_functions_own_words():
    child = Confined("confined_functions:refuse")
    with pytest.raises(BadInput, match=r"^a\.xy: no, because of byte 7$"):
        child(b"\7", "a.xy")
    child.close()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("memory", "a.xy: takes more than 160 MiB of memory"),
        ("many", "a.xy: takes more than 160 MiB of memory"),
        ("crash", "a.xy: damaged: the library that reads it ended with signal 6"),
        ("exit", r"a.xy: damaged: the process that reads it ended \(code 7\)"),
        ("deep", "a.xy: nested too deep"),
        ("fault", "a.xy: damaged, or of a form not known here .KeyError"),
        ("open", "a.xy: damaged, .*OSError: .Errno 24"),
        ("write", "a.xy: damaged, .*OSError: .Errno 24"),
        ("connect", "a.xy: damaged, .*OSError: .Errno 24"),
    ],
)
@linux
def test_what_a_file_could_do_ends_in_one_line_and_the_next_is_read(unruly, what, message):
    with pytest.raises(BadInput, match=message) as caught:
        unruly(what.encode(), "a.xy")
    assert "\n" not in str(caught.value)
    assert unruly(b"nothing", "b.xy") == "well"


@pytest.mark.parametrize("what", ["loop", "sleep"])
def test_time_is_bounded(unruly, what, monkeypatch):
    monkeypatch.setattr(confined, "_PATIENCE", 0.1 if what == "sleep" else 60.0)
    began = time.process_time()
    with pytest.raises(BadInput, match=r"a\.xy: takes more than 4 s to read"):
        unruly(what.encode(), "a.xy")
    assert time.process_time() - began < 1  # this process only waits
    assert unruly(b"nothing", "b.xy") == "well"


def test_it_knows_nothing_of_the_environment(unruly, monkeypatch):
    unruly.close()
    monkeypatch.setenv("SIMXRD_TEST_SECRET", "hf_secret")
    assert unruly(b"environment", "a.xy") == {}
    assert unruly(b"print", "a.xy") == "well"
    pid = unruly._child.pid
    if os.path.exists(f"/proc/{pid}/environ"):  # noqa: PTH110
        with open(f"/proc/{pid}/environ", "rb") as stream:  # noqa: PTH123
            assert b"hf_secret" not in stream.read()


def test_threads_share_it_and_a_fork_does_not():
    child = Confined("confined_functions:echo")
    wrong = []

    def ask(number):
        for i in range(20):
            if child(bytes([number]) * i, f"{number}")["name"] != f"{number}":
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    mine = child._child.pid
    pid = os.fork() if hasattr(os, "fork") else None
    if pid == 0:
        ok = child(b"", "forked")["name"] == "forked" and child._child.pid != mine
        child._child.kill()
        os._exit(0 if ok else 1)
    if pid is not None:
        assert os.waitpid(pid, 0)[1] == 0
    assert child(b"", "again")["name"] == "again" and child._child.pid == mine
    child.close()


def test_a_function_that_is_not_there_is_a_fault_of_ours_not_of_the_file():
    child = Confined("confined_functions:nothing")
    with pytest.raises(RuntimeError, match="did not start"):
        child(b"", "a.xy")


def test_gzip_stops_at_the_bound():
    import gzip

    assert gunzip(gzip.compress(b"a" * 1000) + gzip.compress(b"b") + b"\0" * 600, "a.gz") == b"a" * 1000 + b"b"
    bomb = gzip.compress(bytes(20 * 2**20))
    with pytest.raises(BadInput, match=r"a\.gz: unpacks to more than 8 MiB"):
        gunzip(bomb, "a.gz")
    assert len(gunzip(bomb, "a.gz", limit=20 * 2**20)) == 20 * 2**20
    for broken in (bomb[:1000], b"\x1f\x8b", b"\x1f\x8bxx" + bomb[4:], bomb[:-4] + b"oops"):
        with pytest.raises(BadInput, match=r"a\.gz: "):
            gunzip(broken, "a.gz")
