"""The symmetry table that travels with a model says what the symmetry room says."""

import numpy as np

import simxrd_hf.symmetry as room
from simxrd_hf.models import networks_simxrd_former as former
from simxrd_hf.models import symmetry_simxrd as flat


def test_same_names_and_indices():
    for name in ("SPACE_GROUPS", "EXTINCTION_SYMBOLS", "CRYSTAL_SYSTEMS", "BRAVAIS_LATTICES"):
        assert tuple(getattr(flat, name)) == tuple(getattr(room, name)), name
    for name in ("CRYSTAL_SYSTEM_OF", "BRAVAIS_OF", "EXTINCTION_OF"):
        np.testing.assert_array_equal(getattr(flat, name), getattr(room, name), err_msg=name)


def test_the_hierarchy_is_a_tree():
    assert former.LEVEL_SIZES == (7, 15, 101, 230)
    system, lattice, extinction, group = (np.array(level) for level in former.LEVELS_OF_GROUP)
    np.testing.assert_array_equal(system, room.CRYSTAL_SYSTEM_OF)
    np.testing.assert_array_equal(extinction, room.EXTINCTION_OF)
    np.testing.assert_array_equal(group, np.arange(230))
    # Every node lies under one parent, and that parent is what its groups say.
    np.testing.assert_array_equal(np.array(former.PARENTS[0])[lattice], system)
    np.testing.assert_array_equal(np.array(former.PARENTS[1])[extinction], lattice)
    np.testing.assert_array_equal(np.array(former.PARENTS[2]), extinction)
    # hP alone is in two systems.
    lattices = {(int(s), room.BRAVAIS_LATTICES[b]) for s, b in zip(system, room.BRAVAIS_OF, strict=True)}
    assert sorted(name for _, name in lattices).count("hP") == 2
    assert len(lattices) == 15


def test_the_wavelengths_that_travel_with_a_model_are_the_package_s():
    from simxrd_hf.diffraction.scattering import KALPHA
    from simxrd_hf.models.reading_simxrd import _ANODES

    assert dict(KALPHA) == _ANODES
