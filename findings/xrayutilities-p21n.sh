#!/usr/bin/env bash
# xrayutilities 1.8.0: a structure in P 21/n is filled with the operators of P 21/c: other atoms, other lines, no warning.
# Input: monazite, CePO4, P 1 21/n 1 (unique axis b, cell choice 2), the CIF states symbol, number 14 and all four operators.
# Expected: the operators of the file, as gemmi applies them: Ce–O from 2.4 Å on, {-1 0 1} at 17.08° present, {1 2 0} strongest.
# Seen: the space group is chosen by its number, 14 stands for P 21/c there, and any atom fits its general position, so the
# operators that the file lists are not looked at: absences of the c glide and Ce–O of 1.05 Å. Where an
# atom is on a special position the check fails and the atoms are right, in P1.
. "$(dirname "$0")/lib.sh"
packages xrayutilities==1.8.0 gemmi==0.7.5

cat >monazite.cif <<'CIF'
data_monazite
_cell_length_a 6.777
_cell_length_b 6.993
_cell_length_c 6.445
_cell_angle_alpha 90
_cell_angle_beta 103.54
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1 21/n 1'
_symmetry_Int_Tables_number 14
loop_
_symmetry_equiv_pos_as_xyz
x,y,z
-x+1/2,y+1/2,-z+1/2
-x,-y,-z
x+1/2,-y+1/2,z+1/2
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Ce Ce 0.28152 0.15929 0.10006
P P 0.30480 0.16300 0.61210
O1 O 0.25010 0.00680 0.44500
O2 O 0.38140 0.33070 0.49750
O3 O 0.47450 0.10540 0.80420
O4 O 0.12740 0.21530 0.71080
CIF

MPLBACKEND=agg python - <<'PY' 2>/dev/null
import itertools, math, sys

import gemmi
import xrayutilities as xu

WAVELENGTH = 1.540593
small = gemmi.read_small_structure("monazite.cif")
crystal = xu.materials.Crystal.fromCIF("monazite.cif")
by_file = [(site.element.name, tuple(site.fract.tolist())) for site in small.get_all_unit_cell_sites()]
by_xu = [(atom.name, tuple(place)) for atom, place, _, _ in crystal.lattice.base()]


def shortest(atoms):
    """The shortest Ce-O distance in Å."""
    pairs = [(a, b) for (m, a), (n, b) in itertools.product(atoms, atoms) if (m, n) == ("Ce", "O")]
    return min(small.cell.find_nearest_image(*[small.cell.orthogonalize(gemmi.Fractional(*p)) for p in pair]).dist()
               for pair in pairs)


def strength(atoms, hkl):
    """Square of the structure factor, neutral atoms at rest."""
    s2 = 1 / (2 * small.cell.calculate_d(hkl)) ** 2
    total = sum(gemmi.Element(n).it92.calculate_sf(s2) * complex(math.cos(t), math.sin(t))
                for n, p in atoms for t in [2 * math.pi * sum(h * x for h, x in zip(hkl, p))])
    return abs(total) ** 2


lines = {hkl: [round(strength(atoms, hkl)) for atoms in (by_file, by_xu)] for hkl in ((-1, 0, 1), (1, 1, 0), (1, 2, 0))}
powder = xu.simpack.PowderDiffraction(crystal, tt_cutoff=30)
angles = [round(float(2 * line["ang"]), 2) for line in powder.data.values() if line["r"] > 0]
first = round(2 * math.degrees(math.asin(WAVELENGTH / 2 / small.cell.calculate_d((-1, 0, 1)))), 2)
distances = [round(shortest(atoms), 2) for atoms in (by_file, by_xu)]
print(f"expected: {small.spacegroup.xhm()}, Ce-O {distances[0]}, |F|² {({k: v[0] for k, v in lines.items()})}, line at {first}")
print(f"seen:     {crystal.lattice.name}, Ce-O {distances[1]}, |F|² {({k: v[1] for k, v in lines.items()})},"
      f" line at {first}: {first in angles}")
right = lines[-1, 0, 1][0] > 1000 and distances[0] > 2.3
changed = distances[1] > 2.3 or lines[-1, 0, 1][1] > 1 or first in angles or crystal.lattice.space_group_nr != 14
sys.exit(0 if right and not changed else 1)
PY
