"""`--like`: naming the tensors of a converted file by the Keras model that it was made from."""

from keras import Layer

from tfdump.errors import ModelError
from tfdump.model.keras_reference import keras_reference
from tfdump.model.loading.formats import TFLITE
from tfdump.model.loading.loaded_model import LoadedModel


def name_like(loaded: LoadedModel, golden: LoadedModel) -> None:
    """Let a loaded file give its tensors the addresses of a Keras model.

    Raises ModelError where the file is not a converted one, or `golden` is not a Keras model that can be traced.
    """
    if loaded.class_name != TFLITE:
        raise ModelError(f"--like names the tensors of a .tflite file, but {loaded.name} is not one (leave it out)")
    if not isinstance(golden.model, Layer):
        raise ModelError(f"--like needs a Keras model, but {golden.name} is not one (pass a .keras file)")
    loaded.model.reference = keras_reference(golden.model)
