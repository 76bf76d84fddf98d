"""One tensor of a dump: its attributes, its shape, and its values, which are read on demand."""

import json
import math
from typing import Any

import h5py
import numpy as np

from tfdump.dtypes import dtype_name, kind_of
from tfdump.dump.attributes import STATISTIC_NAMES, STATISTIC_PREFIX, check_attributes_of
from tfdump.dump.layout import OPERANDS, READ, stacked_shape
from tfdump.dump.parts import Part, array_of, holds_values, load_filter
from tfdump.dump.quantization import ARRAYS, QuantizationParameters, parameters_from, place_of_array
from tfdump.errors import DumpError
from tfdump.files.hdf5 import attributes_of, check_declared, damage, has_link, lookup
from tfdump.tensors import Array, Ragged, Sparse, Value

_ENCODINGS = ("ragged", "sparse", "stack")

_NEEDED = {"ragged": ("values", "row_splits"), "sparse": ("values", "indices")}
"""The datasets that a composite must have."""


class Tensor:
    """One tensor of a dump. Its values are read on demand, by slicing or with `read`.

    Attributes
    ----------
    group : str
        Group of the tensor, such as `activations` or `gradients/weights`.
    address : str
        Address of the tensor in its group.
    attributes : dict
        Attributes of the dataset, such as `class`, `layer`, `order` and `axis0`; see docs/format.md.

    Examples
    --------
    >>> with tfdump.open("dump.h5") as dump:
    ...     tensor = dump["encoder.dense"]
    ...     tensor.shape, tensor.dtype
    ...     tensor[:4]
    ((1000, 64), 'float32')
    """

    def __init__(self, group: str, item: h5py.Dataset | h5py.Group) -> None:
        self._item = item
        self.group = group
        read = attributes_of(item, DumpError)
        self.attributes: dict[str, Any] = {name: plain(value) for name, value in read.items()}
        check_attributes_of(self.attributes)
        self.address: str = self.attributes["address"]
        is_array = isinstance(item, h5py.Dataset)
        if self.encoding not in ((None,) if is_array else _ENCODINGS):
            raise ValueError(f"its attribute 'encoding' is {self.encoding!r}")
        kind_of(self.dtype)  # TypeError if it is not a dtype
        if is_array and item.shape is not None and self.without_values is None:
            _check_kind(item, self.stored_dtype)

    @property
    def encoding(self) -> str | None:
        """None for an array, or the kind of a composite: `ragged`, `sparse` or `stack`."""
        return self.attributes.get("encoding")

    @property
    def has_values(self) -> bool:
        """Whether values are stored: False if only statistics are (`--stats-only`)."""
        return bool(self.attributes.get("values", True))

    @property
    def connected(self) -> bool:
        """Whether a gradient exists: False if the loss does not depend on the tensor."""
        return bool(self.attributes.get("connected", True))

    @property
    def norm(self) -> float | list[float] | None:
        """The L2 norm of a gradient, or a list with the norm at every step; None if it was not stored."""
        norm = self.attributes.get("norm")
        if isinstance(norm, list):
            return [float(step) for step in norm]
        return None if norm is None else float(norm)

    @property
    def inputs(self) -> tuple[str, ...] | None:
        """The addresses of the tensors that the layer call read, or None if they are not known.

        An input of the model itself is `inputs/NAME`.
        """
        return self._addresses(READ)

    @property
    def operands(self) -> tuple[str, ...] | None:
        """The addresses of the tensors, of operations too, that the operation behind a layer's output read.

        None where the dump does not hold operations, and for the output of an operation, whose `inputs` say it.
        """
        return self._addresses(OPERANDS)

    def _addresses(self, name: str) -> tuple[str, ...] | None:
        text = self.attributes.get(name)
        return None if text is None else tuple(json.loads(text))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values, with -1 for ragged axes and for sizes that differ between the items of a stack."""
        if "computed_shape" in self.attributes:
            return tuple(self.attributes["computed_shape"])
        if isinstance(self._item, h5py.Dataset):
            return tuple(self._item.shape)
        if self.encoding == "ragged":
            ragged = [name for name in self._item if name.startswith("row_splits")]
            tail = self._part("values").shape[1:] if has_link(self._item, "values") else ()
            rows = len(self._part("row_splits")) - 1 if ragged else 0
            return (rows, *(-1 for _ in ragged), *tail)
        if self.encoding == "sparse":
            return tuple(self.attributes["dense_shape"])
        return stacked_shape([self._part(name).shape for name in self._item])

    @property
    def about_values(self) -> int:
        """About how many values there are to read, estimated from the shape alone."""
        return math.prod(max(1, abs(size)) for size in self.shape) if self.connected and self.has_values else 0

    @property
    def dtype(self) -> str:
        """The dtype as the model computed it; `stored_dtype` is the dtype in the file."""
        return str(self.attributes["dtype"])

    @property
    def stored_dtype(self) -> str:
        """The dtype of the values in the file."""
        return str(self.attributes.get("stored_as", self.attributes["dtype"]))

    @property
    def statistics(self) -> dict[str, int | float] | None:
        """The stored statistics by name (`count`, `min`, `max`, `mean`, `std`, `l2`, `nan`, `inf`, `zero`), or None."""
        values = {name: self.attributes.get(f"{STATISTIC_PREFIX}{name}") for name in STATISTIC_NAMES}
        return {name: value for name, value in values.items() if value is not None} or None

    @property
    def quantization(self) -> QuantizationParameters | None:
        """How the integers of a quantized tensor stand for real numbers, None for any other tensor."""
        with damage(DumpError, f"{self._item.file.filename}: '{self._item.name}'"):
            arrays = {name: self._array_at(f"/{place_of_array(name, self.group)}/{self.address}") for name in ARRAYS}
            large = {name: array for name, array in arrays.items() if array is not None}
            return parameters_from(self.attributes | large)

    def _array_at(self, path: str) -> Array | None:
        """Return the array at a path of the file, None if there is none."""
        here: Any = self._item.file
        for part in path.split("/")[1:]:
            if not isinstance(here, h5py.Group) or not has_link(here, part):
                return None
            here = lookup(here, part, DumpError)
        check_declared(here, DumpError)
        return array_of(here, ())

    def read(self) -> Value | list[Array]:
        """Return all values.

        Returns
        -------
        numpy.ndarray, Ragged, Sparse, or list of numpy.ndarray
            An array, unless the tensor is ragged, sparse, or a stack of unequal shapes.

        Raises
        ------
        DumpError
            If the tensor has no values, or if the file is damaged.
        """
        self._require_values()
        values = {part.name: part.read() for part in self.parts()}
        if isinstance(self._item, h5py.Dataset):
            return values[""]
        if self.encoding == "ragged":
            splits = sorted(name for name in values if name.startswith("row_splits"))
            return Ragged(values["values"], tuple(values[name] for name in splits))
        if self.encoding == "sparse":
            return Sparse(values["values"], values["indices"], self.shape)
        return list(values.values())

    def parts(self) -> list[Part]:
        """Return the arrays that the tensor consists of: one with the name "", or those of a composite.

        They are read in pieces. Raises DumpError if there are no values.
        """
        self._require_values()
        if isinstance(self._item, h5py.Dataset):
            return [Part("", self._item)]
        with damage(DumpError, f"{self._item.file.filename}: '{self._item.name}'"):
            for name in _NEEDED.get(self.encoding or "", ()):
                self._part(name)
            for name in filter(holds_values, self._item):
                _check_kind(self._part(name), self.stored_dtype)
            return [Part(name, self._part(name)) for name in self._item]

    def value_parts(self) -> list[Part]:
        """Return the `parts` that hold values, without the offsets of ragged rows and without indices."""
        return [part for part in self.parts() if holds_values(part.name)]

    def _part(self, name: str) -> h5py.Dataset:
        """Return a dataset of a composite."""
        part = lookup(self._item, name, DumpError)
        if not isinstance(part, h5py.Dataset):
            raise DumpError(f"'{self.address}' is damaged: its part '{name}' is not a dataset")
        return part

    def __getitem__(self, key: Any) -> Array:
        """Return a slice of the values, read from the file; only arrays can be sliced."""
        self._require_values()
        if not isinstance(self._item, h5py.Dataset):
            raise DumpError(f"'{self.address}' is stored as {self.encoding} and cannot be sliced (use read())")
        return self._array(key)

    def _array(self, key: Any) -> Array:
        """Return a slice of an array."""
        load_filter(self._item)
        return array_of(self._item, key)

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 0

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Return all values, so that `np.asarray(tensor)` works."""
        return np.asarray(self[()], dtype=dtype)

    def __repr__(self) -> str:
        return f"<Tensor {self.group}/{self.address} {self.shape} {self.dtype}>"

    @property
    def without_values(self) -> str | None:
        """Why the tensor has no values; None if it has values."""
        if not self.connected:
            return "is not connected to the loss and has no gradient"
        return None if self.has_values else "has statistics and no values (it was dumped with --stats-only)"

    def _require_values(self) -> None:
        reason = self.without_values
        if reason:
            raise DumpError(f"'{self.address}' {reason}")


def _check_kind(dataset: h5py.Dataset, dtype: str) -> None:
    """Raise ValueError if the values of a dataset are of another kind (numbers, text) than its attributes say."""
    holds = dtype_name(dataset.dtype)
    if kind_of(holds) != kind_of(dtype):
        raise ValueError(f"its attributes say that it holds {dtype}, and it holds {holds}")


def plain(value: Any) -> Any:
    """Return an attribute as a Python value: arrays as lists, NumPy scalars as numbers."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
