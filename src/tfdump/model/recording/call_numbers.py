"""The numbers of the calls of a layer: by the nodes of the graph in functional models, else by execution.

Keras runs a functional model by depth, so the calls in one branch of a shared tower may be the first call of one layer
and the second call of the next. The nodes of a layer are in the order in which the model was built.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from keras import Operation, Sequential

from tfdump.model.any_backend_internals import Functional, SymbolicArguments
from tfdump.model.recording.frames import Hook, ObservedRun
from tfdump.model.recording.patching import replaced


@dataclass(frozen=True)
class GraphCall:
    """One call in a graph: its number among the calls of the operation in that graph, and the number of these calls."""

    number: int
    count: int


class GraphCalls(Hook):
    """Determines which node of its graph a functional model is about to compute.

    Keras fills in the arguments of a node just before it calls the node's operation
    (`keras.src.ops.function.Function._run_through_graph`).
    """

    def __init__(self, recording: ObservedRun) -> None:
        super().__init__(recording)
        self._arguments: Any = None
        self._nodes: dict[tuple[int, int], list[Any]] = {}

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Wrap the method that fills in the arguments."""
        original = SymbolicArguments.fill_in

        def fill_in(arguments: SymbolicArguments, *values: Any) -> Any:
            if self.recording.current is not None:
                self._arguments = arguments
            return original(arguments, *values)

        with replaced(SymbolicArguments, "fill_in", fill_in):
            yield

    def next(self, parent: Operation, operation: Operation) -> GraphCall | None:
        """Return the call of the operation that begins now; None where it is not a node of the parent's graph."""
        arguments, self._arguments = self._arguments, None
        if arguments is None:
            return None
        nodes = self._nodes_of(parent, operation)
        numbers = (number for number, node in enumerate(nodes) if node.arguments is arguments)
        number = next(numbers, None)
        return None if number is None else GraphCall(number, len(nodes))

    def _nodes_of(self, parent: Operation, operation: Operation) -> list[Any]:
        """Return the nodes of an operation in the graph of a functional model, in the order of building."""
        key = (id(parent), id(operation))
        if key not in self._nodes:
            graph = parent._functional if isinstance(parent, Sequential) else parent
            by_depth = graph._nodes_by_depth.values() if isinstance(graph, Functional) else ()
            own = {id(node) for nodes in by_depth for node in nodes}
            self._nodes[key] = [node for node in operation._inbound_nodes if id(node) in own]
        return self._nodes[key]


def free_number(used: frozenset[int], first: int) -> int:
    """Return the smallest number from `first` on that is not used."""
    while first in used:
        first += 1
    return first
