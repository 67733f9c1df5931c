#!/usr/bin/env bash
# ASE 3.29.0, diffpy.structure 3.3.1, pymatgen 2026.10.24: rhombohedral axes are filled with the operators of hexagonal axes.
# Input: calcite, a = 6.375 Å, α = 46.08°, "R -3 c :R" and number 167, three sites; no operators, which are optional.
# Expected: 10 atoms, 2 CaCO3 (gemmi 0.7.5 and xrayutilities 1.8.0 give them), or an error.
# Seen: 60 atoms in a cell of 122 Å³, half an atom per Å³.
. "$(dirname "$0")/lib.sh"
packages ase==3.29.0 diffpy.structure==3.3.1 pymatgen==2026.10.24 gemmi==0.7.5 xrayutilities==1.8.0

cat >calcite.cif <<'CIF'
data_calcite
_cell_length_a 6.375
_cell_length_b 6.375
_cell_length_c 6.375
_cell_angle_alpha 46.08
_cell_angle_beta 46.08
_cell_angle_gamma 46.08
_symmetry_space_group_name_H-M 'R -3 c :R'
_symmetry_Int_Tables_number 167
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Ca1 Ca 0 0 0
C1 C 0.25 0.25 0.25
O1 O 0.5067 -0.0067 0.25
CIF
python - <<'PY'
import contextlib, io, sys, warnings
import ase.io, gemmi, xrayutilities
from diffpy.structure import Structure
from pymatgen.core import Structure as Pymatgen

warnings.simplefilter("ignore")
structure = Structure()
structure.read("calcite.cif", "cif")
with contextlib.redirect_stdout(io.StringIO()):
    crystal = xrayutilities.materials.Crystal.fromCIF("calcite.cif")
seen = {
    "gemmi": len(gemmi.read_small_structure("calcite.cif").get_all_unit_cell_sites()),
    "xrayutilities": len(list(crystal.lattice.base())),
    "ase": len(ase.io.read("calcite.cif")),
    "diffpy.structure": len(structure),
    "pymatgen": len(Pymatgen.from_file("calcite.cif")),
}
print("expected: 10 atoms")
print("seen:    ", seen)
recorded = {"gemmi": 10, "xrayutilities": 10, "ase": 60, "diffpy.structure": 60, "pymatgen": 60}
sys.exit(0 if seen == recorded else 1)
PY
