#!/usr/bin/env bash
# phasesmith 0.7.0: "P 21/n", the commonest setting of the commonest group, is an unknown symbol, unless a 1 surrounds it.
# Input: CIFs named P 21/c, P 21/n and P 1 21/n 1, without operators.
# Expected: 4 atoms of one site for each. Seen: P 21/n alone is refused as "unknown or ambiguous".
. "$(dirname "$0")/lib.sh"
packages phasesmith==0.7.0

python - <<'PY'
import sys
from pathlib import Path
import phasesmith.io

text = """data_x
_cell_length_a 5.15
_cell_length_b 5.21
_cell_length_c 5.32
_cell_angle_alpha 90
_cell_angle_beta 99.2
_cell_angle_gamma 90
_space_group_name_H-M_alt 'NAME'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Zr1 Zr 0.2754 0.0395 0.2083
"""
seen = {}
for name in ("P 21/c", "P 21/n", "P 1 21/n 1"):
    Path("a.cif").write_text(text.replace("NAME", name))
    try:
        structure = phasesmith.io.cif.read_cif(Path("a.cif")).structure
        seen[name] = f"{len(structure.space_group.operations)} operators"
    except ValueError as error:
        seen[name] = f"ValueError: {error}"
print("expected: 4 operators for each")
print("seen:    ", seen)
refused = seen["P 21/n"].startswith("ValueError: unknown or ambiguous")
sys.exit(0 if refused and seen["P 21/c"] == seen["P 1 21/n 1"] == "4 operators" else 1)
PY
