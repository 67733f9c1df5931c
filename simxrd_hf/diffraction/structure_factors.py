"""Kernels of the reflections: the primitive cell and its atoms, |F|² of every hkl, hkl of equal d joined to lines."""

import numpy as np

from simxrd_hf.diffraction.compilation import compiled
from simxrd_hf.diffraction.lattice import (
    determinant,
    dot,
    inverse,
    multiply,
    primitive_basis,
    primitive_translations,
    reduce_basis,
)


@compiled
def _kinds(numbers, b_iso, occupancy):
    """Label of each atom by (element, B, occupancy), and one atom of each kind.

    The three are compared one by one: a sum of them would take atoms for alike whose differences cancel.
    """
    n = len(numbers)
    label, first = np.empty(n, np.int64), np.empty(n, np.int64)
    count = 0
    for i in range(n):
        kind = 0
        while kind < count:
            j = first[kind]
            if numbers[j] == numbers[i] and b_iso[j] == b_iso[i] and occupancy[j] == occupancy[i]:
                break
            kind += 1
        if kind == count:
            first[count] = i
            count += 1
        label[i] = kind
    return label, first[:count]


@compiled
def primitive_atoms(lattice, frac, numbers, b_iso, occupancy):
    """Reduced primitive cell, the places of its atoms kind by kind, one atom of each kind, and where kinds begin."""
    label, kinds = _kinds(numbers, b_iso, occupancy)
    cell, keep, places = _primitive(lattice, frac, label)
    change = np.empty((3, 3))
    multiply(lattice, inverse(cell), change)
    start = np.empty(len(kinds) + 1, np.int64)
    start[0] = 0
    out = np.empty((len(keep), 3))
    count = 0
    for kind in range(len(kinds)):
        for i in range(len(keep)):
            if label[keep[i]] == kind:
                for j in range(3):
                    out[count, j] = (
                        places[i, 0] * change[0, j] + places[i, 1] * change[1, j] + places[i, 2] * change[2, j]
                    )
                count += 1
        start[kind + 1] = count
    return cell, out, kinds, start


@compiled
def _primitive(lattice, frac, kind):
    """Reduced primitive cell, the atoms it keeps, and their places: means over the atoms that lie on each other.

    The coordinates of a file are rounded, so images of an atom differ in the last digits; where atoms nearly cancel in
    a reflection, taking the first instead of the mean was seen to change |F|² by 2e-4 of itself.
    """
    translations = primitive_translations(lattice, frac, kind)
    n = len(frac)
    if len(translations) == 1 or n % len(translations) != 0:
        everything, same = np.empty(n, np.int64), np.empty((n, 3))
        for i in range(n):
            everything[i] = i
            for j in range(3):
                same[i, j] = frac[i, j]
        return reduce_basis(lattice), everything, same
    used = np.empty(n, np.bool_)
    for i in range(n):
        used[i] = False
    keep = np.empty(n // len(translations), np.int64)
    places = np.empty((n // len(translations), 3))
    count = 0
    for i in range(n):
        if used[i] or count == len(keep):
            continue
        x, y, z, images = 0.0, 0.0, 0.0, 0
        for t in range(len(translations)):
            for j in range(n):
                if used[j] or kind[j] != kind[i]:
                    continue
                dx = frac[j, 0] - translations[t, 0] - frac[i, 0]
                dy = frac[j, 1] - translations[t, 1] - frac[i, 1]
                dz = frac[j, 2] - translations[t, 2] - frac[i, 2]
                dx -= np.rint(dx)
                dy -= np.rint(dy)
                dz -= np.rint(dz)
                if abs(dx) + abs(dy) + abs(dz) < 1e-4:
                    used[j] = True
                    x += dx
                    y += dy
                    z += dz
                    images += 1
        keep[count] = i
        places[count, 0] = frac[i, 0] + x / images
        places[count, 1] = frac[i, 1] + y / images
        places[count, 2] = frac[i, 2] + z / images
        count += 1
    basis = np.empty((3, 3))
    multiply(primitive_basis(translations), lattice, basis)
    return reduce_basis(basis), keep[:count], places[:count]


@compiled
def structure_factors(
    cell, frac, kind_start, numbers, real, imaginary, b_iso, occupancy, step, s_squared_min, s_squared_max, capacity
):
    """|F|² of every folded hkl in the shell, the mean of the two Friedel mates.

    F± = Σ (f0 + f' ± i f'') S with S = Σ occ exp(2πi h·r), so ⟨|F|²⟩ = |Σ (f0 + f') S|² + |Σ f'' S|².
    """
    n, n_kinds = len(frac), len(numbers)
    back = inverse(cell)
    metric = np.empty((3, 3))  # reciprocal
    for i in range(3):
        for j in range(3):
            metric[i, j] = back[0, i] * back[0, j] + back[1, i] * back[1, j] + back[2, i] * back[2, j]
    q_max = 4.0 * s_squared_max
    q_min = 4.0 * s_squared_min
    # Schur complements give the exact range of k for a given h, and of l for a given h, k
    g33 = metric[2, 2]
    a11 = metric[0, 0] - metric[0, 2] ** 2 / g33
    a12 = metric[0, 1] - metric[0, 2] * metric[1, 2] / g33
    a22 = metric[1, 1] - metric[1, 2] ** 2 / g33
    b11 = a11 - a12 * a12 / a22
    h_max = int(np.sqrt(q_max / b11) + 1e-9)
    k_max = int(np.sqrt(q_max * dot(cell, 1, cell, 1)) + 1e-9)
    l_max = int(np.sqrt(q_max * dot(cell, 2, cell, 2)) + 1e-9)

    h_phase = np.empty((2, h_max + 1, n))
    k_phase = np.empty((2, 2 * k_max + 1, n))
    l_phase = np.empty((2, 2 * l_max + 1, n))
    _phases(frac[:, 0], np.int64(0), h_phase)
    _phases(frac[:, 1], k_max, k_phase)
    _phases(frac[:, 2], l_max, l_phase)

    hkl = np.empty((capacity, 3))
    s_squared = np.empty(capacity)
    f_squared = np.empty(capacity)
    count = 0
    cr, ci = np.empty(n), np.empty(n)
    for h in range(h_max + 1):
        room = q_max - b11 * h * h
        if room < 0.0:
            continue
        centre, reach = -a12 * h / a22, np.sqrt(room / a22)
        k_low = int(np.ceil(centre - reach - 1e-9))
        if h == 0 and k_low < 0:
            k_low = 0
        for k in range(max(k_low, -k_max), min(int(np.floor(centre + reach + 1e-9)), k_max) + 1):
            room = q_max - (a11 * h * h + 2.0 * a12 * h * k + a22 * k * k)
            if room < 0.0:
                continue
            centre_l, reach_l = -(metric[0, 2] * h + metric[1, 2] * k) / g33, np.sqrt(room / g33)
            l_low = int(np.ceil(centre_l - reach_l - 1e-9))
            if h == 0 and k == 0:
                l_low = 1
            ready = False
            for l in range(max(l_low, -l_max), min(int(np.floor(centre_l + reach_l + 1e-9)), l_max) + 1):  # noqa: E741
                q0 = h * back[0, 0] + k * back[0, 1] + l * back[0, 2]
                q1 = h * back[1, 0] + k * back[1, 1] + l * back[1, 2]
                q2 = h * back[2, 0] + k * back[2, 1] + l * back[2, 2]
                q = q0 * q0 + q1 * q1 + q2 * q2
                if q > q_max or q < q_min or count == capacity:
                    continue
                if not ready:
                    ready = True
                    for j in range(n):
                        cr[j] = (
                            h_phase[0, h, j] * k_phase[0, k + k_max, j] - h_phase[1, h, j] * k_phase[1, k + k_max, j]
                        )
                        ci[j] = (
                            h_phase[0, h, j] * k_phase[1, k + k_max, j] + h_phase[1, h, j] * k_phase[0, k + k_max, j]
                        )
                lr, li = l_phase[0, l + l_max], l_phase[1, l + l_max]
                s2 = 0.25 * q
                place = s2 / step
                at = int(place)
                part = place - at
                xr, xi, yr, yi = 0.0, 0.0, 0.0, 0.0
                for kind in range(n_kinds):
                    sr, si = 0.0, 0.0
                    for j in range(kind_start[kind], kind_start[kind + 1]):
                        sr += cr[j] * lr[j] - ci[j] * li[j]
                        si += cr[j] * li[j] + ci[j] * lr[j]
                    weight = occupancy[kind]
                    if b_iso[kind] != 0.0:
                        weight *= np.exp(-b_iso[kind] * s2)
                    z = numbers[kind]
                    f0, f1, f2 = real[z, at], real[z, at + 1], real[z, at + 2]
                    f = f0 + part * (f1 - f0 + 0.5 * (part - 1.0) * (f2 - 2.0 * f1 + f0))
                    f *= weight
                    xr += f * sr
                    xi += f * si
                    if imaginary[z] != 0.0:
                        f = weight * imaginary[z]
                        yr += f * sr
                        yi += f * si
                hkl[count, 0], hkl[count, 1], hkl[count, 2] = h, k, l
                s_squared[count] = s2
                f_squared[count] = xr * xr + xi * xi + yr * yr + yi * yi
                count += 1
    return hkl[:count], s_squared[:count], f_squared[:count]


@compiled
def _phases(x, offset, out):
    """exp(2πi m x) for m = -offset .. end by recurrence, restarted every 16 steps to hold full precision."""
    n = len(x)
    size = out.shape[1]
    for j in range(n):
        one_r, one_i = np.cos(2.0 * np.pi * x[j]), np.sin(2.0 * np.pi * x[j])
        r, i = 1.0, 0.0
        for m in range(size - offset):
            if m % 16 == 0 and m > 0:
                turn = m * x[j]
                turn = 2.0 * np.pi * (turn - np.rint(turn))
                r, i = np.cos(turn), np.sin(turn)
            out[0, offset + m, j] = r
            out[1, offset + m, j] = i
            if m <= offset:
                out[0, offset - m, j] = r
                out[1, offset - m, j] = -i
            r, i = r * one_r - i * one_i, r * one_i + i * one_r


ABSENT = 1e-4
"""Part of the strongest |F|² of a line below which a reflection counts as absent: coordinates of a file are rounded, so
that what symmetry forbids comes out as some millionths."""


@compiled
def merge(cell, hkl, s_squared, f_squared, order, wavelength, tolerance, cutoff):
    """Join reflections, given in order of 1/d², whose 2θ differ by at most `tolerance` (radians) from the first.

    Lines weaker than `cutoff` of the strongest are left out. Returns the fields of `Reflections`, but for the cell.
    """
    n = len(order)
    begin = np.empty(n + 1, np.int64)
    line_s, line_f, best = np.empty(n), np.empty(n), np.empty(n, np.int64)
    m = 0
    i = 0
    top = 0.0
    while i < n:
        s_first = s_squared[order[i]]
        # d(2θ)/d(s²) = λ / (sqrt(s²) cos θ)
        cos = np.sqrt(max(1.0 - wavelength * wavelength * s_first, 1e-12))
        limit = s_first + tolerance * np.sqrt(s_first) * cos / wavelength
        total, moment, strongest = 0.0, 0.0, order[i]
        j = i
        while j < n and s_squared[order[j]] <= limit:
            at = order[j]
            total += f_squared[at]
            moment += f_squared[at] * (s_squared[at] - s_first)
            if f_squared[at] > f_squared[strongest] * (1.0 + 1e-9):
                strongest = at
            j += 1
        begin[m] = i
        line_s[m] = s_first + (moment / total if total > 0.0 else 0.0)
        line_f[m] = total
        best[m] = strongest
        top = max(top, total)
        m += 1
        i = j
    begin[m] = n
    lines, members = 0, 0
    for line in range(m):
        if line_f[line] > cutoff * top:
            lines += 1
            members += begin[line + 1] - begin[line]
    back = inverse(cell)
    scale = 2.0 / determinant(cell) ** 2
    out_s, strength, multiplicity = np.empty(lines), np.empty(lines), np.empty(lines, np.int32)
    q, start = np.empty((lines, 3)), np.empty(lines + 1, np.int64)
    start[0] = 0
    member_hkl, member_q, member_strength = np.empty((members, 3)), np.empty((members, 3)), np.empty(members)
    at, place = 0, 0
    for line in range(m):
        if not line_f[line] > cutoff * top:
            continue
        out_s[at] = line_s[line]
        strength[at] = scale * line_f[line]
        present = 0
        for i in range(begin[line], begin[line + 1]):
            if f_squared[order[i]] > ABSENT * f_squared[best[line]]:
                present += 1
        multiplicity[at] = 2 * present
        for j in range(3):
            q[at, j] = (
                hkl[best[line], 0] * back[j, 0] + hkl[best[line], 1] * back[j, 1] + hkl[best[line], 2] * back[j, 2]
            )
        for i in range(begin[line], begin[line + 1]):
            one = order[i]
            member_strength[place] = scale * f_squared[one]
            for j in range(3):
                member_hkl[place, j] = hkl[one, j]
                member_q[place, j] = hkl[one, 0] * back[j, 0] + hkl[one, 1] * back[j, 1] + hkl[one, 2] * back[j, 2]
            place += 1
        at += 1
        start[at] = place
    return out_s, strength, multiplicity, q, start, member_hkl, member_q, member_strength
