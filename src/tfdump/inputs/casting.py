"""Casting the values of a file to the dtype that the model declares, and refusing values that do not fit."""

from typing import Any

import numpy as np

from tfdump.dtypes import kind_of
from tfdump.errors import InputError
from tfdump.tensors import Array

_WORDS = {
    "f": "floating-point numbers",
    "i": "integers",
    "u": "integers",
    "b": "booleans",
    "c": "complex numbers",
}


def describe(dtype: str) -> str:
    """Return the dtype with the words for its kind."""
    kind = kind_of(dtype)
    return "text" if kind == "S" else f"{_WORDS.get(kind, 'data')} ({dtype})"


def check_castable(source: str, wanted: str, where: str, name: str) -> None:
    """Raise InputError where no value of dtype `source` can be cast to dtype `wanted`."""
    have, want = kind_of(source), kind_of(wanted)
    if have == want or {have, want} <= {"i", "u"}:
        return
    if want == "f" and have in "iub":
        return
    if want in "iu" and have == "b":
        return
    if want == "b" and have in "fiu":  # `cast` accepts 0 and 1
        return
    if want == "c" and have in "fiub":
        return
    hint = " (save the ids as integers)" if want in "iu" and have == "f" else ""
    raise InputError(f"{where} holds {describe(source)}, and the input '{name}' takes {describe(wanted)}{hint}")


def quantize(values: Array, scale: float, zero_point: int, wanted: np.dtype[Any], where: str, start: int) -> Array:
    """Return the integers of dtype `wanted` that represent real numbers: `value / scale + zero_point`.

    Halves are rounded away from zero, and values outside of the range of `wanted` become its limits, as the operation
    QUANTIZE of TFLite does. `start` is the number of the first row, for messages. Raises InputError for NaN.
    """
    if np.isnan(values).any():
        row = int(np.argwhere(np.isnan(values))[0][0])
        raise InputError(f"{where}: NaN in row {start + row} cannot be quantized to {wanted} (replace the NaN)")
    steps = values.astype(np.float32) / np.float32(scale)
    rounded = np.trunc(steps + np.copysign(np.float32(0.5), steps)) + np.float32(zero_point)
    limits = np.iinfo(wanted)
    quantized: Array = np.clip(rounded, limits.min, limits.max).astype(wanted)
    return quantized


def _booleans(values: Array, where: str, start: int) -> Array:
    """Return numbers that are 0 or 1 as booleans; raises InputError for the first other number."""
    true = values == 1
    bad = ~(true | (values == 0))  # NaN included
    if bad.any():
        first = tuple(int(n) for n in np.argwhere(bad)[0])
        at = f" at [{', '.join(map(str, first[1:]))}]" if len(first) > 1 else ""
        raise InputError(
            f"{where}: {values[first]} in row {start + first[0]}{at} is neither 0 nor 1, and the model takes booleans "
            "here (save booleans, for example: array != 0)"
        )
    return np.asarray(true, bool)


def cast(values: Array, wanted: np.dtype[Any], where: str, start: int) -> Array:
    """Return `values` in the dtype `wanted`; raises InputError where a number does not fit into it.

    `start` is the number of the first row, for messages. Floats may lose precision, integers may not. Only 0 and 1
    become booleans.
    """
    if wanted.kind == "b" and values.dtype.kind != "b":
        return _booleans(values, where, start)
    lossless = np.can_cast(values.dtype, wanted) and not (values.dtype.itemsize == 8 and values.dtype.kind in "iu")
    if values.dtype == wanted or lossless:
        return values.astype(wanted, copy=False)
    if values.dtype.kind in "iu" and wanted.kind in "iu":
        limits = np.iinfo(wanted)
        bad = (values < limits.min) | (values > limits.max)
        converted = values.astype(wanted)
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            converted = values.astype(wanted)
            if values.dtype.kind in "iu":
                bad = converted.astype(np.longdouble) != values.astype(np.longdouble)
            else:
                bad = np.isinf(converted) & np.isfinite(values)
    if bad.any():
        first = tuple(int(n) for n in np.argwhere(bad)[0])
        raise InputError(
            f"{where}: {values[first]} in row {start + first[0]} does not fit into {wanted} "
            "(scale the values, or save them in a dtype that the model takes)"
        )
    return converted
