"""Crystals of every system, from published cells and at random, for the diffraction tests."""

import numpy as np

from simxrd_hf.diffraction import Crystal


def cell(a: float, b: float, c: float, alpha: float = 90.0, beta: float = 90.0, gamma: float = 90.0) -> np.ndarray:
    ca, cb, cg = np.cos(np.radians([alpha, beta, gamma]))
    sg = np.sqrt(1 - cg * cg)
    z = (ca - cb * cg) / sg
    return np.array([[a, 0, 0], [b * cg, b * sg, 0], [c * cb, c * z, c * np.sqrt(1 - cb * cb - z * z)]])


def lab6() -> Crystal:
    x = 0.1996
    boron = [(x, 0.5, 0.5), (1 - x, 0.5, 0.5), (0.5, x, 0.5), (0.5, 1 - x, 0.5), (0.5, 0.5, x), (0.5, 0.5, 1 - x)]
    return Crystal("LaB6", cell(4.156826, 4.156826, 4.156826), np.array([57] + [5] * 6), [(0, 0, 0), *boron])


def silicon() -> Crystal:
    face = np.array([(0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)])
    return Crystal("Si", cell(5.431144, 5.431144, 5.431144), np.full(8, 14), np.vstack((face, face + 0.25)))


def corundum() -> Crystal:
    z, x = 0.35216, 0.30633
    r = np.array([(0, 0, 0), (2 / 3, 1 / 3, 1 / 3), (1 / 3, 2 / 3, 2 / 3)])
    al = np.array([(0, 0, z), (0, 0, 0.5 - z), (0, 0, -z), (0, 0, 0.5 + z)])
    o = np.array([(x, 0, 0.25), (0, x, 0.25), (-x, -x, 0.25), (-x, 0, 0.75), (0, -x, 0.75), (x, x, 0.75)])
    atoms = [(site + shift) % 1 for group in (al, o) for site in group for shift in r]
    return Crystal("Al2O3", cell(4.759091, 4.759091, 12.991779, gamma=120), np.array([13] * 12 + [8] * 18), atoms)


def random_crystal(rng: np.random.Generator, system: str, n_atoms: int = 4, name: str = "") -> Crystal:
    """Random atoms in a random cell of a system's metric."""
    a, b, c = rng.uniform(3, 9, 3)
    angles = rng.uniform(70, 110, 3)
    lattice = {
        "cubic": lambda: cell(a, a, a),
        "tetragonal": lambda: cell(a, a, c),
        "orthorhombic": lambda: cell(a, b, c),
        "hexagonal": lambda: cell(a, a, c, gamma=120),
        "trigonal": lambda: cell(a, a, a, angles[0], angles[0], angles[0]),
        "monoclinic": lambda: cell(a, b, c, beta=angles[1]),
        "triclinic": lambda: cell(a, b, c, *angles),
    }[system]()
    grid = rng.permutation([(i, j, k) for i in range(3) for j in range(3) for k in range(3)])[:n_atoms]
    coords = (grid + rng.uniform(-0.2, 0.2, (n_atoms, 3))) / 3
    return Crystal(name or f"random {system}", lattice, rng.integers(3, 80, n_atoms), coords)


SYSTEMS = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")
