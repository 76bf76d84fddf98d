"""The values of tensors: shortened on a terminal, all of them in a pipe as TSV or JSON."""

import shutil
import sys
from collections.abc import Iterable, Iterator

import numpy as np

from tfdump.cli.aligned_table import Column
from tfdump.cli.render import SCHEMA_VERSION, json_text, one_cell, shape_cell, table, write
from tfdump.cli.tensor_text import attribute_text, dtype_text, item_of
from tfdump.dump.examples import StoredExamples
from tfdump.dump.reader import Dump, Tensor
from tfdump.dump.slicing import Slicing
from tfdump.dump.view import RaggedOffsets, View, check_sparse, views_of
from tfdump.exports.ids import names_of_rows
from tfdump.exports.rows import indexed_values
from tfdump.exports.text import empty_list, json_texts, nested
from tfdump.files.byte_strings import decoded_text
from tfdump.tensors import Array, Note

_MOST_SHOWN = 1000
_MOST_OF_LARGE = 300
_EDGE = 3
_LONGEST_TEXT = 60
_EXAMPLE_ID = "\texample id"


def show_values(dump: Dump, tensors: list[Tensor], slicing: Slicing | None, json: bool, note: Note) -> None:
    """Print the values of these tensors; a note or a line names a tensor without values.

    Raises DumpError for a slice of a tensor without values, or one out of range.
    """
    terminal = sys.stdout.isatty() and not json
    for tensor in tensors:
        if slicing is not None or not tensor.without_values:
            views_of(tensor, slicing)  # raises errors before anything is printed
        elif not terminal:
            note(f"'{tensor.address}' {tensor.without_values}")
    if terminal:
        _write_all(_readable(dump, tensor, slicing) for tensor in tensors)
    else:
        _write_all(_json(dump, tensors, slicing) if json else _tsv(dump, tensors, slicing))


def _write_all(texts: Iterable[str]) -> None:
    for text in texts:
        if not write(text):
            return


def _tsv(dump: Dump, tensors: list[Tensor], slicing: Slicing | None) -> Iterator[str]:
    named = dump.examples is not None
    yield f"tensor\tindex\tvalue{_EXAMPLE_ID if named else ''}\n"
    for tensor in tensors:
        if tensor.without_values:
            continue
        name, names = one_cell(f"{tensor.group}/{tensor.address}"), names_of_rows(dump, tensor)
        for rows in indexed_values(tensor, slicing):
            values = map(one_cell, rows.values) if tensor.dtype == "string" else rows.values
            ends = (_ending(index, names) if named else "" for index in rows.indices)
            lines = zip(rows.indices, values, ends, strict=True)
            yield "".join(f"{name}\t{index}\t{value}{end}\n" for index, value, end in lines)


def _ending(index: str, names: StoredExamples | None) -> str:
    """Return the cell of the example of a value, by its index in the tensor."""
    return "\t" if names is None else f"\t{one_cell(names.name(int(index.partition(',')[0])))}"


def _json(dump: Dump, tensors: list[Tensor], slicing: Slicing | None) -> Iterator[str]:
    head = {"schema_version": SCHEMA_VERSION, "kind": "values", "file": dump.name}
    yield json_text(head | ({"slice": slicing.text} if slicing else {}))[:-1] + ', "items": ['
    for number, tensor in enumerate(tensors):
        yield (",\n" if number else "\n") + json_text(item_of(tensor))[:-1]
        if tensor.without_values:
            yield f', "values": null, "reason": {json_text(tensor.without_values)}}}'
            continue
        views = views_of(tensor, slicing)
        names = names_of_rows(dump, tensor)
        if names is not None:
            yield ', "example_ids": ['
            yield from _json_names(names, views[""].rows if "" in views else range(len(names)))
            yield "]"
        if "" in views:
            yield ', "values": '
            yield from _json_array(views[""])
            yield "}"
            continue
        yield ', "parts": {'
        for position, (name, view) in enumerate(views.items()):
            yield f"{', ' if position else ''}{json_text(name)}: "
            yield from _json_array(view)
        yield "}}"
    yield "\n]}\n"


def _json_names(names: StoredExamples, rows: range) -> Iterator[str]:
    for place, row in enumerate(rows):
        yield f"{', ' if place else ''}{json_text(names.name(row))}"


def _json_array(view: View) -> Iterator[str]:
    if 0 in view.shape:
        yield empty_list(view.shape)
    first = 0
    for block in view.blocks(1 << 18):
        yield nested(view.shape, first, json_texts(block))
        first += len(block)


def _readable(dump: Dump, tensor: Tensor, slicing: Slicing | None) -> str:
    """Return the attributes of a tensor, and its values as NumPy prints them, shortened."""
    names = names_of_rows(dump, tensor)
    name = f"{tensor.group}/{tensor.address}"
    rows: list[tuple[str, str]] = [("tensor", name), ("shape", shape_cell(tensor.shape)), ("dtype", dtype_text(tensor))]
    own_rows = {"address", "dtype", "stored_as", "shape"}
    rows += [
        ("declared_shape" if key == "shape" else key, attribute_text(value))
        for key, value in tensor.attributes.items()
        if key not in own_rows or key == "shape"
    ]
    head = table(("attribute", Column("value", shorten="wrap")), rows, aligned=True) + "\n"
    if tensor.without_values:
        return f"{head}no values: it {tensor.without_values}\n\n"
    views = views_of(tensor, slicing)
    if "" in views:
        return f"{head}{_names(names, views[''].rows)}{_array(views[''], slicing)}\n\n"
    if tensor.encoding == "sparse":
        check_sparse(tensor, views["values"], views["indices"])
        return f"{head}{_entries(views['values'], views['indices'])}\n\n"
    return f"{head}{_items(tensor, views, names)}\n\n"


def _names(names: StoredExamples | None, rows: range) -> str:
    """Return one line per row with the name of its example: the first and the last ones."""
    if names is None:
        return ""
    width = len(str(max(rows, default=0)))
    lines = [f"row {rows[place]:>{width}}: {one_cell(names.name(rows[place]))}" for place in _ends(len(rows))]
    return "".join(f"{line}\n" for line in _with_gap(lines, len(rows)))


def _array(view: View, slicing: Slicing | None = None) -> str:
    """Return values, and below them how many are left out."""
    sliced = f"slice {slicing.text}, shape {shape_cell(view.shape)}\n" if slicing and view.shape else ""
    if view.size <= _MOST_SHOWN:
        return sliced + _text(view.read(), sys.maxsize)
    for edge in range(_EDGE, 0, -1):
        count = int(np.prod([min(size, 2 * edge) for size in view.shape], dtype=float))
        if count <= _MOST_OF_LARGE:
            more = f"{count:,} of {view.size:,} values (--slice selects others, and a pipe gets all)"
            return f"{sliced}{_text(view.edges(edge), 0, edge)}\n{more}"
    return f"{sliced}{view.size:,} values in {len(view.shape)} axes: too many to show (select some with --slice)"


def _text(values: Array, threshold: int, edge: int = _EDGE) -> str:
    if values.dtype == object:
        texts = np.empty(values.shape, object)
        texts.reshape(-1)[:] = [_shortened(decoded_text(text)) for text in values.reshape(-1)]
        values = texts
    width = max(40, shutil.get_terminal_size().columns - 1)
    return np.array2string(values, threshold=threshold, edgeitems=edge, max_line_width=width, separator=" ")


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"


def _entries(values: View, indices: View) -> str:
    """Return the first and the last entries of a sparse tensor, with their coordinates."""
    count = values.shape[0]
    lines = [f"[{', '.join(map(str, indices.row(n).read().tolist()))}]  {_array(values.row(n))}" for n in _ends(count)]
    return "\n".join([*_with_gap(lines, count), f"{len(lines):,} of {count:,} stored entries"])


def _items(tensor: Tensor, views: dict[str, View], names: StoredExamples | None) -> str:
    """Return the first and the last rows of a ragged tensor, or items of a stack, each with its shape."""
    rows = RaggedOffsets(tensor) if tensor.encoding == "ragged" else None
    count, word = (rows.rows, "rows") if rows else (len(views), "items")
    lines = []
    for number in _ends(count):
        place = f"{number}" if names is None else f"{number} ({one_cell(names.name(number))})"
        if rows and len(rows.splits) > 1:
            start, stop = rows.splits[0][number : number + 2].tolist()
            lines.append(f"{place}: {stop - start} ragged rows (--slice {number},0 shows the first)")
            continue
        item = views_of(tensor, Slicing(str(number), (number,)))[""]
        lines.append(f"{place}: {shape_cell(item.shape)}\n{_array(item)}")
    return "\n".join([*_with_gap(lines, count), f"{len(lines):,} of {count:,} {word} (--slice 0 shows one)"])


def _ends(count: int) -> list[int]:
    return list(range(count)) if count <= 2 * _EDGE else [*range(_EDGE), *range(count - _EDGE, count)]


def _with_gap(lines: list[str], count: int) -> list[str]:
    return lines if len(lines) == count else [*lines[:_EDGE], "...", *lines[_EDGE:]]
