"""Finds the crystals of a library that together make a pattern: several phases of one sample."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simxrd_hf.diffraction.effects import MARCH_AXES
from simxrd_hf.errors import BadInput
from simxrd_hf.indexing.line_finding import DOUBLET, bragg_profile, copper, find_lines
from simxrd_hf.matching import mixture_kernels
from simxrd_hf.matching import similarity_kernels as kernels
from simxrd_hf.matching.elements import ElementFilter
from simxrd_hf.matching.library import LineLibrary

FloatArray = NDArray[np.float64]
_Ranked = tuple[tuple[int, ...], float]
"""Places in the list of candidates, and the score."""

MOST_PHASES = 4

_EVERY = 2  # points of the grid of a model, of which are used: lines are smoothed and wider
_SCREEN_LINES = 24
_SCALES_PERCENT = np.arange(-4.0, 2.51, 0.5)  # of the cell: relaxed cells of DFT are rather too large
_SCREEN_BLUR = 0.008  # of ln d
_BY_GAIN, _BY_SHARE, _OF_MEASURED = 250, 100, 150  # crystals aligned: by what they explain, by how wholly, the same
_BLURS_DEG = (0.6, 0.3, 0.14)
_SPREAD = 0.02  # of strains, see `align`
_CLEAR = 1.5  # standard deviations of the noise that are taken off before amplitudes are compared
_KNOT_DEG = 5.0  # of the piecewise linear correction of the background
_OF_HEIGHT = 0.01  # variance that calculated intensities are off by, over intensity times the highest
_FLOOR = 0.004  # standard deviation of the background, over the highest line
_TAILS = (0.5, 0.1, 0.9)  # Lorentzian part of the lines: the first until one of them fits better
_USUAL_DEG = 0.15
_POINTS = 120.0  # how many independent points a pattern is taken to have, see `_Score`
_PER_PHASE, _PER_STRAIN = 10.0, 0.7
_CALCULATED, _PER_ELEMENT = 4.0, 2.0
_STRAIN_MEAN, _STRAIN_SPREAD = -0.003, 0.012
_MISSING_ELEMENT = 8.0
_POOL = 60  # best sets of two that a third phase is added to, best of three that a fourth is
_REFINED = (3, 6, 6, 4)  # sets of each size whose cells are fitted
_HOPELESS = 50.0  # score above the best fitted one at which a set is not worth a fit
_ROUNDS = 2
_TEXTURES = (0.5, 0.65, 0.8, 1.25, 1.6)
_TEXTURE_PAYS = 6.0
_SHAPED_BY, _ALONE_STEPS = 3, 8  # of `MixtureSearch.alone`


@dataclass(frozen=True)
class Phase:
    """One crystal of a mixture.

    Attributes:
        index: Its place in the library.
        crystal_id: Its name there.
        formula: Reduced formula.
        space_group: Number.
        weight_fraction: Of the crystals found, by the scales and the masses of the cells (Hill and Howard 1987).
        intensity_share: Part of the intensity above the background that is its.
        cell: Reduced primitive cell that fits the pattern, vectors as rows, Å (3, 3).
        volume_change: Its volume over that in the library, minus 1.
        similarity: Cosine of the square roots of its profile and of what the others leave of the pattern under it.
        width: Full width of its lines at half height times cos θ, degrees.
        march: r of March and Dollase, 1 without texture.
        march_axis: Indices of the reciprocal axis of `cell` that texture is about, or None.
    """

    index: int
    crystal_id: str
    formula: str
    space_group: int
    weight_fraction: float
    intensity_share: float
    cell: FloatArray
    volume_change: float
    similarity: float
    width: float
    march: float
    march_axis: tuple[int, int, int] | None


@dataclass(frozen=True, eq=False)
class Mixture:
    """Crystals that together make a pattern.

    Attributes:
        phases: By falling weight fraction.
        unexplained: Part of the intensity above the background that no phase explains.
        shift: Zero shift, degrees.
        displacement: Coefficient of cos θ of the shift by displacement, degrees.
        axis: 2θ, degrees (n_points,).
        observed: The pattern without background (n_points,), 0 where not measured.
        profiles: Of each phase (phases, n_points).
        ticks: 2θ of the lines of each phase.
        scores: Score of the best set of 0, 1, 2 … phases: lower is better; the fewest phases with the lowest are taken.
        alternatives: Other sets of crystals, by rising score, for each (score, crystal_ids).
    """

    phases: list[Phase]
    unexplained: float
    shift: float
    displacement: float
    axis: FloatArray
    observed: FloatArray
    profiles: FloatArray
    ticks: list[FloatArray]
    scores: list[float]
    alternatives: list[tuple[float, tuple[str, ...]]]


@dataclass
class _Model:
    """One crystal and how it is drawn."""

    index: int
    design: FloatArray
    origin: FloatArray
    basis: FloatArray
    parameters: FloatArray
    intensity: FloatArray
    width: float
    march: float = 1.0
    axis: int = -1

    def copy(self) -> "_Model":
        return replace(self, parameters=self.parameters.copy())

    @property
    def strain(self) -> float:
        """Mean relative change of the lengths of the cell."""
        (a, d, e), (_, b, f), (_, _, c) = np.tensordot(self.parameters, self.basis, 1).tolist()
        volume = a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)  # of the reciprocal metric
        return float(max(volume, 1e-30) ** (-1 / 6) - 1)


@dataclass
class _Set:
    """Crystals fitted together."""

    models: list[_Model]
    score: float = np.inf
    scales: FloatArray = field(default_factory=lambda: np.zeros(0))
    shift: float = 0.0
    displacement: float = 0.0

    @property
    def members(self) -> tuple[int, ...]:
        return tuple(sorted(one.index for one in self.models))


class MixtureSearch:
    """One pattern, and the crystals of a library that may be in it.

    A quick screen asks of every crystal what of the pattern it explains and what it would show that is not there; what
    else is in the pattern costs it nothing. The cells of the best are strained within the symmetry of the lattice to
    meet the lines, all pairs and the best threes and fours of them are fitted by non-negative least squares, the best
    of these by profiles with cells, widths, a zero shift and texture. Another phase has to lower

        n ln(weighted sum of squares) + a for each phase + b for each free strain + what speaks against a crystal,

    n, a, b having been chosen on simulated mixtures (`benchmarks/mixtures.py`).

    Args:
        intensity: (n_points,) on the grid.
        library: The crystals.
        grid: `two_theta_min`, `two_theta_max`, `step` (degrees), `wavelength` (Å).
        mask: (n_points,) True where measured; by default everywhere.
        elements: What is known of the elements.

    Raises:
        BadInput: The library is for another wavelength, or no crystal of it has only the elements allowed.
    """

    def __init__(
        self,
        intensity: ArrayLike,
        library: LineLibrary,
        grid: Mapping[str, float],
        mask: ArrayLike | None = None,
        *,
        elements: ElementFilter | None = None,
    ) -> None:
        self.library, self.grid = library, grid
        self._textures_known: dict[int, tuple[list[tuple[int, float]], FloatArray]] = {}
        self.wavelength, self.start, self.step = grid["wavelength"], grid["two_theta_min"], grid["step"]
        if abs(library.wavelength - self.wavelength) > 0.02:
            raise BadInput(
                f"library: made for {library.wavelength:g} Å, the pattern's grid is at {self.wavelength:g} Å"
            )
        self.elements = elements or ElementFilter()
        self.chosen = np.flatnonzero(self.elements.allows(library))
        lines = find_lines(intensity, grid, mask)
        profile = bragg_profile(intensity, grid, mask)
        self.empty = profile is None or not len(lines.two_theta)
        if profile is None or self.empty:
            return
        highest = float(profile.sharp[profile.measured].max())
        self.step *= _EVERY
        self.measured = profile.measured[::_EVERY]
        self.y = np.where(self.measured, profile.sharp[::_EVERY], 0.0) / highest
        self.whole = np.where(self.measured, profile.smooth[::_EVERY], 0.0) / highest
        noise = profile.noise[::_EVERY] / highest
        variance = noise**2 + _OF_HEIGHT * np.maximum(self.y, 0.0) + _FLOOR**2
        self.root_weight = np.where(self.measured, 1 / np.sqrt(variance), 0.0)
        self.clear = np.where(self.measured, np.maximum(self.y - _CLEAR * noise, 0.0), 0.0)
        wide = lines.width[(lines.height > 0.1 * lines.height.max()) & (lines.significance > 8.0)]
        self.width = float(np.median(wide)) if len(wide) else _USUAL_DEG
        n = len(self.y)
        self.axis: FloatArray = self.start + self.step * np.arange(n, dtype=np.float64)
        knots = np.linspace(self.axis[0], self.axis[-1], max(2, round((self.axis[-1] - self.axis[0]) / _KNOT_DEG)))
        hats = np.maximum(1 - np.abs(self.axis - knots[:, None]) / (knots[1] - knots[0]), 0.0)
        there = hats * self.root_weight
        there = there[(there**2).sum(axis=1) > 1e-9]
        self.ground = np.linalg.qr(there.T)[0].T  # (k, n), orthonormal
        self.target = self._projected(self.y[None])[0]
        self.total = float(self.target @ self.target)
        self.tail, self.with_background = _TAILS[0], False
        self.radiation = np.array([[1.0, 1.0]])
        if copper(self.wavelength):
            self.radiation = DOUBLET / [self.wavelength, 1.0]

    def _projected(self, curves: FloatArray) -> FloatArray:
        """Curves weighted, without what the background can be (m, n)."""
        weighted = curves * self.root_weight
        left: FloatArray = weighted - (weighted @ self.ground.T) @ self.ground
        return left

    # ---- candidates

    def _screened(self, left: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
        """Crystals that explain much of an amplitude along 2θ, and the scales of their cells."""
        library = self.library
        bins = np.arange(kernels.LOG_D_BINS)
        d = np.exp(kernels.LOG_D_MIN + kernels.LOG_D_STEP * bins)
        sine = self.wavelength / (2 * d)
        angle = np.where(sine < 1, 2 * np.degrees(np.arcsin(np.minimum(sine, 1))), 1e3)
        # a bin is narrower than a line nowhere but at low angles: take the highest point it may hold
        seen = np.interp(angle, self.axis, left, left=0.0, right=0.0)
        spread = np.empty_like(seen)
        mixture_kernels.hills(seen, round(_SCREEN_BLUR / kernels.LOG_D_STEP), spread)
        inside = np.flatnonzero((angle >= self.axis[self.measured][0]) & (angle <= self.axis[self.measured][-1]))
        shifts = np.rint(np.log1p(_SCALES_PERCENT / 100) / kernels.LOG_D_STEP).astype(np.int64)
        gain, share, which = mixture_kernels.screen(
            library.places,
            library.amplitude,
            library.counts,
            self.chosen,
            (spread / max(spread.max(), 1e-12)).astype(np.float32),
            shifts,
            _SCREEN_LINES,
            int(inside[0]),
            int(inside[-1]),
        )
        measured = library.measured[self.chosen]
        wholly = gain * np.maximum(share - 0.5, 0.0)
        picks = [
            _highest(gain, _BY_GAIN),
            _highest(wholly, _BY_SHARE),
            _highest(np.where(measured, gain, 0.0), _OF_MEASURED),
            _highest(np.where(measured, wholly, 0.0), _BY_SHARE),
        ]
        best = np.unique(np.concatenate(picks))
        best = best[gain[best] > 0]
        return self.chosen[best], 1 + _SCALES_PERCENT[which[best]] / 100

    def _aligned(self, left: FloatArray) -> list[_Model]:
        """Candidates with cells strained to meet an amplitude along 2θ."""
        seen = self._blurred(left)
        found = []
        for index, scale in zip(*self._screened(left), strict=True):
            model, value = self._model(int(index), float(scale), seen)
            if value > 0:
                found.append(model)
        return found

    def _blurred(self, left: FloatArray) -> FloatArray:
        """An amplitude along 2θ, widened as `mixture_kernels.align` wants it (3, n)."""
        maps = np.empty((len(_BLURS_DEG), len(left)))
        for blur, out in zip(_BLURS_DEG, maps, strict=True):
            mixture_kernels.hills(left, round(blur / self.step), out)
        return maps

    def _model(self, index: int, scale: float, seen: FloatArray) -> tuple[_Model, float]:
        """A crystal, its cell strained to meet what is seen, and how far it does; 0: not at all."""
        count = self.library.counts[index]
        cell = self.library.cells[index].astype(np.float64)
        hkl = self.library.hkl[index, :count]
        amplitude = self.library.amplitude[index, :count].astype(np.float64)
        parameters, value, design, origin, basis = mixture_kernels.align(
            cell, hkl, amplitude, scale, seen, self.start, self.step, self.wavelength, _SPREAD
        )
        return _Model(index, design, origin, basis, parameters, amplitude**2, self.width), value

    def alone(self, crystals: Sequence[tuple[int, float]]) -> FloatArray:
        """What crystals leave of the pattern, each by itself, its cell, width and shifts fitted.

        The shape of the lines is that found by `mixture`, if it was asked before; else that of the first crystals.

        Args:
            crystals: Places in the library, and scales of the cells to begin with.

        Returns:
            (n,) weighted sum of squares left, over that without any crystal.
        """
        if self.empty or not crystals:
            return np.ones(len(crystals))
        seen = self._blurred(np.sqrt(self.clear / self.clear.max()))
        sets = [_Set([self._model(index, scale, seen)[0]]) for index, scale in crystals]
        if not self.with_background:
            first = [self._fitted(one) for one in sets[:_SHAPED_BY]]
            self._shaped(min(first, key=lambda one: one.score))
            self._with_background()
        left = []
        for one in sets:
            fitted = self._fitted(one, _ALONE_STEPS)
            left.append(self._solve(fitted.models, fitted.shift, fitted.displacement)[1] / self.total)
        return np.array(left)

    # ---- drawing and scores

    def _drawn(
        self, model: _Model, shift: float = 0.0, displacement: float = 0.0, *, derivatives: bool = False
    ) -> FloatArray:
        """Profile (1, n), or that and its derivatives (4 + f, n), see `mixture_kernels.draw`."""
        out = np.empty((4 + len(model.parameters) if derivatives else 1, len(self.y)))
        mixture_kernels.draw(
            model.design, model.parameters, self._intensity(model), shift, displacement, model.width, self.tail,
            self.radiation, self.start, self.step, self.wavelength, out,
        )  # fmt: skip
        return out

    def _drawn_lines(self, model: _Model, shift: float, displacement: float) -> FloatArray:
        """Profile of each line of unit intensity (m, n)."""
        out = np.empty((len(model.design), len(self.y)))
        row = np.empty((1, len(self.y)))
        one = np.ones(1)
        for line in range(len(model.design)):
            mixture_kernels.draw(
                model.design[line : line + 1], model.parameters, one, shift, displacement, model.width, self.tail,
                self.radiation, self.start, self.step, self.wavelength, row,
            )  # fmt: skip
            out[line] = row[0]
        return out

    def _intensity(self, model: _Model) -> FloatArray:
        if model.axis < 0:
            return model.intensity
        options, factors = self._textures(model.index)
        textured: FloatArray = model.intensity * factors[options.index((model.axis, model.march))]
        return textured

    @cached_property
    def _against(self) -> FloatArray:
        """What speaks against each crystal beforehand (n,)."""
        kinds = np.array([len(one) for one in self.library.elements], dtype=np.float64)
        return np.where(self.library.measured, 0.0, _CALCULATED) + _PER_ELEMENT * kinds

    def _cost(self, model: _Model) -> float:
        off = (model.strain - _STRAIN_MEAN) / _STRAIN_SPREAD
        texture = _TEXTURE_PAYS if model.axis >= 0 else 0.0
        return float(_PER_PHASE + _PER_STRAIN * len(model.origin) + off * off + self._against[model.index] + texture)

    def _set_cost(self, models: Sequence[_Model]) -> float:
        there = set().union(*(self.library.elements[one.index] for one in models)) if models else set()
        return sum(self._cost(one) for one in models) + _MISSING_ELEMENT * len(self.elements.present - there)

    def _score(self, square: float, cost: float) -> float:
        return _POINTS * float(np.log(max(square, 1e-9 * self.total) / self.total)) + cost

    # ---- sets

    def _best_sets(self, pool: list[_Model], most: int) -> list[list[_Ranked]]:
        """The best sets of 1 … `most` candidates, by scores without a new fit of cells."""
        drawn = self._projected(np.stack([self._drawn(one)[0] for one in pool]))
        gram, right = drawn @ drawn.T, drawn @ self.target
        own = np.array([self._cost(one) for one in pool])
        elements = [self.library.elements[one.index] for one in pool]
        missing = [self.elements.present - one for one in elements]
        diagonal = np.diag(gram).copy()
        square = self.total - np.maximum(right, 0) ** 2 / diagonal
        first = _POINTS * np.log(np.maximum(square, 1e-9) / self.total) + own
        lacking = np.array([_MISSING_ELEMENT * len(one) for one in missing])
        first = first + lacking
        result: list[list[_Ranked]] = [[((int(i),), float(first[i])) for i in np.argsort(first, kind="stable")[:_POOL]]]
        m = len(pool)
        if most < 2 or m < 2:
            return result
        # all pairs: both scales positive, or the pair is no better than one of them
        a, b = np.triu_indices(m, 1)
        det = diagonal[a] * diagonal[b] - gram[a, b] ** 2
        s = (right[a] * diagonal[b] - right[b] * gram[a, b]) / np.maximum(det, 1e-12)
        t = (right[b] * diagonal[a] - right[a] * gram[a, b]) / np.maximum(det, 1e-12)
        good = (s > 0) & (t > 0) & (det > 1e-3 * diagonal[a] * diagonal[b])
        square = np.where(good, self.total - s * right[a] - t * right[b], np.inf)
        score = _POINTS * np.log(np.maximum(square, 1e-9) / self.total) + own[a] + own[b]
        if self.elements.present:
            bit = {e: 1 << k for k, e in enumerate(sorted(self.elements.present))}
            codes = np.array([sum(bit[e] for e in one) for one in missing])
            ones = np.array([bin(v).count("1") for v in range(1 << len(bit))])
            score = score + _MISSING_ELEMENT * ones[codes[a] & codes[b]]
        order = np.argsort(score, kind="stable")[:_POOL]
        order = order[np.isfinite(score[order])]
        current: list[_Ranked] = [((int(a[k]), int(b[k])), float(score[k])) for k in order]
        result.append(current)
        for _size in range(3, most + 1):
            best: dict[tuple[int, ...], float] = {}
            for base, _ in current:
                for key, value in self._extended(base, gram, right, own, missing):
                    best[key] = min(best.get(key, np.inf), value)
            current = sorted(best.items(), key=lambda entry: entry[1])[:_POOL]
            if not current:
                break
            result.append(current)
        return result

    def _extended(
        self, base: tuple[int, ...], gram: FloatArray, right: FloatArray, own: FloatArray, missing: list[frozenset[str]]
    ) -> list[_Ranked]:
        """Sets of `base` and one more, with scores: the few best."""
        rows = list(base)
        inverse = np.linalg.pinv(gram[np.ix_(rows, rows)])
        cross = gram[:, rows] @ inverse  # (m, k)
        left = right - cross @ right[rows]
        schur = np.diag(gram) - (cross * gram[:, rows]).sum(axis=1)
        good = (left > 0) & (schur > 1e-3 * np.diag(gram))
        good[rows] = False
        new = np.where(good, left / np.maximum(schur, 1e-12), 0.0)
        scales = (inverse @ right[rows])[None] - new[:, None] * cross
        good &= (scales > 0).all(axis=1)
        square = self.total - right[rows] @ inverse @ right[rows] - np.where(good, left * new, 0.0)
        cost = own[rows].sum() + own
        if self.elements.present:
            lacking = frozenset.intersection(*(missing[k] for k in rows))
            cost = cost + _MISSING_ELEMENT * np.array([len(lacking & one) for one in missing])
        score = np.where(good, _POINTS * np.log(np.maximum(square, 1e-9) / self.total) + cost, np.inf)
        best = _highest(-score, 12)
        return [(tuple(sorted((*base, int(k)))), float(score[k])) for k in best if np.isfinite(score[k])]

    # ---- fits

    def _fitted(self, start: _Set, iterations: int = 7) -> _Set:
        """Cells, widths, zero shift and displacement of a set by damped least squares, scales and background linear."""
        models = [one.copy() for one in start.models]
        shift, displacement = start.shift, start.displacement
        scales, square = self._solve(models, shift, displacement)
        damping = 1e-3
        for _ in range(iterations):
            drawn = [self._drawn(one, shift, displacement, derivatives=True) for one in models]
            columns, prior, pull = [], [], []
            columns.append(sum(s * d[1] for s, d in zip(scales, drawn, strict=True)))
            columns.append(sum(s * d[2] for s, d in zip(scales, drawn, strict=True)))
            prior += [0.04, 0.06]
            pull += [-shift, -displacement]
            for s, d, model in zip(scales, drawn, models, strict=True):
                columns.append(s * d[3])
                prior.append(0.5)
                pull.append(np.log(self.width / model.width))
                for k in range(len(model.parameters)):
                    columns.append(s * d[4 + k])
                    prior.append(0.03)
                    pull.append(model.origin[k] - model.parameters[k])
            nonlinear = len(columns)
            columns += [d[0] for d in drawn]
            jacobian = np.stack(columns) * self.root_weight
            grounds = jacobian @ self.ground.T
            # a prior counts as much as the fit is good: the variance is that of the residual
            variance = square / _POINTS
            normal = jacobian @ jacobian.T - grounds @ grounds.T
            gradient = jacobian @ self.target - normal[:, nonlinear:] @ scales
            stiff = np.array(prior) ** -2 * variance
            normal[np.arange(nonlinear), np.arange(nonlinear)] += stiff
            gradient[:nonlinear] += stiff * np.array(pull)
            before = square + float(stiff @ np.array(pull) ** 2)
            for _attempt in range(4):
                damped = normal + damping * np.diag(np.diag(normal)) + 1e-12 * np.eye(len(normal))
                step = np.linalg.solve(damped, gradient)
                trial = [one.copy() for one in models]
                new_shift = float(np.clip(shift + step[0], -0.25, 0.25))
                new_displacement = float(np.clip(displacement + step[1], -0.35, 0.35))
                place = 2
                for one in trial:
                    one.width = float(np.clip(one.width * np.exp(np.clip(step[place], -0.5, 0.5)), 0.04, 1.5))
                    free = len(one.parameters)
                    change = np.clip(step[place + 1 : place + 1 + free], -0.02, 0.02)
                    one.parameters = one.parameters + change
                    place += 1 + free
                new = self._solve(trial, new_shift, new_displacement)
                off = [-new_shift, -new_displacement]
                for one in trial:
                    off += [np.log(self.width / one.width), *(one.origin - one.parameters)]
                after = new[1] + float(stiff @ np.array(off) ** 2)
                if after < before:
                    break
                damping *= 8
            else:
                break
            models, shift, displacement = trial, new_shift, new_displacement
            scales, square = new
            damping = max(damping / 6, 1e-6)
            if before - after < 1e-3 * before:
                break
        return _Set(models, self._score(square, self._set_cost(models)), scales, shift, displacement)

    def _solve(self, models: Sequence[_Model], shift: float, displacement: float) -> tuple[FloatArray, float]:
        """Non-negative scales, and the weighted sum of squares."""
        drawn = np.stack([self._drawn(one, shift, displacement)[0] for one in models]) * self.root_weight
        grounds = drawn @ self.ground.T
        gram, right = drawn @ drawn.T - grounds @ grounds.T, drawn @ self.target
        [scales] = _non_negative(gram[None], right[None])
        return scales, float(self.total - 2 * scales @ right + scales @ gram @ scales)

    def _textured(self, start: _Set) -> _Set:
        """Texture of each phase in turn, as far as it pays."""
        best = start
        for place in range(len(start.models)):
            if best.scales[place] <= 0:
                continue
            others = [
                self._drawn(one, best.shift, best.displacement)[0] for k, one in enumerate(best.models) if k != place
            ]
            fixed = self._projected(np.stack(others)) if others else np.zeros((0, len(self.y)))
            base = [one.copy() for one in best.models]
            plain = replace(base[place], axis=-1, march=1.0)
            textures, factors = self._textures(plain.index)
            # every line by itself: texture is a factor of each
            lines = self._drawn_lines(plain, best.shift, best.displacement) * self.root_weight
            grounds = lines @ self.ground.T
            among = lines @ lines.T - grounds @ grounds.T
            each = plain.intensity * factors  # (options, lines)
            gram = np.empty((len(each), len(fixed) + 1, len(fixed) + 1))
            gram[:, :-1, :-1] = fixed @ fixed.T
            gram[:, :-1, -1] = gram[:, -1, :-1] = each @ (lines @ fixed.T)
            gram[:, -1, -1] = ((each @ among) * each).sum(axis=1)
            right = np.empty(gram.shape[:2])
            right[:, :-1] = fixed @ self.target
            right[:, -1] = each @ (lines @ self.target)
            scales = _non_negative(gram, right)
            squares = self.total - 2 * (scales * right).sum(axis=1) + np.einsum("oi,oij,oj->o", scales, gram, scales)
            cost = self._set_cost([*base[:place], plain, *base[place + 1 :]])
            values = [self._score(float(square), cost + _TEXTURE_PAYS * (k > 0)) for k, square in enumerate(squares)]
            chosen = int(np.argmin(values))
            if values[chosen] < best.score:
                axis, march = textures[chosen]
                base[place] = replace(plain, axis=axis, march=march)
                new, square = self._solve(base, best.shift, best.displacement)
                best = _Set(base, self._score(square, self._set_cost(base)), new, best.shift, best.displacement)
        return best

    def _textures(self, index: int) -> tuple[list[tuple[int, float]], FloatArray]:
        """Axes and r of the textures that are tried of a crystal, none first, and the factors of its lines (o, m)."""
        if index not in self._textures_known:
            hkl = self.library.hkl[index, : self.library.counts[index]]
            cell = self.library.cells[index].astype(np.float64)
            options = [(-1, 1.0), *itertools.product(self._axes(cell, hkl), _TEXTURES)]
            factors = np.ones((len(options), len(hkl)))
            for row, (axis, march) in zip(factors[1:], options[1:], strict=True):
                row[:] = mixture_kernels.texture(cell, hkl, MARCH_AXES[axis], march)
            self._textures_known[index] = options, factors
        return self._textures_known[index]

    def _axes(self, cell: FloatArray, hkl: NDArray[np.int8]) -> list[int]:
        """Those that are not equivalent by the symmetry of the lattice."""
        seen: list[FloatArray] = []
        found = []
        for axis in range(len(MARCH_AXES)):
            factor = mixture_kernels.texture(cell, hkl, MARCH_AXES[axis], 0.7)
            if np.ptp(factor) > 0.05 and all(np.abs(factor - other).max() > 0.02 for other in seen):
                seen.append(factor)
                found.append(axis)
        return found

    # ---- the search

    def mixture(self, *, phases: int | None = None, most: int = MOST_PHASES) -> Mixture:
        """The crystals that explain the pattern.

        Args:
            phases: So many, whatever pays; by default as many as pay.
            most: At most so many.
        """
        if self.empty:
            return _nothing(self)
        most = phases or most
        pool = self._aligned(np.sqrt(self.clear / self.clear.max()))
        best: dict[int, list[_Set]] = {}
        for turn in range(_ROUNDS):
            if not pool:
                break
            for size, sets in enumerate(self._best_sets(pool, most), start=1):
                lowest = min((one.score for sets_of in best.values() for one in sets_of), default=np.inf)
                for chosen, score in self._distinct(sets, pool, _REFINED[size - 1]):
                    if score > lowest + _HOPELESS and best.get(size):
                        break
                    models = [pool[k] for k in chosen]
                    key = tuple(sorted(one.index for one in models))
                    if any(key == one.members for one in best.get(size, [])):
                        continue
                    fitted = self._fitted(_Set([one.copy() for one in models]))
                    textured = self._textured(fitted)
                    if textured is not fitted:
                        textured = self._fitted(textured, 4)
                    best.setdefault(size, []).append(textured)
                best.get(size, []).sort(key=lambda one: one.score)
            if turn + 1 < _ROUNDS:
                if self._shaped(min((sets[0] for sets in best.values()), key=lambda one: one.score)):
                    for fits in best.values():  # scores by another shape are not to be compared with
                        fits[:] = sorted((self._fitted(one, 3) for one in fits[:4]), key=lambda one: one.score)
                pool = self._enriched(pool, best)
        if not best:
            return _nothing(self)
        scores = [self._score(self.total, self._set_cost([]))]
        for size in range(1, most + 1):
            scores.append(best[size][0].score if best.get(size) else np.inf)
        size = phases if phases is not None and best.get(phases) else int(np.argmin(scores[1:])) + 1
        self._with_background()
        answer = self._fitted(best[size][0], 12)
        every = sorted((one for sets in best.values() for one in sets), key=lambda one: one.score)
        others = [(one.score, tuple(str(self.library.crystal_id[k]) for k in one.members)) for one in every]
        return self._described(answer, scores, others)

    def _with_background(self) -> None:
        """From now on fit the pattern with its background: an opening takes some of crowded lines for background.

        The background is piecewise linear; it is taken off again for what is shown.
        """
        self.target = self._projected(self.whole[None])[0]
        self.total = float(self.target @ self.target)
        self.with_background = True

    def _shaped(self, fitted: _Set) -> bool:
        """Choose the shape of the lines that fits a set best; whether it is another one."""
        scores = {}
        for self.tail in _TAILS:
            scores[self.tail] = self._fitted(fitted, 3).score
        self.tail = min(scores, key=lambda tail: scores[tail])
        return self.tail != _TAILS[0]

    def _distinct(self, sets: list[_Ranked], pool: list[_Model], count: int) -> list[_Ranked]:
        """The first few sets, of those of the same formulas and groups one."""
        chosen: dict[tuple[tuple[str, int], ...], tuple[tuple[int, ...], float]] = {}
        for members, score in sets:
            of = [pool[k].index for k in members]
            name = tuple(sorted((str(self.library.formula[k]), int(self.library.space_group[k])) for k in of))
            chosen.setdefault(name, (members, score))
            if len(chosen) == count:
                break
        return list(chosen.values())

    def _enriched(self, pool: list[_Model], best: dict[int, list[_Set]]) -> list[_Model]:
        """Candidates, with those for what the best sets leave, and with the cells that were fitted."""
        made = {one.index: one for one in pool}
        every = sorted((one for sets in best.values() for one in sets), key=lambda one: one.score)
        for chosen in every[:3]:
            model = sum(
                s * self._drawn(one, chosen.shift, chosen.displacement)[0]
                for s, one in zip(chosen.scales, chosen.models, strict=True)
            )
            left = np.maximum(self.clear - 1.15 * model, 0.0)
            if left.max() <= 0.01:
                continue
            for one in self._aligned(np.sqrt(left / left.max())):
                made.setdefault(one.index, one)
        for chosen in reversed(every[:10]):
            for one in chosen.models:
                made[one.index] = one
        return list(made.values())

    def _described(self, answer: _Set, scores: list[float], others: list[tuple[float, tuple[str, ...]]]) -> Mixture:
        drawn = np.stack([self._drawn(one, answer.shift, answer.displacement)[0] for one in answer.models])
        profiles = answer.scales[:, None] * drawn * self.measured
        whole = np.maximum(self.y, 0.0)
        masses = answer.scales / self.library.strength[[one.index for one in answer.models]]
        masses = masses * [self._normalised(one) for one in answer.models]
        total = profiles.sum(axis=0)
        missing = float(np.maximum(self.clear - total, 0.0).sum() / max(self.clear.sum(), 1e-12))
        phases = []
        for k, one in enumerate(answer.models):
            library, index = self.library, one.index
            left = np.maximum(self.y - (total - profiles[k]), 0.0)
            under = profiles[k] > 1e-3 * profiles[k].max()
            a, b = np.sqrt(left[under]), np.sqrt(profiles[k][under])
            cell = library.cells[index].astype(np.float64)
            tensor = np.sum(one.parameters[:, None, None] * one.basis, axis=0)
            cell = cell @ np.linalg.inv(np.linalg.cholesky(tensor)).T if len(one.parameters) else cell
            similarity = float(a @ b / max(np.sqrt((a @ a) * (b @ b)), 1e-12))
            phases.append(
                Phase(
                    index,
                    str(library.crystal_id[index]),
                    str(library.formula[index]),
                    int(library.space_group[index]),
                    float(masses[k] / max(masses.sum(), 1e-30)),
                    float(profiles[k].sum() / max(whole.sum(), 1e-12)),
                    cell,
                    float(np.linalg.det(tensor) ** -0.5 - 1),
                    similarity,
                    one.width,
                    one.march,
                    None if one.axis < 0 else tuple(int(v) for v in MARCH_AXES[one.axis]),  # type: ignore[arg-type]
                )
            )
        order = sorted(range(len(phases)), key=lambda k: -phases[k].weight_fraction)
        ticks = []
        for k in order:
            one = answer.models[k]
            sine = self.wavelength * np.sqrt(np.maximum(one.design @ one.parameters, 0))
            theta = np.arcsin(np.minimum(sine, 1))
            ticks.append(np.sort(np.degrees(2 * theta) + answer.shift + answer.displacement * np.cos(theta)))
        return Mixture(
            [phases[k] for k in order],
            missing,
            answer.shift,
            answer.displacement,
            self.axis,
            self.y,
            profiles[order],
            ticks,
            scores,
            others,
        )

    def _normalised(self, model: _Model) -> float:
        """Mass by scale in the strained cell: intensities go with 1 / V², masses by cell with V."""
        return (1 + model.strain) ** 3


def _non_negative(gram: FloatArray, right: FloatArray) -> FloatArray:
    """Scales ≥ 0 of few curves by least squares, of many such fits (o, m, m), (o, m): the best of all subsets."""
    best = _solved(gram + 1e-12 * np.eye(right.shape[1]), right)
    rest = np.flatnonzero(~(best >= 0).all(axis=1))  # else no subset can be better
    if not len(rest):
        return best
    gram, right = gram[rest], right[rest]
    part, value = np.zeros(right.shape), np.zeros(len(rest))
    for size in range(1, right.shape[1]):
        for rows in map(list, itertools.combinations(range(right.shape[1]), size)):
            among, wanted = gram[:, rows][:, :, rows], right[:, rows]
            scales = _solved(among + 1e-12 * np.eye(size), wanted)
            explained = (scales * (2 * wanted - (among @ scales[..., None])[..., 0])).sum(axis=1)
            better = (scales >= 0).all(axis=1) & (explained > value)
            value[better], part[better] = explained[better], 0.0
            part[np.ix_(better, rows)] = scales[better]
    best[rest] = part
    return best


def _solved(matrices: FloatArray, right: FloatArray) -> FloatArray:
    """Solutions (o, m) of systems (o, m, m), (o, m); nan where there is none."""
    try:
        found = np.asarray(np.linalg.solve(matrices, right[..., None])[..., 0], dtype=np.float64)
    except np.linalg.LinAlgError:
        if len(right) == 1:
            return np.full(right.shape, np.nan)
        return np.concatenate([_solved(matrices[k : k + 1], right[k : k + 1]) for k in range(len(right))])
    return found


def _highest(values: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """Where the highest values are; all, where there are no more."""
    return np.arange(len(values)) if len(values) <= count else np.argpartition(-values, count)[:count]


def _nothing(search: MixtureSearch) -> Mixture:
    n = round((search.grid["two_theta_max"] - search.start) / search.step) + 1
    axis: FloatArray = search.start + search.step * np.arange(n, dtype=np.float64)
    observed = np.zeros(n) if search.empty else search.y
    return Mixture([], 1.0, 0.0, 0.0, axis, observed, np.zeros((0, n)), [], [0.0], [])
