"""Transpositions that a converter may have moved behind the operations that followed them.

It changes `relu(transpose(x))` to `transpose(relu(x))`, and both keep their names. The tensor called `relu` is then not
transposed, and the tensor called `transpose` holds the output of relu.
"""

from tfdump.model.operations.owners import NamePart, OwnedTensors, Owner

_ELEMENT_BY_ELEMENT = frozenset(
    {"ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "POW", "ABS", "NEG", "EXP", "LOG"}
    | {"SQRT", "RSQRT", "SQUARE", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "LEAKY_RELU", "ELU", "TANH"}
    | {"LOGISTIC", "HARD_SWISH", "GELU", "PRELU", "CEIL", "FLOOR", "ROUND", "SIGN", "SIN", "COS", "CAST"}
    | {"LOGICAL_AND", "LOGICAL_OR", "LOGICAL_NOT", "SELECT", "SELECT_V2", "GREATER", "LESS", "EQUAL"}
)

_UNKNOWN = Owner(())
"""The owner of a transposition whose name is lost: it is inside no known layer."""


def moved_operations(graph: OwnedTensors) -> set[int]:
    """Return the positions of the transpositions and of the operations before them that may have changed places.

    A transposition does not come between two operations of one layer unless it belongs to that layer itself.
    """
    moved: set[int] = set()
    for position, tensor in enumerate(graph.tensors):
        if tensor.kind == "TRANSPOSE":
            for owner in graph.owners(position) or [_UNKNOWN]:
                before = _moved_before(graph, position, owner)
                moved |= before | {position} if before else set()
    return moved


def _moved_before(graph: OwnedTensors, transposition: int, owner: Owner) -> set[int]:
    moved: set[int] = set()
    waiting = list(graph.tensors[transposition].reads)
    while waiting:
        position = waiting.pop()
        if position not in moved and _may_be_moved(graph, position, owner):
            moved.add(position)
            waiting += graph.tensors[position].reads
    return moved


def _may_be_moved(graph: OwnedTensors, position: int, transposed_by: Owner) -> bool:
    tensor, parts = graph.tensors[position], graph.parts[position]
    reshaped = tensor.kind == "RESHAPE"  # its name has an activation that was fused into what it reads
    acting = [part for part in parts if _acts(part)] if tensor.activated or reshaped else []
    rest = [part for part in parts if part not in acting]
    read = {owner for source in tensor.reads for owner in graph.owners(source)}

    def apart(own: list[NamePart], before: set[Owner]) -> bool:
        return not any(part.owner in before and not part.owner.holds(transposed_by) for part in own)

    if acting and apart(acting, {part.owner for part in rest}):
        return True
    return tensor.kind in _ELEMENT_BY_ELEMENT and apart(rest, read)


def _acts(part: NamePart) -> bool:
    return part.leaf.startswith(("Relu", "clip_by_value", "Maximum", "Minimum", "Tanh"))
