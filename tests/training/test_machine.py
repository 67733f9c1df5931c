"""What training takes of a machine: cores that nothing else needs, and freed memory without page faults."""

import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from simxrd_hf.training.machine import cores, idle_cores

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
    ("own", "idle", "nice", "free"),
    [(0, 100, 0, 4), (0, 50, 0, 2), (0, 0, 0, 1), (0, 25, 50, 3), (10, 25, 50, 1), (0, 12, 0, 1)],
)
def test_what_gives_way_leaves_its_cores(monkeypatch, own, idle, nice, free):
    times = SimpleNamespace(user=100 - idle - nice, nice=nice, idle=idle)
    monkeypatch.setattr(psutil, "cpu_times_percent", lambda interval: times)
    monkeypatch.setattr(psutil, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "nice", lambda change: own)
    monkeypatch.setattr("simxrd_hf.training.machine.cores", lambda: 4)
    assert idle_cores() == free


def test_no_more_cores_than_this_process_may_use(monkeypatch):
    monkeypatch.setattr(psutil, "cpu_times_percent", lambda interval: SimpleNamespace(idle=100.0))
    monkeypatch.setattr(psutil, "cpu_count", lambda: 1000)
    assert idle_cores() == cores()
