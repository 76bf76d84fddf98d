"""TFLite models: the interpreter, which preserves all tensors, and their addresses."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfdump.address import Candidate
from tfdump.dtypes import STRING, numpy_dtype
from tfdump.errors import ModelError
from tfdump.files.limits import allowed_bytes, check_bytes
from tfdump.model.embeddings.lite_lookups import vocabulary_of_tensor
from tfdump.model.error_text import first_line
from tfdump.model.file_signatures import choose_signature
from tfdump.model.free_names import free_name
from tfdump.model.loading.formats import TFLITE
from tfdump.model.request import ProbedTensor, Request
from tfdump.model.runnable import FixedModel, FixedProbe, check_request
from tfdump.model.signature import Signature
from tfdump.model.tflite.flatbuffer import LiteFile, LiteSignature, LiteTensor, read_tflite
from tfdump.model.tflite.runtime import open_interpreter
from tfdump.model.tflite.tensors import LiteTensors
from tfdump.tensors import Array, Batch, InputSpec, Note, TensorInfo, Value, listed

if TYPE_CHECKING:
    from tfdump.model.operations.reference import Reference


class LiteModel(FixedModel):
    """One signature of a `.tflite` file as a Runnable; `config` describes its inputs and outputs as JSON text.

    `named` is False where the file has no signatures, and the main graph is used as one. With a `reference`, the
    addresses are those of a Keras model (`--like`).
    """

    class_name = TFLITE
    in_words = "a .tflite file"

    def __init__(self, path: Path, file: LiteFile, lite_signature: LiteSignature, named: bool) -> None:
        self.path = path
        self.file = file
        self.lite_signature = lite_signature
        self.named = named
        self.graph = file.subgraphs[lite_signature.subgraph]
        whole = sum(_bytes(tensor, 1) for graph in file.subgraphs for tensor in graph.tensors if not tensor.constant)
        check_bytes(whole, allowed_bytes(), f"the tensors that {path} declares take", ModelError)
        self.interpreter, self.runtime = open_interpreter(path)
        self.reference: Reference | None = None
        described = {
            "format": TFLITE,
            "signature": lite_signature.name if named else None,
            "signatures": [signature.name for signature in file.signatures],
            "inputs": [_described(name, self.graph.tensors[number]) for name, number in lite_signature.inputs],
            "outputs": [_described(name, self.graph.tensors[number]) for name, number in lite_signature.outputs],
        }
        self.config = json.dumps(described)

    def constant(self, number: int) -> Array:
        """Return the numbers of a constant of the subgraph."""
        return np.asarray(self.interpreter.get_tensor(number, self.lite_signature.subgraph))

    def signature(self, array_names: Sequence[str | None]) -> Signature:
        """Return the inputs of the signature; a quantized input also accepts real numbers."""
        specs = []
        for name, number in self.lite_signature.inputs:
            tensor = self.graph.tensors[number]
            shape = tuple(None if size == -1 else size for size in tensor.shape)
            if not shape:
                raise ModelError(
                    f"the model takes '{name}', a single number without an example axis, which tfdump cannot pass "
                    "(convert the model with a fixed value)"
                )
            spec = InputSpec(name, shape, tensor.dtype, vocabulary=vocabulary_of_tensor(self.graph, number))
            if tensor.quantized and tensor.axis is None:
                spec = replace(spec, quantization=(float(tensor.scale[0]), int(tensor.zero_point[0])))
            specs.append(spec)
        return Signature(tuple(specs), None, declared=True)

    def probe(self, signature: Signature, specs: Sequence[InputSpec], request: Request, note: Note) -> "LiteProbe":
        """Return a probe on the tensors of the subgraph."""
        check_request(request, self.in_words)
        if request.dequantize and not any(tensor.quantized and not tensor.constant for tensor in self.graph.tensors):
            note(f"--dequantize has no effect: no activation of {self.path} is quantized")
        return LiteProbe(self, request, note)


class LiteProbe(FixedProbe):
    """The interpreter, which returns the requested tensors batch by batch (see RunnableProbe)."""

    def __init__(self, model: LiteModel, request: Request, note: Note) -> None:
        super().__init__()
        self._model = model
        self._tensors = LiteTensors(model.file, model.lite_signature, model.reference, model.constant)
        self.not_captured = self._tensors.not_captured
        self.assigned = [tensor.name for tensor in model.graph.tensors if tensor.variable]
        addressed = self._tensors.addressed
        candidates = [Candidate(item.address, (self._tensors.kind(item),)) for item in addressed]
        missing = {item.address: item.reason for item in self.not_captured}
        probed, self._numbers = [], []
        self._dequantize = request.dequantize
        for order in request.selection.choose(candidates, missing):
            item = addressed[order]
            number = self._tensors.number(item)
            structure = model.graph.tensors[number].name
            classes = (self._tensors.kind(item),)
            info = self._info(item.address, item.layer, structure, classes, order, number)
            info = replace(info, attributes=(*info.attributes, *item.attributes))
            flow = self._tensors.flow
            probed.append(ProbedTensor(replace(info, inputs=flow.inputs(item), operands=flow.operands(item)), False))
            self._numbers.append(number)
        if request.outputs:
            for order, (name, number) in enumerate(model.lite_signature.outputs, len(addressed)):
                info = self._info(name, name, name, (TFLITE,), order, number)
                probed.append(ProbedTensor(replace(info, inputs=self._tensors.origin(number)), is_output=True))
                self._numbers.append(number)
        self.probed = tuple(probed)
        nameless = [item for item in self._tensors.nameless if any(p.info.address == item for p in probed)]
        if nameless:
            note(
                f"the layers that return {listed(nameless)} are unknown, because the converter did not keep their names"
            )

    def _info(
        self, address: str, layer: str, structure: str, classes: tuple[str, ...], order: int, number: int
    ) -> TensorInfo:
        tensor = self._model.graph.tensors[number]
        attributes: list[tuple[str, Any]] = []
        dtype = tensor.dtype
        if tensor.quantized:
            attributes.append(("scale", tensor.scale[0] if tensor.axis is None else tensor.scale))
            attributes.append(("zero_point", tensor.zero_point[0] if tensor.axis is None else tensor.zero_point))
            if tensor.axis is not None:
                attributes.append(("quantized_axis", np.int64(tensor.axis)))
            if self._dequantize:
                attributes.append(("quantized_dtype", dtype))
                dtype = "float32"
        return TensorInfo(address, layer, structure, classes, order, dtype, tensor.shape, attributes=tuple(attributes))

    def tensor_number(self, place: int) -> int:
        """Return the number in the subgraph of a probed tensor, by its place in `probed`."""
        return self._numbers[place]

    def live_bytes(self, batch: int) -> int:
        """Return the bytes of all tensors for a batch of this size, because the interpreter preserves them."""
        return sum(_bytes(tensor, batch) for tensor in self._model.graph.tensors if not tensor.constant)

    def start(self) -> None:
        """Reset the variables, which are the states of stateful operations."""
        if self.assigned:
            self._model.interpreter.allocate_tensors()
            self._model.interpreter.reset_all_variables()

    def run(self, batch: Batch) -> list[Value | None]:
        """Return the values of the probed tensors for one batch, None for one that the interpreter did not preserve.

        Raises ModelError when the model fails on the batch.
        """
        model, interpreter = self._model, self._model.interpreter
        try:
            if model.named:
                interpreter.get_signature_runner(model.lite_signature.name)(
                    **{n: _fed(batch[n]) for n, _ in model.lite_signature.inputs}
                )
            else:
                for name, number in model.lite_signature.inputs:
                    if tuple(interpreter._get_tensor_details(number, 0)["shape"]) != batch[name].shape:
                        interpreter.resize_tensor_input(number, batch[name].shape, strict=True)
                interpreter.allocate_tensors()
                for name, number in model.lite_signature.inputs:
                    interpreter.set_tensor(number, _fed(batch[name]))
                interpreter.invoke()
        except (RuntimeError, ValueError) as cause:
            raise ModelError(f"the model fails on this input: {first_line(cause)}") from cause
        return [self._value(number) for number in self._numbers]

    def _value(self, number: int) -> Value | None:
        tensor = self._model.graph.tensors[number]
        try:
            value: Array = self._model.interpreter.get_tensor(number, self._model.lite_signature.subgraph)
        except ValueError:  # the interpreter has no data for a tensor that it optimized away
            return None
        return dequantized(value, tensor) if self._dequantize and tensor.quantized else value


def dequantized(values: Array, tensor: LiteTensor) -> Array:
    """Return the real numbers that quantized ones represent, `(q - zero_point) * scale` in float32."""
    shape = [1] * values.ndim
    if tensor.axis is not None:
        shape[tensor.axis] = -1
    zero_point = tensor.zero_point.reshape(shape) if tensor.axis is not None else tensor.zero_point[0]
    scale = tensor.scale.reshape(shape) if tensor.axis is not None else tensor.scale[0]
    return ((values.astype(np.int64) - zero_point).astype(np.float32) * scale).astype(np.float32)


def load_tflite(path: Path, signature: str | None) -> LiteModel:
    """Load a `.tflite` file; raises ModelError when it is damaged, or has no such signature."""
    file = read_tflite(path)
    flex = sorted({op.kind for graph in file.subgraphs for op in graph.operators if op.kind.startswith("Flex")})
    if flex:
        raise ModelError(
            f"{path} needs operations of TensorFlow ({', '.join(flex)}), which the TFLite interpreter alone cannot run "
            "(dump the SavedModel that it was converted from, or convert that with TFLITE_BUILTINS)"
        )
    name = choose_signature([item.name for item in file.signatures], signature, path)
    named = next((item for item in file.signatures if item.name == name), None)
    return LiteModel(path, file, named or main_signature(file), named=named is not None)


def main_signature(file: LiteFile) -> LiteSignature:
    """Return the main graph as a signature, whose inputs and outputs have the names of their tensors."""
    graph = file.subgraphs[0]

    def named(numbers: Sequence[int]) -> tuple[tuple[str, int], ...]:
        names: dict[str, int] = {}
        for number in numbers:
            name = graph.tensors[number].name.removeprefix("serving_default_").removesuffix(":0").replace("/", ".")
            names[free_name(name, names)] = number
        return tuple(names.items())

    return LiteSignature("", 0, named(graph.inputs), named(graph.outputs))


def _fed(values: Array) -> Array:
    return np.array(values.tolist(), dtype=object) if values.dtype.hasobject else np.ascontiguousarray(values)


def _bytes(tensor: LiteTensor, batch: int) -> int:
    if tensor.dtype == STRING or tensor.dtype.startswith(("type", "resource", "variant")):
        return 0
    sizes = [batch if size == -1 else size for size in tensor.shape]
    return int(np.prod(sizes, dtype=np.float64)) * numpy_dtype(tensor.dtype).itemsize


def _described(name: str, tensor: LiteTensor) -> dict[str, Any]:
    described: dict[str, Any] = {"name": name, "shape": tensor.shape, "dtype": tensor.dtype}
    if tensor.quantized:
        described |= {"scale": tensor.scale.tolist(), "zero_point": tensor.zero_point.tolist()}
    return described
