"""The structure of an `.onnx` file: nodes, names and sizes, without its numbers.

This follows `onnx/onnx.proto` (https://github.com/onnx/onnx). The numbers of its fields never change.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from tfdump.model.onnx.wire import DamagedMessage, Message, merged
from tfdump.tensors import Array

MODEL_GRAPH, GRAPH_OUTPUT, VALUE_NAME = 7, 12, 1
"""The fields of the graph in a model, of an output in a graph, and of its name."""

_DEEPEST = 32
"""Graphs inside graphs; protocol buffers allow a hundred messages inside each other."""

_EXTERNAL = 1
_FLOAT16 = 10
_MASK = (1 << 64) - 1
_MOST_VALUES = 4096
"""Elements of a constant whose values are read: scales and zero points, for one channel each, are not longer."""

ITEM_BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128,
             16: 16, 17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2}  # fmt: skip
"""The bits of one element by the number of its type (`TensorProto.DataType`)."""

_NUMPY_TYPES = {
    number: np.dtype(name)
    for number, name in zip(
        (1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13),
        ("<f4", "u1", "i1", "<u2", "<i2", "<i4", "<i8", "<f2", "<f8", "<u4", "<u8"),
        strict=True,
    )
}


@dataclass(frozen=True)
class OnnxTensor:
    """A constant: its name, the number of its type, its shape, and where its numbers are if not in the file.

    `external` are the entries `location`, `offset` and `length` of `TensorProto.external_data`, None for numbers in the
    file. `values` are those of a small constant of numbers.
    """

    name: str
    type: int
    shape: tuple[int, ...]
    external: Mapping[str, str] | None = None
    values: Array | None = None

    @property
    def bytes(self) -> int:
        """The bytes that it takes in memory, those of text aside."""
        return (prod(self.shape) * ITEM_BITS.get(self.type, 0) + 7) // 8


@dataclass(frozen=True)
class OnnxNode:
    """One operation; `outer` are the names that its subgraphs read from outside of them.

    `domain` is "" for the operations of the ONNX standard. `axis` is its attribute of that name, and `transposed` tells
    whether it transposes its second input (`transB`).
    """

    name: str
    kind: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    graphs: tuple["OnnxGraph", ...] = ()
    tensors: tuple[OnnxTensor, ...] = ()
    axis: int | None = None
    transposed: bool = False

    @property
    def title(self) -> str:
        """The type of the operation, with its domain unless that is the standard."""
        return f"{self.domain}:{self.kind}" if self.domain else self.kind

    @property
    def outer(self) -> tuple[str, ...]:
        """The names that its subgraphs read from outside of them."""
        return tuple(dict.fromkeys(name for graph in self.graphs for name in graph.outer))


@dataclass(frozen=True)
class OnnxGraph:
    """The main graph, or the body of a loop or branch."""

    nodes: tuple[OnnxNode, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, OnnxTensor]

    @property
    def outer(self) -> tuple[str, ...]:
        """The names that are read in this graph and not defined in it."""
        own = {*self.inputs, *self.constants, *(name for node in self.nodes for name in node.outputs)}
        read = [name for node in self.nodes for name in (*node.inputs, *node.outer)] + list(self.outputs)
        return tuple(dict.fromkeys(name for name in read if name and name not in own))

    def all_nodes(self) -> Iterator[OnnxNode]:
        """Yield the nodes of this graph and of the graphs inside it."""
        for node in self.nodes:
            yield node
            for graph in node.graphs:
                yield from graph.all_nodes()

    def all_constants(self) -> Iterator[OnnxTensor]:
        """Yield all constants, those in nodes and in inner graphs included."""
        yield from self.constants.values()
        for node in self.nodes:
            yield from node.tensors
            for graph in node.graphs:
                yield from graph.all_constants()


@dataclass(frozen=True)
class OnnxFile:
    """What a file holds: the main graph, the functions that it defines (`domain:name`), and the opset of ONNX.

    `unshaped` are the inputs that declare no shape.
    """

    graph: OnnxGraph
    unshaped: frozenset[str]
    functions: frozenset[str]
    function_nodes: tuple[OnnxNode, ...]
    opset: int


def read_onnx(data: memoryview) -> OnnxFile:
    """Read the structure of a model; raises DamagedMessage for what is none."""
    model = merged([data])
    graph = model.message(MODEL_GRAPH)
    if graph is None:
        raise DamagedMessage("it has no graph")
    functions = list(model.messages(25))
    opsets = {entry.text(1): entry.number(2) for entry in model.messages(8)}
    return OnnxFile(
        _graph(graph, 0),
        frozenset(value.text(VALUE_NAME) for value in graph.messages(11) if not _declares_shape(value)),
        frozenset(f"{function.text(10)}:{function.text(1)}" for function in functions),
        tuple(_node(node, 1) for function in functions for node in function.messages(7)),
        opsets.get("", opsets.get("ai.onnx", 0)),
    )


def _declares_shape(value: Message) -> bool:
    """Tell whether a value is declared as a tensor with a shape."""
    kind = value.message(2)
    tensor = None if kind is None else kind.message(1)
    return tensor is not None and 2 in tensor.views


def _graph(graph: Message, depth: int) -> OnnxGraph:
    if depth > _DEEPEST:
        raise DamagedMessage(f"more than {_DEEPEST} graphs are inside each other")
    constants = [_tensor(tensor) for tensor in graph.messages(5)]
    for sparse in graph.messages(15):  # values, indices and the dense shape
        dense = _tensor(sparse.message(1) or Message({}, {}))
        constants.append(OnnxTensor(dense.name, dense.type, tuple(sparse.integers(3)), dense.external))
    return OnnxGraph(
        tuple(_node(node, depth) for node in graph.messages(1)),
        tuple(value.text(VALUE_NAME) for value in graph.messages(11)),
        tuple(value.text(VALUE_NAME) for value in graph.messages(GRAPH_OUTPUT)),
        {constant.name: constant for constant in constants},
    )


def _node(node: Message, depth: int) -> OnnxNode:
    graphs: list[OnnxGraph] = []
    tensors: list[OnnxTensor] = []
    axis, transposed = None, False
    for attribute in node.messages(5):
        inner = attribute.message(6)
        graphs += [] if inner is None else [_graph(inner, depth + 1)]
        graphs += [_graph(graph, depth + 1) for graph in attribute.messages(11)]
        tensor = attribute.message(5)
        tensors += [] if tensor is None else [_tensor(tensor)]
        tensors += [_tensor(tensor) for tensor in attribute.messages(10)]
        if attribute.text(1) == "axis":
            axis = attribute.number(3)
        if attribute.text(1) == "transB":
            transposed = bool(attribute.number(3))
    domain = node.text(7)
    return OnnxNode(
        node.text(3),
        node.text(4),
        "" if domain == "ai.onnx" else domain,
        tuple(node.texts(1)),
        tuple(node.texts(2)),
        tuple(graphs),
        tuple(tensors),
        axis,
        transposed,
    )


def _tensor(tensor: Message) -> OnnxTensor:
    """Return a constant; raises DamagedMessage where its shape has a negative size."""
    shape, kind = tuple(tensor.integers(1)), tensor.number(2)
    if any(size < 0 for size in shape):
        raise DamagedMessage(f"the constant '{tensor.text(8)}' has the shape {list(shape)}")
    external = None
    if tensor.number(14) == _EXTERNAL or 13 in tensor.views:
        external = {entry.text(1): entry.text(2) for entry in tensor.messages(13)}
    values = None if external is not None or prod(shape) > _MOST_VALUES else constant_numbers(tensor, kind, shape)
    return OnnxTensor(tensor.text(8), kind, shape, external, values)


def constant_numbers(tensor: Message, kind: int, shape: tuple[int, ...]) -> Array | None:
    """Return the numbers of a constant in the file; None for types that NumPy lacks, and for too few or too many."""
    dtype = _NUMPY_TYPES.get(kind)
    if dtype is None:
        return None
    if 9 in tensor.views:
        values = np.frombuffer(_whole(tensor.views[9][-1], dtype.itemsize), dtype)
    elif kind in (1, 11):
        views = tensor.views.get(4 if kind == 1 else 10, [])
        values = np.frombuffer(_whole(memoryview(b"".join(views)), dtype.itemsize), dtype)
    else:
        field = {7: 7, 12: 11, 13: 11}.get(kind, 5)
        values = np.array([value & _MASK for value in tensor.integers(field)], np.uint64).astype(dtype)
        if kind == _FLOAT16:
            values = np.array(tensor.integers(field), np.int64).astype(np.uint16).view(np.float16)
    if len(values) != prod(shape):
        return None
    return values.reshape(shape)


def _whole(view: memoryview, item: int) -> bytes:
    """Return the bytes of whole elements."""
    return bytes(view[: len(view) // item * item])
