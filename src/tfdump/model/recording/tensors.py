"""The leaves of what layers return: tensors, and other objects."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdump.model.tensorflow_internals import CompositeTensor, EagerTensor

TENSORS = (tf.Tensor, tf.RaggedTensor, tf.SparseTensor)

HANDLES = (tf.resource, tf.variant)
"""Dtypes of tensors that refer to an object elsewhere in TensorFlow: a variable, a list, a data set."""


LOGITS_NOTE = "_keras_logits"
"""The attribute in which Keras notes the logits on the output of a softmax or sigmoid."""

_NOTES = ("_keras_mask", LOGITS_NOTE)
"""Attributes in which Keras notes on a tensor what belongs to it."""


def copy_with_notes(tensor: Any) -> Any:
    """Return a further tensor of the same values, with what Keras notes on the first."""
    return copy_notes(tensor, tf.identity(tensor))


def copy_notes(tensor: Any, other: Any) -> Any:
    """Let another tensor have what Keras notes on a tensor, and return it."""
    for name in _NOTES:
        if hasattr(tensor, name):
            setattr(other, name, getattr(tensor, name))
    return other


def obstacle_of(leaf: Any) -> str | None:
    """Return why a leaf that holds data cannot be stored; None where it can, and for a leaf without data."""
    if isinstance(leaf, TENSORS):
        return f"{leaf.dtype.name}, a handle without numbers of its own" if leaf.dtype in HANDLES else None
    if isinstance(leaf, tf.IndexedSlices):
        return None if leaf.dense_shape is not None else "IndexedSlices that do not tell their dense shape"
    if isinstance(leaf, tf.TensorArray):
        return "a TensorArray, whose elements TensorFlow keeps elsewhere"
    if isinstance(leaf, CompositeTensor) and not isinstance(leaf, tf.Variable):
        return f"{type(leaf).__name__.lstrip('_')}, which is neither a dense, a ragged nor a sparse tensor"
    return None


def obstacles_in(structure: Any) -> list[tuple[tuple[str | int, ...], str]]:
    """Return the paths of the leaves in a structure that cannot be stored, with the reasons."""
    leaves = [(tuple(path), obstacle_of(leaf)) for path, leaf in keras.tree.flatten_with_path(structure)]
    return [(path, reason) for path, reason in leaves if reason is not None]


def as_tensor(leaf: Any) -> Any:
    """Return a leaf of a layer's output as a tensor, or None where it holds no data that can be stored."""
    if obstacle_of(leaf) is not None:
        return None
    if isinstance(leaf, TENSORS):
        return leaf
    if isinstance(leaf, (keras.Variable, tf.Variable)):
        return tf.identity(leaf.value if isinstance(leaf, keras.Variable) else leaf)
    if isinstance(leaf, (tf.IndexedSlices, np.ndarray, np.generic, bool, int, float, complex)):
        return tf.convert_to_tensor(leaf)
    return None


def tensors_in(structure: Any) -> list[tuple[tuple[str | int, ...], Any]]:
    """Return the tensors of a structure with their paths in it."""
    leaves = [(tuple(path), as_tensor(leaf)) for path, leaf in keras.tree.flatten_with_path(structure)]
    return [(path, tensor) for path, tensor in leaves if tensor is not None]


def data_in(structure: Any) -> list[tuple[tuple[str | int, ...], Any]]:
    """Return the tensors, arrays and variables of a call's arguments with their paths, without numbers and flags.

    Leaves that cannot be stored (`obstacle_of`) are returned as they are.
    """
    kinds = (*TENSORS, keras.Variable, tf.Variable, np.ndarray, np.generic)
    leaves = [(tuple(path), leaf) for path, leaf in keras.tree.flatten_with_path(structure)]
    return [
        (path, leaf if obstacle_of(leaf) else as_tensor(leaf))
        for path, leaf in leaves
        if isinstance(leaf, kinds) or obstacle_of(leaf)
    ]


def known_bytes(tensor: Any) -> int:
    """Return the bytes of an eager tensor; 0 for a tensor of a graph, and for strings."""
    parts = tf.nest.flatten(tensor, expand_composites=True)
    return sum(math.prod(p.shape) * p.dtype.size for p in parts if isinstance(p, EagerTensor))


def belongs_to(tensor: Any, graph: Any) -> bool:
    """Tell whether a tensor can be returned: it is eager, or belongs to the graph that is being built."""
    parts = tf.nest.flatten(tensor, expand_composites=True)
    return all(isinstance(part, EagerTensor) or part.graph is graph for part in parts)


def stacked(tensors: list[Any]) -> Callable[[], Any] | None:
    """Return a function that stacks the tensors of the steps of a loop, None where they differ; None stays None."""
    if any(tensor is None for tensor in tensors):
        return lambda: None
    if not all(isinstance(tensor, tf.Tensor) for tensor in tensors):
        return None
    shapes = {(tensor.dtype, tuple(tensor.shape) if tensor.shape.rank is not None else None) for tensor in tensors}
    if len(shapes) > 1:
        return None
    return lambda: tf.stack(tensors, axis=min(1, tensors[0].shape.rank or 0))
