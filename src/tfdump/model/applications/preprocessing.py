"""The functions of `keras.applications` that prepare images. Keras is imported when one of them is called."""

import sys

import numpy as np

from tfdump.tensors import Array


def preprocessed_by_keras(name: str, images: Array) -> Array:
    """Return a batch of images as `keras.applications.NAME.preprocess_input` makes them of pixels from 0 to 255.

    Images of 3 channels may have them first, as those of many .onnx files.
    """
    if "keras" not in sys.modules:
        from tfdump.model.backend import import_quietly

        import_quietly()
    import keras

    first = images.ndim == 4 and images.shape[-1] != 3 and images.shape[1] == 3
    layout = "channels_first" if first else "channels_last"
    return np.asarray(getattr(keras.applications, name).preprocess_input(images, data_format=layout))
