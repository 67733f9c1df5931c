#!/usr/bin/env bash
# ASE 3.29.0: a CIF that lists all symmetry operators is refused for want of a symbol, or for a symbol it does not know.
# Input: a crystal of P 1 21/n 1 with its four operators; the operators define the symmetry, names are optional.
# Expected: 4 atoms (gemmi 0.7.5, diffpy.structure 3.3.1). Seen: SpacegroupValueError without the name and
# SpacegroupNotFoundError with it.
. "$(dirname "$0")/lib.sh"
packages ase==3.29.0 gemmi==0.7.5 diffpy.structure==3.3.1

python - <<'PY'
import sys
import ase.io, gemmi
from diffpy.structure import Structure

text = """data_x
_cell_length_a 5.15
_cell_length_b 5.21
_cell_length_c 5.32
_cell_angle_alpha 90
_cell_angle_beta 99.2
_cell_angle_gamma 90
NAME
loop_
_space_group_symop_operation_xyz
'x,y,z'
'-x+1/2,y+1/2,-z+1/2'
'-x,-y,-z'
'x+1/2,-y+1/2,z+1/2'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Zr1 Zr 0.2754 0.0395 0.2083
"""
seen = []
for name in ("", "_space_group_name_H-M_alt 'P 1 21/n 1'"):
    with open("a.cif", "w") as file:
        file.write(text.replace("NAME", name))
    structure = Structure()
    structure.read("a.cif", "cif")
    others = len(gemmi.read_small_structure("a.cif").get_all_unit_cell_sites()), len(structure)
    try:
        seen.append((len(ase.io.read("a.cif")), others))
    except Exception as error:
        seen.append((type(error).__name__, others))
print("expected: 4 atoms, as gemmi and diffpy.structure")
print("seen:    ", seen)
sys.exit(0 if seen == [("SpacegroupValueError", (4, 4)), ("SpacegroupNotFoundError", (4, 4))] else 1)
PY
