"""The variables in a file of weights of Keras, read one by one: a `.keras` archive, HDF5, or an index of shards."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tfdump.dtypes import dtype_name, numpy_dtype
from tfdump.errors import ModelError
from tfdump.model.loading.archive import opened_weights
from tfdump.tensors import Array

SHARD_INDEX = ".json"
"""The ending of a file that tells in which shards the variables are."""

_WIDE_NAME = "dtype"
"""The attribute with which Keras marks a dtype that HDF5 cannot name."""

_LARGEST_INDEX = 256 << 20


@dataclass(frozen=True)
class StoredVariable:
    """One variable in a file: its dtype and shape, and how it is read. `layer_name` is the name of its layer."""

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], Array]
    layer_name: str | None = None


def stored_variables(path: Path) -> dict[str, StoredVariable]:
    """Return the variables of a file by their paths in it, in the order of the file.

    Raises ModelError where the file or one of its shards is missing or damaged.
    """
    return {name: variable for file in weight_files_of(path) for name, variable in _variables_of(file)}


def weight_files_of(path: Path) -> list[Path]:
    """Return the files that hold the variables of a file of weights: itself, or its shards in order.

    Raises ModelError for an index that is damaged, that names a file in another folder, or whose shards are missing.
    """
    if path.suffix != SHARD_INDEX:
        return [path]
    names = _shard_names(path)
    for name in names:
        if Path(name).name != name or not name or "\\" in name:
            raise ModelError(f"{path} names a shard outside of its folder: '{name}' (save the weights again)")
    missing = [name for name in names if not path.with_name(name).is_file()]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise ModelError(
            f"{path} needs {', '.join(missing[:3])}{more}, which {'is' if len(missing) == 1 else 'are'} missing "
            f"({len(names) - len(missing)} of {len(names)} shards are there; put all of them into the same folder)"
        )
    return [path.with_name(name) for name in names]


def _shard_names(path: Path) -> list[str]:
    """Return the names of the shards in an index, each once."""
    try:
        if path.stat().st_size > _LARGEST_INDEX:
            raise ModelError(f"{path} is larger than {_LARGEST_INDEX >> 20} MiB, so it is no index of shards")
        places = json.loads(path.read_text())["weight_map"]
        names = [name for place in places.values() for name in ([place] if isinstance(place, str) else place)]
        if not names or not all(isinstance(name, str) for name in names):
            raise ValueError
    except OSError as cause:
        raise ModelError(f"cannot read {path}: {cause.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ModelError(f"{path} is no index of weights: its weight_map does not tell the shards") from None
    return sorted(dict.fromkeys(names))


def _variables_of(path: Path) -> Iterator[tuple[str, StoredVariable]]:
    with opened_weights(path) as (file, _):
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        for name in names:
            dataset = file[name]
            told = dataset.parent.attrs.get("name")
            yield (
                name,
                StoredVariable(
                    str(dataset.attrs.get(_WIDE_NAME) or dtype_name(dataset.dtype)),
                    tuple(dataset.shape),
                    partial(_read, path, name),
                    None if told is None else str(told),
                ),
            )


def _read(path: Path, name: str) -> Array:
    with opened_weights(path) as (file, _):
        dataset = file[name]
        values: Any = np.asarray(dataset[()])
        wide = dataset.attrs.get(_WIDE_NAME)
        return np.asarray(values if wide is None else values.view(numpy_dtype(str(wide))))
