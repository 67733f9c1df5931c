"""What the tests of search/match and of invented crystals are held against: sticks drawn, symmetry from spglib."""

import numpy as np
import spglib

from simxrd_hf.diffraction import Crystal, peaks
from simxrd_hf.models.resampling_simxrd import DEFAULT_GRID, grid_axis

AXIS = grid_axis(DEFAULT_GRID)


def drawn(crystal: Crystal, *, shift: float = 0.0, sigma: float = 0.05) -> np.ndarray:
    """The lines of a crystal as Gaussians on the default grid, without background and noise."""
    lines = peaks(crystal, wavelength=DEFAULT_GRID["wavelength"], two_theta_range=(8, 82), min_intensity=0.05)
    off = (AXIS - lines.two_theta[:, None] - shift) / sigma
    return (lines.intensity[:, None] * np.exp(-0.5 * off**2)).sum(axis=0)


def cartesian_rotations(crystal: Crystal) -> np.ndarray:
    """Rotations of the crystal's space group by spglib, as Cartesian matrices (n, 3, 3)."""
    found = spglib.get_symmetry_dataset((crystal.lattice, crystal.frac_coords, crystal.atomic_numbers), symprec=0.01)
    return np.array([crystal.lattice.T @ w @ np.linalg.inv(crystal.lattice.T) for w in found.rotations])


def space_group(crystal: Crystal, symprec: float = 1e-3) -> int:
    """Number of the space group by spglib."""
    cell = (crystal.lattice, crystal.frac_coords, crystal.atomic_numbers)
    return spglib.get_symmetry_dataset(cell, symprec=symprec).number


def strained(crystal: Crystal, rng: np.random.Generator, scale: float, shape: float) -> Crystal:
    """The crystal with its cell scaled, and strained by a traceless tensor of norm `shape` that its symmetry allows."""
    random = rng.uniform(-1, 1, (3, 3))
    tensor = np.mean([r @ (random + random.T) @ r.T for r in cartesian_rotations(crystal)], axis=0)
    tensor -= np.trace(tensor) / 3 * np.eye(3)
    size = np.linalg.norm(tensor)
    tensor *= shape / size if size > 1e-6 else 0.0
    lattice = crystal.lattice @ (np.eye(3) * scale + tensor)
    return Crystal(
        crystal.crystal_id, lattice, crystal.atomic_numbers, crystal.frac_coords, crystal.occupancies, crystal.b_iso
    )
