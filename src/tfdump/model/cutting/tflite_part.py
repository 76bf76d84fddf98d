"""A part of a `.tflite` file, cut out of the flatbuffer with the classes that read it."""

from collections.abc import Sequence
from typing import Any

import flatbuffers

from tfdump.model.cutting.needed import needed_operations
from tfdump.model.cutting.records import PartInput, UncutModel
from tfdump.model.tflite_internals import schema_py_generated as schema

_IDENTIFIER = b"TFL3"
_SIGNATURE, _OUTPUT = b"serving_default", b"output_0"

_CALLING = frozenset({"WHILE", "IF", "CALL", "CALL_ONCE", "STABLEHLO_WHILE", "STABLEHLO_COMPOSITE", "STABLEHLO_REDUCE"})
"""Operations that run other subgraphs."""


def cut_tflite(data: bytes, subgraph: int, inputs: Sequence[PartInput], tensors: Sequence[int], target: int) -> bytes:
    """Return the part of a subgraph that computes the tensor `target` from others.

    Parameters
    ----------
    data : bytes
        The model, whose offsets `tfdump.model.tflite.flatbuffer.read_tflite` has checked.
    subgraph : int
        The number of the subgraph.
    inputs : sequence of PartInput
        The inputs of the part.
    tensors : sequence of int
        The numbers of the tensors that the inputs stand for.
    target : int
        The number of the tensor that becomes the output.

    Returns
    -------
    bytes
        A model of one subgraph and one signature, with the names and the quantization of the original.

    Raises
    ------
    UncutModel
        Where the target needs more than the inputs, another order of axes, or other subgraphs.

    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    graph = model.subgraphs[subgraph]
    operators = list(graph.operators or ())
    made_by = {int(number): place for place, operator in enumerate(operators) for number in operator.outputs}
    reads = [[int(number) for number in _numbers(operator.inputs) if number >= 0] for operator in operators]
    produced = {*made_by, *(int(number) for number in graph.inputs)}
    fixed = {number for number in range(len(graph.tensors)) if number not in produced}
    places = needed_operations(target, set(tensors), made_by, reads, fixed)
    if any(one.order is not None for one in inputs):
        raise UncutModel("its inputs have another order of axes")
    _check(model, [operators[place] for place in places])
    graph.operators = [operators[place] for place in places]
    graph.inputs, graph.outputs = list(tensors), [target]
    _keep_tensors(graph)
    model.subgraphs = [graph]
    _keep_buffers(model, graph)
    model.signatureDefs = [_signature([one.name for one in inputs], graph)]
    model.metadata = model.metadataBuffer = None
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def _numbers(values: Any) -> list[int]:
    """Return a vector of numbers, which is None where the file has none."""
    return [] if values is None else [int(value) for value in values]


def _check(model: Any, operators: Sequence[Any]) -> None:
    """Raise UncutModel for operations that are more than their own tensors."""
    calling = {getattr(schema.BuiltinOperator, name, None) for name in _CALLING}
    for operator in operators:
        code = model.operatorCodes[operator.opcodeIndex]
        if max(code.builtinCode, code.deprecatedBuiltinCode) in calling:
            raise UncutModel("a loop or a branch is part of it, whose body is another subgraph")
        if operator.largeCustomOptionsOffset:
            raise UncutModel("a part of the file is behind the flatbuffer")


def _keep_tensors(graph: Any) -> None:
    """Remove the tensors that no operation of a graph needs, and number the others anew."""
    vectors = [(operator, name) for operator in graph.operators for name in ("inputs", "outputs", "intermediates")]
    vectors += [(graph, "inputs"), (graph, "outputs")]
    used = sorted({number for owner, name in vectors for number in _numbers(getattr(owner, name)) if number >= 0})
    places = {number: place for place, number in enumerate(used)} | {-1: -1}
    for owner, name in vectors:
        if getattr(owner, name) is not None:
            setattr(owner, name, [places[number] for number in _numbers(getattr(owner, name))])
    graph.tensors = [graph.tensors[number] for number in used]


def _keep_buffers(model: Any, graph: Any) -> None:
    """Remove the numbers of other tensors; the first buffer is empty and stands for none."""
    used = sorted({0, *(tensor.buffer for tensor in graph.tensors)})
    if any(model.buffers[number].offset for number in used):
        raise UncutModel("its numbers are behind the flatbuffer")
    places = {number: place for place, number in enumerate(used)}
    for tensor in graph.tensors:
        tensor.buffer = places[tensor.buffer]
    model.buffers = [model.buffers[number] for number in used]


def _signature(names: Sequence[str], graph: Any) -> Any:
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = _SIGNATURE, 0
    named = [*zip([name.encode() for name in names], graph.inputs, strict=True), (_OUTPUT, graph.outputs[0])]
    maps = []
    for name, number in named:
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, number
        maps.append(entry)
    signature.inputs, signature.outputs = maps[:-1], maps[-1:]
    return signature
