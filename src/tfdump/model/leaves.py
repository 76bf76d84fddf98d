"""What layers return, leaf by leaf: tensors, and what is none."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

TENSORS = (tf.Tensor, tf.RaggedTensor, tf.SparseTensor)


def as_tensor(leaf: Any) -> Any:
    """Return a leaf of a layer's output as a tensor of TensorFlow, or None when it holds no data."""
    if isinstance(leaf, TENSORS):
        return leaf
    if isinstance(leaf, tf.IndexedSlices):
        return tf.convert_to_tensor(leaf)
    if isinstance(leaf, keras.Variable):
        return tf.identity(leaf.value)
    if isinstance(leaf, tf.Variable):
        return tf.identity(leaf)
    if isinstance(leaf, (np.ndarray, np.generic, bool, int, float, complex)):
        return tf.convert_to_tensor(leaf)
    return None


def tensors_in(structure: Any) -> list[tuple[tuple[str | int, ...], Any]]:
    """Return the tensors of a structure with their paths in it."""
    leaves = [(tuple(path), as_tensor(leaf)) for path, leaf in keras.tree.flatten_with_path(structure)]
    return [(path, tensor) for path, tensor in leaves if tensor is not None]


def data_in(structure: Any) -> list[tuple[tuple[str | int, ...], Any]]:
    """Return the tensors, arrays and variables of a call's arguments with their paths; numbers and flags are none."""
    kinds = (*TENSORS, keras.Variable, tf.Variable, np.ndarray, np.generic)
    leaves = [(tuple(path), leaf) for path, leaf in keras.tree.flatten_with_path(structure)]
    return [(path, as_tensor(leaf)) for path, leaf in leaves if isinstance(leaf, kinds)]


def known_bytes(tensor: Any) -> int:
    """Return the bytes of a tensor that has a value; 0 for those of a graph, and for text."""
    parts = tf.nest.flatten(tensor, expand_composites=True)
    return sum(math.prod(p.shape) * p.dtype.size for p in parts if isinstance(p, tf.__internal__.EagerTensor))


def belongs_to(tensor: Any, graph: Any) -> bool:
    """Tell whether a tensor can be handed out: it is a value, or belongs to the graph that is being built."""
    parts = tf.nest.flatten(tensor, expand_composites=True)
    return all(isinstance(part, tf.__internal__.EagerTensor) or part.graph is graph for part in parts)
