"""The 230-group tables against spglib's operations, pymatgen's classes and known counts."""

import csv
import itertools

import numpy as np
import pytest
import spglib
from pymatgen.symmetry.groups import SpaceGroup

from simxrd_hf import symmetry
from tools import space_groups as derive


def test_packaged_table_is_what_the_sources_say():
    with derive.TABLE.open(encoding="utf-8", newline="") as stream:
        packaged = list(csv.DictReader(stream))
    assert packaged == derive.derive()


def test_names_resolve_in_pymatgen_and_spglib():
    for number, name in enumerate(symmetry.SPACE_GROUPS, start=1):
        group = SpaceGroup(name)
        assert group.int_number == number
        assert group.crystal_system == symmetry.crystal_system(number)
        hall = derive._standard_settings()[number][0]
        record = spglib.get_spacegroup_type(hall)
        assert record.international_short == name
        assert symmetry.POINT_GROUPS[symmetry.POINT_GROUP_OF[number - 1]] == record.pointgroup_international
    assert all(name.isascii() and " " not in name for name in symmetry.SPACE_GROUPS)


def test_counts():
    # ITA Vol. A: groups per crystal system, per Laue class, Bravais lattices in use.
    assert np.bincount(symmetry.CRYSTAL_SYSTEM_OF).tolist() == [2, 13, 59, 68, 25, 27, 36]
    assert np.bincount(symmetry.LAUE_OF).tolist() == [2, 13, 59, 14, 54, 6, 19, 9, 18, 12, 24]
    assert len(set(symmetry.BRAVAIS_OF.tolist())) == len(symmetry.BRAVAIS_LATTICES) == 14
    assert len(symmetry.POINT_GROUPS) == 32
    assert len(symmetry.EXTINCTION_SYMBOLS) == 101 == symmetry.EXTINCTION_OF.max() + 1
    for array in (
        symmetry.CRYSTAL_SYSTEM_OF,
        symmetry.BRAVAIS_OF,
        symmetry.LAUE_OF,
        symmetry.EXTINCTION_OF,
        symmetry.ENANTIOMORPH_OF,
        symmetry.POINT_GROUP_OF,
    ):
        assert array.shape == (230,) and array.dtype == np.int16 and not array.flags.writeable


def test_laue_class_from_operations():
    """The Laue class is the point group joined with the inversion: compare its order and its operations' traces."""
    signatures: dict[tuple, set[int]] = {}
    for index in range(230):
        rotations = derive.operations(index + 1)[0]
        group = {r.tobytes() for r in rotations} | {(-r).tobytes() for r in rotations}
        matrices = [np.frombuffer(r, dtype=np.int64).reshape(3, 3) for r in group]
        signature = tuple(sorted((int(np.trace(m)), round(np.linalg.det(m))) for m in matrices))
        signatures.setdefault(signature, set()).add(int(symmetry.LAUE_OF[index]))
    assert all(len(classes) == 1 for classes in signatures.values())
    assert len(signatures) == 11


def test_bravais_letter_is_the_centring_in_the_operations():
    centring = {1: "P", 2: "SI", 3: "R", 4: "F"}  # number of pure translations in the conventional cell
    for index in range(230):
        rotations = derive.operations(index + 1)[0]
        pure = int((rotations == np.eye(3, dtype=np.int64)).all(axis=(1, 2)).sum())
        assert symmetry.BRAVAIS_LATTICES[symmetry.BRAVAIS_OF[index]][1] in centring[pure]


LIMIT = 6
WIDTH = 2 * LIMIT + 1


def _absent_grid(number: int) -> np.ndarray:
    """Absent reflections by summing the structure factor of random general atoms: shares no code with the table."""
    rng = np.random.default_rng(number)
    rotations, translations = derive.operations(number)
    hkl = np.array(list(itertools.product(range(-LIMIT, LIMIT + 1), repeat=3)))
    atoms = rng.random((3, 3))
    images = (np.einsum("nij,aj->ani", rotations, atoms) + translations).reshape(-1, 3)
    amplitude = np.abs(np.exp(2j * np.pi * hkl @ images.T).sum(axis=1))
    return (amplitude < 1e-7).reshape(WIDTH, WIDTH, WIDTH)


def test_extinction_classes_against_structure_factors():
    """Groups of one symbol have the same absences up to the axes; groups of one system and two symbols never."""
    grids = [_absent_grid(number) for number in range(1, 231)]
    for system in range(7):
        members = np.flatnonzero(np.equal(symmetry.CRYSTAL_SYSTEM_OF, system))
        for first in members:
            choices = derive.axis_choices(symmetry.BRAVAIS_LATTICES[symmetry.BRAVAIS_OF[first]])
            limit = 3 if len(choices) > 6 else LIMIT  # the monoclinic cell changes can double an index
            hkl = np.array(list(itertools.product(range(-limit, limit + 1), repeat=3)))
            images = {grids[first][tuple((hkl @ matrix + LIMIT).T)].tobytes() for matrix in choices}
            for second in members:
                alike = grids[second][tuple((hkl + LIMIT).T)].tobytes() in images
                same = symmetry.EXTINCTION_OF[first] == symmetry.EXTINCTION_OF[second]
                assert alike == same, (symmetry.SPACE_GROUPS[first], symmetry.SPACE_GROUPS[second])


def test_other_ways_of_counting_extinction_classes():
    by_lattice = {}
    for number in range(1, 231):
        system, bravais = derive._system_and_bravais(number)
        by_lattice[derive.extinction_key(number, system, bravais)[1:]] = number
    assert len(by_lattice) == 97
    with_laue = set(zip(symmetry.LAUE_OF.tolist(), symmetry.EXTINCTION_OF.tolist(), strict=True))
    assert len(with_laue) == 120
    # ITA's 122 diffraction symbols keep -31m and -3m1 apart on the primitive lattice.
    minus_31m = {149, 151, 153, 157, 159, 162, 163}
    classes = {
        (int(symmetry.LAUE_OF[n - 1]), int(symmetry.EXTINCTION_OF[n - 1]), n in minus_31m) for n in range(1, 231)
    }
    assert len(classes) == 122


@pytest.mark.parametrize(
    ("symbol", "groups"),
    [
        # International Tables, Vol. A (2002), table 3.1.4.1: rows picked from each system.
        ("triclinic P -", "P1 P-1"),
        ("monoclinic P 1 21/c 1", "P2_1/c"),
        ("monoclinic C 1 c 1", "Cc C2/c"),
        ("orthorhombic P n a -", "Pna2_1 Pnma"),
        ("orthorhombic F d d d", "Fddd"),
        ("orthorhombic P 21 21 21", "P2_12_12_1"),
        ("tetragonal I 41/a - -", "I4_1/a"),
        ("tetragonal I a - d", "I4_1/amd"),
        ("tetragonal P - n -", "P4_2nm P-4n2 P4_2/mnm"),
        ("trigonal R - c", "R3c R-3c"),
        ("hexagonal P - - c", "P6_3mc P-62c P6_3/mmc"),
        ("cubic F - - -", "F23 Fm-3 F432 F-43m Fm-3m"),
        ("cubic I a - d", "Ia-3d"),
        ("cubic P a - -", "Pa-3"),
    ],
)
def test_extinction_symbols_of_the_international_tables(symbol, groups):
    found = [
        name
        for name, extinction in zip(symmetry.SPACE_GROUPS, symmetry.EXTINCTION_OF, strict=True)
        if symmetry.EXTINCTION_SYMBOLS[extinction] == symbol
    ]
    assert " ".join(found) == groups


def test_enantiomorph_pairs():
    pairs = [(int(first) + 1, index + 1) for index, first in enumerate(symmetry.ENANTIOMORPH_OF) if first != index]
    # The 11 pairs (ITA Vol. A, section 3.3.2).
    assert pairs == [
        (76, 78),
        (91, 95),
        (92, 96),
        (144, 145),
        (151, 153),
        (152, 154),
        (169, 170),
        (171, 172),
        (178, 179),
        (180, 181),
        (212, 213),
    ]
    for table in (symmetry.EXTINCTION_OF, symmetry.LAUE_OF, symmetry.BRAVAIS_OF, symmetry.POINT_GROUP_OF):
        assert all(table[a - 1] == table[b - 1] for a, b in pairs)


def _maximal_point_subgroups(rotations: np.ndarray) -> list[frozenset[int]]:
    """Maximal proper subgroups of a point group, as sets of positions in `rotations` (unique matrices)."""
    position = {r.tobytes(): i for i, r in enumerate(rotations)}
    product = [[position[np.ascontiguousarray(a @ b).tobytes()] for b in rotations] for a in rotations]

    def close(elements: frozenset[int]) -> frozenset[int]:
        while True:
            more = elements | {product[a][b] for a in elements for b in elements}
            if more == elements:
                return elements
            elements = more

    cyclic = {close(frozenset([i])) for i in range(len(rotations))}
    found, fresh = set(cyclic), set(cyclic)
    while fresh:
        fresh = {close(a | b) for a in fresh for b in cyclic if not b <= a} - found
        found |= fresh
    proper = [group for group in found if len(group) < len(rotations)]
    return [group for group in proper if not any(group < other for other in proper)]


def test_maximal_subgroups_with_all_translations():
    """Each translationengleiche maximal subgroup that the operations yield stands in the table."""
    cache: dict[bytes, list[frozenset[int]]] = {}
    for index in range(230):
        rotations, translations = derive.operations(index + 1)
        unique, which = np.unique(rotations, axis=0, return_inverse=True)
        key = unique.tobytes()
        if key not in cache:
            cache[key] = _maximal_point_subgroups(unique)
        expected = set()
        for subgroup in cache[key]:
            keep = np.isin(which, list(subgroup))
            expected.add(spglib.get_spacegroup_type_from_symmetry(rotations[keep], translations[keep]).number - 1)
        missing = expected - set(symmetry.MAXIMAL_SUBGROUPS[index])
        assert not missing, (symmetry.SPACE_GROUPS[index], [symmetry.SPACE_GROUPS[i] for i in missing])


def test_maximal_subgroups_have_point_groups_inside():
    order = [len(np.unique(derive.operations(n)[0], axis=0)) for n in range(1, 231)]
    for index, subgroups in enumerate(symmetry.MAXIMAL_SUBGROUPS):
        assert all(order[index] % order[other] == 0 for other in subgroups)


def test_subgroup_distance():
    distance = symmetry.subgroup_distance()
    assert distance.shape == (230, 230) and distance.dtype == np.uint8
    assert (distance == distance.T).all() and (np.diag(distance) == 0).all()
    number = {name: i for i, name in enumerate(symmetry.SPACE_GROUPS)}
    assert distance[number["Pm-3m"], number["P4/mmm"]] == 1  # perovskite, first step of its tree
    assert distance[number["Pm-3m"], number["Fm-3m"]] == 1  # doubled cell
    assert distance[number["Pm-3m"], number["Pnma"]] >= 2
    assert distance[number["P1"], number["P-1"]] == 1
    # Triangle inequality over every middle group.
    wide = distance.astype(np.int16)
    for middle in range(230):
        assert (wide <= wide[:, [middle]] + wide[[middle], :]).all()
    with pytest.raises(ValueError):
        distance[0, 0] = 1


def test_crystal_system_of_wrong_number():
    for number in (0, 231, -1):
        with pytest.raises(ValueError, match=str(number)):
            symmetry.crystal_system(number)
