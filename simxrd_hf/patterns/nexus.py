"""NeXus and plain HDF5 files whose profile is one signal over one angular (or d, q) axis. Needs h5py.

The HDF5 library may loop for ever or crash on a damaged file, so it runs in a process of its own with a time limit;
this module is also that process: file on its standard input, profiles on its standard output.
"""

import io
import json
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import numpy as np

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns import header
from simxrd_hf.patterns.pattern import MAX_POINTS, MIN_POINTS, Range, plausible_wavelength

SECONDS = 10
_MEMORY = 4 * 2**30
_WAVELENGTHS = ("wavelength", "incident_wavelength")
_MAX_OBJECTS = 5000


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def read_nexus(raw: bytes, path: str, warnings: list[str]) -> list[Range]:
    """Profiles of a NeXus/HDF5 file: NXdata groups, else groups that hold an axis and an intensity of one length."""
    if find_spec("h5py") is None:
        raise BadInput(f"{path}: an HDF5 file; reading it needs h5py (pip install 'simxrd_hf[measured]')")
    command = [sys.executable, "-m", "simxrd_hf.patterns.nexus", path]
    try:
        done = subprocess.run(command, input=raw, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise BadInput(f"{path}: broken HDF5 file (the HDF5 library did not finish in {SECONDS} s)") from None
    if done.returncode == 2:
        raise BadInput(done.stderr.decode("utf-8", "replace").strip().splitlines()[-1])
    if done.returncode != 0:
        raise BadInput(f"{path}: broken HDF5 file (the HDF5 library ended with code {done.returncode})")
    return _unpack(done.stdout)


def _pack(ranges: list[Range]) -> bytes:
    """Ranges as one line of JSON and the float64 columns."""
    facts = [{"n": len(item.x), "axis": item.axis, "unit": item.unit, "wavelength": item.wavelength} for item in ranges]
    return b"".join([json.dumps(facts).encode(), b"\n", *(np.stack([i.x, i.y]).tobytes() for i in ranges)])


def _unpack(raw: bytes) -> list[Range]:
    line, _, data = raw.partition(b"\n")
    values, at, ranges = np.frombuffer(data, dtype=np.float64), 0, []
    for facts in json.loads(line):
        n = facts.pop("n")
        ranges.append(Range(values[at : at + n], values[at + n : at + 2 * n], **facts))
        at += 2 * n
    return ranges


def _read(raw: bytes, path: str) -> list[Range]:
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
    seen = 0

    def visit(name: str, node: Any) -> bool | None:
        nonlocal seen
        seen += 1
        if seen > _MAX_OBJECTS:
            return True
        if isinstance(node, h5py.Group):
            groups.append(node)
        elif name.rpartition("/")[2].lower() in _WAVELENGTHS and node.size == 1 and node.dtype.kind in "fiu":
            unit = _text(node.attrs.get("units", "angstrom")).lower()
            value = float(np.asarray(node[()]).reshape(-1)[0]) * (10 if unit in {"nm", "nanometer"} else 1)
            if plausible_wavelength(value) is not None:
                wavelengths.append(value)
        return None

    file.visititems(visit)
    if seen > _MAX_OBJECTS:
        raise BadInput(f"{path}: more than {_MAX_OBJECTS} objects in the HDF5 file; export the profile as .xy")
    ranges = [item for group in groups if (item := _group(group, h5py, path)) is not None]
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


def _group(group: Any, h5py: Any, path: str) -> Range | None:
    vectors = {}
    for name in group:
        node = group.get(name)
        if node is not None and _vector(node, h5py):
            vectors[name] = node
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


def main() -> int:
    """The process: exit code 0 and the profiles, or 2 and one line that says what is wrong."""
    try:
        import resource
    except ImportError:  # not on Windows; the parent's time limit remains
        pass
    else:
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    try:
        sys.stdout.buffer.write(_pack(_read(sys.stdin.buffer.read(), sys.argv[1])))
    except BadInput as error:
        print(str(error).replace("\n", " "), file=sys.stderr)
        return 2
    except MemoryError:
        print(f"{sys.argv[1]}: broken HDF5 file (it asks for more memory than a pattern can need)", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
