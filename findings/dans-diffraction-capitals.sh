#!/usr/bin/env bash
# Dans_Diffraction 3.4.0: a CIF whose data names are in capitals is read as an iron atom, without a word.
# Input: NaCl with its eight atoms listed in P1; data names have no case in CIF, so _CELL_LENGTH_A is _cell_length_a.
# Expected: 8 atoms of Na and Cl (as from the same file in small letters), or an error.
# Seen: the package's default crystal, one atom of Fe.
. "$(dirname "$0")/lib.sh"
packages Dans_Diffraction==3.4.0

python - <<'PY'
import contextlib, io, sys, warnings
from collections import Counter
import Dans_Diffraction

warnings.simplefilter("ignore")
head = "".join(f"_cell_length_{x} 5.64\n_cell_angle_{y} 90\n" for x, y in zip("abc", ("alpha", "beta", "gamma")))
fcc = [(0, 0, 0), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
names = "loop_\n" + "".join(f"_atom_site_{n}\n" for n in ("label", "type_symbol", "fract_x", "fract_y", "fract_z"))
rows = "".join(f"Na{i} Na {x} {y} {z}\nCl{i} Cl {(x + 0.5) % 1} {y} {z}\n" for i, (x, y, z) in enumerate(fcc))
operators = "loop_\n_space_group_symop_operation_xyz\n'x,y,z'\n"


def atoms(text, path):
    with open(path, "w") as file:
        file.write("data_nacl\n" + text + operators + names + rows)
    with contextlib.redirect_stdout(io.StringIO()):
        return dict(Counter(map(str, Dans_Diffraction.Crystal(path).Structure.type)))


small = atoms(head, "small.cif")
names, operators = names.upper().replace("LOOP_", "loop_"), operators.upper().replace("LOOP_", "loop_").replace("X,Y,Z", "x,y,z")
capitals = atoms(head.upper(), "capitals.cif")
print("expected:", small, "both times")
print("seen:    ", small, "and in capitals", capitals)
sys.exit(0 if small == {"Na": 4, "Cl": 4} and capitals == {"Fe": 1} else 1)
PY
