"""Records to text: aligned tables on a terminal, TSV in a pipe, JSON on request."""

import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

SCHEMA_VERSION = 1

Cell = str | int | float | None


def write(text: str) -> None:
    """Write to stdout; when its reader has gone away, stay silent from then on."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Return rows as text: aligned, with numbers shortened, on a terminal; tab-separated in full in a pipe."""
    rows = list(rows)
    if not sys.stdout.isatty():
        lines = ["\t".join(columns), *("\t".join(_full(cell) for cell in row) for row in rows)]
        return "\n".join(lines) + "\n"
    texts = [list(columns), *([_short(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in texts) for i in range(len(columns))]
    numeric = [all(isinstance(row[i], (int, float, type(None))) for row in rows) for i in range(len(columns))]
    aligned = [
        "  ".join(
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in texts
    ]
    return "\n".join(aligned) + "\n"


def json_list(kind: str, items: Iterable[dict[str, Any]], **further: Any) -> str:
    """Return the JSON that every listing command prints; NaN and infinities are strings."""
    document = {"schema_version": SCHEMA_VERSION, "kind": kind, **further, "items": list(items)}
    return json.dumps(_json_safe(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def shape_text(shape: Sequence[int] | None) -> str:
    """Return a shape with `?` for open sizes; `?` alone where the rank is unknown."""
    if shape is None:
        return "?"
    sizes = ["?" if size == -1 else str(size) for size in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def _full(cell: Cell) -> str:
    if cell is None:
        return ""
    return repr(cell) if isinstance(cell, float) else _one_cell(str(cell))


def _short(cell: Cell) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:.5g}"
    return f"{cell:,}" if isinstance(cell, int) else _one_cell(cell)


def _one_cell(text: str) -> str:
    """Return text without the characters that end a cell."""
    return text.translate({ord("\t"): "\\t", ord("\n"): "\\n", ord("\r"): "\\r"})


def _json_safe(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _json_safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_safe(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
