"""Runs `tfdump gradients` and reads every dataset of the dump."""

from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np

from support.command import Run

Datasets = dict[str, np.ndarray]
"""The values of a dump by the path of the dataset, without the first slash."""

Gradients = Callable[..., Datasets]
"""Takes the arguments of `tfdump gradients` and returns the datasets of the dump."""


def gradients_by(tfdump: Run, folder: Path) -> Gradients:
    """Return a function that runs the command in `folder`, where it must succeed, and reads the dump `d.h5`."""

    def run(*arguments: object, **options: object) -> Datasets:
        done = tfdump("gradients", *arguments, "-o", "d.h5", "-f", **options)
        assert (done.returncode, done.stdout) == (0, "d.h5\n"), done.stderr
        return datasets(folder / "d.h5")

    return run


def walk(group: h5py.Group) -> Iterator[h5py.Dataset]:
    """Every dataset below a group, in the order of the links (`visititems` goes by name)."""
    for item in group.values():
        if isinstance(item, h5py.Group):
            yield from walk(item)
        else:
            yield item


def datasets(path: Path) -> Datasets:
    """Every dataset of a dump but the architecture of the model."""
    with h5py.File(path) as file:
        return {item.name[1:]: item[()] for item in walk(file) if item.name != "/config"}
