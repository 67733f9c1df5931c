"""CIF text that several crystal tests write."""

ROCK_SALT = """\
data_{name}
_cell_length_a   {a}
_cell_length_b   {a}
_cell_length_c   {a}
_cell_angle_alpha 90
_cell_angle_beta  90
_cell_angle_gamma 90
loop_
_symmetry_equiv_pos_as_xyz
'x,y,z'
'x,y+1/2,z+1/2'
'x+1/2,y,z+1/2'
'x+1/2,y+1/2,z'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
_atom_site_U_iso_or_equiv
{first} {first} 0 0 0 {occupancy} 0.0203(3)
{second} {second} 0.5 0.5 0.5 1.0 0.0150
"""


def rock_salt(
    a: float | str = "5.6402(2)", first: str = "Na", second: str = "Cl", occupancy: str = "1.0", name: str = "salt"
) -> str:
    """A CIF of rock-salt type; its operations are those of the face-centred lattice, which is quick to parse."""
    return ROCK_SALT.format(a=a, first=first, second=second, occupancy=occupancy, name=name)
