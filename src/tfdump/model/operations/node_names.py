"""The names that Keras gives to the nodes of a functional model that are not layers, from their names in a graph."""

import re

from tfdump.address import encode
from tfdump.model.operations.scopes import Path

_RENAMED = {
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "true_divide",
    "realdiv": "divide",
    "floordiv": "floor_divide",
    "abs": "absolute",
    "neg": "negative",
    "addv2": "add",
    "concat": "concatenate",
    "strided_slice": "get_item",
    "notequal": "not_equal",
    "logicaland": "logical_and",
    "logicalor": "logical_or",
    "logicalnot": "logical_not",
    "greaterequal": "greater_equal",
    "lessequal": "less_equal",
    "expanddims": "expand_dims",
    "selectv2": "where",
    "gatherv2": "take",
    "clip_by_value": "clip",
}
_SAME = frozenset(
    [
        "add",
        "matmul",
        "maximum",
        "minimum",
        "pow",
        "equal",
        "greater",
        "less",
        "exp",
        "log",
        "sqrt",
        "square",
        "relu",
        "relu6",
        "sigmoid",
        "tanh",
        "softmax",
        "softplus",
        "mean",
        "sum",
        "max",
        "min",
        "prod",
        "reshape",
        "transpose",
        "squeeze",
        "cast",
        "sin",
        "cos",
        "erf",
        "tile",
        "stack",
    ]
)
"""Operations by their lower-case name in a graph: those to which Keras gives another name, and the same name."""


def node_name(own: Path) -> str:
    """Return the name of an operation of the model itself: that of the node in Keras, where it is known."""
    if len(own) == 1:
        name, number = _counted(own[0])
        lower = name.lower()
        if lower in _RENAMED or lower in _SAME:
            return _RENAMED.get(lower, lower) + (f"_{number}" if number else "")
    return ".".join(encode(part) for part in own)


def is_node(name: str) -> bool:
    """Tell whether Keras is known to have nodes with this name in a graph."""
    lower = _counted(name)[0].lower()
    return lower in _RENAMED or lower in _SAME


def _counted(name: str) -> tuple[str, str]:
    name, _, number = re.sub(r"_(\d+)$", r"\n\1", name).partition("\n")
    return name, number
