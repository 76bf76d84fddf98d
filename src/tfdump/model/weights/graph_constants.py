"""The constants of a graph in a file as weights: their addresses, and what their integers stand for."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfdump.address import Candidate, encode
from tfdump.dtypes import kind_of
from tfdump.dump.kernel_axes import AXES
from tfdump.dump.quantization import QUANTIZED_DTYPE, QuantizationParameters
from tfdump.errors import ModelError
from tfdump.model.free_names import free_name
from tfdump.model.operations.fused_order import is_product
from tfdump.model.operations.owners import NamePart, Owner
from tfdump.model.weights.records import ModelWeights, WeightRequest, WeightTensor, weight_attributes
from tfdump.tensors import Array, NotCaptured, Note, TensorInfo

KERNEL, BIAS, EMBEDDINGS = "kernel", "bias", "embeddings"
"""The names of weights, as Keras has them."""


@dataclass(frozen=True)
class GraphConstant:
    """A constant of a graph that an operation reads.

    `name` is that in the file, and `kind` the type of the operation. `layer` is the address of the layer, "" where it
    is unknown. `role` is the name of the weight, "" where the operation does not tell it, and `inside` its name in the
    layer then. `axes` names the axes of a kernel. `obstacle` says why it cannot be read, None where it can.
    `is_variable` tells that it is a variable, which is a weight whatever it holds. `trainable` is None where the file
    does not tell.
    """

    name: str
    kind: str
    layer: str
    role: str
    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], Array]
    inside: str = ""
    axes: str | None = None
    quantization: QuantizationParameters | None = None
    trainable: bool | None = None
    obstacle: str | None = None
    is_variable: bool = False

    @property
    def is_weight(self) -> bool:
        """Whether it is a weight, and not a shape, an axis, or a single number such as an epsilon."""
        if self.is_variable:
            return kind_of(self.dtype) in "fciub"
        numbers = kind_of(self.dtype) == "f" or self.quantization is not None
        return numbers and (bool(self.role) or any(size > 1 for size in self.shape))


def layer_and_name(parts: Iterable[NamePart]) -> tuple[str, str]:
    """Return the layer that the name of an operation or constant tells, and the name inside it; "" where none is told.

    Of several layers whose operations were fused, the one with a matrix product or convolution owns the weights.
    """
    told = [part for part in parts if part.owner.layers]
    best = next((part for part in told if is_product(part)), told[0] if told else None)
    return (
        ("", "") if best is None else (layer_address(best.owner), encode(best.place.own[-1]) if best.place.own else "")
    )


def layer_address(owner: Owner) -> str:
    """Return the address of a layer, whichever of its calls the owner is."""
    return ".".join(encode(name) for name, _ in owner.layers)


def constant_weights(
    constants: Iterable[GraphConstant], request: WeightRequest, file: str, note: Note, name: str
) -> ModelWeights:
    """Return the constants that are weights, in order; `name` is that of the file, and `file` says what it is.

    Raises ModelError for a request that the format cannot answer, and for a file without weights.
    """
    if request.optimizer:
        raise ModelError(
            f"--optimizer is for files of Keras, but {name} is {file}, which holds no optimizer (leave it out)"
        )
    weights = [constant for constant in constants if constant.is_weight]
    if not weights:
        raise ModelError(
            f"{name} is {file} without weights: no operation reads a variable or a constant of real numbers"
        )
    if request.dequantize and not any(constant.quantization for constant in weights):
        note(f"--dequantize has no effect: no weight of {name} is quantized")
    for constant in weights:
        _check_quantization(constant, name)
    used: set[str] = set()
    tensors: list[WeightTensor] = []
    missing: list[NotCaptured] = []
    for constant in weights:
        layer, address = _address(constant)
        address = free_name(address, used)
        used.add(address)
        if constant.obstacle is not None:
            missing.append(NotCaptured(address, constant.obstacle))
        else:
            tensors.append(_tensor(constant, address, layer, len(tensors), request.dequantize))
    return ModelWeights(tuple(tensors), tuple(missing))


def _check_quantization(constant: GraphConstant, name: str) -> None:
    """Raise ModelError where a constant has too few or too many scales or zero points."""
    known, shape = constant.quantization, constant.shape
    if known is None:
        return
    scale, zero = np.shape(known.scale), np.shape(known.zero_point)
    if known.axis is not None:
        fits = known.axis in range(len(shape)) and scale == zero == shape[known.axis : known.axis + 1]
    else:
        fits = scale == zero and scale in ((), shape)
    if not fits:
        raise ModelError(
            f"{name} is damaged: the scale of '{constant.name}' has the shape {list(scale)} and its zero point "
            f"{list(zero)}, which do not fit its shape {list(shape)}"
        )


def _address(constant: GraphConstant) -> tuple[str, str]:
    """Return the layer and the address of a weight: the name in the file where its layer is not known."""
    if constant.layer:
        address = f"{constant.layer}.{_name_in_layer(constant)}"
        return address.rpartition(".")[0], address
    *around, own = _segments(constant.name)
    return ".".join(around), ".".join([*around, own])


def _name_in_layer(constant: GraphConstant) -> str:
    return ".".join(map(encode, constant.role.split("/"))) or constant.inside or _segments(constant.name)[-1]


def _segments(name: str) -> list[str]:
    """Return the scopes and the name of a constant as segments of an address."""
    first = next((part for part in name.split(";") if part), name)
    return [encode(part) for part in re.split(r"[/.]", first.removesuffix(":0")) if part] or [encode(name)]


def _tensor(constant: GraphConstant, address: str, layer: str, order: int, dequantize: bool) -> WeightTensor:
    further: dict[str, Any] = {AXES: constant.axes}
    quantization, dtype, read = constant.quantization, constant.dtype, constant.read
    if quantization is not None:
        further |= quantization.attributes
        if dequantize:
            further[QUANTIZED_DTYPE] = dtype
            dtype, read = "float32", _real(read, quantization)
    classes = (constant.kind,) if constant.kind else ()
    attributes = weight_attributes(constant.trainable, **further)
    info = TensorInfo(address, layer, constant.name, classes, order, dtype, constant.shape, attributes=attributes)
    around = [Candidate(layer, classes)] if layer else []
    return WeightTensor(info, Candidate(address, classes, tuple(around), layer or address), read)


def _real(read: Callable[[], Array], quantization: QuantizationParameters) -> Callable[[], Array]:
    return lambda: quantization.dequantized(read())
