"""Bars for what takes long: at once on a terminal; in a log only for what takes longer than half a minute."""

import sys
from collections.abc import Iterable
from typing import Any

_PATIENCE = 30.0
"""Seconds after which somebody who reads a log wants to know how far a command is."""


def bar(items: Iterable[Any] | None = None, *, show: bool = True, **about: Any) -> Any:
    """A bar of tqdm.

    Args:
        items: What is gone through; None for a bar that is told with `update`.
        show: Whether there is one at all.
        **about: `total`, `unit`, `desc` and what else tqdm takes.
    """
    from tqdm import tqdm

    delay = 0.0 if sys.stderr.isatty() else _PATIENCE
    return tqdm(items, disable=not show, delay=delay, **about)
