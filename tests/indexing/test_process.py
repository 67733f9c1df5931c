"""The search in a process of its own: same answers, and what happens when either process dies."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from simxrd_hf.indexing import SearchProcess, extinction_log_likelihoods, process

FLUORITE = np.array([28.27, 32.76, 47.00, 55.76, 58.47, 68.67, 75.85])
needs_fork = pytest.mark.skipif(not SearchProcess.available(), reason="no safe fork on this system")


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_the_answers_are_those_of_the_search_here():
    search = SearchProcess()
    for lines, significance in ((FLUORITE, None), (FLUORITE[:3], None), (FLUORITE, np.full(7, 5.0)), ([], None)):
        found = search(lines, significance, wavelength=1.5406)
        np.testing.assert_array_equal(found, extinction_log_likelihoods(lines, significance, wavelength=1.5406))


def test_errors_come_through():
    search = SearchProcess()
    with pytest.raises(IndexError):
        search(FLUORITE, np.ones(2), wavelength=1.5406)
    assert search(FLUORITE, wavelength=1.5406).any()


@needs_fork
def test_a_killed_search_goes_on_here():
    before = multiprocessing.active_children()
    search = SearchProcess()
    (child,) = (one.pid for one in multiprocessing.active_children() if one not in before)
    assert child is not None
    os.kill(child, signal.SIGKILL)
    np.testing.assert_array_equal(
        search(FLUORITE, wavelength=1.5406), extinction_log_likelihoods(FLUORITE, wavelength=1.5406)
    )


@needs_fork
def test_no_search_outlives_its_killed_parent():
    code = "from simxrd_hf.indexing import SearchProcess; s = SearchProcess(); print(flush=True); input()"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    assert parent.stdout is not None and parent.stdout.readline()
    (child,) = children(parent.pid)
    parent.kill()
    parent.wait()
    for _ in range(600):
        try:
            if ") Z " in Path(f"/proc/{child}/stat").read_text():
                break
        except OSError:  # it is gone
            break
        time.sleep(0.1)
    else:
        pytest.fail("the search still runs a minute after its parent was killed")


@needs_fork
def test_threads_that_share_one_get_their_own_answers():
    rng = np.random.default_rng(0)
    questions = [np.sort(rng.uniform(15, 75, 6)) for _ in range(12)]
    expected = [extinction_log_likelihoods(question, wavelength=1.54184) for question in questions]
    search = SearchProcess()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda question: search(question, wavelength=1.54184), questions))
    assert all(np.array_equal(a, b) for a, b in zip(answers, expected, strict=True))
    assert search._pipe is not None


@needs_fork
def test_a_stopped_child_is_given_up(monkeypatch):
    monkeypatch.setattr(process, "ANSWER_SECONDS", 0.2)
    search = SearchProcess()
    search(FLUORITE, wavelength=1.54184)
    os.kill(search._child.pid, signal.SIGSTOP)
    answer = search(FLUORITE, wavelength=1.54184)
    assert np.array_equal(answer, extinction_log_likelihoods(FLUORITE, wavelength=1.54184))
    search._child.join(10)
    assert search._child.exitcode == -signal.SIGKILL
