"""One measured pattern: the `Pattern` every reader ends in, its axis, its wavelength, and the checks it must pass."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.diffraction.scattering import KALPHA
from simxrd_hf.errors import BadInput

ANODES = KALPHA
KALPHA_RATIO = 0.5  # I(Kα2) / I(Kα1) where a file gives none

AXES = ("two_theta", "two_theta_radians", "d", "q", "q_nm")
# An axis of d or q carries no wavelength; its angles are then written for this one (the Kα average of copper, as on
# the models' own grid) or one that reaches all points, which loses nothing: resampling goes back through d.
NOMINAL_WAVELENGTH = 1.54184

MIN_POINTS = 10
MAX_POINTS = 500_000
MAX_INTENSITY = 1e12
_WAVELENGTH_RANGE = (0.05, 5.0)

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pattern:
    """A measured powder pattern.

    Attributes:
        two_theta: 2θ in degrees, float64, shape (n,), strictly increasing, within (0, 180).
        intensity: Intensity, float64, shape (n,), finite; may be negative where a background was taken off.
        wavelength: Effective wavelength in Å (the weighted Kα average where both lines reach the detector), or None
            when neither the file nor the caller gave one.
        unit: "counts", "cps" or "arbitrary".
        metadata: What else the file says; among it `kalpha1`, `kalpha2`, `kalpha_ratio` where the pattern holds both.
        warnings: What was doubtful or mended while reading, one sentence each.
        path: Where it came from; used in messages.
    """

    two_theta: FloatArray
    intensity: FloatArray
    wavelength: float | None = None
    unit: str = "arbitrary"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    path: str = "pattern"

    def __post_init__(self) -> None:
        two_theta = np.ascontiguousarray(self.two_theta, dtype=np.float64)
        intensity = np.ascontiguousarray(self.intensity, dtype=np.float64)
        if two_theta.ndim != 1 or two_theta.shape != intensity.shape:
            raise BadInput(
                f"{self.path}: 2θ has shape {two_theta.shape}, intensity {intensity.shape}; both must be (n,)"
            )
        if len(two_theta) < MIN_POINTS:
            raise BadInput(f"{self.path}: only {len(two_theta)} points; a pattern needs at least {MIN_POINTS}")
        if not np.isfinite(two_theta).all() or not np.isfinite(intensity).all():
            raise BadInput(f"{self.path}: 2θ or intensity holds NaN or infinity")
        if (np.diff(two_theta) <= 0).any():
            raise BadInput(f"{self.path}: 2θ must increase from point to point")
        if two_theta[0] <= 0 or two_theta[-1] >= 180:
            raise BadInput(f"{self.path}: 2θ runs {two_theta[0]:g}…{two_theta[-1]:g}°, outside 0…180°")
        object.__setattr__(self, "two_theta", two_theta)
        object.__setattr__(self, "intensity", intensity)

    def __len__(self) -> int:
        return len(self.two_theta)

    def __repr__(self) -> str:
        wavelength = "?" if self.wavelength is None else f"{self.wavelength:.5f}"
        return (
            f"Pattern({self.path!r}, {len(self)} points, 2θ {self.two_theta[0]:g}…{self.two_theta[-1]:g}°, "
            f"λ {wavelength} Å, {self.unit})"
        )

    def require_wavelength(self) -> float:
        """The wavelength in Å.

        Raises:
            BadInput: neither the file nor the caller gave one; it is never assumed.
        """
        if self.wavelength is None:
            raise BadInput(
                f"{self.path}: the file does not say the wavelength; give it (wavelength in Å, as --wavelength 1.5406) "
                f"or the tube (--anode {'|'.join(ANODES)})"
            )
        return self.wavelength

    @property
    def d(self) -> FloatArray:
        """Lattice spacing of each point in Å, shape (n,), decreasing; d = λ / (2 sin θ)."""
        return self.require_wavelength() / (2 * np.sin(np.radians(self.two_theta / 2)))

    def replace(self, **changes: Any) -> "Pattern":
        """A copy with some attributes changed."""
        return replace(self, **changes)


@dataclass
class Range:
    """What a reader found for one scan range, before any check: raw columns and what the file says of them.

    Attributes:
        x: Axis values in the unit `axis` names, shape (n,).
        y: Intensities, shape (n,).
        axis: One of `AXES`.
        axis_declared: Whether the file itself names the axis.
        ask: Why the axis is none of `AXES` unless the caller says which; None where nothing speaks against it.
        wavelength: Effective wavelength, Å.
        unit: "counts", "cps" or "arbitrary".
        time_s: Counting time per point in seconds.
        metadata: Further facts.
        places: For messages: line number (or byte offset, or point number) of each row, shape (n,).
        place: What `places` counts: "line", "offset" or "point".
        repeat: The file declares this range a repetition of the one before, to be added to it.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    axis: str = "two_theta"
    axis_declared: bool = True
    ask: str | None = None
    wavelength: float | None = None
    unit: str = "arbitrary"
    time_s: float | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    places: NDArray[Any] | None = None
    place: str = "point"
    repeat: bool = False

    def at(self, index: int) -> str:
        """Name row `index` for a message."""
        return f"{self.place} {int(index) + 1 if self.places is None else int(self.places[index])}"


def without_missing(item: Range, missing: NDArray[np.bool_], why: str, warnings: list[str]) -> Range:
    """A range without the points that were never measured, and a note that says so.

    Args:
        item: As read.
        missing: Which points hold a mark instead of a measurement, shape (n,).
        why: What the mark is.
        warnings: Takes the note.
    """
    if not missing.any():
        return item
    count, last = int(missing.sum()), int(np.flatnonzero(~missing)[-1]) + 1 if not missing.all() else 0
    tail = bool(missing[last:].all()) and count == len(missing) - last
    note = f"{count} of {len(missing)} points were not measured ({why}) and are left out"
    if tail and last:
        note += f": the scan is unfinished, it ends at {float(np.asarray(item.x)[last - 1]):g}"
    warnings.append(note)
    keep = ~missing
    places = None if item.places is None else np.asarray(item.places)[keep]
    return replace(item, x=np.asarray(item.x)[keep], y=np.asarray(item.y)[keep], places=places)


def without_zero_tail(item: Range, warnings: list[str]) -> Range:
    """A scan of counts without the zeros an aborted measurement leaves at its end.

    Zeros are taken for such a tail where as many points before them hold none: by counting statistics a detector that
    still saw something would not have fallen silent at once.
    """
    y = np.asarray(item.y)
    nonzero = np.flatnonzero(y != 0)
    if len(nonzero) == 0:
        return item
    end = int(nonzero[-1]) + 1
    tail = len(y) - end
    if tail < 10 or end < tail // 2 or (y[max(0, end - max(20, tail // 2)) : end] <= 0).any():
        return item
    return without_missing(item, np.arange(len(y)) >= end, "zeros to the end", warnings)


def mean_kalpha(kalpha1: float, kalpha2: float, ratio: float = KALPHA_RATIO) -> float:
    """Intensity-weighted Kα wavelength in Å."""
    return (kalpha1 + ratio * kalpha2) / (1 + ratio)


def anode_wavelength(anode: str) -> float:
    """Mean Kα wavelength in Å of a tube with this anode.

    Raises:
        BadInput: anode not in `ANODES`.
    """
    name = anode.strip().capitalize()
    if name not in ANODES:
        raise BadInput(f"anode {anode!r} is not known; choose one of {', '.join(ANODES)} or give the wavelength in Å")
    return mean_kalpha(*ANODES[name])


def plausible_wavelength(value: float | None) -> float | None:
    """The value when it can be an X-ray or neutron wavelength in Å (0.05 … 5), else None."""
    if value is None or not np.isfinite(value) or not _WAVELENGTH_RANGE[0] <= value <= _WAVELENGTH_RANGE[1]:
        return None
    return float(value)


def emission(
    kalpha1: float | None,
    kalpha2: float | None = None,
    ratio: float | None = None,
    *,
    anode: str | None = None,
    line: str | None = None,
    monochromatic: bool = False,
) -> tuple[float | None, dict[str, Any]]:
    """Effective wavelength of a tube, from whatever a file says about it.

    Args:
        kalpha1: Kα1 (or the only wavelength), Å.
        kalpha2: Kα2, Å.
        ratio: I(Kα2) / I(Kα1); `KALPHA_RATIO` where a file gives none.
        anode: Chemical symbol; used when no wavelength is given.
        line: The line that is used, in the file's words ("Ka1", "K-Alpha", "Ka1+Ka2"): a lone Kα1 leaves no Kα2.
        monochromatic: Only Kα1 reaches the detector.

    Returns:
        (effective wavelength or None, metadata with `anode`, `kalpha1`, `kalpha2`, `kalpha_ratio` as far as known).
    """
    facts: dict[str, Any] = {}
    name = (anode or "").strip().strip("\0").capitalize()
    if name in ANODES:
        facts["anode"] = name
    first, second = plausible_wavelength(kalpha1), plausible_wavelength(kalpha2)
    if first is None and name in ANODES:
        first, second = ANODES[name]
    if first is None:
        return None, facts
    doublet = second is not None and 0 < (second - first) / first < 0.02
    monochromatic = monochromatic or bool(re.fullmatch(r"k[\s_-]*(?:alpha|α|a)[\s_-]*1", (line or "").strip(), re.I))
    ratio = KALPHA_RATIO if ratio is None or not 0 <= ratio <= 1 else float(ratio)
    if not doublet or monochromatic or ratio == 0:
        return first, facts
    assert second is not None
    facts.update(kalpha1=first, kalpha2=second, kalpha_ratio=ratio)
    return mean_kalpha(first, second, ratio), facts


def _nominal(ranges: Sequence[Range], axis: str | None) -> float:
    """A wavelength at which every point of axes in d or q has an angle: `NOMINAL_WAVELENGTH`, or a shorter one."""
    longest = NOMINAL_WAVELENGTH
    for item in ranges:
        x, kind = np.asarray(item.x, dtype=np.float64), axis or item.axis
        x = x[np.isfinite(x) & (x > 0)]
        if len(x) and kind in {"d", "q", "q_nm"}:
            spacing = float(x.min()) if kind == "d" else 2 * np.pi / float(x.max()) * (10 if kind == "q_nm" else 1)
            if 2 * spacing < NOMINAL_WAVELENGTH * 1.0001:
                longest = min(longest, max(2 * spacing * np.sin(np.radians(75)), _WAVELENGTH_RANGE[0]))
    return longest


def _to_two_theta(
    item: Range, axis: str, wavelength: float | None, nominal: float, path: str
) -> tuple[FloatArray, float | None]:
    """Angles in degrees and the wavelength they hold for."""
    x = item.x
    if axis == "two_theta":
        return x, wavelength
    if axis == "two_theta_radians":
        return np.degrees(x), wavelength
    used = wavelength if wavelength is not None else nominal
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if axis == "d":
            sine = used / (2 * x)
        else:
            sine = (x if axis == "q" else x / 10) * used / (4 * np.pi)
        sine = np.where((sine > 0) & (sine < 1), sine, np.nan)
        two_theta = 2 * np.degrees(np.arcsin(sine))
    if not np.isfinite(two_theta).any():
        raise BadInput(f"{path}: no point of the {axis} axis can be reached at {used:g} Å; is the axis really {axis}?")
    return two_theta, used


def _clean(
    item: Range, axis: str | None, wavelength: float | None, nominal: float, path: str, warnings: list[str]
) -> Range:
    """One range with 2θ in degrees, increasing, finite; everything mended is written to `warnings`."""
    x, y = np.asarray(item.x, dtype=np.float64), np.asarray(item.y, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise BadInput(f"{path}: {x.size} axis values but {y.size} intensities; the file is damaged or cut short")
    if len(x) > MAX_POINTS:
        raise BadInput(f"{path}: {len(x):,} points; more than {MAX_POINTS:,} is no powder pattern")
    places = np.arange(1, len(x) + 1) if item.places is None else np.asarray(item.places)
    item = replace(item, x=x, y=y, places=places)

    bad = ~(np.isfinite(x) & np.isfinite(y))
    if bad.any():
        first = item.at(int(np.flatnonzero(bad)[0]))
        if bad.mean() > 0.1:
            raise BadInput(f"{path}: {bad.sum()} of {len(x)} rows have no number (first: {first}); mend the file")
        warnings.append(f"{bad.sum()} rows without a finite number left out (first: {first})")
        item = replace(item, x=x[~bad], y=y[~bad], places=places[~bad])
    if len(item.x) == 0:
        raise BadInput(f"{path}: no data points")
    wild = np.abs(item.y) > MAX_INTENSITY
    if wild.any():
        index = int(np.flatnonzero(wild)[0])
        raise BadInput(f"{path}: intensity {item.y[index]:.3g} at {item.at(index)} cannot be a count; damaged file?")

    kind = axis or item.axis
    top = float(item.x.max())
    which = f"say which it is (axis=, --axis {'|'.join(AXES)})"
    if axis is None and item.ask is not None:
        raise BadInput(f"{path}: {item.ask}; convert it, or {which}")
    if axis is None and not item.axis_declared and len(item.x) >= MIN_POINTS:
        if top <= 2 * np.pi:
            raise BadInput(
                f"{path}: the axis runs {item.x.min():g}…{top:g} without a unit: radians, d, q or very small angles? "
                + which.capitalize()
            )
        if np.median(np.diff(item.x)) < 0:
            raise BadInput(
                f"{path}: the axis falls from {item.x[0]:g} to {item.x[-1]:g} without a unit: d, or a scan towards low "
                f"angles? {which.capitalize()}"
            )
    given = wavelength if wavelength is not None else item.wavelength
    two_theta, used = _to_two_theta(item, kind, given, nominal, path)
    limit = {"two_theta": 180.0, "two_theta_radians": 180.0}.get(kind)
    if limit is not None and two_theta.max() >= limit:
        index = int(np.argmax(two_theta))
        raise BadInput(
            f"{path}: 2θ reaches {two_theta[index]:g}° at {item.at(index)}; not an angle in degrees. "
            f"If the axis is something else, {which}"
        )
    keep = np.isfinite(two_theta) & (two_theta > 0)
    if not keep.all():
        warnings.append(f"{(~keep).sum()} points outside 0…180° in 2θ left out")
    item = replace(item, x=two_theta[keep], y=item.y[keep], places=item.places[keep], wavelength=used)  # type: ignore[index]
    if len(item.x) < 2:
        raise BadInput(f"{path}: only {len(item.x)} points with a usable angle")

    steps = np.diff(item.x)
    if (steps < 0).sum() > (steps > 0).sum():  # measured from high to low angle
        item = replace(item, x=item.x[::-1], y=item.y[::-1], places=item.places[::-1])  # type: ignore[index]
        steps = np.diff(item.x)
    if (steps < 0).any():
        index = int(np.flatnonzero(steps < 0)[0])
        raise BadInput(
            f"{path}: the axis is not monotonic: at {item.at(index + 1)} it goes from {item.x[index]:g}° back to "
            f"{item.x[index + 1]:g}°; several scans in one table must be split first"
        )
    if (steps == 0).any():
        groups = np.concatenate([[0], np.cumsum(steps > 0)])
        count = np.bincount(groups)
        if len(count) < 0.5 * len(groups):
            raise BadInput(f"{path}: most angles are repeated (first: {item.at(int(np.argmin(steps)))}); not a scan")
        first = item.at(int(np.flatnonzero(steps == 0)[0]) + 1)
        warnings.append(f"{len(groups) - len(count)} repeated angles averaged (first: {first})")
        starts = np.flatnonzero(np.concatenate([[True], steps > 0]))
        item = replace(
            item,
            x=item.x[starts],
            y=np.bincount(groups, weights=item.y) / count,
            places=item.places[starts],  # type: ignore[index]
        )
    _refuse_lines(item.x, path)
    return item


def _refuse_lines(x: FloatArray, path: str) -> None:
    """Refuse a list of lines: few points, far apart, at steps that have nothing to do with one another."""
    steps = np.diff(x)
    if not MIN_POINTS <= len(x) <= 1000 or np.median(steps) < 0.2:
        return
    if np.mean(np.abs(np.diff(steps)) > 0.2 * np.median(steps)) > 0.6:
        raise BadInput(
            f"{path}: {len(x)} points at irregular steps of {np.median(steps):.2g}° on average: a list of lines, not a "
            "measured scan; give the pattern itself"
        )


def _same_span(first: Range, second: Range) -> bool:
    low, high = max(first.x[0], second.x[0]), min(first.x[-1], second.x[-1])
    return bool(high - low > 0.8 * max(first.x[-1] - first.x[0], second.x[-1] - second.x[0]))


def _listing(ranges: list[Range]) -> str:
    """The scans of a file for people who have to choose."""
    titles = [
        next((str(item.metadata[key]) for key in ("scan", "block", "sample") if item.metadata.get(key)), "")
        for item in ranges
    ]
    if len(set(titles)) == 1:
        titles = [""] * len(ranges)
    listed = [
        f"{index}{' ' + title if title else ''} {item.x[0]:.4g}…{item.x[-1]:.4g}°"
        for index, (item, title) in enumerate(zip(ranges, titles, strict=True))
    ]
    return ", ".join(listed[:6]) + (", …" if len(listed) > 6 else "")


def _join(ranges: list[Range], warnings: list[str], path: str) -> Range:
    """Neighbouring ranges as one; in an overlap the range counted longer wins."""
    merged = [ranges[0]]
    skipped = 0
    for item in ranges[1:]:
        twin = next((other for other in merged if _same_span(other, item)), None)
        if twin is None:
            merged.append(item)
        elif item.repeat and len(twin.x) == len(item.x) and np.allclose(twin.x, item.x, atol=1e-4):
            twin.y = twin.y + item.y
            if twin.time_s and item.time_s:
                twin.time_s += item.time_s
            twin.metadata["repeats_added"] = twin.metadata.get("repeats_added", 1) + 1
        else:
            skipped += 1
    if skipped:
        warnings.append(
            f"{skipped + 1} scans cover the same range; the first is used (scan= or --scan chooses another, "
            f"0 … {len(ranges) - 1}: {_listing(ranges)})"
        )
    if len(merged) == 1:
        return merged[0]

    if len({item.unit for item in merged}) > 1 or len({item.time_s for item in merged}) > 1:
        for item in merged:
            if item.unit == "counts":
                if not item.time_s:
                    raise BadInput(f"{path}: ranges of different counting time cannot be joined: one gives no time")
                item.y, item.unit = item.y / item.time_s, "cps"
        if len({item.unit for item in merged}) > 1:
            raise BadInput(
                f"{path}: ranges in different intensity units cannot be joined; choose one with scan= or --scan"
            )
    merged.sort(key=lambda item: item.x[0])
    total = merged[0]
    for item in merged[1:]:
        overlap = min(total.x[-1], item.x[-1]) - item.x[0]
        if overlap >= 0:
            if (item.time_s or 0) > (total.time_s or 0):
                keep = (total.x < item.x[0]) | (total.x > item.x[-1])
                older, newer = (total.x[keep], total.y[keep]), (item.x, item.y)
            else:
                keep = (item.x < total.x[0]) | (item.x > total.x[-1])
                older, newer = (total.x, total.y), (item.x[keep], item.y[keep])
        else:
            older, newer = (total.x, total.y), (item.x, item.y)
        x = np.concatenate([older[0], newer[0]])
        order = np.argsort(x, kind="stable")
        total = replace(total, x=x[order], y=np.concatenate([older[1], newer[1]])[order], places=None)
    gap = float(np.max(np.diff(total.x)))
    note = f"{len(merged)} ranges joined"
    if gap > 20 * float(np.median(np.diff(total.x))):
        note += f"; the widest gap is {gap:.3g}°"
    warnings.append(note)
    total.metadata["ranges_joined"] = len(merged)
    return total


def assemble(
    ranges: Sequence[Range],
    path: str,
    *,
    wavelength: float | None = None,
    axis: str | None = None,
    scan: int | None = None,
    warnings: Sequence[str] = (),
) -> Pattern:
    """Make one `Pattern` of what a reader found.

    Args:
        ranges: The ranges in the file's order; at least one.
        path: For messages.
        wavelength: The caller's wavelength in Å; wins over the file's, with a warning where they differ.
        axis: The caller's word on the axis, one of `AXES`.
        scan: Take this range alone (0-based).
        warnings: What the reader already noted.

    Raises:
        BadInput: no data, damaged data, ranges that do not belong together, an axis that cannot be told.
    """
    notes = list(warnings)
    if axis is not None and axis not in AXES:
        raise BadInput(f"axis {axis!r} is not known; choose one of {', '.join(AXES)}")
    if wavelength is not None and plausible_wavelength(wavelength) is None:
        raise BadInput(f"wavelength {wavelength:g} Å is not plausible (0.05 … 5 Å); give it in Å")
    if not ranges:
        raise BadInput(f"{path}: no scan in the file")
    if scan is not None:
        if not 0 <= scan < len(ranges):
            raise BadInput(f"{path}: there is no scan {scan}; the file has {len(ranges)}, counted from 0")
        ranges = [ranges[scan]]
    for item in ranges:
        if item.wavelength is not None and plausible_wavelength(item.wavelength) is None:
            notes.append(f"the file's wavelength {item.wavelength:g} Å is not plausible and is ignored")
            item.wavelength = None
    stated = [item.wavelength for item in ranges if item.wavelength is not None]
    if stated and max(stated) - min(stated) > 1e-3 * min(stated):
        raise BadInput(
            f"{path}: the scans were measured at different wavelengths ({min(stated):g} and {max(stated):g} Å); "
            "choose one with scan= or --scan"
        )
    if wavelength is not None and stated and abs(stated[0] - wavelength) > 2e-3 * wavelength:
        notes.append(f"the file says {stated[0]:.5f} Å; the given {wavelength:.5f} Å is used")
    cleaned, nominal = [], _nominal(ranges, axis)
    for item in ranges:
        own: list[str] = []
        cleaned.append(_clean(item, axis, wavelength, nominal, path, own))
        notes += [note for note in own if note not in notes]
    first = _join(cleaned, notes, path)
    metadata = dict(first.metadata)
    used = wavelength if wavelength is not None else first.wavelength
    if wavelength is not None:  # the doublet the file named no longer belongs to this wavelength
        both = {"kalpha1", "kalpha2"} <= metadata.keys()
        if not both or abs(mean_kalpha(metadata["kalpha1"], metadata["kalpha2"]) - wavelength) > 5e-4 * wavelength:
            for key in ("kalpha1", "kalpha2", "kalpha_ratio"):
                metadata.pop(key, None)
    if first.time_s:
        metadata.setdefault("time_per_point_s", float(first.time_s))
    kind = axis or ranges[0].axis
    if kind != "two_theta":
        metadata["axis_in_file"] = kind
    if metadata.get("probe") == "neutron":
        notes.append("neutron data: their intensities are not those of X-rays, on which the models were trained")
    if (first.y < 0).any():
        index = int(np.flatnonzero(first.y < 0)[0])
        notes.append(
            f"{(first.y < 0).sum()} negative intensities (first at 2θ {first.x[index]:g}°): background removed?"
        )
    return Pattern(first.x, first.y, used, first.unit, metadata, tuple(notes), path)
