"""Which crystals came from measured structures, as their names tell."""

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

MEASURED = ((0, 30_000), (500_000, 620_000), (1_190_000, 1_210_000))
"""Numbers of the Materials Project (release 2025.02.12) of entries made from measured structures, as the share of P1
shows: 1 %, of the others 12 %, from mp-2000000 on 51 %."""


def from_measured(crystal_ids: Iterable[str]) -> NDArray[np.bool_]:
    """Whether crystals came from measured structures, (n,).

    Entries of the Materials Project (`mp-149`, `folder/mp-149.cif`, and `mp-149~disordered`, which stands for it) are
    told by their number. Whatever has no such name is taken as measured: collections of files mostly are.
    """
    found = [re.search(r"(?:^|/)mp-(\d+)(?![\w-])", name) for name in crystal_ids]
    number = np.array([int(one.group(1)) if one else 0 for one in found], dtype=np.int64)
    result: NDArray[np.bool_] = np.logical_or.reduce([(number >= low) & (number < high) for low, high in MEASURED])
    return result
