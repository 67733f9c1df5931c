"""Which measured files are read in a confined process: containers, XML, HDF5, CIF, and whatever is large."""

import re
from importlib.util import find_spec
from typing import Any

from simxrd_hf.confined import Confined
from simxrd_hf.errors import BadInput
from simxrd_hf.patterns.pattern import Pattern

SMALL = 2**19
"""Plain text and the simple binary formats below this many bytes are read where they are: their readers only count."""
LONG_LINE = 4096

_HDF5 = b"\x89HDF\r\n\x1a\n"
_PRELOAD = (
    "simxrd_hf.patterns.reading",
    "numpy.ma",  # np.median looks into it
    *(f"encodings.{name}" for name in ("ascii", "latin_1", "utf_8_sig", "utf_16", "utf_16_le", "utf_16_be", "utf_32")),
    *(f"encodings.{name}" for name in ("cp437", "cp850", "cp932", "gb18030", *(f"cp125{i}" for i in range(9)))),
    *(f"encodings.iso8859_{i}" for i in (*range(1, 12), 13, 14, 15, 16)),
)
_FUNCTION = "simxrd_hf.patterns.guard:read"
_READER = Confined(_FUNCTION, preload=_PRELOAD)
_HDF5_READER = Confined(_FUNCTION, preload=(*_PRELOAD, "h5py"))


def is_plain(raw: bytes) -> bool:
    """Whether a file is small and of a format without structure that a stranger could abuse."""
    head = raw[:20_000].lstrip(b"\xef\xbb\xbf \t\r\n")
    return (
        len(raw) < SMALL
        and not head.startswith((b"PK", b"\x1f\x8b", b"\x89HDF", b"<", b"\xff\xfe", b"\xfe\xff"))
        and b"<" not in head[1:4].replace(b"\0", b"")  # XML in UTF-16 without a mark
        and re.search(rb"(?m)^[ \t]*data_\S*[ \t\r]*$", head) is None
        and (head.startswith(b"RAW") or max(map(len, raw.split(b"\n"))) < LONG_LINE)
    )


def start(raw_head: bytes) -> None:
    """Start the process that a file which begins like this will need, if it needs one."""
    if not is_plain(raw_head):
        (_HDF5_READER if raw_head.startswith(_HDF5) else _READER).start()


def guarded(raw: bytes, name: str, **options: Any) -> Pattern:
    """The pattern in a file's bytes; `options` are those of `simxrd_hf.patterns.reading.pattern_of`."""
    if is_plain(raw):
        from simxrd_hf.patterns.reading import pattern_of

        return pattern_of(raw, name, **options)
    if not raw.startswith(_HDF5):
        reader = _READER
    elif find_spec("h5py") is None:
        raise BadInput(f"{name}: an HDF5 file; reading it needs h5py (pip install 'simxrd_hf[measured]')")
    else:
        reader = _HDF5_READER
    found = reader(raw, name, **options)
    return Pattern(**{**found, "warnings": tuple(found["warnings"])})


def read(raw: bytes, name: str, **options: Any) -> dict[str, Any]:
    """What the process does: the attributes of the pattern as plain data and arrays."""
    from simxrd_hf.patterns.reading import pattern_of

    pattern = pattern_of(raw, name, **options)
    names = ("two_theta", "intensity", "wavelength", "unit", "warnings", "path")
    return {**{key: getattr(pattern, key) for key in names}, "metadata": dict(pattern.metadata)}
