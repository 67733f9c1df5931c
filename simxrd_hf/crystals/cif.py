"""CIF text -> structures: blocks, symmetry, partial occupancy, displacement parameters; a reason where it fails."""

import contextlib
import itertools
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast

import gemmi
import numpy as np
from numpy.typing import NDArray

from simxrd_hf.crystals.cif_displacements import displacements
from simxrd_hf.crystals.cif_symmetry import (
    Setting,
    Symmetry,
    SymmetryError,
    expand,
    first,
    keeps_cell,
    settings_of_number,
    symmetric_cell,
    symmetry_of,
)
from simxrd_hf.crystals.standard import RawCrystal, element_symbols
from simxrd_hf.crystals.table import Rejected
from simxrd_hf.diffraction.crystal import MAX_ATOMIC_NUMBER, MIN_DISTANCE
from simxrd_hf.errors import DoubtfulInput
from simxrd_hf.unpack import gunzip

SUFFIXES = (".cif", ".cif.gz", ".mcif", ".mcif.gz")
OCCUPANCY_TOLERANCE = 1.02
"""Site occupancies up to this sum are scaled back to 1: published files round them."""
FORMULA_TOLERANCE = 0.1
"""Relative; amounts of elements further from the declared formula do not agree with it. Hydrogen is not counted: it is
often left out."""
CONTRADICTION = 1.5
"""Where operators are listed, elements whose amounts are off by more than this factor from one another contradict the
formula; less is noted: solvents, light atoms and vacancies are often listed in part."""

REFINED_OCCUPANCY = 1.05
"""An atom that has its site for itself is taken for a whole one up to this: refinements end a few units above 1."""
SPARSE = 60.0
"""Å³ for each atom other than hydrogen; where no symmetry is given at all, more means that atoms are missing. Dense
crystals have 10 to 20, porous ones up to this."""

MAX_ATOMS = 10_000
"""In the cell; larger ones are crystals of proteins, whose powder patterns are not simulated here."""

_CELL = (
    "_cell_length_a",
    "_cell_length_b",
    "_cell_length_c",
    "_cell_angle_alpha",
    "_cell_angle_beta",
    "_cell_angle_gamma",
)
_AXES = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
_CARTESIAN = ("_atom_site_cartn_x", "_atom_site_cartn_y", "_atom_site_cartn_z")
_UNKNOWN = {"?"}
_NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?:\(\d*\))?")
# A share of a mixed site as the Pauling File writes its type, "0.648(4)Mn + 0.352(4)Fe".
_SHARE = re.compile(r"\s*(\d*\.?\d+)(?:\(\d+\))?\s*([A-Z][a-z]?)(?:\d*[+-])?\s*")
_FRACTION = re.compile(r"([-+]?\d{1,3})\s*/\s*([1-9]\d{0,2})")
# What the dictionaries of today (DDLm, mmCIF) call otherwise than by a dot for an underscore.
_ALIASES = {
    "_atom_site_label_atom_id": "_atom_site_label",
    "_atom_site_b_iso_or_equiv_esd": "_atom_site_b_iso_su",
    "_space_group_symop_operation": "_space_group_symop_operation_xyz",
    "_symmetry_equiv_pos": "_symmetry_equiv_pos_as_xyz",
    "_cell_formula_units_z": "_cell_formula_units_z",
    "_symmetry_cell_setting": "_space_group_crystal_system",
}
# A loop of atoms whose one row holds nothing: the Pauling File adds reduced cells without atoms.
_ROW_OF_UNKNOWNS = re.compile(
    r"^\s*_atom_site[_.]fract_x\s*\n(?:\s*_\S+\s*\n)*\s*\?(?:[ \t]+\?)*\s*(?:\n\s*(?:[_#]|loop_)|\Z)", re.I | re.M
)
# Oxygen whose hydrogen is left out (mineral databases: "OH", "Ow", "Wat", "O-H", "H2O").
_WATER = re.compile(r"(?:O-?H(?![a-z])|OW(?![a-z])|Wat|H2O(?![A-Za-z0-9])|HOH(?![A-Za-z0-9]))", re.I)
# Groups of atoms that some databases put on one site.
_GROUP = re.compile(r"(?:NO[23]|CO[23]|SO4|PO4|ClO4|NH[234]|CH[1-4]|CN|BH4|OCH3|C6H6)(?![A-Za-z0-9])")

Items = dict[str, list[str]]


def is_cif(name: str | Path) -> bool:
    """Whether a file name is one of a CIF."""
    return str(name).lower().endswith(SUFFIXES)


def stem(name: str | Path) -> str:
    """File name without folder and without .cif, .mcif or .gz."""
    return re.sub(r"\.m?cif(\.gz)?$", "", PurePosixPath(str(name)).name, flags=re.IGNORECASE)


def decode(data: bytes, name: str) -> str:
    """Text of a CIF; older files are not UTF-8, and only comments and names hold other characters."""
    if name.lower().endswith(".gz"):
        data = gunzip(data, name)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def split_blocks(text: str) -> list[tuple[str, str]]:
    """The data blocks of a file.

    Text fields (between lines that begin with a semicolon) are respected: what looks like a header in them is none.

    Returns:
        (name, text) of each block, in order.
    """
    blocks: list[tuple[str, list[str]]] = []
    in_text = False
    for line in text.splitlines():
        if line.startswith(";"):
            in_text = not in_text
        elif not in_text and line.lstrip()[:5].lower() == "data_":
            blocks.append((line.split()[0][5:], []))
        if blocks:
            blocks[-1][1].append(line)
    return [(name, "\n".join(lines) + "\n") for name, lines in blocks]


def _name(tag: str) -> str:
    """An item's name as the older dictionaries write it: lower case, no dot."""
    name = tag.lower().replace(".", "_")
    return _ALIASES.get(name, name)


def _without_authors(content: str) -> str:
    """A block without the loops of its publication: some of Pearson's Crystal Data lack the address of an author."""
    kept: list[str] = []
    lines = content.splitlines()
    at, in_text = 0, False
    while at < len(lines):
        line = lines[at]
        if line.startswith(";"):
            in_text = not in_text
        names = itertools.takewhile(lambda one: one.lstrip().startswith("_"), lines[at + 1 :])
        tags = [one.strip().lower() for one in names] if not in_text and line.strip().lower() == "loop_" else []
        kept.append(line)
        at += 1
        if tags and all(tag.startswith("_publ_") for tag in tags):
            kept.pop()
            at += len(tags)
            while at < len(lines) and (in_text or not re.match(r"\s*(?:_|loop_|data_|#)", lines[at], re.I)):
                in_text ^= lines[at].startswith(";")
                at += 1
    return "\n".join(kept) + "\n"


def _block(content: str) -> gemmi.cif.Block:
    try:
        return gemmi.cif.read_string(content).sole_block()
    except (ValueError, RuntimeError, IndexError) as error:
        with contextlib.suppress(ValueError, RuntimeError, IndexError):
            return gemmi.cif.read_string(_without_authors(content)).sole_block()
        raise error


def _items(content: str, notes: list[str]) -> Items:
    """Items of a block: a column each, a single value is a column of one.

    A block that breaks the rules of CIF is read by pymatgen, which overlooks much, and a note says so.

    Raises:
        ValueError: It cannot be read at all.
    """
    items: Items = {}
    try:
        block = _block(content)
    except (ValueError, RuntimeError, IndexError) as error:
        from pymatgen.io.cif import CifBlock

        place = re.search(r"(\d+):\d+", str(error))
        where = f" (line {place[1]} of the block)" if place else ""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a line for each word that it passes over; our note is one for all
                found = CifBlock.from_str(content).data
        except Exception:  # from IndexError to ZeroDivisionError; the reason that is told is gemmi's
            reason = re.sub(r"^[^:]*:\d+(?::\d+(?:\(\d+\))?)?:?\s*", "", _first_line(error))
            raise ValueError(f"{reason}{where}") from None
        for tag, value in found.items():
            items[_name(tag)] = [str(one) for one in value] if isinstance(value, list) else [str(value)]
        notes.append(f"not by the rules of CIF{where}; what could be read was taken")
        return items
    for entry in block:
        if entry.pair is not None:
            tag, value = cast("tuple[str, str]", entry.pair)
            items.setdefault(_name(tag), [gemmi.cif.as_string(value) if value not in {"?", "."} else value])
        elif entry.loop is not None:
            width = entry.loop.width()
            values = [v if v in {"?", "."} else gemmi.cif.as_string(v) for v in entry.loop.values]
            for index, tag in enumerate(entry.loop.tags):
                items.setdefault(_name(tag), values[index::width])
    return items


def _number(text: str) -> float:
    """A CIF number without its standard uncertainty, or a fraction; NaN where there is none."""
    match = _NUMBER.fullmatch(text.strip())
    if match:
        return float(match[1])
    fraction = _FRACTION.fullmatch(text.strip())
    return int(fraction[1]) / int(fraction[2]) if fraction else math.nan


def _near(text: str) -> float:
    """How far a coordinate may be off for want of digits: three units of the last of three or more, else little."""
    match = re.search(r"\.(\d+)", text)
    digits = len(match[1]) if match else 0
    if digits == 2:  # thirds and sixths alone
        return 0.0101 if re.search(r"\.(?:33|67|66|17|16|83)\b", text) else 0.0
    return 3 * 10.0**-digits if digits >= 3 else 0.0


@dataclass(frozen=True, eq=False)
class _Sites:
    """The asymmetric unit.

    Attributes:
        labels: (n,) names for messages.
        numbers: (n,) atomic numbers.
        coords: (n, 3) fractional.
        near: (n,) how far each may be off, fractional.
        overlap: `MIN_DISTANCE` as a part of the longest axis.
        occupancies: (n,).
        b_iso: (n,) Å², NaN where unknown.
    """

    labels: list[str]
    numbers: NDArray[np.int64]
    coords: NDArray[np.float64]
    near: NDArray[np.float64]
    overlap: float
    occupancies: NDArray[np.float64]
    b_iso: NDArray[np.float64]


class _Unusable(ValueError):
    """Why a block gives no structure."""


def element_of(text: str, formula: Sequence[str] = ()) -> str | None:
    """The element that an atom type or a label names; None where it names none.

    Args:
        text: "Fe3+", "Na1", "CL", "OH", "D" …
        formula: Elements of the declared formula: they decide between C and Cl for "CL1", H and Ho for "HO2".
    """
    letters = re.match(r"[A-Za-z]*", text.strip())
    word = letters[0] if letters else ""
    if not word or word.lower() in {"va", "vac", "vacancy"} or word.upper() == "X":
        return None
    if _WATER.match(text.strip()):
        return "O"
    known = set(element_symbols()[1:])
    if re.match(r"T\d|T\(", text.strip()) and "T" not in formula:  # a tetrahedral site, not tritium
        return None
    two, one = word[:2].capitalize(), word[:1].upper()
    if one == "D" and two not in known:
        return "H"
    candidates = [symbol for symbol in (two, one) if len(symbol) <= len(word) and symbol in known]
    if formula:
        wanted = [symbol for symbol in candidates if symbol in formula]
        if wanted:
            return wanted[0]
        if len(word) > 1 and word[1].islower() and two in candidates:
            return two
    return candidates[0] if candidates else None


def _is_group(text: str, formula: dict[str, float]) -> bool:
    """Whether an atom type stands for several atoms ("NO3"; "CO3" unless cobalt is declared and carbon is not)."""
    found = _GROUP.match(text.strip())
    if not found:
        return False
    return not formula or all(symbol in formula for symbol in re.findall(r"[A-Z][a-z]?", found[0]))


def _sites(data: Items, cell: gemmi.UnitCell, formula: dict[str, float], notes: list[str]) -> _Sites:
    """The atoms of a block."""
    columns, count = _positions(data, cell, notes)
    labels = data.get("_atom_site_label") or data.get("_atom_site_type_symbol") or []
    types = data.get("_atom_site_type_symbol") or labels
    occupancies = data.get("_atom_site_occupancy") or ["1"] * count
    flags = data.get("_atom_site_calc_flag") or [""] * count
    if not labels:
        raise _Unusable("unknown element: the atoms have neither labels nor types")
    lengths = {len(labels), len(types), len(occupancies), len(flags), count}
    if len(lengths) > 1:
        raise _Unusable("broken CIF: the columns of the atoms differ in length")
    b_iso = displacements(data, data.get("_atom_site_label") or [""] * count, cell, _number)
    kept: list[int] = []
    numbers: list[int] = []
    shares: list[float] = []
    symbols = element_symbols()
    water: list[str] = []
    for index, label in enumerate(labels):
        if flags[index].lower() == "dum":
            continue
        share = 1.0 if occupancies[index].strip() == "." else _number(occupancies[index])  # 1 is the item's default
        if not math.isfinite(share):
            raise _Unusable(
                f"unknown occupancy: site {label} has {occupancies[index]!r}; give a number or remove the site"
            )
        kind = types[index] if types[index].strip() not in {"?", "."} else label
        if _is_group(kind, formula):
            raise _Unusable(f"unknown element: site {label!r} stands for a group of atoms; give each a site of its own")
        parts = _shares(kind)
        if parts:
            total = sum(amount for _, amount in parts)
            if abs(total - 1) > OCCUPANCY_TOLERANCE - 1 and share != 1:
                raise _Unusable(
                    f"unknown occupancy: site {label} of type {kind!r} has {share:g}; give each element its own row"
                )
            for number, amount in parts:
                if share * amount > 0:
                    kept.append(index)
                    numbers.append(number)
                    shares.append(share * amount)
            continue
        symbol = None if re.search(r"[A-Z][a-z]?\s*[,+]\s*[\d.]*[A-Z]", kind) else element_of(kind, tuple(formula))
        if symbol is None:
            named = repr(label) if kind == label else f"{label!r} of type {kind!r}"
            raise _Unusable(f"unknown element: site {named} names no chemical element; correct or remove it")
        if symbols.index(symbol) > MAX_ATOMIC_NUMBER:
            raise _Unusable(f"unknown element: site {label!r} is {symbol}, for which there are no scattering factors")
        if share <= 0:
            continue
        if symbol == "O" and (_WATER.match(kind.strip()) or _WATER.match(label.strip())):
            water.append(label)
        kept.append(index)
        numbers.append(symbols.index(symbol))
        shares.append(share)
    if not kept:
        raise _Unusable("no atom sites: no site is occupied")
    if 1 not in numbers:
        counts = data.get("_atom_site_attached_hydrogens") or ["0"] * count
        attached = [label for label, n in zip(labels, counts, strict=False) if _number(n) > 0]
        of = ", ".join(dict.fromkeys((water or attached)[:4])) or ("the formula" if formula.get("H") else "")
        if of:
            notes.append(f"the hydrogen of {of} is left out: it has no site of its own")
    coords = np.array([[_number(column[index]) for column in columns] for index in kept], dtype=np.float64)
    near = np.array([max(_near(column[index]) for column in columns) for index in kept])
    return _Sites(
        [labels[index] for index in kept],
        np.array(numbers, dtype=np.int64),
        coords,
        near,
        MIN_DISTANCE / max(cell.a, cell.b, cell.c),
        np.array(shares),
        b_iso[kept],
    )


def _shares(kind: str) -> list[tuple[int, float]]:
    """Atomic numbers and shares of a type that lists several with their shares; none for any other type."""
    matches = [_SHARE.fullmatch(part) for part in re.split(r"\+(?=\s*[\d.]+(?:\(\d+\))?\s*[A-Z])", kind)]
    found = [("H" if match[2] == "D" else match[2], float(match[1])) for match in matches if match]
    symbols = element_symbols()
    if len(matches) < 2 or len(found) < len(matches) or any(symbol not in symbols for symbol, _ in found):
        return []
    return [(symbols.index(symbol), amount) for symbol, amount in found]


def _positions(data: Items, cell: gemmi.UnitCell, notes: list[str]) -> tuple[list[list[str]], int]:
    """The three columns of fractional coordinates; Cartesian ones are converted by the cell."""
    if all(axis in data for axis in _AXES):
        columns = [data[axis] for axis in _AXES]
    elif all(axis in data for axis in _CARTESIAN):
        matrix = np.array(
            [[_number(data.get(f"_atom_sites_cartn_tran_matrix_{i}{j}", ["?"])[0]) for j in "123"] for i in "123"]
        )
        given = bool(np.isfinite(matrix).all())
        basis = matrix if given else np.array(cell.orth.mat.tolist())
        places = np.array([[_number(value) for value in data[axis]] for axis in _CARTESIAN])
        if places.shape[1] > 1 and np.abs(places).max() <= 1 and max(cell.a, cell.b, cell.c) > 2.5:
            raise _Unusable(
                "unknown coordinates: all atoms lie within 1 Å by _atom_site_cartn_…; if these are fractions of the "
                "cell, call them _atom_site_fract_…"
            )
        fractional = np.linalg.solve(basis, places)
        how = "the file's own matrix" if given else "the cell (a along x, c* along z)"
        notes.append(f"Cartesian coordinates, made fractional by {how}")
        columns = [["." if not math.isfinite(v) else f"{v:.7f}" for v in row] for row in fractional]
    else:
        raise _Unusable("no atom sites: the _atom_site_fract_ columns are missing")
    if all(value.strip() in {"?", "."} for column in columns for value in column):
        raise _Unusable("no atom sites: their coordinates are unknown")
    flags = data.get("_atom_site_calc_flag", [])
    for axis, column in zip(_AXES, columns, strict=True):
        for index, value in enumerate(column):
            dummy = index < len(flags) and flags[index].lower() == "dum"
            if not dummy and not math.isfinite(_number(value)):
                raise _Unusable(f"unknown coordinate: {axis} is {value!r}; give a number or remove the site")
    return columns, len(columns[0])


# --- facts ------------------------------------------------------------------------------------------------------------


def declared_formula(data: Items) -> dict[str, float]:
    """Elements and amounts of `_chemical_formula_sum`; empty where it is absent or no sum of elements."""
    text = first(data, ["_chemical_formula_sum"])
    parts = re.findall(r"([A-Z][a-z]?)(\d*\.?\d*)(?:\(\d+\))?", text or "")
    if not text or re.sub(r"[A-Z][a-z]?\d*\.?\d*(?:\(\d+\))?|[\s,]", "", text):
        return {}
    known = {*element_symbols()[1:], "D"}
    amounts: dict[str, float] = {}
    for symbol, amount in parts:
        if symbol not in known:
            return {}
        symbol = "H" if symbol == "D" else symbol
        amounts[symbol] = amounts.get(symbol, 0.0) + (float(amount) if amount not in {"", "."} else 1.0)
    return amounts


@dataclass(frozen=True, eq=False)
class _Cell:
    """The atoms that a setting makes of the asymmetric unit, and how they agree with what the file declares.

    Attributes:
        setting: The setting.
        coords: (m, 3).
        owners: (m,) indices of the asymmetric unit.
        units: Formula units in the cell, NaN where the formula is not known.
        composition_agrees: Whether the elements stand in the declared ratios.
        contradicts: Whether they are so far off that atoms or formula must be wrong.
        agrees: Whether composition and Z are as declared; None where the file declares neither.
        amounts: What there is in the cell, for messages.
        repeated: Labels of atoms that were there twice and are counted once.
    """

    setting: Setting
    coords: NDArray[np.float64]
    owners: NDArray[np.int64]
    units: float
    composition_agrees: bool
    contradicts: bool
    agrees: bool | None
    amounts: str
    repeated: list[str]


def _cell(sites: _Sites, setting: Setting, formula: dict[str, float], z: float | None) -> _Cell:
    # whole atoms that overlap with their own images stand on the special position between them
    near = np.where(sites.occupancies > 0.5, np.maximum(sites.near, sites.overlap), sites.near)
    coords, owners = expand(sites.coords, near, setting)
    if len(coords) > MAX_ATOMS:
        raise _Unusable(f"too large: {len(coords):,} atoms in the cell, at most {MAX_ATOMS:,} are taken")
    once = _once(coords, owners, sites)
    repeated = sorted({sites.labels[owner] for owner in owners[~once]})
    coords, owners = coords[once], owners[once]
    symbols = element_symbols()
    there: dict[str, float] = {}
    for number in np.unique(sites.numbers):
        if number > 1:
            there[symbols[number]] = float(sites.occupancies[owners][sites.numbers[owners] == number].sum())
    amounts = " ".join(f"{symbol}{amount:g}" for symbol, amount in sorted(there.items()))
    wanted = {symbol: amount for symbol, amount in formula.items() if symbol != "H" and amount > 0}
    if not wanted or not there:
        return _Cell(setting, coords, owners, math.nan, True, False, None, amounts, repeated)
    ratios = {symbol: there.get(symbol, 0.0) / amount for symbol, amount in wanted.items()}
    units = sum(there.values()) / sum(wanted.values())
    foreign = sum(amount for symbol, amount in there.items() if symbol not in wanted) / sum(there.values())
    spread = max(ratios.values()) / max(min(ratios.values()), 1e-9)
    same = foreign < 0.01 and spread <= 1 + FORMULA_TOLERANCE
    main = [ratio for symbol, ratio in ratios.items() if wanted[symbol] >= 0.1 * sum(wanted.values())]
    # some programs (ASE) write the formula of a mixed site's main element alone
    whole = sites.occupancies[owners] == 1.0
    alone = sum(symbols[number] not in wanted for number in sites.numbers[owners][whole] if number > 1)
    contradicts = alone > 0.05 * sum(there.values()) or (
        bool(whole.all()) and len(main) > 0 and max(main) > CONTRADICTION * min(main)
    )
    agrees = same and (z is None or abs(units - z) <= FORMULA_TOLERANCE * z or _is_of_cell(wanted, units, z))
    return _Cell(setting, coords, owners, units, same, contradicts, agrees, amounts, repeated)


def _is_of_cell(formula: dict[str, float], units: float, z: float) -> bool:
    """Whether a formula counts the atoms of the whole cell, as pymatgen writes it beside Z."""
    if abs(units - 1) > 0.02 or not all(float(amount).is_integer() for amount in formula.values()):
        return False
    return math.gcd(*(int(amount) for amount in formula.values())) % z == 0


def _closest(cell: gemmi.UnitCell, made: _Cell, sites: _Sites) -> float:
    """Shortest distance between atoms other than hydrogen that are there for more than half, Å; for small cells."""
    full = (sites.numbers[made.owners] > 1) & (sites.occupancies[made.owners] > 0.5)
    coords = made.coords[full]
    if not 2 <= len(coords) <= 400:
        return math.inf
    distance = _distances(cell, coords, coords)
    distance[distance < 0.01] = math.inf  # an atom and itself, or two species on one site
    return float(distance.min())


def _distances(cell: gemmi.UnitCell, some: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Å from each of some atoms to the nearest image of each of others, (n, m); exact where they are near."""
    difference = some[:, None] - others[None]
    difference -= np.rint(difference)
    return np.asarray(np.linalg.norm(difference @ np.array(cell.orth.mat.tolist()).T, axis=2))


def _choose(
    symmetry: Symmetry,
    sites: _Sites,
    cell: gemmi.UnitCell,
    formula: dict[str, float],
    z: float | None,
    notes: list[str],
) -> _Cell:
    """The reading of a block's symmetry that agrees with its formula and Z.

    Operators are taken as listed unless they alone contradict the formula; a symbol that leaves origin or axes open is
    read in the one way that fits.

    Raises:
        _Unusable: What the block declares contradicts itself, or leaves several readings.
    """
    if symmetry.listed is not None:
        return _with_operators(symmetry, sites, cell, formula, z, notes)
    if not symmetry.named:
        one = Setting("P 1", np.eye(3)[None], np.zeros((1, 3)), 1)
        made = _cell(sites, one, formula, z)
        if made.agrees is False:
            raise _Unusable(
                f"no symmetry: neither operators nor a space group are given, and the atoms alone ({made.amounts}) are "
                f"not {_declared(formula, z)}; give the space group"
            )
        if symmetry.unused:
            raise _Unusable(
                f"no symmetry: {symmetry.unused} names neither operators nor a space group; give one, 'P 1' where the "
                "atoms listed are all of the cell"
            )
        heavy = max(int((sites.numbers[made.owners] > 1).sum()), 1)
        if cell.volume > SPARSE * heavy and not (z is not None and made.agrees):
            raise _Unusable(
                f"no symmetry: neither operators nor a space group are given, and {cell.volume / heavy:.0f} Å³ for "
                "each atom is too much for the atoms to be all; give the space group, 'P 1' where they are"
            )
        notes.append("neither operators nor a space group are given: taken as P 1")
        return made
    settings = symmetry.named
    if symmetry.number is not None and symmetry.number != settings[0].number is not None:
        return _symbol_or_number(symmetry, sites, cell, formula, z, notes)
    readings = [_cell(sites, setting, formula, z) for setting in settings]
    fitting = [one for one in readings if one.agrees is not False]
    if not fitting:
        raise _Unusable(
            f"formula and symmetry contradict each other: {symmetry.text!r} makes {readings[0].amounts} of the atoms, "
            f"declared is {_declared(formula, z)}"
        )
    if len(fitting) > 1:
        near = [_closest(cell, one, sites) for one in fitting]
        fitting = (
            [one for one, d in zip(fitting, near, strict=True) if d > 0.85 * max(near)] if max(near) > 1 else fitting
        )
    if len(fitting) > 1 and not _same_atoms(fitting, sites):
        names = " or ".join(one.setting.name for one in fitting)
        raise _Unusable(
            f"space group {symmetry.text!r} leaves the origin open ({names}), and both fit the formula; write which "
            "one, or list the operators"
        )
    if fitting[0].setting is not settings[0]:
        notes.append(f"space group {symmetry.text!r} read as {fitting[0].setting.name}, which alone fits the formula")
    return fitting[0]


def _symbol_or_number(
    symmetry: Symmetry,
    sites: _Sites,
    cell: gemmi.UnitCell,
    formula: dict[str, float],
    z: float | None,
    notes: list[str],
) -> _Cell:
    """The one reading that fits the formula where symbol and number name different groups."""
    assert symmetry.number is not None
    says = f"space group {symmetry.text!r} has number {symmetry.named[0].number}, the file says {symmetry.number}"
    try:
        others = settings_of_number(symmetry.number, cell)
    except SymmetryError:
        others = []
    readings = [_cell(sites, setting, formula, z) for setting in (*symmetry.named, *others)]
    fitting = [one for one in readings if one.agrees]
    if not fitting or not _same_atoms(fitting, sites):
        raise _Unusable(f"{says}; correct one")
    notes.append(f"{says}; read as {fitting[0].setting.name}, which alone fits the formula")
    return fitting[0]


def _same_atoms(cells: list[_Cell], sites: _Sites) -> bool:
    """Whether settings make the same atoms."""
    reference = cells[0]
    for other in cells[1:]:
        if len(other.coords) != len(reference.coords):
            return False
        for position, owner in zip(other.coords, other.owners, strict=True):
            difference = reference.coords - position
            difference -= np.rint(difference)
            near = (np.abs(difference) < 1e-3).all(axis=1)
            if not (near & (sites.numbers[reference.owners] == sites.numbers[owner])).any():
                return False
    return True


def _declared(formula: dict[str, float], z: float | None) -> str:
    text = " ".join(f"{symbol}{amount:g}" for symbol, amount in formula.items())
    return f"{text} with Z = {z:g}" if z is not None else text


def _with_operators(
    symmetry: Symmetry,
    sites: _Sites,
    cell: gemmi.UnitCell,
    formula: dict[str, float],
    z: float | None,
    notes: list[str],
) -> _Cell:
    listed = symmetry.listed
    assert listed is not None
    made = _cell(sites, listed, formula, z)
    other = next((s for s in symmetry.named if s.number != listed.number), None)
    if made.agrees is False and other is not None:
        instead = _cell(sites, other, formula, z)
        # the formula may be somewhat off, where the operators alone make half or twice of it
        by_z = z is not None and abs(made.units - z) > 0.25 * z and abs(instead.units - z) < 0.1 * z
        if instead.agrees or (by_z and not instead.contradicts):
            notes.append(
                f"the operators listed make {made.amounts}; {symmetry.text!r} makes {_declared(formula, z)} as "
                "declared and is taken"
            )
            return instead
    if not keeps_cell(listed.rotations, cell):
        for setting in symmetry.named:
            instead = _cell(sites, setting, formula, z)
            if instead.agrees:
                notes.append(f"the operators listed do not fit the cell; {symmetry.text!r} does, and is taken")
                return instead
        raise _Unusable(
            f"the operators listed do not fit the cell {cell.a:g} {cell.b:g} {cell.c:g} {cell.alpha:g} {cell.beta:g} "
            f"{cell.gamma:g}; correct one"
        )
    named = symmetry.named[0].number if symmetry.named else symmetry.number
    stated = {number for number in (named, symmetry.number) if number is not None}
    if stated and listed.number not in stated:
        are = f"are those of space group {listed.number}" if listed.number else "make no space group"
        if made.agrees is None:
            raise _Unusable(f"the operators listed {are}, the file says {symmetry.text!r}; correct one")
        notes.append(f"the operators listed {are}, the file says {symmetry.text!r}; the operators are taken")
    if made.contradicts:
        raise _Unusable(
            f"formula and atoms contradict each other: the atoms make {made.amounts}, declared is "
            f"{_declared(formula, z)}; correct one"
        )
    if made.agrees is False:
        notes.append(f"the atoms make {made.amounts}, declared is {_declared(formula, z)}")
    return made


# --- blocks -----------------------------------------------------------------------------------------------------------


def structures_in_cif(text: str, source: str, name: str) -> Iterator[RawCrystal | Rejected]:
    """All structures of a CIF.

    Doubts are Python warnings, one for each block that has any.

    Args:
        text: The file's text.
        source: What the rows name as their source.
        name: Crystal id of the only structure; with several, `name#block` each.

    Yields:
        Structures, and a rejection for each block with atoms or a cell that cannot be used; one for the whole file when
        it has no block with atoms.
    """
    blocks = [
        (block, content)
        for block, content in split_blocks(text)
        if re.search(r"_atom_site[_.]|_cell[_.]", content, re.I)
    ]
    if not blocks:
        reason = "empty file" if not text.strip() else "not a CIF: no data block with a cell or atoms"
        if re.search(r"^\s*_cell[_.]length_a", text, re.I | re.M):
            reason = "not a CIF: no data_ line; put one, data_name, above the first item"
        yield Rejected(source, name, reason)
        return
    with_atoms = [pair for pair in blocks if re.search(r"^\s*_atom_site[_.](fract|cartn)", pair[1], re.I | re.M)]
    if len(with_atoms) > 1:
        with_atoms = [pair for pair in with_atoms if not _ROW_OF_UNKNOWNS.search(pair[1])] or with_atoms
    if not with_atoms:
        yield Rejected(source, name, "no atom sites: the _atom_site_fract_ columns are missing")
        return
    for block, content in with_atoms:
        crystal_id = name if len(with_atoms) == 1 else f"{name}#{block}"
        notes: list[str] = []
        try:
            yield _structure(content, source, crystal_id, notes)
        except (_Unusable, SymmetryError) as error:
            yield Rejected(source, crystal_id, str(error))
            continue
        except Exception as error:  # pymatgen raises whatever a broken line leads to
            yield Rejected(source, crystal_id, f"broken CIF: {_first_line(error)}")
            continue
        if notes:
            name_it = source if stem(source) == crystal_id else f"{source} ({crystal_id})"
            warnings.warn(f"{name_it}: {'; '.join(notes)}", DoubtfulInput, stacklevel=2)


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:200]


def _unit_cell(data: Items, notes: list[str]) -> gemmi.UnitCell:
    # 90° is the default of the dictionary where an angle is not given; "?" is not known
    given = [(data.get(key) or ["." if "angle" in key else "?"])[0].strip() for key in _CELL]
    absent = [key for key, text in zip(_CELL, given, strict=True) if text == "." and "angle" in key]
    if absent:
        notes.append(f"{', '.join(absent)} not given: 90° by default")
    values = [90.0 if key in absent else _number(text) for key, text in zip(_CELL, given, strict=True)]
    missing = [key for key, value in zip(_CELL, values, strict=True) if not math.isfinite(value)]
    if missing:
        raise _Unusable(f"no unit cell: {', '.join(missing)} missing or not a number")
    if min(values[:3]) <= 0 or not all(0 < angle < 180 for angle in values[3:]):
        raise _Unusable(f"no unit cell: {' '.join(f'{value:g}' for value in values)} is none")
    cell = gemmi.UnitCell(*values)
    if not (math.isfinite(cell.volume) and cell.volume > 0.1):
        raise _Unusable(f"no unit cell: {' '.join(f'{value:g}' for value in values)} has no volume")
    stated = _number(first(data, ["_cell_volume"]) or "?")
    if math.isfinite(stated) and stated > 0 and abs(stated - cell.volume) > 0.01 * cell.volume:
        message = f"the cell has {cell.volume:.1f} Å³, declared is {stated:g} Å³"
        times = round(stated / cell.volume)
        box = times > 1 and abs(stated - times * cell.volume) < 0.005 * stated  # of a simulation, in cells
        if abs(stated - cell.volume) > 0.1 * cell.volume and not box:
            raise _Unusable(f"cell and volume contradict each other: {message}; correct one")
        notes.append(message)
    return cell


def _of_symmetry(cell: gemmi.UnitCell, setting: Setting, notes: list[str]) -> gemmi.UnitCell:
    """The cell as its symmetry wants it; the very cell where it obeys.

    Cells refined without constraints are off by their uncertainty, and spglib would find a group too low.
    """
    exact = symmetric_cell(setting.rotations, cell) if setting.number is not None else cell
    if exact is not cell:
        old, new = (" ".join(f"{value:.6g}" for value in one.parameters) for one in (cell, exact))
        notes.append(f"the cell {old} is made {new}, as the symmetry asks")
    return exact


def _structure(content: str, source: str, crystal_id: str, notes: list[str]) -> RawCrystal:
    data = _items(content, notes)
    cell = _unit_cell(data, notes)
    formula = declared_formula(data)
    z = _number(first(data, ["_cell_formula_units_z"]) or "?")
    sites = _sites(data, cell, formula, notes)
    if len(sites.numbers) > MAX_ATOMS:
        raise _Unusable(f"too large: {len(sites.numbers):,} atoms listed, at most {MAX_ATOMS:,} are taken")
    made = _choose(symmetry_of(data, cell), sites, cell, formula, z if z > 0 else None, notes)
    if made.repeated:
        notes.append(f"atoms listed twice are taken once: {', '.join(made.repeated[:5])}")
    moved = _off_special_positions(sites, made)
    if moved:
        notes.append(f"put on the special position less than {MIN_DISTANCE} Å away: {', '.join(moved[:5])}")
    _note_overlaps(cell, sites, made, notes)
    cell = _of_symmetry(cell, made.setting, notes)
    coords, owners = made.coords, made.owners
    occupancies = _shared(coords, owners, sites, notes)
    kept = _one_entry_an_element(coords, owners, sites, occupancies)
    coords, owners, occupancies = coords[kept], owners[kept], occupancies[kept]
    numbers, b_iso = sites.numbers[owners], sites.b_iso[owners]
    return RawCrystal(
        source,
        crystal_id,
        np.array(cell.orth.mat.tolist()).T,
        numbers,
        coords,
        occupancies if (occupancies != 1.0).any() else None,
        b_iso if not np.isnan(b_iso).all() else None,
    )


def _off_special_positions(sites: _Sites, made: _Cell) -> list[str]:
    """Labels of whole atoms that stood farther from their special position than their digits explain."""
    wide = np.flatnonzero((sites.occupancies > 0.5) & (sites.overlap > sites.near))
    if not len(wide):
        return []
    _, owners = expand(sites.coords[wide], sites.near[wide], made.setting)
    _, close = expand(sites.coords[wide], np.full(len(wide), sites.overlap), made.setting)
    fewer = np.bincount(close, minlength=len(wide)) < np.bincount(owners, minlength=len(wide))
    return [sites.labels[index] for index in wide[fewer]]


def _note_overlaps(cell: gemmi.UnitCell, sites: _Sites, made: _Cell, notes: list[str]) -> None:
    """Note whole atoms that are nearer to each other than any two atoms are; that cell or sites are wrong is likely."""
    full = sites.occupancies[made.owners] > 0.5
    coords, owners = made.coords[full], made.owners[full]
    # of all atoms that are images of each other one stands for them
    ones = np.sort(np.unique(owners, return_index=True)[1])
    if not len(ones) or len(ones) * len(coords) > _COMPARED:
        return
    distance = _distances(cell, coords[ones], coords)
    distance[distance < MIN_DISTANCE] = np.inf  # itself, refused, or one site
    if distance.min() < _NEAREST:
        first, second = np.unravel_index(int(distance.argmin()), distance.shape)
        names = " and ".join(sites.labels[owner] for owner in (owners[ones][first], owners[second]))
        notes.append(f"{names} are {distance.min():.2f} Å apart, nearer than any two atoms")


_NEAREST = 0.6  # Å; H–H in H2 is 0.74
_COMPARED = 1_000_000  # pairs of atoms; beyond it nothing is said of overlaps
_ONE_SITE = 3e-4  # fractional: what four digits leave between images of atoms that are one


def _on_one_site(coords: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Entries on one position, for every position that holds several."""
    order = np.argsort(np.round(coords[:, 0] % 1.0, 3), kind="stable")
    taken = np.zeros(len(coords), dtype=bool)
    groups = []
    values = coords[order, 0]
    for rank, index in enumerate(order):
        if taken[index]:
            continue
        ahead = np.concatenate([order[rank : np.searchsorted(values, values[rank] + 2e-3, side="right")], order[:8]])
        ahead = np.unique(ahead)
        difference = coords[ahead] - coords[index]
        difference -= np.rint(difference)
        here = ahead[(np.abs(difference) < _ONE_SITE).all(axis=1) & ~taken[ahead]]
        taken[here] = True
        if len(here) > 1:
            groups.append(here)
    return groups


def _once(coords: NDArray[np.float64], owners: NDArray[np.int64], sites: _Sites) -> NDArray[np.bool_]:
    """Which atoms of the cell are no repeats: some files list the whole cell besides the operators that make it."""
    keep = np.ones(len(coords), dtype=bool)
    for group in _on_one_site(coords):
        seen: set[int] = set()
        for index in group:
            owner = owners[index]
            if sites.occupancies[owner] == 1.0:
                if int(sites.numbers[owner]) in seen:
                    keep[index] = False
                seen.add(int(sites.numbers[owner]))
    return keep


def _shared(
    coords: NDArray[np.float64], owners: NDArray[np.int64], sites: _Sites, notes: list[str]
) -> NDArray[np.float64]:
    """Occupancies, scaled back where those of one site sum up to a little more than 1.

    Raises:
        _Unusable: They sum up to much more.
    """
    occupancies = sites.occupancies[owners].copy()
    alone = np.ones(len(coords), dtype=bool)
    for group in _on_one_site(coords):
        alone[group] = False
        total = float(occupancies[group].sum())
        if total > OCCUPANCY_TOLERANCE:
            names = ", ".join(sites.labels[owners[index]] for index in group[:6])
            raise _Unusable(f"occupancy above 1: {names} share a site and sum up to {total:g}")
        if total > 1:
            occupancies[group] /= total
    above = np.flatnonzero(alone & (occupancies > OCCUPANCY_TOLERANCE))
    above = above[np.argsort(-occupancies[above], kind="stable")]
    named = list(dict.fromkeys(f"site {sites.labels[owners[index]]} has {occupancies[index]:g}" for index in above))
    if named and occupancies[above[0]] > REFINED_OCCUPANCY:
        raise _Unusable(f"occupancy above 1: {named[0]}")
    if named:
        notes.append(f"occupancies taken as 1: {', '.join(named[:5])}")
    return np.minimum(occupancies, 1.0)


def _one_entry_an_element(
    coords: NDArray[np.float64], owners: NDArray[np.int64], sites: _Sites, occupancies: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which entries stay when those of one element on one site (Fe2+ and Fe3+) become one; it takes their sum.

    Entries of a site are moved to the place of its first.
    """
    keep = np.ones(len(coords), dtype=bool)
    for group in _on_one_site(coords):
        heads: dict[int, int] = {}
        coords[group] = coords[group[0]]
        for index in group:
            head = heads.setdefault(int(sites.numbers[owners[index]]), int(index))
            if head != index:
                occupancies[head] = min(occupancies[head] + occupancies[index], 1.0)
                keep[index] = False
    return keep


def from_pymatgen(structure: object, source: str, crystal_id: str) -> RawCrystal | Rejected:
    """A pymatgen `Structure` as entries, one for each species on each site.

    Args:
        structure: The structure.
        source: What the row names as its source.
        crystal_id: Its name.
    """
    numbers: list[int] = []
    coords: list[NDArray[np.float64]] = []
    occupancies: list[float] = []
    for site in structure:  # type: ignore[attr-defined]
        for species, occupancy in site.species.items():
            z = getattr(species, "Z", None)
            if not isinstance(z, int) or z < 1:
                return Rejected(source, crystal_id, f"unknown element: {species} is not a chemical element")
            if occupancy <= 0:
                continue
            numbers.append(z)
            coords.append(np.asarray(site.frac_coords, dtype=np.float64))
            occupancies.append(min(float(occupancy), 1.0))
    return RawCrystal(
        source,
        crystal_id,
        np.asarray(structure.lattice.matrix, dtype=np.float64),  # type: ignore[attr-defined]
        np.asarray(numbers, dtype=np.int64),
        np.asarray(coords, dtype=np.float64).reshape(-1, 3),
        np.asarray(occupancies) if any(value != 1.0 for value in occupancies) else None,
        None,
    )
