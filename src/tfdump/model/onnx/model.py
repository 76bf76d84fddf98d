"""ONNX models: one graph, whose tensors are all available, except for those inside loops and branches."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tfdump.address import Candidate
from tfdump.dtypes import STRING, numpy_dtype
from tfdump.dump.layout import STORED_AXES
from tfdump.errors import ModelError
from tfdump.files.limits import allowed_bytes, check_bytes
from tfdump.model.embeddings.onnx_lookups import vocabulary_of_value
from tfdump.model.free_names import free_name
from tfdump.model.loading.formats import ONNX
from tfdump.model.onnx.checks import check_file, external_files
from tfdump.model.onnx.file import OnnxFile, read_onnx
from tfdump.model.onnx.quantization import Quantization, quantizations
from tfdump.model.onnx.session import OnnxValue, Session, onnx_library, runtime_of_onnx
from tfdump.model.onnx.tensors import OnnxTensors
from tfdump.model.onnx.wire import DamagedMessage
from tfdump.model.request import ProbedTensor, Request
from tfdump.model.runnable import FixedModel, FixedProbe, check_request
from tfdump.model.signature import Signature
from tfdump.tensors import Array, Batch, InputSpec, Note, TensorInfo, Value

_LARGEST_FILE = 2**31 - 1
"""Protocol buffers end there; larger models keep their numbers in files beside."""


class OnnxModel(FixedModel):
    """An `.onnx` file as a Runnable; `config` describes its inputs and outputs as JSON text.

    `input_names` are the names of the inputs of tfdump by those in the file, and so are `output_names`.
    """

    class_name = ONNX
    in_words = "an .onnx file"

    def __init__(self, path: Path, data: bytes, file: OnnxFile) -> None:
        self.runtime = runtime_of_onnx()
        self.path = path
        self.file = file
        self.random = any(_is_random(node.kind) for node in file.graph.all_nodes())
        self._data = data
        self.session = self.new_session(0)
        if not self.random:
            self._data = b""  # ONNX Runtime has its own copy
        self.inputs = tuple(value for value in self.session.inputs if value.name not in file.graph.constants)
        self.input_names = _readable([value.name for value in self.inputs])
        self.output_names = _readable(file.graph.outputs)
        whole = sum(_bytes(value, 1) for value in (*self.inputs, *self.session.outputs.values()))
        check_bytes(whole, allowed_bytes(), f"the tensors that {path} declares take", ModelError)
        described = {
            "format": ONNX,
            "opset": file.opset,
            "inputs": [_described(self.input_names[value.name], value) for value in self.inputs],
            "outputs": [_described(name, self.session.outputs[tensor]) for tensor, name in self.output_names.items()],
        }
        self.config = json.dumps(described)

    def new_session(self, seed: int) -> Session:
        """Return the model in ONNX Runtime; where it draws random numbers, they start again."""
        return Session(self._data, self.file, self.path, seed)

    def signature(self, array_names: Sequence[str | None]) -> Signature:
        """Return the inputs."""
        return Signature(tuple(self._spec(value) for value in self.inputs), None, declared=True)

    def _spec(self, value: OnnxValue) -> InputSpec:
        name = self.input_names[value.name]
        if value.dtype is None:
            raise ModelError(f"the model takes '{name}', a {value.type}, which tfdump cannot pass")
        if value.shape is None and value.name not in self.file.unshaped:
            raise ModelError(
                f"the model takes '{name}', a single number without an example axis, which tfdump cannot pass (export "
                "the model with a fixed value)"
            )
        shape = None if value.shape is None else tuple(None if size == -1 else size for size in value.shape)
        return InputSpec(name, shape, value.dtype, vocabulary=vocabulary_of_value(self.file.graph, value.name))

    def probe(self, signature: Signature, specs: Sequence[InputSpec], request: Request, note: Note) -> "OnnxProbe":
        """Return a probe on the tensors of the graph."""
        check_request(request, self.in_words)
        return OnnxProbe(self, request, note)


class OnnxProbe(FixedProbe):
    """ONNX Runtime, which returns the requested tensors batch by batch (see RunnableProbe)."""

    turns = True

    def __init__(self, model: OnnxModel, request: Request, note: Note) -> None:
        super().__init__()
        self._model = model
        self._seed = request.seed
        self._session = model.new_session(request.seed) if model.random else model.session
        self._by_name = quantizations(model.file.graph)
        tensors = OnnxTensors(model.file.graph, model.input_names, model.session.outputs)
        self.random = model.random
        self._orders: dict[int, tuple[int, ...]] = {}
        self.assigned: list[str] = []
        self.not_captured = tensors.not_captured
        self._dequantize = request.dequantize
        candidates = [Candidate(item.address, (tensors.kind(item),)) for item in tensors.addressed]
        missing = {item.address: item.reason for item in self.not_captured}
        probed: list[ProbedTensor] = []
        self._names: list[str] = []
        for order in request.selection.choose(candidates, missing):
            item = tensors.addressed[order]
            info = self._info(item.address, item.layer, (tensors.kind(item),), order, tensors.value(item))
            info = replace(info, attributes=(*info.attributes, *item.attributes))
            flow = tensors.flow
            probed.append(ProbedTensor(replace(info, inputs=flow.inputs(item), operands=flow.operands(item)), False))
            self._names.append(tensors.tensor(item))
        if request.outputs:
            for order, (tensor, name) in enumerate(model.output_names.items(), len(candidates)):
                value = model.session.outputs[tensor]
                if value.dtype is not None:
                    info = self._info(name, name, (ONNX,), order, value)
                    probed.append(ProbedTensor(replace(info, inputs=tensors.origin(tensor)), is_output=True))
                    self._names.append(tensor)
        self.probed = tuple(probed)
        if request.dequantize and not self._by_name:
            note(f"--dequantize has no effect: no activation of {model.path} is quantized")

    def _info(self, address: str, layer: str, classes: tuple[str, ...], order: int, value: OnnxValue) -> TensorInfo:
        quantization, dtype = self._quantization(value.name), value.dtype or ""
        attributes: list[tuple[str, Any]] = []
        if quantization is not None:
            one = quantization.axis is None
            attributes.append(("scale", quantization.scale[0] if one else quantization.scale))
            attributes.append(("zero_point", quantization.zero_point[0] if one else quantization.zero_point))
            if quantization.axis is not None:
                attributes.append(("quantized_axis", np.int64(quantization.axis)))
            if self._dequantize:
                attributes.append(("quantized_dtype", dtype))
                dtype = "float32"
        name = value.name.removesuffix(":0")
        return TensorInfo(address, layer, name, classes, order, dtype, value.shape, attributes=tuple(attributes))

    def _quantization(self, tensor: str) -> Quantization | None:
        dtype = self._model.session.outputs[tensor].dtype or ""
        return self._by_name.get(tensor) if dtype.startswith(("int", "uint")) else None

    def tensor_name(self, place: int) -> str:
        """Return the name in the file of a probed tensor, by its place in `probed`."""
        return self._names[place]

    def live_bytes(self, batch: int) -> int:
        """Return the bytes of all tensors for a batch of this size; open axes other than the first count as one."""
        return sum(_bytes(value, batch) for value in self._model.session.outputs.values())

    def takes(self, examples: int) -> bool:
        """Return False: a graph of a fixed batch size takes no other size."""
        return False

    def turn(self, orders: Mapping[int, tuple[int, ...]]) -> None:
        """Return some tensors with their axes in another order from now on, and describe them so."""
        self._orders |= orders
        probed = list(self.probed)
        for place, order in orders.items():
            probed[place] = replace(probed[place], info=_turned(probed[place].info, order))
        self.probed = tuple(probed)

    def start(self) -> None:
        """Start the random numbers again."""
        if self.random:
            self._session = self._model.new_session(self._seed)

    def run(self, batch: Batch) -> list[Value | None]:
        """Return the values of the probed tensors for one batch; raises ModelError when the model fails on it."""
        names = self._model.input_names
        feeds = {value.name: _fed(batch[names[value.name]]) for value in self._model.inputs}
        fetched = list(dict.fromkeys(self._names))
        values = dict(zip(fetched, self._session.run(fetched, feeds), strict=True))
        real = [self._real(values[name], name) for name in self._names]
        return [
            np.ascontiguousarray(value.transpose(self._orders[place])) if place in self._orders else value
            for place, value in enumerate(real)
        ]

    def _real(self, value: Any, tensor: str) -> Array:
        values: Array = np.asarray(value)
        quantization = self._quantization(tensor) if self._dequantize else None
        return values if quantization is None else quantization.real(values)


def load_onnx(path: Path, signature: str | None) -> OnnxModel:
    """Load an `.onnx` file; raises ModelError when it is damaged, or ONNX Runtime cannot run it."""
    if signature is not None:
        raise ModelError(f"--signature {signature}: {path} is an ONNX model, which has no signatures (leave it out)")
    onnx_library()  # before the file is read
    try:
        size = path.stat().st_size
        if size > _LARGEST_FILE:
            raise ModelError(f"{path} has more than 2 GiB, which no ONNX file can have (export it with external data)")
        check_bytes(size, allowed_bytes(), f"{path} takes", ModelError)
        data = path.read_bytes()
    except OSError as cause:
        raise ModelError(f"cannot read {path}: {cause.strerror}") from cause
    try:
        file = read_onnx(memoryview(data))
    except DamagedMessage as cause:
        raise ModelError(f"{path} is not an ONNX model, or is damaged or truncated: {cause}") from cause
    check_file(file, path)
    return OnnxModel(path, data, file)


def files_of(model: OnnxModel) -> list[Path]:
    """Return the files beside a model that hold its constants."""
    return external_files(model.file, model.path)


def _turned(info: TensorInfo, order: tuple[int, ...]) -> TensorInfo:
    """Return the description of a tensor with its axes in another order."""
    attributes = dict(info.attributes)
    if "quantized_axis" in attributes:
        attributes["quantized_axis"] = np.int64(order.index(int(attributes["quantized_axis"])))
    attributes[STORED_AXES] = np.array(order, np.int64)
    shape = None if info.shape is None else tuple(info.shape[axis] for axis in order)
    return replace(info, shape=shape, attributes=tuple(attributes.items()))


def _is_random(kind: str) -> bool:
    return kind.startswith(("Random", "Multinomial", "Bernoulli"))


def _readable(names: Sequence[str]) -> dict[str, str]:
    """Return the names of inputs or outputs as tfdump shows them."""
    readable: dict[str, str] = {}
    for name in names:
        short = name.removeprefix("serving_default_").removesuffix(":0").strip("/").replace("/", ".") or "0"
        readable[name] = free_name(short, set(readable.values()))
    return readable


def _fed(values: Array) -> Array:
    return np.array(values.tolist(), dtype=object) if values.dtype.hasobject else np.ascontiguousarray(values)


def _bytes(value: OnnxValue, batch: int) -> int:
    """Return the bytes of a tensor for a batch of a size, with all further open axes counted as one."""
    if value.dtype in (None, STRING) or value.shape is None:
        return 0
    first, *others = value.shape
    sizes = [batch if first == -1 else first, *(1 if size == -1 else size for size in others)]
    return math.prod(sizes) * numpy_dtype(value.dtype or "").itemsize


def _described(name: str, value: OnnxValue) -> dict[str, Any]:
    return {"name": name, "shape": value.shape, "dtype": value.dtype or value.type}
