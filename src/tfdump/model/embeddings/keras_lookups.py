"""The embeddings of a Keras model in which an input is looked up."""

from collections.abc import Hashable, Iterable, Iterator
from typing import Any

from keras import KerasTensor, Layer, Sequential
from keras.layers import CategoryEncoding, Embedding

from tfdump.model.any_backend_internals import Functional
from tfdump.model.embeddings.lookups import Use, vocabulary

_SAME = frozenset(
    {"Cast", "Reshape", "Squeeze", "ExpandDims", "Identity", "Flatten", "GetItem", "Permute", "Transpose"}
    | {"InputLayer", "Masking", "Dropout", "Concatenate", "RepeatVector", "Slice", "Split", "Stack", "Copy"}
)
"""Classes of layers and operations after which the numbers are the same ones."""


_RANK_OF_IDS = 2
"""Axes of a tensor of ids at most; a layer may well have an embedding for the patches of an image."""


def vocabulary_of_input(model: Functional, tensor: KerasTensor) -> int | None:
    """Return the rows of the smallest embedding that reads an input of a graph, or None.

    Of a layer whose inside is not a graph, the smallest embedding inside counts, because any of them may read a
    sequence.
    """

    def uses(item: Hashable) -> Iterator[Use]:
        for operation, read, written in calls:
            if id(item) not in {id(one) for one in read}:
                continue
            yield from _uses(operation, item, read, written)

    calls = [
        (node.operation, tuple(node.input_tensors), tuple(node.output_tensors))
        for nodes in model._nodes_by_depth.values()
        for node in nodes
        if not node.is_input
    ]
    return vocabulary(tensor, uses)


def smallest_embedding(layer: Layer) -> int | None:
    """Return the rows of the smallest embedding in a layer, None where it has none."""
    rows = [one.input_dim for one in layer._flatten_layers(recursive=True) if isinstance(one, Embedding)]
    return min((int(count) for count in rows if count), default=None)


def _uses(operation: Any, item: Any, read: Iterable[Any], written: tuple[Any, ...]) -> Iterator[Use]:
    """Yield what one call does with a tensor."""
    graph = operation._functional if isinstance(operation, Sequential) else operation
    if isinstance(graph, Functional):
        inner = [own for own, outer in zip(graph.inputs, read, strict=False) if outer is item]
        yield from (Use(vocabulary_of_input(graph, own)) for own in inner)
    elif isinstance(operation, Embedding):
        yield Use(operation.input_dim)
    elif isinstance(operation, CategoryEncoding):
        yield Use(operation.num_tokens)
    elif type(operation).__name__ == "OneHot":
        yield Use(operation.num_classes)
    elif type(operation).__name__ in _SAME:
        yield Use(same=written)
    elif isinstance(operation, Layer) and len(item.shape) <= _RANK_OF_IDS:
        yield Use(smallest_embedding(operation))
