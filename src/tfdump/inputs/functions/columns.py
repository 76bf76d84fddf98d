"""What one batch of the user holds: inputs, targets and sample weights, as Keras reads them, each with its arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfdump.errors import InputError
from tfdump.tensors import Array, InputSpec

INPUTS, TARGETS, WEIGHTS = "input", "target", "sample weight"
"""What an array of a batch can be, in the order of `(x, y, sample_weight)`."""

_NOT_DENSE = ("RaggedTensor", "SparseTensor", "RaggedTensorValue", "SparseTensorValue")


@dataclass(frozen=True)
class ColumnKey:
    """Which array of a batch is meant: its role, and its name, or its place where it has no name."""

    role: str
    name: str | int

    @property
    def input_name(self) -> str | None:
        """The name of the input or output that it is for, None where its place decides."""
        return self.name if isinstance(self.name, str) else None

    @property
    def words(self) -> str:
        """The array in messages."""
        return f"{self.role} '{self.name}'" if isinstance(self.name, str) else f"{self.role} {self.name}"


Columns = dict[ColumnKey, Array]
"""The arrays of one batch."""


def columns_of(item: Any, label: str) -> Columns:
    """Return the arrays of one batch: `x`, `(x,)`, `(x, y)` or `(x, y, sample_weight)`; each one array, dict or tuple.

    A list of arrays counts as a tuple, as Keras has it.
    Raises InputError for what holds no arrays, and for more than three parts.
    """
    parts = tuple(item) if isinstance(item, tuple) or _is_list_of_parts(item) else (item,)
    if not 1 <= len(parts) <= 3:
        raise InputError(
            f"{label} gives a tuple of {len(parts)}, and not (x, y, sample_weight), of which the last two may be left "
            "out (several inputs go into a dict by their names)"
        )
    columns: Columns = {}
    for role, part in zip((INPUTS, TARGETS, WEIGHTS), parts, strict=False):
        if part is None and role != INPUTS:
            continue
        for name, value in _named(part).items():
            key = ColumnKey(role, name)
            columns[key] = _array(value, f"{label}, {key.words}")
    if not columns:
        raise InputError(f"{label} gives an empty {type(item).__name__} (give arrays)")
    return columns


def is_unbatched(columns: Columns, specs: Sequence[InputSpec]) -> bool:
    """Tell whether arrays are one example, and not a batch: where they are single numbers, or have one axis less."""
    arrays = {key.name: array for key, array in columns.items() if key.role == INPUTS}
    declared = {spec.name: spec for spec in specs}
    places = dict(enumerate(specs))
    fitting = [
        (array.shape, spec.shape)
        for name, array in arrays.items()
        for spec in [declared.get(name) if isinstance(name, str) else places.get(name)]
        if spec is not None and spec.shape is not None
    ]
    if any(not array.shape for array in arrays.values()):
        return True
    return bool(fitting) and all(_is_one_example(shape, wanted) for shape, wanted in fitting)


def with_example_axis(columns: Columns) -> Columns:
    """Return the arrays of one example as a batch of one."""
    return {key: array[np.newaxis] for key, array in columns.items()}


def rows_in(columns: Columns, label: str) -> int:
    """Return the number of examples in a batch; raises InputError where its arrays have different numbers."""
    counts = {key: len(array) if array.ndim else -1 for key, array in columns.items()}
    if -1 in counts.values():
        key = next(key for key, count in counts.items() if count == -1)
        raise InputError(f"{label}: {key.words} is a single number (give one row per example)")
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{key.words} has {count}" for key, count in counts.items())
        raise InputError(f"{label}: the arrays of a batch have different numbers of examples: {listed}")
    return next(iter(counts.values()))


def check_like(columns: Columns, first: Mapping[ColumnKey, Array], label: str, number: int) -> None:
    """Raise InputError where the batch of this `number` differs from the first one in its arrays or their shapes."""
    if columns.keys() != first.keys():
        both = " and ".join(", ".join(key.words for key in keys) for keys in (columns, first))
        raise InputError(f"{label}: batch {number} has other arrays than batch 0: {both} (give the same ones always)")
    for key, array in columns.items():
        if array.shape[1:] != first[key].shape[1:]:
            raise InputError(
                f"{label}: {key.words} has examples of shape {array.shape[1:]} in batch {number}, and of "
                f"{first[key].shape[1:]} in batch 0 (pad or cut them to one shape)"
            )
        if array.dtype != first[key].dtype:
            raise InputError(
                f"{label}: {key.words} is {array.dtype} in batch {number}, and {first[key].dtype} in batch 0 (give one "
                "dtype)"
            )


def _is_list_of_parts(item: Any) -> bool:
    return isinstance(item, list) and any(hasattr(part, "shape") or isinstance(part, (Mapping, tuple)) for part in item)


def _named(part: Any) -> dict[str | int, Any]:
    """Return arrays by their names, or by their places."""
    if isinstance(part, Mapping):
        return {str(name): value for name, value in part.items()}
    if isinstance(part, tuple) or (isinstance(part, list) and part and hasattr(part[0], "shape")):
        return dict(enumerate(part))
    return {0: part}


def _array(value: Any, label: str) -> Array:
    """Return an array; text of any kind becomes an array of objects."""
    if type(value).__name__ in _NOT_DENSE:
        raise InputError(f"{label} is a {type(value).__name__} (pad it to an array: value.to_tensor())")
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as cause:
        raise InputError(f"{label} is not an array: {cause}") from None
    if array.dtype.kind in "SU":
        return array.astype(object)
    if array.dtype == object and not all(isinstance(item, (str, bytes)) for item in array.reshape(-1)[:1]):
        raise InputError(f"{label} is {type(value).__name__}, and not an array of numbers or text")
    return array


def _is_one_example(shape: tuple[int, ...], declared: Sequence[int | None]) -> bool:
    pairs = zip(declared[1:], shape, strict=False)
    return len(shape) == len(declared) - 1 and all(want is None or want == have for want, have in pairs)
