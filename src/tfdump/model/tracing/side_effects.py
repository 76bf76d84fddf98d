"""What a graph does besides computing its outputs: variables that it writes, random numbers that it draws."""

from functools import cache
from typing import Any

from tfdump.model.tensorflow_internals import op_def_registry
from tfdump.model.tracing.memory import BODIES, bodies

READING = frozenset({"ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape", "VarIsInitializedOp"})
"""Operations on a variable that leave it as it is."""

_HARMLESS = READING | {
    "_Arg",
    "Assert",
    "CheckNumerics",
    "HashTable",
    "HashTableV2",
    "LookupTableExportV2",
    "LookupTableFindV2",
    "LookupTableSizeV2",
    "VarHandleOp",
}
"""Operations that TensorFlow calls stateful, and that change nothing."""

_ACTING = frozenset({"Batch", "BatchFunction", "PyFuncStateless", "Unbatch", "UnbatchGrad"})
"""Operations that TensorFlow calls stateless, and that put the rows of several runs together or call Python."""

_CALLING = frozenset({"Case", "If", "StatefulPartitionedCall", "While"})
"""Operations that are as stateful as the graphs that they run."""


def has_side_effects(graph: Any) -> bool:
    """Tell whether running a graph may change what its next run gives, or may not be done twice at once.

    So it is taken to be where an operation runs a graph that cannot be seen.
    """
    return any(_acts(graph, operation) for operation in graph.get_operations())


def _acts(graph: Any, operation: Any) -> bool:
    stateful, attributes = _about(operation.type)
    if stateful:
        return True
    if not attributes:
        return False
    graphs = bodies(graph, operation) if attributes <= set(BODIES) else []
    return len(graphs) < len(attributes) or any(has_side_effects(body) for body in graphs)


@cache
def _about(kind: str) -> tuple[bool, frozenset[str]]:
    """Return whether an operation itself has side effects, and the names of its attributes that hold graphs."""
    definition = op_def_registry.get(kind)
    if definition is None or kind in _ACTING:
        return True, frozenset()
    graphs = frozenset(attribute.name for attribute in definition.attr if attribute.type in ("func", "list(func)"))
    return bool(definition.is_stateful) and kind not in _HARMLESS | _CALLING, graphs
