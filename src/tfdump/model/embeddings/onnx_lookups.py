"""The tables of an `.onnx` file in which an input is looked up."""

from collections.abc import Hashable, Iterator

from tfdump.model.embeddings.lookups import Use, vocabulary
from tfdump.model.onnx.file import OnnxGraph

_SAME = frozenset({"Cast", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Flatten", "Transpose"})
_CHOICES = frozenset({"Where", "Mul", "Add"})
"""Operations that choose between two tensors, as a whole or in parts: Keras counts negative ids from the end."""


def vocabulary_of_value(graph: OnnxGraph, name: str) -> int | None:
    """Return the rows of the smallest table in which a value of the graph is looked up, or None."""

    def uses(value: Hashable) -> Iterator[Use]:
        for node in graph.nodes:
            if node.kind == "Gather" and not node.axis and len(node.inputs) > 1 and node.inputs[1] == value:
                table = graph.constants.get(node.inputs[0])
                yield Use(table.shape[0] if table is not None and len(table.shape) == 2 else None)
            elif (node.kind in _SAME and value in node.inputs[:1]) or (node.kind in _CHOICES and value in node.inputs):
                yield Use(same=node.outputs)

    return vocabulary(name, uses)
