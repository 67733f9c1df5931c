"""Freed memory: asked for again, it costs no page faults."""

import platform
import subprocess
import sys

import pytest

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
