"""The outputs of a layer with other tensors in the place of those that it computed."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfdump.model.recording.tensors import TENSORS, as_tensor, obstacle_of

Tap = Callable[[Any], Any]
"""Stands between a layer and the readers of its output: takes the tensor and returns an equal one."""

Replacement = Callable[[str, Any], Any]
"""Takes the address of a dense tensor and the tensor, and returns the tensor with which the model continues."""

_Tensors = list[tuple[Any, Any]]
"""The tensors among the outputs of a call, with their paths."""


def tapped(outputs: Any, tap: Tap) -> tuple[Any, _Tensors]:
    """Return a layer's outputs with every tensor replaced by what `tap` returns for it, and the tensors with paths."""
    paths = [path for path, _ in keras.tree.flatten_with_path(outputs)]
    storable = [isinstance(leaf, TENSORS) and not obstacle_of(leaf) for leaf in keras.tree.flatten(outputs)]
    leaves = [tap(leaf) if stored else leaf for leaf, stored in zip(keras.tree.flatten(outputs), storable, strict=True)]
    tensors = [(path, as_tensor(leaf)) for path, leaf in zip(paths, leaves, strict=True)]
    return keras.tree.pack_sequence_as(outputs, leaves), [(path, leaf) for path, leaf in tensors if leaf is not None]


def with_replacements(outputs: Any, tensors: _Tensors, addresses: Sequence[str], replacement: Replacement) -> Any:
    """Return a layer's outputs with the dense ones among its recorded tensors replaced."""
    replaced = {
        tuple(path): replacement(address, tensor)
        for (path, tensor), address in zip(tensors, addresses, strict=True)
        if isinstance(tensor, tf.Tensor)
    }
    leaves = [replaced.get(tuple(path), leaf) for path, leaf in keras.tree.flatten_with_path(outputs)]
    return keras.tree.pack_sequence_as(outputs, leaves)
