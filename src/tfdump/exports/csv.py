"""CSV: a line an index of the first axis."""

import math
from collections.abc import Iterator

import numpy as np

from tfdump.dump.view import View
from tfdump.exports.text import texts

_CELLS = 1 << 14
_SPECIAL = frozenset(',"\n\r')


def csv(view: View) -> Iterator[bytes]:
    """Yield the lines of a CSV file in UTF-8.

    A scalar is one line, an array of one axis a line a value, one of two axes a line a row. Of more axes, the trailing
    ones lie side by side in C order, below a header that has the index of each: `[0][0]`, `[0][1]`, ...
    """
    tail = view.shape[1:]
    columns = math.prod(tail)
    if len(tail) > 1 and columns:
        for start in range(0, columns, _CELLS):
            stop = min(start + _CELLS, columns)
            indices = zip(*(axis.tolist() for axis in np.unravel_index(np.arange(start, stop), tail)), strict=True)
            names = ("".join(f"[{index}]" for index in place) for place in indices)
            yield (",".join(names) + ("\n" if stop == columns else ",")).encode()
    if not columns:
        yield b"\n" * view.shape[0]
    done = 0
    for block in view.blocks():
        for first in range(0, len(block), _CELLS):
            cells = texts(block[first : first + _CELLS])
            cells = _quoted(cells) if view.is_text else cells
            out, start = [], 0
            while start < len(cells):
                row = cells[start : start + columns - done % columns]
                start, done = start + len(row), done + len(row)
                out.append(",".join(row) + ("," if done % columns else "\n"))
            yield "".join(out).encode("utf-8", "backslashreplace")


def _quoted(cells: list[str]) -> list[str]:
    """Return text with quotes around what would end a cell (RFC 4180)."""
    return ['"' + cell.replace('"', '""') + '"' if _SPECIAL & set(cell) or not cell else cell for cell in cells]
