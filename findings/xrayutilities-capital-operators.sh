#!/usr/bin/env bash
# xrayutilities 1.8.0: symmetry operators in capital letters end in a NameError.
# Input: a CIF whose operators are written "X,Y,Z" and "-X,-Y,-Z", as the dictionary's own examples of older files are.
# Expected: the atoms of the same file in small letters. Seen: NameError: name 'X' is not defined.
. "$(dirname "$0")/lib.sh"
packages xrayutilities==1.8.0

python - <<'PY'
import contextlib, io, sys
import xrayutilities

text = """data_x
_cell_length_a 4.1
_cell_length_b 5.2
_cell_length_c 6.3
_cell_angle_alpha 80
_cell_angle_beta 95
_cell_angle_gamma 100
_symmetry_space_group_name_H-M 'P -1'
loop_
_symmetry_equiv_pos_as_xyz
OPERATORS
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Na1 Na 0.1 0.2 0.3
"""
seen = []
for operators in ("x,y,z\n-x,-y,-z", "X,Y,Z\n-X,-Y,-Z"):
    with open("a.cif", "w") as file:
        file.write(text.replace("OPERATORS", operators))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            crystal = xrayutilities.materials.Crystal.fromCIF("a.cif")
        seen.append(f"{len(list(crystal.lattice.base()))} atoms")
    except Exception as error:
        seen.append(f"{type(error).__name__}: {error}")
print("expected: 2 atoms both times")
print("seen:    ", seen)
sys.exit(0 if seen == ["2 atoms", "NameError: name 'X' is not defined"] else 1)
PY
