"""Rows of the crystal table written as CIF by other libraries, and how a crystal that came back is compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Row = Mapping[str, Any]


def columns(row: Row) -> tuple[np.ndarray, list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Lattice (3, 3), symbols, coordinates (n, 3), occupancies and B (NaN where unknown) of a row."""
    from ase.data import chemical_symbols

    count = len(row["atomic_numbers"])
    shares = np.ones(count) if row["occupancies"] is None else np.array(row["occupancies"], dtype=float)
    b_iso = np.full(count, np.nan) if row["b_iso"] is None else np.array(row["b_iso"], dtype=float)
    symbols = [chemical_symbols[int(z)] for z in row["atomic_numbers"]]
    lattice = np.reshape(row["lattice"], (3, 3)).astype(float)
    return lattice, symbols, np.reshape(row["frac_coords"], (-1, 3)).astype(float), shares, b_iso


def to_ase(row: Row) -> Any:
    """ASE atoms (which have no occupancies of their own)."""
    import ase

    lattice, symbols, places, _, _ = columns(row)
    return ase.Atoms(symbols, cell=lattice, scaled_positions=places, pbc=True)


def to_pymatgen(row: Row) -> Any:
    """A pymatgen structure, one site for each place."""
    from pymatgen.core import Structure

    lattice, symbols, places, shares, _ = columns(row)
    sites: dict[tuple[float, ...], dict[str, float]] = {}
    for symbol, place, share in zip(symbols, places, shares, strict=True):
        sites.setdefault(tuple(place), {})[symbol] = float(share)
    return Structure(lattice, list(sites.values()), list(sites))


def to_diffpy(row: Row) -> Any:
    """A diffpy structure."""
    from diffpy.structure import Atom, Lattice, Structure

    lattice, symbols, places, shares, b_iso = columns(row)
    atoms = [
        Atom(s, p, occupancy=float(o), Uisoequiv=0.0 if np.isnan(b) else float(b) / (8 * np.pi**2))
        for s, p, o, b in zip(symbols, places, shares, b_iso, strict=True)
    ]
    return Structure(atoms, lattice=Lattice(base=lattice))


def to_gemmi(row: Row) -> Any:
    """A gemmi small structure in P1."""
    import gemmi

    lattice, symbols, places, shares, b_iso = columns(row)
    found = gemmi.SmallStructure()
    lengths = np.linalg.norm(lattice, axis=1)
    angles = [
        np.degrees(np.arccos(np.dot(lattice[i], lattice[j]) / lengths[i] / lengths[j]))
        for i, j in ((1, 2), (0, 2), (0, 1))
    ]
    found.cell = gemmi.UnitCell(*lengths, *angles)
    found.spacegroup_hm = "P 1"
    found.spacegroup = gemmi.SpaceGroup("P 1")
    for number, (s, p, o, b) in enumerate(zip(symbols, places, shares, b_iso, strict=True)):
        site = gemmi.SmallStructure.Site()
        site.label, site.type_symbol, site.element = f"{s}{number}", s, gemmi.Element(s)
        site.fract, site.occ = gemmi.Fractional(*p), float(o)
        site.u_iso = 0.0 if np.isnan(b) else float(b) / (8 * np.pi**2)
        found.add_site(site)
    return found


def plain_cif(row: Row) -> str:
    """A row as a CIF in P1 with occupancies and B, by the dictionary."""
    _, symbols, places, shares, b_iso = columns(row)
    cell = to_gemmi(row).cell
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    parameters = (cell.a, cell.b, cell.c, cell.alpha, cell.beta, cell.gamma)
    text = ["data_crystal", *(f"_cell_{n} {v:.8f}" for n, v in zip(names, parameters, strict=True))]
    text += ["_space_group_name_H-M_alt 'P 1'", "_space_group_IT_number 1", "loop_"]
    text += ["_space_group_symop_operation_xyz", "'x, y, z'", "loop_"]
    wanted = ["label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy"]
    with_b = not np.isnan(b_iso).any()
    text += [f"_atom_site_{name}" for name in wanted + ["B_iso_or_equiv"] * with_b]
    for n, (s, p, o, b) in enumerate(zip(symbols, places, shares, b_iso, strict=True), 1):
        text.append(f"{s}{n} {s} {p[0]:.8f} {p[1]:.8f} {p[2]:.8f} {o:.6f}" + (f" {b:.5f}" if with_b else ""))
    return "\n".join(text) + "\n"


def by_ase(row: Row, path: Path) -> None:
    to_ase(row).write(path, format="cif")


def by_pymatgen(row: Row, path: Path) -> None:
    from pymatgen.io.cif import CifWriter

    CifWriter(to_pymatgen(row)).write_file(path)


def by_pymatgen_symmetry(row: Row, path: Path) -> None:
    from pymatgen.io.cif import CifWriter

    CifWriter(to_pymatgen(row), symprec=0.01).write_file(path)


def by_diffpy(row: Row, path: Path) -> None:
    path.write_text(to_diffpy(row).writeStr("cif"))


def by_gemmi(row: Row, path: Path) -> None:
    path.write_text(to_gemmi(row).make_cif_block().as_string())


def through_ase(source: Path, path: Path) -> None:
    import ase.io

    ase.io.write(path, ase.io.read(source), format="cif")


def through_pymatgen(source: Path, path: Path) -> None:
    from pymatgen.core import Structure

    Structure.from_file(source).to(str(path), fmt="cif")


def through_gemmi(source: Path, path: Path) -> None:
    import gemmi

    path.write_text(gemmi.read_small_structure(str(source)).make_cif_block().as_string())


def through_diffpy(source: Path, path: Path) -> None:
    from diffpy.structure import Structure

    structure = Structure()
    structure.read(str(source), "cif")
    path.write_text(structure.writeStr("cif"))


def through_dans(source: Path, path: Path) -> None:
    import Dans_Diffraction

    Dans_Diffraction.Crystal(str(source)).write_cif(str(path))


def through_xrayutilities(source: Path, path: Path) -> None:
    import xrayutilities

    xrayutilities.materials.Crystal.fromCIF(str(source)).toCIF(str(path))


def through_rietx(source: Path, path: Path) -> None:
    from rietx.crystallography.cif import structure_from_cif, structure_to_cif

    structure_to_cif(structure_from_cif(str(source)), str(path))


def through_crystals(source: Path, path: Path) -> None:
    import crystals

    crystals.Crystal.from_cif(source).to_cif(path)


BY: dict[str, tuple[str, Callable[[Row, Path], None]]] = {
    "built, written": ("ase", by_ase),
    "built, CifWriter": ("pymatgen", by_pymatgen),
    "built, CifWriter(symprec=0.01)": ("pymatgen", by_pymatgen_symmetry),
    "built, writeStr": ("diffpy.structure", by_diffpy),
    "built in P1, make_cif_block": ("gemmi", by_gemmi),
}
"""Operation -> library and writer of a row."""

THROUGH: dict[str, Callable[[Path, Path], None]] = {
    "ase": through_ase,
    "pymatgen": through_pymatgen,
    "gemmi": through_gemmi,
    "diffpy.structure": through_diffpy,
    "Dans_Diffraction": through_dans,
    "xrayutilities": through_xrayutilities,
    "rietx": through_rietx,
    "crystals": through_crystals,
}
"""Library -> reads a CIF and writes it again."""


def profile(row: Row, angles: np.ndarray) -> np.ndarray:
    """The lines of a row under Gaussians of σ 0.05°, highest point 100."""
    from simxrd_hf.crystals import crystal
    from simxrd_hf.diffraction import peaks

    lines = peaks(crystal(row))
    made = np.zeros_like(angles)
    for place, height in zip(lines.two_theta, lines.intensity, strict=True):
        near = np.abs(angles - place) < 0.3
        made[near] += height * np.exp(-0.5 * ((angles[near] - place) / 0.05) ** 2)
    return made * 100 / made.max()


def difference(one: Row, other: Row, tolerance: float = 1.0) -> str:
    """What tells two rows apart as crystals: group, atoms with their shares, or lines; "" for nothing."""
    if one["space_group"] != other["space_group"]:
        return f"group {one['space_group']} became {other['space_group']}"
    tallies = []
    for row in (one, other):
        _, symbols, _, shares, _ = columns(row)
        tally: dict[str, float] = {}
        for symbol, share in zip(symbols, shares, strict=True):
            tally[symbol] = round(tally.get(symbol, 0.0) + float(share), 3)
        tallies.append(tally)
    if tallies[0] != tallies[1]:
        return f"atoms {tallies[0]} became {tallies[1]}"
    angles = np.arange(10, 80, 0.01)
    apart = float(np.abs(profile(one, angles) - profile(other, angles)).max())
    return f"lines differ by {apart:.1f} of 100" if apart > tolerance else ""
