"""The weights of an `.onnx` file: its constants, under the layers whose nodes read them. Nothing is run."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from tfdump.dump.quantization import QuantizationParameters
from tfdump.errors import ModelError
from tfdump.files.limits import allowed_bytes, check_bytes
from tfdump.model.loading.formats import ONNX
from tfdump.model.onnx.checks import check_constants, external_files
from tfdump.model.onnx.file import OnnxNode, OnnxTensor, read_onnx
from tfdump.model.onnx.names import DEQUANTIZING, QUANTIZING, operation_names
from tfdump.model.onnx.numbers import OnnxNumbers, constant_dtype
from tfdump.model.onnx.wire import DamagedMessage
from tfdump.model.operations.owners import Owner
from tfdump.model.operations.scopes import Scopes
from tfdump.model.runnable import FixedModel
from tfdump.model.weights.graph_constants import (
    BIAS,
    EMBEDDINGS,
    KERNEL,
    GraphConstant,
    constant_weights,
    layer_address,
)
from tfdump.model.weights.records import ModelWeights, WeightRequest
from tfdump.tensors import Array, Note

_NORMALIZATION = ("gamma", "beta", "moving_mean", "moving_variance")
_RECURRENT = (KERNEL, "recurrent_kernel", BIAS)
_ROLES: Mapping[str, Mapping[int, str]] = {
    "Conv": {1: KERNEL, 2: BIAS},
    "ConvTranspose": {1: KERNEL, 2: BIAS},
    "Gemm": {1: KERNEL, 2: BIAS},
    "MatMul": {1: KERNEL},
    "BatchNormalization": dict(enumerate(_NORMALIZATION, 1)),
    "LayerNormalization": dict(enumerate(_NORMALIZATION[:2], 1)),
    "InstanceNormalization": dict(enumerate(_NORMALIZATION[:2], 1)),
    "Gather": {0: EMBEDDINGS},
    "PRelu": {1: "alpha"},
    "LSTM": dict(enumerate(_RECURRENT, 1)),
    "GRU": dict(enumerate(_RECURRENT, 1)),
    "RNN": dict(enumerate(_RECURRENT, 1)),
    "ConvInteger": {1: KERNEL},
    "MatMulInteger": {1: KERNEL},
    "QLinearConv": {3: KERNEL, 8: BIAS},
    "QLinearMatMul": {3: KERNEL},
    "com.microsoft:QGemm": {3: KERNEL, 6: BIAS},
}
"""The weights of operations by their places among the inputs."""

_QUANTIZED = {"QLinearConv": 0, "QLinearMatMul": 1, "com.microsoft:QGemm": 1}
"""Operations with quantized weights, and the axis of the channels; scale and zero point are the inputs behind them."""

_WEIGHTS_OF_QUANTIZED = 3
"""The place of these weights among the inputs."""

_SUMS = ("Add", "BiasAdd")
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "ConvInteger", "MatMulInteger", *_QUANTIZED})


class OnnxWeights(FixedModel):
    """The constants of a file."""

    class_name = ONNX
    in_words = "an .onnx file"
    computes = False

    def __init__(self, path: Path, signature: str | None) -> None:
        if signature is not None:
            raise ModelError(
                f"--signature {signature}: {path} is an ONNX model, which has no signatures (leave it out)"
            )
        self._path = path
        try:
            check_bytes(path.stat().st_size, allowed_bytes(), f"{path} takes", ModelError)
            data = path.read_bytes()
            self.file = read_onnx(memoryview(data))
        except OSError as cause:
            raise ModelError(f"cannot read {path}: {cause.strerror}") from cause
        except DamagedMessage as cause:
            raise ModelError(f"{path} is not an ONNX model, or is damaged or truncated: {cause}") from cause
        check_constants(self.file, path)
        self._numbers = OnnxNumbers(path, data)
        self.config = json.dumps({"format": ONNX, "opset": self.file.opset})

    @property
    def files(self) -> list[Path]:
        """The files beside the model that hold its constants."""
        return external_files(self.file, self._path)

    def model_weights(self, request: WeightRequest, note: Note) -> ModelWeights:
        """Return the constants that are weights, raw or as real numbers."""
        return constant_weights(self._constants(), request, self.in_words, note, self._path.name)

    def _constants(self) -> Iterator[GraphConstant]:
        """Yield the constants of the main graph in the order in which its nodes read them."""
        graph = self.file.graph
        names = operation_names(graph)
        scopes = Scopes([*names])
        constants = dict(graph.constants)
        for node in graph.nodes:
            if node.kind == "Constant" and len(node.tensors) == 1:
                constants |= dict.fromkeys(node.outputs[:1], node.tensors[0])
        quantized = {
            node.outputs[0]: node
            for node in graph.nodes
            if node.kind == DEQUANTIZING and node.inputs and node.inputs[0] in constants and node.outputs
        }
        pairs = list(zip(graph.nodes, names, strict=True))
        products = {name.rpartition("/")[0] for node, name in pairs if node.title in _PRODUCTS}
        reads = Counter(name for node in graph.nodes for name in node.inputs)
        read: set[str] = set()
        for node, name in pairs:
            if node.kind in (QUANTIZING, DEQUANTIZING):
                continue  # what they read is a scale, a zero point, or the weight of the node behind
            sources = [quantized[operand].inputs[0] if operand in quantized else operand for operand in node.inputs]
            own = [source for source in sources if source in constants and reads[source] == 1]
            layer = _layer(scopes, [name, *own])
            adds_bias = node.kind in _SUMS and bool(layer) and name.rpartition("/")[0] in products
            for number, (operand, source) in enumerate(zip(node.inputs, sources, strict=True)):
                if source not in constants or source in read or _is_scale(node, number):
                    continue
                read.add(source)
                constant, role = constants[source], BIAS if adds_bias else _role(node, number)
                parameters = None
                if operand in quantized:
                    parameters = self._parameters(quantized[operand], 1, constants, constant)
                elif node.title in _QUANTIZED and number == _WEIGHTS_OF_QUANTIZED:
                    parameters = self._parameters(node, number + 1, constants, constant)
                yield GraphConstant(
                    source,
                    node.title,
                    layer,
                    role,
                    constant_dtype(constant),
                    constant.shape,
                    partial(self._numbers.values, source, constant),
                    "",
                    _axes(node, len(constant.shape)) if role == KERNEL else None,
                    parameters,
                )

    def _parameters(
        self, node: OnnxNode, at: int, constants: Mapping[str, OnnxTensor], weight: OnnxTensor
    ) -> QuantizationParameters | None:
        """Return scale and zero point, inputs `at` and behind it of a node; None where these are no constants."""
        names = [name for name in node.inputs[at : at + 2] if name]
        if not names or any(name not in constants for name in names):
            return None
        scale, *zeros = (self._numbers.values(name, constants[name]) for name in names)
        zero: Array = zeros[0] if zeros else np.zeros(scale.shape, np.int64)
        axis = _QUANTIZED.get(node.title, 1 if node.axis is None else node.axis) % max(1, len(weight.shape))
        zero = zero.astype(np.int64)
        if scale.size == zero.size == 1:
            return QuantizationParameters(scale.reshape(()), zero.reshape(()))
        if scale.ndim < 2 or scale.ndim != len(weight.shape) or zero.shape != scale.shape or not scale.size:
            return QuantizationParameters(scale, zero, axis)
        length = weight.shape[axis]
        size = -(-length // scale.shape[axis])  # one number for each block along the axis
        return QuantizationParameters(_blockwise(scale, size, axis, length), _blockwise(zero, size, axis, length))


def _layer(scopes: Scopes, names: Iterable[str]) -> str:
    """Return the address of the first layer that the names of a node and of its own constants tell; "" for none."""
    places = (scopes.place(name.removesuffix(":0")) for name in names)
    return next((layer_address(Owner(place.layers)) for place in places if place.layers), "")


def _role(node: OnnxNode, number: int) -> str:
    if node.kind == "MatMul" and number == 0:
        return KERNEL
    return _ROLES.get(node.title, {}).get(number, "")


def _blockwise(values: Array, size: int, axis: int, length: int) -> Array:
    """Return the numbers of blocks of a size as one number per place along an axis of a length."""
    return np.take(np.repeat(values, size, axis), range(length), axis, mode="clip")


def _is_scale(node: OnnxNode, number: int) -> bool:
    """Tell whether an input of a node with quantized weights is a scale or a zero point."""
    scaled = node.kind.startswith("QLinear") or node.kind == "QGemm"
    return scaled and number not in _ROLES.get(node.title, {})


def _axes(node: OnnxNode, rank: int) -> str | None:
    """Return the names of the axes of a kernel, None where they are not known."""
    spatial = {3: ("width",), 4: ("height", "width"), 5: ("depth", "height", "width")}.get(rank, ())
    match node.kind:
        case "Conv" | "ConvInteger" | "QLinearConv":
            return ",".join(("output", "input", *spatial)) if spatial else None
        case "ConvTranspose":
            return ",".join(("input", "output", *spatial)) if spatial else None
        case "Gemm" | "QGemm":
            return "output,input" if node.transposed else "input,output"
        case "MatMul" | "MatMulInteger" | "QLinearMatMul":
            return "input,output" if rank == 2 else None
    return None
