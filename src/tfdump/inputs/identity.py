"""Who the examples are: the name of each (a file, a line, a record), and its label where the data has one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tfdump.inputs.readers import Reader


class ExampleNames(Protocol):
    """The names of the rows of an array, read a few at a time."""

    def read(self, start: int, stop: int) -> list[str]:
        """Return the names of the rows from `start` up to `stop`; bytes that are no UTF-8 are surrogate escapes."""


@dataclass(frozen=True)
class ListedNames:
    """Names that are in memory."""

    names: Sequence[str]

    def read(self, start: int, stop: int) -> list[str]:
        """Return the names of the rows from `start` up to `stop`."""
        return list(self.names[start:stop])


@dataclass(frozen=True)
class NumberedNames:
    """Names that count the rows of a file: `data.csv:17`, where the first row is `first`."""

    label: str
    first: int = 0

    def read(self, start: int, stop: int) -> list[str]:
        """Return the names of the rows from `start` up to `stop`."""
        return [f"{self.label}:{self.first + row}" for row in range(start, stop)]


@dataclass(frozen=True)
class ClassLabels:
    """The class of every row as a number, shape (rows,); and the names of the classes in their order."""

    values: npt.NDArray[np.int64]
    classes: tuple[str, ...] = ()


class NamedReader:
    """The base of readers of data that is more than an array: `names` and `labels` are None where its rows have none.

    `skipped` are rows of the data that were left out, with the reasons. `settings` tell how the data became numbers,
    and `notes` what the user should know of it. `only_in_order` tells that all of the data is read before any row is
    known, so that a part of it costs as much as the whole.
    """

    names: ExampleNames | None = None
    labels: ClassLabels | None = None
    skipped: Sequence[tuple[str, str]] = ()
    settings: Mapping[str, Any] = MappingProxyType({})
    notes: Sequence[str] = ()
    only_in_order: bool = False

    def remarks(self, start: int, stop: int) -> Sequence[str]:
        """Return notes for the user about the rows from `start` up to `stop`, which are going to be read."""
        return ()


def remarks_of(reader: Reader, start: int, stop: int) -> Sequence[str]:
    """Return the notes of a reader about these rows, none for a plain array; raises InputError as the reader does."""
    return reader.remarks(start, stop) if isinstance(reader, NamedReader) else ()


def labels_only_in_order(readers: Sequence[Reader]) -> list[str]:
    """Return the labels of the readers whose data can be read only as a whole, from its beginning to its end."""
    return [reader.label for reader in readers if isinstance(reader, NamedReader) and reader.only_in_order]


def row_names(reader: Reader, label: str) -> ExampleNames:
    """Return the names of the rows of a reader; where they have none, `label` and their numbers."""
    names = reader.names if isinstance(reader, NamedReader) else None
    return names if names is not None else NumberedNames(label)


@dataclass(frozen=True)
class ExampleIdentity:
    """The names and labels of the examples of a source, from the example `start` up to `stop` of its data."""

    names: ExampleNames
    labels: ClassLabels | None
    start: int
    stop: int

    def read(self, start: int, stop: int) -> list[str]:
        """Return the names of these examples, counted from the first one of the source."""
        return self.names.read(self.start + start, min(self.start + stop, self.stop))


def identity_of(readers: Sequence[Reader], start: int, stop: int) -> ExampleIdentity | None:
    """Return who the examples are: what the first reader with names tells, and the first one with labels."""
    named = [reader for reader in readers if isinstance(reader, NamedReader)]
    names = next((reader.names for reader in named if reader.names is not None), None)
    if names is None:
        return None
    labels = next((reader.labels for reader in named if reader.labels is not None), None)
    return ExampleIdentity(names, labels, start, stop)
