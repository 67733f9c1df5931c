"""Invents crystals of the same structure type: other elements on the sites, a strained cell, the same space group.

A network that meets each crystal of a library dozens of times learns it by heart. What makes its space group stays when
elements are exchanged one for one and the cell is strained in accord with its lattice; what it could be recognised by
does not.
"""

import numpy as np

from simxrd_hf.diffraction import Crystal
from simxrd_hf.diffraction.lattice import lattice_rotations, reduce_basis

SCALE_PERCENT = 6.0
SHAPE_PERCENT = 4.0

_NONMETALS = np.array([5, 6, 7, 8, 9, 14, 15, 16, 17, 33, 34, 35, 52, 53])
_NOBLE = np.array([2, 10, 18, 36, 54])
_METALS = np.setdiff1d(np.arange(3, 84), np.concatenate([_NONMETALS, _NOBLE, [43, 61]]))


def isostructural(crystal: Crystal, generator: np.random.Generator) -> Crystal:
    """A crystal with the elements of `crystal` exchanged one for one and its cell strained.

    Metals become metals and nonmetals become nonmetals, two elements never the same one, so that no symmetry is gained;
    hydrogen, noble gases, Tc, Pm and elements beyond Bi stay. The strain is an isotropic part of up to `SCALE_PERCENT`
    and a traceless one with shears of up to `SHAPE_PERCENT`, averaged over the symmetry of the lattice, so that none is
    lost.

    Args:
        crystal: In a primitive or conventional cell, as crystal tables hold it: of another one the lattice may be less
            symmetric than the crystal.
        generator: Source of the draws.
    """
    exchange = np.arange(256, dtype=np.uint8)
    for pool in (_METALS, _NONMETALS):
        present = np.unique(crystal.atomic_numbers[np.isin(crystal.atomic_numbers, pool)])
        exchange[present] = generator.choice(pool, len(present), replace=False)
    rotations = lattice_rotations(reduce_basis(crystal.lattice))
    random = generator.uniform(-1.0, 1.0, (3, 3))
    shape = np.einsum("rij,jk,rlk->il", rotations, (random + random.T) / 2, rotations) / len(rotations)
    shape -= np.trace(shape) / 3 * np.eye(3)
    scale = 1 + generator.uniform(-1.0, 1.0) * SCALE_PERCENT / 100
    strain = scale * np.eye(3) + generator.uniform() * SHAPE_PERCENT / 100 * shape
    return Crystal(
        crystal.crystal_id,
        crystal.lattice @ strain,
        exchange[crystal.atomic_numbers],
        crystal.frac_coords,
        crystal.occupancies,
    )
