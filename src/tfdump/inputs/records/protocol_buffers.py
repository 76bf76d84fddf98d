"""`tf.train.Example`, read from its bytes: the encoding of protocol buffers as far as examples use it.

https://protobuf.dev/programming-guides/encoding and `tensorflow/core/example/feature.proto`
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Any

import numpy as np
import numpy.typing as npt

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FEATURES, _FEATURE_LISTS = 1, 2
_KEY, _VALUE = 1, 2
_LIST = 1
_KINDS = {1: "string", 2: "float32", 3: "int64"}
"""The dtypes of the lists that a feature may have, by their fields."""

_FLOAT = Struct("<f")
_MOST_VARINT_BYTES = 10
_FEW = 16


class ExampleError(Exception):
    """Bytes are no `tf.train.Example`; the message is the reason."""


@dataclass(frozen=True)
class Feature:
    """The values of one feature of one example: `kind` is string, float32 or int64, or "" where it has no values.

    Values of a string are bytes, in an array of objects.
    """

    kind: str
    values: npt.NDArray[Any]


_NOTHING = Feature("", np.empty(0, np.float32))


def parse_example(data: bytes, names: Container[str] | None = None) -> dict[str, Feature]:
    """Return the features of a serialized `tf.train.Example` by name; only those of `names` where it is given.

    Raises ExampleError for other bytes, and for a `tf.train.SequenceExample`.
    """
    features: dict[str, Feature] = {}
    for field, kind, start, stop in _fields(data, 0, len(data)):
        if field == _FEATURE_LISTS and kind == _BYTES:
            raise ExampleError("it is a tf.train.SequenceExample, and only tf.train.Example is read")
        if field != _FEATURES:
            continue
        _check_kind(kind)
        for entry, entry_kind, begin, end in _fields(data, start, stop):
            if entry == 1:
                _check_kind(entry_kind)
                name, value = _entry(data, begin, end)
                if names is None or name in names:
                    features[name] = _feature(data, *value) if value else _NOTHING
    return features


def _entry(data: bytes, start: int, stop: int) -> tuple[str, tuple[int, int] | None]:
    """Return the name of a feature, and where its values lie."""
    name, value = "", None
    for field, kind, begin, end in _fields(data, start, stop):
        if field in (_KEY, _VALUE):
            _check_kind(kind)
        if field == _KEY:
            name = data[begin:end].decode("utf-8", "surrogateescape")
        elif field == _VALUE:
            value = begin, end
    return name, value


def _feature(data: bytes, start: int, stop: int) -> Feature:
    kind = ""
    pieces: list[Any] = []
    for field, wire, begin, end in _fields(data, start, stop):
        if field not in _KINDS:
            continue
        _check_kind(wire)
        if _KINDS[field] != kind:
            kind, pieces = _KINDS[field], []
        pieces += list(_values(data, begin, end, kind))
    if kind == "string":
        values = np.empty(len(pieces), object)
        values[:] = pieces
        return Feature(kind, values)
    if not kind:
        return _NOTHING
    if len(pieces) == 1:
        return Feature(kind, pieces[0])
    return Feature(kind, np.concatenate(pieces) if pieces else np.empty(0, kind))


def _values(data: bytes, start: int, stop: int, kind: str) -> Iterator[Any]:
    """Yield the byte strings of a list, or its numbers as arrays; numbers are packed or not."""
    for field, wire, begin, end in _fields(data, start, stop):
        if field != _LIST:
            continue
        if kind == "string":
            _check_kind(wire)
            yield data[begin:end]
        elif kind == "float32":
            if wire not in (_BYTES, _FIXED32) or (end - begin) % _FLOAT.size:
                raise ExampleError("a list of floats is damaged")
            yield np.frombuffer(data, "<f4", (end - begin) // _FLOAT.size, begin)
        else:
            if wire not in (_BYTES, _VARINT):
                raise ExampleError("a list of integers is damaged")
            yield _integers(data, begin, end)


def _integers(data: bytes, start: int, stop: int) -> npt.NDArray[np.int64]:
    """Return variable-length integers; negative ones have ten bytes."""
    if stop - start <= _FEW:
        few = []
        while start < stop:
            value, start = _varint(data, start, stop)
            few.append(value & 0xFFFFFFFFFFFFFFFF)
        return np.array(few, np.uint64).view(np.int64)
    raw = np.frombuffer(data, np.uint8, stop - start, start)
    ends = np.flatnonzero(raw < 128)
    if len(ends) == len(raw):
        return raw.astype(np.int64)
    begins = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    lengths = ends - begins + 1
    if not len(ends) or ends[-1] != len(raw) - 1 or lengths.max() > _MOST_VARINT_BYTES:
        raise ExampleError("a list of integers is damaged")
    places = np.arange(len(raw)) - np.repeat(begins, lengths)
    parts = (raw & np.uint8(127)).astype(np.uint64) << (7 * places).astype(np.uint64)
    values: npt.NDArray[np.int64] = np.bitwise_or.reduceat(parts, begins).view(np.int64)
    return values


def _fields(data: bytes, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield the number, the wire type and the bounds of each field of a message."""
    while start < stop:
        key, start = _varint(data, start, stop)
        wire, begin = key & 7, start
        if wire == _BYTES:
            length, begin = _varint(data, start, stop)
            start = begin + length
        elif wire == _VARINT:
            _, start = _varint(data, start, stop)
        elif wire == _FIXED32:
            start += 4
        elif wire == _FIXED64:
            start += 8
        else:
            raise ExampleError("it is not a tf.train.Example")
        if start > stop:
            raise ExampleError("it is not a tf.train.Example")
        yield key >> 3, wire, begin, start


def _varint(data: bytes, start: int, stop: int) -> tuple[int, int]:
    """Return the integer at `start`, and where it ends."""
    value = shift = 0
    while start < stop and shift < 7 * _MOST_VARINT_BYTES:
        byte = data[start]
        start += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, start
        shift += 7
    raise ExampleError("it is not a tf.train.Example")


def _check_kind(wire: int) -> None:
    """Raise ExampleError for a field that is no message, text or bytes."""
    if wire != _BYTES:
        raise ExampleError("it is not a tf.train.Example")
