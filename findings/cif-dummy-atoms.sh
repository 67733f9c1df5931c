#!/usr/bin/env bash
# gemmi 0.7.5, ASE 3.29.0, diffpy.structure 3.3.1: dummy sites of a CIF become atoms of the crystal.
# Input: CsCl and one site with _atom_site_calc_flag dum, which the core dictionary defines as a dummy site with
# meaningless coordinates (ring centroids are published so), written with the element of its neighbours.
# Expected: 2 atoms. Seen: 3 atoms from each of the three.
. "$(dirname "$0")/lib.sh"
packages gemmi==0.7.5 ase==3.29.0 diffpy.structure==3.3.1

cat >dummy.cif <<'CIF'
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
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_calc_flag
Cs1 Cs 0 0 0 d
Cl1 Cl 0.5 0.5 0.5 d
Cg1 C 0.25 0.25 0.25 dum
CIF
python - <<'PY'
import sys
import ase.io, gemmi
from diffpy.structure import Structure

structure = Structure()
structure.read("dummy.cif", "cif")
seen = {
    "gemmi": len(gemmi.read_small_structure("dummy.cif").get_all_unit_cell_sites()),
    "ase": len(ase.io.read("dummy.cif")),
    "diffpy.structure": len(structure),
}
print("expected: 2 atoms")
print("seen:    ", seen)
sys.exit(0 if set(seen.values()) == {3} else 1)
PY
