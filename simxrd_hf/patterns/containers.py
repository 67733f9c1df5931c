"""Opening foreign containers safely: text in any encoding, XML without entities, ZIP members of bounded size."""

import io
import re
import zipfile
import zlib
from xml.etree import ElementTree
from xml.parsers import expat

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns.pattern import MAX_POINTS
from simxrd_hf.unpack import unpacked_limit

MAX_FILE_BYTES = 64 * 2**20
MAX_LINES = 2 * MAX_POINTS
_MAX_DEPTH = 64
_MAX_MEMBERS = 20_000


def decode(raw: bytes, path: str) -> str:
    """Text of a file: UTF-8 or UTF-16 by its byte-order mark, else UTF-8, else Windows-1252.

    Zero bytes that fill up lines or titles (Fit2D, GSAS) count as blanks.

    Raises:
        BadInput: the bytes are not text.
    """
    wide = _utf16(raw)
    if wide is not None:
        try:
            text = raw.decode(wide)
        except UnicodeDecodeError as error:
            raise BadInput(f"{path}: broken UTF-16 text at offset {error.start}") from None
    else:
        if b"\0" in raw:
            raw = _without_padding(raw, path)
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = raw.decode("cp1252", errors="replace")
    head = text[:20_000]
    strange = sum(1 for char in head if (char < " " and char not in "\t\n\r\f\v\x1a") or char == "\ufffd")
    if strange > 0.02 * len(head) + 20:
        raise BadInput(f"{path}: binary data in a format not known here")
    if max(text.count("\n"), text.count("\r")) > MAX_LINES:
        raise BadInput(f"{path}: more than {MAX_LINES:,} lines; no powder pattern")
    return text.replace("\x1a", "")


def _utf16(raw: bytes) -> str | None:
    """The codec of UTF-16 text, which may lack its byte-order mark; None for anything else."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    low, high = raw[:200:2], raw[1:200:2]
    if len(high) >= 10 and not any(high) and all(low):
        return "utf-16-le"
    return "utf-16-be" if len(low) >= 10 and not any(low) and all(high) else None


def _without_padding(raw: bytes, path: str) -> bytes:
    """Text whose zero bytes are blanks, or the reason why it is none."""
    zeros = raw.count(b"\0")
    others = sum(raw.count(bytes([code])) for code in range(1, 32) if code not in b"\t\n\r\f\v\x1a")
    foreign = others + len(re.findall(rb"[\x80-\xff]", raw))
    amid = re.search(rb"[0-9.]\0+[0-9.]", raw)
    if amid or zeros > 0.25 * len(raw) or foreign > 0.02 * (len(raw) - zeros) + 20 or others > 20:
        at = amid.start() + 1 if amid else raw.find(b"\0")
        raise BadInput(f"{path}: binary data (a zero byte at offset {at}) in a format not known here")
    return raw.replace(b"\0", b" ")


def parse_xml(raw: bytes, path: str) -> ElementTree.Element:
    """The document's root, tags and attributes without their namespaces.

    A document type declaration (the door to entity expansion and external files) is refused.

    Raises:
        BadInput: not well-formed, declares a document type, or nested more than 64 deep.
    """
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    depth = 0

    def local(name: str) -> str:
        return name.rpartition("}")[2]

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _MAX_DEPTH:
            raise BadInput(f"{path}: XML nested more than {_MAX_DEPTH} deep (line {parser.CurrentLineNumber})")
        builder.start(local(name), {local(key): value for key, value in attributes.items()})

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(local(name))

    def doctype(*_: object) -> None:
        raise BadInput(f"{path}: XML with a document type declaration is not read (line {parser.CurrentLineNumber})")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(raw, True)
    except expat.ExpatError as error:
        raise BadInput(f"{path}: broken XML: {error}") from None
    except (ValueError, LookupError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{path}: XML in an encoding that cannot be read: {error}") from None
    return builder.close()


class Archive:
    """A ZIP file held in memory: each member is read once, and all of them together unpack to a bounded size."""

    def __init__(self, raw: bytes, path: str) -> None:
        self.path = path
        self._left = unpacked_limit(len(raw))
        self._limit = self._left
        self._read: set[str] = set()
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(raw))
            self.names = self._zip.namelist()
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, UnicodeError) as error:
            raise BadInput(f"{path}: broken ZIP container ({error}); copy the file again") from None
        if len(self.names) > _MAX_MEMBERS:
            raise BadInput(f"{path}: {len(self.names)} members in the ZIP container; not a diffraction file")

    def read(self, name: str) -> bytes:
        """One member, for the first and only time.

        Raises:
            BadInput: no such member, damaged, encrypted, read before, or more than what may still be unpacked.
        """
        if name in self._read:
            raise BadInput(f"{self.path}: {name} is named more than once in the container; not a diffraction file")
        self._read.add(name)
        try:
            with self._zip.open(name) as member:
                raw = member.read(self._left + 1)
        except KeyError:
            raise BadInput(f"{self.path}: the container lacks {name}, which its list names") from None
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            RuntimeError,
            NotImplementedError,
            ValueError,
        ) as error:
            raise BadInput(f"{self.path}: {name} in the container cannot be read ({error})") from None
        self._left -= len(raw)
        if self._left < 0:
            raise BadInput(
                f"{self.path}: the container unpacks to more than {self._limit >> 20} MiB (at {name}); refused. "
                "If it is yours, export the pattern as .xy"
            )
        return raw
