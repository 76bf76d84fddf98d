"""The weights of a Keras model, under the addresses that `tfdump gradients` gives them.

The call of the model is traced for its addresses, and is not run.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from keras import Layer

from tfdump.dump.quantization import QUANTIZATION, QUANTIZED_DTYPE
from tfdump.errors import ModelError
from tfdump.model.gradients.weights import Weight, weights_of
from tfdump.model.keras_signature import signature_of, training_argument
from tfdump.model.recording.recorder import Recorder
from tfdump.model.state import ModelState
from tfdump.model.tracing.traced import Traced
from tfdump.model.weights.lora import lora_products
from tfdump.model.weights.optimizer import optimizer_tensors
from tfdump.model.weights.quantized import QuantizedWeight, numbers, quantized_weights
from tfdump.model.weights.records import ModelWeights, WeightRequest, WeightTensor, weight_attributes
from tfdump.tensors import Array, NotCaptured, Note, TensorInfo

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel

_NO_VALUE = "the model creates it when it is first called, so the file has no value for it"


def weights_of_keras(loaded: "LoadedModel", request: WeightRequest, note: Note) -> ModelWeights:
    """Return the weights of a Keras model; raises ModelError for a model without weights."""
    model = loaded.model
    stored = {id(variable) for variable in model.weights}
    if not stored:
        raise ModelError(_without_weights(loaded))
    recorder = traced_calls(model, note)
    weights = weights_of(model, recorder)
    layers = [model, *(owned.operation for owned in recorder.layers)]
    quantized = {id(weight.variable): weight for layer in layers for weight in quantized_weights(layer)}
    if request.dequantize and not quantized:
        note(f"--dequantize has no effect: no weight of {loaded.name} is quantized")
    tensors = [
        _tensor(weight, order, quantized.get(id(weight.variable)), request.dequantize)
        for order, weight in enumerate(weights)
        if id(weight.variable) in stored
    ]
    tensors += lora_products(layers, weights, len(weights))
    if request.optimizer:
        tensors += optimizer_tensors(loaded, weights, note)
    missing = [NotCaptured(weight.address, _NO_VALUE) for weight in weights if id(weight.variable) not in stored]
    return ModelWeights(tuple(tensors), tuple(missing))


def traced_calls(model: Layer, note: Note) -> Recorder:
    """Return the calls of a model, for the addresses of its layers.

    They are those of a trace for the inputs that the model declares. Where it declares none or cannot be traced,
    nothing is recorded, so that addresses follow the owners of the layers; `note` is told so.
    """
    obstacles: list[str] = []
    try:
        recorder = _trace(model, obstacles.append)
    except ModelError as cause:
        obstacles.append(str(cause).partition(" (")[0])
    if not obstacles:
        return recorder
    note(
        f"{obstacles[0].partition('; ')[0]}, so each address follows the layers that own the weight, and tfdump "
        "gradients may call it otherwise"
    )
    return Recorder(model)


def _trace(model: Layer, note: Note) -> Recorder:
    """Trace the call of a model and return what was recorded; the state of the model is as before."""
    signature = signature_of(model, [])
    specs = signature.declared_specs()
    recorders: list[Recorder] = []

    def body(inputs: Mapping[str, Any]) -> list[Any]:
        recorders.append(Recorder(model, only=frozenset()))
        args, kwargs = signature.arguments(inputs)
        with recorders[-1].watching(inputs):
            model(*args, **training_argument(model, training=False), **kwargs)
        return []

    state = ModelState(model, 0)
    try:
        Traced(body, specs, note)
    finally:
        state.restore()
    return recorders[-1] if recorders else Recorder(model)


def _tensor(weight: Weight, order: int, quantized: QuantizedWeight | None, dequantize: bool) -> WeightTensor:
    info, own = weight.info(order), weight_attributes(weight.trainable, weight.aliases, state=weight.is_state or None)
    read: Callable[[], Array] = partial(numbers, weight.variable)
    if quantized is not None:
        info = replace(info, dtype=quantized.dtype, shape=quantized.shape)
        info, read = _as_requested(info, quantized, dequantize)
    return WeightTensor(replace(info, attributes=(*own, *info.attributes)), weight.candidate, read)


def _as_requested(
    info: TensorInfo, quantized: QuantizedWeight, dequantize: bool
) -> tuple[TensorInfo, Callable[[], Array]]:
    """Return the record of a quantized weight and how it is read: as integers, or as real numbers."""
    attributes: dict[str, Any] = {QUANTIZATION: quantized.scheme}
    if quantized.parameters is not None:
        attributes |= quantized.parameters().attributes
    if not dequantize:
        return replace(info, attributes=tuple(attributes.items())), quantized.integers
    attributes[QUANTIZED_DTYPE] = quantized.computed_dtype
    return replace(info, dtype="float32", attributes=tuple(attributes.items())), quantized.real


def _without_weights(loaded: "LoadedModel") -> str:
    if loaded.model.built:
        return f"the model '{loaded.name}' has no weights: none of its layers has any (there is nothing to dump)"
    return f"the model '{loaded.name}' was never built, so it has no weights yet (call it on data before you save it)"
