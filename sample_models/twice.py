"""A subclassed Keras model; to load `twice.keras`, import this first: `--import sample_models/twice.py`."""

import keras


@keras.saving.register_keras_serializable(package="sample_models")
class LineReader(keras.layers.Layer):
    """Features of every line of an image: (batch, lines, pixels) to (batch, lines, width), both float32.

    The layers inside are given no names: Keras numbers them in the order in which the process makes them.
    """

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.expand = keras.layers.Dense(2 * width, activation="relu")
        self.contract = keras.layers.Dense(width)
        self.normalize = keras.layers.LayerNormalization()

    def call(self, lines):
        """Return the features of every line."""
        return self.normalize(self.contract(self.expand(lines)))

    def get_config(self):
        """Return what the constructor needs to make the same again."""
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable(package="sample_models")
class Twice(keras.Model):
    """Reads a square image by rows and by columns with one LineReader.

    Images (batch, side, side, 1) float32 to logits (batch, classes) float32.
    """

    def __init__(self, width, classes, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.classes = classes
        self.reader = LineReader(width)
        self.flatten = keras.layers.Flatten()
        self.head = [
            keras.layers.Dense(2 * width, activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(classes),
        ]

    # Keras hands `training` on to the dropout in `head`, but only where `call` takes it.
    def call(self, images, training=None):
        """Return the logits of every class."""
        rows = keras.ops.squeeze(images, axis=-1)
        columns = keras.ops.swapaxes(rows, 1, 2)
        features = keras.ops.concatenate([self.reader(rows), self.reader(columns)], axis=-1)
        features = self.flatten(features)
        for layer in self.head:
            features = layer(features)
        return features

    def get_config(self):
        """Return what the constructor needs to make the same again."""
        return {**super().get_config(), "width": self.width, "classes": self.classes}
