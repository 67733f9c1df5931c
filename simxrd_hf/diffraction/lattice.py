"""Lattice work in numba: reciprocal axes, the reduced primitive cell, and the symmetry of the lattice itself."""

import numpy as np

from simxrd_hf.diffraction.compilation import compiled, kernel

TRANSLATION_TOLERANCE = 2e-5
"""Å; a translation must carry every atom onto its like this closely to count as a lattice vector."""


@compiled
def inverse(m):
    """Invert a 3x3 matrix; of a lattice (rows) the columns of the inverse are the reciprocal axes (without 2π)."""
    out = np.empty((3, 3))
    invert(m, out)
    return out


@kernel
def dot(a, i, b, j):
    """Scalar product of row i of one matrix and row j of another, in this order of the sum on every machine."""
    return a[i, 0] * b[j, 0] + a[i, 1] * b[j, 1] + a[i, 2] * b[j, 2]


@kernel
def multiply(a, b, out):
    """Write the product of two 3x3 matrices to a third."""
    for i in range(3):
        for j in range(3):
            out[i, j] = a[i, 0] * b[0, j] + a[i, 1] * b[1, j] + a[i, 2] * b[2, j]


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


@compiled
def primitive_translations(lattice, frac, kind):
    """Fractional vectors, the zero vector first, that carry the crystal onto itself (float64 (m, 3)).

    Args:
        lattice: Cell vectors as rows, Å.
        frac: Fractional coordinates (n, 3).
        kind: Label of each atom; like goes onto like (n,).
    """
    n = len(frac)
    largest = 0
    for i in range(n):
        largest = max(largest, kind[i])
    count = np.empty(largest + 1, np.int64)  # np.zeros would be compiled beside np.empty
    for i in range(largest + 1):
        count[i] = 0
    for i in range(n):
        count[kind[i]] += 1
    rare = kind[0]
    for i in range(n):
        if count[kind[i]] < count[rare]:
            rare = kind[i]
    origin = 0
    while kind[origin] != rare:
        origin += 1
    found = np.empty((count[rare], 3))
    for j in range(3):
        found[0, j] = 0.0  # the zero vector first
    m = 1
    t = np.empty(3)
    limit = TRANSLATION_TOLERANCE**2
    for candidate in range(n):
        if kind[candidate] != rare or candidate == origin:
            continue
        for j in range(3):
            t[j] = frac[candidate, j] - frac[origin, j]
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
            for j in range(3):
                found[m, j] = t[j]
            m += 1
    # m-fold repetition of a translation is a lattice vector, so its components are multiples of 1/m: free of the
    # rounding of the coordinates it was found from
    for i in range(m):
        for j in range(3):
            found[i, j] = np.rint(found[i, j] * m) / m
    return found[:m]


@compiled
def primitive_basis(translations):
    """Basis, in units of the cell vectors, of the lattice spanned by the cell and its inner translations.

    The m translations form a group, so m times each is a whole vector: integer row reduction gives the basis exactly.
    """
    m = len(translations)
    rows = np.empty((m + 3, 3), np.int64)
    for i in range(m):
        for j in range(3):
            rows[i, j] = int(np.rint((translations[i, j] - np.floor(translations[i, j])) * m))
    for i in range(3):
        for j in range(3):
            rows[m + i, j] = m if i == j else 0
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
    basis = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            basis[i, j] = rows[i, j] / m
    return basis


@compiled
def reduce_basis(vectors):
    """Short lattice vectors spanning the same lattice (pairwise reduction), right-handed, the longest last.

    Any basis gives the same pattern; short vectors only keep the index ranges of the reflections small.
    """
    v = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            v[i, j] = vectors[i, j]
    for _ in range(1000):
        changed = False
        for i in range(3):
            for j in range(3):
                if i == j:
                    continue
                n = np.rint(dot(v, i, v, j) / dot(v, j, v, j))
                if n != 0.0:
                    x, y, z = v[i, 0] - n * v[j, 0], v[i, 1] - n * v[j, 1], v[i, 2] - n * v[j, 2]
                    if x * x + y * y + z * z < dot(v, i, v, i) * (1.0 - 1e-9):
                        v[i, 0], v[i, 1], v[i, 2] = x, y, z
                        changed = True
        if not changed:
            break
    for i in range(2):
        for j in range(2 - i):
            if dot(v, j, v, j) > dot(v, j + 1, v, j + 1):
                for k in range(3):
                    v[j, k], v[j + 1, k] = v[j + 1, k], v[j, k]
    if determinant(v) < 0.0:
        for k in range(3):
            v[2, k] = -v[2, k]
    return v


@kernel
def rotations_into(vectors, room):
    """As `lattice_rotations`, the matrices one below the other in the first rows of the room; returns how many.

    Args:
        vectors: See there.
        room: (`ROTATIONS_ROOM`, 3).
    """
    tolerance = 1e-3
    n = 0
    images, products, back, moved = room[144:170], room[170:173], room[173:176], room[176:179]
    count = 0
    for h in range(-1, 2):
        for k in range(-1, 2):
            for m in range(-1, 2):
                if h != 0 or k != 0 or m != 0:
                    for j in range(3):
                        images[count, j] = h * vectors[0, j] + k * vectors[1, j] + m * vectors[2, j]
                    count += 1
    for i in range(3):  # a call with written-out numbers would be compiled for each of them
        for j in range(3):
            products[i, j] = dot(vectors, i, vectors, j)
    g00, g11, g22 = products[0, 0], products[1, 1], products[2, 2]
    g01, g02, g12 = products[0, 1], products[0, 2], products[1, 2]
    invert(vectors, back)
    scale = g22 * tolerance
    for i in range(26):
        if abs(dot(images, i, images, i) - g00) > scale:
            continue
        for j in range(26):
            if abs(dot(images, j, images, j) - g11) > scale or abs(dot(images, i, images, j) - g01) > scale:
                continue
            for k in range(26):
                if (
                    abs(dot(images, k, images, k) - g22) > scale
                    or abs(dot(images, i, images, k) - g02) > scale
                    or abs(dot(images, j, images, k) - g12) > scale
                ):
                    continue
                for x in range(3):
                    moved[0, x], moved[1, x], moved[2, x] = images[i, x], images[j, x], images[k, x]
                if determinant(moved) < 0.0:
                    continue  # its negative is in the list: the inversion changes no strain
                if n == 48:
                    return n
                for x in range(3):
                    for y in range(3):
                        room[3 * n + y, x] = (
                            back[x, 0] * moved[0, y] + back[x, 1] * moved[1, y] + back[x, 2] * moved[2, y]
                        )
                n += 1
    return n


ROTATIONS_ROOM = 179


def lattice_rotations(vectors: np.ndarray) -> np.ndarray:
    """Cartesian rotations and rotoinversions, up to the inversion, that carry a reduced lattice onto itself.

    Args:
        vectors: Reduced primitive cell vectors as rows, Å; the images of a reduced basis are sums with -1, 0, 1.

    Returns:
        Matrices R with v' = R v, float64 (m, 3, 3), the identity among them.
    """
    room = np.empty((ROTATIONS_ROOM, 3))
    count = rotations_into(np.ascontiguousarray(vectors, dtype=np.float64), room)
    found: np.ndarray = room[: 3 * count].reshape(-1, 3, 3).copy()
    return found
