"""Processes of a generation: this one, and child processes that take block numbers from a pipe and answer with records.

They start as fresh interpreters (a forked copy of a process that has run threads may hang or die), do not import the
caller's main module (so scripts need no `if __name__ == "__main__"`), and end by themselves when their input closes, as
it does when the parent is killed. The parent makes blocks, too: it is ready while they still start.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from simxrd_hf.data.jobs import Job
from simxrd_hf.errors import BadInput

# Garbage collection finds nothing while modules are loaded, and takes a seventh of the time until the first row.
_MAIN = "import gc; gc.disable(); from simxrd_hf.data.workers import main; main()"


class GenerationError(RuntimeError):
    """A generation that stopped for a reason other than its input; the finished shards are kept."""


def records(job: Job, numbers: Sequence[int], processes: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Make blocks in several processes.

    Args:
        job: A generation that has begun.
        numbers: Tasks to make.
        processes: How many processes, this one among them.

    Yields:
        Task number and record, in the order of completion.

    Raises:
        GenerationError: A worker died.
        OSError: A worker could not write (disk full, no permission).
        BadInput: A worker met unusable input.
    """
    folder = job.folder
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in numbers:
        todo.put(number)
    answers: queue.SimpleQueue[tuple[int, dict[str, Any] | None, Exception | None]] = queue.SimpleQueue()
    environment = {**os.environ, "NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _MAIN, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        for _ in range(min(processes, len(numbers)) - 1)
    ]
    stopping = threading.Event()

    def feed(worker: subprocess.Popen[str]) -> None:
        while not stopping.is_set():
            try:
                number = todo.get_nowait()
            except queue.Empty:
                break
            try:
                answers.put((number, *_ask(worker, number, folder)))
            except OSError:  # its input is closed: it has died
                answers.put((number, None, _died(worker, folder)))
                break
        if worker.stdin:
            with contextlib.suppress(BrokenPipeError):
                worker.stdin.close()

    threads = [threading.Thread(target=feed, args=(worker,), daemon=True) for worker in workers]
    try:
        for thread in threads:
            thread.start()
        for _ in numbers:
            with contextlib.suppress(queue.Empty):
                while answers.empty():
                    number = todo.get_nowait()
                    answers.put((number, job.run(number), None))
            number, record, fault = answers.get()
            if fault is not None:
                raise fault
            assert record is not None
            yield number, record
    finally:
        stopping.set()
        for worker in workers:
            worker.terminate()
            worker.wait()
        for thread in threads:
            thread.join()
        for worker in workers:
            for stream in (worker.stdin, worker.stdout):
                if stream:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()


def _ask(worker: subprocess.Popen[str], number: int, folder: Path) -> tuple[dict[str, Any] | None, Exception | None]:
    assert worker.stdin and worker.stdout
    worker.stdin.write(f"{number}\n")
    worker.stdin.flush()
    line = worker.stdout.readline()
    if not line.endswith("\n"):
        return None, _died(worker, folder)
    answer = json.loads(line)
    if "os_error" in answer:
        return None, OSError(*answer["os_error"])
    if "bad_input" in answer:
        return None, BadInput(answer["bad_input"])
    return answer, None


def _died(worker: subprocess.Popen[str], folder: Path) -> GenerationError:
    code = worker.wait()
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    return GenerationError(
        f"a worker process {how}; the finished shards in {folder} are kept: run the same command again to go on, with "
        "fewer processes if memory was short"
    )


def main() -> None:
    """Serve one pipe until it closes."""
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not be taken for an answer
    from simxrd_hf.compiler import silence

    silence()
    job = Job.open(Path(sys.argv[1]))
    for line in sys.stdin:
        try:
            answer: dict[str, Any] = job.run(int(line))
        except BadInput as error:
            answer = {"bad_input": str(error)}
        except OSError as error:
            answer = {"os_error": [error.errno, error.strerror or str(error), error.filename]}
        try:
            os.write(answers, (json.dumps(answer) + "\n").encode())
        except BrokenPipeError:  # the parent was killed: it will ask for what is missing when called again
            return
        if not gc.isenabled():
            gc.freeze()
            gc.enable()
