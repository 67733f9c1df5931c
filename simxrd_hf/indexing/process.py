"""The cell search in a process of its own, which loads its compiled code while this one loads torch."""

import multiprocessing
import signal
import sys
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


class SearchProcess:
    """Does what `weigh_symbols` does, in a child process that is ready for it when it is first asked.

    A command that classifies one file spends its time on loading: numba's code for the search and torch's for the
    network take about a second each, and on two cores they can do so side by side. Start it before threads are, and
    before torch is imported: the child is a fork. Without `available()` it searches in this process.
    """

    def __init__(self) -> None:
        self._pipe: Connection | None = None
        if self.available():
            context = multiprocessing.get_context("fork")
            self._pipe, theirs = context.Pipe()
            context.Process(target=_serve, args=(theirs, self._pipe), daemon=True).start()
            theirs.close()

    @staticmethod
    def available() -> bool:
        """Whether a fork is safe: Apple's libraries do not stand it, Windows has none."""
        return sys.platform == "linux" and "fork" in multiprocessing.get_all_start_methods()

    def __call__(
        self, two_theta: ArrayLike, significance: ArrayLike | None = None, *, wavelength: float
    ) -> NDArray[np.float64]:
        """See `simxrd_hf.indexing.weigh_symbols`."""
        if self._pipe is not None:
            try:
                self._pipe.send((two_theta, significance, wavelength))
                found = self._pipe.recv()
            except (EOFError, OSError):  # the child was killed, for instance for want of memory
                self._pipe = None
            else:
                if isinstance(found, Exception):
                    raise found
                return np.asarray(found)
        from simxrd_hf.indexing.cells import weigh_symbols

        return weigh_symbols(two_theta, significance, wavelength=wavelength)


def _serve(pipe: "Connection", others_end: "Connection") -> None:
    """Load, then answer until the other end is gone."""
    others_end.close()  # or this process would never see that its parent has died
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to answer
    from simxrd_hf.indexing.cells import weigh_symbols

    weigh_symbols(_EXAMPLE, wavelength=1.54184)
    while True:
        try:
            two_theta, significance, wavelength = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            pipe.send(weigh_symbols(two_theta, significance, wavelength=wavelength))
        except OSError:
            return
        except Exception as error:
            pipe.send(error)


# fluorite (a = 5.463 Å): a search that meets all compiled code
_EXAMPLE = np.array([28.27, 32.76, 47.00, 55.76, 58.47, 68.67, 75.85])
