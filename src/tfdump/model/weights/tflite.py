"""The weights of a `.tflite` file: its constants, under the layers whose operations read them. Nothing is run."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tfdump.dump.quantization import QuantizationParameters
from tfdump.model.file_signatures import choose_signature
from tfdump.model.loading.formats import TFLITE
from tfdump.model.runnable import FixedModel
from tfdump.model.tflite.constants import LiteNumbers
from tfdump.model.tflite.flatbuffer import LiteOperator, LiteTensor, read_tflite
from tfdump.model.tflite.interpreter import main_signature
from tfdump.model.tflite.name_evidence import PRODUCTS
from tfdump.model.tflite.tensors import LiteTensors
from tfdump.model.weights.graph_constants import (
    BIAS,
    EMBEDDINGS,
    KERNEL,
    GraphConstant,
    constant_weights,
    layer_and_name,
)
from tfdump.model.weights.records import ModelWeights, WeightRequest
from tfdump.tensors import Array, Note

if TYPE_CHECKING:
    from tfdump.model.operations.reference import Reference

_AXES = {
    "FULLY_CONNECTED": "output,input",
    "CONV_2D": "output,height,width,input",
    "TRANSPOSE_CONV": "output,height,width,input",
    "DEPTHWISE_CONV_2D": "one,height,width,output",
    "CONV_3D": "depth,height,width,input,output",
}
_ROLES = {("GATHER", 0): EMBEDDINGS, ("EMBEDDING_LOOKUP", 1): EMBEDDINGS, ("PRELU", 1): "alpha"} | {
    (kind, place): role for kind, places in PRODUCTS.items() for role, place in zip((KERNEL, BIAS), places, strict=True)
}
_SPARSE = "it is stored without its zeros, which tfdump does not read"


class LiteWeights(FixedModel):
    """The constants of a file; with a `reference`, their layers are those of a Keras model (`--like`)."""

    class_name = TFLITE
    in_words = "a .tflite file"
    computes = False
    files: tuple[Path, ...] = ()

    def __init__(self, path: Path, signature: str | None) -> None:
        self._path = path
        self._file = read_tflite(path)
        names = [item.name for item in self._file.signatures]
        name = choose_signature(names, signature, path)
        named = next((item for item in self._file.signatures if item.name == name), None)
        self._signature = named or main_signature(self._file)
        self._numbers = LiteNumbers(path)
        self.reference: Reference | None = None
        self.config = json.dumps({"format": TFLITE, "signature": name or None, "signatures": names})

    def model_weights(self, request: WeightRequest, note: Note) -> ModelWeights:
        """Return the constants that are weights, raw or as real numbers."""
        constants = [item for number in range(len(self._file.subgraphs)) for item in self._constants_of(number)]
        return constant_weights(constants, request, self.in_words, note, self._path.name)

    def _values(self, subgraph: int, number: int) -> Array:
        tensor = self._file.subgraphs[subgraph].tensors[number]
        return self._numbers.values(subgraph, number, tensor.dtype, tensor.shape)

    def _constants_of(self, subgraph: int) -> Iterator[GraphConstant]:
        """Yield the constants of a subgraph in the order in which its operations read them."""
        graph, own = self._file.subgraphs[subgraph], self._signature.subgraph == subgraph
        tensors = self._tensors
        made_by = {number: operator for operator in graph.operators for number in operator.outputs}
        read: set[int] = set()
        for operator in (operator for operator in graph.operators if operator.kind != "DEQUANTIZE"):
            sources = [_source(number, made_by) for number in operator.inputs]
            known = self._layer(sources, operator, subgraph) if operator.kind in PRODUCTS else ("", "")
            for place, number in enumerate(sources):
                if number < 0 or not graph.tensors[number].constant or number in read:
                    continue
                read.add(number)
                tensor = graph.tensors[number]
                layer, inside = layer_and_name(tensors.parts_of(tensor.name))
                if known[0]:
                    layer = known[0]
                elif not layer and own:
                    layer, _ = layer_and_name(tensors.parts_made_by(operator.outputs[0]))
                role = _ROLES.get((operator.kind, place), "")
                yield GraphConstant(
                    tensor.name,
                    operator.kind,
                    layer,
                    role,
                    tensor.dtype,
                    tensor.shape,
                    partial(self._values, subgraph, number),
                    inside,
                    _AXES.get(operator.kind) if role == KERNEL else None,
                    _quantization(tensor),
                    obstacle=_SPARSE if self._numbers.is_sparse(subgraph, number) else None,
                )

    def _layer(self, sources: list[int], operator: LiteOperator, subgraph: int) -> tuple[str, str]:
        """Return the layer of a product: as the names of its weights and of its bias tell, else its own name."""
        graph, tensors = self._file.subgraphs[subgraph], self._tensors
        operands = [sources[place] for place in PRODUCTS[operator.kind] if place < len(sources)]
        names = [graph.tensors[number].name for number in operands if number >= 0 and graph.tensors[number].constant]
        evidence = [tensors.parts_of(name) for name in names]
        if subgraph == self._signature.subgraph:
            evidence.append(tensors.parts_made_by(operator.outputs[0]))
        told = [layer_and_name(parts) for parts in evidence]
        return next((item for item in told if item[0]), ("", ""))

    @property
    def _tensors(self) -> LiteTensors:
        if self._named is None or self._named[0] is not self.reference:
            constant = partial(self._values, self._signature.subgraph)
            self._named = self.reference, LiteTensors(self._file, self._signature, self.reference, constant)
        return self._named[1]

    _named: "tuple[Reference | None, LiteTensors] | None" = None


def _source(number: int, made_by: dict[int, LiteOperator]) -> int:
    """Return the tensor that another one only represents in float32, or itself."""
    operator = made_by.get(number)
    return operator.inputs[0] if operator is not None and operator.kind == "DEQUANTIZE" else number


def _quantization(tensor: LiteTensor) -> QuantizationParameters | None:
    if not tensor.quantized:
        return None
    if tensor.axis is None:
        return QuantizationParameters(tensor.scale[0], tensor.zero_point[0])
    return QuantizationParameters(tensor.scale, tensor.zero_point, tensor.axis)
