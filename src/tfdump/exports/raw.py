"""`.bin`: the values of arrays, little endian and in C order, and a JSON file beside them that tells what they are."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tfdump.dtypes import numpy_dtype
from tfdump.dump.reader import Dump
from tfdump.dump.view import View
from tfdump.exports.arrays import Exported
from tfdump.exports.narrow import narrowed, own_dtype
from tfdump.exports.origin import origin_of
from tfdump.exports.quantized import plain_parameters

DESCRIPTION = ".json"
"""What is appended to the name of a file for that of the JSON beside it."""

ALIGNMENT = 16
"""Every array begins at a multiple of so many bytes."""

_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class RawArray:
    """An array of the file: its tensor, its part of it, its values, and the dtype and place in which they are."""

    tensor: Exported
    part: str
    view: View
    dtype: str
    offset: int

    @property
    def nbytes(self) -> int:
        """How many bytes the values take."""
        return math.prod(self.view.shape) * numpy_dtype(self.dtype).itemsize


def raw_misfit(tensor: Exported) -> str:
    """Return why a tensor cannot be written as bytes; "" if it can."""
    for view in tensor.views.values():
        if view.is_text:
            return "holds text, whose items have no fixed number of bytes (use --format csv or c)"
        if view.dtype.kind not in "biufc":
            return f"is stored as {view.dtype}, which is not a number (use --format npy)"
    return ""


def raw_arrays(tensors: Iterable[Exported]) -> list[RawArray]:
    """Return all arrays of tensors, none of which is a `raw_misfit`, in their places in the file."""
    arrays: list[RawArray] = []
    end = 0
    for tensor in tensors:
        for part, view in tensor.views.items():
            arrays.append(RawArray(tensor, part, view, own_dtype(tensor, view), end + -end % ALIGNMENT))
            end = arrays[-1].offset + arrays[-1].nbytes
    return arrays


def raw(arrays: Iterable[RawArray]) -> Iterator[bytes]:
    """Yield the bytes of a file of arrays, with zeros between them."""
    end = 0
    for array in arrays:
        yield bytes(array.offset - end)
        for block in array.view.blocks():
            yield narrowed(block, array.dtype, f"'{array.tensor.address}'")
        end = array.offset + array.nbytes


def raw_description(
    dump: Dump, arrays: Iterable[RawArray], file: str, further: Mapping[str, str] | None = None
) -> Iterator[bytes]:
    """Yield the JSON that tells what is in a file of arrays, and where it comes from."""
    document = {
        "schema_version": _SCHEMA_VERSION,
        "kind": "raw",
        "file": file,
        "byte_order": "little",
        "order": "C",
        **(further or {}),
        "origin": origin_of(dump),
        "items": [_item(array) for array in arrays],
    }
    yield (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def _item(array: RawArray) -> dict[str, Any]:
    tensor = array.tensor
    parameters = {} if tensor.quantization is None else plain_parameters(tensor.quantization)
    return {
        "name": tensor.name,
        **({"part": array.part} if array.part else {}),
        "offset": array.offset,
        "bytes": array.nbytes,
        "shape": list(array.view.shape),
        "dtype": tensor.dtype,
        "stored_as": array.dtype,
        "axis0": tensor.axis0,
        "class": tensor.class_name,
        **{name: values.tolist() for name, values in parameters.items()},
    }
