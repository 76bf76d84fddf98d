"""The names of dtypes, as TensorFlow spells them, and the NumPy dtypes that they stand for."""

from typing import Any

import numpy as np
import numpy.typing as npt

STRING = "string"
"""The name of the dtype of text."""


_NUMPY = frozenset({f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}) | {
    "bool", "float16", "float32", "float64", "complex64", "complex128",
}  # fmt: skip
"""Dtypes that NumPy itself has."""


def dtype_name(dtype: npt.DTypeLike) -> str:
    """Return TensorFlow's name of a NumPy dtype; text of any kind is `string`."""
    numpy_type = np.dtype(dtype)
    return STRING if numpy_type.kind in "OSTU" else numpy_type.name


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return the NumPy dtype of a dtype name, including those of ml_dtypes; `string` is object, `qint8` is int8."""
    if name == STRING:
        return np.dtype(object)
    plain = name.removeprefix("q")  # quantized numbers are stored as integers
    if plain in _NUMPY:
        return np.dtype(plain)
    import ml_dtypes  # it takes as long as a fifth of NumPy, and few models need it

    return np.dtype(getattr(ml_dtypes, plain, None) or plain)


def kind_of(name: str) -> str:
    """Return the kind of a dtype: `f`, `i`, `u`, `b`, `c` for numbers, `S` for text, `V` for anything else.

    bfloat16 and float8 are `f`, int4 is `i`.
    """
    if name == STRING:
        return "S"
    if name.startswith(("void", "record", "datetime", "timedelta")):
        return "V"
    for kind in ("float", "uint", "int"):
        if kind in name:
            return kind[0]
    return np.dtype(name).kind
