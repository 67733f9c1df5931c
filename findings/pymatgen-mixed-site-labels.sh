#!/usr/bin/env bash
# pymatgen 2026.10.24: the CIF of a mixed site has two rows of one label, and pymatgen itself says it is not valid.
# Input: a structure with one site of Na0.3K0.7 and one of Cl, Structure.to(fmt="cif").
# Expected: labels that differ (the dictionary makes _atom_site_label the key of the loop).
# Seen: the same label twice, with the warning that such a file is not compliant with the CIF specification.
. "$(dirname "$0")/lib.sh"
packages pymatgen==2026.10.24 gemmi==0.7.5

python - <<'PY'
import sys, warnings
import gemmi
from pymatgen.core import Lattice, Structure

mixed = Structure(Lattice.cubic(4.1), [{"Na": 0.3, "K": 0.7}, {"Cl": 1}], [[0, 0, 0], [0.5, 0.5, 0.5]])
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    first = mixed.to(fmt="cif")
    again = Structure.from_str(first, fmt="cif").to(fmt="cif")
labels = [list(gemmi.cif.read_string(text).sole_block().find_values("_atom_site_label")) for text in (first, again)]
warned = any("Site labels are not unique" in str(w.message) for w in told)
print("expected: three labels each")
print("seen:    ", labels, "warned:", warned)
sys.exit(0 if any(len(set(found)) < len(found) for found in labels) and warned else 1)
PY
