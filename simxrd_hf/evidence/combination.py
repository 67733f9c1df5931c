"""The conditional logit that weighs network, cells and library, and its file beside a checkpoint."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.errors import BadInput
from simxrd_hf.evidence.findings import N_FEATURES, N_GROUPS, group_features, log_softmax
from simxrd_hf.files import write_whole
from simxrd_hf.sums import json_is_sound, with_json_sum

FloatArray = NDArray[np.float64]

EVIDENCE = "evidence.json"
"""File of a checkpoint that says how searches correct its answers."""

_VERSION = 6
_ONE_LIBRARY = 5  # the version before, which knew one size of library
_ARRAYS = ("offset", "linear", "first_weight", "first_bias", "second_weight", "second_bias", "last")


@dataclass(frozen=True, eq=False)
class Combination:
    """Scores the groups of a pattern by their features, all with the same weights.

    ln p′(g) = scale · ln p(g) + offset(g) + linear · x(g) + last · tanh(second tanh(first x(g))) + constant (McFadden's
    conditional logit with a small network in it; x: `group_features`).

    Attributes:
        scale: Factor of the network's log-probabilities.
        offset: (230,); what members that are blind to the network begin with, see `fit_combination`.
        linear: (38,).
        first_weight: (h, 38).
        first_bias: (h,).
        second_weight: (h, h).
        second_bias: (h,).
        last: (h,).
        conformal: Threshold of prediction sets for its answers, as in a model's config; or None.
        about: How it was fitted.
    """

    scale: float
    offset: FloatArray
    linear: FloatArray
    first_weight: FloatArray
    first_bias: FloatArray
    second_weight: FloatArray
    second_bias: FloatArray
    last: FloatArray
    conformal: dict[str, Any] | None = None
    about: Mapping[str, Any] | None = None

    def __call__(
        self, log_p: FloatArray, cells: FloatArray, lines: NDArray[np.int64], similarity: FloatArray
    ) -> FloatArray:
        """Log-probabilities (n, 230) of the network and what was found, as for `group_features` → (n, 230) corrected.

        Patterns are taken one by one, so that thousands fit into memory.
        """
        out = np.empty_like(log_p)
        for row in range(len(log_p)):
            one = slice(row, row + 1)
            x = group_features(log_p[one], cells[one], lines[one], similarity[one])[0].astype(np.float64)
            hidden = np.tanh(
                np.tanh(x @ self.first_weight.T + self.first_bias) @ self.second_weight.T + self.second_bias
            )
            out[row] = log_softmax(self.scale * log_p[row] + self.offset + x @ self.linear + hidden @ self.last)
        return out

    def tempered(self, temperature: float) -> "Combination":
        """The same with all scores divided by a temperature: above 1, less sure."""
        parts = {name: getattr(self, name) / temperature for name in ("scale", "offset", "linear", "last")}
        return replace(self, **parts)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        arrays = {name: np.round(getattr(self, name), 6).tolist() for name in _ARRAYS}
        return {"scale": self.scale, "conformal": self.conformal, "about": self.about, **arrays}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Combination":
        """Rebuild from `to_dict`.

        Raises:
            KeyError, TypeError, ValueError: Something is missing or of the wrong shape.
        """
        arrays = {name: np.asarray(content[name], dtype=np.float64) for name in _ARRAYS}
        h = len(arrays["last"])
        shapes = dict(
            zip(_ARRAYS, ((N_GROUPS,), (N_FEATURES,), (h, N_FEATURES), (h,), (h, h), (h,), (h,)), strict=True)
        )
        for name, shape in shapes.items():
            if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
                raise ValueError(f"{name} is not {shape} finite numbers")
        if not (np.isfinite(scale := float(content["scale"])) and scale > 0):
            raise ValueError("scale is not a positive number")
        return cls(scale, **arrays, conformal=content["conformal"], about=content["about"])


@dataclass(frozen=True, eq=False)
class LibraryEvidence:
    """How answers are corrected by libraries of one size.

    Attributes:
        least_crystals: Smallest library it may be used with: what is not found in a library counts, and how much so
            depends on how many of the structures that are met it holds.
        combination: Of network, cell search and library.
        prior: As that of `PatternEvidence`, for the crystals this was fitted on; or None.
    """

    least_crystals: int
    combination: Combination
    prior: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class PatternEvidence:
    """How a checkpoint's answers are corrected.

    Attributes:
        cells: Combination of network and cell search.
        libraries: The same with a library too, for libraries of several sizes; may be empty.
        prior: ln of the share of each group among measured compounds over that among the crystals `cells` was fitted on
            (230,), or None. Databases of calculated crystals are full of ordered models of what is disordered: half of
            the newest entries of the Materials Project are P1, of its oldest, taken from measurements, one in 200.
    """

    cells: Combination
    libraries: tuple[LibraryEvidence, ...] = ()
    prior: FloatArray | None = None

    def for_library(self, crystals: int) -> LibraryEvidence | None:
        """What is meant for a library of so many crystals: of those it is large enough for, that of the largest."""
        usable = [one for one in self.libraries if one.least_crystals <= crystals]
        return max(usable, key=lambda one: one.least_crystals, default=None)

    def with_library(self, fitted: LibraryEvidence) -> "PatternEvidence":
        """The same with one more, or with that for libraries of this size replaced."""
        others = [one for one in self.libraries if one.least_crystals != fitted.least_crystals]
        return replace(self, libraries=tuple(sorted([*others, fitted], key=lambda one: one.least_crystals)))

    def save(self, folder: str | Path) -> Path:
        """Write `evidence.json` into a checkpoint folder, whole or not at all."""
        path = Path(folder) / EVIDENCE
        content: dict[str, Any] = {"version": _VERSION, "cells": self.cells.to_dict(), "prior": _plain(self.prior)}
        content["libraries"] = [
            {"least_crystals": one.least_crystals, "prior": _plain(one.prior), **one.combination.to_dict()}
            for one in self.libraries
        ]
        write_whole(path, json.dumps(with_json_sum(content)) + "\n")
        return path

    @classmethod
    def load(cls, folder: str | Path) -> "PatternEvidence | None":
        """What lies beside a checkpoint, or None where there is nothing.

        Raises:
            BadInput: The file is damaged or of another version.
        """
        path = Path(folder) / EVIDENCE
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["version"] not in {_VERSION, _ONE_LIBRARY}:
                raise BadInput(f"{path}: version {content['version']}, this code reads {_VERSION}: update simxrd_hf")
            if not json_is_sound(content):
                raise ValueError("it does not have the sum it names")
            prior = _prior(content.get("prior"))
            if content["version"] == _ONE_LIBRARY:
                about = {"least_crystals": content.get("least_crystals", 0), "prior": content.get("prior")}
                parts = [content["library"] | about] if "library" in content else []
            else:
                parts = content["libraries"]
            libraries = (
                LibraryEvidence(int(one["least_crystals"]), Combination.from_dict(one), _prior(one["prior"]))
                for one in parts
            )
            return cls(Combination.from_dict(content["cells"]), tuple(libraries), prior)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            if isinstance(error, BadInput):
                raise
            raise BadInput(f"{path}: damaged ({error}); copy or download it again, or delete it") from error


def _plain(prior: FloatArray | None) -> list[float] | None:
    return None if prior is None else np.round(prior, 4).tolist()


def _prior(values: Any) -> FloatArray | None:
    """A prior as a file gives it.

    Raises:
        TypeError, ValueError: It is not 230 finite numbers.
    """
    if values is None:
        return None
    prior = np.asarray(values, dtype=np.float64)
    if prior.shape != (N_GROUPS,) or not np.isfinite(prior).all():
        raise ValueError(f"prior is not {N_GROUPS} finite numbers")
    return prior
