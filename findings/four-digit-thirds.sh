#!/usr/bin/env bash
# diffpy.structure 3.3.1, phasesmith 0.7.0, crystals 1.7.0: thirds written with four digits make three atoms of one.
# Input: magnesium, P 63/m m c with all its operators, one site at 0.3333 0.6667 0.25, as databases write it.
# Expected: 2 atoms (gemmi 0.7.5 and ASE 3.29.0 give them). Seen: 6 atoms, three at each place, 0.0003 Å from one another.
. "$(dirname "$0")/lib.sh"
packages diffpy.structure==3.3.1 phasesmith==0.7.0 crystals==1.7.0 spglib==2.6.0 gemmi==0.7.5 ase==3.29.0

python - <<'PY'
import sys, warnings
from pathlib import Path
import ase.io, crystals, gemmi, numpy as np
import phasesmith.io
from diffpy.structure import Structure

warnings.simplefilter("ignore")
operators = "".join(f"'{op.triplet()}'\n" for op in gemmi.SpaceGroup("P 63/m m c").operations())
with open("mg.cif", "w") as file:
    file.write(
        "data_mg\n_cell_length_a 3.21\n_cell_length_b 3.21\n_cell_length_c 5.21\n_cell_angle_alpha 90\n"
        "_cell_angle_beta 90\n_cell_angle_gamma 120\n_symmetry_space_group_name_H-M 'P 63/m m c'\n"
        f"_symmetry_Int_Tables_number 194\nloop_\n_symmetry_equiv_pos_as_xyz\n{operators}loop_\n_atom_site_label\n"
        "_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
        "Mg1 Mg 0.3333 0.6667 0.25\n"
    )
structure = Structure()
structure.read("mg.cif", "cif")
record = phasesmith.io.cif.read_cif(Path("mg.cif")).structure
expanded = record.space_group.expand_sites([record.sites[0].fractional_xyz])
places = next(np.asarray(getattr(expanded, n)) for n in dir(expanded) if n in ("fractional_xyz", "positions", "coordinates", "xyz"))
seen = {
    "gemmi": len(gemmi.read_small_structure("mg.cif").get_all_unit_cell_sites()),
    "ase": len(ase.io.read("mg.cif")),
    "diffpy.structure": len(structure),
    "phasesmith": len(places.reshape(-1, 3)),
    "crystals": len(crystals.Crystal.from_cif("mg.cif")),
}
print("expected: 2 atoms")
print("seen:    ", seen)
sys.exit(0 if seen == {"gemmi": 2, "ase": 2, "diffpy.structure": 6, "phasesmith": 6, "crystals": 6} else 1)
PY
