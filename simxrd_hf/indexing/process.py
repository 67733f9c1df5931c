"""The cell search in a process of its own, which loads its compiled code while this one loads torch."""

import multiprocessing
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


START_SECONDS = 180.0
"""How long the first answer may take: without a cache the compiler alone takes a minute."""
ANSWER_SECONDS = 60.0
"""How long any other answer may take; a search takes about a second."""


class SearchProcess:
    """Does what `extinction_log_likelihoods` does, in a child process that is ready for it when it is first asked.

    A command that classifies one file spends its time on loading: numba's code for the search and torch's for the
    network take about a second each, and on two cores they can do so side by side. Start it before threads are, and
    before torch is imported: the child is a fork. Without `available()`, and when the child dies or does not answer,
    it searches in this process. Threads may share one: they wait for one another.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pipe: Connection | None = None
        self._owner = os.getpid()
        self._ready = False
        if self.available():
            context = multiprocessing.get_context("fork")
            self._pipe, theirs = context.Pipe()
            self._child = context.Process(target=_serve, args=(theirs, self._pipe), daemon=True)
            self._child.start()
            theirs.close()

    @staticmethod
    def available() -> bool:
        """Whether a fork is safe: Apple's libraries do not stand it, Windows has none."""
        return sys.platform == "linux" and "fork" in multiprocessing.get_all_start_methods()

    def __call__(
        self, two_theta: ArrayLike, significance: ArrayLike | None = None, *, wavelength: float
    ) -> NDArray[np.float64]:
        """See `simxrd_hf.indexing.extinction_log_likelihoods`."""
        # One question at a time, each with its answer; a process forked from this one must not listen in.
        if self._owner == os.getpid():
            with self._lock:
                if self._pipe is not None:
                    found = self._ask((two_theta, significance, wavelength))
                    if isinstance(found, Exception):
                        raise found
                    if found is not None:
                        return found
        from simxrd_hf.indexing.cells import extinction_log_likelihoods

        return extinction_log_likelihoods(two_theta, significance, wavelength=wavelength)

    def _ask(self, question: tuple[ArrayLike, ArrayLike | None, float]) -> NDArray[np.float64] | Exception | None:
        """The child's answer; None when it has died, or does not answer, and is given up."""
        assert self._pipe is not None
        try:
            self._pipe.send(question)
            if self._pipe.poll(ANSWER_SECONDS if self._ready else START_SECONDS):
                found: NDArray[np.float64] | Exception = self._pipe.recv()
                self._ready = True
                return found
        except (EOFError, OSError):  # the child was killed, for instance for want of memory
            pass
        except BaseException:  # an interrupt: the answer to this question would be taken for the next one's
            self._give_up()
            raise
        self._give_up()
        return None

    def _give_up(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        self._pipe = None
        self._child.kill()  # a stopped one too


def _serve(pipe: "Connection", others_end: "Connection") -> None:
    """Load, then answer until the other end is gone."""
    others_end.close()  # or this process would never see that its parent has died
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to answer
    from simxrd_hf.indexing.cells import extinction_log_likelihoods

    extinction_log_likelihoods(_EXAMPLE, wavelength=1.54184)
    while True:
        try:
            two_theta, significance, wavelength = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            pipe.send(extinction_log_likelihoods(two_theta, significance, wavelength=wavelength))
        except OSError:
            return
        except Exception as error:
            pipe.send(error)


# fluorite (a = 5.463 Å): a search that meets all compiled code
_EXAMPLE = np.array([28.27, 32.76, 47.00, 55.76, 58.47, 68.67, 75.85])
