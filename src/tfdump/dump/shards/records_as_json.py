"""The records of a plan as JSON and back: attributes with their dtypes, and tensors."""

import math
from dataclasses import fields
from typing import Any

import numpy as np

from tfdump.tensors import NotCaptured, PlannedTensor, TensorInfo


def value_to_json(value: Any) -> Any:
    """Return the value of an attribute as JSON; what JSON has not by itself becomes a dtype, a shape and the bytes.

    HDF5 stores the value that `value_from_json` returns as it would have stored this one: a whole number as int64, and
    a float as float64. Raises TypeError for other values.
    """
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, (int, np.int64)):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, (list, tuple)):
        return [value_to_json(item) for item in value]
    array = np.asarray(value)
    if array.dtype.hasobject or np.dtype(array.dtype.str) != array.dtype:  # bfloat16 is no dtype of NumPy
        raise TypeError(f"{value!r} has no form in JSON")
    return {"dtype": array.dtype.str, "shape": list(array.shape), "bytes": array.tobytes().hex()}


def value_from_json(item: Any) -> Any:
    """Return the value that `value_to_json` was given, up to the kind of its sequences."""
    if isinstance(item, list):
        return [value_from_json(part) for part in item]
    if not isinstance(item, dict):
        return item
    array = np.frombuffer(bytes.fromhex(item["bytes"]), np.dtype(item["dtype"])).reshape(item["shape"])
    return array if item["shape"] else array[()]


def tensor_to_json(tensor: PlannedTensor) -> dict[str, Any]:
    """Return a planned tensor as JSON."""
    info = {field.name: getattr(tensor.info, field.name) for field in fields(TensorInfo)}
    info["attributes"] = [[name, value_to_json(value)] for name, value in tensor.info.attributes]
    return {
        "group": tensor.group,
        "axis0": tensor.axis0,
        "shape": list(tensor.shape),
        "bytes": tensor.bytes,
        "mixes": tensor.mixes,
        "info": {name: list(value) if isinstance(value, tuple) else value for name, value in info.items()},
    }


def tensor_from_json(item: dict[str, Any]) -> PlannedTensor:
    """Return the planned tensor that `tensor_to_json` was given; raises what malformed JSON raises."""
    described = dict(item["info"])
    for name in ("classes", "shape", "inputs", "operands"):
        described[name] = None if described[name] is None else tuple(described[name])
    described["attributes"] = tuple((name, value_from_json(value)) for name, value in described["attributes"])
    return PlannedTensor(
        item["group"],
        TensorInfo(**described),
        item["axis0"],
        tuple(item["shape"]),
        item["bytes"],
        item["mixes"],
    )


def not_captured_to_json(items: tuple[NotCaptured, ...]) -> list[list[Any]]:
    """Return what was not captured as JSON."""
    return [[item.address, item.reason, item.expected] for item in items]


def not_captured_from_json(items: list[list[Any]]) -> tuple[NotCaptured, ...]:
    """Return what `not_captured_to_json` was given."""
    return tuple(NotCaptured(*item) for item in items)
