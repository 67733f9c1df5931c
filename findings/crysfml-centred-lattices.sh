#!/usr/bin/env bash
# crysfml 0.8.0: structure factors of centred lattices are too small: 1/2 of them in I and C, 2/3 in R, 3/4 in F.
# Input: fluorite, CaF2, described in F m -3 m and again, the same atoms of the same cell, in P m -3 m: as a CIF for
# structure_factors_from_cif, and as the dictionary of cw_powder_pattern_from_dict (the calculator of easydiffraction).
# Expected: the same |F|, 63.5 for (111), four times the form factor of Ca, and the same pattern.
# Seen: |F(111)| of 47.6 in F m -3 m, and a pattern of 0.5625 = (3/4)² of the area. Of n lattice points n - 1 are counted.
# One phase alone keeps its ratios; beside a primitive phase its share of a mixture comes out wrong.
. "$(dirname "$0")/lib.sh"
packages crysfml==0.8.0

python - <<'PY'
import itertools
import sys

from crysfml import cfml_py_utilities as crysfml

A = 5.4631
SETTINGS = {
    "F m -3 m": [("Ca", 0, 0, 0), ("F", 0.25, 0.25, 0.25)],
    "P m -3 m": [("Ca", 0, 0, 0), ("Ca", 0, 0.5, 0.5), ("F", 0.25, 0.25, 0.25)],
}
signs = list(itertools.product(("", "-"), repeat=3))
OPERATORS = [f"{a}{x},{b}{y},{c}{z}" for x, y, z in itertools.permutations("xyz") for a, b, c in signs]


def factor(symbol, sites):
    """|F| of (111)."""
    with open("one.cif", "w") as file:
        file.write(f"data_fluorite\n_cell_length_a {A}\n_cell_length_b {A}\n_cell_length_c {A}\n_cell_angle_alpha 90\n")
        file.write(f"_cell_angle_beta 90\n_cell_angle_gamma 90\n_symmetry_space_group_name_H-M '{symbol}'\n")
        file.write("loop_\n_atom_site_label\n_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n")
        file.write("".join(f"{e}{i} {e} {x:.2f} {y:.2f} {z:.2f}\n" for i, (e, x, y, z) in enumerate(sites, 1)))
    options = {"radiation": "xra", "lambda": 1.5405929, "sintlmax": 0.3, "unique": True}
    reflections = crysfml.structure_factors_from_cif("one.cif", **options)["ref"]
    return next(round(float(one["fc"][0]), 2) for one in reflections if tuple(abs(int(i)) for i in one["h"]) == (1, 1, 1))


def area(symbol, sites):
    """Sum of a neutron powder pattern."""
    atoms = [{"_label": f"{e}{i}", "_type_symbol": e, "_fract_x": float(x), "_fract_y": float(y), "_fract_z": float(z), "_occupancy": 1.0,
              "_adp_type": "Biso", "_B_iso_or_equiv": 0.5} for i, (e, x, y, z) in enumerate(sites, 1)]
    phase = {"_space_group_name_H-M_alt": symbol, "_atom_site": atoms}
    phase |= {f"_cell_length_{i}": A for i in "abc"} | {f"_cell_angle_{i}": 90.0 for i in ("alpha", "beta", "gamma")}
    experiment = {"_diffrn_radiation_probe": "neutron", "_diffrn_radiation_wavelength": 1.5, "_pd_instr_resolution_u": 0.1,
                  "_pd_instr_resolution_v": -0.1, "_pd_instr_resolution_w": 0.2, "_pd_instr_resolution_x": 0.0,
                  "_pd_instr_resolution_y": 0.0, "_pd_meas_2theta_offset": 0.0, "_pd_meas_2theta_range_min": 10.0,
                  "_pd_meas_2theta_range_max": 90.0, "_pd_meas_2theta_range_inc": 0.05}
    return float(crysfml.cw_powder_pattern_from_dict({"phases": [{"fluorite": phase}], "experiments": [{"NPD": experiment}]})[1].sum())


centred, primitive = (factor(*setting) for setting in SETTINGS.items())
print("|F(111)|: expected", primitive, "as in P m -3 m, seen in F m -3 m", centred, "ratio", round(centred / primitive, 3))
areas = [area(*setting) for setting in SETTINGS.items()]
print("area of the powder pattern, F m -3 m over P m -3 m: expected 1, seen", round(areas[0] / areas[1], 4))
sys.exit(0 if abs(centred / primitive - 0.75) < 0.002 and abs(areas[0] / areas[1] - 0.5625) < 0.002 else 1)
PY
