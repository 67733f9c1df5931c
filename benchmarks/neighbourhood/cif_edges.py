"""Valid CIFs at the edges of the format, through every reader of crystals: are the atoms those of the file?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from .cells import Care, Cell, demand, folder_of

Atoms = list[tuple[str, float, float, float, float]]
"""Symbol, three fractional coordinates, occupancy."""

_NACL = "Na1 Na 0 0 0\nCl1 Cl 0.5 0.5 0.5\n"
_ZRO2 = "Zr1 Zr 0.2754 0.0395 0.2083\nO1 O 0.0700 0.3317 0.3447\nO2 O 0.4496 0.7569 0.4792\n"
_P21N = ("x,y,z", "-x+1/2,y+1/2,-z+1/2", "-x,-y,-z", "x+1/2,-y+1/2,z+1/2")
_PLAIN = "label type_symbol fract_x fract_y fract_z"


@dataclass(frozen=True)
class Case:
    """A file and the atoms it means.

    Args:
        name: What is peculiar about it.
        text: The file.
        group: Extended Hermann–Mauguin symbol (gemmi's) of its operators.
        asymmetric: Its atoms, as `Atoms`.
    """

    name: str
    text: str
    group: str
    asymmetric: Atoms


def _cell(
    a: float | str, b: float | str, c: float | str, alpha: float = 90, beta: float = 90, gamma: float = 90
) -> str:
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    return "".join(f"_cell_{n} {v}\n" for n, v in zip(names, (a, b, c, alpha, beta, gamma), strict=True))


def _loop(names: str, rows: str, prefix: str = "_atom_site_") -> str:
    return "loop_\n" + "".join(f"{prefix}{name}\n" for name in names.split()) + rows


def _operators(group: str, tag: str = "_space_group_symop_operation_xyz") -> str:
    import gemmi

    listed = "".join(f"'{op.triplet()}'\n" for op in gemmi.SpaceGroup(group).operations())
    return f"loop_\n{tag}\n{listed}"


def _atoms(rows: str) -> Atoms:
    found = []
    for row in rows.splitlines():
        _, symbol, *numbers = row.split()
        values = [float(number.split("(")[0]) for number in numbers[:4]]
        found.append((symbol, *values[:3], values[3] if len(values) > 3 else 1.0))
    return found  # type: ignore[return-value]


def cases() -> list[Case]:
    """All files, each with one peculiarity that the CIF standard or its core dictionary allows."""
    cubic, group = _cell(5.64, 5.64, 5.64), "F m -3 m"
    symbol = f"_space_group_name_H-M_alt '{group}'\n_space_group_IT_number 225\n"
    plain = f"data_x\n{cubic}{symbol}{_operators(group)}{_loop(_PLAIN, _NACL)}"
    zirconia = f"data_x\n{_cell(5.15, 5.21, 5.32, 90, 99.2, 90)}"
    nacl = _atoms(_NACL)
    magnesium = _cell(3.21, 3.21, 5.21, 90, 90, 120)
    hcp = "P 63/m m c"
    head = f"_space_group_name_H-M_alt '{hcp}'\n_space_group_IT_number 194\n{_operators(hcp)}"

    def nacl_case(name: str, text: str) -> Case:
        return Case(name, text, group, nacl)

    upper = "\n".join(line.upper() if line.startswith("_") and "'" not in line else line for line in plain.splitlines())
    dotted = plain.replace("_cell_", "_cell.").replace("_atom_site_", "_atom_site.").replace("symop_", "symop.")
    dotted = dotted.replace("_space_group_name", "_space_group.name").replace("_group_IT", "_group.IT")
    occupied = _loop(_PLAIN + " occupancy", "Cs1 Cs 0 0 0 .\nCl1 Cl 0.5 0.5 0.5 .\n")
    uncertain = "Na1 Na 0.0000(1) 0 0 0.97(2)\nCl1 Cl 0.5 0.5 0.5 1.000\n"
    mixed = "Fe1 Fe 0 0 0 0.5\nNi1 Ni 0 0 0 0.5\n"
    dummy = _loop(_PLAIN + " calc_flag", "Na1 Na 0 0 0 ?\nCl1 Cl 0.5 0.5 0.5 ?\nCg1 C 0.25 0.25 0.25 dum\n")
    comment = "data_x\n_publ_section_comment\n;\ndata_y is a word here,\nloop_\n_atom_site_label\nis text.\n;\n"
    numbered = "".join(f"{i} {op}\n" for i, op in enumerate(_P21N, 1))
    triclinic = f"data_x\n{_cell(5, 5, 5)}_space_group_name_H-M_alt 'P 1'\n{_operators('P 1')}"
    water = "O1 O 0 0 0\nD1 D 0.2 0 0\nD2 D 0 0.2 0\n"
    calcite = "Ca1 Ca 0 0 0\nC1 C 0.25 0.25 0.25\nO1 O 0.5067 -0.0067 0.25\n"
    diamond = _cell(3.567, 3.567, 3.567)
    cartesian = "Na1 Na 0 0 0\nCl1 Cl 2.82 2.82 2.82\n"
    return [
        nacl_case("nothing peculiar", plain),
        nacl_case("names in capitals (names have no case)", upper + "\n"),
        nacl_case(
            "cell angles left out (90 by the dictionary)",
            "\n".join(line for line in plain.splitlines() if "angle" not in line) + "\n",
        ),
        nacl_case("dotted names of the present dictionaries", dotted),
        nacl_case("words `data_` and `loop_` in a text field", plain.replace("data_x\n", comment)),
        nacl_case(
            "CIF 2.0, triple-quoted title",
            "#\\#CIF_2.0\n"
            + plain.replace("data_x\n", "data_x\n_publ_section_title '''It's a \"title\"\nof two lines'''\n"),
        ),
        nacl_case("`data_global` before the structure", "data_global\n_audit_author_name 'A. B.'\n" + plain),
        nacl_case("cell in exponential notation", plain.replace(" 5.64\n", " 5.64E+00\n")),
        nacl_case("number of the group alone", f"data_x\n{cubic}_space_group_IT_number 225\n{_loop(_PLAIN, _NACL)}"),
        nacl_case("dummy atom (`calc_flag dum`)", f"data_x\n{cubic}{symbol}{_operators(group)}{dummy}"),
        nacl_case("coordinates outside the cell", plain.replace("Cl1 Cl 0.5 0.5 0.5", "Cl1 Cl -1.5 2.5 0.5")),
        nacl_case(
            "Cartesian coordinates alone",
            f"data_x\n{cubic}{symbol}{_operators(group)}"
            + _loop("label type_symbol Cartn_x Cartn_y Cartn_z", cartesian),
        ),
        Case(
            "standard uncertainties, partial occupancy",
            f"data_x\n{cubic}{symbol}{_operators(group)}" + _loop(_PLAIN + " occupancy", uncertain),
            group,
            _atoms(uncertain),
        ),
        Case(
            "occupancy `.` (1 by the dictionary)",
            f"data_x\n{_cell(4.12, 4.12, 4.12)}_space_group_name_H-M_alt "
            f"'P m -3 m'\n{_operators('P m -3 m')}{occupied}",
            "P m -3 m",
            [("Cs", 0, 0, 0, 1), ("Cl", 0.5, 0.5, 0.5, 1)],
        ),
        Case(
            "two elements on one site",
            f"data_x\n{_cell(3.6, 3.6, 3.6)}{symbol}{_operators(group)}" + _loop(_PLAIN + " occupancy", mixed),
            group,
            _atoms(mixed),
        ),
        Case(
            "`P 21/n` and number 14, no operators",
            f"{zirconia}_space_group_name_H-M_alt 'P 21/n'\n_space_group_IT_number 14\n{_loop(_PLAIN, _ZRO2)}",
            "P 1 21/n 1",
            _atoms(_ZRO2),
        ),
        Case(
            "operators alone, no symbol",
            zirconia
            + "loop_\n_space_group_symop_operation_xyz\n"
            + "".join(f"'{op}'\n" for op in _P21N)
            + _loop(_PLAIN, _ZRO2),
            "P 1 21/n 1",
            _atoms(_ZRO2),
        ),
        Case(
            "operators in capitals, fraction first",
            f"{zirconia}_space_group_name_H-M_alt 'P 1 21/n 1'\n"
            "loop_\n_space_group_symop_operation_xyz\nX,Y,Z\n1/2-X,1/2+Y,1/2-Z\n-X,-Y,-Z\n1/2+X,1/2-Y,1/2+Z\n"
            + _loop(_PLAIN, _ZRO2),
            "P 1 21/n 1",
            _atoms(_ZRO2),
        ),
        Case(
            "operators numbered, not quoted",
            f"{zirconia}_space_group_name_H-M_alt 'P 1 21/n 1'\n"
            f"loop_\n_space_group_symop_id\n_space_group_symop_operation_xyz\n{numbered}{_loop(_PLAIN, _ZRO2)}",
            "P 1 21/n 1",
            _atoms(_ZRO2),
        ),
        Case(
            "`F d -3 m :1` alone",
            f"data_x\n{diamond}_space_group_name_H-M_alt 'F d -3 m :1'\n"
            f"_space_group_IT_number 227\n{_loop(_PLAIN, 'C1 C 0 0 0' + chr(10))}",
            "F d -3 m:1",
            [("C", 0, 0, 0, 1)],
        ),
        Case(
            "Hall symbol alone",
            f"data_x\n{diamond}_space_group_name_Hall '-F 4vw 2vw 3'\n" + _loop(_PLAIN, "C1 C 0.125 0.125 0.125\n"),
            "F d -3 m:2",
            [("C", 0.125, 0.125, 0.125, 1)],
        ),
        Case(
            "`R -3 c :R`, rhombohedral axes, no operators",
            "data_x\n"
            + _cell(6.375, 6.375, 6.375, 46.08, 46.08, 46.08)
            + f"_space_group_name_H-M_alt 'R -3 c :R'\n_space_group_IT_number 167\n{_loop(_PLAIN, calcite)}",
            "R -3 c:R",
            _atoms(calcite),
        ),
        Case(
            "thirds of four digits",
            f"data_x\n{magnesium}{head}{_loop(_PLAIN, 'Mg1 Mg 0.3333 0.6667 0.25' + chr(10))}",
            hcp,
            [("Mg", 1 / 3, 2 / 3, 0.25, 1)],
        ),
        Case(
            "thirds of three digits",
            f"data_x\n{magnesium}{head}{_loop(_PLAIN, 'Mg1 Mg 0.333 0.667 0.25' + chr(10))}",
            hcp,
            [("Mg", 1 / 3, 2 / 3, 0.25, 1)],
        ),
        Case("deuterium", triclinic + _loop(_PLAIN, water), "P 1", _atoms(water)),
        Case(
            "ions (`Fe3+`), labels that name no element",
            triclinic + _loop(_PLAIN, "X1 Fe3+ 0 0 0\nX2 O2- 0.5 0.5 0.5\n"),
            "P 1",
            [("Fe", 0, 0, 0, 1), ("O", 0.5, 0.5, 0.5, 1)],
        ),
        Case(
            "no type symbols, label `OH1`",
            triclinic + _loop("label fract_x fract_y fract_z", "Na1 0 0 0\nOH1 0.5 0.5 0.5\n"),
            "P 1",
            [("Na", 0, 0, 0, 1), ("O", 0.5, 0.5, 0.5, 1)],
        ),
    ]


def _read_gemmi(path: Path) -> Atoms:
    import gemmi

    found = gemmi.read_small_structure(str(path)).get_all_unit_cell_sites()
    return [(s.element.name, s.fract.x, s.fract.y, s.fract.z, s.occ) for s in found]


def _read_pymatgen(path: Path) -> Atoms:
    from pymatgen.core import Structure

    return [
        (getattr(kind, "symbol", str(kind)), *map(float, site.frac_coords), float(share))
        for site in Structure.from_file(path)
        for kind, share in site.species.items()
    ]


def _read_ase(path: Path) -> Atoms:
    import ase.io

    atoms = ase.io.read(path)
    shares = atoms.info.get("occupancy")
    kinds = atoms.arrays.get("spacegroup_kinds")
    found: Atoms = []
    for i, (symbol, place) in enumerate(zip(atoms.symbols, atoms.get_scaled_positions(), strict=True)):
        here = shares[str(kinds[i])] if shares and kinds is not None else {symbol: 1.0}
        found += [(name, *map(float, place), share) for name, share in here.items()]
    return found


def _read_diffpy(path: Path) -> Atoms:
    from diffpy.structure import Structure

    structure = Structure()
    structure.read(str(path), "cif")
    return [(a.element.rstrip("0123456789+-"), *map(float, a.xyz), float(a.occupancy)) for a in structure]


def _read_dans(path: Path) -> Atoms:
    import Dans_Diffraction

    atoms = Dans_Diffraction.Crystal(str(path)).Structure
    columns = (atoms.type, atoms.u, atoms.v, atoms.w, atoms.occupancy)
    return [(str(t).rstrip("0123456789+-"), *map(float, rest)) for t, *rest in zip(*columns, strict=True)]  # type: ignore[misc]


def _read_xrayutilities(path: Path) -> Atoms:
    import xrayutilities

    found = xrayutilities.materials.Crystal.fromCIF(str(path)).lattice.base()
    return [(a.name.rstrip("0123456789+-."), *map(float, place), float(occ)) for a, place, occ, *_ in found]


def _read_rietx(path: Path) -> Atoms:
    import gemmi
    from rietx.crystallography.cif import structure_from_cif

    phase = structure_from_cif(str(path)).phases[0]
    operators = phase.symmetry_operations or [op.triplet() for op in gemmi.SpaceGroup(phase.space_group).operations()]
    listed = [(a.species.rstrip("0123456789+-"), a.x.value, a.y.value, a.z.value, a.occ.value) for a in phase.atoms]
    return expand(listed, operators, near=0.01)


def _read_phasesmith(path: Path) -> Atoms:
    import phasesmith.io

    structure = phasesmith.io.cif.read_cif(path).structure
    found: Atoms = []
    for site in structure.sites:
        places = structure.space_group.expand_sites([site.fractional_xyz])
        found += [(site.element_symbol, *map(float, p), site.occupancy) for p in _places(places)]
    return found


def _places(expanded: object) -> np.ndarray:
    for name in ("fractional_xyz", "positions", "coordinates", "xyz"):
        if hasattr(expanded, name):
            return np.asarray(getattr(expanded, name)).reshape(-1, 3)
    raise TypeError(f"no coordinates in {dir(expanded)}")


def _read_crystals(path: Path) -> Atoms:
    import crystals

    return [(a.element, *map(float, a.coords_fractional), float(a.occupancy)) for a in crystals.Crystal.from_cif(path)]


def _read_ours(path: Path) -> Atoms:
    from ase.data import chemical_symbols

    from simxrd_hf.crystals.structure_files import read_cif
    from simxrd_hf.crystals.table import Rejected
    from simxrd_hf.errors import BadInput

    found = read_cif(path, path.stem, path.name)[0]
    if isinstance(found, Rejected):
        raise BadInput(found.reason)
    shares = np.ones(len(found.atomic_numbers)) if found.occupancies is None else found.occupancies
    places = np.asarray(found.frac_coords)
    return [
        (chemical_symbols[int(z)], *map(float, place), float(share))
        for z, place, share in zip(found.atomic_numbers, places, shares, strict=True)
    ]


READERS: dict[str, Callable[[Path], Atoms]] = {
    "simxrd_hf": _read_ours,
    "gemmi": _read_gemmi,
    "pymatgen": _read_pymatgen,
    "ase": _read_ase,
    "diffpy.structure": _read_diffpy,
    "Dans_Diffraction": _read_dans,
    "xrayutilities": _read_xrayutilities,
    "rietx": _read_rietx,
    "phasesmith": _read_phasesmith,
    "crystals": _read_crystals,
}


def expand(atoms: Atoms, operators: list[str], near: float) -> Atoms:
    """All atoms of the cell: images nearer than `near` (fractional) to one another are one atom."""
    import gemmi

    found: Atoms = []
    for symbol, x, y, z, share in atoms:
        places: list[np.ndarray] = []
        for triplet in operators:
            place = np.array(gemmi.Op(triplet).apply_to_xyz([x, y, z])) % 1.0
            if not any(np.abs((place - other + 0.5) % 1.0 - 0.5).max() < near for other in places):
                places.append(place)
        found += [(symbol, *map(float, place), share) for place in places]
    return found


def difference(found: Atoms, right: Atoms) -> str:
    """What is wrong with the atoms found, "" for nothing (places within 0.002)."""
    if len(found) != len(right):
        return f"{len(found)} atoms, right {len(right)}"
    for symbol, *numbers in right:
        here = [
            other
            for other in found
            if np.abs((np.array(other[1:4]) - np.array(numbers[:3]) + 0.5) % 1.0 - 0.5).max() < 2e-3
        ]
        if not here:
            return f"{len(found)} atoms, but at other places: none at {np.round(numbers[:3], 4).tolist()}"
        same = [other for other in here if other[0] == symbol]
        if not same:
            return f"{here[0][0]} where {symbol} is"
        share = same[0][4]
        if not isinstance(share, int | float) or abs(share - numbers[3]) > 1e-6:
            return f"occupancy {share!r}, right {numbers[3]:g}"
    return ""


def _check(read: Callable[[Path], Atoms], path: Path, right: Atoms) -> str:
    found = read(path)
    wrong = difference(found, right)
    if wrong == "H where D is":
        raise Care("hydrogen for deuterium (the same X-ray scatterer)")
    demand(not wrong, wrong)
    return f"{len(found)} atoms at their places"


def cells(scratch: Path) -> list[Cell]:
    """Every case through every reader."""
    import gemmi

    found = []
    folder = folder_of(scratch, "edges")
    for number, case in enumerate(cases()):
        path = folder / f"case{number}.cif"
        path.write_text(case.text)
        operators = [op.triplet() for op in gemmi.SpaceGroup(case.group).operations()]
        right = expand(case.asymmetric, operators, near=0.01)
        for library, read in READERS.items():
            found.append(Cell("CIF of others", library, case.name, partial(_check, read, path, right)))
    return found
