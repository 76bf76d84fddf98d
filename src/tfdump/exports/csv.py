"""CSV: one line per index of the first axis."""

import math
from collections.abc import Iterable, Iterator
from itertools import islice, repeat

import numpy as np

from tfdump.dump.view import View
from tfdump.exports.text import value_texts

_CELLS = 1 << 14
_SPECIAL = frozenset(',"\n\r')


def csv(view: View, header: bool = True, names: Iterable[str] | None = None) -> Iterator[bytes]:
    """Yield the lines of a CSV file in UTF-8: one line per index of the first axis, below a line with the names.

    A scalar or an array of one axis is the column `value`. The trailing axes of other arrays are side by side in C
    order, and the name of each column is its index: `[0]`, `[1]`, or `[0][0]`, `[0][1]`, ... Without `header` there are
    no names. `names` has the name of the example for every line, which becomes the first column, `id`.
    """
    tail = view.shape[1:]
    columns = math.prod(tail)
    separator = "," if columns else ""
    firsts = repeat("") if names is None else (f"{_quoted([name])[0]}{separator}" for name in names)
    if header:
        yield b"" if names is None else f"id{separator}".encode()
        yield from _column_names(tail)
    if not columns:
        yield from (f"{first}\n".encode("utf-8", "backslashreplace") for first in islice(firsts, view.shape[0]))
    done = 0
    for block in view.blocks():
        for first in range(0, len(block), _CELLS):
            cells = value_texts(block[first : first + _CELLS])
            cells = _quoted(cells) if view.is_text else cells
            out, start = [], 0
            while start < len(cells):
                row = cells[start : start + columns - done % columns]
                out.append("" if done % columns else next(firsts))
                start, done = start + len(row), done + len(row)
                out.append(",".join(row) + ("," if done % columns else "\n"))
            yield "".join(out).encode("utf-8", "backslashreplace")


def _column_names(tail: tuple[int, ...]) -> Iterator[bytes]:
    """Yield the first line: the index of every column in the trailing axes."""
    columns = math.prod(tail)
    if not tail or not columns:
        yield b"value\n" if columns else b"\n"
    for start in range(0, columns if tail else 0, _CELLS):
        stop = min(start + _CELLS, columns)
        indices = zip(*(axis.tolist() for axis in np.unravel_index(np.arange(start, stop), tail)), strict=True)
        names = ("".join(f"[{index}]" for index in place) for place in indices)
        yield (",".join(names) + ("\n" if stop == columns else ",")).encode()


def _quoted(cells: list[str]) -> list[str]:
    """Return text with quotes around what would end a cell (RFC 4180)."""
    return ['"' + cell.replace('"', '""') + '"' if _SPECIAL & set(cell) or not cell else cell for cell in cells]
