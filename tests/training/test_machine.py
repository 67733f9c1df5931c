"""What training takes of a machine: cores that nothing else needs, and freed memory without page faults."""

import os
import platform
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest
import torch

from simxrd_hf.training import machine
from simxrd_hf.training.machine import _used, idle_cores

PROGRAM = """
import resource, sys
import torch
from simxrd_hf.training import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory() is True

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

for round in range(20):
    if round == 10:  # by then the heap has found room for it
        before = faults()
    torch.ones(1 << 24)  # 64 MiB
print(faults() - before)
"""


def later_faults(how):
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library can be told")
def test_memory_is_taken_from_the_system_once():
    assert later_faults("keep") < 100 < later_faults("leave")


@pytest.mark.parametrize(
    ("priority", "idle", "nice", "own", "free"),
    [
        (0, 4, 0, 0, 4), (0, 2, 0, 0, 2), (0, 0, 0, 0, 1), (0, 0.4, 0, 0, 1),
        (0, 1, 2, 0, 3), (10, 1, 2, 0, 1),  # niced programs give way, but not to a niced one
        (0, 1, 0, 1.9, 3), (0, 4, 0, 1, 4),
    ],
)  # fmt: skip
def test_cores_that_nothing_else_needs(monkeypatch, priority, idle, nice, own, free):
    """By the seconds that four cores spend while a clock that stands in for the real one moves on by one."""
    now = [0.0]
    monkeypatch.setattr(
        machine, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=lambda s: now.append(now.pop() + s))
    )
    monkeypatch.setattr(psutil, "cpu_times", lambda: SimpleNamespace(idle=50 + idle * now[0], nice=7 + nice * now[0]))
    monkeypatch.setattr(machine, "_used", lambda: 3 + own * now[0])
    monkeypatch.setattr(os, "nice", lambda change: priority)
    monkeypatch.setattr(machine, "cores", lambda: 4)
    assert idle_cores() == free


def test_all_cores_of_a_machine_are_free_or_used():
    """Of real times: what is free and what this process uses is no more than there is, and something is."""
    free, used, begun = machine._free(), _used(), time.monotonic()
    while time.monotonic() - begun < 0.3:
        pass
    found = (machine._free() - free + _used() - used) / (time.monotonic() - begun)
    assert 0.3 < found < psutil.cpu_count() + 0.5


def test_time_used_is_that_of_children_too():
    program = "import time; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass\ninput()"
    before = _used()
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) as child:
        for _ in range(600):
            if _used() - before >= 0.5:
                break
            time.sleep(0.1)
        assert _used() - before >= 0.5
        child.communicate(b"\n")


@pytest.mark.parametrize(
    ("wanted", "busy", "idle", "threads"),
    [
        (None, 0, 2, 2),
        (None, 1, 2, 1),
        (None, 2, 2, 1),
        (None, 1, 1, 1),
        (2, 1, 2, 2),
        (None, 0, 8, 2),
        (None, 1, 8, 2),
    ],
)
def test_busy_processes_of_its_own_have_their_cores(monkeypatch, wanted, busy, idle, threads):
    before = torch.get_num_threads()
    monkeypatch.setattr(machine, "idle_cores", lambda: idle)
    try:
        torch.set_num_threads(2)
        with machine.threads_set(wanted, busy):
            assert torch.get_num_threads() == threads
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
