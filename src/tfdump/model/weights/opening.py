"""The weights of a loaded model of any kind; TensorFlow and Keras are imported only for those that need them."""

from typing import TYPE_CHECKING

from tfdump.model.runnable import FixedModel
from tfdump.model.weights.records import ModelWeights, WeightRequest
from tfdump.tensors import Note

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel


def weights_in(loaded: "LoadedModel", request: WeightRequest, note: Note) -> ModelWeights:
    """Return the weights of a model; raises ModelError where they cannot be read, or not as the request asks."""
    if isinstance(loaded.model, FixedModel):
        return loaded.model.model_weights(request, note)
    from tfdump.model.weights.keras_weights import weights_of_keras

    return weights_of_keras(loaded, request, note)
