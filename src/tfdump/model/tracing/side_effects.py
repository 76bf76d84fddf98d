"""The side effects of graphs: writing variables, drawing random numbers, calling Python."""

from functools import cache
from typing import Any

from tfdump.model.tensorflow_internals import op_def_registry
from tfdump.model.tracing.memory import BODIES, bodies

READING = frozenset({"ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape", "VarIsInitializedOp"})
"""Operations that read a variable without changing it."""

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
"""Operations that TensorFlow marks as stateful, but that have no side effects."""

_ACTING = frozenset({"Batch", "BatchFunction", "PyFuncStateless", "Unbatch", "UnbatchGrad"})
"""Operations that TensorFlow marks as stateless, but that combine rows of several runs or call Python."""

_CALLING = frozenset({"Case", "If", "StatefulPartitionedCall", "While"})
"""Operations that are stateful if the graphs that they run are."""


def has_side_effects(graph: Any) -> bool:
    """Tell whether a run of a graph may change the results of the next one, or must not overlap with another run.

    This is also assumed of an operation whose graph is not available.
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
