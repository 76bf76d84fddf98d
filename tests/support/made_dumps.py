"""Dumps made with h5py alone, for tests that compare and check them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import tfdump
from tfdump.comparison.verdict import DiffReport

TEXT = h5py.string_dtype("utf-8")
ROOT = {"format": "tfdump", "format_version": 1, "kind": "activations", "examples": 4, "first_example": 0,
        "training": False, "seed": 0, "batch_size": 4, "tensorflow_version": "2.21.0"}  # fmt: skip


class Tensor:
    """Values with attributes: an array, or a dict of the parts of a composite."""

    def __init__(self, values: Any, /, **attributes: Any) -> None:
        self.values = values
        self.attributes = attributes


def make_dump(path: Path, tensors: dict[str, Any], loss: Any = None, storage: Any = None, **root: Any) -> Path:
    """Write a dump; a name with `/` tells its group, else it is an activation. Orders count up in each group."""
    orders: dict[str, int] = {}
    with h5py.File(path, "w", track_order=True) as file:
        file.attrs.update(ROOT | root)
        for name, tensor_or_values in tensors.items():
            tensor = tensor_or_values if isinstance(tensor_or_values, Tensor) else Tensor(tensor_or_values)
            group, _, address = name.rpartition("/")
            where = file.require_group(group or "activations")
            attributes = {"address": address, "layer": address.partition(":")[0], "class": "Dense", "axis0": "example",
                          "order": orders.setdefault(group, 0)}  # fmt: skip
            orders[group] += 1
            if isinstance(tensor.values, dict):
                made: Any = where.create_group(address, track_order=True)
                for part, values in tensor.values.items():
                    made.create_dataset(part, data=values, **_text(values))
                first = np.asarray(next(iter(tensor.values.values())))
            else:
                first = np.asarray(tensor.values)
                chunked = storage if first.ndim else None
                made = where.create_dataset(address, data=tensor.values, **_text(first), **(chunked or {}))
            dtype = "string" if first.dtype.kind in "OSU" else first.dtype.name
            made.attrs.update(attributes | {"dtype": dtype} | tensor.attributes)
        if loss is not None:
            file["loss"] = np.asarray(loss, np.float64)
    return path


def comparison_in(folder: Path) -> Callable[..., DiffReport]:
    """Return a function that writes two dumps, `g.h5` and `n.h5`, from dicts of tensors and compares them."""

    def compare(golden: dict[str, Any], new: dict[str, Any], roots: Any = ({}, {}), **options: Any) -> DiffReport:
        sides = zip(("g.h5", "n.h5"), (golden, new), roots, strict=True)
        return tfdump.diff(*(make_dump(folder / name, tensors, **root) for name, tensors, root in sides), **options)

    return compare


def _text(values: Any) -> dict[str, Any]:
    return {"dtype": TEXT} if np.asarray(values).dtype.kind in "OSU" else {}
