"""Dumps to draw, made with h5py alone."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

TEXT = h5py.string_dtype("utf-8")


@dataclass
class Stored:
    """A tensor as it is to be stored: an array, or the parts of a composite by name, and further attributes."""

    values: Any
    attributes: dict[str, Any] = field(default_factory=dict)


def stored(values: Any, /, of: str = "Dense", axis0: str = "example", **attributes: Any) -> Stored:
    """A tensor of a layer of class `of`."""
    return Stored(values, {"class": of, "axis0": axis0} | attributes)


def plot_dump(path: Path, tensors: dict[str, Any], loss: Any = None, loss_axis: str = "step", **root: Any) -> Path:
    """Write a dump; a name with slashes begins with its group, others are activations."""
    with h5py.File(path, "w", track_order=True) as file:
        file.attrs.update({"format": "tfdump", "format_version": 1, "kind": "activations", "not_captured": "[]"} | root)
        groups: dict[str, h5py.Group] = {}
        for order, (name, values) in enumerate(tensors.items()):
            tensor = values if isinstance(values, Stored) else stored(values)
            above, _, address = name.rpartition("/")
            above = above or "activations"
            if above not in groups:
                groups[above] = file.create_group(above, track_order=True)
            item, dtype = _stored_object(groups[above], address, tensor.values)
            item.attrs.update(
                {"address": address, "layer": address, "order": order, "dtype": dtype} | tensor.attributes
            )
        if loss is not None:
            file.create_dataset("loss", data=np.asarray(loss, np.float64)).attrs["axis0"] = loss_axis
    return path


def _stored_object(group: h5py.Group, address: str, values: Any) -> tuple[h5py.Dataset | h5py.Group, str]:
    """Make a dataset, or a group of datasets, and tell its dtype."""
    if isinstance(values, dict):
        item = group.create_group(address, track_order=True)
        for name, part in values.items():
            item[name] = part
        return item, next(iter(values.values())).dtype.name
    values = np.asarray(values)
    if values.dtype == object:
        return group.create_dataset(address, data=values, dtype=TEXT), "string"
    return group.create_dataset(address, data=values), values.dtype.name
