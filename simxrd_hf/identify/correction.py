"""Applies what cells and a library say to the answers of one checkpoint; for the predictor and the pipeline alike."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simxrd_hf.errors import BadInput
from simxrd_hf.evidence.combination import Combination, PatternEvidence
from simxrd_hf.evidence.findings import Findings, examine, log_softmax
from simxrd_hf.identify.phases import MOST_PHASES, mixture_flag, phases_answer
from simxrd_hf.matching.elements import ElementFilter

if TYPE_CHECKING:
    from simxrd_hf.matching import LineLibrary, Match, Mixture, MixtureSearch

FloatArray = NDArray[np.float64]

_LISTED = 10


class Correction:
    """Corrects logits and lists the crystals that match.

    Args:
        folder: The checkpoint; without `evidence.json` in it the answers stay as they are.
        indexing: False leaves the answers as they are.
        library: What `open_library` opens: crystals that match are listed, and correct the answers
            where the library is large enough.
        prior: Take the groups to be as frequent as among measured compounds, not as in the database of calculated
            crystals that the patterns of training came from.
        elements: What the sample is made of, in any way `ElementFilter.parse` reads: other crystals are left out.
        phases: How many crystals of the library explain a pattern together; by default as many as pay, 0 for no such
            search.
        weigh: Does what `indexing.extinction_log_likelihoods` does, for instance `indexing.SearchProcess()`.

    Raises:
        BadInput: A file is missing or damaged.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        indexing: bool = True,
        library: Any = None,
        prior: bool = True,
        elements: Any = None,
        phases: int | None = None,
        weigh: Callable[..., FloatArray] | None = None,
    ) -> None:
        evidence = PatternEvidence.load(folder) if indexing else None
        self.library: LineLibrary | None = None
        if library is not None:
            from simxrd_hf.identify.libraries import open_library

            self.library = library = open_library(library)
        self.elements = self._filter(elements)
        self.phases = _checked(phases)
        self.weigh = weigh
        self.by: Combination | None = None
        self.prior: FloatArray | None = None
        self._reads_library = False
        self._least = min((one.least_crystals for one in evidence.libraries), default=0) if evidence is not None else 0
        if evidence is not None:
            of_library = None if library is None else evidence.for_library(len(library))
            self._reads_library = of_library is not None
            self.by = evidence.cells if of_library is None else of_library.combination
            self.prior = (evidence if of_library is None else of_library).prior if prior else None

    @property
    def note(self) -> str | None:
        """Why the library only lists crystals, if it does."""
        if self.library is None or self._reads_library:
            return None
        if self._least:
            return (
                f"the library holds {len(self.library):,} crystals: those that match are listed, but only one of "
                f"{self._least:,} or more corrects the answers"
            )
        return "crystals of the library that match are listed; they do not correct the answers"

    @property
    def active(self) -> bool:
        """Whether there is anything to do."""
        return self.by is not None or self.library is not None

    def conformal(self, own: dict[str, Any] | None) -> dict[str, Any] | None:
        """Threshold of prediction sets: of the combination, or the model's `own`."""
        return own if self.by is None else self.by.conformal

    def _filter(self, elements: Any) -> ElementFilter | None:
        """What is said of the elements, which some crystal of the library must agree with."""
        made = ElementFilter.parse(elements)
        if made is not None and self.library is not None:
            made.allows(self.library)
        return made

    def __call__(
        self,
        logits: ArrayLike,
        prepared: Mapping[str, Any],
        grid: Mapping[str, float],
        temperature: float,
        *,
        elements: Any = None,
        phases: int | None = None,
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Correct the patterns of one sample.

        Args:
            logits: (patterns, 230) of the network.
            prepared: "intensity" and "mask", (patterns, n_points) each, as the network read them.
            grid: The grid they lie on.
            temperature: Of the model.
            elements: Of this sample, instead of those of all.
            phases: Of this sample, instead of those of all.

        Returns:
            Logits (patterns, 230), to be divided by the same temperature, and "matches" for the answer where there is
            a library: the likest crystals, where phases are searched for by what each leaves of the profile.

        Raises:
            BadInput: No crystal of the library is made of these elements, or they cannot be read.
        """
        table = np.asarray(logits)
        there = self.elements if elements is None else self._filter(elements)
        masks = prepared.get("mask", [None] * len(table))
        found = [
            examine(y, mask, grid, self.library, cells=self.by is not None, elements=there, weigh=self.weigh)
            for y, mask in zip(prepared["intensity"], masks, strict=True)
        ]
        if self.by is not None:
            similarity = np.stack([one.similarity for one in found])
            if not self._reads_library:  # the combination of network and cells was fitted on zeros
                similarity = np.zeros_like(similarity)
            log_p = self.by(
                log_softmax(table / temperature),
                np.stack([one.cells for one in found]),
                np.array([one.lines for one in found]),
                similarity,
            )
            table = temperature * (log_p if self.prior is None else log_softmax(log_p + self.prior))
        return table, self._beside(found, prepared, grid, elements, phases)

    def _beside(
        self, found: list[Findings], prepared: Mapping[str, Any], grid: Mapping[str, float], elements: Any, phases: Any
    ) -> dict[str, Any]:
        """What stands beside the ranking: matches, phases, flags."""
        more: dict[str, Any] = {}
        phases = self.phases if phases is None else _checked(phases)
        search = self._search(prepared, grid, elements, phases)
        mixture = None if search is None else search.mixture(phases=phases)
        if self.library is not None:
            listed = _listed(found)
            if search is not None:
                from simxrd_hf.matching import by_profile

                listed = by_profile(listed, search)
            more["matches"] = [asdict(match) for match in listed]
        if mixture is not None:
            more |= phases_answer(mixture)
        flag = mixture_flag(found[0], mixture)
        return more | {"flags": [asdict(flag)]} if flag is not None else more

    def mixture(
        self, prepared: Mapping[str, Any], grid: Mapping[str, float], *, elements: Any = None, phases: int | None = None
    ) -> "Mixture | None":
        """Crystals that together make the first pattern of a sample; None without a library or where not asked for."""
        phases = self.phases if phases is None else _checked(phases)
        search = self._search(prepared, grid, elements, phases)
        return None if search is None else search.mixture(phases=phases)

    def _search(
        self, prepared: Mapping[str, Any], grid: Mapping[str, float], elements: Any, phases: int | None
    ) -> "MixtureSearch | None":
        """Search for several phases in the first pattern of a sample; None as for `mixture`."""
        if self.library is None or phases == 0:
            return None
        from simxrd_hf.matching import MixtureSearch

        mask = prepared["mask"][0] if "mask" in prepared else None
        there = self.elements if elements is None else self._filter(elements)
        return MixtureSearch(prepared["intensity"][0], self.library, grid, mask, elements=there)


def _checked(phases: int | None) -> int | None:
    if phases is not None and not 0 <= phases <= MOST_PHASES:
        raise BadInput(f"phases: {phases}; 1 to {MOST_PHASES}, or 0 for no search for several")
    return phases


def _listed(found: list[Findings]) -> "list[Match]":
    """The best matches of all patterns of a sample, each crystal once."""
    every = sorted(
        (match for one in found if one.matches is not None for match in one.matches.best), key=lambda m: -m.standing
    )
    seen: dict[str, Match] = {}
    for match in every:
        seen.setdefault(match.crystal_id, match)
    return list(seen.values())[:_LISTED]
