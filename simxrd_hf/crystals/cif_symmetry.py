"""Space groups as CIFs name them -> operators; atoms of the asymmetric unit -> atoms of the cell. Tables: gemmi."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import gemmi
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Items = Mapping[str, Sequence[str]]

_OPERATORS = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz")
_MAGNETIC, _MAGNETIC_CENTRING = "_space_group_symop_magn_operation_xyz", "_space_group_symop_magn_centering_xyz"
_MODULATIONS = "_cell_modulation_dimension"
_SPEAKS = re.compile(r"_(?:parent_|magnetic_)?space_group|_symmetry")
# The index of a screw axis in brackets, "P2(1)/c"; not the origin in "P n -3 (2)" nor the number in "C 2 (5)".
_SCREW = re.compile(r"(2(?=\s*\(1\))|(?<=P)3|(?<=P )3|(?<!-)[46])\s*\(([1-5])\)", re.I)
_SUPERSPACE = re.compile(r"_(?:space_group|symmetry)_(?:symop_)?(?:magn_)?ssg_")
_HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
_SYMBOLS = (
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
    "_space_group_name_h-m_full",
    "_space_group_name_h-m_ref",
    "_space_group_name_h-m",
)
_NUMBERS = ("_space_group_it_number", "_symmetry_int_tables_number")
_CODES = ("_space_group_it_coordinate_system_code",)
# Origin and axes behind a symbol: those of gemmi, and S and Z of the ICSD (origin at the site of highest symmetry, at a
# centre of symmetry).
_CHOICES = {"1": "1", "2": "2", "s": "1", "z": "2", "h": "H", "r": "R"}
SITE_TOLERANCE = 1e-4
"""Fractional; images of an atom closer than this in every coordinate are one."""


class SymmetryError(ValueError):
    """What a CIF says of its space group cannot be used; the message says why."""


@dataclass(frozen=True, eq=False)
class Setting:
    """A space group in one setting.

    Attributes:
        name: As the file names it, or as gemmi does where the file leaves something open.
        rotations: (m, 3, 3).
        translations: (m, 3), fractions of the cell.
        number: Of the space group, where it can be told.
    """

    name: str
    rotations: FloatArray
    translations: FloatArray
    number: int | None


@dataclass(frozen=True)
class Symmetry:
    """All that a CIF says of its symmetry.

    Attributes:
        listed: The operators it lists, or None.
        named: The settings its symbol, Hall symbol or number may mean; the first is the usual reading.
        number: The number it gives.
        text: The symbol or number in the file's words, for messages.
        unused: What it says besides, where it gives neither operators nor a space group.
    """

    listed: Setting | None
    named: tuple[Setting, ...]
    number: int | None
    text: str
    unused: str = ""


def first(data: Items, names: Sequence[str]) -> str | None:
    """The first value that is no "?" or "." of the first of these items that has one."""
    for name in names:
        for value in data.get(name, ())[:1]:
            if value.strip() not in {"", "?", "."}:
                return " ".join(value.split())
    return None


def _of_operations(operations: gemmi.GroupOps, name: str, number: int | None) -> Setting:
    ops = list(operations)
    rotations = np.array([op.rot for op in ops], dtype=np.float64) / gemmi.Op.DEN
    translations = np.array([op.tran for op in ops], dtype=np.float64) / gemmi.Op.DEN
    return Setting(name, rotations, translations, number)


def _listed(triplets: Sequence[str]) -> Setting:
    """The operators of a loop, as they stand."""
    rotations, translations = [], []
    for triplet in triplets:
        text = triplet.strip().strip("'\"").strip()
        if re.search(r"x\s*[1-9]", text, re.I):
            raise SymmetryError(f"operator {text!r} is one of superspace: modulated structures are not read")
        try:
            op = gemmi.Op(text.replace(" ", ""))
            rotations.append(np.array(op.rot) / gemmi.Op.DEN)
            translations.append(np.array(op.tran) / gemmi.Op.DEN)
        except (ValueError, RuntimeError):  # shifts that are no 24ths of the cell
            rotation, translation = _operator(text)
            rotations.append(rotation)
            translations.append(translation)
    if not rotations:
        raise SymmetryError("an empty list of operators")
    matrices, shifts = _each_once(np.array(rotations, dtype=np.float64), np.array(translations, dtype=np.float64))
    return Setting("the operators listed", matrices, shifts, _number_of(matrices, shifts))


def _each_once(rotations: FloatArray, translations: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Operators without those that repeat an earlier one up to a whole translation; repeated, they make no group."""
    keys = np.column_stack([np.rint(rotations).reshape(-1, 9), np.rint(translations * 1e4) % 1e4])
    kept = np.sort(np.unique(keys, axis=0, return_index=True)[1])
    return rotations[kept], translations[kept]


def _of_magnetic(data: Items) -> Setting | None:
    """The operators of a magnetic CIF, as they move atoms: each with each centring, without time reversal.

    Raises:
        SymmetryError: One cannot be read.
    """
    lists = []
    for name in (_MAGNETIC, _MAGNETIC_CENTRING):
        texts = (text.strip().strip("'\"") for text in data.get(name, ()))
        triplets = [re.sub(r",\s*[-+]?1\s*$", "", text) for text in texts if text not in {"", "?", "."}]
        lists.append(_listed(triplets) if triplets else None)
    operations, centrings = lists
    if operations is None:
        return None
    rotations, translations = operations.rotations, operations.translations
    if centrings is not None:
        turns, shifts = centrings.rotations, centrings.translations
        translations = (np.einsum("cij,oj->coi", turns, translations) + shifts[:, None]).reshape(-1, 3)
        rotations = np.einsum("cij,ojk->coik", turns, rotations).reshape(-1, 3, 3)
    matrices, shifts = _each_once(rotations, translations)  # with and without time reversal they are one
    shifts %= 1.0
    return Setting("the magnetic operators listed", matrices, shifts, _number_of(matrices, shifts))


def _refuse_modulations(data: Items) -> None:
    """Refuse what is described in superspace alone.

    Raises:
        SymmetryError: It is.
    """
    dimension = first(data, [_MODULATIONS]) or "0"
    named = next((name for name in data if _SUPERSPACE.match(name) and first(data, [name])), None)
    if named is None and dimension == "0":
        return
    what = f"{_MODULATIONS} {dimension}" if named is None else named
    raise SymmetryError(f"superspace ({what}) without ordinary operators: modulated structures are not read")


def _operator(text: str) -> tuple[FloatArray, FloatArray]:
    from pymatgen.core import SymmOp

    try:
        op = SymmOp.from_xyz_str(text)
    except Exception:  # whatever a wrong character leads to in pymatgen
        raise SymmetryError(f"operator {text[:40]!r} cannot be read") from None
    if abs(round(float(np.linalg.det(op.rotation_matrix)))) != 1:
        raise SymmetryError(f"operator {text[:40]!r} cannot be read")
    return np.asarray(op.rotation_matrix), np.asarray(op.translation_vector)


def _number_of(rotations: FloatArray, translations: FloatArray) -> int | None:
    """Number of the space group of operators in any setting; None where they make none."""
    import spglib

    try:
        found = spglib.get_spacegroup_type_from_symmetry(np.rint(rotations).astype(np.intc), translations % 1.0)
    except Exception as error:  # spglib's own class appeared in 2.7; before, failures gave None
        if type(error).__module__.partition(".")[0] != "spglib":
            raise
        return None
    return None if found is None else int(found.number)


def keeps_cell(rotations: FloatArray, cell: gemmi.UnitCell) -> bool:
    """Whether rotations leave the lengths and angles of a cell as they are, to a hundredth."""
    metric, turned = _metrics(rotations, cell)
    lengths = np.sqrt(np.diag(metric))
    return bool((np.abs(turned - metric) <= 0.02 * np.outer(lengths, lengths)).all())


def _metrics(rotations: FloatArray, cell: gemmi.UnitCell) -> tuple[FloatArray, FloatArray]:
    """The metric of a cell, Å², and what each rotation makes of it."""
    basis = np.array(cell.orth.mat.tolist())
    metric = basis.T @ basis
    return metric, np.einsum("mki,kl,mlj->mij", rotations, metric, rotations)


def symmetric_cell(rotations: FloatArray, cell: gemmi.UnitCell) -> gemmi.UnitCell:
    """The cell nearest to one that a group of rotations leaves as it is: that of the mean metric.

    Returns:
        The cell itself where it is off by no more than a unit of the sixth digit.
    """
    metric, turned = _metrics(rotations, cell)
    lengths = np.sqrt(np.diag(metric))
    if (np.abs(turned - metric) <= 1e-6 * np.outer(lengths, lengths)).all():
        return cell
    mean = turned.mean(axis=0)
    a, b, c = np.sqrt(np.diag(mean))
    alpha, beta, gamma = np.degrees(np.arccos([mean[1, 2] / (b * c), mean[0, 2] / (a * c), mean[0, 1] / (a * b)]))
    return gemmi.UnitCell(*(round(float(value), 9) for value in (a, b, c, alpha, beta, gamma)))


def _compatible(operations: gemmi.GroupOps, cell: gemmi.UnitCell) -> bool:
    return keeps_cell(np.array([op.rot for op in operations.sym_ops]) / gemmi.Op.DEN, cell)


def _spellings(symbol: str) -> tuple[list[str], str]:
    """Ways to write a symbol that gemmi may know, and what the file adds on origin or axes ("" for nothing)."""
    text = re.sub(r"\(.*?\)|[_~{}]|</?su[bp]>", "", _SCREW.sub(r"\1\2", symbol)).strip()
    choice = ""
    found = re.search(r"\s*:\s*O?([12SZHRszhr])$|\s+O?([12SZHR])$(?<!\s[12])|(?<=[a-z0-9])([SZHR])$", text)
    if found:
        choice = _CHOICES[next(group for group in found.groups() if group).lower()]
        text = text[: found.start()].strip()
    elif ":" in text:  # axes of monoclinic and orthorhombic groups: ":b1", ":cab"
        head, _, tail = text.partition(":")
        text, choice = head.strip(), tail.strip()
    joined = re.sub(r"(?<=[1-6])\s+(?=[1-6]\s*/)", "", text)  # "P 2 1/c"
    return list(dict.fromkeys((text, joined, text.replace(" ", ""), joined.replace(" ", "")))), choice


def _of_symbol(symbol: str, cell: gemmi.UnitCell) -> list[Setting]:
    """The settings that a Hermann-Mauguin symbol may mean in this cell; the usual one first.

    Raises:
        SymmetryError: gemmi's tables have no such symbol, or none of its settings fits the cell.
    """
    spellings, choice = _spellings(symbol)
    for text in spellings:
        known = gemmi.find_spacegroup_by_name(text, cell.alpha, cell.gamma)
        if known is None:
            known = gemmi.find_spacegroup_by_name(re.sub(r"(?<=[a-zA-Z])(?=[1-6])", " ", text), cell.alpha, cell.gamma)
        if known is not None:
            break
    else:
        full = [
            made for hall in _full_symbols().get(spellings[0].replace(" ", ""), ()) for made in _of_hall(hall, cell)
        ]
        if full:
            return full
        raise SymmetryError(f"space group {symbol!r} is not known; give its operators or a standard symbol")
    same = [group for group in gemmi.spacegroup_table() if group.hm == known.hm]
    if choice and choice not in "12HR":
        same = [group for group in same if group.qualifier == choice] or same
    elif choice and any(group.ext.strip("\0") for group in same):  # a choice where there is none says nothing
        same = [group for group in same if group.ext == choice]
        if not same:
            raise SymmetryError(f"space group {symbol!r}: {known.hm} has no setting {choice!r}")
    same.sort(key=lambda group: (group.ext != known.ext, group.ext))  # the usual reading first
    return _fitting(same, symbol, cell)


@cache
def _full_symbols() -> dict[str, list[str]]:
    """Hall symbols by full Hermann-Mauguin symbol ("F 4/m -3 2/m") without blanks, from spglib."""
    import spglib

    found: dict[str, list[str]] = {}
    for index in range(1, 531):
        kind = spglib.get_spacegroup_type(index)
        found.setdefault(kind.international_full.replace(" ", "").replace("_", ""), []).append(kind.hall_symbol)
    return found


def _fitting(groups: list[gemmi.SpaceGroup], text: str, cell: gemmi.UnitCell) -> list[Setting]:
    fitting = [group for group in groups if _compatible(group.operations(), cell)]
    if not fitting:
        raise SymmetryError(
            f"space group {text!r} does not fit the cell {cell.a:g} {cell.b:g} {cell.c:g} {cell.alpha:g} "
            f"{cell.beta:g} {cell.gamma:g}"
        )
    return [_of_operations(group.operations(), group.xhm(), group.number) for group in fitting]


def _of_hall(symbol: str, cell: gemmi.UnitCell) -> list[Setting]:
    try:
        operations = gemmi.symops_from_hall(symbol.replace("_", " "))
    except (ValueError, RuntimeError):
        raise SymmetryError(f"Hall symbol {symbol!r} cannot be read") from None
    if not _compatible(operations, cell):
        raise SymmetryError(
            f"Hall symbol {symbol!r} does not fit the cell {cell.a:g} {cell.b:g} {cell.c:g} {cell.alpha:g} "
            f"{cell.beta:g} {cell.gamma:g}"
        )
    known = gemmi.find_spacegroup_by_ops(operations)
    made = _of_operations(operations, symbol, None if known is None else known.number)
    number = made.number if made.number is not None else _number_of(made.rotations, made.translations)
    return [Setting(made.name, made.rotations, made.translations, number)]


def settings_of_number(number: int, cell: gemmi.UnitCell) -> list[Setting]:
    """The settings a bare number may mean: the standard one, with both origins and both sets of axes.

    Args:
        number: Of the space group.
        cell: Only settings that fit it are given.

    Raises:
        SymmetryError: There is no such space group, or none of its settings fits the cell.
    """
    standard = gemmi.find_spacegroup_by_number(number)
    if standard is None:
        raise SymmetryError(f"there is no space group {number}")
    groups = [group for group in gemmi.spacegroup_table() if group.number == number and group.hm == standard.hm]
    return _fitting(groups, str(number), cell)


def symmetry_of(data: Items, cell: gemmi.UnitCell) -> Symmetry:
    """What a block of a CIF says of its symmetry.

    Args:
        data: Items of the block, names in lower case without dots.
        cell: Its cell.

    Raises:
        SymmetryError: Operators, symbol, Hall symbol or number cannot be read, or fit neither each other nor the cell.
    """
    listed = None
    for name in _OPERATORS:
        triplets = [text for text in data.get(name, ()) if text.strip() not in {"", "?", "."}]
        if triplets:
            listed = _listed(triplets)
            break
    if listed is None:
        _refuse_modulations(data)
        listed = _of_magnetic(data)
        if listed is not None:  # symbol and number beside them may be those of the parent's cell
            return Symmetry(listed, (), None, listed.name)
    number_text = first(data, _NUMBERS)
    number = int(number_text) if number_text is not None and number_text.isdigit() else None
    hall, symbol = first(data, _HALL), first(data, _SYMBOLS)
    code = first(data, _CODES)
    if symbol is not None and code is not None and ":" not in symbol:
        symbol = f"{symbol} :{code}"
    text = symbol or hall or (f"number {number}" if number is not None else "")
    try:
        if hall is not None:
            named = _of_hall(hall, cell)
            text = symbol or hall
        elif symbol is not None:
            named = _of_symbol(symbol, cell)
        elif number is not None and 1 <= number <= 230:
            named = settings_of_number(number, cell)
        else:
            named = []
    except SymmetryError:
        if hall is not None and symbol is not None and listed is None:
            named = _of_symbol(symbol, cell)
        elif listed is None:
            raise
        else:
            named = []  # the operators decide, whatever is wrong with the name
    return Symmetry(listed, tuple(named), number, text, "" if listed is not None or named else _unused(data))


def _unused(data: Items) -> str:
    """The first item that speaks of symmetry beyond P 1, with its value, where none could be used; else nothing."""
    for name in data:
        value = first(data, [name])
        if value is None or not _SPEAKS.match(name) or name.endswith(("_id", "_details")):
            continue
        if name != "_space_group_crystal_system" or value.lower() != "triclinic":
            return f"{name} {value[:40]!r}"
    return ""


def expand(coords: FloatArray, tolerance: FloatArray, setting: Setting) -> tuple[FloatArray, NDArray[np.int64]]:
    """All atoms of the cell.

    An atom whose images under some operators lie within its tolerance stands on their special position: it is moved to
    the mean of these images, so that 0.333 becomes a third where the group has an axis there.

    Args:
        coords: (n, 3) of the asymmetric unit.
        tolerance: (n,) fractional, from the number of digits that are given.
        setting: The operators.

    Returns:
        (m, 3) coordinates within 0 … 1, and (m,) the atom of the asymmetric unit each is an image of.
    """
    images: list[FloatArray] = []
    owners: list[NDArray[np.int64]] = []
    for index, (position, near) in enumerate(zip(coords, tolerance, strict=True)):
        near = max(near, SITE_TOLERANCE)
        for _ in range(10):
            shifts = setting.rotations @ position + setting.translations - position
            shifts -= np.rint(shifts)
            here = (np.abs(shifts) <= near).all(axis=1)
            step = shifts[here].mean(axis=0) if here.any() else np.zeros(3)
            position = position + step
            if np.abs(step).max() < 1e-12:
                break
        made = (setting.rotations @ position + setting.translations) % 1.0
        kept = _distinct(made, near)
        images.append(kept)
        owners.append(np.full(len(kept), index, dtype=np.int64))
    return np.concatenate(images) % 1.0, np.concatenate(owners)


def _distinct(positions: FloatArray, near: float) -> FloatArray:
    """Positions without those that repeat an earlier one."""
    kept = np.empty_like(positions)
    count = 0
    for position in positions:
        difference = kept[:count] - position
        difference -= np.rint(difference)
        if not (np.abs(difference) < near).all(axis=1).any():
            kept[count] = position
            count += 1
    return kept[:count]
