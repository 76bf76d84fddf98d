"""Turns records into text: aligned tables on a terminal, TSV in a pipe, JSON on request."""

import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

import click

from tfdump.cli import aligned_table
from tfdump.cli.aligned_table import Column, Styled
from tfdump.cli.terminal import stderr_terminal, stdout_terminal
from tfdump.errors import TfdumpError

SCHEMA_VERSION = 1

Cell = str | int | float | None


def write(text: str) -> bool:
    """Write to stdout; where its reader has closed it, return False and stay silent from then on.

    Raises TfdumpError where writing fails for another reason.
    """
    return _write(sys.stdout, _encodable(text))


def _encodable(text: str) -> str:
    """Return text with the characters escaped that the encoding of stdout lacks."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def write_binary(data: bytes) -> bool:
    """Write bytes to stdout, as `write` writes text."""
    return _write(sys.stdout.buffer, data)


def _write(stream: IO[Any], data: str | bytes) -> bool:
    try:
        stream.write(data)
        stream.flush()
    except OSError as error:
        _close_for_good(1)
        if not isinstance(error, BrokenPipeError):
            raise TfdumpError(f"cannot write to standard output: {error.strerror}") from None
        return False
    return True


def say(text: str, *styles: str) -> None:
    """Write a line to stderr, in styles of `tfdump.cli.terminal`; a closed stderr is no error."""
    line = harmless(text).encode("utf-8", "backslashreplace").decode()
    try:
        click.echo(stderr_terminal().styled(line, *styles), err=True)
    except OSError:
        _close_for_good(2)


def _close_for_good(number: int) -> None:
    """Redirect a stream to /dev/null, so that its buffer can be flushed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


@contextmanager
def only_data_on_stdout() -> Iterator[None]:
    """Redirect the stdout of the body, and of user code and libraries in it, to stderr."""
    sys.stdout.flush()
    saved, stdout = os.dup(1), sys.stdout
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stdout = stdout
        os.dup2(saved, 1)
        os.close(saved)


def table(
    columns: Sequence[str | Column],
    rows: Iterable[Sequence[Cell]],
    aligned: bool | None = None,
    all_in: str = "--json, or a pipe",
) -> str:
    """Return rows as text: aligned, with numbers shortened, or tab-separated in full.

    Where `aligned` is None, they are aligned on a terminal only. There no line is longer than the terminal is wide,
    and a line below says what is left out and how to get all of it (`all_in`).
    """
    rows = list(rows)
    described = [Column(column) if isinstance(column, str) else column for column in columns]
    if not (sys.stdout.isatty() if aligned is None else aligned):
        names = [column.name for column in described]
        lines = ["\t".join(names), *("\t".join(_full(cell) for cell in row) for row in rows)]
        return "\n".join(lines) + "\n"
    numeric = [all(isinstance(row[i], (int, float, type(None))) for row in rows) for i in range(len(columns))]
    texts = [[_short(cell) for cell in row] for row in rows]
    return aligned_table.aligned(described, texts, numeric, stdout_terminal(), all_in)


def json_list(kind: str, items: Iterable[dict[str, Any]], **further: Any) -> str:
    """Return the JSON of a command that lists items; NaN and infinities are strings."""
    document = {"schema_version": SCHEMA_VERSION, "kind": kind, **further, "items": list(items)}
    return json_text(document, indent=2) + "\n"


def without_missing_id(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a finding or verdict without its `example_id` where the example has no name."""
    return record if record["example_id"] is not None else {k: v for k, v in record.items() if k != "example_id"}


def json_text(value: Any, indent: int | None = None) -> str:
    """Return any record as JSON; NaN and infinities are strings."""
    return json.dumps(_json_safe(value), indent=indent, ensure_ascii=False, allow_nan=False, default=str)


def shape_cell(shape: Sequence[int] | None) -> str:
    """Return a shape with `?` for open sizes, or `?` alone where the rank is unknown."""
    if shape is None:
        return "?"
    sizes = ["?" if size == -1 else str(size) for size in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def _full(cell: Cell) -> str:
    if cell is None:
        return ""
    return repr(cell) if isinstance(cell, float) else one_cell(str(cell))


def _short(cell: Cell) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:.5g}"
    if isinstance(cell, int):
        return f"{cell:,}"
    text = _encodable(one_cell(cell))
    return Styled(text, cell.style) if isinstance(cell, Styled) else text


_COMMANDS = {number: f"\\x{number:02x}" for number in (*range(32), *range(127, 160)) if chr(number) not in "\t\n"}
_ESCAPED = _COMMANDS | {ord("\t"): "\\t", ord("\n"): "\\n", ord("\r"): "\\r"}


def harmless(text: str) -> str:
    """Return text of one or more lines with the characters escaped that control a terminal."""
    return text.translate(_COMMANDS)


def one_cell(text: str) -> str:
    """Return text with the characters escaped that end a cell or control a terminal."""
    return text.translate(_ESCAPED)


def _json_safe(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _json_safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_safe(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
