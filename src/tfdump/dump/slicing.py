"""`--slice`: a part of an array, written in NumPy's notation. Pure Python."""

import re
from dataclasses import dataclass
from types import EllipsisType

from tfdump.errors import TfdumpError

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_EXAMPLE = "for example 0,:,:,3 or ...,-1 or 2:10:2"


@dataclass(frozen=True)
class Axis:
    """The part of one axis that a slice selects: `count` indices from `start` on, `step` apart.

    The axis is dropped unless it `remains`. `origin` is the index of the array that is shown as 0.
    """

    start: int
    count: int
    step: int = 1
    remains: bool = True
    origin: int = 0

    def source(self, start: int, stop: int) -> slice:
        """Return the ascending indices of the array for the selected positions from `start` to `stop`."""
        first, last = self.start + start * self.step, self.start + (stop - 1) * self.step
        return slice(min(first, last), max(first, last) + 1, abs(self.step))


@dataclass(frozen=True)
class Slicing:
    """A slice as it was written, and its entries, one per axis."""

    text: str
    entries: tuple[int | slice | EllipsisType, ...]

    def axes(self, shape: tuple[int, ...], what: str) -> tuple[Axis, ...]:
        """Return what is selected of every axis of an array of this shape; `what` names the array in messages.

        Raises TfdumpError for more entries than axes, an integer out of range, and a range that selects nothing.
        """
        entered = [entry for entry in self.entries if entry is not Ellipsis]
        if len(entered) > len(shape):
            raise TfdumpError(f"--slice {self.text} has {len(entered)} axes, and {what} has {len(shape)}: {shape}")
        open_axes: list[int | slice | EllipsisType] = [slice(None)] * (len(shape) - len(entered))
        entries = list(self.entries)
        position = entries.index(Ellipsis) if Ellipsis in entries else len(entries)
        entries[position : position + 1] = open_axes
        pairs = enumerate(zip(entries, shape, strict=True))
        return tuple(self._axis(number, entry, size, what) for number, (entry, size) in pairs)

    def _axis(self, number: int, entry: int | slice | EllipsisType, size: int, what: str) -> Axis:
        if isinstance(entry, int):
            return Axis(self._inside(entry, size, f"axis {number} of {what}"), 1, remains=False)
        assert isinstance(entry, slice)
        indices = range(*entry.indices(size))
        if size and not indices:
            raise TfdumpError(f"--slice {self.text} selects nothing from axis {number} of {what}, which has {size}")
        return Axis(indices.start, len(indices), indices.step)

    def _inside(self, index: int, size: int, where: str) -> int:
        if not -size <= index < size:
            bounds = f"from {-size} to {size - 1}" if size else "empty"
            raise TfdumpError(f"--slice {self.text}: {index} is out of range for {where}, which is {bounds}")
        return index % size

    def first(self, size: int, what: str, where: str) -> "tuple[int, Slicing]":
        """Split off the first entry, which must be an integer below `size`, and return it with the rest of the slice.

        For messages, `what` is the tensor, and `where` what the integer selects in it.
        """
        if not self.entries or not isinstance(self.entries[0], int):
            raise TfdumpError(f"--slice {self.text} must begin with an integer, which selects {where} of {what}")
        index = self._inside(self.entries[0], size, f"{where} of {what}")
        return index, Slicing(self.text, self.entries[1:])


def whole(shape: tuple[int, ...]) -> tuple[Axis, ...]:
    """Return all of every axis."""
    return tuple(Axis(0, size) for size in shape)


def parse_slice(text: str) -> Slicing:
    """Read integers, ranges `START:STOP:STEP` and one `...`, separated by commas; raises TfdumpError for other text."""
    inner = text.strip()
    if inner.startswith("[") and inner.endswith("]"):
        inner = inner[1:-1]
    words = [word.strip() for word in inner.split(",")]
    if len(words) > 1 and not words[-1]:
        words.pop()
    entries = tuple(_entry(word, text) for word in words)
    if entries.count(Ellipsis) > 1:
        raise TfdumpError(f"--slice '{text}' has more than one '...' ({_EXAMPLE})")
    return Slicing(text, entries)


def _entry(word: str, text: str) -> int | slice | EllipsisType:
    if word == "...":
        return Ellipsis
    bounds = [bound.strip() for bound in word.split(":")]
    if len(bounds) > 3 or not all(_INTEGER.fullmatch(bound) or (not bound and len(bounds) > 1) for bound in bounds):
        raise TfdumpError(f"'{word}' in --slice '{text}' is neither an integer nor START:STOP:STEP ({_EXAMPLE})")
    numbers = [int(bound) if bound else None for bound in bounds]
    if len(numbers) == 1 and numbers[0] is not None:
        return numbers[0]
    if len(numbers) == 3 and numbers[2] == 0:
        raise TfdumpError(f"'{word}' in --slice '{text}' has the step 0 ({_EXAMPLE})")
    return slice(*numbers)
