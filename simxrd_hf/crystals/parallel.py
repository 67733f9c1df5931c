"""A map over processes that keeps the order and never holds more than a few tasks ahead."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ordered_map(function: Callable[[T], R], tasks: Iterable[T], num_proc: int) -> Iterator[R]:
    """Results of `function` for each task, in order.

    Processes are started fresh ("spawn"): forked ones would inherit the locks of numba's and pymatgen's threads.

    Args:
        function: Module-level function.
        tasks: Its arguments; drawn as needed.
        num_proc: Processes; 1 works in this one.
    """
    if num_proc <= 1:
        yield from map(function, tasks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_proc, mp_context=context) as pool:
        waiting: deque[Future[R]] = deque()
        for task in tasks:
            waiting.append(pool.submit(function, task))
            if len(waiting) > 4 * num_proc:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
