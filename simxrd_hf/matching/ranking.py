"""Puts crystals that are alike in order by what each, fitted to the whole profile, leaves of it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from simxrd_hf.crystals.provenance import from_measured
from simxrd_hf.matching.mixtures import MixtureSearch
from simxrd_hf.matching.search import Match

_POINTS = 120.0
"""How many independent points a pattern is taken to have, as for mixtures."""
_CALCULATED = 4.0
_LEAST = 1e-9


def by_profile(matches: Sequence[Match], search: MixtureSearch) -> list[Match]:
    """Matches by how well each alone makes the profile, its cell, the width of its lines and the shifts fitted.

    Isostructural compounds have the same lines: what tells them apart are some per cent of intensity, and a cell that
    no relaxed one comes to. `benchmarks/first_match.py` counts how often the first match is the compound.

    Args:
        matches: Of `LibrarySearch.matches`.
        search: Of the same pattern and library.

    Returns:
        The same matches with `residual`.
    """
    places = search.library.place_of
    left = search.alone([(places[one.crystal_id], (1 + one.volume_change) ** (1 / 3)) for one in matches])
    calculated = ~from_measured(one.crystal_id for one in matches)
    cost = _POINTS * np.log(np.maximum(left, _LEAST)) + [one.unusual for one in matches] + _CALCULATED * calculated
    return [replace(matches[k], residual=float(left[k])) for k in np.argsort(cost, kind="stable")]
