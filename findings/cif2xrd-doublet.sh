#!/usr/bin/env bash
# cif2xrd 1.0.3: doublet=False is ignored: the pattern still has the lines of Cu Kα2, without a word.
# Input: halite, 5.6402 Å, Cu Kα1 alone: simPattern(path, param_type="expanded", doublet=False), the package's own switch,
# a bool.
# Expected: one wavelength and one line 422 at 84.0° ("doublet=False → fe_wavelengths=[w1]", condense_pattern_parameters).
# Seen: 1.5406 and 1.54439 Å, two lines, as with doublet=True; the string "False" turns it off. Any value that is false in
# Python counts as not given, zeros too (axial_S=0.0 stays 0.015): patterns meant for Kα1 alone are those of a doublet.
. "$(dirname "$0")/lib.sh"
packages cif2xrd==1.0.3 pymatgen==2026.10.24

cat >halite.cif <<'CIF'
data_halite
_cell_length_a 5.6402
_cell_length_b 5.6402
_cell_length_c 5.6402
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
_symmetry_Int_Tables_number 225
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Na Na 0 0 0
Cl Cl 0.5 0.5 0.5
CIF

python - <<'PY' 2>/dev/null
import math, sys
from cif2xrd.pattern import simPattern

lines = {w: round(2 * math.degrees(math.asin(w * 24**0.5 / 2 / 5.6402)), 2) for w in (1.5406, 1.54439)}


def made(switch):
    pattern = simPattern("halite.cif", param_type="expanded", doublet=switch, step_2th=0.01, W=0.002)
    near = abs(pattern.two_theta - 84.1) < 0.6
    x, y = pattern.two_theta[near], pattern.intensity[near]
    tops = [float(round(x[i], 2)) for i in range(1, len(x) - 1) if y[i - 1] < y[i] >= y[i + 1] and y[i] > 0.05 * max(y)]
    return pattern.params["fe_wavelengths"], tops


seen = {repr(switch): made(switch) for switch in (True, False, "False")}
kept = simPattern("halite.cif", param_type="expanded", axial_S=0.0).params["axial_S"]
print(f"expected: False gives [1.5406] and one line, 422 at {lines[1.5406]} (Kα2 would be at {lines[1.54439]}); axial_S 0.0")
print("seen:    ", seen, "; axial_S", kept)
as_recorded = seen["False"] == seen["True"] and len(seen["False"][1]) == 2 and len(seen["'False'"][1]) == 1 and kept == 0.015
sys.exit(0 if as_recorded else 1)
PY
