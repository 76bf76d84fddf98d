"""The tables of a `.tflite` file in which an input is looked up."""

from collections.abc import Hashable, Iterator

from tfdump.model.embeddings.lookups import Use, vocabulary
from tfdump.model.tflite.flatbuffer import LiteOperator, LiteSubgraph

_SAME = frozenset({"CAST", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "DEQUANTIZE"})
_CHOICES = frozenset({"SELECT", "SELECT_V2"})
"""Operations that choose between two tensors: Keras counts negative ids from the end of the table."""


def vocabulary_of_tensor(graph: LiteSubgraph, number: int) -> int | None:
    """Return the rows of the smallest table in which a tensor of the graph is looked up, or None."""

    def uses(tensor: Hashable) -> Iterator[Use]:
        for operator in graph.operators:
            if operator.kind == "GATHER" and len(operator.inputs) > 1 and operator.inputs[1] == tensor:
                yield Use(_rows(graph, operator.inputs[0]))
            elif operator.kind == "EMBEDDING_LOOKUP" and len(operator.inputs) > 1 and operator.inputs[0] == tensor:
                yield Use(_rows(graph, operator.inputs[1]))
            elif tensor in _followed(operator):
                yield Use(same=operator.outputs)

    return vocabulary(number, uses)


def _followed(operator: LiteOperator) -> tuple[int, ...]:
    """Return the tensors whose numbers an operation passes on."""
    if operator.kind in _CHOICES:
        return operator.inputs[1:]
    return operator.inputs[:1] if operator.kind in _SAME else ()


def _rows(graph: LiteSubgraph, number: int) -> int | None:
    """Return the rows of a table; None for what is no table of fixed size."""
    shape = graph.tensors[number].shape if number >= 0 else ()
    return shape[0] if len(shape) == 2 else None
