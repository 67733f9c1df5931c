#!/usr/bin/env bash
# rietx 1.10.0: a CIF read and written again states displacement parameters that nobody measured.
# Input: CsCl without any displacement parameter.
# Expected: none in the CIF that is written (or "?"). Seen: U = 0.00633 Å² (B = 0.5 Å²) for both atoms, as a plain number without a mark,
# which the next program takes for a result.
. "$(dirname "$0")/lib.sh"
packages rietx==1.10.0

cat >cscl.cif <<'CIF'
data_cscl
_cell_length_a 4.12
_cell_length_b 4.12
_cell_length_c 4.12
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_name_H-M_alt 'P m -3 m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Cs1 Cs 0 0 0
Cl1 Cl 0.5 0.5 0.5
CIF
python - <<'PY' 2>/dev/null
import math, sys
import gemmi
from rietx.crystallography.cif import structure_from_cif, structure_to_cif

structure_to_cif(structure_from_cif("cscl.cif"), "again.cif")
block = gemmi.cif.read("again.cif").sole_block()
seen = [float(value) for value in block.find_values("_atom_site_U_iso_or_equiv")]
print("expected: no _atom_site_U_iso_or_equiv")
print("seen:    ", seen)
sys.exit(0 if [round(8 * math.pi**2 * value, 6) for value in seen] == [0.5, 0.5] else 1)
PY
