#!/usr/bin/env bash
# crysfml 0.8.0: where a CIF states the number of its space group, the symbol and the operators in it are not looked at.
# Input: monazite in P 1 21/n 1 and the perovskite CaTiO3 in P b n m, as nearly all files of these two are; each with the
# symbol, the operators and the number of the table (14, 62), and again without the number.
# Expected: the structure of the operators listed, number or none: (102) absent in monazite (h + l odd), 20 atoms in CaTiO3.
# Seen: with the number, the standard settings P 21/c and P n m a are applied to coordinates of the other setting: |F| of
# (102) is 227, that of the strongest line 253, and CaTiO3 has 28 atoms in the cell, Ca and Ti at wrong places. Without the
# number both are right.
. "$(dirname "$0")/lib.sh"
packages crysfml==0.8.0

python - <<'PY'
import sys

from crysfml import cfml_py_utilities as crysfml

MONAZITE = """data_monazite
_cell_length_a 6.788
_cell_length_b 7.0163
_cell_length_c 6.465
_cell_angle_alpha 90
_cell_angle_beta 103.43
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1 21/n 1'
_symmetry_Int_Tables_number 14
loop_
_symmetry_equiv_pos_as_xyz
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
Ce Ce 0.28152 0.15929 0.10006
P P 0.3048 0.1630 0.6121
O1 O 0.2501 0.0068 0.4450
O2 O 0.3814 0.3307 0.4975
O3 O 0.4745 0.1054 0.8042
O4 O 0.1268 0.2164 0.7108
"""
PEROVSKITE = """data_CaTiO3
_cell_length_a 5.3796
_cell_length_b 5.4423
_cell_length_c 7.6401
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P b n m'
_symmetry_Int_Tables_number 62
loop_
_symmetry_equiv_pos_as_xyz
'x,y,z'
'-x+1/2,y+1/2,-z+1/2'
'-x,-y,z+1/2'
'x+1/2,-y+1/2,-z'
'-x,-y,-z'
'x+1/2,-y+1/2,z+1/2'
'x,y,-z+1/2'
'-x+1/2,y+1/2,z'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Ca Ca -0.00676 0.03602 0.25
Ti Ti 0.0 0.5 0.0
O1 O 0.0714 0.4838 0.25
O2 O 0.7108 0.2888 0.0371
"""


def both(text, number):
    """Atoms of the cell, and |F| by reflection."""
    for name, content in (("with", text), ("without", text.replace(f"_symmetry_Int_Tables_number {number}\n", ""))):
        with open(f"{name}.cif", "w") as file:
            file.write(content)
        reflections = crysfml.structure_factors_from_cif(f"{name}.cif", radiation="xra", sintlmax=0.3, unique=True)["ref"]
        factors = {tuple(int(i) for i in one["h"]): round(float(one["fc"][0]), 1) for one in reflections}
        yield crysfml.read_crystal_structure(f"{name}.cif"), factors


(cell, factors), (plain, right) = both(MONAZITE, 14)
absent, absent_right = factors[1, 0, 2], right.get((1, 0, 2), 0.0)
print("monazite, |F(102)|: expected 0, seen", absent, "of at most", max(factors.values()), "; without the number", absent_right)
(cell, _), (plain, _) = both(PEROVSKITE, 62)
print("CaTiO3, atoms: expected 20, seen", cell["nat_cell"], "; without the number", plain["nat_cell"])
sys.exit(0 if absent > 200 and absent_right < 0.1 and (cell["nat_cell"], plain["nat_cell"]) == (28, 20) else 1)
PY
