"""Reading a dump: the file as a mapping from addresses to tensors, without TensorFlow."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np

from tfdump.dump import layout
from tfdump.dump.collectors import stacked_shape
from tfdump.errors import DumpError, near
from tfdump.hdf5 import damage, has_link, lookup, open_hdf5
from tfdump.tensors import Array, NotCaptured, Ragged, Sparse, Value

_STATISTICS = ("count", "min", "max", "mean", "std", "l2", "nan", "inf", "zero")


class Tensor:
    """One tensor of a dump; values are read when they are asked for, by slicing or with `read`."""

    def __init__(self, group: str, found: h5py.Dataset | h5py.Group) -> None:
        self._found = found
        self.group = group
        self.attributes: dict[str, Any] = {name: _plain(value) for name, value in found.attrs.items()}
        self.address: str = str(self.attributes["address"])

    @property
    def encoding(self) -> str | None:
        """None for an array, else `ragged`, `sparse` or `stack`."""
        return self.attributes.get("encoding")

    @property
    def has_values(self) -> bool:
        """False when only statistics were kept (`--stats-only`)."""
        return bool(self.attributes.get("values", True))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values, -1 for ragged axes and for axes that differ between the items of a stack."""
        if "computed_shape" in self.attributes:
            return tuple(self.attributes["computed_shape"])
        if isinstance(self._found, h5py.Dataset):
            return tuple(self._found.shape)
        if self.encoding == "ragged":
            ragged = [name for name in self._found if name.startswith("row_splits")]
            tail = self._found["values"].shape[1:] if "values" in self._found else ()
            rows = len(self._found["row_splits"]) - 1 if ragged else 0
            return (rows, *(-1 for _ in ragged), *tail)
        if self.encoding == "sparse":
            return tuple(self.attributes["dense_shape"])
        return stacked_shape([item.shape for item in self._found.values()])

    @property
    def dtype(self) -> str:
        """The dtype as the model computed it; see `stored_dtype`."""
        return str(self.attributes["dtype"])

    @property
    def stored_dtype(self) -> str:
        """The dtype of the values in the file."""
        return str(self.attributes.get("stored_as", self.attributes["dtype"]))

    @property
    def statistics(self) -> dict[str, int | float] | None:
        """The statistics that were stored, or None."""
        found = {name: self.attributes.get(f"stat_{name}") for name in _STATISTICS}
        return {name: value for name, value in found.items() if value is not None} or None

    def read(self) -> Value | list[Array]:
        """Return all values: an array, a Ragged, a Sparse, or a list of arrays for a stack of unequal shapes."""
        self._require_values()
        if isinstance(self._found, h5py.Dataset):
            return _array(self._found, ())
        if self.encoding == "ragged":
            splits = sorted(name for name in self._found if name.startswith("row_splits"))
            return Ragged(_array(self._found["values"], ()), tuple(self._found[name][()] for name in splits))
        if self.encoding == "sparse":
            return Sparse(_array(self._found["values"], ()), self._found["indices"][()], self.shape)
        return [_array(self._found[name], ()) for name in self._found]

    def __getitem__(self, key: Any) -> Array:
        """Return a slice of the values, read from the file; only arrays can be sliced."""
        self._require_values()
        if not isinstance(self._found, h5py.Dataset):
            raise DumpError(f"'{self.address}' is stored as {self.encoding} and cannot be sliced (use read())")
        return _array(self._found, key)

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 0

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Return all values, so that `np.asarray(tensor)` works."""
        return np.asarray(self[()], dtype=dtype)

    def __repr__(self) -> str:
        return f"<Tensor {self.group}/{self.address} {self.shape} {self.dtype}>"

    def _require_values(self) -> None:
        if not self.has_values:
            raise DumpError(f"'{self.address}' has statistics and no values (it was dumped with --stats-only)")


class Dump(Mapping[str, Tensor]):
    """A dump file as a mapping from addresses to tensors; a context manager.

    `dump["encoder.dense"]` looks in the activations first, then in the other groups; `dump["outputs/logits"]`
    names the group. Iteration runs over the activations in execution order, then over the other groups.
    """

    def __init__(self, file: h5py.File, name: str) -> None:
        self._file = file
        self.name = name
        with damage(DumpError, name):
            self._check_format()
            self.attributes: dict[str, Any] = {key: _plain(value) for key, value in file.attrs.items()}
        self.groups: dict[str, list[str]] = {
            group: list(lookup(file, group, DumpError)) for group in layout.TENSOR_GROUPS if has_link(file, group)
        }

    def _check_format(self) -> None:
        if self._file.attrs.get("format") != layout.FORMAT:
            raise DumpError(f"{self.name} is an HDF5 file, but not a dump of tfdump")
        version = self._file.attrs.get("format_version")
        if version != layout.FORMAT_VERSION:
            raise DumpError(
                f"{self.name} has format version {version}, and this tfdump reads {layout.FORMAT_VERSION} "
                "(upgrade it: pip install -U tfdump)"
            )

    @property
    def not_captured(self) -> tuple[NotCaptured, ...]:
        """The layers that the model owns and that are not in the dump, with the reasons."""
        found = self._json_list(layout.NOT_CAPTURED)
        with damage(DumpError, f"{self.name}: {layout.NOT_CAPTURED}"):
            return tuple(NotCaptured(item["address"], item["reason"]) for item in found)

    @property
    def depends_on_batch(self) -> tuple[str, ...]:
        """The addresses whose values depend on which examples were in a batch together."""
        return tuple(self._json_list(layout.DEPENDS_ON_BATCH))

    def _json_list(self, name: str) -> list[Any]:
        """Return a list that stands as JSON in an attribute or, where it is long, in a dataset of the same name."""
        with damage(DumpError, f"{self.name}: {name}"):
            found = json.loads(self.attributes.get(name, "[]"))
            if isinstance(found, dict):
                found = json.loads(lookup(self._file, name, DumpError)[()])
            return list(found)

    @property
    def config(self) -> dict[str, Any] | None:
        """The model's architecture as Keras saved it, or None."""
        if not has_link(self._file, layout.CONFIG):
            return None
        found: dict[str, Any] = json.loads(lookup(self._file, layout.CONFIG, DumpError)[()])
        return found

    def __getitem__(self, address: str) -> Tensor:
        group, slash, name = address.partition("/")
        if slash and group in self.groups and name in self.groups[group]:
            return self._tensor(group, name)
        for group, names in self.groups.items():
            if address in names:
                return self._tensor(group, address)
        known = [name for names in self.groups.values() for name in names]
        raise DumpError(f"{self.name} has no tensor '{address}'{near(address, known)} (list them: tfdump show)")

    def get(self, address: str, default: Any = None) -> Any:
        """Return the tensor of an address, or `default` where there is none."""
        return self[address] if address in self else default  # noqa: SIM401 - that would call this method

    def __contains__(self, address: object) -> bool:
        try:
            self[str(address)]
        except DumpError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        for number, (group, names) in enumerate(self.groups.items()):
            for name in names:
                yield name if number == 0 else f"{group}/{name}"

    def __len__(self) -> int:
        return sum(len(names) for names in self.groups.values())

    def tensors(self) -> Iterator[Tensor]:
        """Yield every tensor, group by group, in the order of execution."""
        for group, names in self.groups.items():
            for name in names:
                yield self._tensor(group, name)

    def _tensor(self, group: str, name: str) -> Tensor:
        with damage(DumpError, f"{self.name}: '{group}/{name}'"):
            tensor = Tensor(group, lookup(self._file, f"{group}/{name}", DumpError))
            _ = tensor.shape, tensor.dtype
            return tensor

    def close(self) -> None:
        """Close the file; tensors cannot be read afterwards."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_dump(path: str | Path) -> Dump:
    """Open a dump for reading; raises DumpError when it is not one, or a newer one."""
    file = open_hdf5(Path(path), DumpError)
    try:
        return Dump(file, str(path))
    except BaseException:
        file.close()
        raise


def _array(dataset: h5py.Dataset, key: Any) -> Array:
    if h5py.check_string_dtype(dataset.dtype) is not None:
        values = dataset.asstr(errors="backslashreplace")[key]
        return np.asarray(values, dtype=object)
    return np.asarray(dataset[key])


def _plain(value: Any) -> Any:
    """Return an attribute as a Python value: arrays as lists, NumPy scalars as numbers."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
