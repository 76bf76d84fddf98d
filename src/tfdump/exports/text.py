"""Values as text from which the same values can be read back."""

import json
import math
from typing import Any

import numpy as np

from tfdump.files.byte_strings import decoded_text
from tfdump.tensors import Array


def value_texts(values: Array) -> list[str]:
    """Return flat values as text: numbers with the fewest digits that give back the same value in their own dtype.

    NaN and infinities are `nan`, `inf` and `-inf`, truth values `True` and `False`. Text is unchanged, and bytes that
    are not text are escaped (`\\x00`, `\\xff`).
    """
    kind = values.dtype.kind
    if kind in "iub" or values.dtype == np.float64:
        return [repr(value) for value in values.tolist()]
    return [decoded_text(value) for value in values]


def json_texts(values: Array) -> list[str]:
    """Return flat values as JSON: NaN and infinities as strings, complex numbers as pairs."""
    kind = values.dtype.kind
    if kind == "f":
        return [text if text[-1] not in "nf" else _NOT_FINITE[text] for text in value_texts(values)]
    if kind == "b":
        return ["true" if value else "false" for value in values.tolist()]
    if kind == "c":
        pairs = zip(json_texts(values.real), json_texts(values.imag), strict=True)
        return [f"[{real}, {imaginary}]" for real, imaginary in pairs]
    if kind in "iu":
        return value_texts(values)
    return [json.dumps(decoded_text(value), ensure_ascii=False) for value in values]


_NOT_FINITE = {"nan": '"NaN"', "inf": '"Infinity"', "-inf": '"-Infinity"'}


def nested(shape: tuple[int, ...], first: int, items: list[str]) -> str:
    """Return JSON for `items`, the values of an array of this shape in C order from the `first` on.

    The JSON of all blocks of an array, joined, is the array as nested lists.
    """
    if not shape:
        return items[0]
    sizes = [math.prod(shape[axis:]) for axis in range(len(shape))]
    row, written, out = sizes[-1], 0, []
    while written < len(items):
        place = first + written
        opening = sum(place % size == 0 for size in sizes)
        run = items[written : written + row - place % row]
        written += len(run)
        closing = sum((first + written) % size == 0 for size in sizes)
        out += [", " if place else "", "[" * opening, ", ".join(run), "]" * closing]
    return "".join(out)


def empty_list(shape: tuple[int, ...]) -> str:
    """Return JSON for an array without values: nested lists down to the first axis of size 0."""
    made: Any = []
    for size in reversed(shape[: shape.index(0)]):
        made = [made] * size
    return json.dumps(made)
