"""What the file of a tensor should hold: how many numbers, and of which dtype."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfdump.dtypes import STRING, kind_of, numpy_dtype
from tfdump.dump import layout
from tfdump.dump.axis0 import EXAMPLE
from tfdump.dump.tensor import Tensor
from tfdump.errors import InputError
from tfdump.exports.arrays import computed_dtype_of
from tfdump.exports.narrow import written_dtype
from tfdump.tensors import Array

DTYPES = (
    "float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
    "uint64", "bool",
)  # fmt: skip
"""The dtypes that the numbers in a file may have."""

_KINDS = {"f": "real numbers", "i": "integers", "u": "unsigned integers", "b": "truth values", "c": "complex numbers"}


@dataclass(frozen=True)
class Expected:
    """The values of a tensor that a file should hold.

    `dtype` is that of the numbers in the file, and `computed` is the dtype that a dump of them says.
    """

    tensor: Tensor
    shape: tuple[int, ...]
    dtype: str
    computed: str
    by_example: bool

    @property
    def what(self) -> str:
        """The tensor, as messages call it."""
        return f"'{self.tensor.address}'"

    @property
    def count(self) -> int:
        """How many values there are."""
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """How many bytes a value takes in the file."""
        return numpy_dtype(self.dtype).itemsize

    @property
    def stored(self) -> np.dtype[Any]:
        """The dtype in which a dump stores the values."""
        return layout.stored_dtype(self.dtype)

    def check_count(self, label: str, count: int, in_bytes: int | None = None) -> None:
        """Raise InputError unless a file holds `count` values; `in_bytes` is its length, if that is what tells."""
        nbytes = self.count * self.itemsize
        if count == self.count and in_bytes in (None, nbytes):
            return
        sizes = " x ".join(map(str, self.shape))
        shape = f" ({sizes})" if len(self.shape) > 1 else ""
        expected = f"{self.count:,} values{shape} of {self.dtype}"
        amount = f"{count:,}"
        if in_bytes is not None:
            expected += f", {nbytes:,} bytes,"
            amount = f"{count:,} in {in_bytes:,} bytes"
            if in_bytes % self.itemsize:
                amount += f", which is no whole number of {self.dtype}"
        raise InputError(
            f"{label}: {expected} are expected for {self.what}, and it has {amount} ({self._remedy(count, in_bytes)})"
        )

    def _remedy(self, count: int, in_bytes: int | None) -> str:
        row = math.prod(self.shape[1:])
        if self.by_example and row and count and count % row == 0 and count < self.count:
            return f"these are {count // row:,} examples: --examples START:STOP says which"
        return f"look at {'' if in_bytes is None else '--dtype, and at '}what the device writes"


def expected_of(tensor: Tensor, rows: range | None, dtype: str | None) -> Expected:
    """Return what a file of a tensor should hold: some `rows` of those that are examples, in the dtype `dtype`.

    By default the dtype is that in which `tfdump cat --format bin` writes the tensor. Raises InputError for a tensor
    that no file can hold, and for a dtype of another kind.
    """
    what = f"'{tensor.address}'"
    if tensor.encoding is not None:
        raise InputError(f"{what} is {tensor.encoding} and consists of several arrays, which a device file cannot hold")
    if tensor.dtype == STRING or tensor.stored_dtype == "bytes":
        raise InputError(f"{what} holds text, and a device file holds numbers")
    if not tensor.connected or any(size < 0 for size in tensor.shape):
        raise InputError(f"{what} has no values that a file could hold")
    by_example = tensor.attributes.get("axis0") == EXAMPLE
    shape = tensor.shape
    if by_example and rows is not None:
        shape = (len(rows), *shape[1:])
    own = written_dtype(computed_dtype_of(tensor), layout.stored_dtype(tensor.stored_dtype))
    if dtype is not None:
        check_number_kind(dtype, tensor, f"--dtype {dtype}")
    return Expected(tensor, shape, dtype or own, dtype or tensor.dtype, by_example)


def check_number_kind(dtype: str, tensor: Tensor, label: str) -> None:
    """Raise InputError if numbers of a dtype cannot be those of a tensor."""
    kind, own = kind_of(dtype), kind_of(tensor.stored_dtype)
    if kind == own:
        return
    remedy = "the golden values must be of the same kind"
    if own in "iu" and kind == "f" and "scale" in tensor.attributes:
        remedy += ": dump them with --dequantize"
    raise InputError(
        f"{label} means {_KINDS.get(kind, dtype)}, and '{tensor.address}' holds {_KINDS.get(own, tensor.dtype)} "
        f"({tensor.stored_dtype}; {remedy})"
    )


def narrowed_numbers(values: Array, expected: Expected, label: str) -> Array:
    """Return real numbers in the dtype of a dump, rounded to a dtype that was asked for.

    Raises InputError for one that is too large.
    """
    asked = expected.computed != expected.tensor.dtype
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = values.astype(numpy_dtype(expected.dtype)) if asked else values
        stored: Array = rounded.astype(expected.stored)
    large = np.isinf(stored) & ~np.isinf(values)
    if large.any():
        raise InputError(f"{label}: {values[large][0]} is too large for {expected.dtype} (choose another --dtype)")
    return stored
