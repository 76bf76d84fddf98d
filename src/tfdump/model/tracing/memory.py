"""The memory that a traced graph needs for a batch size, estimated from the shapes and lifetimes of its tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfdump.model.recording.tensors import HANDLES
from tfdump.model.tracing.shapes import BATCHES, Shapes, resolved_shapes

_ALIASES = frozenset({"Identity", "Reshape", "Squeeze", "ExpandDims", "StopGradient", "PreventGradient"})
"""Operations whose output shares the buffer of their first input."""

_FREE = frozenset({"Const", "ReadVariableOp", "Placeholder", "VarHandleOp", "Shape", "NoOp", "Assert"})
"""Operations whose outputs take no memory per batch: constants, weights, and the inputs (counted elsewhere)."""


@dataclass(frozen=True)
class _Buffer:
    """One buffer of the graph: the known factor of its bytes, how many axes are the batch or open, and its lifetime."""

    fixed_bytes: int
    batch_axes: int
    open_axes: int
    born: int
    dies: int

    def bytes_at(self, batch: int, longest: int) -> int:
        """Return the bytes if one open axis is the batch, and any other is the larger of `batch` and `longest`."""
        if not self.batch_axes and not self.open_axes:
            return self.fixed_bytes
        guessed = self.open_axes if self.batch_axes else self.open_axes - 1
        return int(self.fixed_bytes * batch ** max(1, self.batch_axes) * max(batch, longest) ** guessed)


BODIES = ("body", "cond", "then_branch", "else_branch", "branches", "f")
"""Attributes of operations that name a graph; `bodies` returns these graphs."""


class LiveMemory:
    """The largest sum of live tensors while a graph runs in the order in which it was built.

    `wanted` are the returned tensors, which live to the end. `longest` is the assumed length of open axes other than
    the batch. With `resolve`, axes that follow from the shapes of the inputs are computed first, which takes time.
    Buffers that TensorFlow reuses in place are counted twice, so the estimate is too large rather than too small. It is
    `uncertain` where the rank of a tensor is unknown.
    """

    def __init__(self, graph: Any, wanted: Sequence[Any], longest: int, resolve: bool = False) -> None:
        self._longest = longest
        self._shapes = resolved_shapes(graph) if resolve else {}
        needed = _ancestors(wanted)
        order = [operation for operation in graph.get_operations() if operation.name in needed]
        self._end = len(order)
        self.uncertain = False
        self._dies: dict[str, int] = {}  # for the name of a tensor, the time of its last read
        self._buffers = self._lifetimes(order, wanted)
        self._inner = [
            (time, LiveMemory(body, body.outputs, longest, resolve))
            for time, operation in enumerate(order)
            for body in bodies(graph, operation)
        ]
        self.uncertain |= any(inner.uncertain for _, inner in self._inner)
        self._lists = [
            (_Buffer(*_size(element, None), born=time, dies=end), _rounds(operation, longest))
            for time, operation in enumerate(order)
            for body in bodies(graph, operation)
            for elements, end in (
                (_listed(body, "TensorListPushBack", 1), self._end),  # kept from every round for the gradient
                (_listed(body, "TensorListSetItem", 2), self._last_use(operation, time)),  # until they are stacked
            )
            for element in elements
        ]

    def _lifetimes(self, order: list[Any], wanted: Sequence[Any]) -> list[_Buffer]:
        root: dict[str, str] = {}
        born: dict[str, tuple[int, Any]] = {}
        dies = self._dies
        for time, operation in enumerate(order):
            for tensor in operation.inputs:
                dies[root.get(tensor.name, tensor.name)] = time
            for tensor in operation.outputs:
                if operation.type in _ALIASES:
                    source = operation.inputs[0].name
                    root[tensor.name] = root.get(source, source)
                elif operation.type not in _FREE:
                    born[tensor.name] = (time, tensor)
        for tensor in wanted:
            dies[root.get(tensor.name, tensor.name)] = self._end
        buffers = []
        for name, (time, tensor) in born.items():
            if tensor.dtype in HANDLES:
                continue
            shapes = self._shapes.get(name)
            if tensor.shape.rank is None and shapes is None:
                self.uncertain = True
            else:
                buffers.append(_Buffer(*_size(tensor, shapes), born=time, dies=dies.get(name, time)))
        return buffers

    def _last_use(self, operation: Any, time: int) -> int:
        """Return the time of the last read of the lists that a loop returns."""
        lists = [tensor.name for tensor in operation.outputs if tensor.dtype == tf.variant]
        return max((self._dies.get(name, time) for name in lists), default=time)

    def peak(self, batch: int) -> int:
        """Return the peak in bytes at this batch size."""
        changes = [0] * (self._end + 2)
        for buffer in self._buffers:
            size = buffer.bytes_at(batch, self._longest)
            changes[buffer.born] += size
            changes[buffer.dies + 1] -= size
        for time, inner in self._inner:
            size = inner.peak(batch)
            changes[time] += size
            changes[time + 1] -= size
        for element, rounds in self._lists:
            size = element.bytes_at(batch, self._longest) * rounds
            changes[element.born] += size
            changes[element.dies + 1] -= size
        live = peak = 0
        for change in changes:
            live += change
            peak = max(peak, live)
        return peak


def _ancestors(wanted: Sequence[Any]) -> set[str]:
    """Return the names of the operations on which the wanted tensors depend."""
    names: set[str] = set()
    waiting = [tensor.op for tensor in wanted]
    while waiting:
        operation = waiting.pop()
        if operation.name in names:
            continue
        names.add(operation.name)
        waiting.extend(tensor.op for tensor in operation.inputs)
        waiting.extend(operation.control_inputs)
    return names


def bodies(graph: Any, operation: Any) -> list[Any]:
    """Return the graphs of the loop, the branches or the function that an operation runs."""
    graphs = []
    attributes = operation.node_def.attr  # every access creates a new one
    for attribute in BODIES:
        if attribute not in attributes:
            continue
        value = attributes[attribute]
        for name in [value.func.name, *(function.name for function in value.list.func)]:
            function = graph._get_function(name) if name else None
            body = getattr(function, "graph", None)  # functions of TensorFlow 1 have no graph
            if body is not None:
                graphs.append(body)
    return graphs


def _listed(body: Any, kind: str, place: int) -> list[Any]:
    """Return the tensors that a loop's body puts into a list, one per round; weights and constants are stored once."""
    listed = [operation.inputs[place] for operation in body.get_operations() if operation.type == kind]
    return [tensor for tensor in listed if tensor.shape.rank and None in tensor.shape and tensor.dtype not in HANDLES]


def _rounds(operation: Any, longest: int) -> int:
    """Return the maximum number of rounds of a loop if the graph defines it, else `longest`.

    `tf.while_loop` passes its `maximum_iterations` to the operation after its counter, with -1 for any number.
    """
    if operation.type not in ("While", "StatelessWhile"):
        return longest
    limit = operation.inputs[1]
    known = tf.get_static_value(limit.op.inputs[0] if limit.op.type == "Max" else limit)
    most = -1 if known is None or np.size(known) == 0 else int(np.max(known))
    return most if most >= 0 else longest


def _size(tensor: Any, shapes: Shapes | None) -> tuple[int, int, int]:
    """Return the bytes of the known axes, the number of axes that grow with the batch, and the number of open axes.

    `shapes` are the shapes of the tensor for batches of the sizes `BATCHES`; without them, the static shape is used.
    """
    small, large = shapes or (tensor.shape, tensor.shape)
    known, batch_axes, open_axes = 16 if tensor.dtype == tf.string else tensor.dtype.size, 0, 0
    for size, larger in zip(small, large, strict=True):
        if size is None or larger is None:
            open_axes += 1
        elif size == larger:
            known *= size
        elif larger == 2 * size:
            known *= size // BATCHES[0]
            batch_axes += 1
        elif larger == 4 * size:  # the batch times itself
            known *= size // BATCHES[0] ** 2
            batch_axes += 2
        else:  # the batch and something else
            known *= max(size, larger)
            batch_axes += 1
    return known, batch_axes, open_axes
