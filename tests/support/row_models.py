"""Models whose tensors have as many rows as there are examples in some batches only; imported by `tfdump --import`."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

register = keras.saving.register_keras_serializable(package="rows")

X = np.array([[1, 1], [2, 2], [3, 3], [4, 4], [-5, 5], [6, 6], [-7, 7], [-8, 8], [9, 9], [-10, 1], [11, 2], [-1, 3]])
X = X.astype("float32")
"""Twelve examples: of batches of four, a filter on the sign of the first column keeps four, one and two."""

POSITIVE_ROWS = [X[:4], X[5:6], X[[8, 10]]]


@register
class Positive(layers.Layer):
    """Keeps the rows whose first number is positive."""

    def call(self, x: Any) -> Any:
        return tf.boolean_mask(x, x[:, 0] > 0)


@register
class Repeated(layers.Layer):
    """Repeats every row once where its first number is positive, twice where it is not."""

    def call(self, x: Any) -> Any:
        return tf.repeat(x, tf.where(x[:, 0] > 0, 1, 2), axis=0)


@register
class RaggedRows(layers.Layer):
    """The rows that are kept, each cut to its positive numbers."""

    def call(self, x: Any) -> Any:
        positive = tf.boolean_mask(x, x[:, 0] > 0)
        return tf.RaggedTensor.from_tensor(positive, lengths=tf.math.count_nonzero(positive > 2, axis=1))


@register
class SparseRows(layers.Layer):
    """The rows that are kept, as a sparse tensor."""

    def call(self, x: Any) -> Any:
        return tf.sparse.from_dense(tf.boolean_mask(x, x[:, 0] > 0))


@register
class LateConstant(layers.Layer):
    """One where no number of the batch is above 8, else two."""

    def call(self, x: Any) -> Any:
        return tf.where(tf.reduce_max(x) > 8, 2.0, 1.0) * tf.ones((3,))


@register
class Odd(keras.Model):
    """Filtered, repeated, ragged, sparse and constant tensors beside rows of examples; `eager` cannot be traced."""

    def __init__(self, eager: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.eager = eager
        self.double = layers.Rescaling(2.0, name="double")
        self.positive = Positive(name="positive")
        self.behind = layers.Rescaling(10.0, name="behind")
        self.repeated = Repeated(name="repeated")
        self.ragged = RaggedRows(name="ragged")
        self.sparse = SparseRows(name="sparse")
        self.late = LateConstant(name="late")

    def call(self, x: Any) -> Any:
        if self.eager:
            float(tf.reduce_sum(x))
        y = self.behind(self.positive(self.double(x)))
        self.repeated(x)
        self.ragged(x)
        self.sparse(x)
        self.late(x)
        return y

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "eager": self.eager}


@register
class LateNoise(keras.Model):
    """Adds noise to a batch with a number above eight, and cannot be traced."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.double = layers.Rescaling(2.0, name="double")

    def call(self, x: Any) -> Any:
        y = self.double(x)
        return y + keras.random.normal(y.shape) if float(tf.reduce_max(x)) > 8 else y


@register
class Typed(keras.Model):
    """Cannot be traced; the dtype, the rank or the kind of its layers' outputs depends on the batch."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.number = Cast(name="number")
        self.table = Cast(table=True, name="table")
        self.hopeless = Hopeless(name="hopeless")
        self.flat = Flat(name="flat")
        self.mixed = Mixed(name="mixed")

    def call(self, x: Any) -> Any:
        large = float(tf.reduce_max(x)) > 8
        self.table(x, large=large)
        self.hopeless(x, large=large)
        self.flat(x, large=large)
        self.mixed(x, large=large)
        return self.number(x, large=large)


@register
class Cast(layers.Layer):
    """Halves, as int32 rounded toward zero unless `large`."""

    def __init__(self, table: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.table = table

    def call(self, x: Any, large: bool) -> Any:
        halves = (tf.constant([3.0, 5.0, 7.0]) if self.table else x) / 2
        return halves if large else tf.cast(halves, tf.int32)


@register
class Hopeless(layers.Layer):
    """Numbers, and text where `large`."""

    def call(self, x: Any, large: bool) -> Any:
        return tf.strings.as_string(x) if large else x * 1.0


@register
class Flat(layers.Layer):
    """Rows, and one number where `large`."""

    def call(self, x: Any, large: bool) -> Any:
        return tf.reduce_sum(x) if large else x * 1.0


@register
class Mixed(layers.Layer):
    """Dense rows, sparse where `large`."""

    def call(self, x: Any, large: bool) -> Any:
        return tf.sparse.from_dense(x) if large else x * 1.0
