"""Lines of a crystal to patterns: profiles on the grids, then background, noise and scale.

Two arguments are None where a preset has no use for what they are for: numba leaves out the branches of an argument of
type None, so that a first use need not wait for code that it does not run.
"""

import math
from typing import NamedTuple

import numpy as np

from simxrd_hf.diffraction import background as bg
from simxrd_hf.diffraction import effects, profiles
from simxrd_hf.diffraction import lines as ln
from simxrd_hf.diffraction.compilation import compiled, inlined, kernel

# Gauss-Legendre nodes and weights of every order up to 32
_MAX_NODES = 32
NODES = np.zeros((_MAX_NODES + 1, _MAX_NODES, 2))
for _n in range(1, _MAX_NODES + 1):
    NODES[_n, :_n] = np.array(np.polynomial.legendre.leggauss(_n)).T


class Work(NamedTuple):
    """Room for the numbers of one line."""

    coefficients: np.ndarray
    tail: np.ndarray
    shifts: np.ndarray
    weights: np.ndarray


@kernel
def _strongest(areas):
    """The largest of some areas."""
    top = areas[0]
    for i in range(1, len(areas)):
        top = max(top, areas[i])
    return top


@kernel
def _threshold(areas, top):
    """Area below which lines can be left out: together they stay below 2e-4 of the strongest."""
    part0, part1, part2, part3 = 1e-4 * top, 2e-5 * top, 4e-6 * top, 8e-7 * top
    total0, total1, total2, total3 = 0.0, 0.0, 0.0, 0.0
    for i in range(len(areas)):
        a = areas[i]
        total0 += a if a < part0 else 0.0
        total1 += a if a < part1 else 0.0
        total2 += a if a < part2 else 0.0
        total3 += a if a < part3 else 0.0
    limit = 2e-4 * top
    if total0 < limit:
        return part0
    if total1 < limit:
        return part1
    if total2 < limit:
        return part2
    return part3 if total3 < limit else 0.0


@kernel
def _shapes(table, count, settings, voigt):
    """From degrees to steps: places, and widths as the profile takes them."""
    place, place2, gauss, lorentz = table[ln.PLACE], table[ln.PLACE2], table[ln.GAUSS], table[ln.LORENTZ]
    width, eta = table[ln.WIDTH], table[ln.ETA]
    over, start = 1.0 / settings.step, settings.two_theta_min
    for i in range(count):
        place[i] = (place[i] - start) * over
        place2[i] = (place2[i] - start) * over
        # a line narrower than the step cannot be sampled: the Gaussian part is kept at half a step
        g, w = max(gauss[i] * over, 0.5), lorentz[i] * over
        if voigt is not None:
            g = max(g, 0.05 * w)
            width[i], eta[i] = 0.5346 * w + math.sqrt(0.2166 * w * w + g * g), 0.0
        else:
            width[i], eta[i] = profiles.thompson_cox_hastings(g, w)
        gauss[i], lorentz[i] = g, w


@inlined
def _add_line(grids, table, i, area, settings, voigt, measured, p, work):
    """Add one reflection with its Kα2 and axial divergence; all its parts share one width."""
    fwhm = table[ln.WIDTH, i]
    level, size = profiles.level_of(fwhm)  # lengths below are in steps of the level
    width, eta, sigma = fwhm * size, table[ln.ETA, i], 0.0
    first = table[ln.PLACE, i] * size
    height = area
    area *= size
    tabled = False
    if voigt is not None:
        sigma, gamma = table[ln.GAUSS, i] * size / 2.3548200450309493, 0.5 * table[ln.LORENTZ, i] * size
        profiles.tail_of(1.0, gamma, sigma, work.tail)
        tabled = len(voigt) > 0 and width >= profiles.NARROWEST
        if not tabled:
            profiles.voigt_coefficients(gamma / (sigma * math.sqrt(2.0)), work.coefficients)
    else:
        profiles.tail_of(eta, 0.5 * width, 0.0, work.tail)
    axial = p[ln.AXIAL_S] > 0.0 and p[ln.AXIAL_H] > 0.0
    ratio = float(p[ln.KALPHA2])
    if measured is None or (not axial and ratio == 0.0):
        _add_near(grids, level, first, area, width, eta, sigma, tabled, voigt, work)
        profiles.add_tail(grids, level, first, area, work.tail)
    if measured is not None and (axial or ratio != 0.0):
        _add_parts(grids, table, i, level, size, area, height, eta, sigma, settings, tabled, voigt, p, work)


@inlined
def _add_parts(grids, table, i, level, size, area, height, eta, sigma, settings, tabled, voigt, p, work):
    """Add the parts that Kα2 and axial divergence make of a reflection; the arguments are `_add_line`'s."""
    fwhm = table[ln.WIDTH, i]
    width, first = fwhm * size, table[ln.PLACE, i] * size
    axial = p[ln.AXIAL_S] > 0.0 and p[ln.AXIAL_H] > 0.0
    ratio = float(p[ln.KALPHA2])
    nodes = 1
    work.shifts[0], work.weights[0] = 0.0, 1.0
    over_step = size / settings.step
    stretch2 = 1.0
    if axial:
        sin, cos = table[ln.SINE, i], table[ln.COSINE, i]
        cos_2theta, sin_2theta = 1.0 - 2.0 * sin * sin, 2.0 * sin * cos
        s_over_l, h_over_l, broad = p[ln.AXIAL_S], p[ln.AXIAL_H], fwhm * settings.step
        nodes = effects.axial_nodes(
            sin_2theta, cos_2theta, s_over_l, h_over_l, broad, height, NODES, work.shifts, work.weights
        )
        if ratio > 0.0 and abs(cos_2theta) > 1e-3:
            # the same heights at the other wavelength: the shift goes with cot 2θ
            sin *= settings.wavelength2 / settings.wavelength
            if sin < 1.0:
                other = (1.0 - 2.0 * sin * sin) / (2.0 * sin * math.sqrt(1.0 - sin * sin))
                stretch2 = other * sin_2theta / cos_2theta
    total, moment, square = 0.0, 0.0, 0.0
    for wave in range(2 if ratio > 0.0 else 1):
        share = area / (1.0 + ratio)
        place, stretch = first, over_step
        if wave == 1:
            if table[ln.SINE, i] * settings.wavelength2 >= settings.wavelength:
                continue
            share *= ratio
            place = table[ln.PLACE2, i] * size
            stretch *= stretch2
        for k in range(nodes):
            position = place + work.shifts[k] * stretch
            weight = share * work.weights[k]
            _add_near(grids, level, position, weight, width, eta, sigma, tabled, voigt, work)
            total += weight
            moment += weight * (position - first)
            square += weight * (position - first) ** 2
    # the smooth parts of one reflection are joined at their centre, or at two places of the same spread
    moment /= total
    centre = first + moment
    spread = math.sqrt(max(square / total - moment * moment, 0.0))
    if spread < 0.05 * profiles.REACH:
        profiles.add_tail(grids, level, centre, total, work.tail)
    else:
        profiles.add_tail(grids, level, centre - spread, 0.5 * total, work.tail)
        profiles.add_tail(grids, level, centre + spread, 0.5 * total, work.tail)


@inlined
def _add_near(grids, level, position, weight, width, eta, sigma, tabled, voigt, work):
    if voigt is None:
        profiles.add_near_pseudo_voigt(grids, level, position, weight, width, eta, work.tail)
    elif tabled:
        profiles.add_near_from_table(grids, level, position, weight, width, voigt)
    else:
        profiles.add_near_voigt(grids, level, position, weight, sigma, work.coefficients, work.tail)


@compiled
def render(lines, second, impure, settings, layout, tails, voigt, measured, drawn, conditions, rows, key0, key1, out):
    """Compute the patterns of some rows.

    `voigt` is a table of `profiles.voigt_table` (it may be empty), or None for pseudo-Voigt lines; `measured` is None
    where no parameter of `lines.MEASURED` is drawn.
    """
    size = len(lines.s_squared) + (len(second.s_squared) if impure else 0)
    table = np.empty((ln.ROWS, size))
    grids = profiles.new_grids(layout, tails)
    work = Work(np.empty((2, 8), np.float32), np.empty(3), np.empty(64), np.empty(64))
    random = bg.new_work(max(size, out.shape[1]))
    members = max(len(lines.member_strength), len(second.member_strength))
    extra = ln.Room(np.empty((3, 3, 3)), np.empty(members))
    for row in rows:
        p = drawn[row]
        condition = conditions[row]
        count = ln.lines_of(lines, settings, measured, p, key0, key1, condition, table, bg.ZEROTH, random, extra)
        areas = table[ln.AREA]
        if impure:
            more = ln.lines_of(second, settings, measured, p, key0, key1, condition, table, count, random, extra)
            strongest = _strongest(areas[count : count + more])
            if strongest > 0.0:
                scale = p[ln.IMPURITY] * _strongest(areas[:count]) / strongest
                for i in range(count, count + more):
                    areas[i] *= scale
            count += more
        top = _strongest(areas[:count])
        threshold = _threshold(areas[:count], top)
        _shapes(table, count, settings, voigt)
        widest = bg.ZEROTH
        for i in range(count):
            if table[ln.AREA, i] >= threshold:
                widest = max(widest, profiles.level_of(table[ln.WIDTH, i])[0])
        profiles.clear(grids, widest)
        for i in range(count):
            area = table[ln.AREA, i]
            if area >= threshold and area > 0.0:
                _add_line(grids, table, i, area / top, settings, voigt, measured, p, work)
        profiles.sum_grids(grids, widest, out[row])
        _finish(out[row], settings, measured, p, key0, key1, condition, random)


@compiled
def _finish(y, settings, measured, p, key0, key1, condition, work):
    """Background, noise, and the scale: the highest point is 100."""
    if measured is None:
        top = bg.highest(y)
        if p[ln.BACKGROUND] > 0.0:
            height = p[ln.BACKGROUND] * top
            bg.add_simxrd_background(y, settings.two_theta_min, settings.step, height, key0, key1, condition)
        if p[ln.UNIFORM] > 0.0:
            bg.add_uniform_noise(y, p[ln.UNIFORM] * top, key0, key1, condition, work)
    else:
        _measure(y, settings, p, key0, key1, condition, work)
    top = bg.highest(y)
    factor = np.float32(100.0) / top
    for i in range(len(y)):
        y[i] = min(max(y[i] * factor, np.float32(0.0)), np.float32(100.0))


@compiled
def _measure(y, settings, p, key0, key1, condition, work):
    """All that a diffractometer and who processes its files add to the lines."""
    top = bg.highest(y)
    lines = y.copy() if p[ln.REMOVED] > 0.0 else y
    if p[ln.BACKGROUND] > 0.0:
        height = p[ln.BACKGROUND] * top
        if settings.simxrd_background:
            bg.add_simxrd_background(y, settings.two_theta_min, settings.step, height, key0, key1, condition)
        else:
            bg.add_chebyshev_background(y, height, key0, key1, condition)
    if p[ln.AIR] > 0.0:
        bg.add_air_scatter(y, settings.two_theta_min, settings.step, p[ln.AIR] * top)
    if p[ln.AMORPHOUS] > 0.0:
        bg.add_amorphous(
            y, settings.two_theta_min, settings.step, settings.wavelength, p[ln.AMORPHOUS] * top, key0, key1, condition
        )
    if p[ln.UNIFORM] > 0.0:
        bg.add_uniform_noise(y, p[ln.UNIFORM] * top, key0, key1, condition, work)
    scale = np.float32(1.0)
    if p[ln.REMOVED] > 0.0:
        for i in range(len(y)):
            lines[i] = np.float32(p[ln.REMOVED]) * (y[i] - lines[i])
    if p[ln.COUNTS] < math.inf:
        scale = np.float32(p[ln.COUNTS] / bg.highest(y))
        bg.count(y, p[ln.COUNTS], key0, key1, condition, work)
    if p[ln.DETECTOR] > 0.0:
        bg.add_detector_noise(y, 0.01 * p[ln.DETECTOR], key0, key1, condition, work)
    if p[ln.REMOVED] > 0.0:
        for i in range(len(y)):
            y[i] -= scale * lines[i]
