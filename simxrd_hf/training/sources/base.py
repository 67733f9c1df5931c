"""What all sources of batches have in common, and the check that a model can mean their rows."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from simxrd_hf.errors import BadInput

Batch = dict[str, Tensor]


class Source(Protocol):
    """Rows with labels that can be fetched in any order.

    `labels` (n,) int64 and `groups` (n,) crystal numbers lie in memory, patterns are fetched. `grid` is the 2θ grid as
    plain data, `digest` identifies the data, `identity(rows)` gives the columns that name rows in a predictions table.
    """

    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    grid: dict[str, float]
    digest: str

    def __len__(self) -> int: ...

    def __getitems__(self, pairs: Sequence[tuple[int, int]]) -> Batch:
        """Batch of the (draw, row) pairs: `intensity` (B, n_points) float16 or float32, `labels` (B,) int64."""
        ...

    def identity(self) -> dict[str, Any]:
        """Columns (n,) that name the rows: crystal_id, condition and so on."""
        ...


def class_counts(source: Any, num_labels: int) -> NDArray[np.int64]:
    """(num_labels,) training rows of each class."""
    return np.bincount(source.labels, minlength=num_labels)


def check_match(model_config: Any, source: Any, where: str) -> None:
    """Refuse data that the model cannot mean: another grid, other labels, another number of points.

    Args:
        model_config: Config of the model; only fields it has are compared.
        source: The data.
        where: Named in the message.

    Raises:
        BadInput: They differ.
    """
    grid = dict(getattr(model_config, "full_grid", None) or getattr(model_config, "grid", None) or {})
    if grid and source.grid:
        for name, value in grid.items():
            found = source.grid.get(name, value)
            if abs(float(found) - float(value)) > 1e-9:
                raise BadInput(
                    f"{where}: patterns have {name} = {found}, the model was made for {value}; "
                    "generate patterns on the model's grid, or train a model on this one"
                )
    if grid:
        points = round((grid["two_theta_max"] - grid["two_theta_min"]) / grid["step"]) + 1
        if points != source.n_points:
            raise BadInput(f"{where}: patterns have {source.n_points} points, the model takes {points}")
    names = getattr(source, "label_names", None)
    known = getattr(model_config, "id2label", None)
    if names and known:
        expected = [known[i] for i in range(len(known))]
        if len(expected) != len(names):
            raise BadInput(f"{where}: labels have {len(names)} classes, the model knows {len(expected)}")
        differing = [(i, a, b) for i, (a, b) in enumerate(zip(names, expected, strict=True)) if a != b]
        if differing:
            index, there, here = differing[0]
            raise BadInput(f"{where}: label {index} is {there!r} in the data and {here!r} in the model")


def unsound_row(intensity: NDArray[Any]) -> int | None:
    """The first row that holds what no pattern can: a value that is negative or not finite; None where all are sound.

    Args:
        intensity: (B, n_points), float16 or float32.
    """
    # As unsigned integers all that is sound lies below infinity: one fast pass (arithmetic on float16 is slow).
    bits = intensity.view(f"u{intensity.itemsize}")
    infinity = np.array(np.inf, intensity.dtype).view(bits.dtype)
    if not bits.size or bits.max() < infinity:
        return None
    bad = ~((intensity >= 0) & (intensity < np.inf)).all(axis=1)  # -0.0 is sound
    return int(bad.argmax()) if bad.any() else None


def what_is_wrong(pattern: NDArray[Any]) -> str:
    """What a row that `unsound_row` found holds, for a message."""
    kinds = (("NaN", np.isnan(pattern)), ("infinity", np.isinf(pattern)), ("negative values", pattern < 0))
    named = [f"{name} at {int(here.sum())} of {len(pattern)} points" for name, here in kinds if here.any()]
    return "the pattern holds " + ", ".join(named)
