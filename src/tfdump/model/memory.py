"""How much memory a traced graph needs at a batch size, from the shapes and lifetimes of its tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

_ALIASES = frozenset({"Identity", "Reshape", "Squeeze", "ExpandDims", "StopGradient", "PreventGradient"})
"""Operations whose output shares the buffer of their first input."""

_FREE = frozenset({"Const", "ReadVariableOp", "Placeholder", "VarHandleOp", "Shape", "NoOp", "Assert"})
"""Operations whose outputs cost nothing a batch: constants, weights, the inputs (counted apart)."""


@dataclass(frozen=True)
class _Buffer:
    """One buffer of the graph: the fixed part of its size in bytes, its open axes, and when it lives."""

    fixed_bytes: int
    open_axes: int
    first_open: bool
    born: int
    dies: int

    def bytes_at(self, batch: int, longest: int) -> int:
        """Bytes when the first axis, if open, is the batch, and other open axes are the larger of both."""
        others = self.open_axes - self.first_open
        return self.fixed_bytes * (batch if self.first_open else 1) * int(max(batch, longest) ** others)


class LiveMemory:
    """The largest sum of live tensors while a graph runs in the order in which it was built.

    `wanted` are the tensors that are returned: they live to the end. `longest` stands for open axes that are
    not the batch. Buffers that TensorFlow reuses in place are counted twice, so this errs on the large side.
    """

    def __init__(self, graph: Any, wanted: Sequence[Any], longest: int) -> None:
        self._longest = longest
        needed = _ancestors(wanted)
        order = [operation for operation in graph.get_operations() if operation.name in needed]
        self._end = len(order)
        self._buffers = self._lifetimes(order, wanted)

    def _lifetimes(self, order: list[Any], wanted: Sequence[Any]) -> list[_Buffer]:
        root: dict[str, str] = {}
        born: dict[str, tuple[int, Any]] = {}
        dies: dict[str, int] = {}
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
            size = _size(tensor)
            if size is not None:
                buffers.append(_Buffer(*size, born=time, dies=dies.get(name, time)))
        return buffers

    def peak(self, batch: int) -> int:
        """Return the peak in bytes at this batch size."""
        changes = [0] * (self._end + 2)
        for buffer in self._buffers:
            size = buffer.bytes_at(batch, self._longest)
            changes[buffer.born] += size
            changes[buffer.dies + 1] -= size
        live = peak = 0
        for change in changes:
            live += change
            peak = max(peak, live)
        return peak


def _ancestors(wanted: Sequence[Any]) -> set[str]:
    """Return the names of the operations that the wanted tensors need."""
    seen: set[str] = set()
    waiting = [tensor.op for tensor in wanted]
    while waiting:
        operation = waiting.pop()
        if operation.name in seen:
            continue
        seen.add(operation.name)
        waiting.extend(tensor.op for tensor in operation.inputs)
        waiting.extend(operation.control_inputs)
    return seen


def _size(tensor: Any) -> tuple[int, int, bool] | None:
    """Return bytes of the known axes, the number of open axes, and whether the first is open; None if unknown."""
    if tensor.shape.rank is None or tensor.dtype in (tf.resource, tf.variant):
        return None
    itemsize = 16 if tensor.dtype == tf.string else tensor.dtype.size
    known = 1
    for size in tensor.shape:
        known *= 1 if size is None else size
    open_axes = sum(size is None for size in tensor.shape)
    return known * itemsize, open_axes, bool(open_axes and tensor.shape[0] is None)
