"""TFRecord files without TensorFlow: the framing with its checksums, `tf.train.Example`, and serialised tensors.

Only what the SimXRD review files use is understood. Formats: the framing of TFRecord (length, masked CRC-32C of the
length, payload, masked CRC-32C of the payload; tensorflow.org/tutorials/load_data/tfrecord), `example.proto`,
`feature.proto` and `tensor.proto` of TensorFlow, and the protocol-buffer wire format
(protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import google_crc32c
import numpy as np

from simxrd_hf.errors import BadInput

_LARGEST_RECORD = 1 << 30
# TensorProto: dtype code -> numpy type, field of its repeated values
_TENSOR_TYPES = {1: ("<f4", 5), 2: ("<f8", 6), 3: ("<i4", 7), 9: ("<i8", 10)}
_STRING = 7


def _masked(data: bytes) -> int:
    crc: int = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def is_tfrecord(path: Path) -> bool:
    """Whether a file begins with a record whose length has the right checksum."""
    with path.open("rb") as stream:
        head = stream.read(12)
    return len(head) == 12 and _masked(head[:8]) == struct.unpack("<I", head[8:])[0]


def records(path: Path) -> Iterator[bytes]:
    """Payloads of a TFRecord file, one at a time, checksums verified.

    Raises:
        BadInput: A checksum is wrong or the file ends within a record; names the record.
    """
    with path.open("rb") as stream:
        number = 0
        while head := stream.read(12):
            yield _payload(stream, head, path, number)
            number += 1


def _payload(stream: BinaryIO, head: bytes, path: Path, number: int) -> bytes:
    where = f"{path}, record {number}"
    if len(head) < 12:
        raise BadInput(f"{where}: the file ends within the record; it is truncated, fetch it again")
    length, crc = struct.unpack("<QI", head)
    if _masked(head[:8]) != crc or length > _LARGEST_RECORD:
        raise BadInput(f"{where}: its length has a wrong checksum; this is no TFRecord file, or it is damaged")
    body = stream.read(length + 4)
    if len(body) < length + 4:
        raise BadInput(f"{where}: the file ends within the record; it is truncated, fetch it again")
    payload = body[:length]
    if _masked(payload) != struct.unpack("<I", body[length:])[0]:
        raise BadInput(f"{where}: its content has a wrong checksum; the file is damaged, fetch it again")
    return payload


def _varint(data: bytes, i: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if i >= len(data) or shift > 63:
            raise BadInput("a protocol buffer ends within a number")
        value |= (data[i] & 0x7F) << shift
        i += 1
        if data[i - 1] < 0x80:
            return value, i
        shift += 7


def _fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """(field number, wire type, value) of a message; values of fixed width as bytes."""
    i = 0
    while i < len(data):
        tag, i = _varint(data, i)
        wire = tag & 7
        if wire == 0:
            value, i = _varint(data, i)
            yield tag >> 3, wire, value
            continue
        if wire == 2:
            size, i = _varint(data, i)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise BadInput(f"a protocol buffer has the unknown wire type {wire}")
        if i + size > len(data):
            raise BadInput("a protocol buffer ends within a field")
        yield tag >> 3, wire, data[i : i + size]
        i += size


def _message(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise BadInput("a protocol buffer has a number where a message belongs")
    return value


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _numbers(data: bytes, field: int, wire_type: str) -> np.ndarray:
    """Values of a repeated numeric field, packed or not."""
    found: list[np.ndarray] = []
    for number, wire, value in _fields(data):
        if number != field:
            continue
        if wire == 0:
            found.append(np.array([_signed(int(value))], dtype=np.int64))
        elif wire_type.startswith("<f"):
            found.append(np.frombuffer(_message(value), dtype=wire_type))
        else:
            i, packed, values = 0, _message(value), []
            while i < len(packed):
                one, i = _varint(packed, i)
                values.append(_signed(one))
            found.append(np.array(values, dtype=np.int64))
    return np.concatenate(found) if found else np.zeros(0, dtype=wire_type)


def parse_tensor(data: bytes) -> np.ndarray:
    """A serialised `TensorProto` as an array; strings as objects.

    Raises:
        BadInput: It is none, or of a type the review files do not use.
    """
    dtype, content, shape, texts = 0, None, [], []
    for number, _, value in _fields(data):
        if number == 1:
            dtype = int(value)
        elif number == 2:
            for inner, _, dim in _fields(_message(value)):
                if inner == 2:
                    sizes = [int(v) for n, _, v in _fields(_message(dim)) if n == 1]
                    shape.append(sizes[0] if sizes else 0)
        elif number == 4:
            content = _message(value)
        elif number == 8:
            texts.append(_message(value))
    if dtype == _STRING:
        return np.array(texts, dtype=object)
    if dtype not in _TENSOR_TYPES:
        raise BadInput(f"a serialised tensor has the type code {dtype}; expected float, double, int32, int64 or string")
    name, field = _TENSOR_TYPES[dtype]
    array = np.frombuffer(content, dtype=name) if content is not None else _numbers(data, field, name).astype(name)
    size = int(np.prod(shape, dtype=np.int64))
    if content is None and array.size == 1 and size > 1:  # one value stands for all
        array = np.full(size, array[0])
    if array.size != size:
        raise BadInput(f"a serialised tensor has {array.size} values for the shape {shape}")
    return array.reshape(shape)


def parse_example(payload: bytes) -> dict[str, np.ndarray | list[bytes]]:
    """Features of a serialised `tf.train.Example`: lists of bytes, or float32 or int64 arrays.

    Raises:
        BadInput: The payload is no such message.
    """
    features: dict[str, np.ndarray | list[bytes]] = {}
    for number, _, value in _fields(payload):
        if number != 1:
            continue
        for inner, _, entry in _fields(_message(value)):
            if inner != 1:
                continue
            key, feature = "", b""
            for part, _, content in _fields(_message(entry)):
                if part == 1:
                    key = _message(content).decode("utf-8", "replace")
                elif part == 2:
                    feature = _message(content)
            for kind, _, content in _fields(feature):
                if kind == 1:
                    features[key] = [_message(v) for n, _, v in _fields(_message(content)) if n == 1]
                elif kind == 2:
                    features[key] = _numbers(_message(content), 1, "<f4")
                elif kind == 3:
                    features[key] = _numbers(_message(content), 1, "<i8")
    return features
