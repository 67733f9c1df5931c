"""Thrift's compact protocol, in which Parquet keeps its metadata, read and written without knowing the structs.

A struct is `{field: (kind, value)}`; the value of a list is `(kind of its items, items)`. Of a field that is true or
false the kind says which. https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from typing import Any

Struct = dict[int, tuple[int, Any]]

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
_INTEGERS = (I16, I32, I64)


def varint(number: int) -> bytes:
    """A number from 0 up by seven bits a byte, the lowest first."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def decode(data: memoryview) -> Struct:
    """The struct that begins a buffer.

    Raises:
        ValueError: It holds a kind that Parquet's footers do not.
    """
    return _Reader(data).struct()


class _Reader:
    def __init__(self, data: memoryview) -> None:
        self.data, self.at = data.cast("B"), 0

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def varint(self) -> int:
        number = shift = 0
        while (byte := self.byte()) > 127:
            number |= (byte & 127) << shift
            shift += 7
        return number | byte << shift

    def integer(self) -> int:
        n = self.varint()
        return n >> 1 ^ -(n & 1)

    def struct(self) -> Struct:
        found: Struct = {}
        field = 0
        while head := self.byte():
            field = field + (head >> 4) if head >> 4 else self.integer()
            found[field] = head & 15, self.value(head & 15)
        return found

    def value(self, kind: int) -> Any:
        if kind in _INTEGERS:
            return self.integer()
        if kind == BINARY:
            size = self.varint()
            self.at += size
            return bytes(self.data[self.at - size : self.at])
        if kind == STRUCT:
            return self.struct()
        if kind == LIST:
            head = self.byte()
            size = head >> 4 if head < 0xF0 else self.varint()
            return head & 15, [self.value(head & 15) for _ in range(size)]
        if kind in (TRUE, FALSE):
            return None
        if kind == BYTE:
            return self.byte()
        raise ValueError(f"Parquet metadata of kind {kind}")


def encode(struct: Struct) -> bytes:
    """A struct as bytes."""
    out = bytearray()
    _put(out, STRUCT, struct)
    return bytes(out)


def _put(out: bytearray, kind: int, value: Any) -> None:
    if kind in _INTEGERS:
        out += varint(2 * value if value >= 0 else -2 * value - 1)
    elif kind == BINARY:
        out += varint(len(value)) + value
    elif kind == STRUCT:
        last = 0
        for field, (inner, content) in sorted(value.items()):
            near = field - last < 16
            out += bytes([(field - last) << 4 | inner]) if near else bytes([inner]) + varint(2 * field)
            last = field
            _put(out, inner, content)
        out.append(0)
    elif kind == BYTE:
        out.append(value)
    elif kind == LIST:
        inner, items = value
        out += bytes([len(items) << 4 | inner]) if len(items) < 15 else bytes([0xF0 | inner]) + varint(len(items))
        for item in items:
            _put(out, inner, item)
