"""Dumps whose examples have names, written with h5py alone."""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

TEXT = h5py.string_dtype("utf-8")


def photos(count: int) -> list[str]:
    """Names of pictures in two folders: `cat/0.jpg`, `cat/1.jpg`, ..., `dog/...`."""
    return [f"{'cat' if number < count // 2 else 'dog'}/{number}.jpg" for number in range(count)]


def with_names(
    path: Path, names: Sequence[str], labels: Sequence[int] | None = None, classes: Sequence[str] = ()
) -> Path:
    """Write who the examples are into a dump, and return its path."""
    with h5py.File(path, "r+") as file:
        file.attrs["examples"] = np.int64(len(names))
        file.create_dataset("examples/id", data=list(names), dtype=TEXT)
        if labels is not None:
            file["examples/label"] = np.asarray(labels, np.int64)
        if classes:
            file.create_dataset("examples/classes", data=list(classes), dtype=TEXT)
    return path
