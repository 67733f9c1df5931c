"""NeXus and plain HDF5 files whose profile is one signal over one angular (or d, q) axis. Needs h5py.

The HDF5 library may loop for ever or crash on a damaged file and opens other files that one names, so this runs in the
confined process of `simxrd_hf.patterns.guard`. Only what is stored in the file itself is read.
"""

import io
from typing import Any

import numpy as np

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns import header
from simxrd_hf.patterns.pattern import MAX_POINTS, MIN_POINTS, Range, plausible_wavelength
from simxrd_hf.printable import printable

_WAVELENGTHS = ("wavelength", "incident_wavelength")
_MAX_OBJECTS = 5000


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def read_nexus(raw: bytes, path: str, warnings: list[str]) -> list[Range]:
    """Profiles of a NeXus/HDF5 file: NXdata groups, else groups that hold an axis and an intensity of one length."""
    import h5py

    try:
        with h5py.File(io.BytesIO(raw), "r") as file:
            return _profiles(file, h5py, path)
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


def _profiles(file: Any, h5py: Any, path: str) -> list[Range]:
    groups: list[Any] = [file]
    wavelengths: list[float] = []
    elsewhere: list[str] = []
    seen = 0

    def visit(name: str, node: Any) -> bool | None:
        nonlocal seen
        seen += 1
        if seen > _MAX_OBJECTS:
            return True
        if isinstance(node, h5py.Group):
            groups.append(node)
        elif not isinstance(node, h5py.Dataset) or _outside(node):
            return None
        elif name.rpartition("/")[2].lower() in _WAVELENGTHS and node.size == 1 and node.dtype.kind in "fiu":
            unit = _text(node.attrs.get("units", "angstrom")).lower()
            value = float(np.asarray(node[()]).reshape(-1)[0]) * (10 if unit in {"nm", "nanometer"} else 1)
            if plausible_wavelength(value) is not None:
                wavelengths.append(value)
        return None

    file.visititems(visit)
    if seen > _MAX_OBJECTS:
        raise BadInput(f"{path}: more than {_MAX_OBJECTS} objects in the HDF5 file; export the profile as .xy")
    ranges = [item for group in groups if (item := _group(group, h5py, path, elsewhere)) is not None]
    if not ranges and elsewhere:
        raise BadInput(f"{path}: {elsewhere[0]}; only data in the file itself are read: export the profile as .xy")
    if not ranges:
        raise BadInput(f"{path}: no group with an angular axis and an intensity of the same length; export it as .xy")
    for item in ranges:
        if len({round(value, 6) for value in wavelengths}) == 1:
            item.wavelength = wavelengths[0]
    return ranges


def _vector(node: Any, h5py: Any) -> bool:
    if not isinstance(node, h5py.Dataset) or node.dtype.kind not in "fiu":
        return False
    return MIN_POINTS <= node.size <= MAX_POINTS and max(node.shape, default=0) == node.size


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


def _group(group: Any, h5py: Any, path: str, elsewhere: list[str]) -> Range | None:
    vectors = {}
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
        elif _vector(node, h5py):
            vectors[name] = node
    # Named, where the profile itself would have to come from there.
    for name, reason in absent.items():
        message = f"{printable(f'{group.name}/{name}'.replace('//', '/'), 80)} is {reason}"
        elsewhere.append(message)
        if name == _text(group.attrs.get("signal", "")) or header.is_intensity(name):
            raise BadInput(f"{path}: {message}; only data in the file itself are read: export the profile as .xy")
    signal = _text(group.attrs["signal"]) if "signal" in group.attrs else None
    axes: Any = np.atleast_1d(group.attrs["axes"]) if "axes" in group.attrs else []
    named = [_text(name) for name in axes]
    y = vectors.get(signal) if signal else next((v for n, v in vectors.items() if header.is_intensity(n)), None)
    if y is None:
        return None
    candidates = [n for n in named if n in vectors] or list(vectors)
    for name in candidates:
        node = vectors[name]
        unit = _text(node.attrs.get("units", ""))
        label = name.replace("two_theta", "2theta").replace("_", " ") + f" {unit}"
        kind = header.axis_of(label)
        if kind is None or node.size != y.size or node.name == y.name:
            continue
        x = np.asarray(node[()], dtype=np.float64).reshape(-1)
        height = np.asarray(y[()], dtype=np.float64).reshape(-1)
        return Range(x, height, axis=kind, unit=header.unit_of(_text(y.attrs.get("units", y.name))))
    return None
