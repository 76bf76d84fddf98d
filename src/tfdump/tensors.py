"""The records that pass between the packages: what is known about a tensor, and values that are not dense arrays."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Batch = Mapping[str, Array]
"""One array per input, by name, of equal lengths along axis 0. A probe also takes TensorFlow tensors."""

Note = Callable[[str], None]
"""Called with one sentence for the user, such as a cast, a padding or a fallback."""


_MOST_OPERATIONS = 4
"""Operations that a note names. A model has many times more of them than layers."""


class Detail(str):
    """A note about something expected, shown only with `-v`."""


def listed(names: Iterable[str]) -> str:
    """Return names joined for a note, each once; of many operations inside layers, the first ones and their number."""
    unique = list(dict.fromkeys(names))
    operations = [name for name in unique if ":op." in name]
    layers = [name for name in unique if name not in operations]
    text = ", ".join([*layers, *operations[:_MOST_OPERATIONS]])
    more = len(operations) - _MOST_OPERATIONS
    return text if more <= 0 else f"{text} and {more} more {'operation' if more == 1 else 'operations'}"


@dataclass(frozen=True)
class TensorInfo:
    """What is known about a tensor before it has values.

    Attributes
    ----------
    address, layer : str
        Address of the tensor, and of the layer that made it (the address without its suffix).
    structure : str
        Path of Python attributes that leads to the layer.
    classes : tuple of str
        Names of the layer's class and of its base classes, nearest first.
    order : int
        Place in the order of execution.
    dtype : str
        Dtype as the model computes it.
    shape : tuple of int or None
        Shape as the model declares it, with -1 for open sizes; None if the rank is unknown.
    parameters : int
        Number of parameters of the layer.
    attributes : tuple of (str, value)
        Further attributes of the dataset, such as the scale of a quantized tensor.
    inputs : tuple of str or None
        Addresses of the tensors that the layer call read, in order (`inputs/NAME` for inputs of the model); None if
        they are not known.
    operands : tuple of str or None
        For the output of a layer in a graph whose operations have addresses too: the nearest addressed tensors,
        operations included, that the operation which computes the output reads. None for other tensors.
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
    operands: tuple[str, ...] | None = None

    @property
    def class_name(self) -> str:
        """The name of the class of the layer that made the tensor."""
        return self.classes[0] if self.classes else ""


@dataclass(frozen=True)
class PlannedTensor:
    """One tensor that will be dumped: its record, group, axis0, shape (-1 for the examples) and bytes in the file.

    `mixes` tells whether the values for one example depend on the other examples of its batch.
    """

    group: str
    info: TensorInfo
    axis0: str
    shape: tuple[int, ...]
    bytes: int
    mixes: bool = False


@dataclass(frozen=True)
class InputSpec:
    """What a model declares about one input; None where it declares nothing.

    Attributes
    ----------
    name : str
        Name of the input.
    shape : tuple or None
        Shape with the batch axis, and None for open sizes. Arrays must fit it.
    dtype : str or None
        Dtype that the model declares.
    optional : bool
        Whether the model runs without this input.
    built : tuple or None
        Shape with which a subclassed model was once built. Arrays need not have it.
    quantization : tuple of (float, int) or None
        Scale and zero point by which the integers of the input stand for real numbers.
    vocabulary : int or None
        Number of rows of the smallest table in which the model looks the input up: its values are ids below it.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str | None
    optional: bool = False
    built: tuple[int | None, ...] | None = None
    quantization: tuple[float, int] | None = None
    vocabulary: int | None = None


@dataclass(frozen=True)
class NotCaptured:
    """A layer of the model whose output is not in the dump, and why.

    `expected` is True if nobody would look for it there, such as the gradient of the moving mean of a batch
    normalization.
    """

    address: str
    reason: str
    expected: bool = False


@dataclass(frozen=True)
class Ragged:
    """A ragged tensor.

    Attributes
    ----------
    values : numpy.ndarray
        The values of all rows, one after another.
    row_splits : tuple of numpy.ndarray
        One array of int64 offsets per ragged axis, outermost first.
    """

    values: Array
    row_splits: tuple[npt.NDArray[np.int64], ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the values."""
        return self.values.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of rows, -1 for each ragged axis, and the shape of one value."""
        return (len(self.row_splits[0]) - 1, *(-1 for _ in self.row_splits), *self.values.shape[1:])

    @property
    def nbytes(self) -> int:
        """Bytes of the values and of the offsets."""
        return self.values.nbytes + sum(splits.nbytes for splits in self.row_splits)


@dataclass(frozen=True)
class Sparse:
    """A sparse tensor in hybrid coordinate form, as PyTorch has it.

    The gradient of an embedding has values (n, dim), indices (n, 1) and the dense shape (vocabulary, dim).

    Attributes
    ----------
    values : numpy.ndarray
        The values, of shape (n, *dense_shape[k:]): a block per entry if k is below the rank.
    indices : numpy.ndarray
        Coordinates in the first k axes, int64 of shape (n, k).
    dense_shape : tuple of int
        Shape of the tensor if it were dense.
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
