"""`.safetensors`: a header in JSON, and behind it the bytes of all arrays in C order.

The format is that of https://github.com/huggingface/safetensors. Its library takes all arrays in memory, so that it
cannot write a dump that is larger; here the header follows from the shapes, and the values are written piece by piece.
The bytes are those that the library writes of the same arrays, except that its metadata has no order.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tfdump.dump.view import View
from tfdump.errors import DumpError
from tfdump.exports.arrays import Exported, member_names
from tfdump.exports.narrow import narrowed, own_dtype
from tfdump.exports.quantized import plain_parameters

METADATA = "__metadata__"
"""The name in the header that is no array."""

_KINDS = {
    "bool": ("BOOL", 1), "uint8": ("U8", 1), "int8": ("I8", 1), "float8_e5m2": ("F8_E5M2", 1),
    "float8_e4m3fn": ("F8_E4M3", 1), "int16": ("I16", 2), "uint16": ("U16", 2), "float16": ("F16", 2),
    "bfloat16": ("BF16", 2), "int32": ("I32", 4), "uint32": ("U32", 4), "float32": ("F32", 4), "float64": ("F64", 8),
    "int64": ("I64", 8), "uint64": ("U64", 8),
}  # fmt: skip
"""The name in the header and the bytes of every dtype, in the order in which the library sorts them."""

_ORDER = list(_KINDS)
_MOST_HEADER = 100_000_000
"""Bytes that the format allows for a header."""


@dataclass(frozen=True)
class _Array:
    """An array of the file: its name, its values, the dtype in which they are written, and its tensor for messages."""

    name: str
    view: View
    dtype: str
    what: str

    @property
    def nbytes(self) -> int:
        """How many bytes the values take."""
        return math.prod(self.view.shape) * _KINDS[self.dtype][1]


def safetensors_misfit(tensor: Exported) -> str:
    """Return why a tensor cannot be written; "" if it can."""
    for view in tensor.views.values():
        if view.is_text:
            return "holds text, which safetensors does not have (use --format npz or csv)"
        if view.dtype.kind == "c":
            return "holds complex numbers, which most readers of safetensors do not take (use --format npz)"
        if view.dtype.name not in _KINDS:
            return f"is stored as {view.dtype}, which safetensors does not have"
    return ""


def safetensors(tensors: Iterable[Exported], metadata: Mapping[str, str]) -> Iterator[bytes]:
    """Yield the bytes of a file of all arrays of these tensors, none of which is a `safetensors_misfit`.

    An array has its name in an archive. bfloat16 and float8 are written as such where the dump has what the model
    computed. Raises DumpError if `metadata` does not fit into the header.
    """
    tensors = list(tensors)
    names = member_names(tensors)
    arrays = [
        _Array(names[tensor.name, part], view, own_dtype(tensor, view), f"'{tensor.address}'")
        for tensor in tensors
        for part, view in tensor.views.items()
    ]
    arrays.sort(key=lambda array: (-_ORDER.index(array.dtype), array.name))
    yield _header(arrays, {**metadata, **_described(tensors)})
    for array in arrays:
        for block in array.view.blocks():
            yield narrowed(block, array.dtype, array.what)


def _described(tensors: Iterable[Exported]) -> dict[str, str]:
    """Return what the header does not say of the tensors: their first axis, the dtype of the model, and scales."""
    tensors = list(tensors)
    axes = {tensor.name: tensor.axis0 for tensor in tensors}
    dtypes = {tensor.name: tensor.dtype for tensor in tensors}
    scales = {
        tensor.name: {name: values.tolist() for name, values in plain_parameters(tensor.quantization).items()}
        for tensor in tensors
        if tensor.quantization is not None
    }
    described = {"axis0": axes, "dtype": dtypes, **({"quantization": scales} if scales else {})}
    return {name: json.dumps(items, ensure_ascii=False) for name, items in described.items()}


def _header(arrays: Iterable[_Array], metadata: Mapping[str, str]) -> bytes:
    """Return the length of the header and the header, padded so that the values begin at a multiple of 8."""
    entries: dict[str, object] = {METADATA: dict(sorted(metadata.items()))}
    stop = 0
    for array in arrays:
        start, stop = stop, stop + array.nbytes
        entries[array.name] = {
            "dtype": _KINDS[array.dtype][0],
            "shape": array.view.shape,
            "data_offsets": [start, stop],
        }
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    text += b" " * (-len(text) % 8)
    if len(text) > _MOST_HEADER:
        raise DumpError(
            f"the names of the examples and tensors, and the scales of quantized ones, take {len(text):,} bytes, and "
            f"safetensors has room for {_MOST_HEADER:,} (leave --ids out, add --rows-per-file, or select fewer tensors)"
        )
    return len(text).to_bytes(8, "little") + text
