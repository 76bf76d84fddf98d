"""Tables in CSV and TSV files, read by blocks of rows."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tfdump.errors import InputError, reason_of
from tfdump.inputs.byte_streams import DecompressedBytes, stream_of
from tfdump.inputs.identity import ExampleNames
from tfdump.inputs.tables.csv_index import EMPTY_CELLS, NUMBERS, index_csv, is_number, not_utf8, parse_rows
from tfdump.inputs.tables.csv_rows import line_breaks, row_lines
from tfdump.inputs.tables.table import ReadColumns, TableColumn, number_column, text_column

PACKED = ".gz"
"""How the names of files end that gzip compressed."""

_SHOWN = 60


class CsvTable:
    """A CSV file with a line of names; `delimiter` is a comma or a tab. Its rows are named by their lines.

    A file whose name ends in `.gz` is decompressed whenever it is read.

    A column holds numbers where each of its cells is a number or empty, as in `pandas.read_csv`; else it holds text,
    with every cell as it is in the file. Raises InputError for a damaged file, and for one without rows.
    """

    typed = False

    def __init__(self, path: Path, delimiter: str) -> None:
        self.path, self.label = path, str(path)
        self._delimiter = delimiter
        self._unpacked = DecompressedBytes(path) if path.name.lower().endswith(PACKED) else None
        with self._opened() as stream:
            self._index = index_csv(stream, path, delimiter)
        self.rows = self._index.rows[-1]
        if not self.rows:
            raise InputError(f"{path} has no rows below the names of its columns")
        self.starts: npt.NDArray[np.int64] = np.array(self._index.rows, np.int64)
        self.columns: tuple[TableColumn, ...] = tuple(
            number_column(name, NUMBERS[kind]) if kind in NUMBERS else text_column(name)
            for name, kind in zip(self._index.header, self._index.types, strict=True)
        )
        self.names: ExampleNames = LineNames(self)
        self.notes = tuple(self._about(self._index.header))

    def blocks(self, wanted: ReadColumns) -> "CsvBlocks":
        """Return what reads these columns."""
        return CsvBlocks(self, wanted)

    def empty_cells(self, place: int) -> int:
        """Return how many cells of a column are empty, where it holds numbers."""
        return int(self._index.empty[place]) if self.columns[place].kind == "number" else 0

    def where(self, row: int) -> str:
        """Return the line of a row."""
        return f"line {self.lines(row, row + 1)[0]}"

    def lines(self, start: int, stop: int) -> list[int]:
        """Return the numbers of the lines in which some rows begin, from 1, the line of names included."""
        numbers: list[int] = []
        while start < stop:
            block = int(np.searchsorted(self.starts, start, "right")) - 1
            first, end = int(self.starts[block]), min(stop, int(self.starts[block + 1]))
            line = self._index.lines[block]
            if self._index.simple[block]:
                numbers += range(line + start - first, line + end - first)
            else:
                before = row_lines(self._bytes(block), self._delimiter)[start - first : end - first]
                numbers += (line + before).tolist()
            start = end
        return numbers

    def text_in_numbers(self, place: int) -> tuple[str, str] | None:
        """Return the first cell of a text column that is no number and where it is, if other cells are numbers."""
        first, numbers = None, False
        for block, start in enumerate(self.starts[:-1]):
            for row, cell in enumerate(self.cells(block, {place: True})[place].to_pylist(), int(start)):
                if cell in EMPTY_CELLS:
                    continue
                if is_number(cell):
                    numbers = True
                elif first is None:
                    first = cell, self.where(row)
                if numbers and first is not None:
                    return first
        return None

    def cells(self, block: int, wanted: ReadColumns) -> dict[int, pa.Array]:
        """Return the cells of one block; raises InputError where they changed, or are no text."""
        types = {str(place): self._type(place, as_text) for place, as_text in wanted.items()}
        data = self._bytes(block)
        try:
            table = parse_rows(data, self._delimiter, len(self.columns), types)
        except pa.ArrowInvalid as cause:
            self._check_encoding(block, data)
            raise InputError(f"cannot read {self.label}: {reason_of(cause)} (was it changed?)") from None
        if len(table) != self.starts[block + 1] - self.starts[block]:
            raise InputError(f"{self.label} has changed since its rows were counted (start again)")
        return {place: table.column(str(place)).combine_chunks() for place in wanted}

    def _type(self, place: int, as_text: bool) -> pa.DataType:
        kind = self._index.types[place]
        if as_text or kind not in NUMBERS:
            return pa.string()
        return pa.float64() if kind == pa.null() else kind

    def _bytes(self, block: int) -> bytes:
        offsets = self._index.offsets
        with self._opened() as stream:
            stream.seek(offsets[block])
            return stream.read(offsets[block + 1] - offsets[block] if block + 1 < len(offsets) else -1)

    @contextmanager
    def _opened(self) -> Iterator[io.BufferedReader]:
        """Open the text of the file while the body runs; raises InputError where it cannot be read."""
        try:
            with self.path.open("rb") if self._unpacked is None else stream_of(self._unpacked) as stream:
                yield stream
        except OSError as cause:
            raise InputError(f"cannot read {self.path}: {reason_of(cause)}") from None

    def _check_encoding(self, block: int, data: bytes) -> None:
        """Raise InputError where the bytes of a block are not UTF-8."""
        try:
            data.decode()
        except UnicodeDecodeError as cause:
            line = self._index.lines[block] + line_breaks(data[: cause.start])
            raise not_utf8(self.path, line, data[cause.start]) from None

    def _about(self, header: list[str]) -> Iterator[str]:
        """Yield notes about a first line that may be no line of names."""
        if all(map(is_number, header)) and header != [str(place) for place in range(len(header))]:
            shown = ", ".join(header[:4]) + (" ..." if len(header) > 4 else "")
            yield (
                f"the first line of {self.label} is taken as the names of its columns, and they are numbers: {shown} "
                "(put a line of names above the rows)"
            )
        if len(header) == 1 and any(mark in header[0] for mark in ";|\t"):
            yield (
                f"{self.label} has one column, '{header[0][:_SHOWN]}' (separate columns by commas, or by tabs in a "
                ".tsv file)"
            )


class CsvBlocks:
    """Some columns of a CSV file, block by block."""

    def __init__(self, table: CsvTable, wanted: ReadColumns) -> None:
        self.starts = table.starts
        self._table = table
        self._wanted = wanted

    def read(self, block: int) -> dict[int, pa.Array]:
        """Return the cells of one block."""
        return self._table.cells(block, self._wanted)


@dataclass(frozen=True)
class LineNames:
    """Rows named by the lines in which they begin: `data.csv:17`."""

    table: CsvTable

    def read(self, start: int, stop: int) -> list[str]:
        """Return the names of the rows from `start` up to `stop`."""
        name = self.table.path.name
        return [f"{name}:{line}" for line in self.table.lines(start, min(stop, self.table.rows))]
