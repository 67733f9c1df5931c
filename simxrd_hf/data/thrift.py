"""Structures in Thrift's compact protocol, read and written without knowing their definition.

A structure is a dict from field number to (type, value), so that a Parquet footer can be taken apart, changed in a few
places and put together again. Protocol: github.com/apache/thrift, doc/specs/thrift-compact-protocol.md.
"""

from __future__ import annotations

from typing import Any

TRUE, FALSE, I8, I16, I32, I64, DOUBLE, BINARY, LIST, _SET, _MAP, STRUCT = range(1, 13)
Struct = dict[int, tuple[int, Any]]
"""Field number -> (type, value); a list's value is (type of the elements, elements)."""


def _read_varint(data: bytes, i: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[i]
        i += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, i
        shift += 7


def _read_value(data: bytes, i: int, kind: int) -> tuple[Any, int]:
    if kind in (TRUE, FALSE):
        return kind == TRUE, i
    if kind == I8:
        return data[i], i + 1
    if kind in (I16, I32, I64):
        value, i = _read_varint(data, i)
        return (value >> 1) ^ -(value & 1), i
    if kind == DOUBLE:
        return data[i : i + 8], i + 8
    if kind == BINARY:
        size, i = _read_varint(data, i)
        return data[i : i + size], i + size
    if kind == LIST:
        head = data[i]
        i += 1
        size, element = head >> 4, head & 15
        if size == 15:
            size, i = _read_varint(data, i)
        values = []
        for _ in range(size):
            if element in (TRUE, FALSE):
                values.append(data[i] == TRUE)
                i += 1
                continue
            value, i = _read_value(data, i, element)
            values.append(value)
        return (element, values), i
    if kind == STRUCT:
        return read_struct(data, i)
    raise ValueError(f"type {kind} of Thrift's compact protocol does not occur in Parquet")


def read_struct(data: bytes, i: int = 0) -> tuple[Struct, int]:
    """A structure and the index after it."""
    fields: Struct = {}
    number = 0
    while head := data[i]:
        i += 1
        kind = head & 15
        if head >> 4:
            number += head >> 4
        else:
            coded, i = _read_varint(data, i)
            number = (coded >> 1) ^ -(coded & 1)
        value, i = _read_value(data, i, kind)
        fields[number] = (kind, value)
    return fields, i + 1


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _value(kind: int, value: Any) -> bytes:
    if kind == I8:
        return bytes([value])
    if kind in (I16, I32, I64):
        return _varint((value << 1) ^ (value >> 63))
    if kind == DOUBLE:
        return bytes(value)
    if kind == BINARY:
        result: bytes = _varint(len(value)) + value
        return result
    if kind == STRUCT:
        return write_struct(value)
    element, values = value
    head = bytes([len(values) << 4 | element]) if len(values) < 15 else bytes([0xF0 | element]) + _varint(len(values))
    if element in (TRUE, FALSE):
        return head + bytes(TRUE if v else FALSE for v in values)
    return head + b"".join(_value(element, v) for v in values)


def write_struct(fields: Struct) -> bytes:
    """A structure as bytes."""
    out = bytearray()
    last = 0
    for number in sorted(fields):
        kind, value = fields[number]
        if kind in (TRUE, FALSE):
            kind = TRUE if value else FALSE
        if 0 < number - last < 16:
            out.append((number - last) << 4 | kind)
        else:
            out.append(kind)
            out += _varint((number << 1) ^ (number >> 63))
        if kind not in (TRUE, FALSE):
            out += _value(kind, value)
        last = number
    out.append(0)
    return bytes(out)
