"""Reading and checking a `.tflite` file before the interpreter does, which ends the process on some damaged files.

This follows the FlatBuffer schema of TFLite (`tensorflow/compiler/mlir/lite/schema/schema.fbs`).
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfdump.errors import ModelError
from tfdump.model.tflite_internals import schema_py_generated as schema
from tfdump.tensors import Array

_BUILTINS = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
_OPTIONS = {code: name for name, code in vars(schema.BuiltinOptions).items() if not name.startswith("_")}
_TYPES = {code: name.lower() for name, code in vars(schema.TensorType).items() if not name.startswith("_")}
_BROKEN = (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError)
"""The errors that the FlatBuffers library raises where an offset leads out of the file."""

_LARGEST_RANK = 32


@dataclass(frozen=True)
class LiteTensor:
    """One tensor of a subgraph; `shape` has -1 for open axes.

    `scale` and `zero_point` have one element, or one per channel; they are empty for a tensor that is not quantized.
    `axis` is that of the channels, None where there is one scale for the whole tensor.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    constant: bool
    variable: bool
    scale: Array
    zero_point: Array
    axis: int | None

    @property
    def quantized(self) -> bool:
        """Whether its numbers represent real numbers by a scale and a zero point."""
        return bool(self.scale.size)


@dataclass(frozen=True)
class LiteOperator:
    """One operation: its name in the schema (`CONV_2D`), and the numbers of its tensors.

    `activated` tells whether it has a fused activation, and `unpadded` whether it is a convolution without padding.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    activated: bool
    unpadded: bool = False


@dataclass(frozen=True)
class LiteSubgraph:
    """The main graph, a branch, or the body of a loop."""

    name: str
    tensors: tuple[LiteTensor, ...]
    operators: tuple[LiteOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class LiteSignature:
    """A named way to call a subgraph: the names of its inputs and outputs, with the numbers of their tensors."""

    name: str
    subgraph: int
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class LiteFile:
    """The structure of a `.tflite` file, without its numbers."""

    subgraphs: tuple[LiteSubgraph, ...]
    signatures: tuple[LiteSignature, ...]


def read_tflite(path: Path) -> LiteFile:
    """Read the structure of a file, and check that all its offsets lead to places inside it.

    Raises ModelError for a damaged or truncated file.
    """
    try:
        data = path.read_bytes()
    except OSError as cause:
        raise ModelError(f"cannot read {path}: {cause.strerror}") from cause
    try:
        model = schema.Model.GetRootAs(data, 0)
        schema.ModelT.InitFromObj(model)  # follows every offset, also those that are not read below
        buffers = [_check_buffer(model.Buffers(number), len(data)) for number in range(model.BuffersLength())]
        codes = [_kind(model.OperatorCodes(number)) for number in range(model.OperatorCodesLength())]
        subgraphs = tuple(
            _subgraph(model.Subgraphs(number), codes, buffers) for number in range(model.SubgraphsLength())
        )
        signatures = tuple(
            _signature(model.SignatureDefs(number), subgraphs) for number in range(model.SignatureDefsLength())
        )
    except _BROKEN as cause:
        raise ModelError(f"{path} is damaged or truncated: it refers to data outside of the file") from cause
    if not subgraphs or not subgraphs[0].operators:
        raise ModelError(f"{path} is a TFLite model without operations")
    return LiteFile(subgraphs, signatures)


def _check_buffer(buffer: Any, size: int) -> bool:
    """Tell whether a buffer holds data; raises ValueError where it extends beyond the file."""
    length = buffer.DataLength()
    if length:
        start = buffer._tab.Vector(buffer._tab.Offset(4))
        if start < 0 or start + length > size:
            raise ValueError
    if buffer.Offset() > 1 and buffer.Offset() + buffer.Size() > size:
        raise ValueError
    return bool(length or buffer.Size())


def _kind(code: Any) -> str:
    builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    if builtin == schema.BuiltinOperator.CUSTOM:
        return code.CustomCode().decode("utf-8", "replace") if code.CustomCode() else "CUSTOM"
    return str(_BUILTINS[builtin]) if builtin in _BUILTINS else f"BUILTIN_{builtin}"


def _subgraph(graph: Any, codes: Sequence[str], buffers: Sequence[bool]) -> LiteSubgraph:
    tensors = tuple(_tensor(graph.Tensors(number), buffers) for number in range(graph.TensorsLength()))
    operators = tuple(
        _operator(graph.Operators(number), codes, len(tensors)) for number in range(graph.OperatorsLength())
    )
    inputs = _numbers(graph.Inputs, graph.InputsLength(), len(tensors))
    outputs = _numbers(graph.Outputs, graph.OutputsLength(), len(tensors))
    _check_order(operators, inputs)
    return LiteSubgraph(_text(graph.Name()), tensors, operators, inputs, outputs)


def _tensor(tensor: Any, buffers: Sequence[bool]) -> LiteTensor:
    signed = tensor.ShapeSignatureLength()
    read, rank = (tensor.ShapeSignature, signed) if signed else (tensor.Shape, tensor.ShapeLength())
    if rank > _LARGEST_RANK:
        raise ValueError
    scale, zero_point, axis = np.zeros(0, np.float32), np.zeros(0, np.int64), None
    quantization = tensor.Quantization()
    if quantization is not None and quantization.ScaleLength():
        scale = np.array(quantization.ScaleAsNumpy(), np.float32)
        count = quantization.ZeroPointLength()
        zero_point = np.array(quantization.ZeroPointAsNumpy() if count else np.zeros(len(scale)), np.int64)
        axis = quantization.QuantizedDimension() if len(scale) > 1 else None
    return LiteTensor(
        _text(tensor.Name()),
        _TYPES.get(tensor.Type(), f"type {tensor.Type()}"),
        tuple(int(read(number)) for number in range(rank)),
        buffers[tensor.Buffer()],
        bool(tensor.IsVariable()),
        scale,
        zero_point,
        axis,
    )


def _operator(operator: Any, codes: Sequence[str], tensors: int) -> LiteOperator:
    activated, unpadded = False, False
    name = _OPTIONS.get(operator.BuiltinOptionsType(), "NONE")
    table = operator.BuiltinOptions()
    if table is not None and hasattr(schema, name):
        options = getattr(schema, name)()
        options.Init(table.Bytes, table.Pos)
        if hasattr(options, "FusedActivationFunction"):
            activated = options.FusedActivationFunction() != schema.ActivationFunctionType.NONE
        if hasattr(options, "Padding"):
            unpadded = options.Padding() == schema.Padding.VALID
    return LiteOperator(
        codes[operator.OpcodeIndex()],
        _numbers(operator.Inputs, operator.InputsLength(), tensors),
        _numbers(operator.Outputs, operator.OutputsLength(), tensors),
        activated,
        unpadded,
    )


def _check_order(operators: Sequence[LiteOperator], inputs: Sequence[int]) -> None:
    """Raise ValueError where an operation reads the output of a later one, which would be a circle."""
    made_by = {number: place for place, operator in enumerate(operators) for number in operator.outputs}
    for place, operator in enumerate(operators):
        if any(made_by.get(number, -1) >= place for number in operator.inputs):
            raise ValueError


def _signature(signature: Any, subgraphs: Sequence[LiteSubgraph]) -> LiteSignature:
    tensors = len(subgraphs[signature.SubgraphIndex()].tensors)

    def named(read: Any, count: int) -> tuple[tuple[str, int], ...]:
        pairs = [(_text(read(number).Name()), int(read(number).TensorIndex())) for number in range(count)]
        if any(not 0 <= tensor < tensors for _, tensor in pairs):
            raise ValueError
        return tuple(pairs)

    return LiteSignature(
        _text(signature.SignatureKey()),
        int(signature.SubgraphIndex()),
        named(signature.Inputs, signature.InputsLength()),
        named(signature.Outputs, signature.OutputsLength()),
    )


def _numbers(read: Any, count: int, limit: int) -> tuple[int, ...]:
    """Return numbers of tensors; -1 is an optional one that is absent."""
    numbers = tuple(int(read(number)) for number in range(count))
    if any(not -1 <= number < limit for number in numbers):
        raise ValueError
    return numbers


def _text(name: bytes | None) -> str:
    return (name or b"").decode("utf-8", "replace")
