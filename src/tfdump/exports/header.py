"""C headers: typed arrays in C order, macros for their dimensions, and comments on their origin (C99; C++11)."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from tfdump.dump.view import MemoryPart, View
from tfdump.errors import DumpError
from tfdump.exports.text import value_texts
from tfdump.tensors import Array

_CELLS = 1 << 14
_PER_LINE = 8
_REAL = {2: "float", 4: "float", 8: "double"}
_ESCAPED = {ord('"'): r"\"", ord("\\"): r"\\", ord("?"): r"\?"}  # ?? could begin a trigraph


def c_identifiers(names: Iterable[str]) -> dict[str, str]:
    """Return a C identifier for every name, `group/address`; no two are equal, even when case is ignored.

    They begin with the name of a group, so that none is a keyword or a function of the standard library (`log`).
    """
    identifiers: dict[str, str] = {}
    used: set[str] = set()
    for name in dict.fromkeys(names):
        plain = re.sub("[^0-9A-Za-z]+", "_", name).strip("_")
        identifier, number = plain, 1
        while identifier.casefold() in used:
            number += 1
            identifier = f"{plain}_{number}"
        used.add(identifier.casefold())
        identifiers[name] = identifier
    return identifiers


def c_header(
    identifier: str, views: Mapping[str, View], comment: Iterable[str], what: str, parameters: Mapping[str, Array]
) -> Iterator[bytes]:
    """Yield a header with one array per view: `identifier`, or `identifier__part` for the parts of a composite.

    float16 becomes float, which holds all its values. Text is UTF-8, and a complex number is two elements, real and
    imaginary. `comment` has lines for the top, and `what` names the tensor in messages. `parameters` are numbers that
    belong to the tensor, such as its scale: one number is the macro `IDENTIFIER_SCALE`, several are the array
    `identifier__scale`. Raises DumpError for values that are neither numbers nor text.
    """
    guard = f"TFDUMP_{identifier.upper()}_H"
    lines = "".join(f" * {_comment(line)}\n" for line in comment)
    includes = "#include <math.h>\n#include <stdbool.h>\n#include <stdint.h>\n"
    yield f"/*\n{lines} */\n#ifndef {guard}\n#define {guard}\n\n{includes}".encode()
    macros = {name.upper(): values for name, values in parameters.items() if not values.ndim}
    if macros:
        lines = "".join(f"#define {identifier.upper()}_{name} ({_number(values)})\n" for name, values in macros.items())
        yield f"\n{lines}".encode()
    for name, view in views.items():
        yield from _array(c_array_name(identifier, name), view, what)
    for name, values in parameters.items():
        if values.ndim:
            yield from _array(c_array_name(identifier, name), View(MemoryPart(values)), what)
    yield b"\n#endif\n"


def c_array_name(identifier: str, part: str) -> str:
    """Return the identifier of an array of a tensor: that of the tensor, or of a part of it."""
    return f"{identifier}__{re.sub('[^0-9A-Za-z]', '_', part)}" if part else identifier


def _number(values: Array) -> str:
    (literal,) = _literals(values.reshape(1), View(MemoryPart(values)))
    return literal


def _array(name: str, view: View, what: str) -> Iterator[bytes]:
    kind = f"const {c_type(view, what)} "
    macro = name.upper()
    shape = (*view.shape, 2) if view.dtype.kind == "c" else view.shape
    size = view.size * (2 if view.dtype.kind == "c" else 1)
    dimensions = [f"#define {macro}_DIM{axis} {count}" for axis, count in enumerate(shape)]
    macros = "\n".join([f"#define {macro}_RANK {len(shape)}", *dimensions, f"#define {macro}_SIZE {size}"])
    if not size:
        yield f"\n{macros}\nstatic {kind}{name}[1] = {{0}}; /* no values: C has no empty arrays */\n".encode()
        return
    yield f"\n{macros}\nstatic {kind}{name}[{macro}_SIZE] = {{\n".encode()
    for block in view.blocks():
        flat = np.ascontiguousarray(block).view(block.real.dtype) if block.dtype.kind == "c" else block
        for start in range(0, len(flat), _CELLS):
            cells = _literals(flat[start : start + _CELLS], view)
            rows = (cells[n : n + _PER_LINE] for n in range(0, len(cells), _PER_LINE))
            yield "".join(f"    {', '.join(row)},\n" for row in rows).encode()
    yield b"};\n"


def c_type(view: View, what: str) -> str:
    """Return the type of the elements of an array; raises DumpError if C has none. `what` is the tensor."""
    if view.is_bytes and any(b"\0" in item for block in view.blocks() for item in block):
        raise DumpError(f"{what} holds NUL, which ends a string of C (choose another --format)")
    if view.is_text:
        return "char *const"
    dtype = view.dtype
    real = np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype
    if real.kind == "f" and real.itemsize in _REAL:
        return _REAL[real.itemsize]
    if dtype.kind in "iu":
        return f"{'u' if dtype.kind == 'u' else ''}int{8 * dtype.itemsize}_t"
    if dtype.kind == "b":
        return "bool"
    raise DumpError(f"{what} is stored as {dtype}, for which C has no type (choose another --format)")


def _literals(values: Array, view: View) -> list[str]:
    """Return C literals with exactly these values, except for the payload of a NaN."""
    if view.is_text:
        return [c_string(value) for value in values]
    kind = values.dtype.kind
    if kind == "b":
        return ["true" if value else "false" for value in values.tolist()]
    if kind in "iu":
        return _integers(values)
    if values.dtype.itemsize == 2:
        values = values.astype(np.float32)
    suffix = "f" if values.dtype.itemsize == 4 else ""
    return [_NOT_FINITE.get(text) or _floating(text) + suffix for text in value_texts(values)]


_NOT_FINITE = {"nan": "NAN", "inf": "INFINITY", "-inf": "-INFINITY"}


def _floating(text: str) -> str:
    return text if "." in text or "e" in text else text + ".0"


def _integers(values: Array) -> list[str]:
    if values.dtype.itemsize < 4:
        return [str(value) for value in values.tolist()]
    macro = f"{'U' if values.dtype.kind == 'u' else ''}INT{8 * values.dtype.itemsize}_C"
    least: Any = np.iinfo(values.dtype).min
    return [
        f"{value}" if 0 <= value < 1 << 15 else f"INT{8 * values.dtype.itemsize}_MIN" if value == least else
        f"-{macro}({-value})" if value < 0 else f"{macro}({value})"
        for value in values.tolist()
    ]  # fmt: skip


def c_string(text: str | bytes) -> str:
    """Return a string literal of bytes or UTF-8, with three octal digits for what is not printable ASCII."""
    encoded = text if isinstance(text, bytes) else str(text).encode("utf-8", "backslashreplace")
    plain = "".join(chr(byte).translate(_ESCAPED) if 32 <= byte < 127 else f"\\{byte:03o}" for byte in encoded)
    return f'"{plain}"'


def _comment(line: str) -> str:
    """Return a line in ASCII that neither ends its comment nor continues on the next line."""
    plain = line.encode("ascii", "backslashreplace").decode()
    plain = "".join(character if character.isprintable() else " " for character in plain)
    return plain.replace("*/", "* /").replace("/*", "/ *").rstrip("\\")
