"""Derives `space_groups.csv` from spglib's symmetry operations and pymatgen's subgroup lists; run to remake the file.

Run `python -m tools.space_groups`. A test derives the table anew and compares it with the file in the package,
so the table can never drift from its sources:

* names, point groups, arithmetic crystal classes, symmetry operations: spglib's database of the settings of
  International Tables for Crystallography, Vol. A (ITA); the first setting of each number (unique axis b, cell choice
  1; origin choice 1; hexagonal axes).
* extinction symbols and enantiomorphs: computed here from those operations.
* maximal subgroups: the list that pymatgen ships (`symm_data.json`, after ITA Vol. A1).
"""

import csv
import itertools
import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

TABLE = Path(__file__).resolve().parent.parent / "simxrd_hf" / "symmetry" / "space_groups.csv"
FIELDS = (
    "number",
    "symbol",
    "full_symbol",
    "crystal_system",
    "bravais_lattice",
    "laue_class",
    "point_group",
    "extinction_symbol",
    "enantiomorph",
    "maximal_subgroups",
)

# Laue class of each crystallographic point group (ITA Vol. A, table 3.2.1.4), the names as spglib writes them.
LAUE_OF_POINT_GROUP = {
    name: laue
    for laue, names in {
        "-1": "1 -1",
        "2/m": "2 m 2/m",
        "mmm": "222 mm2 mmm",
        "4/m": "4 -4 4/m",
        "4/mmm": "422 4mm -42m -4m2 4/mmm",
        "-3": "3 -3",
        "-3m": "32 3m -3m",
        "6/m": "6 -6 6/m",
        "6/mmm": "622 6mm -6m2 -62m 6/mmm",
        "m-3": "23 m-3",
        "m-3m": "432 -43m m-3m",
    }.items()
    for name in names.split()
}
SYSTEM_OF_LAUE = {
    "-1": "triclinic",
    "2/m": "monoclinic",
    "mmm": "orthorhombic",
    "4/m": "tetragonal",
    "4/mmm": "tetragonal",
    "-3": "trigonal",
    "-3m": "trigonal",
    "6/m": "hexagonal",
    "6/mmm": "hexagonal",
    "m-3": "cubic",
    "m-3m": "cubic",
}
FAMILY_OF_SYSTEM = {
    "triclinic": "a",
    "monoclinic": "m",
    "orthorhombic": "o",
    "tetragonal": "t",
    "trigonal": "h",
    "hexagonal": "h",
    "cubic": "c",
}

# Every condition in the tables of ITA has a period of 2, 3, 4 or 6, so indices up to 6 tell all of them apart.
_INDEX_LIMIT = 6
HKL = np.array(list(itertools.product(range(-_INDEX_LIMIT, _INDEX_LIMIT + 1), repeat=3)), dtype=np.int64)


@cache
def _standard_settings() -> dict[int, tuple[int, Any]]:
    """Space-group number -> (Hall number of the first setting, spglib's type record)."""
    import spglib

    settings: dict[int, tuple[int, Any]] = {}
    for hall in range(1, 531):
        record = spglib.get_spacegroup_type(hall)
        settings.setdefault(record.number, (hall, record))
    return settings


def operations(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Symmetry operations of a group in its standard setting.

    Returns:
        Rotations (n, 3, 3) int and translations (n, 3) float that act on fractional coordinates as columns.
    """
    import spglib

    database = spglib.get_symmetry_from_database(_standard_settings()[number][0])
    return np.asarray(database["rotations"], dtype=np.int64), np.asarray(database["translations"], dtype=np.float64)


def absences(rotations: np.ndarray, translations: np.ndarray, hkl: np.ndarray = HKL) -> np.ndarray:
    """Which reflections are systematically absent.

    A reflection h (as a row) is absent when an operation (W, w) leaves it in place, h W = h, and turns its phase,
    h·w not a whole number (ITA Vol. A, section 1.6.3).

    Args:
        rotations: (n, 3, 3) integer matrices W.
        translations: (n, 3) vectors w.
        hkl: (m, 3) integer reflections.

    Returns:
        (m,) bool, True where absent.
    """
    absent = np.zeros(len(hkl), dtype=bool)
    for rotation, translation in zip(rotations, translations, strict=True):
        fixed = (hkl @ rotation == hkl).all(axis=1)
        turns = hkl @ translation
        absent |= fixed & (np.abs(turns - np.round(turns)) > 1e-6)
    return absent


def axis_choices(bravais: str) -> list[np.ndarray]:
    """Matrices that carry one conventional cell of a Bravais lattice into an equally good one.

    These are the changes of axes that a lattice leaves open beyond its own symmetry: any order of the axes in
    orthorhombic, any a and c in the monoclinic plane (their effect on conditions has period 2, so coefficients -1, 0, 1
    suffice), none elsewhere (the other choices are symmetries of the lattice or change the size of the cell).

    Returns:
        Integer matrices M; the reflection h becomes the row h M.
    """
    if bravais[0] == "o":
        return [np.eye(3, dtype=np.int64)[list(order)] for order in itertools.permutations(range(3))]
    if bravais[0] == "m":
        return [
            np.array([[p, 0, q], [0, 1, 0], [r, 0, s]], dtype=np.int64)
            for p, q, r, s in itertools.product((-1, 0, 1), repeat=4)
            if abs(p * s - q * r) == 1
        ]
    return [np.eye(3, dtype=np.int64)]


def extinction_key(number: int, system: str, bravais: str) -> tuple[str, str, bytes]:
    """Identity of a group's extinction class: crystal system, Bravais lattice and absences, whatever the axes."""
    absent = absences(*operations(number))
    width = 2 * _INDEX_LIMIT + 1
    grid = absent.reshape(width, width, width)
    choices = axis_choices(bravais)
    # Images must stay inside the computed range. Permuted axes keep the limit; monoclinic cell changes halve it, which
    # is enough there because all monoclinic conditions have the period 2.
    limit = _INDEX_LIMIT // max(int(np.abs(matrix).sum(axis=0).max()) for matrix in choices)
    inner = HKL[np.abs(HKL).max(axis=1) <= limit]
    images = []
    for matrix in choices:
        images.append(grid[tuple((inner @ matrix + _INDEX_LIMIT).T)].tobytes())
    return system, bravais, min(images)


# Symmetry directions of each crystal family: (axis of the direction, the two indices that span the plane normal to it).
# For a plane the reflections are u*first + v*second; axis reflections are n*axis (ITA Vol. A, table 2.1.3.1).
_DIRECTIONS: dict[str, list[tuple[tuple[int, int, int] | None, tuple[int, int, int], tuple[int, int, int]]]] = {
    "m": [((0, 1, 0), (1, 0, 0), (0, 0, 1))],
    "o": [
        ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        ((0, 1, 0), (1, 0, 0), (0, 0, 1)),
        ((0, 0, 1), (1, 0, 0), (0, 1, 0)),
    ],
    "t": [
        ((0, 0, 1), (1, 0, 0), (0, 1, 0)),
        ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        (None, (1, 1, 0), (0, 0, 1)),
    ],
    "h": [
        ((0, 0, 1), (1, 0, 0), (0, 1, 0)),
        (None, (1, -1, 0), (0, 0, 1)),  # plane normal to a: h -h l
        (None, (1, 1, 0), (0, 0, 1)),  # plane normal to a - b: h h l
    ],
    "c": [
        ((0, 0, 1), (1, 0, 0), (0, 1, 0)),
        (None, (1, 0, 0), (0, 1, 0)),  # the threefold direction has no conditions of its own
        (None, (1, 1, 0), (0, 0, 1)),
    ],
}
# Glide planes: condition on the indices (u, v) of the zone above, True = allowed. The letters depend on the direction.
_GLIDES = {
    "first": lambda u, v: u % 2 == 0,
    "second": lambda u, v: v % 2 == 0,
    "n": lambda u, v: (u + v) % 2 == 0,
    "both": lambda u, v: u % 2 == 0 and v % 2 == 0,
    "d": lambda u, v: (u + v) % 4 == 0 and u % 2 == 0,
    "d diagonal": lambda u, v: (2 * u + v) % 4 == 0,
}
# (family, position of the direction) -> letter of each glide condition.
_LETTERS: dict[tuple[str, int], dict[str, str]] = {
    ("m", 0): {"first": "a", "second": "c", "n": "n", "both": "c"},
    ("o", 0): {"first": "b", "second": "c", "n": "n", "both": "e", "d": "d"},
    ("o", 1): {"first": "a", "second": "c", "n": "n", "both": "e", "d": "d"},
    ("o", 2): {"first": "a", "second": "b", "n": "n", "both": "e", "d": "d"},
    ("t", 0): {"n": "n", "both": "a", "d": "d"},
    ("t", 1): {"first": "b", "second": "c", "n": "n", "both": "c", "d": "d"},
    ("t", 2): {"second": "c", "d diagonal": "d", "both": "c"},
    ("h", 1): {"second": "c", "both": "c"},
    ("h", 2): {"second": "c", "both": "c"},
    ("c", 0): {"first": "a", "n": "n", "both": "a", "d": "d"},
    ("c", 2): {"second": "n", "d diagonal": "d", "both": "c"},
}
# Screw axes by the period of the axial reflections; 2 is a 2_1 or 4_2 or 6_3, and so on.
_SCREWS = {
    "m": {2: "21"},
    "o": {2: "21"},
    "t": {2: "42", 4: "41"},
    "h": {2: "63", 3: "62", 6: "61"},
    "-3": {3: "31"},
    "-3m": {3: "31"},
    "c": {2: "21", 4: "41"},
}


def extinction_symbol(number: int) -> str:
    """Extinction symbol of a group in its standard setting, after the rules of ITA Vol. A (5th ed., section 3.1.3).

    For each symmetry direction comes the glide plane that its zone of reflections shows beyond the centring, and the
    screw axis where the axial reflections show more than centring and glide planes explain; a dash where neither does.
    Of letters with the same effect (b and c in the first direction of I b c a) the Hermann-Mauguin symbol decides.

    Returns:
        For instance "P 1 21/c 1".
    """
    record = _standard_settings()[number][1]
    laue = LAUE_OF_POINT_GROUP[record.pointgroup_international]
    family = FAMILY_OF_SYSTEM[SYSTEM_OF_LAUE[laue]]
    lattice_letter, *hm_parts = record.international_full.split()
    if family == "a":
        return "P -"
    rotations, translations = operations(number)
    flags = dict(zip(map(tuple, HKL.tolist()), absences(rotations, translations).tolist(), strict=True))
    centring = np.all(rotations == np.eye(3, dtype=np.int64), axis=(1, 2))
    by_centring = dict(
        zip(map(tuple, HKL.tolist()), absences(rotations[centring], translations[centring]).tolist(), strict=True)
    )
    parts: list[tuple[str, str]] = []
    explained = dict(by_centring)
    planes: list[str] = []
    for position, (_, first, second) in enumerate(_DIRECTIONS[family]):
        letters = _LETTERS.get((family, position))
        if letters is None:
            planes.append("")
            continue
        # Glide planes are read off the points of no other symmetry element: axes carry screws, diagonals other planes.
        zone = {
            (u, v): tuple(u * a + v * b for a, b in zip(first, second, strict=True))
            for u in range(-_INDEX_LIMIT, _INDEX_LIMIT + 1)
            for v in range(-_INDEX_LIMIT, _INDEX_LIMIT + 1)
            if u and v and abs(u) != abs(v)
        }
        observed = {uv: flags[index] for uv, index in zone.items()}
        matches = []
        if observed != {uv: by_centring[index] for uv, index in zone.items()}:
            for name, letter in letters.items():
                rule = _GLIDES[name]
                if all(flag == (by_centring[zone[uv]] or not rule(*uv)) for uv, flag in observed.items()):
                    matches.append((name, letter))
            if not matches:
                raise AssertionError(f"group {number}: unknown glide condition in direction {position}")
        letter = matches[0][1] if matches else ""
        if matches:
            hm = hm_parts[min(position if family != "m" else 1, len(hm_parts) - 1)].split("/")[-1]
            if hm in "abcne":
                names = {name for name, _ in matches}
                allowed = {other for name, other in letters.items() if name in names}
                if lattice_letter == "I" and "both" in names:
                    allowed |= {letters[name] for name in ("first", "second") if name in letters}
                if hm in allowed:
                    letter = hm
            rule = _GLIDES[matches[0][0]]
            for equivalent in _equivalent_zones(rotations, first, second):
                for u in range(-_INDEX_LIMIT, _INDEX_LIMIT + 1):
                    for v in range(-_INDEX_LIMIT, _INDEX_LIMIT + 1):
                        index = tuple((u * equivalent[0] + v * equivalent[1]).tolist())
                        if index in explained and not rule(u, v):
                            explained[index] = True
        planes.append(letter)
    for position, (axis, _, _) in enumerate(_DIRECTIONS[family]):
        screw = ""
        if axis is not None and family in _SCREWS:
            row = [tuple(n * a for a in axis) for n in range(1, _INDEX_LIMIT + 1)]
            if any(flags[index] and not explained[index] for index in row):
                period = next(n for n, index in enumerate(row, start=1) if not flags[index])
                screw = (
                    "21" if family == "t" and position == 1 else _SCREWS[laue if laue in _SCREWS else family][period]
                )
        parts.append((screw, planes[position]))
    words = ["/".join(filter(None, part)) or "-" for part in parts]
    if family == "m":
        words = ["1", words[0], "1"]
    if lattice_letter == "R":
        words = words[:2]
    return " ".join([lattice_letter, *words])


def _equivalent_zones(
    rotations: np.ndarray, first: tuple[int, int, int], second: tuple[int, int, int]
) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.array(first) @ rotation, np.array(second) @ rotation) for rotation in rotations]


def enantiomorph(number: int) -> int:
    """Number of the mirror image of a group: itself but for the 11 enantiomorphic pairs."""
    import spglib

    rotations, translations = operations(number)
    # Conjugation by the inversion keeps W and turns w into -w.
    return int(spglib.get_spacegroup_type_from_symmetry(rotations, (-translations) % 1.0).number)


def maximal_subgroups() -> dict[int, list[int]]:
    """Types of the maximal subgroups of each type, from pymatgen."""
    data = json.loads((files("pymatgen.symmetry") / "symm_data.json").read_text(encoding="utf-8"))
    return {int(number): sorted(set(found)) for number, found in data["maximal_subgroups"].items()}


def _system_and_bravais(number: int) -> tuple[str, str]:
    record = _standard_settings()[number][1]
    system = SYSTEM_OF_LAUE[LAUE_OF_POINT_GROUP[record.pointgroup_international]]
    letter = record.international_full[0]
    return system, FAMILY_OF_SYSTEM[system] + ("S" if letter in "AC" else letter)


def derive() -> list[dict[str, str]]:
    """All 230 rows of the table, as text."""
    subgroups = maximal_subgroups()
    rows = []
    names: dict[tuple[str, str, bytes], str] = {}
    settings = _standard_settings()
    # The lowest number of a class names it; groups with A centring come last, so that one-face centring is always C.
    for number in sorted(settings, key=lambda n: (settings[n][1].international_full[0] == "A", n)):
        system, bravais = _system_and_bravais(number)
        names.setdefault(extinction_key(number, system, bravais), f"{system} {extinction_symbol(number)}")
    if len(set(names.values())) != len(names):
        raise AssertionError("two extinction classes share a name")
    for number in range(1, 231):
        record = settings[number][1]
        system, bravais = _system_and_bravais(number)
        rows.append(
            {
                "number": str(number),
                "symbol": record.international_short,
                "full_symbol": record.international_full,
                "crystal_system": system,
                "bravais_lattice": bravais,
                "laue_class": LAUE_OF_POINT_GROUP[record.pointgroup_international],
                "point_group": record.pointgroup_international,
                "extinction_symbol": names[extinction_key(number, system, bravais)],
                "enantiomorph": str(enantiomorph(number)),
                "maximal_subgroups": " ".join(map(str, subgroups[number])),
            }
        )
    return rows


if __name__ == "__main__":
    with TABLE.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(derive())
    print(f"wrote {TABLE}")
