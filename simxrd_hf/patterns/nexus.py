"""NeXus (NXdata, NXmonopd, NXazint1d) and plain HDF5: signals over one axis of 2θ, d or q. Needs h5py.

The HDF5 library may loop for ever or crash on a damaged file and opens other files that one names, so this runs in the
confined process of `simxrd_hf.patterns.guard`. Only what is stored in the file itself is read.
"""

import io
import re
from typing import Any

import numpy as np

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns import header
from simxrd_hf.patterns.pattern import MAX_POINTS, MIN_POINTS, Range, emission, without_missing
from simxrd_hf.patterns.quantities import wavelength_in_angstrom
from simxrd_hf.printable import printable

_PROBES = ("probe", "radiation")  # of NXsource; NXcanSAS writes the second
_WAVELENGTHS = ("wavelength", "incident_wavelength")
_ENERGIES = ("energy", "incident_energy", "photon_energy", "beam_energy")
_MAX_OBJECTS = 5000
# A series of integrated images is one signal of two dimensions; more numbers than this are no series of patterns.
_MAX_SERIES = 5_000_000


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def read_nexus(raw: bytes, path: str, warnings: list[str], column: str | None = None) -> list[Range]:
    """Profiles of a NeXus/HDF5 file: NXdata groups, else groups that hold an axis and an intensity that fit.

    Args:
        raw: The whole file.
        path: For messages.
        warnings: Doubts are appended here.
        column: Name of the dataset that holds the intensities.

    Raises:
        BadInput: A damaged file, or none with a profile along 2θ, d or q.
    """
    import h5py

    try:
        with h5py.File(io.BytesIO(raw), "r") as file:
            return _profiles(file, h5py, path, warnings, column)
    except (
        OSError,
        RuntimeError,
        KeyError,
        TypeError,
        ValueError,
        OverflowError,
        UnicodeError,
        AttributeError,
    ) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{path}: broken HDF5 file ({str(error)[:120]})") from None


def _profiles(file: Any, h5py: Any, path: str, warnings: list[str], column: str | None) -> list[Range]:
    groups: list[Any] = [file]
    elsewhere: list[str] = []
    radiation: dict[str, list[list[float]]] = {"wavelength": [], "energy": []}
    neutron = False
    seen = 0

    def visit(name: str, node: Any) -> bool | None:
        nonlocal seen, neutron
        seen += 1
        if seen > _MAX_OBJECTS:
            return True
        last = name.rpartition("/")[2].lower()
        if isinstance(node, h5py.Group):
            groups.append(node)
        elif not isinstance(node, h5py.Dataset) or _outside(node):
            return None
        elif last in _WAVELENGTHS + _ENERGIES and 1 <= node.size <= 8 and node.dtype.kind in "fiu":
            kind = "wavelength" if last in _WAVELENGTHS else "energy"
            found = [_wavelength(float(value), node, kind, warnings) for value in np.asarray(node[()]).reshape(-1)]
            if found and all(value is not None for value in found):
                radiation[kind].append([value for value in found if value is not None])
        elif last in _PROBES and node.size == 1 and node.dtype.kind in "OSU":
            neutron = neutron or "neutron" in _text(node[()]).lower()
        return None

    file.visititems(visit)
    if seen > _MAX_OBJECTS:
        raise BadInput(f"{path}: more than {_MAX_OBJECTS} objects in the HDF5 file; export the profile as .xy")
    found = [
        (_text(group.attrs.get("NX_class", "")), _group(group, h5py, path, warnings, column, elsewhere))
        for group in groups
    ]
    if any(ranges for kind, ranges in found if kind == "NXdata"):  # the same signal often hangs in its detector too
        found = [(kind, ranges) for kind, ranges in found if kind == "NXdata"]
    ranges = _unlike([item for _, ranges in found for item in ranges])
    if not ranges and elsewhere:
        raise BadInput(f"{path}: {elsewhere[0]}; only data in the file itself are read: export the profile as .xy")
    if not ranges:
        what = f" named {column}" if column else ""
        raise BadInput(
            f"{path}: no group with an axis of 2θ, d or q and an intensity{what} of the same length; export it as .xy"
        )
    sets = {tuple(round(v, 6) for v in values) for values in radiation["wavelength"] or radiation["energy"]}
    for item in ranges:
        if len(sets) == 1:
            first, *others = next(iter(sets))
            item.wavelength, facts = emission(first, others[0] if len(others) == 1 else None)
            item.metadata |= facts
        if neutron:
            item.metadata["probe"] = "neutron"
    return ranges


def _wavelength(value: float, node: Any, kind: str, warnings: list[str]) -> float | None:
    """Å of a wavelength or an energy with the unit that its dataset states."""
    unit = _text(node.attrs.get("units", node.attrs.get("unit", ""))).strip() or None
    if kind == "energy" and unit is None:
        return None
    found = wavelength_in_angstrom(value, unit)
    if found is None and kind == "wavelength" and value > 0:
        note = f"the wavelength {value:g} {unit or '(no unit: Å or nm?)'} of {node.name} is not used"
        if note not in warnings:
            warnings.append(note)
    return found


def _unlike(ranges: list[Range]) -> list[Range]:
    """Ranges without those that repeat another one's numbers: groups may be linked from several places."""
    kept: list[Range] = []
    for item in ranges:
        if not any(np.array_equal(item.x, other.x) and np.array_equal(item.y, other.y) for other in kept[:50]):
            kept.append(item)
    return kept


def _numeric(node: Any) -> bool:
    return node.dtype.kind in "fiu" and MIN_POINTS <= node.size <= _MAX_SERIES


def _vector(node: Any) -> bool:
    return bool(node.size <= MAX_POINTS and max(node.shape, default=0) == node.size)


# Axes whose names say nothing of what they are; the unit then tells.
_BARE = re.compile(r"^(?:radial|radial_axis|radial_axis_edges|binning|bins|x|axis|position)$", re.I)


def _axis(name: str, node: Any) -> tuple[header.Axis, bool] | None:
    """What an axis is by its long name, its name or its unit, and whether a unit is given."""
    unit = _text(node.attrs.get("units", node.attrs.get("unit", ""))).strip()
    plain = name.replace("two_theta", "2theta").replace("_", " ")
    for label in (_text(node.attrs.get("long_name", "")), plain):
        if label and (found := header.axis_of(f"{label} ({unit})" if unit else label)):
            return found, bool(unit) or found.kind == "d"
    if not _BARE.match(name) or not unit:
        return None
    for label in ("2theta", "q", "d"):
        inverse = bool(re.search(r"1\s*/|\^?\s*[-⁻][1¹]|inv", unit, re.I))
        angle = bool(re.search(r"deg|°|rad", unit, re.I))
        if (label == "2theta") == angle and (label == "q") == inverse and not (label == "d" and (angle or inverse)):
            found = header.axis_of(f"{label} ({unit})")
            if found is not None and (label != "d" or re.search(r"^(?:å|a|ang|nm)", unit, re.I)):
                return found, True
    return None


def _leads_out(group: Any, target: str, h5py: Any) -> bool:
    """Whether a soft link passes through another file: every step of its path is looked at, none is followed out."""
    at = group.file if target.startswith("/") else group
    for _ in range(_MAX_OBJECTS):
        step, _, target = target.lstrip("/").partition("/")
        if not step:
            return False
        link = at.get(step, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            return True
        if isinstance(link, h5py.SoftLink):
            target = f"{link.path}/{target}"
            at = at.file if target.startswith("/") else at
            continue
        if link is None:
            return False
        at = at.get(step)
        if not isinstance(at, h5py.Group):
            return False
    return True


def _outside(node: Any) -> str | None:
    """Why the data of a dataset are not in the file itself, or None where they are."""
    if node.is_virtual:
        return "a virtual dataset"
    if node.external:
        return f"stored in another file ({printable(str(node.external[0][0]), 80)})"
    return None


def _signal(group: Any, nodes: dict[str, Any], column: str | None) -> str | None:
    """Name of the dataset that holds the intensities."""
    if column:
        return column if column in nodes else None
    stated = _text(group.attrs["signal"]) if "signal" in group.attrs else None
    if stated is None:  # older files mark the dataset itself
        stated = next((name for name, node in nodes.items() if _text(node.attrs.get("signal", "")) == "1"), None)
    if stated is not None:
        return stated if stated in nodes else None
    named = next((name for name in nodes if header.is_intensity(name.replace("_", " "))), None)
    return named or ("data" if "data" in nodes else None)


def _inside(group: Any, h5py: Any, path: str, column: str | None, elsewhere: list[str]) -> dict[str, Any]:
    """The numeric datasets of a group whose data are in the file; what is not is named in `elsewhere`.

    Raises:
        BadInput: The intensities themselves would have to come from another file.
    """
    nodes: dict[str, Any] = {}
    absent: dict[str, str] = {}
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            absent[name] = f"a link into another file ({printable(link.filename, 80)})"
            continue
        if isinstance(link, h5py.SoftLink) and _leads_out(group, link.path, h5py):
            absent[name] = "a link that leads into another file"
            continue
        node = group.get(name)
        if not isinstance(node, h5py.Dataset):
            continue
        outside = _outside(node)
        if outside is not None:
            absent[name] = outside
        elif _numeric(node):
            nodes[name] = node
    wanted = column or _text(group.attrs.get("signal", ""))
    for name, reason in absent.items():
        message = f"{printable(f'{group.name}/{name}'.replace('//', '/'), 80)} is {reason}"
        elsewhere.append(message)
        if name == wanted or (not wanted and header.is_intensity(name)):
            raise BadInput(f"{path}: {message}; only data in the file itself are read: export the profile as .xy")
    return nodes


def _group(
    group: Any, h5py: Any, path: str, warnings: list[str], column: str | None, elsewhere: list[str]
) -> list[Range]:
    nodes = _inside(group, h5py, path, column, elsewhere)
    signal = _signal(group, nodes, column)
    if signal is None:
        return []
    y = nodes[signal]
    points = max(y.shape) if _vector(y) else (y.shape[-1] if y.ndim == 2 else 0)
    if points < MIN_POINTS:
        return []
    axes: Any = np.atleast_1d(group.attrs["axes"]) if "axes" in group.attrs else []
    if not len(axes) and "axes" in y.attrs:
        axes = re.split(r"[:,\s\[\]]+", _text(y.attrs["axes"]))
    named = [_text(name) for name in axes]
    candidates = [name for name in named if name in nodes] or list(nodes)
    candidates += [f"{name}_edges" for name in named if f"{name}_edges" in nodes]
    for name in candidates:
        node = nodes[name]
        if name == signal or not _vector(node) or node.size not in (points, points + 1):
            continue
        found = _axis(name, node)
        if found is None:
            continue
        axis, declared = found
        x = np.asarray(node[()], dtype=np.float64).reshape(-1) * axis.scale
        if len(x) == points + 1:  # edges of bins
            x = (x[:-1] + x[1:]) / 2
        rows = np.asarray(y[()], dtype=np.float64).reshape(-1, points)
        mark = next((float(y.attrs[key]) for key in ("_FillValue", "missing_value") if key in y.attrs), None)
        ranges = []
        for index, row in enumerate(rows):
            item = Range(
                x,
                row,
                axis=axis.kind,
                axis_declared=declared,
                unit=header.unit_of(_text(y.attrs.get("units", y.name))),
                metadata={"intensity_column": signal} | ({"scan": f"image {index}"} if len(rows) > 1 else {}),
            )
            missing = ~np.isfinite(row) if mark is None else ~np.isfinite(row) | (row == mark)
            if not missing.all():
                ranges.append(without_missing(item, missing, "NaN or the file's fill value", warnings))
        return ranges
    return []
