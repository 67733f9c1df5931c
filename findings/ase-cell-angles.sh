#!/usr/bin/env bash
# ASE 3.29.0: a CIF that leaves the cell angles out loses its cell and its symmetry, without a word.
# Input: NaCl with a, b, c, all operators of Fm-3m and two sites; the core dictionary gives the angles the default 90.
# Expected: 8 atoms in a cell of 5.64 Å (gemmi 0.7.5 gives them), or an error.
# Seen: 2 atoms, no cell, not periodic.
. "$(dirname "$0")/lib.sh"
packages ase==3.29.0 gemmi==0.7.5

python - <<'PY'
import sys, warnings
import ase.io, gemmi

warnings.simplefilter("ignore")
operators = "".join(f"'{op.triplet()}'\n" for op in gemmi.SpaceGroup("F m -3 m").operations())
lengths = "".join(f"_cell_length_{x} 5.64\n" for x in "abc")
angles = "".join(f"_cell_angle_{x} 90\n" for x in ("alpha", "beta", "gamma"))
rest = (
    "_space_group_name_H-M_alt 'F m -3 m'\n_space_group_IT_number 225\n"
    f"loop_\n_space_group_symop_operation_xyz\n{operators}loop_\n_atom_site_label\n_atom_site_type_symbol\n"
    "_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nNa1 Na 0 0 0\nCl1 Cl 0.5 0.5 0.5\n"
)
seen = {}
for name, cell in (("with angles", lengths + angles), ("without", lengths)):
    with open("a.cif", "w") as file:
        file.write("data_nacl\n" + cell + rest)
    atoms = ase.io.read("a.cif")
    seen[name] = (len(atoms), round(float(atoms.cell.volume), 1), bool(atoms.pbc.all()))
print("gemmi:   ", len(gemmi.read_small_structure("a.cif").get_all_unit_cell_sites()), "atoms without the angles")
print("expected: 8 atoms, 179.4 Å³, periodic, both times")
print("seen:    ", seen)
sys.exit(0 if seen == {"with angles": (8, 179.4, True), "without": (2, 0.0, False)} else 1)
PY
