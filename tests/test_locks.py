"""A lock keeps other processes out as long as its holder lives, and no longer."""

import subprocess
import sys

from simxrd_hf.locks import locked

HOLD = """
import sys, time
from pathlib import Path
from simxrd_hf.locks import locked

with locked(Path(sys.argv[1])) as held:
    print(held, flush=True)
    time.sleep(60)
"""


def test_held_free_and_free_again_after_a_kill(tmp_path):
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "True\n"
        with locked(path) as held:
            assert not held
        with locked(tmp_path / "other") as held:
            assert held
        holder.kill()
    with locked(path, wait=True) as held:
        assert held
    with locked(path) as held:
        assert held
