#!/usr/bin/env bash
# pymatgen 2026.10.24: a text field with a line that begins with "data_" makes the whole CIF unreadable.
# Input: CsCl with a comment in a text field (between lines that begin with a semicolon), where any text may stand.
# Expected: the structure, as with the same comment on other words; gemmi 0.7.5 reads both.
# Seen: "Invalid CIF file with no structures!".
. "$(dirname "$0")/lib.sh"
packages pymatgen==2026.10.24 gemmi==0.7.5

python - <<'PY'
import sys, warnings
import gemmi
from pymatgen.core import Structure

warnings.simplefilter("ignore")
text = """data_cscl
_publ_section_comment
;
The reflections were saved as
WORD_1999.hkl
;
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
Cs1 Cs 0 0 0
Cl1 Cl 0.5 0.5 0.5
"""


def by_pymatgen(path):
    try:
        return f"{len(Structure.from_file(path))} atoms"
    except ValueError as error:
        return f"ValueError: {error}"


seen = {}
for word in ("list", "data"):
    path = f"{word}.cif"
    with open(path, "w") as file:
        file.write(text.replace("WORD", word))
    seen[word] = by_pymatgen(path), len(gemmi.read_small_structure(path).get_all_unit_cell_sites())
print("expected: 2 atoms from both")
print("seen:    ", seen)
recorded = {"list": ("2 atoms", 2), "data": ("ValueError: Invalid CIF file with no structures!", 2)}
sys.exit(0 if seen == recorded else 1)
PY
