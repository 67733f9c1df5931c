"""B of anisotropic parameters is that of gemmi and of the formulas of Fischer and Tillmanns (1988)."""

import math

import gemmi
import numpy as np
import pytest
from test_cif import cif, read

HEXAGONAL, MONOCLINIC = (4.757, 4.757, 12.9877, 90, 90, 120), (5.15, 5.212, 5.317, 90, 99.23, 90)
U = {"Al1": (0.0030, 0.0035, 0.0041, 0.0014, 0.0003, -0.0002), "O1": (0.009, 0.006, 0.012, 0.002, -0.003, 0.001)}
PAIRS = ("11", "22", "33", "12", "13", "23")
SITES = ("Al1", "O1")


def text(cell, kind, rows, isotropic="", values=("", "")):
    """Two atoms with anisotropic parameters in a loop of their own, in another order."""
    atoms = "\n".join(f"{s} {s[:-1]} 0.{i + 1} 0.2 0.3 {v}" for i, (s, v) in enumerate(zip(SITES, values, strict=True)))
    made = cif("_symmetry_space_group_name_H-M 'P 1'", cell, atoms)
    if isotropic:
        made = made.replace("_atom_site_fract_z\n", f"_atom_site_fract_z\n_atom_site_{isotropic}\n")
    head = "\n".join(["loop_", "_atom_site_aniso_label", *(f"_atom_site_aniso_{kind}_{pair}" for pair in PAIRS)])
    return "\n".join([made + head, *(f"{s} {' '.join(f'{v:.9f}(3)' for v in rows[s])}" for s in reversed(SITES)), ""])


def expected(cell, u):
    """8π² U_eq by the closed formulas for hexagonal and monoclinic axes."""
    u11, u22, u33, u12, u13, _ = u
    if cell == HEXAGONAL:
        mean = (4 / 3 * (u11 + u22 - u12) + u33) / 3
    else:
        beta = math.radians(cell[4])
        mean = (u22 + (u11 + u33 + 2 * u13 * math.cos(beta)) / math.sin(beta) ** 2) / 3
    return 8 * math.pi**2 * mean


def scaled(cell, kind):
    """The same displacements in another convention."""
    reciprocal = gemmi.UnitCell(*cell).reciprocal()
    star = (reciprocal.a, reciprocal.b, reciprocal.c)
    factors = {
        "U": [1.0] * 6,
        "B": [8 * math.pi**2] * 6,
        "beta": [2 * math.pi**2 * star[int(p[0]) - 1] * star[int(p[1]) - 1] for p in PAIRS],
    }[kind]
    return {site: tuple(np.multiply(values, factors)) for site, values in U.items()}


@pytest.mark.parametrize("cell", [HEXAGONAL, MONOCLINIC])
@pytest.mark.parametrize("kind", ["U", "B", "beta"])
def test_equivalents(cell, kind):
    found, _ = read(text(cell, kind, scaled(cell, kind)))
    np.testing.assert_allclose(found.b_iso, [expected(cell, U[site]) for site in SITES], rtol=2e-4)
    by_gemmi = [8 * math.pi**2 * gemmi.UnitCell(*cell).calculate_u_eq(gemmi.SMat33d(*U[site])) for site in SITES]
    np.testing.assert_allclose(found.b_iso, by_gemmi, rtol=2e-4)


@pytest.mark.parametrize("isotropic", ["B_iso_or_equiv", "U_iso_or_equiv"])
@pytest.mark.parametrize("missing", ["?", ".", "0.0"])
def test_they_stand_in_for_a_missing_value_alone(isotropic, missing):
    found, _ = read(text(MONOCLINIC, "U", U, isotropic, ("0.5", missing)))
    first = 0.5 if isotropic[0] == "B" else 0.5 * 8 * math.pi**2
    np.testing.assert_allclose(found.b_iso, [first, expected(MONOCLINIC, U["O1"])], rtol=1e-6)


def test_b_comes_before_u_and_u_fills_its_gaps():
    atoms = "Al1 Al 0 0 0 0.4 0.02\nO1 O 0.3 0.2 0.3 ? 0.01"
    made = cif("_symmetry_space_group_name_H-M 'P 1'", MONOCLINIC, atoms)
    names = "_atom_site_fract_z\n_atom_site_B_iso_or_equiv\n_atom_site_U_iso_or_equiv\n"
    found, _ = read(made.replace("_atom_site_fract_z\n", names))
    np.testing.assert_allclose(found.b_iso, [0.4, 0.01 * 8 * math.pi**2])


@pytest.mark.parametrize("bad", ["?", "-0.9"])
def test_what_cannot_be_is_unknown(bad):
    rows = text(MONOCLINIC, "U", U).replace(f"Al1 {U['Al1'][0]:.9f}(3)", f"Al1 {bad}")
    found, _ = read(rows)
    assert math.isnan(found.b_iso[0])
    assert found.b_iso[1] == pytest.approx(expected(MONOCLINIC, U["O1"]))
