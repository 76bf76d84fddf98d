"""The wire format of protocol buffers (https://protobuf.dev/programming-guides/encoding), as far as ONNX needs it.

Nothing is copied: what has a length is a view of the file. Every length is checked against the end of what contains it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10
_MOST_FIELDS = 5_000_000
"""Fields of one message. A file with more of them would take minutes, and stores its numbers one by one."""


class DamagedMessage(ValueError):
    """A message that ends too early, or has a field that protocol buffers do not have."""


@dataclass(frozen=True)
class Message:
    """The fields of a message by their numbers: integers, and views of what has a length."""

    numbers: dict[int, list[int]]
    views: dict[int, list[memoryview]]

    def number(self, field: int, default: int = 0) -> int:
        """Return an integer, of several the last one, as protocol buffers do; it is signed."""
        return signed(self.numbers[field][-1]) if field in self.numbers else default

    def text(self, field: int) -> str:
        """Return a text, of several the last one; raises DamagedMessage where it is not UTF-8."""
        return _decoded(self.views[field][-1]) if field in self.views else ""

    def texts(self, field: int) -> list[str]:
        """Return all texts of a repeated field; raises DamagedMessage where one is not UTF-8."""
        return [_decoded(view) for view in self.views.get(field, ())]

    def message(self, field: int) -> "Message | None":
        """Return a message; several of them are merged."""
        views = self.views.get(field)
        return None if views is None else merged(views)

    def messages(self, field: int) -> Iterator["Message"]:
        """Yield the messages of a repeated field."""
        for view in self.views.get(field, ()):
            yield merged([view])

    def integers(self, field: int) -> list[int]:
        """Return the integers of a repeated field, which may be packed."""
        unpacked = list(self.numbers.get(field, ()))
        for view in self.views.get(field, ()):
            position = 0
            while position < len(view):
                value, position = _varint(view, position)
                unpacked.append(value)
        return [signed(value) for value in unpacked]

    def packed_bytes(self, field: int) -> int:
        """Return the number of bytes that the values of a repeated field take in the file."""
        return sum(map(len, self.views.get(field, ()))) + len(self.numbers.get(field, ()))


def merged(views: list[memoryview]) -> Message:
    """Return the message that several views make up together; raises DamagedMessage."""
    numbers: dict[int, list[int]] = {}
    texts: dict[int, list[memoryview]] = {}
    count = 0
    for view in views:
        position = 0
        while position < len(view):
            count += 1
            if count > _MOST_FIELDS:
                raise DamagedMessage(f"a message has more than {_MOST_FIELDS:,} fields")
            key, position = _varint(view, position)
            field, kind = key >> 3, key & 7
            if kind == _VARINT:
                value, position = _varint(view, position)
                numbers.setdefault(field, []).append(value)
                continue
            if kind == _LENGTH:
                length, position = _varint(view, position)
            elif kind in (_FIXED64, _FIXED32):
                length = 8 if kind == _FIXED64 else 4
            else:
                raise DamagedMessage(f"a field has the unknown type {kind}")
            if field == 0 or length > len(view) - position:
                raise DamagedMessage("a field reaches beyond the end of its message")
            texts.setdefault(field, []).append(view[position : position + length])
            position += length
    return Message(numbers, texts)


def _decoded(view: memoryview) -> str:
    try:
        return bytes(view).decode()
    except UnicodeDecodeError as cause:
        raise DamagedMessage("a name is not UTF-8") from cause


def signed(value: int) -> int:
    """Return the signed 64-bit integer that a varint stands for."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    """Return the number at a position, and the position behind it."""
    value = 0
    for shift in range(_LONGEST_VARINT):
        if position >= len(view):
            raise DamagedMessage("a number reaches beyond the end of its message")
        byte = view[position]
        position += 1
        value |= (byte & 127) << (7 * shift)
        if byte < 128:
            return value, position
    raise DamagedMessage("a number has more than 64 bits")


def field_bytes(field: int, content: bytes) -> bytes:
    """Return a field that has a length, as bytes."""
    return _encoded_varint(field << 3 | _LENGTH) + _encoded_varint(len(content)) + content


def number_bytes(field: int, value: int) -> bytes:
    """Return a field that is an integer, as bytes; a negative one has ten bytes."""
    return _encoded_varint(field << 3 | _VARINT) + _encoded_varint(value & (1 << 64) - 1)


def _encoded_varint(value: int) -> bytes:
    groups = []
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])
