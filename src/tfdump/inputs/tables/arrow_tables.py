"""Tables in Parquet files, read by pieces of their row groups, and in Feather files, read by record batches."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import ipc, parquet

from tfdump.errors import InputError, reason_of
from tfdump.inputs.identity import ExampleNames, NumberedNames
from tfdump.inputs.tables.table import ReadColumns, TableColumn, arrow_column

_BLOCK_BYTES = 8 << 20
_MOST_ROWS = 1 << 16
_FEWEST_ROWS = 1 << 8
_TEXT_BYTES = 64
"""Bytes of a cell whose size its type does not tell."""

_FEATHER_1 = b"FEA1"


class ArrowTable:
    """What tables of Arrow's types share: rows are named by their numbers, from 0 as in pandas."""

    typed = True

    def __init__(self, path: Path, schema: pa.Schema, rows: int) -> None:
        self.path, self.label = path, str(path)
        self.rows = rows
        self.names: ExampleNames = NumberedNames(path.name)
        self.notes: tuple[str, ...] = ()
        self.columns: tuple[TableColumn, ...] = tuple(arrow_column(field.name, field.type) for field in schema)
        if not rows:
            raise InputError(f"{path} has no rows")

    def where(self, row: int) -> str:
        """Return the number of a row."""
        return f"row {row}"

    def text_in_numbers(self, place: int) -> tuple[str, str] | None:
        """Return None: a column of text holds no numbers."""
        return None


class ParquetTable(ArrowTable):
    """A Parquet file. Raises InputError for a damaged file, and for one without rows."""

    def __init__(self, path: Path) -> None:
        with _reading(path):
            self.file = parquet.ParquetFile(pa.OSFile(str(path)))
            super().__init__(path, self.file.schema_arrow, self.file.metadata.num_rows)

    @cached_property
    def groups(self) -> list[int]:
        """The numbers of rows of the row groups."""
        metadata = self.file.metadata
        return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]

    def blocks(self, wanted: ReadColumns) -> "ParquetBlocks":
        """Return what reads these columns."""
        return ParquetBlocks(self, wanted)

    def empty_cells(self, place: int) -> int:
        """Return how many cells of a column are empty: as the file tells, or else counted."""
        metadata = self.file.metadata
        leaf = [metadata.schema.column(n).path for n in range(metadata.num_columns)].index(self.columns[place].name)
        counts = [metadata.row_group(group).column(leaf).statistics for group in range(metadata.num_row_groups)]
        if all(statistics is not None and statistics.has_null_count for statistics in counts):
            return sum(statistics.null_count for statistics in counts)
        blocks = self.blocks({place: False})
        return sum(blocks.read(block)[place].null_count for block in range(len(blocks.starts) - 1))


class ParquetBlocks:
    """Some columns of a Parquet file, block by block: pieces of row groups, decoded one after the other.

    The pages of a row group can only be decoded in order. A block before the last one begins the row group again.
    """

    def __init__(self, table: ParquetTable, wanted: ReadColumns) -> None:
        columns = [table.columns[place] for place in wanted]
        row_bytes = sum(
            column.dtype.itemsize * (column.width or 1) if column.kind == "number" or column.width else _TEXT_BYTES
            for column in columns
        )
        self._rows = min(_MOST_ROWS, max(_FEWEST_ROWS, _BLOCK_BYTES // max(1, row_bytes)))
        self._table = table
        self._wanted = wanted
        self._group_of: list[int] = []
        starts: list[int] = []
        first = 0
        for group, rows in enumerate(table.groups):
            own = range(first, first + rows, self._rows)
            starts += own
            self._group_of += [group] * len(own)
            first += rows
        self.starts = np.array([*starts, first], np.int64)
        self._next = -1
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._rest: list[pa.RecordBatch] = []

    def read(self, block: int) -> dict[int, pa.Array]:
        """Return the cells of one block."""
        with _reading(self._table.path):
            if self._next != block:
                self._begin(block)
            cells = self._take(int(self.starts[block + 1] - self.starts[block]))
            self._next = block + 1
            if self._next < len(self._group_of) and self._group_of[self._next] != self._group_of[block]:
                self._next = -1
        return {place: _joined(cells, self._table.columns[place].name) for place in self._wanted}

    def _begin(self, block: int) -> None:
        """Begin the row group of a block, and decode what lies before the block."""
        group = self._group_of[block]
        names = [self._table.columns[place].name for place in self._wanted]
        self._rest = []
        self._batches = self._table.file.iter_batches(self._rows, row_groups=[group], columns=names)
        for _ in range(self._group_of.index(group), block):
            self._take(self._rows)

    def _take(self, rows: int) -> list[pa.RecordBatch]:
        """Return the next rows of the row group."""
        while sum(map(len, self._rest)) < rows:
            batch = next(self._batches, None)
            if batch is None:
                raise InputError(f"{self._table.label} is damaged: it has fewer rows than it declares")
            self._rest.append(batch)
        batches = self._rest
        extra = sum(map(len, batches)) - rows
        self._rest = []
        if extra:
            last = batches[-1]
            batches[-1], self._rest = last[: len(last) - extra], [last[len(last) - extra :]]
        return batches


class FeatherTable(ArrowTable):
    """A Feather file, which is Arrow's file format. Raises InputError for a damaged file, and for one without rows."""

    def __init__(self, path: Path) -> None:
        with _reading(path):
            with path.open("rb") as stream:
                if stream.read(len(_FEATHER_1)) == _FEATHER_1:
                    raise InputError(f"{path} is of version 1 of Feather (write it again, with version 2)")
            schema = ipc.open_file(pa.OSFile(str(path))).schema
            smallest = min(range(len(schema)), key=lambda place: _cell_bytes(schema.types[place]), default=0)
            reader = self._opened(path, [smallest])
            sizes = [len(reader.get_batch(batch)) for batch in range(reader.num_record_batches)]
            self.starts = np.cumsum([0, *sizes], dtype=np.int64)
            super().__init__(path, schema, int(self.starts[-1]))

    def blocks(self, wanted: ReadColumns) -> "FeatherBlocks":
        """Return what reads these columns."""
        return FeatherBlocks(self, self._opened(self.path, list(wanted)), wanted)

    def empty_cells(self, place: int) -> int:
        """Return how many cells of a column are empty."""
        blocks = self.blocks({place: False})
        return sum(blocks.read(block)[place].null_count for block in range(len(blocks.starts) - 1))

    @staticmethod
    def _opened(path: Path, places: list[int]) -> ipc.RecordBatchFileReader:
        return ipc.open_file(pa.OSFile(str(path)), options=ipc.IpcReadOptions(included_fields=sorted(places)))


class FeatherBlocks:
    """Some columns of a Feather file, record batch by record batch."""

    def __init__(self, table: FeatherTable, reader: ipc.RecordBatchFileReader, wanted: ReadColumns) -> None:
        self.starts = table.starts
        self._table = table
        self._reader = reader
        self._wanted = wanted

    def read(self, block: int) -> dict[int, pa.Array]:
        """Return the cells of one block."""
        with _reading(self._table.path):
            batch = self._reader.get_batch(block)
        return dict(zip(sorted(self._wanted), batch.columns, strict=True))


def _joined(batches: list[pa.RecordBatch], name: str) -> pa.Array:
    parts = [batch.column(name) for batch in batches]
    return parts[0] if len(parts) == 1 else pa.concat_arrays(parts)


def _cell_bytes(kind: pa.DataType) -> int:
    try:
        return int(kind.bit_width)
    except ValueError:  # text and lists have no fixed size
        return _TEXT_BYTES * 8


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raise InputError where a file cannot be read while the body runs."""
    try:
        yield
    except (pa.ArrowException, OSError, MemoryError) as cause:
        raise InputError(f"cannot read {path}: {reason_of(cause)}") from None
