"""A Keras model as a Runnable."""

from collections.abc import Sequence

from keras import Layer

from tfdump.errors import ModelError
from tfdump.model.keras_signature import float_dtype_of, signature_of
from tfdump.model.probe import Probe
from tfdump.model.request import Request
from tfdump.model.signature import Signature
from tfdump.tensors import InputSpec, Note


class KerasModel:
    """A Keras model as a Runnable."""

    def __init__(self, model: Layer) -> None:
        self.class_name = type(model).__name__
        self.float_dtype = float_dtype_of(model)
        self._model = model

    def signature(self, array_names: Sequence[str | None]) -> Signature:
        """Return how the model is called."""
        return signature_of(self._model, array_names)

    def probe(self, signature: Signature, specs: Sequence[InputSpec], request: Request, note: Note) -> Probe:
        """Return a probe that records the layers."""
        if request.dequantize:
            raise ModelError(
                "--dequantize is for quantized .tflite and .onnx files, but this is a Keras model (leave it out)"
            )
        return Probe(self._model, signature, specs, request, note)
