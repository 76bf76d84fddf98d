"""What a CSV file holds, found in one pass: the names of its columns, its blocks of rows, and the kinds of cells."""

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as arrow_csv

from tfdump.errors import InputError, reason_of
from tfdump.inputs.tables.csv_rows import (
    OpenQuoteError,
    RowBytes,
    blocks_of_rows,
    first_row_end,
    line_breaks,
    row_lines,
)

EMPTY_CELLS = (*arrow_csv.ConvertOptions().null_values, "None", "<NA>")
"""What cells of a column of numbers hold that are empty: what pandas takes for empty."""

NUMBERS = {pa.int64(): "int64", pa.float64(): "float64", pa.bool_(): "bool", pa.null(): "float64"}
"""The types of Arrow that a column of numbers can have, and their dtypes; without any number, all are NaN."""

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_BOM = b"\xef\xbb\xbf"
_SHOWN = 60


@dataclass
class CsvIndex:
    """Where the blocks of rows are, and what their columns hold.

    Attributes
    ----------
    header : list of str
        Names of the columns.
    offsets, lines : list of int
        Offset and number of the first line of every block.
    rows : list of int
        Number of the first row of every block, and the number of rows.
    simple : list of bool
        Whether every line of a block is a row.
    types : list of pyarrow.DataType
        Types of the columns.
    empty : numpy.ndarray
        Number of empty cells of every column.
    """

    header: list[str]
    offsets: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=lambda: [0])
    simple: list[bool] = field(default_factory=list)
    types: list[pa.DataType] = field(default_factory=list)
    empty: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def add(self, block: RowBytes, cells: pa.Table) -> None:
        """Add a block of rows."""
        lines = line_breaks(block.data) + (not block.data.endswith((b"\n", b"\r")))
        self.offsets.append(block.offset)
        self.lines.append(block.line)
        self.rows.append(self.rows[-1] + len(cells))
        self.simple.append(lines == len(cells))
        types = cells.schema.types
        self.types = [_merged(a, b) for a, b in zip(self.types, types, strict=True)] if self.types else types
        counts = np.array([column.null_count for column in cells.columns], np.int64)
        self.empty = self.empty + counts if self.empty.size else counts


def index_csv(stream: io.BufferedReader, path: Path, delimiter: str) -> CsvIndex:
    """Read a CSV file once; return where its rows are. `path` is for messages.

    Raises InputError for a row of another length than the first, a quote that is not closed, and text in UTF-16.
    """
    line = _skip_to_header(stream, path)
    row = _first_row(stream, delimiter, line)
    index = CsvIndex(_header(row, path, delimiter, line))
    try:
        for block in blocks_of_rows(stream, delimiter, line + line_breaks(row)):
            cells = _inferred(block, path, delimiter, len(index.header))
            if len(cells):
                index.add(block, cells)
    except OpenQuoteError as cause:
        raise InputError(f'{path}: the cell that begins with " in line {cause.line} never ends') from None
    return index


def parse_rows(
    data: bytes, delimiter: str, columns: int, types: dict[str, pa.DataType] | None = None, strict_rows: bool = False
) -> pa.Table:
    """Return the cells of whole rows; the columns are named by their places. Raises pyarrow.ArrowInvalid.

    Only the columns that have `types` are read, or all of them, with types that fit. With `strict_rows`, raises
    InvalidRowError for a row of another length.
    """
    wrong: list[arrow_csv.InvalidRow] = []

    def stop(row: arrow_csv.InvalidRow) -> str:
        wrong.append(row)
        return "error"

    try:
        return arrow_csv.read_csv(
            pa.py_buffer(data),
            read_options=arrow_csv.ReadOptions(
                column_names=[str(place) for place in range(columns)], use_threads=not strict_rows
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=delimiter,
                newlines_in_values=b'"' in data,
                invalid_row_handler=stop if strict_rows else None,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=types,
                include_columns=list(types or ()),
                null_values=EMPTY_CELLS,
                check_utf8=types is not None,
            ),
        )
    except pa.ArrowInvalid:
        if wrong:
            raise InvalidRowError(wrong[0].number - 1, wrong[0].actual_columns, wrong[0].text) from None
        raise


class InvalidRowError(Exception):
    """A row has another number of cells than the first; `row` counts from the start of the data."""

    def __init__(self, row: int, cells: int, text: str) -> None:
        super().__init__(row, cells, text)
        self.row, self.cells, self.text = row, cells, text


def not_utf8(path: Path, line: int, byte: int) -> InputError:
    """Return the error of a line that is not UTF-8."""
    return InputError(f"{path}: line {line} is not UTF-8 (byte 0x{byte:02x}; save the file as UTF-8)")


def is_number(text: str) -> bool:
    """Tell whether a cell is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _skip_to_header(stream: io.BufferedReader, path: Path) -> int:
    """Skip the mark of UTF-8 and empty lines; return the number of the line of names."""
    start = stream.read(len(_BOM))
    if start[:2] in _UTF_16:
        raise InputError(f"{path} is UTF-16 text (save it as UTF-8)")
    stream.seek(len(_BOM) if start == _BOM else 0)
    line = 1
    while (byte := stream.read(1)) in (b"\n", b"\r"):
        line += byte == b"\n"
    stream.seek(-len(byte), io.SEEK_CUR)
    return line


def _first_row(stream: io.BufferedReader, delimiter: str, line: int) -> bytes:
    """Return the first row, and leave the stream behind it."""
    offset = stream.tell()
    block = next(blocks_of_rows(stream, delimiter, line), RowBytes(offset, line, b""))
    row = block.data[: first_row_end(block.data, delimiter)]
    stream.seek(offset + len(row))
    return row


def _header(row: bytes, path: Path, delimiter: str, line: int) -> list[str]:
    try:
        text = row.decode()
    except UnicodeDecodeError as cause:
        raise not_utf8(path, line, row[cause.start]) from None
    return [name.strip() for name in next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])]


def _inferred(block: RowBytes, path: Path, delimiter: str, columns: int) -> pa.Table:
    """Return the cells of a block, with the types that they have; raises InputError for a row of another length."""
    try:
        return parse_rows(block.data, delimiter, columns)
    except pa.ArrowInvalid as cause:
        reason = reason_of(cause)
    try:
        parse_rows(block.data, delimiter, columns, strict_rows=True)
    except InvalidRowError as wrong:
        line = block.line + int(row_lines(block.data, delimiter)[wrong.row])
        cells, names = f"{wrong.cells} cell{'s' * (wrong.cells != 1)}", f"{columns} name{'s' * (columns != 1)}"
        raise InputError(
            f"{path}: line {line} has {cells}, and the first line has {names}: {wrong.text[:_SHOWN]!r}"
        ) from None
    except pa.ArrowInvalid:
        pass
    raise InputError(f"cannot read {path}: {reason} (near line {block.line})")


def _merged(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    """Return the type that holds the cells of two blocks: of text, where they are no numbers together."""
    if a == b or b == pa.null():
        return a
    if a == pa.null():
        return b
    return pa.float64() if {a, b} == {pa.int64(), pa.float64()} else pa.string()
