"""The tensors of any backend: which leaves of a structure are tensors, their dtypes, and their values as arrays."""

import math
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import numpy as np

from tfdump.dtypes import STRING, numpy_dtype
from tfdump.dump.layout import INPUTS
from tfdump.model.any_backend_internals import get_keras_mask, set_keras_mask
from tfdump.tensors import Array

_NOT_DENSE = frozenset({"RaggedTensor", "SparseTensor", "IndexedSlices", "TensorArray", "BCOO", "BCSR"})
_NUMBERS = (np.ndarray, np.generic, bool, int, float, complex)
_HANDLES = ("resource", "variant")

StructurePath = tuple[str | int, ...]


def dtype_of(tensor: Any) -> str:
    """Return the name of the dtype of a tensor, as TensorFlow spells it."""
    return str(getattr(tensor.dtype, "name", None) or str(tensor.dtype).rpartition(".")[2])


def obstacle_to_dense(leaf: Any) -> str | None:
    """Return why a leaf that holds data is not given; None where it is, and for a leaf without data."""
    name = type(leaf).__name__
    if name in _NOT_DENSE:
        return f"a {name}; a model in a process of its own gives dense tensors only"
    if keras.ops.is_tensor(leaf) and dtype_of(leaf) in _HANDLES:
        return f"{dtype_of(leaf)}, a handle without numbers of its own"
    return None


def dense_tensor(leaf: Any) -> Any:
    """Return a leaf of a layer's output as a tensor, or None where it holds no data."""
    if obstacle_to_dense(leaf) is not None:
        return None
    if isinstance(leaf, keras.Variable):
        return keras.ops.copy(leaf.value)
    if keras.ops.is_tensor(leaf):
        return leaf
    return keras.ops.convert_to_tensor(leaf) if isinstance(leaf, _NUMBERS) else None


def dense_tensors_in(structure: Any) -> list[tuple[StructurePath, Any]]:
    """Return the tensors of a structure with their paths in it."""
    leaves = [(tuple(path), dense_tensor(leaf)) for path, leaf in keras.tree.flatten_with_path(structure)]
    return [(path, tensor) for path, tensor in leaves if tensor is not None]


def obstacles_to_dense_in(structure: Any) -> list[tuple[StructurePath, str]]:
    """Return the paths of the leaves in a structure that are not given, with the reasons."""
    leaves = [(tuple(path), obstacle_to_dense(leaf)) for path, leaf in keras.tree.flatten_with_path(structure)]
    return [(path, reason) for path, reason in leaves if reason is not None]


def has_values(tensor: Any) -> bool:
    """Tell whether a tensor has values, unlike one that stands for all steps of a loop or map."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return not isinstance(tensor, jax.core.Tracer)
    return hasattr(tensor, "numpy") if backend == "tensorflow" else tensor.device.type != "meta"


def bytes_of_tensor(tensor: Any) -> int:
    """Return the bytes of a tensor; 0 for text."""
    dtype = dtype_of(tensor)
    return 0 if dtype == STRING else math.prod(tensor.shape) * numpy_dtype(dtype).itemsize


def array_of_tensor(tensor: Any) -> Array:
    """Return the values of a tensor, in its dtype."""
    values: Array = np.asarray(keras.ops.convert_to_numpy(tensor))
    dtype = dtype_of(tensor)
    return values if dtype == STRING else values.astype(numpy_dtype(dtype), copy=False)  # torch gives bfloat16 wider


def tensor_of(array: Array) -> Any:
    """Return an array as a tensor of the same dtype."""
    if array.dtype.hasobject:
        import tensorflow as tf  # the only backend that has text

        return tf.constant(array.tolist(), tf.string, array.shape)
    return keras.ops.convert_to_tensor(array, dtype=array.dtype.name)


def copies_apart(outputs: Any, read: Iterable[Any]) -> Any:
    """Return the outputs of a call, with copies of those that are among the tensors that it read.

    A layer may return its own input (dropout at inference), but a tensor can have only one address.
    """
    known = {id(tensor) for tensor in read}
    if not any(id(leaf) in known for leaf in keras.tree.flatten(outputs)):
        return outputs
    return keras.tree.map_structure(lambda leaf: _copy(leaf) if id(leaf) in known else leaf, outputs)


def _copy(tensor: Any) -> Any:
    copy, mask = keras.ops.copy(tensor), get_keras_mask(tensor)
    if mask is not None:
        set_keras_mask(copy, mask)
    return copy


def stacked_steps(tensors: list[Any]) -> Callable[[], Any] | None:
    """Return a function that stacks the tensors of the steps of a loop, None where they differ; None stays None."""
    if any(tensor is None for tensor in tensors):
        return lambda: None
    if len({(dtype_of(tensor), tuple(tensor.shape)) for tensor in tensors}) > 1:
        return None
    return lambda: keras.ops.stack(tensors, axis=min(1, len(tensors[0].shape)))


def without_gradients() -> AbstractContextManager[Any]:
    """Return a context in which the backend does not prepare gradients."""
    if keras.backend.backend() != "torch":
        return nullcontext()
    import torch

    context: AbstractContextManager[Any] = torch.no_grad()
    return context


class EagerFlow:
    """The addresses of the tensors of one run, by identity, so that a call can tell what it reads."""

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        self._addresses: dict[int, str] = {}
        for name, tensor in inputs.items():
            self.add(f"{INPUTS}/{name}", tensor)

    def add(self, address: str, tensor: Any) -> None:
        """Note the address of a tensor; the latest one counts."""
        self._addresses[id(tensor)] = address
        weakref.finalize(tensor, self._addresses.pop, id(tensor), None)  # a later tensor may have the same id

    def read_by(self, tensors: Iterable[Any], masks: Iterable[Any] = ()) -> tuple[str, ...] | None:
        """Return the addresses of the tensors that a call reads, each once; None where one is unknown.

        A mask counts only if it has an address itself.
        """
        addresses = [self._addresses.get(id(tensor)) for tensor in tensors]
        if None in addresses:
            return None
        addresses += [self._addresses[id(mask)] for mask in masks if id(mask) in self._addresses]
        return tuple(dict.fromkeys(address for address in addresses if address is not None))


def eager_tensors_read(args: Any, kwargs: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Return the tensors among the arguments of a call, in order, and the masks that Keras passes beside them."""
    masks = {name: value for name, value in kwargs.items() if name == "mask" or name.endswith("_mask")}
    data = _tensors([*args, *(value for name, value in kwargs.items() if name not in masks)])
    if any(get_keras_mask(tensor) is not None for tensor in data):
        return data, _tensors(list(masks.values()))
    return _tensors([*args, *kwargs.values()]), []


def _tensors(structure: Any) -> list[Any]:
    return [leaf for leaf in keras.tree.flatten(structure) if keras.ops.is_tensor(leaf)]
