#!/usr/bin/env bash
# gemmi 0.7.5: sites given by Cartesian coordinates alone come back at the origin, all of them, without a word.
# Input: CsCl in a cubic cell, with _atom_site_Cartn_x, y, z (core dictionary) in place of fractional coordinates.
# Expected: Cl at 0.5 0.5 0.5 (ASE 3.29.0 gives it), NaN, or an error. Seen: both atoms at 0 0 0.
. "$(dirname "$0")/lib.sh"
packages gemmi==0.7.5 ase==3.29.0

cat >cartesian.cif <<'CIF'
data_cscl
_cell_length_a 4.12
_cell_length_b 4.12
_cell_length_c 4.12
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_name_H-M_alt 'P 1'
loop_
_space_group_symop_operation_xyz
'x,y,z'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_Cartn_x
_atom_site_Cartn_y
_atom_site_Cartn_z
Cs1 Cs 0 0 0
Cl1 Cl 2.06 2.06 2.06
CIF
python - <<'PY'
import sys
import ase.io, gemmi

seen = [site.fract.tolist() for site in gemmi.read_small_structure("cartesian.cif").sites]
print("ASE:     ", ase.io.read("cartesian.cif").get_scaled_positions().round(3).tolist())
print("expected: [[0, 0, 0], [0.5, 0.5, 0.5]]")
print("seen:    ", seen)
sys.exit(0 if seen == [[0, 0, 0], [0, 0, 0]] else 1)
PY
