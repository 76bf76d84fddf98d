"""Folders of dumps as a training leaves them, made with h5py alone."""

from pathlib import Path

import h5py
import numpy as np


def write_dump(
    path: Path,
    tensors: dict[str, np.ndarray],
    *,
    epoch: int | None = None,
    batch: int | None = None,
    interval: str = "epoch",
    loss: object = None,
    norm: float | None = None,
    group: str = "activations",
) -> Path:
    """A dump of `tensors` in one group; with `epoch` it says where in a training it was made."""
    with h5py.File(path, "w", track_order=True) as file:
        kind = "gradients" if group.startswith("gradients") else "activations"
        file.attrs.update(format="tfdump", format_version=1, kind=kind, not_captured="[]", examples=4)
        if epoch is not None:
            file.attrs.update(epoch=np.int64(epoch), batch=np.int64(batch), interval=interval)
        inside = file.create_group(group, track_order=True)
        for order, (address, values) in enumerate(tensors.items()):
            made = inside.create_dataset(address, data=values)
            made.attrs.update({"address": address, "class": "Dense", "dtype": str(values.dtype), "order": order})
            if norm is not None:
                made.attrs["norm"] = norm
        if loss is not None:
            file["loss"] = np.array(loss, np.float64)
    return path
