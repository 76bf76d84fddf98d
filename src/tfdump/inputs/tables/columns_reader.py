"""Columns of a table as one array, with one row per row of the table."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tfdump.errors import InputError
from tfdump.inputs.identity import ExampleNames, NamedReader
from tfdump.inputs.ragged import RaggedReader
from tfdump.inputs.tables.cells import EmptyCellError, decoded, list_lengths, number_cells, rows_of_lists, text_cells
from tfdump.inputs.tables.table import ReadColumns, Table, TableBlocks
from tfdump.tensors import Array

_NAMES_AT_ONCE = 1 << 16


class SharedBlocks:
    """The blocks of a table, whose columns several arrays share; the last block stays in memory.

    All columns are known before the first block is read, so that every block is read and decoded once.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self._wanted: dict[int, bool] = {}
        self._opened: TableBlocks | None = None
        self._last: tuple[int, dict[int, pa.Array]] | None = None

    def allows(self, places: Sequence[int], as_text: bool) -> bool:
        """Tell whether no other array reads one of these columns in the other way, as text or as numbers."""
        return all(self._wanted.get(place, as_text) == as_text for place in places)

    def want(self, wanted: ReadColumns) -> None:
        """Add columns to those that are read."""
        self._wanted.update(wanted)
        self._opened, self._last = None, None

    @property
    def opened(self) -> TableBlocks:
        """What reads the columns."""
        if self._opened is None:
            self._opened = self.table.blocks(dict(sorted(self._wanted.items())))
        return self._opened

    def pieces(self, start: int, stop: int) -> list[tuple[int, int, int]]:
        """Return the block, the first and the last row in it of every piece of some rows."""
        starts = self.opened.starts
        pieces = []
        while start < stop:
            block = int(np.searchsorted(starts, start, "right")) - 1
            end = min(stop, int(starts[block + 1]))
            pieces.append((block, start - int(starts[block]), end - int(starts[block])))
            start = end
        return pieces

    def read(self, block: int) -> dict[int, pa.Array]:
        """Return the cells of one block."""
        if self._last is None or self._last[0] != block:
            self._last = None  # before the next block is read, so that only one is in memory
            self._last = block, self.opened.read(block)
        return self._last[1]


class ColumnNames:
    """The names of rows in a column of the table: text, or numbers in decimal."""

    def __init__(self, table: Table, place: int) -> None:
        self._place = place
        self._blocks = SharedBlocks(table)
        self._blocks.want({place: True})
        self._checked: tuple[int, int] | None = None

    def check(self, start: int, stop: int) -> None:
        """Read the names of these rows once before a run; raises InputError for an empty cell."""
        if self._checked != (start, stop):
            for first in range(start, stop, _NAMES_AT_ONCE):
                self.read(first, min(first + _NAMES_AT_ONCE, stop))
            self._checked = start, stop

    def read(self, start: int, stop: int) -> list[str]:
        """Return the names of the rows from `start` up to `stop`; raises InputError for an empty cell."""
        names: list[str] = []
        for block, first, end in self._blocks.pieces(start, min(stop, self._blocks.table.rows)):
            for row, name in enumerate(decoded(self._blocks.read(block)[self._place][first:end]).to_pylist(), first):
                if name in (None, ""):
                    table = self._blocks.table
                    where = table.where(int(self._blocks.opened.starts[block]) + row)
                    column = table.columns[self._place].name
                    raise InputError(f"{table.label}::{column} is empty in {where}, and names the rows (fill the cell)")
                names.append(str(name))
        return names


class ColumnsReader(NamedReader):
    """Columns of numbers or of text as an array of shape (rows,) for one column, and (rows, columns) for several.

    Numbers have the dtype that NumPy gives all of them together. An empty cell is NaN, which makes integers floats;
    text has no empty cells. With `no_empty`, an empty cell of a number is an error. `row_shape` is another shape of
    a row of as many numbers, and `notes` are sentences for the user.
    """

    def __init__(
        self,
        blocks: SharedBlocks,
        places: Sequence[int],
        label: str,
        names: ExampleNames,
        as_text: bool = False,
        no_empty: bool = False,
        row_shape: tuple[int, ...] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self._blocks, self._places, self._as_text = blocks, tuple(places), as_text
        self._notes = tuple(notes)
        table = blocks.table
        self.label = label
        self.names = names
        own_shape = (len(places),) if len(places) > 1 else ()
        self.shape: tuple[int, ...] = (table.rows, *(own_shape if row_shape is None else row_shape))
        self._has_empty = [] if as_text else [place for place in places if table.empty_cells(place)]
        dtypes = [table.columns[place].dtype for place in places]
        self.dtype: np.dtype[Any] = np.dtype(object) if as_text else np.result_type(*dtypes)
        if self._has_empty and not no_empty and self.dtype.kind != "f":
            self.dtype = np.result_type(self.dtype, np.float64)
        self._last: tuple[int, Array] | None = None
        blocks.want(dict.fromkeys(places, as_text))

    def read(self, start: int, stop: int) -> Array:
        """Return the rows from `start` up to `stop`; raises InputError for an empty cell that cannot be NaN."""
        pieces = [self._rows(block, first, end) for block, first, end in self._blocks.pieces(start, stop)]
        if not pieces:
            return np.empty((0, *self.shape[1:]), self.dtype)
        rows = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        return rows.reshape(len(rows), *self.shape[1:])

    def remarks(self, start: int, stop: int) -> Sequence[str]:
        """Return the notes, and what to say about empty cells among the rows from `start` up to `stop`.

        Raises InputError where one of these rows has no name.
        """
        _check_names(self.names, start, stop)
        empty = [self._empty(place, start, stop) for place in self._has_empty]
        return [*self._notes, *filter(None, empty)]

    def _empty(self, place: int, start: int, stop: int) -> str | None:
        count, where = 0, ""
        for block, first, end in self._blocks.pieces(start, stop):
            empty = self._blocks.read(block)[place][first:end].is_null().to_numpy(zero_copy_only=False)
            if not count and empty.any():
                where = self._where(block, first + int(empty.argmax()))
            count += int(empty.sum())
        if not count:
            return None
        label = f"{self._blocks.table.label}::{self._blocks.table.columns[place].name}"
        if count == 1:
            return f"{label} is empty in {where}, and becomes NaN there"
        return f"{label} is empty in {count:,} of {stop - start:,} rows, the first in {where}, and becomes NaN there"

    def _rows(self, block: int, first: int, end: int) -> Array:
        """Return some rows of one block, all of whose rows stay in memory until another block is read.

        Where an empty cell is an error, only these rows are looked at.
        """
        if self._last is None or self._last[0] != block:
            self._last = None
            cells = self._blocks.read(block)
            if self.dtype.kind != "f" and any(cells[place].null_count for place in self._places):
                return self._converted(cells, block, first, end)
            self._last = block, self._converted(cells, block)
        return self._last[1][first:end]

    def _converted(self, cells: dict[int, pa.Array], block: int, first: int = 0, end: int | None = None) -> Array:
        columns = [cells[place][first:end] for place in self._places]
        rows = np.empty((len(columns[0]), len(columns)), self.dtype)
        for number, column in enumerate(columns):
            try:
                rows[:, number] = text_cells(column) if self._as_text else number_cells(column, self.dtype)
            except EmptyCellError as cause:
                raise self._refused(self._places[number], self._where(block, first + cause.place)) from None
        return rows if len(columns) > 1 else rows[:, 0]

    def _where(self, block: int, row: int) -> str:
        return self._blocks.table.where(int(self._blocks.opened.starts[block]) + row)

    def _refused(self, place: int, where: str) -> InputError:
        what = "text" if self._as_text else "whole numbers or booleans"
        name = self._blocks.table.columns[place].name
        return InputError(
            f"{self._blocks.table.label}::{name} is empty in {where}, and the model takes {what} here (fill the cell, "
            "or leave the row out)"
        )


class ListsReader(RaggedReader, NamedReader):
    """A column whose cells are lists of numbers: rows that are padded to one length, such as the ids of tokens."""

    def __init__(
        self, blocks: SharedBlocks, place: int, label: str, names: ExampleNames, notes: Sequence[str] = ()
    ) -> None:
        self._blocks, self._place, self._notes = blocks, place, tuple(notes)
        self.names = names
        blocks.want({place: False})
        lengths = [list_lengths(blocks.read(block)[place]) for block in range(len(blocks.opened.starts) - 1)]
        super().__init__(label, np.concatenate(lengths), (), blocks.table.columns[place].dtype)

    def rows(self, start: int, stop: int) -> list[Array]:
        """Return the rows from `start` up to `stop`, each of its own length; raises InputError for an empty cell."""
        rows: list[Array] = []
        for block, first, end in self._blocks.pieces(start, stop):
            try:
                rows += rows_of_lists(self._blocks.read(block)[self._place][first:end], self.dtype)
            except EmptyCellError as cause:
                row = int(self._blocks.opened.starts[block]) + first + cause.place
                raise InputError(f"{self.label} is empty in {self._blocks.table.where(row)} (fill the cell)") from None
        return rows

    def remarks(self, start: int, stop: int) -> Sequence[str]:
        """Return the notes; raises InputError where one of these rows has no name."""
        _check_names(self.names, start, stop)
        return self._notes


def _check_names(names: ExampleNames | None, start: int, stop: int) -> None:
    if isinstance(names, ColumnNames):
        names.check(start, stop)
