"""Who the examples of one side of a comparison are."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from tfdump.dump import layout
from tfdump.dump.reader import Dump
from tfdump.files.byte_strings import decoded_text

_BLOCK = 1 << 14
"""Names that are in memory at once."""

_PREFIX = f"{layout.EXAMPLES}/"


class RowNames(Protocol):
    """The names of rows, read a few at a time."""

    def read(self, start: int, stop: int) -> list[str]:
        """Return the names of the rows from `start` up to `stop`."""


@dataclass(frozen=True)
class RowsFrom:
    """The names of the rows from `start` on, which becomes row 0."""

    names: RowNames
    start: int

    def read(self, start: int, stop: int) -> list[str]:
        """Return the names of the rows from `start` up to `stop`."""
        return self.names.read(self.start + start, self.start + stop)


@dataclass(frozen=True)
class SideExamples:
    """The names of `count` examples; `first` is the number of the first one in the input, None if it is not known."""

    names: RowNames
    count: int
    first: int | None = None

    def name(self, row: int) -> str:
        """Return the name of the example in one row."""
        return self.names.read(row, row + 1)[0]

    def blocks(self, start: int = 0) -> Iterator[list[str]]:
        """Yield all names from the row `start` on, some at a time."""
        for begin in range(start, self.count, _BLOCK):
            yield self.names.read(begin, min(begin + _BLOCK, self.count))


class _Texts:
    """The names in an array of text."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def read(self, start: int, stop: int) -> list[str]:
        """Return the names of the rows from `start` up to `stop`."""
        return [decoded_text(item) for item in self._reader.read(start, stop).tolist()]


def examples_of_dump(dump: Dump | None) -> SideExamples | None:
    """Return who the examples of a dump are; None if it does not tell."""
    if dump is None or dump.examples is None:
        return None
    return SideExamples(dump.examples, len(dump.examples), dump.first_example)


def take_examples(readers: dict[str, Any]) -> SideExamples | None:
    """Remove the arrays that tell who the examples are from arrays by name, as `tfdump cat --ids` writes them.

    Return what they tell, or None if there are none.
    """
    ids = readers.get(f"{_PREFIX}{layout.EXAMPLE_ID}")
    if ids is None or len(ids.shape) != 1 or ids.dtype.kind not in "SU":
        return None
    for name in (layout.EXAMPLE_ID, layout.EXAMPLE_LABEL, layout.EXAMPLE_CLASSES):
        readers.pop(f"{_PREFIX}{name}", None)
    return SideExamples(_Texts(ids), ids.shape[0])
