"""Which crystal and which condition belong to which split."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from simxrd_hf.errors import BadInput

SPLITS = ("train", "validation", "test")
SPLIT_BY = ("formula", "prototype", "row_order")
CONFIGS = ("in_library", "out_of_library", "tiny")
# The in-library rule of SimXRD-4M: of every crystal 30 patterns to train, 1 to validate, 2 to test on, 1 unlabelled.
CONDITION_SPLITS = {"train": tuple(range(30)), "validation": (30,), "test": (31, 32)}
CONDITIONS = tuple(range(33))
HIDDEN_CONDITION = 33
# The out-of-library shares of SimXRD-4M; the published set cuts the row order at these, see `crystal_splits`.
_TRAIN_SHARE, _VALIDATION_SHARE = 0.7, 0.1
TINY_CRYSTALS_PER_SYSTEM = 2


def hash64(texts: Iterable[str], salt: str = "") -> np.ndarray:
    """BLAKE2b of each text as uint64; the same on every machine and in every version."""
    person = hashlib.blake2b(salt.encode(), digest_size=16).digest()
    digests = b"".join(hashlib.blake2b(t.encode(), digest_size=8, person=person).digest() for t in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def _anonymous_formula(numbers: np.ndarray) -> str:
    counts = np.sort(np.unique(numbers, return_counts=True)[1])
    counts = counts // np.gcd.reduce(counts)
    return "".join(f"{chr(65 + i % 26)}{n}" for i, n in enumerate(counts))


def prototype_keys(crystals: pa.Table) -> list[str]:
    """Structure type of each crystal.

    The table's `prototype` where it has one; else the anonymous formula (A1B2 …), the space group and the number of
    atoms in the cell as given, which puts all crystals of one type together (and now and then two types under one key,
    which for a split is the safe side).
    """
    given = crystals["prototype"].to_pylist() if "prototype" in crystals.column_names else [None] * crystals.num_rows
    numbers = crystals["atomic_numbers"].combine_chunks()
    flat, offsets = np.asarray(numbers.flatten()), np.asarray(numbers.offsets)
    offsets = offsets - offsets[0]
    groups = crystals["space_group"].to_pylist()
    return [
        name or f"{_anonymous_formula(flat[a:b])}|{group}|{b - a}"
        for name, group, a, b in zip(given, groups, offsets[:-1], offsets[1:], strict=True)
    ]


def crystal_splits(crystals: pa.Table, split_by: str = "formula") -> np.ndarray:
    """Split of each crystal in the out-of-library config.

    Args:
        crystals: Crystal table.
        split_by: "formula" hashes the reduced formula, so that polymorphs and duplicates stay on one side;
            "prototype" hashes the structure type, so that isostructural crystals do; "row_order" cuts the table at
            70 % and 80 % of its rows as the published set was cut, which keeps neither together.

    Returns:
        Index into `SPLITS` per crystal, int8.

    Raises:
        BadInput: Unknown `split_by`.
    """
    n = crystals.num_rows
    if split_by == "row_order":  # cut as the authors' script cuts: each share rounded down, the rest is test
        train, validation = int(_TRAIN_SHARE * n), int(_VALIDATION_SHARE * n)
        return np.repeat(np.arange(3, dtype=np.int8), [train, validation, n - train - validation])
    if split_by == "formula":
        position = hash64(crystals["reduced_formula"].to_pylist()) / 2.0**64
    elif split_by == "prototype":
        position = hash64(prototype_keys(crystals)) / 2.0**64
    else:
        raise BadInput(f"crystals cannot be split by {split_by!r}; choose from {', '.join(SPLIT_BY)}")
    return np.digitize(position, [_TRAIN_SHARE, _TRAIN_SHARE + _VALIDATION_SHARE]).astype(np.int8)


def check_conditions(conditions: Sequence[int] | None) -> tuple[int, ...]:
    """Conditions sorted, all 33 if absent.

    Raises:
        BadInput: A number outside 0 … 32; 33 is the hidden test and made only through `hidden_test=True`.
    """
    if conditions is None:
        return CONDITIONS
    chosen = tuple(sorted({int(c) for c in conditions}))
    wrong = [c for c in chosen if c not in CONDITIONS]
    if wrong or not chosen:
        raise BadInput(
            f"conditions must be numbers from 0 to {CONDITIONS[-1]}, not {wrong or 'none'}"
            + (f"; {HIDDEN_CONDITION} is the hidden test (hidden_test=True)" if HIDDEN_CONDITION in wrong else "")
        )
    return chosen


def tiny_crystals(crystals: pa.Table, order: np.ndarray) -> np.ndarray:
    """Rows of the `tiny` config: of each crystal system the first two in `order` with the fewest atoms.

    Small cells simulate fast, which is what the config is for.
    """
    from simxrd_hf.symmetry import CRYSTAL_SYSTEM_OF

    systems = CRYSTAL_SYSTEM_OF[np.clip(crystals["space_group"].to_numpy(), 1, 230) - 1]
    sizes = np.asarray(pa.compute.list_value_length(crystals["atomic_numbers"]))
    ranked = order[np.argsort(sizes[order], kind="stable")]
    return np.concatenate([ranked[systems[ranked] == s][:TINY_CRYSTALS_PER_SYSTEM] for s in range(7)])
