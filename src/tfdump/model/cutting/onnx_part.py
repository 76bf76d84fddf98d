"""A part of an `.onnx` file, cut out of the protobuf without the package `onnx`.

The fields are those of `onnx/onnx.proto` (https://github.com/onnx/onnx), whose numbers never change.
"""

from collections.abc import Sequence
from pathlib import Path

from tfdump.model.cutting.needed import needed_operations
from tfdump.model.cutting.records import PartInput, UncutModel
from tfdump.model.onnx.file import GRAPH_OUTPUT, MODEL_GRAPH, VALUE_NAME, OnnxGraph, read_onnx
from tfdump.model.onnx.session import OnnxValue
from tfdump.model.onnx.wire import Message, field_bytes, merged, number_bytes

_IR_VERSION, _OPSETS, _FUNCTIONS = 1, 8, 25
"""Fields of a model."""

_NODE, _GRAPH_NAME, _INITIALIZER, _GRAPH_INPUT, _VALUE_INFO, _SPARSE = 1, 2, 5, 11, 13, 15
"""Fields of a graph."""

_RAW, _EXTERNAL = 9, 13
"""Fields of a tensor: its numbers, or the file in which they are."""

_INTEGERS = 7
"""The type of an attribute that is a list of integers."""

_TYPES = {
    name: number
    for number, name in enumerate(
        ("float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "float16", "float64"), 1
    )
} | {"uint32": 12, "uint64": 13}
"""The number of a type of elements (`TensorProto.DataType`) by its dtype."""


def cut_onnx(
    data: bytes, folder: Path, inputs: Sequence[PartInput], tensors: Sequence[str], output: OnnxValue
) -> bytes:
    """Return the part of a model that computes one tensor from others.

    Parameters
    ----------
    data : bytes
        The model.
    folder : Path
        Where the files are that hold its constants.
    inputs : sequence of PartInput
        The inputs of the part. One with another name than its tensor, or another order of axes, is followed by a node
        that copies or transposes it.
    tensors : sequence of str
        The names in the file of the tensors that the inputs stand for.
    output : OnnxValue
        The tensor that becomes the output.

    Returns
    -------
    bytes
        A model with the constants that it needs inside.

    Raises
    ------
    UncutModel
        Where the target needs more than the inputs.

    """
    target = output.name
    model = merged([memoryview(data)])
    message = model.message(MODEL_GRAPH) or Message({}, {})
    graph = read_onnx(memoryview(data)).graph
    made_by = {name: place for place, node in enumerate(graph.nodes) for name in node.outputs if name}
    reads = [[name for name in (*node.inputs, *node.outer) if name] for node in graph.nodes]
    places = needed_operations(target, set(tensors), made_by, reads, graph.constants.keys())
    read = {name for place in places for name in reads[place]}
    names = _names(inputs, tensors, graph)
    parts = [_feeding(one, name, tensor) for one, name, tensor in zip(inputs, names, tensors, strict=True)]
    parts += [field_bytes(_NODE, bytes(message.views[_NODE][place])) for place in places]
    parts.append(field_bytes(_GRAPH_NAME, b"part"))
    for view in message.views.get(_INITIALIZER, ()):
        if merged([view]).text(8) in read:
            parts.append(field_bytes(_INITIALIZER, _with_numbers(view, folder)))
    for view in message.views.get(_SPARSE, ()):
        values = merged([view]).message(1)
        if values is not None and values.text(8) in read:
            parts.append(field_bytes(_SPARSE, bytes(view)))
    parts += [field_bytes(_GRAPH_INPUT, _value(name, one)) for one, name in zip(inputs, names, strict=True)]
    parts.append(field_bytes(GRAPH_OUTPUT, _output(message, output)))
    inner = {name for place in places for name in graph.nodes[place].outputs} - {target}
    for view in message.views.get(_VALUE_INFO, ()):
        if merged([view]).text(VALUE_NAME) in inner:
            parts.append(field_bytes(_VALUE_INFO, bytes(view)))
    whole = [number_bytes(_IR_VERSION, model.number(_IR_VERSION)), field_bytes(MODEL_GRAPH, b"".join(parts))]
    for field in (_OPSETS, _FUNCTIONS):
        whole += [field_bytes(field, bytes(view)) for view in model.views.get(field, ())]
    return b"".join(whole)


def _names(inputs: Sequence[PartInput], tensors: Sequence[str], graph: OnnxGraph) -> list[str]:
    """Return the names of the inputs: a single one that needs no other axes has the name of its tensor."""
    if len(inputs) == 1 and inputs[0].order is None:
        return list(tensors)
    known = {*graph.constants, *graph.inputs, *(name for node in graph.nodes for name in node.outputs)} - {*tensors}
    for one in inputs:
        if one.name in known:
            raise UncutModel(f"another tensor of it is called '{one.name}'")
    return [one.name for one in inputs]


def _feeding(one: PartInput, name: str, tensor: str) -> bytes:
    """Return the node that makes a tensor from an input, nothing where they have one name."""
    if name == tensor:
        if one.order is not None:
            raise UncutModel(f"its input '{name}' has another order of axes under the same name")
        return b""
    kind = b"Identity" if one.order is None else b"Transpose"
    node = field_bytes(1, name.encode()) + field_bytes(2, tensor.encode()) + field_bytes(4, kind)
    if one.order is not None:
        axes = b"".join(number_bytes(8, axis) for axis in one.order)
        node += field_bytes(5, field_bytes(1, b"perm") + axes + number_bytes(20, _INTEGERS))
    return field_bytes(_NODE, node)


def _with_numbers(view: memoryview, folder: Path) -> bytes:
    """Return a constant with its numbers inside, which may be in a file beside the model."""
    tensor = merged([view])
    entries = {entry.text(1): entry.text(2) for entry in tensor.messages(_EXTERNAL)}
    if not entries:
        return bytes(view)
    start, length = (int(entries.get(name, "0")) for name in ("offset", "length"))
    with (folder / entries["location"]).open("rb") as file:
        file.seek(start)
        numbers = file.read(length or -1)
    shape = b"".join(number_bytes(1, size) for size in tensor.integers(1))
    return (
        shape + number_bytes(2, tensor.number(2)) + field_bytes(8, tensor.text(8).encode()) + field_bytes(_RAW, numbers)
    )


def _value(name: str, one: PartInput) -> bytes:
    """Return the declaration of an input."""
    if one.dtype not in _TYPES:
        raise UncutModel(f"'{one.source}' is a {one.dtype}")
    return _declared(name, one.dtype, one.shape)


def _declared(name: str, dtype: str, shape: Sequence[int | None]) -> bytes:
    sizes = [
        field_bytes(2, f"axis{axis}".encode()) if size is None else number_bytes(1, size)
        for axis, size in enumerate(shape)
    ]
    tensor = number_bytes(1, _TYPES[dtype]) + field_bytes(2, b"".join(field_bytes(1, size) for size in sizes))
    return field_bytes(VALUE_NAME, name.encode()) + field_bytes(2, field_bytes(1, tensor))


def _output(message: Message, output: OnnxValue) -> bytes:
    """Return the declaration of the output: what ONNX Runtime knows of it, or else what the model declares."""
    if output.dtype in _TYPES and output.shape is not None:
        return _declared(output.name, output.dtype, [None if size == -1 else size for size in output.shape])
    for field in (GRAPH_OUTPUT, _VALUE_INFO):
        for view in message.views.get(field, ()):
            if merged([view]).text(VALUE_NAME) == output.name:
                return bytes(view)
    return field_bytes(VALUE_NAME, output.name.encode())
