"""The small records that pass between the packages: what a tensor is, and its values when they are not dense."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Batch = Mapping[str, Array]
"""One array an input, by name, of equal lengths along axis 0; or tensors in their place, for a probe."""

Note = Callable[[str], None]
"""Called with one sentence that the user should read: a cast, a padding, a fallback."""


class Detail(str):
    """A note that tells nothing unexpected, for those who ask for more (`-v`)."""


def listed(names: Iterable[str]) -> str:
    """Return names for a note, each once: a tensor may be an activation and an output, or have two reasons."""
    return ", ".join(dict.fromkeys(names))


@dataclass(frozen=True)
class TensorInfo:
    """What is known of one tensor before it has values.

    `shape` is the shape as the model declares it, -1 where it is open, or None where the rank is unknown;
    `classes` are the names of the layer's class and of its bases, nearest first; `attributes` are further ones of the
    dataset (the scale of a quantised tensor). `inputs` are the addresses of the tensors that the layer call read, in
    order (`inputs/NAME` for those of the model itself), None where they are not known.
    """

    address: str
    layer: str
    structure: str
    classes: tuple[str, ...]
    order: int
    dtype: str
    shape: tuple[int, ...] | None
    parameters: int = 0
    attributes: tuple[tuple[str, Any], ...] = ()
    inputs: tuple[str, ...] | None = None

    @property
    def class_name(self) -> str:
        """The name of the class of the layer that made the tensor."""
        return self.classes[0] if self.classes else ""


@dataclass(frozen=True)
class InputSpec:
    """What a model declares of one input; None where it declares nothing.

    `shape` includes the batch axis, with None where a size is open; arrays must fit it. `built` is the shape
    that a subclassed model was once built with, which arrays need not share. `quantization` is the scale and the
    zero point by which the integers of the input stand for real numbers.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str | None
    optional: bool = False
    built: tuple[int | None, ...] | None = None
    quantization: tuple[float, int] | None = None


@dataclass(frozen=True)
class NotCaptured:
    """A layer that the model owns and whose output is not in the dump, and why.

    `expected` tells that nobody would look for it there: the moving mean of a batch normalization has no gradient.
    """

    address: str
    reason: str
    expected: bool = False


@dataclass(frozen=True)
class Ragged:
    """A ragged tensor: `values` of all rows, and one array of int64 offsets a ragged axis, outermost first."""

    values: Array
    row_splits: tuple[npt.NDArray[np.int64], ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the values."""
        return self.values.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of rows, -1 for each ragged axis, and the shape of a value."""
        return (len(self.row_splits[0]) - 1, *(-1 for _ in self.row_splits), *self.values.shape[1:])

    @property
    def nbytes(self) -> int:
        """Bytes of the values and of the offsets."""
        return self.values.nbytes + sum(splits.nbytes for splits in self.row_splits)


@dataclass(frozen=True)
class Sparse:
    """A sparse tensor in hybrid coordinate form, as PyTorch has it: `values`, `indices`, and its dense shape.

    `indices` (n, k) int64 are coordinates in the first k axes, and `values` (n, *dense_shape[k:]) what stands
    there, a block for k below the rank. A gradient of an embedding has values (n, dim), indices (n, 1) and the
    dense shape (vocabulary, dim).
    """

    values: Array
    indices: npt.NDArray[np.int64]
    dense_shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the values."""
        return self.values.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that the tensor would have if it were dense."""
        return self.dense_shape

    @property
    def nbytes(self) -> int:
        """Bytes of the values and of their coordinates."""
        return self.values.nbytes + self.indices.nbytes


Value = Array | Ragged | Sparse
"""The value of one tensor for one batch."""
