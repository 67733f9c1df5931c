"""How symmetric a crystal can be within a tolerance at most, to ask spglib only where it pays; means over symmetry."""

import math

import numpy as np

from simxrd_hf.compiler import njit
from simxrd_hf.diffraction.lattice import inverse, reduce_basis

_SLACK = 1.6
"""Distances up to so many tolerances are allowed: the operation of one pair of atoms may be off for all others."""


@njit(cache=True, nogil=True)
def most_operations(lattice, positions, kinds, tolerance):
    """How many symmetry operations a crystal has at most.

    Rotations are those of the reduced lattice with indices −1, 0, 1, translations those that carry one atom of the
    rarest kind to another; an operation counts where every atom has one of its kind near its image.

    Args:
        lattice: Cell vectors as rows, Å (3, 3).
        positions: Fractional coordinates (n, 3).
        kinds: Whole numbers (n,).
        tolerance: Å.

    Returns:
        The number; not below that which spglib finds at this tolerance.
    """
    reduced = reduce_basis(lattice)
    places = positions @ (lattice @ inverse(reduced))
    n = len(places)
    rarest, fewest = 0, n + 1
    for i in range(n):
        same = 0
        for j in range(n):
            if kinds[j] == kinds[i]:
                same += 1
        if same < fewest:
            rarest, fewest = i, same
    metric = reduced @ reduced.T
    lengths = np.sqrt(np.diag(metric))
    allowed = _SLACK * tolerance
    rotation = np.empty((3, 3))
    # one that carries a cell vector to another of nearly its length
    count = 0
    candidates = np.empty((27, 3))
    squares = np.empty(27)
    m = 0
    for x in range(-1, 2):
        for y in range(-1, 2):
            for z in range(-1, 2):
                if x != 0 or y != 0 or z != 0:
                    v = np.array([float(x), float(y), float(z)])
                    candidates[m] = v
                    squares[m] = v @ metric @ v
                    m += 1
    for p in range(m):
        if abs(math.sqrt(squares[p]) - lengths[0]) > allowed:
            continue
        rotation[0] = candidates[p]
        for q in range(m):
            if abs(math.sqrt(squares[q]) - lengths[1]) > allowed:
                continue
            rotation[1] = candidates[q]
            if _turned(rotation, 0, 1, metric, lengths, allowed):
                continue
            for r in range(m):
                if abs(math.sqrt(squares[r]) - lengths[2]) > allowed:
                    continue
                rotation[2] = candidates[r]
                if _turned(rotation, 0, 2, metric, lengths, allowed) or _turned(
                    rotation, 1, 2, metric, lengths, allowed
                ):
                    continue
                if abs(abs(np.linalg.det(rotation)) - 1) > 1e-6:
                    continue
                count += _translations(rotation, reduced, places, kinds, rarest, allowed)
    return count


@njit(cache=True, nogil=True)
def _turned(rotation, i, j, metric, lengths, allowed):
    """Whether the angle between the images of two cell vectors is off by more than a shift of their ends."""
    before = metric[i, j] / (lengths[i] * lengths[j])
    x, y = rotation[i], rotation[j]
    after = (x @ metric @ y) / math.sqrt((x @ metric @ x) * (y @ metric @ y))
    angle = math.acos(min(max(after, -1.0), 1.0)) - math.acos(min(max(before, -1.0), 1.0))
    return abs(math.sin(angle)) * 0.5 * (lengths[i] + lengths[j]) > allowed


@njit(cache=True, nogil=True)
def _translations(rotation, cell, places, kinds, rarest, allowed):
    """How many translations go with a rotation (cell vectors → images)."""
    n = len(places)
    images = places @ rotation
    square = allowed * allowed
    count = 0
    for target in range(n):
        if kinds[target] != kinds[rarest]:
            continue
        shift = places[target] - images[rarest]
        good = True
        for i in range(n):
            found = False
            a, b, c = images[i] + shift
            for j in range(n):
                if kinds[j] != kinds[i]:
                    continue
                u, v, w = places[j, 0] - a, places[j, 1] - b, places[j, 2] - c
                u -= np.rint(u)
                v -= np.rint(v)
                w -= np.rint(w)
                x = u * cell[0, 0] + v * cell[1, 0] + w * cell[2, 0]
                y = u * cell[0, 1] + v * cell[1, 1] + w * cell[2, 1]
                z = u * cell[0, 2] + v * cell[1, 2] + w * cell[2, 2]
                if x * x + y * y + z * z < square:
                    found = True
                    break
            if not found:
                good = False
                break
        if good:
            count += 1
    return count


@njit(cache=True, nogil=True)
def mean_sites(positions, kinds, shares, metric, rotations, translations):
    """Positions and compositions of sites, averaged over symmetry operations.

    Args:
        positions: Fractional coordinates (n, 3).
        kinds: Whole numbers (n,): sites go to those of their kind.
        shares: Of the elements in each site (n, m).
        metric: Of the cell, Å² (3, 3).
        rotations: (k, 3, 3).
        translations: (k, 3).

    Returns:
        Mean shift of every site in fractional coordinates (n, 3), mean shares (n, m), and whether every operation
        carries the sites one to one.
    """
    n, k = len(positions), len(rotations)
    shift, mean = np.zeros((n, 3)), np.zeros(shares.shape)
    taken = np.full(n, -1)
    best = np.empty(3)
    for operation in range(k):
        rotation = rotations[operation].astype(np.float64)
        for i in range(n):
            image = rotation @ positions[i] + translations[operation]
            target, least = -1, np.inf
            for j in range(n):
                if kinds[j] != kinds[i]:
                    continue
                u, v, w = image[0] - positions[j, 0], image[1] - positions[j, 1], image[2] - positions[j, 2]
                u -= np.rint(u)
                v -= np.rint(v)
                w -= np.rint(w)
                square = u * (u * metric[0, 0] + 2 * (v * metric[0, 1] + w * metric[0, 2]))
                square += v * (v * metric[1, 1] + 2 * w * metric[1, 2]) + w * w * metric[2, 2]
                if square < least:
                    target, least = j, square
                    best[0], best[1], best[2] = u, v, w
            if taken[target] == operation:
                return shift, mean, False
            taken[target] = operation
            shift[target] += best
            mean[target] += shares[i]
    return shift / k, mean / k, True
