"""What a table is: named columns of equal length, read in blocks of rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tfdump.inputs.identity import ExampleNames

ColumnKind = Literal["number", "text", "list", "other"]

ReadColumns = Mapping[int, bool]
"""The places of columns that are read, and whether they are read as text."""


@dataclass(frozen=True)
class TableColumn:
    """One column of a table.

    Attributes
    ----------
    name : str
        Name of the column.
    kind : {'number', 'text', 'list', 'other'}
        What its cells are; a list is a sequence of numbers.
    dtype : numpy.dtype
        Dtype of its numbers, without regard to empty cells; `object` for text and anything else.
    width : int or None
        Numbers in every cell, where the type of a column of lists fixes it.
    words : str
        What its cells are, for messages.
    """

    name: str
    kind: ColumnKind
    dtype: np.dtype[Any]
    words: str
    width: int | None = None


class TableBlocks(Protocol):
    """Some columns of a table, read block by block; `starts` are the first rows of the blocks, and the row count."""

    starts: npt.NDArray[np.int64]

    def read(self, block: int) -> dict[int, pa.Array]:
        """Return the cells of one block, by the places of the columns. Raises InputError for damaged data."""


class Table(Protocol):
    """A table in a file; `label` is its path, and `rows` the number of its rows.

    `typed` tells whether the file has types, so that a number is no text. `notes` are sentences for the user about the
    file, and `names` are the names of the rows.
    """

    label: str
    path: Path
    columns: tuple[TableColumn, ...]
    rows: int
    typed: bool
    names: ExampleNames
    notes: tuple[str, ...]

    def blocks(self, wanted: ReadColumns) -> TableBlocks:
        """Return what reads these columns."""

    def empty_cells(self, place: int) -> int:
        """Return how many cells of a column are empty."""

    def where(self, row: int) -> str:
        """Return the place of a row in the words of a message: `line 17`, or `row 16`."""

    def text_in_numbers(self, place: int) -> tuple[str, str] | None:
        """Return the first cell of a text column that is no number and where it is, if other cells are numbers."""


def number_column(name: str, dtype: npt.DTypeLike) -> TableColumn:
    """Return a column of numbers."""
    numbers = np.dtype(dtype)
    words = "booleans" if numbers.kind == "b" else f"numbers ({numbers})"
    return TableColumn(name, "number", numbers, words)


def text_column(name: str) -> TableColumn:
    """Return a column of text."""
    return TableColumn(name, "text", np.dtype(object), "text")


def arrow_column(name: str, kind: pa.DataType) -> TableColumn:
    """Return a column of a type of Arrow."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if (dtype := _number_dtype(kind)) is not None:
        return number_column(name, dtype)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return text_column(name)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        dtype = _number_dtype(kind.value_type)
        if dtype is not None:
            width = kind.list_size if pa.types.is_fixed_size_list(kind) else None
            return TableColumn(name, "list", np.dtype(dtype), f"lists of {dtype}", width)
    return TableColumn(name, "other", np.dtype(object), f"of type {kind}")


def _number_dtype(kind: pa.DataType) -> str | None:
    """Return the dtype of numbers of a type of Arrow, None for anything else."""
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return str(kind)
    if pa.types.is_floating(kind):
        return f"float{kind.bit_width}"
    return "float64" if pa.types.is_decimal(kind) else None
