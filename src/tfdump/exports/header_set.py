"""The header that includes all others of a folder, with a table of their arrays (C99; C++11)."""

import re
from collections.abc import Iterable, Iterator, Mapping

from tfdump.dump.reader import Dump
from tfdump.dump.view import View
from tfdump.exports.arrays import Exported
from tfdump.exports.header import c_array_name, c_string, c_type
from tfdump.exports.raw import ALIGNMENT

HEADER_INDEX = "index.h"
_BYTES = {"float": 4, "double": 8, "bool": 1}

_TOP = """\
/*
 * Every header of this folder, and a table of the numbers in them, without text. `offset` is where the bytes of an
 * array begin if all arrays are laid end to end in this order, each at a multiple of {alignment} bytes.
 */
#ifndef {guard}
#define {guard}

#include <stddef.h>
{includes}
#ifndef TFDUMP_ARRAY_TYPE
#define TFDUMP_ARRAY_TYPE
typedef struct {{
    const char *name;       /* the group and the address of the tensor, and its part: activations/conv1 */
    const char *type;       /* the type of C of its values */
    const void *values;
    const size_t *shape;    /* `rank` sizes */
    size_t rank;
    size_t size;            /* how many values */
    size_t bytes;           /* what they take */
    size_t offset;
}} tfdump_array;
#endif

"""


def header_index(
    dump: Dump, headers: Mapping[str, str], tensors: Iterable[Exported], identifiers: Mapping[str, str]
) -> Iterator[bytes]:
    """Yield the header that includes `headers`, the paths of those of all tensors by name.

    The table is `tfdump_KIND`, such as `tfdump_activations`, with `TFDUMP_ACTIVATIONS_COUNT` rows.
    """
    kind = re.sub("[^0-9a-z]", "_", str(dump.attributes.get("kind", "")).lower()) or "arrays"
    guard = f"TFDUMP_INDEX_OF_{kind.upper()}_H"
    includes = "".join(f'#include "{path}"\n' for path in headers.values())
    yield _TOP.format(guard=guard, includes=includes, alignment=ALIGNMENT).encode()
    shapes: list[str] = []
    rows: list[str] = []
    end = 0
    for tensor in tensors:
        for part, view in tensor.views.items():
            if view.is_text:
                continue
            name = c_array_name(identifiers[tensor.name], part)
            kind_of_values, shape, size, nbytes = _layout_of(view, f"'{tensor.address}'")
            offset = end + -end % ALIGNMENT
            end = offset + nbytes
            sizes = ", ".join(map(str, shape or (1,)))
            shapes.append(f"static const size_t {name}__sizes[{max(1, len(shape))}] = {{{sizes}}};\n")
            full = f"{tensor.name}.{part}" if part else tensor.name
            rows.append(
                f'    {{{c_string(full)}, "{kind_of_values}", {name}, {name}__sizes, {len(shape)}, {size}, {nbytes}, '
                f"{offset}}},\n"
            )
    table = f"static const tfdump_array tfdump_{kind}[{max(1, len(rows))}] = {{\n"
    empty = '    {"", "", NULL, NULL, 0, 0, 0, 0},\n'
    yield f"#define TFDUMP_{kind.upper()}_COUNT {len(rows)}\n#define TFDUMP_{kind.upper()}_BYTES {end}\n\n".encode()
    yield "".join([*shapes, "\n", table, *(rows or [empty]), "};\n\n#endif\n"]).encode()


def _layout_of(view: View, what: str) -> tuple[str, tuple[int, ...], int, int]:
    """Return the type of C, the shape, the number of values and their bytes; a complex number is two values."""
    kind = c_type(view, what)
    complex_axis = (2,) if view.dtype.kind == "c" else ()
    size = view.size * (2 if complex_axis else 1)
    return kind, (*view.shape, *complex_axis), size, size * _BYTES.get(kind, view.dtype.itemsize)
