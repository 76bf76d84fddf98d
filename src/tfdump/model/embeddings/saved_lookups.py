"""The tables of a SavedModel in which an input is looked up."""

from collections.abc import Hashable, Iterator
from typing import Any

import tensorflow as tf

from tfdump.model.embeddings.lookups import Use, vocabulary

_SAME = frozenset({"Cast", "Reshape", "Squeeze", "ExpandDims", "Identity"})
_CHOICES = frozenset({"Select", "SelectV2"})
"""Operations that choose between two tensors: Keras counts negative ids from the end of the table."""
_TABLES = frozenset({"ResourceGather", "GatherV2"})
_READ = frozenset({"ReadVariableOp", "Identity"})


def vocabulary_of_placeholder(nodes: list[Any], name: str, rows: dict[str, int]) -> int | None:
    """Return the rows of the smallest table in which a placeholder of a flat graph is looked up, or None.

    `rows` are those of the variables by the names of their placeholders.
    """
    by_name = {node.name: node for node in nodes}

    def uses(tensor: Hashable) -> Iterator[Use]:
        for node in nodes:
            read = [text.removesuffix(":0") for text in node.input]
            if node.op in _TABLES and len(read) > 1 and read[1] == tensor:
                yield Use(_rows_of(read[0], by_name, rows))
            elif (node.op in _SAME and tensor in read[:1]) or (node.op in _CHOICES and tensor in read[1:]):
                yield Use(same=(node.name,))

    return vocabulary(name, uses)


def _rows_of(name: str, by_name: dict[str, Any], rows: dict[str, int]) -> int | None:
    """Return the rows of a variable, or of a constant, that an operation reads."""
    while name not in rows and name in by_name and by_name[name].op in _READ:
        name = by_name[name].input[0].removesuffix(":0")
    if name in rows:
        return rows[name]
    node = by_name.get(name)
    if node is None or node.op != "Const":
        return None
    shape = tf.TensorShape(node.attr["value"].tensor.tensor_shape)
    return shape[0] if shape.rank == 2 else None
