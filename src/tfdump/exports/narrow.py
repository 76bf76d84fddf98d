"""Values of floats that HDF5 cannot name, which a dump stores in a wider dtype, as the bytes of their own dtype."""

from typing import Any

import numpy as np

from tfdump.dump.view import View
from tfdump.errors import DumpError
from tfdump.exports.arrays import Exported
from tfdump.tensors import Array

_STORED = {"bfloat16": np.float32, "float8_e4m3fn": np.float16, "float8_e5m2": np.float16}


def own_dtype(tensor: Exported, view: View) -> str:
    """Return the dtype in which an array of a tensor can be written without loss.

    That is the one in which the model computed it if the dump stores it upcast, else the one in the dump.
    """
    return written_dtype(tensor.computed_dtype, view.dtype)


def written_dtype(computed: str, stored: np.dtype[Any]) -> str:
    """Return the narrower one of the dtypes in which values were computed and are stored, if that loses nothing."""
    upcast = _STORED.get(computed)
    return computed if upcast is not None and stored == upcast else stored.name


def narrowed(values: Array, dtype: str, what: str) -> bytes:
    """Return the bytes of flat values in `dtype`, little endian: float32 as bfloat16, and float16 as float8.

    No value is rounded, and a NaN is the same one: raises DumpError for a value that `dtype` does not have. `what`
    names the tensor in messages.
    """
    upcast = _STORED.get(dtype)
    if upcast is None or values.dtype != upcast:
        return _little(values).tobytes()
    if dtype == "float8_e4m3fn":
        return _by_value(values, dtype, what)
    halves = _little(values).view("<u2" if dtype == "bfloat16" else "u1").reshape(-1, 2)  # the wide exponents agree
    if halves[:, 0].any():
        raise _rounds(dtype, what)
    return halves[:, 1].tobytes()


def _by_value(values: Array, dtype: str, what: str) -> bytes:
    import ml_dtypes

    narrow = values.astype(getattr(ml_dtypes, dtype))
    if not np.array_equal(narrow.astype(values.dtype), values, equal_nan=True):
        raise _rounds(dtype, what)
    return narrow.tobytes()


def _little(values: Array) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(values, values.dtype.newbyteorder("<"))


def _rounds(dtype: str, what: str) -> DumpError:
    return DumpError(f"{what} holds values that {dtype} does not have, which is its dtype (use --format npz)")
