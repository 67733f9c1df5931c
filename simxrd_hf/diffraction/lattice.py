"""Lattice work in numba: reciprocal axes, the reduced primitive cell, and the symmetry of the lattice itself."""

import numpy as np

from simxrd_hf.compiler import njit
from simxrd_hf.diffraction.compilation import kernel

TRANSLATION_TOLERANCE = 2e-5
"""Å; a translation must carry every atom onto its like this closely to count as a lattice vector."""


@njit(cache=True, nogil=True)
def inverse(m):
    """Invert a 3x3 matrix; of a lattice (rows) the columns of the inverse are the reciprocal axes (without 2π)."""
    out = np.empty((3, 3))
    invert(m, out)
    return out


@kernel
def determinant(m):
    """Determinant of a 3x3 matrix."""
    return (
        m[0, 0] * (m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1])
        - m[0, 1] * (m[1, 0] * m[2, 2] - m[1, 2] * m[2, 0])
        + m[0, 2] * (m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0])
    )


@kernel
def invert(m, out):
    """Write the inverse of a 3x3 matrix to another."""
    for i in range(3):
        a, b = (i + 1) % 3, (i + 2) % 3
        for j in range(3):
            c, d = (j + 1) % 3, (j + 2) % 3
            out[j, i] = m[a, c] * m[b, d] - m[a, d] * m[b, c]
    det = m[0, 0] * out[0, 0] + m[0, 1] * out[1, 0] + m[0, 2] * out[2, 0]
    for i in range(3):
        for j in range(3):
            out[i, j] /= det


@njit(cache=True, nogil=True)
def primitive_translations(lattice, frac, kind):
    """Fractional vectors, the zero vector first, that carry the crystal onto itself (float64 (m, 3)).

    Args:
        lattice: Cell vectors as rows, Å.
        frac: Fractional coordinates (n, 3).
        kind: Label of each atom; like goes onto like (n,).
    """
    n = len(frac)
    count = np.zeros(kind.max() + 1, np.int64)
    for i in range(n):
        count[kind[i]] += 1
    rare = kind[0]
    for i in range(n):
        if count[kind[i]] < count[rare]:
            rare = kind[i]
    origin = 0
    while kind[origin] != rare:
        origin += 1
    found = np.zeros((count[rare], 3))
    m = 1
    limit = TRANSLATION_TOLERANCE**2
    for candidate in range(n):
        if kind[candidate] != rare or candidate == origin:
            continue
        t = frac[candidate] - frac[origin]
        works = True
        for i in range(n):
            matched = False
            for j in range(n):
                if kind[j] != kind[i]:
                    continue
                x = frac[i, 0] + t[0] - frac[j, 0]
                y = frac[i, 1] + t[1] - frac[j, 1]
                z = frac[i, 2] + t[2] - frac[j, 2]
                x -= np.rint(x)
                y -= np.rint(y)
                z -= np.rint(z)
                if abs(x) + abs(y) + abs(z) > 1e-3:
                    continue
                dx = x * lattice[0, 0] + y * lattice[1, 0] + z * lattice[2, 0]
                dy = x * lattice[0, 1] + y * lattice[1, 1] + z * lattice[2, 1]
                dz = x * lattice[0, 2] + y * lattice[1, 2] + z * lattice[2, 2]
                if dx * dx + dy * dy + dz * dz < limit:
                    matched = True
                    break
            if not matched:
                works = False
                break
        if works:
            found[m] = t
            m += 1
    # m-fold repetition of a translation is a lattice vector, so its components are multiples of 1/m: free of the
    # rounding of the coordinates it was found from
    return np.rint(found[:m] * m) / m


@njit(cache=True, nogil=True)
def primitive_basis(translations):
    """Basis, in units of the cell vectors, of the lattice spanned by the cell and its inner translations.

    The m translations form a group, so m times each is a whole vector: integer row reduction gives the basis exactly.
    """
    m = len(translations)
    rows = np.zeros((m + 3, 3), np.int64)
    for i in range(m):
        for j in range(3):
            rows[i, j] = int(np.rint((translations[i, j] - np.floor(translations[i, j])) * m))
    for j in range(3):
        rows[m + j, j] = m
    for top in range(3):  # the rows span space: every column has a pivot
        while True:
            pivot = -1
            others = 0
            for i in range(top, len(rows)):
                if rows[i, top] != 0:
                    others += 1
                    if pivot < 0 or abs(rows[i, top]) < abs(rows[pivot, top]):
                        pivot = i
            for j in range(3):
                rows[top, j], rows[pivot, j] = rows[pivot, j], rows[top, j]
            if others == 1:
                break
            for i in range(top + 1, len(rows)):
                quotient = rows[i, top] // rows[top, top]
                for j in range(3):
                    rows[i, j] -= quotient * rows[top, j]
    return rows[:3] / m


@njit(cache=True, nogil=True)
def reduce_basis(vectors):
    """Short lattice vectors spanning the same lattice (pairwise reduction), right-handed, the longest last.

    Any basis gives the same pattern; short vectors only keep the index ranges of the reflections small.
    """
    v = vectors.copy()
    for _ in range(1000):
        changed = False
        for i in range(3):
            for j in range(3):
                if i == j:
                    continue
                n = np.rint(np.dot(v[i], v[j]) / np.dot(v[j], v[j]))
                if n != 0.0:
                    shorter = v[i] - n * v[j]
                    if np.dot(shorter, shorter) < np.dot(v[i], v[i]) * (1.0 - 1e-9):
                        v[i] = shorter
                        changed = True
        if not changed:
            break
    for i in range(2):
        for j in range(2 - i):
            if np.dot(v[j], v[j]) > np.dot(v[j + 1], v[j + 1]):
                for k in range(3):
                    v[j, k], v[j + 1, k] = v[j + 1, k], v[j, k]
    if np.dot(np.cross(v[0], v[1]), v[2]) < 0.0:
        v[2] = -v[2]
    return v


@njit(cache=True, nogil=True)
def lattice_rotations(vectors):
    """Cartesian rotations and rotoinversions, up to the inversion, that carry a reduced lattice onto itself.

    Args:
        vectors: Reduced primitive cell vectors as rows, Å; the images of a reduced basis are sums with -1, 0, 1.

    Returns:
        Matrices R with v' = R v, float64 (m, 3, 3), the identity among them.
    """
    tolerance = 1e-3
    found = np.empty((48, 3, 3))
    n = 0
    images = np.empty((26, 3))
    count = 0
    for h in range(-1, 2):
        for k in range(-1, 2):
            for m in range(-1, 2):
                if h != 0 or k != 0 or m != 0:
                    images[count] = h * vectors[0] + k * vectors[1] + m * vectors[2]
                    count += 1
    gram = vectors @ vectors.T
    back = inverse(vectors)
    scale = gram[2, 2] * tolerance
    for i in range(26):
        if abs(np.dot(images[i], images[i]) - gram[0, 0]) > scale:
            continue
        for j in range(26):
            if (
                abs(np.dot(images[j], images[j]) - gram[1, 1]) > scale
                or abs(np.dot(images[i], images[j]) - gram[0, 1]) > scale
            ):
                continue
            for k in range(26):
                if (
                    abs(np.dot(images[k], images[k]) - gram[2, 2]) > scale
                    or abs(np.dot(images[i], images[k]) - gram[0, 2]) > scale
                    or abs(np.dot(images[j], images[k]) - gram[1, 2]) > scale
                ):
                    continue
                if np.dot(np.cross(images[i], images[j]), images[k]) < 0.0:
                    continue  # its negative is in the list: the inversion changes no strain
                if n == 48:
                    return found
                moved = np.empty((3, 3))
                moved[0] = images[i]
                moved[1] = images[j]
                moved[2] = images[k]
                found[n] = (back @ moved).T
                n += 1
    return found[:n]
