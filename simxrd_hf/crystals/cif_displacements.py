"""Displacement parameters of a CIF's atoms as isotropic B: stated as such, or equivalent to anisotropic ones."""

import math
from collections.abc import Callable, Mapping, Sequence

import gemmi
import numpy as np
from numpy.typing import NDArray

from simxrd_hf.diffraction.crystal import MAX_B_ISO

_FROM_U = 8 * math.pi**2
_ISOTROPIC = (("_atom_site_b_iso_or_equiv", 1.0), ("_atom_site_u_iso_or_equiv", _FROM_U))
_PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
FloatArray = NDArray[np.float64]
Items = Mapping[str, Sequence[str]]


def displacements(
    data: Items, labels: Sequence[str], cell: gemmi.UnitCell, number: Callable[[str], float]
) -> FloatArray:
    """B of each atom.

    An isotropic value comes first; where there is none, or one that no atom can have, the equivalent of the anisotropic
    parameters of its label takes its place (IUCr Commission on Crystallographic Nomenclature, Acta Cryst. A52, 770,
    1996): B_eq = 8π²/3 Σ U_ij a*_i a*_j a_i·a_j.

    Args:
        data: Items of the block, names in lower case without dots.
        labels: Of the atoms.
        cell: The cell.
        number: Reads one value; NaN where there is none.

    Returns:
        (n,) Å², NaN where unknown.
    """
    found = np.full(len(labels), np.nan)
    for key, factor in _ISOTROPIC:
        values = data.get(key, ())
        if len(values) == len(labels):
            found = _filled(found, np.array([factor * number(value) for value in values]))
    equivalent = _equivalents(data, cell, number)
    return _filled(found, np.array([equivalent.get(label, math.nan) for label in labels]))


def _filled(found: FloatArray, values: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore"):
        return np.where(np.isnan(found) & (values > 0.0) & (values <= MAX_B_ISO), values, found)


def _equivalents(data: Items, cell: gemmi.UnitCell, number: Callable[[str], float]) -> dict[str, float]:
    """B_eq by label, Å²; of U, B or the β of exp(-Σ β_ij h_i h_j), which is 2π² a*_i a*_j U_ij."""
    basis = np.array(cell.orth.mat.tolist())
    metric = basis.T @ basis
    lengths = np.sqrt(np.diag(np.linalg.inv(metric)))
    labels = data.get("_atom_site_aniso_label", ())
    made: dict[str, float] = {}
    for kind, weights in (
        ("u", _FROM_U / 3 * metric * np.outer(lengths, lengths)),
        ("b", metric * np.outer(lengths, lengths) / 3),
        ("beta", 4 / 3 * metric),
    ):
        columns = [data.get(f"_atom_site_aniso_{kind}_{i + 1}{j + 1}", ()) for i, j in _PAIRS]
        if any(len(column) != len(labels) for column in columns):
            continue
        for label, *row in zip(labels, *columns, strict=True):
            terms = zip(_PAIRS, row, strict=True)
            value = sum((1 if i == j else 2) * weights[i, j] * number(text) for (i, j), text in terms)
            if math.isfinite(value):
                made.setdefault(label, float(value))
    return made
